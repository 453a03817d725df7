/* SPDX-License-Identifier: Apache-2.0 */
/* outbox - results on their way to the queue.
 *
 * Results gather while earlier ones travel and leave together: one commit a turn of the loop, a few
 * under way at a time. So the cost of a durable commit is shared by all that came meanwhile. */
#ifndef TTG_WORKER_OUTBOX_H
#define TTG_WORKER_OUTBOX_H

#include "queue/queue.h"

struct outbox_totals {
    uint64_t accepted, stale, refused, invalid;
};

struct outbox;

struct outbox_config {
    struct queue *queue;
    struct str job;
    struct queue_worker worker;
    void *ctx;
    /* Commits were answered: there is room again. */
    void (*on_room)(void *ctx);
    /* A result was not accepted. */
    void (*on_verdict)(void *ctx, uint64_t chunk, enum ledger_verdict verdict);
    /* A commit can never succeed. */
    void (*on_failed)(void *ctx, int rc, const struct err *err);
};

enum { OUTBOX_COMMITS = 8 /* under way */, OUTBOX_INFLIGHT = OUTBOX_COMMITS * QUEUE_COMMIT_MAX };

int outbox_new(struct outbox **ret_outbox, const struct outbox_config *config);
/* Nothing is under way any more (the queue was closed). NULL is fine. */
void outbox_free(struct outbox *o);

/* Copies the result. TTG_EFULL: wait for on_room first. */
int outbox_add(struct outbox *o, const struct queue_result *r);
bool outbox_full(const struct outbox *o);
/* Sends what has gathered, if a commit is free. */
void outbox_flush(struct outbox *o);
/* Results that are not answered, gathered ones included. */
uint64_t outbox_pending(const struct outbox *o);
/* Their leases, at most `max`; returns how many. */
size_t outbox_list(const struct outbox *o, struct ledger_held *out, size_t max);
struct outbox_totals outbox_totals(const struct outbox *o);

#endif
