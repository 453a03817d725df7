/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_impl - what the kernels share; only src/worker/kernel*.c and the kernels see it.
 *
 * A kernel type is a table of functions. kernel.c keeps what is the same for all: which slots are
 * busy, time limits, cancel, drain, simulated faults, durations. */
#ifndef TTG_WORKER_KERNEL_IMPL_H
#define TTG_WORKER_KERNEL_IMPL_H

#include "io/guard.h"
#include "io/loop.h"
#include "worker/command.h"
#include "worker/kernel.h"

enum kernel_stop { STOP_NO, STOP_CANCEL, STOP_TIMEOUT };

struct kernel_slot {
    struct kernel *k;
    uint32_t index;
    bool busy;
    enum kernel_stop stop; /* why the running chunk is being ended */
    struct kernel_task task;
    uint64_t started_ns;
    struct loop_timer deadline;
    struct kernel_result result;
    struct err why; /* the text of result.reason */
    unsigned lines_logged;
};

struct kernel_ops {
    const char *name;
    size_t slot_bytes; /* its slot starts with a struct kernel_slot */
    int (*open)(struct kernel *k, struct err *err);
    /* True: over, s->result is filled. False: kernel_finish will be called, from the loop. */
    bool (*start)(struct kernel_slot *s);
    /* s->stop says why; once a chunk. */
    void (*stop)(struct kernel_slot *s);
    /* Drain: tells an idle slot to end its child (NULL: has none); again for a slot that got idle.
     * kernel_quiet is called when a child ended while idle. */
    void (*drain)(struct kernel_slot *s);
    bool (*is_quiet)(struct kernel_slot *s);
    /* Ends everything at once; also after a failed open. */
    void (*close)(struct kernel *k);
};

struct kernel {
    const struct kernel_ops *ops;
    struct kernel_config config;
    struct loop *loop;
    struct guard *guard;    /* exec, coproc */
    struct command command; /* exec, coproc */
    void *library;          /* plugin: its own state */
    uint32_t busy;
    bool draining;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
    struct loop_timer drained; /* on_drained comes from the loop */
    uint64_t fault_seed;
    char *slots; /* config.slots times ops->slot_bytes */
};

extern const struct kernel_ops simulate_ops, exec_ops, coproc_ops, plugin_ops, function_ops;

static inline struct kernel_slot *kernel_slot(const struct kernel *k, uint32_t index)
{
    return (struct kernel_slot *)(void *)(k->slots + index * k->ops->slot_bytes);
}

/* Fills s->result with a failure. */
void kernel_failed(struct kernel_slot *s, enum kernel_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The chunk is over: from the loop, after start answered false. May start the next one. */
void kernel_finish(struct kernel_slot *s);

/* A child of an idle slot has ended: perhaps this was the last. */
void kernel_quiet(struct kernel *k);

/* Opens guard and command; shared by exec and coproc. */
int kernel_open_command(struct kernel *k, struct err *err);
void kernel_close_command(struct kernel *k);

/* How a command ended, when it was not exit 0, as the result's failure. */
void kernel_exit_failed(struct kernel_slot *s, int status, int signal, bool core_dumped);

/* For stderr: one line to the log, under the chunk's name. */
void kernel_log_line(void *slot, struct str line);

#endif
