/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_delivery - what the files of a worker share: amqp_worker.c (deliveries come and go back),
 * amqp_pull.c (chunks whose worker died) and amqp_outcome.c (what became of them). */
#ifndef TTG_QUEUE_AMQP_DELIVERY_H
#define TTG_QUEUE_AMQP_DELIVERY_H

#include "queue/amqp.h"

/* One delivery, from its coming to its acknowledgement. */
struct delivery {
    struct map_node node; /* by epoch */
    struct list link;     /* while it waits for a take */
    uint64_t epoch, chunk, attempt, gen, tag;
    bool taken;
    bool pulled; /* from the queue of chunks whose worker died */
    size_t body_bytes, history_bytes;
    char bytes[]; /* body, history */
};

struct amqp_worker {
    struct map deliveries;
    struct list ready;
    size_t ready_count, old_count; /* old: of an earlier connection */
    uint64_t next_epoch, consumer, looks;
    uint32_t slots, prefetch;
    uint64_t done, done_us; /* chunks since the last tick, and the time they took */
    uint64_t quiet;         /* ticks without any */
    bool listening, consuming, ended, paused, dry;
    bool suspects, pulling; /* suspects: there may be some; pulling: one is being asked for */
    uint64_t suspects_ms;   /* when it is time to look for them in any case */
    uint64_t pulled;        /* deliveries that were, from the asking to the acknowledgement */
    uint64_t in_hand;       /* those, and others from the handing out on */
    uint64_t moves;         /* messages that are published anew before they are acknowledged */
    uint64_t counts_ms;     /* an unattended job: when its end is looked for again */
    struct queue_join *join;
    struct queue_take *take;
    struct queue_leave *leave;
    uint64_t take_until_ms;
    struct ledger_run *runs;
    size_t run_room;
    char name[LEDGER_NAME_BYTES_MAX + 1];
};

static inline struct str delivery_body(const struct delivery *d)
{
    return str_make(d->bytes, d->body_bytes);
}

static inline struct str delivery_history(const struct delivery *d)
{
    return str_make(d->bytes + d->body_bytes, d->history_bytes);
}

/* --- amqp_worker.c --- */

/* NULL: no such delivery is here. */
struct delivery *delivery_find(struct amqp_worker *w, uint64_t epoch);
struct delivery *delivery_new(struct amqp_engine *e, uint64_t chunk,
                              const struct amqp_event *event);
/* A copy of what we still hold from the connection before: only its tag is new. */
bool delivery_is_known(struct amqp_engine *e, uint64_t chunk, uint64_t tag, bool pulled);
/* The chunk of a task; false: it is none of this job, and has been put away. */
bool delivery_chunk(struct amqp_engine *e, const struct amqp_event *event, unsigned flags,
                    uint64_t *ret_chunk);
void delivery_free(struct amqp_engine *e, struct delivery *d);
/* Unless its connection is gone: then the broker delivers it again anyway. */
void delivery_acknowledge(struct amqp_engine *e, const struct delivery *d);
/* Answers the take that waits, when there is an answer; `over`: it waits no longer. */
void delivery_hand_out(struct amqp_engine *e, bool over);

/* --- amqp_pull.c --- */

/* A message goes to another queue, with a confirm, and is acknowledged then. */
struct move {
    uint64_t tag, gen;
    unsigned flags, left; /* flags: of the acknowledgement */
    int rc;
    bool to_suspects;
};
struct move *move_new(struct amqp_engine *e, uint64_t tag, unsigned flags);
void move_publish(struct amqp_engine *e, struct move *m, struct amqp_call *call);
void move_end(struct amqp_engine *e, struct move *m);
/* The same message again, as if it had never been delivered. */
void pull_give_back(struct amqp_engine *e, const struct delivery *d);
/* A delivery that somebody had before. */
void pull_redelivered(struct amqp_engine *e, uint64_t chunk, const struct amqp_event *event);
/* Too many workers died of it. */
void pull_bury(struct amqp_engine *e, uint64_t chunk, const struct amqp_event *event,
               unsigned flags);
/* Asks for a chunk whose worker died, if there may be one and it can be started at once. */
void pull_try(struct amqp_engine *e);
/* The same when less is in hand; the take that waits may get something else. */
void pull_go_on(struct amqp_engine *e);
/* Looks whether there are any, when it is time to. */
void pull_tick(struct amqp_engine *e);
/* Whether nothing may be handed out but a chunk that was pulled. */
bool pull_has_turn(const struct amqp_worker *w);

/* --- amqp_outcome.c --- */

void delivery_commit(struct amqp_engine *e, struct queue_commit *c);
void delivery_fail(struct amqp_engine *e, struct queue_fail *f);
/* What the collector is to know: "retry", "lost" or "failed"; in `e->text`. */
struct amqp_call delivery_note(struct amqp_engine *e, uint64_t chunk, uint64_t attempt,
                               const char *status, struct str reason);
/* The chunk's history with one more attempt, in `e->history`. */
struct str delivery_history_with(struct amqp_engine *e, struct str old, uint64_t attempt,
                                 struct str reason);

#endif
