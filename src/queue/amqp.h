/* SPDX-License-Identifier: Apache-2.0 */
/* amqp - the engine that makes a RabbitMQ broker a queue.
 *
 *     amqp.c          the connection that comes back, requests, answers
 *     amqp_marker.c   names, and the text of the job's marker
 *     amqp_worker.c   a worker: deliveries; amqp_outcome.c: results and failures
 *     amqp_create.c   the one collector: the job comes, is fed, ends; amqp_collect.c: its results
 *     amqp_wire.c     messages to and from a thread; amqp_link.c: librabbitmq, in that thread
 *
 * A broker keeps messages and knows nothing of jobs. So the ledger lives in the one collector that
 * holds the lock queue; what it has collected is in the output, and from that the ledger is made
 * again. Everything else may be lost or doubled: the ledger drops copies, missing chunks are
 * published again. */
#ifndef TTG_QUEUE_AMQP_H
#define TTG_QUEUE_AMQP_H

#include "base/map.h"
#include "base/prng.h"
#include "io/loop.h"
#include "queue/amqp_wire.h"
#include "queue/engine.h"

struct amqp_names {
    char tasks[AMQP_NAME_BYTES], results[AMQP_NAME_BYTES], retry[AMQP_NAME_BYTES],
        dlq[AMQP_NAME_BYTES], job[AMQP_NAME_BYTES], lock[AMQP_NAME_BYTES];
};
/* ttg.tasks for the default job, ttg.NAME.tasks for others. */
void amqp_names_of(struct amqp_names *n, struct str job);

enum { AMQP_RETRY_MS = 5000 /* the playbook's retry queue */ };

/* What the message in ttg.job says. */
struct amqp_marker {
    enum ledger_state state;
    uint64_t created_ms, dead;
    uint64_t unattended;     /* 1: all chunks are there, and no collector may ever come */
    struct ledger_spec spec; /* its texts are in `texts` */
    struct buf texts;
};
int amqp_marker_add(struct buf *out, const struct amqp_marker *m);
int amqp_marker_read(struct amqp_marker *m, struct str text, struct err *err);
uint64_t amqp_marker_chunks(const struct amqp_marker *m);

/* How long a chunk waits after its `attempt` failed, and the queue it waits in. */
uint32_t amqp_retry_ms(const struct ledger_spec *s, uint64_t attempt);
void amqp_retry_name(const struct amqp_names *n, uint32_t ms, char out[AMQP_NAME_BYTES]);

struct amqp_engine;

/* Waits for the answer to a call. */
struct amqp_wait {
    struct list link;
    uint64_t id;
    /* rc TTG_ECLOSED and no event: the connection was cut. */
    void (*fn)(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event);
    void *ctx;
};

struct amqp_engine {
    struct queue queue;
    struct amqp_wire *wire;
    struct loop_async news;
    struct loop_timer timer, tick; /* tick: now and then while connected */
    struct prng prng;
    uint64_t gen, next_id, cut_ms, tries;
    uint32_t host;
    bool again;
    struct list waits;
    struct amqp_names names;
    bool named, marker_known;
    struct amqp_marker marker;
    struct buf text; /* messages are made here */
    struct amqp_worker *worker;
    struct amqp_collector *collector;
};

/* Posts a call; `fn` (may be NULL) gets its answer. Without memory the connection is given up. */
void amqp_post(struct amqp_engine *e, struct amqp_call *call,
               void (*fn)(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event),
               void *ctx);
/* Connects anew, at once or after a pause. */
void amqp_cut(struct amqp_engine *e, const struct err *why);
/* The wall clock. */
uint64_t amqp_wall_ms(void);

/* Requests of each side; those of the other are answered TTG_EUNSUPPORTED. */
bool amqp_worker_send(struct amqp_engine *e, struct queue_request *r);
void amqp_worker_event(struct amqp_engine *e, const struct amqp_event *event);
void amqp_worker_down(struct amqp_engine *e);
void amqp_worker_tick(struct amqp_engine *e);
void amqp_worker_free(struct amqp_engine *e);

bool amqp_collect_send(struct amqp_engine *e, struct queue_request *r);
void amqp_collect_event(struct amqp_engine *e, const struct amqp_event *event);
void amqp_collect_up(struct amqp_engine *e);
void amqp_collect_down(struct amqp_engine *e);
void amqp_collect_tick(struct amqp_engine *e);
void amqp_collect_free(struct amqp_engine *e);

#endif
