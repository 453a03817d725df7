/* SPDX-License-Identifier: Apache-2.0 */
/* file_read - a small file as a whole. */
#ifndef TTG_IO_FILE_READ_H
#define TTG_IO_FILE_READ_H

#include "base/buf.h"
#include "base/err.h"

/* Adds the content to `out`. TTG_EFULL when the file is larger than what `out` takes, TTG_ENOENT,
 * TTG_EACCES, ... with a message that names the path. */
int file_read(const char *path, struct buf *out, struct err *err);

#endif
