/* SPDX-License-Identifier: Apache-2.0 */
/* command - a user's command line: found once, filled in for each chunk.
 *
 * Arguments may hold {start} {end} {chunk} {attempt} {job}; other braces stay as they are. The same
 * values stand in TTG_START, TTG_END, TTG_CHUNK, TTG_ATTEMPT, TTG_JOB, and TTG_WORKER names the
 * worker; the rest of the environment is ours as it was at the start. */
#ifndef TTG_WORKER_COMMAND_H
#define TTG_WORKER_COMMAND_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

struct kernel_task;

struct command {
    char *file; /* where it was found */
    char *const *argv;
    size_t argc;
    char **env; /* without the variables above, plus TTG_WORKER; `env_count` of them */
    size_t env_count;
    char *worker; /* "TTG_WORKER=..." */
};

/* Memory of one slot for a filled-in command line. */
struct command_line {
    struct buf text;
    char **argv, **envp;
};

/* `argv` is borrowed. TTG_EUSAGE with a message when the command cannot be run. */
int command_open(struct command *c, char *const *argv, const char *worker, struct err *err);
void command_close(struct command *c);

/* So that the command is found from another directory too. */
int command_make_absolute(struct command *c, struct err *err);

/* `fill` false: for a command that stays; no placeholders, no variables of a task. TTG_ENOMEM,
 * TTG_EFULL for arguments over COMMAND_TEXT_BYTES_MAX. */
enum { COMMAND_TEXT_BYTES_MAX = 1 << 20 };
int command_fill(const struct command *c, struct command_line *line, const struct kernel_task *t,
                 bool fill);
void command_line_done(struct command_line *line);

#endif
