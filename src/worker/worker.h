/* SPDX-License-Identifier: Apache-2.0 */
/* worker - takes chunks from a queue, runs them through its kernel, commits the results.
 *
 * Two connections: a take may wait for work on one while results leave on the other. Chunks start
 * in the order they were taken, results are committed in batches while the next chunks run. How
 * many chunks are taken ahead is measured: so many that a slot never waits for the queue, none
 * where a chunk takes much longer than asking for it.
 *
 * When its lease is lost (a pause, a cut) a chunk's work is dropped; the epoch of its lease makes
 * sure of that even when nobody here noticed. Told to stop, the worker finishes what runs within
 * the drain time and gives the rest back; it never commits a part of a chunk. */
#ifndef TTG_WORKER_WORKER_H
#define TTG_WORKER_WORKER_H

#include "base/metric.h"
#include "queue/queue.h"
#include "worker/kernel.h"

enum {
    WORKER_PREFETCH_MAX = 4096,
    WORKER_DRAIN_MS = 25000,
    WORKER_IDLE_MS = 30000,
};

struct worker_totals {
    uint64_t committed, stale, failed, released;
    uint64_t params;
};

/* For those who watch it, at any time. */
struct worker_figures {
    struct worker_totals totals;
    bool joined;
    uint32_t slots, busy;
    uint64_t prefetched, untold; /* chunks taken ahead; results that are not answered yet */
    uint64_t cuts;               /* connections that broke */
    struct histogram took;       /* all attempts, also those that failed */
    struct histogram commit;     /* until a commit was answered */
};

/* How it ended. */
enum worker_end {
    WORKER_FINISHED, /* the job has ended */
    WORKER_IDLE,     /* nothing to do for idle_ms */
    WORKER_STOPPED,  /* worker_stop, everything finished or given back; or `err` says what not */
    WORKER_REPLACED, /* a newer worker has this name */
    WORKER_LOST,     /* queue or job gone */
    WORKER_BROKEN,   /* kernel, input or memory: see the error */
};

/* Pointers stay the caller's and live as long as the worker. */
struct worker_config {
    struct queue_config queue;     /* its callbacks are not used */
    const char *job, *name, *host; /* host: for people who look; may be NULL */
    uint64_t incarnation;          /* random, below 2^63 */
    struct kernel_config kernel;   /* its worker, on_done and ctx are filled in here */
    uint32_t prefetch_max;         /* 0: take only what can start at once */
    uint64_t drain_ms;
    uint64_t idle_ms; /* waiting for the job to appear; 0: for ever */
    bool idle_ends;   /* waiting for work counts as well */
    void *ctx;
    /* Comes once, from the loop; then worker_free may be called. */
    void (*on_end)(void *ctx, enum worker_end end, const struct worker_totals *totals,
                   const struct err *err);
};

struct worker;

void worker_config_init(struct worker_config *c);
int worker_start(struct worker **ret_worker, struct loop *loop, const struct worker_config *config,
                 struct err *err);
/* The first time: finish what runs, take no more. The second time: stop what runs, give it back. */
void worker_stop(struct worker *w);
void worker_figures(const struct worker *w, struct worker_figures *ret_figures);
/* After on_end. NULL is fine. */
void worker_free(struct worker *w);

#endif
