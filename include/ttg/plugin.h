/* SPDX-License-Identifier: Apache-2.0 */
/* plugin - what a shared library exports to compute chunks inside the worker.
 *
 *     #include <ttg/plugin.h>
 *
 *     static int run(void *state, struct ttg_call *call)
 *     {
 *         for (int64_t i = call->start;; i++) {
 *             ttg_sum(call, i * i);
 *             if (i == call->end)
 *                 return TTG_DONE;
 *         }
 *     }
 *
 *     TTG_PLUGIN(.name = "squares", .run = run);
 *
 *     cc -shared -fPIC -O2 -o squares.so squares.c
 *     ttg run --range 1..1000000 --plugin ./squares.so
 *
 * Threads: a worker with several slots runs several chunks at the same time. Each slot has a state
 * of its own, and calls for one slot never overlap; but they may come from different threads, so
 * keep nothing in thread-local variables, and guard what slots share.
 *
 * Faults: the plugin runs inside the worker. If it crashes, the worker dies, is started again, and
 * the chunk is tried again; `exec` and `coproc` only lose the command. A call that takes long
 * should ask ttg_stopped now and then: it cannot be ended from outside.
 *
 * The library must not change signal handlers, close descriptors that are not its own, write to
 * standard output or call exit. */
#ifndef TTG_PLUGIN_H
#define TTG_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when a plugin must be compiled again. New fields at an end do not count: see `size`. */
#define TTG_PLUGIN_ABI 1

/* What run answers. */
enum {
    TTG_DONE = 0,      /* the result counts */
    TTG_RETRY = 1,     /* a failed attempt; it may be tried again */
    TTG_PERMANENT = 2, /* no use to try again: the chunk goes to the dead letters */
};

struct ttg_call;

/* The worker's side; call through the functions below. Their brackets keep macros of yours away. */
struct ttg_host {
    size_t size;
    void (*sum)(struct ttg_call *call, int64_t value);
    int (*write)(struct ttg_call *call, const void *bytes, size_t len);
    void (*fail)(struct ttg_call *call, const char *reason);
    int (*stopped)(struct ttg_call *call);
};

/* One chunk. All pointers are valid until run returns. */
struct ttg_call {
    size_t size; /* of this struct in the worker: later fields may be missing in an older one */
    int64_t start, end; /* parameters, inclusive */
    uint64_t chunk;     /* counted from 0 */
    uint32_t attempt;   /* from 1 */
    uint32_t slot;
    const char *job, *worker;
    const char *lines; /* with --input: the chunk's lines, each with its newline; otherwise NULL */
    size_t lines_bytes;
    const struct ttg_host *host;
};

struct ttg_plugin {
    uint32_t abi; /* TTG_PLUGIN_ABI */
    uint32_t size;
    const char *name;

    /* Computes a chunk. Required. */
    int (*run)(void *state, struct ttg_call *call);

    /* Before the first chunk of a slot, once for each slot, in one thread: sets *ret_state. `arg`
     * is the text behind --plugin-arg. Not 0: the worker does not start; `reason` (256 bytes) may
     * say why. Optional. */
    int (*init)(uint32_t slot, const char *arg, void **ret_state, char *reason);

    /* After the last chunk of a slot, in one thread; if a call came back too late for its worker to
     * wait for it, then in the thread of that call. Optional. */
    void (*done)(void *state);
};

/* Adds to the chunk's sum, which is exact (128 bits). A chunk has a sum or output, not both. */
static inline void ttg_sum(struct ttg_call *call, int64_t value)
{
    (call->host->sum)(call, value);
}

/* Adds bytes to the chunk's output. Not 0: over the limit or out of memory; the chunk fails
 * whatever run then returns. */
static inline int ttg_write(struct ttg_call *call, const void *bytes, size_t len)
{
    return (call->host->write)(call, bytes, len);
}

/* Says why run is going to return TTG_RETRY or TTG_PERMANENT; the text is copied. */
static inline void ttg_fail(struct ttg_call *call, const char *reason)
{
    (call->host->fail)(call, reason);
}

/* Not 0: the chunk is over its time limit or the worker is being stopped; the result will not
 * count, return soon. Cheap, but not free: once in some thousand steps is often enough. */
static inline int ttg_stopped(struct ttg_call *call)
{
    return (call->host->stopped)(call);
}

#ifdef __cplusplus
#define TTG_PLUGIN_EXTERN extern "C"
#else
#define TTG_PLUGIN_EXTERN extern
#endif

/* Defines the one symbol that the worker looks for: `ttg_plugin`. */
#define TTG_PLUGIN(...)                                                                            \
    TTG_PLUGIN_EXTERN __attribute__((visibility("default"))) const struct ttg_plugin ttg_plugin;   \
    const struct ttg_plugin ttg_plugin = {                                                         \
        .abi = TTG_PLUGIN_ABI, .size = sizeof(struct ttg_plugin), __VA_ARGS__}

#ifdef __cplusplus
}
#endif

#endif
