/* SPDX-License-Identifier: Apache-2.0 */
/* secret_file - a password or token, in the first line of a file that others cannot read. */
#ifndef TTG_CMD_SECRET_FILE_H
#define TTG_CMD_SECRET_FILE_H

#include "base/err.h"

enum { SECRET_BYTES_MAX = 512 };

/* `what` begins the messages: "password file". TTG_EUSAGE, TTG_ENOENT, ... */
int secret_read(const char *what, const char *path, char secret[SECRET_BYTES_MAX + 1],
                struct err *err);

#endif
