/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_delivery - what the two files of a worker share: amqp_worker.c (deliveries come and go back)
 * and amqp_outcome.c (what became of them). */
#ifndef TTG_QUEUE_AMQP_DELIVERY_H
#define TTG_QUEUE_AMQP_DELIVERY_H

#include "queue/amqp.h"

/* One delivery, from its coming to its acknowledgement. */
struct delivery {
    struct map_node node; /* by epoch */
    struct list link;     /* while it waits for a take */
    uint64_t epoch, chunk, attempt, gen, tag;
    bool taken, redelivered;
    size_t body_bytes;
    char body[];
};

struct amqp_worker {
    struct map deliveries;
    struct list ready;
    size_t ready_count, old_count; /* old: of an earlier connection */
    uint64_t next_epoch, consumer, looks;
    uint32_t slots, prefetch;
    uint64_t came; /* deliveries since the last tick */
    bool listening, consuming, ended, dry;
    uint64_t counts_ms; /* an unattended job: when its end is looked for again */
    struct queue_join *join;
    struct queue_take *take;
    uint64_t take_until_ms;
    struct ledger_run *runs;
    size_t run_room;
};

/* NULL: no such delivery is here. */
struct delivery *delivery_find(struct amqp_worker *w, uint64_t epoch);
void delivery_free(struct amqp_engine *e, struct delivery *d);
/* Unless its connection is gone: then the broker delivers it again anyway. */
void delivery_acknowledge(struct amqp_engine *e, const struct delivery *d);

void delivery_commit(struct amqp_engine *e, struct queue_commit *c);
void delivery_fail(struct amqp_engine *e, struct queue_fail *f);

#endif
