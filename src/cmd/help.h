/* SPDX-License-Identifier: Apache-2.0 */
/* help - everything that is written from the tables of commands and options. */
#ifndef TTG_CMD_HELP_H
#define TTG_CMD_HELP_H

#include "base/buf.h"
#include "cmd/option_table.h"

enum { HELP_BYTES_MAX = 4 << 20, HELP_COLUMNS = 80 };

/* For a terminal, in at most HELP_COLUMNS columns; headings are bold with `color`. */
int help_overview(struct buf *out, bool color);
int help_command(struct buf *out, const struct command *c, bool color);

/* docs/reference.md */
int help_markdown(struct buf *out);
/* ttg.1 */
int help_man(struct buf *out);

/* Completion scripts. */
int help_bash(struct buf *out);
int help_zsh(struct buf *out);
int help_fish(struct buf *out);

/* The set that holds just this command. */
unsigned help_set(const struct command *c);

/* What the exit codes mean: `*ret_text` of the n-th one, false past the end. */
bool help_exit(size_t n, int *ret_code, const char **ret_text);

/* "FILE", "a|b", "N": what stands for an option's value; "" for a switch. */
int help_placeholder(struct buf *out, enum option_id id);
#endif
