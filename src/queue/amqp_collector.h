/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_collector - what the two files of the collector share: amqp_create.c (the job comes, is fed,
 * ends) and amqp_collect.c (its results). */
#ifndef TTG_QUEUE_AMQP_COLLECTOR_H
#define TTG_QUEUE_AMQP_COLLECTOR_H

#include "queue/amqp.h"

enum collector_stage {
    ASIDE,
    CREATING,
    FEEDING, /* an unattended job gets all its chunks */
    CREATED,
    BROWSING, /* the dead letters */
    DRAINING, /* results that came while nobody collected, before chunks are fed */
    RUNNING,
    ENDING,
    ENDED,
};

struct settled {
    uint64_t seq, tag, gen;
};

struct amqp_collector {
    enum collector_stage stage;
    struct queue_create *create;
    struct queue_results *results;
    uint64_t results_until_ms;
    struct ledger *ledger;
    uint64_t chunks, next, open, unconfirmed; /* next: the lowest chunk never published */
    uint64_t *again; /* chunks to be published once more: their confirm was lost */
    size_t again_count, again_cap;
    struct buf fresh, given; /* result lines */
    uint64_t given_first, given_last, seq;
    struct settled *settled; /* in order of seq: deliveries to acknowledge when saved */
    size_t settled_count, settled_cap;
    uint64_t browsed_tag, drain, drain_until_ms;
    uint64_t attempts_more, redelivered; /* beyond what the ledger sees: workers count them */
    bool created;
    struct queue_event *events;
};

/* --- amqp_create.c --- */

/* Lock, queues; a refusal ends the collector by name. */
void collector_topology(struct amqp_engine *e);
void collector_purge(struct amqp_engine *e, const char *queue);
void collector_create(struct amqp_engine *e, struct queue_create *create);
/* Publishes as many chunks as the window has room for. */
void collector_feed(struct amqp_engine *e);
bool collector_is_open(const struct amqp_collector *c, uint64_t chunk);
/* When the ledger says that the job has ended, everybody is told. */
void collector_check_end(struct amqp_engine *e);
void collector_mark_end(struct amqp_engine *e);

/* --- amqp_collect.c --- */

/* Answers the request for results that waits, when there is an answer; `over`: it waits no longer.
 */
void collector_answer(struct amqp_engine *e, bool over);

#endif
