/* SPDX-License-Identifier: Apache-2.0 */
/* command - a user's command line: found once, filled in for each chunk.
 *
 * Arguments may hold {start} {end} {chunk} {attempt} {job}, and {param}, the only parameter of a
 * chunk. An argument that is {} gives way to all parameters of the chunk, each an argument of its
 * own. Other braces stay as they are. The same values stand in TTG_START, TTG_END, TTG_CHUNK,
 * TTG_ATTEMPT, TTG_JOB, and TTG_WORKER names the worker; the rest of the environment is ours as it
 * was at the start. */
#ifndef TTG_WORKER_COMMAND_H
#define TTG_WORKER_COMMAND_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct kernel_task;

struct command {
    char *file; /* where it was found */
    char *const *argv;
    size_t argc;
    size_t all_params; /* arguments that are {} */
    bool takes_params; /* has {} or {param} */
    char **env;        /* without the variables above, plus TTG_WORKER; `env_count` of them */
    size_t env_count;
    char *worker; /* "TTG_WORKER=..." */
};

/* Memory of one slot for a filled-in command line. */
struct command_line {
    struct buf text;
    char **argv, **envp;
    size_t words_max; /* that argv has room for */
};

/* `argv` is borrowed. TTG_EUSAGE with a message when the command cannot be run. */
int command_open(struct command *c, char *const *argv, const char *worker, struct err *err);
void command_close(struct command *c);

/* Has {param}. */
bool command_takes_one(const char *arg);

/* So that the command is found from another directory too. */
int command_make_absolute(struct command *c, struct err *err);

/* Parameters as a feed makes them: each with a separator behind it, none within. */
struct command_params {
    struct str text;
    char separator;
};

/* Without a task: for a command that stays; no placeholders, no variables of a task. TTG_ENOMEM,
 * TTG_EFULL for arguments over COMMAND_TEXT_BYTES_MAX. */
enum { COMMAND_TEXT_BYTES_MAX = 2 << 20 };
int command_fill(const struct command *c, struct command_line *line, const struct kernel_task *t,
                 struct command_params params);
void command_line_done(struct command_line *line);

#endif
