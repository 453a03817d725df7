/* SPDX-License-Identifier: Apache-2.0 */
/* config_file - lines `key = value`; `#` at the start of a line or behind a blank starts a comment,
 * empty lines are skipped, a value may stand in double quotes to keep `#` and blanks at its ends.
 */
#ifndef TTG_CMD_CONFIG_FILE_H
#define TTG_CMD_CONFIG_FILE_H

#include "base/buf.h"
#include "base/err.h"

/* Called for each line that says something; what is not 0 ends the reading and is returned. */
typedef int config_on_setting(void *ctx, unsigned line, const char *key, const char *value);

/* Reads `text`, which is changed: keys and values are views into it. `path` is for the messages.
 * TTG_EUSAGE with path and line when one is wrong. */
int config_file_parse(const char *path, struct buf *text, config_on_setting *on_setting, void *ctx,
                      struct err *err);

/* Fills `text` from the file first. TTG_ENOENT when there is no such file. */
int config_file_read(const char *path, struct buf *text, config_on_setting *on_setting, void *ctx,
                     struct err *err);

#endif
