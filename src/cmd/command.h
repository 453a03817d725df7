/* SPDX-License-Identifier: Apache-2.0 */
/* command - the subcommands, and what one gets when it runs. */
#ifndef TTG_CMD_COMMAND_H
#define TTG_CMD_COMMAND_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The exit codes of every command; part of the contract. */
enum command_exit {
    EXIT_DONE = 0,
    EXIT_FAILED_CHUNKS = 1, /* the job ended with chunks given up */
    EXIT_USAGE = 2,
    EXIT_LOST = 3, /* queue, node or output not reachable or lost */
    EXIT_UNVERIFIED = 4,
    EXIT_TIMEOUT = 124, /* as timeout(1) */
    EXIT_SIGINT = 130,
    EXIT_SIGTERM = 143,
};

enum command_id {
#define COMMAND(id, ...) CMD_##id,
#include "cmd/command_rows.h"
#undef COMMAND
    CMD_COUNT
};

/* Sets of commands, for option_rows.h. */
enum command_set {
#define COMMAND(id, ...) IN_##id = 1 << CMD_##id,
#include "cmd/command_rows.h"
#undef COMMAND
    IN_ALL = (1 << CMD_COUNT) - 1,
    /* Those that log; the others only print. */
    IN_LOGGING = IN_ALL & ~(IN_VERSION | IN_HELP),
    /* Those that run chunks; those that talk to a queue. */
    IN_KERNEL = IN_RUN | IN_WORKER | IN_SUBMIT,
    IN_ASKING = IN_STATUS | IN_WAIT | IN_RESULTS | IN_VERIFY | IN_CANCEL | IN_PAUSE | IN_RESUME |
                IN_DLQ | IN_EXPLAIN | IN_MONITOR,
    IN_QUEUE = IN_DOCTOR | IN_RUN | IN_SUBMIT | IN_WORKER | IN_ASKING | IN_PIPELINE | IN_BENCH,
    /* Those that make jobs. */
    IN_SPEC = IN_RUN | IN_SUBMIT,
};

struct options;

struct command_run {
    const struct command *command;
    struct options *options;
    char **args; /* positional */
    size_t arg_count;
    char **words; /* behind `--`, ended by NULL */
    size_t word_count;
    bool color_out, color_err;
};

struct command {
    const char *name, *summary, *usage, *details;
    size_t args_max;
    bool takes_command;
    int (*run)(struct command_run *r); /* the exit code */
};

extern const struct command commands[CMD_COUNT];

/* NULL when there is none of that name. */
const struct command *command_find(struct str name);

/* Which exit code tells an error. */
int command_exit_code(int rc);

/* Says the error on standard error as "ttg NAME: text" and returns its exit code; a wrong usage
 * also gets the hint where to read on. */
int command_fail(const struct command_run *r, const struct err *e);
/* The same for a word that is no command: "did you mean ...?" */
int command_unknown(const struct command_run *r, const char *word);

/* Writes to standard output. A failure (closed pipe, full disk) is said on standard error; the exit
 * code then is EXIT_LOST. */
int command_print(const struct command_run *r, struct str text);

/* `ttg config` looks at the options of other commands: of which ones, from its words. */
unsigned cmd_config_set(char **words);

/* The whole program behind main. */
int command_main(int argc, char **argv);

#define COMMAND(id, name, ...) int cmd_##name(struct command_run *r);
#include "cmd/command_rows.h"
#undef COMMAND

#endif
