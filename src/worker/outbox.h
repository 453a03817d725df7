/* SPDX-License-Identifier: Apache-2.0 */
/* outbox - how chunks ended, on the way to the queue: results and failures.
 *
 * Results gather while earlier ones travel and leave together: one commit a turn of the loop, a few
 * under way at a time. So the cost of a durable commit is shared by all that came meanwhile.
 *
 * What was not answered before a cut is kept and sent again. It must not leave before the worker
 * has joined again: a node that died may have forgotten a lease and grant it anew, and a result is
 * only accepted with the newest epoch. So the outbox is held from the cut until the join has told
 * the epochs. A failure keeps its old epoch: that one tells whether it was counted before. */
#ifndef TTG_WORKER_OUTBOX_H
#define TTG_WORKER_OUTBOX_H

#include "base/metric.h"
#include "queue/queue.h"

enum {
    OUTBOX_BATCHES = 8,    /* commits: one gathers, the others are under way */
    OUTBOX_RESULTS = 1024, /* in a batch, beside those of chunks that run when it is full */
    OUTBOX_BATCH_BYTES = 1 << 20,
    OUTBOX_BYTES = 4 << 20, /* in all batches, beside those of chunks that run when it is full */
    OUTBOX_KEPT_BYTES = 64 << 10,       /* of memory by a batch that is free */
    OUTBOX_RESULT_BYTES_MAX = 64 << 20, /* output of one chunk; JOB_VALUE_BYTES_MAX of a node */
    OUTBOX_FAILURES = 1024,
    OUTBOX_RETRY_MS = 100, /* after "not now": disk or memory full, a failover */
    OUTBOX_RETRY_MS_MAX = 2000,
};

struct outbox_totals {
    uint64_t accepted, stale, refused, invalid;
};

struct outbox_failure {
    uint64_t chunk, epoch;
    bool final; /* do not retry */
    struct str reason;
};

struct outbox;

struct outbox_config {
    struct queue *queue;
    struct str job;
    struct queue_worker worker;
    uint32_t running_max; /* chunks that may still end when the outbox is full */
    void *ctx;
    uint64_t (*now_us)(void *ctx);
    struct histogram *latency; /* gets how long commits took to be answered */
    /* Something was answered: there is room, or nothing is under way any more. */
    void (*on_room)(void *ctx);
    /* A result was not accepted. */
    void (*on_verdict)(void *ctx, uint64_t chunk, enum ledger_verdict verdict);
    void (*on_fate)(void *ctx, const struct outbox_failure *f, enum ledger_fate fate);
    /* A lease that nobody works on: the failed chunk was granted anew meanwhile. */
    void (*on_unwanted)(void *ctx, uint64_t chunk, uint64_t epoch);
    /* The queue will never take this. */
    void (*on_failed)(void *ctx, int rc, const struct err *err);
};

int outbox_new(struct outbox **ret_outbox, const struct outbox_config *config);
/* The queue was closed before. NULL is fine. */
void outbox_free(struct outbox *o);

/* Copies. There is always room for `running_max` of them after outbox_full was false. TTG_ENOMEM,
 * TTG_EFULL. */
int outbox_add(struct outbox *o, const struct queue_result *r);
int outbox_fail(struct outbox *o, const struct outbox_failure *what);
bool outbox_full(const struct outbox *o);

/* Sends what has gathered, what a cut left over, and what was refused for a while. Nothing while
 * held or without a connection. */
void outbox_flush(struct outbox *o, uint64_t now_ms);
void outbox_hold(struct outbox *o, bool held);
/* Something was sent and not answered. */
bool outbox_moving(const struct outbox *o);
/* For how long the queue has answered nothing but "not now", up to the latest such answer. */
uint64_t outbox_refused_ms(const struct outbox *o);

/* What is not answered, gathered results included. */
uint64_t outbox_pending(const struct outbox *o);
/* Results that were answered so far, whatever the verdict. */
uint64_t outbox_answered(const struct outbox *o);
/* Their leases, at most `max`; returns how many. */
size_t outbox_list(const struct outbox *o, struct ledger_held *out, size_t max);
/* Gives a result that has to be sent (again) its new epoch. False: not here. */
bool outbox_renew(struct outbox *o, struct ledger_held old, uint64_t epoch);
/* The most that outbox_list can find: for the join. */
uint32_t outbox_inflight(const struct outbox *o);
struct outbox_totals outbox_totals(const struct outbox *o);

/* Whether the queue may accept the same words later. */
bool outbox_not_now(int rc);

#endif
