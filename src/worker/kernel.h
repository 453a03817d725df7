/* SPDX-License-Identifier: Apache-2.0 */
/* kernel - runs chunks: one interface for simulate, exec, coproc, plugin and function.
 *
 * A kernel has a fixed number of slots; each runs one chunk at a time. The caller (the queue
 * worker, static mode, a bench) decides which chunk goes where and what becomes of the result; the
 * kernel knows neither queues nor leases. Everything happens on the caller's event loop and in its
 * thread.
 *
 * A chunk may be over before kernel_start returns (no-op simulate, a quick plugin): then the result
 * is handed back at once, so that a million tiny chunks cost neither a turn of the loop each nor
 * stack depth. Otherwise on_done is called exactly once, from the loop, also after a cancel; never
 * from inside kernel_start or kernel_cancel. Whatever goes wrong with a chunk is a result with a
 * reason, not an error of the call: a crashing command is data.
 *
 * Time limit and cancel end a command's whole process group: TERM, then KILL after kill_grace_ms.
 * When this process dies, even by SIGKILL, the groups of its commands die too (see io/process.h).
 */
#ifndef TTG_WORKER_KERNEL_H
#define TTG_WORKER_KERNEL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel;
struct loop;
struct ttg_plugin;

enum kernel_type {
    KERNEL_SIMULATE, /* sleeps and sums */
    KERNEL_EXEC,     /* a command per chunk */
    KERNEL_COPROC,   /* a command that stays: one JSON line in, one out */
    KERNEL_PLUGIN,   /* a shared library, include/ttg/plugin.h */
    KERNEL_FUNCTION, /* the same, but already in this process */
};

enum {
    KERNEL_SLOTS_MAX = 1024,
    KERNEL_EXIT_PERMANENT = 100, /* a command's "do not retry" */
    KERNEL_OUTPUT_BYTES_DEFAULT = 1 << 20,
    KERNEL_GRACE_MS_DEFAULT = 5000,
    KERNEL_STDERR_LOGGED_MAX = 1000,   /* lines of a chunk that go to the log */
    KERNEL_LINES_BYTES_MAX = 64 << 20, /* lines of one chunk, where they are held in memory */
};

enum kernel_status {
    KERNEL_OK,
    KERNEL_FAILED,    /* retry may help */
    KERNEL_PERMANENT, /* the program said: do not retry */
    KERNEL_TIMEOUT,   /* over its time limit, ended */
    KERNEL_CANCELED,  /* kernel_cancel; nothing was computed that counts */
};

/* Lines of a file as parameters. A command that takes them on stdin gets them in pieces, so that a
 * chunk of any size needs no memory. */
struct kernel_source {
    /* Adds some bytes (at least one unless it ends, about `bytes_max` at most) of ended
     * lines to `out` and says whether that was the end. TTG_E... fails the chunk. */
    int (*read)(struct kernel_source *s, struct buf *out, size_t bytes_max, bool *ret_end);
    char separator; /* behind each line: '\n' or, of lines that may hold newlines, '\0' */
};

struct kernel_task {
    uint64_t chunk;             /* from 0 */
    int64_t start, end;         /* parameters, inclusive */
    uint32_t attempt;           /* from 1 */
    uint64_t epoch, created_ms; /* of the lease and the job: for traces; 0: not known */
    const char *job;
    struct kernel_source *lines; /* NULL: the parameters are the integers start..end. Used until the
                                    chunk is done. */
};

/* Parameters of a task: 1 .. 2^63, and 0 for the full range of 2^64. */
static inline uint64_t kernel_task_params(const struct kernel_task *t)
{
    return (uint64_t)t->end - (uint64_t)t->start + 1;
}

struct kernel_result {
    enum kernel_status status;

    /* With KERNEL_OK: a sum over `params` parameters, or bytes. */
    bool has_sum;
    __int128 sum;
    uint64_t params;
    struct str output;
    bool output_is_utf8; /* otherwise the message carries it as output_base64 */

    /* Otherwise: one phrase ("killed by SIGSEGV", "exit status 3"), and what the command last said
     * on stderr (whole lines, see base/tail.h; also with KERNEL_OK). */
    struct str reason;
    struct str stderr_tail;

    int exit_status; /* -1 when it did not exit by itself */
    int signal;      /* that killed it; 0 */
    uint64_t duration_ns;

    /* A plugin does not come back: the slot stays busy for ever, only a new process helps. */
    bool wedged;
};

/* The views in `r` live until the next kernel_start of the slot, or kernel_close. The callback may
 * call kernel_start for the same slot, but not kernel_close. */
typedef void kernel_on_done(void *ctx, uint32_t slot, const struct kernel_result *r);

/* All pointers stay the caller's and must live as long as the kernel. */
struct kernel_config {
    enum kernel_type type;
    uint32_t slots;          /* 1 .. KERNEL_SLOTS_MAX */
    const char *worker;      /* TTG_WORKER, log lines */
    uint64_t timeout_ms;     /* per chunk; 0: none */
    uint64_t kill_grace_ms;  /* from TERM to KILL */
    size_t output_bytes_max; /* of one chunk; more fails it */
    double fault_rate;       /* 0..1: chunks that fail although they went well */
    uint64_t fault_seed;     /* which ones; 0 takes a random seed */
    double simulate_ms;      /* KERNEL_SIMULATE: sleep per parameter */
    char *const *argv;       /* KERNEL_EXEC, KERNEL_COPROC: ends with NULL; for exec {start} ... are
                                filled in (worker/command.h) */
    bool bare_lines;         /* KERNEL_COPROC: is sent the task's lines alone, as they are */
    const char *dir;         /* where commands run; NULL: here */
    const char *plugin;      /* KERNEL_PLUGIN: path of the library */
    const char *plugin_arg;  /* handed to it; NULL: "" */
    const struct ttg_plugin *function; /* KERNEL_FUNCTION */
    void *function_state;              /* of all slots, unless its init sets another */
    kernel_on_done *on_done;
    void *ctx;
};

/* Sets defaults: simulate, one slot, no sleep, no limits but the output's. */
void kernel_config_init(struct kernel_config *c);

/* Checks what can be checked before the first chunk: the command exists and is executable, the
 * library loads and fits. TTG_EUSAGE or TTG_EVERSION with a message for the user, TTG_ENOMEM, ....
 */
int kernel_open(struct kernel **ret_kernel, struct loop *loop, const struct kernel_config *config,
                struct err *err);

/* Starts a chunk in an idle slot. True: it is over already, `*ret_result` is filled, on_done is not
 * called. False: it runs, on_done will come. `t` is copied (but t->job and t->lines are used until
 * the end). */
bool kernel_start(struct kernel *k, uint32_t slot, const struct kernel_task *t,
                  struct kernel_result *ret_result);

/* Asks for the end of a running chunk; on_done comes soon, normally with KERNEL_CANCELED (or with
 * the result, when that was first). Harmless for an idle slot and when repeated. */
void kernel_cancel(struct kernel *k, uint32_t slot);

/* No chunk is started any more; running ones go on, coprocesses that idle are told to end.
 * on_drained is called once from the loop when nothing runs and no child is left. */
void kernel_drain(struct kernel *k, void (*on_drained)(void *ctx), void *ctx);

/* Slots that run a chunk. */
uint32_t kernel_busy(const struct kernel *k);

/* Kills at once what still runs, without further callbacks, waits for the children and frees all.
 * NULL is fine. */
void kernel_close(struct kernel *k);

/* TTG_EUSAGE: the command takes a single parameter, and chunks have more. */
int kernel_check_chunk(const struct kernel_config *c, uint64_t chunk_params, struct err *err);

/* "simulate 0.1 ms", "exec ./score --fast": the job's description of its kernel. */
int kernel_describe(const struct kernel_config *c, struct buf *out);

#endif
