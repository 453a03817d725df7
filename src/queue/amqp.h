/* SPDX-License-Identifier: Apache-2.0 */
/* amqp - the engine that makes a RabbitMQ broker a queue.
 *
 *     amqp.c          the connection that comes back, requests, answers
 *     amqp_marker.c   names, and the text of the job's marker
 *     amqp_worker.c   a worker: deliveries; amqp_pull.c: chunks whose worker died;
 *                     amqp_outcome.c: results and failures
 *     amqp_create.c   the one collector: the job comes; amqp_feed.c: its chunks and its end;
 *                     amqp_collect.c: its results; amqp_state.c: what it knew before
 *     amqp_verbs.c    questions about a job, answered from the collector's ledger;
 *                     amqp_visit.c: asked there, or by the asker itself when nobody collects
 *     amqp_astray.c   what was lost between a broker and us
 *     amqp_wire.c     messages to and from a thread; amqp_link*.c: librabbitmq, in that thread
 *
 * A broker keeps messages and knows nothing of jobs. So the ledger lives in the one process that
 * holds the lock queue: the collector. What it has collected is in the output, and a snapshot of
 * its ledger in the queue ttg.job.state; from the two and the messages that wait the ledger is made
 * again by whoever holds the lock next. Everything else may be lost or doubled: the ledger drops
 * copies, missing chunks are published again. */
#ifndef TTG_QUEUE_AMQP_H
#define TTG_QUEUE_AMQP_H

#include "base/map.h"
#include "base/prng.h"
#include "io/loop.h"
#include "queue/amqp_astray.h"
#include "queue/amqp_wire.h"
#include "queue/engine.h"

struct amqp_names {
    char tasks[AMQP_NAME_BYTES], results[AMQP_NAME_BYTES], retry[AMQP_NAME_BYTES],
        suspect[AMQP_NAME_BYTES], dlq[AMQP_NAME_BYTES], job[AMQP_NAME_BYTES],
        state[AMQP_NAME_BYTES], notes[AMQP_NAME_BYTES], lock[AMQP_NAME_BYTES],
        control[AMQP_NAME_BYTES];
};
/* ttg.tasks for the default job, ttg.NAME.tasks for others. */
void amqp_names_of(struct amqp_names *n, struct str job);
/* The other way: whether `queue` is the queue `kind` ("job", "tasks") of some job, and of which. */
bool amqp_job_of(struct str queue, struct str kind, struct str *ret_job);

enum {
    AMQP_RETRY_MS = 5000, /* the playbook's retry queue */
    AMQP_RETRY_STEPS = 4, /* queues of each delay, spread over its jitter */
    AMQP_RETRIES_MAX = 32 * AMQP_RETRY_STEPS,
};

/* What the message in ttg.job says. */
struct amqp_marker {
    enum ledger_state state;
    uint64_t created_ms, dead;
    uint64_t unattended;     /* 1: all chunks are there, and no collector may ever come */
    uint64_t quorum;         /* 1: the job's queues are quorum queues */
    struct ledger_spec spec; /* its texts are in `texts` */
    struct buf texts;
};
int amqp_marker_add(struct buf *out, const struct amqp_marker *m);
int amqp_marker_read(struct amqp_marker *m, struct str text, struct err *err);
uint64_t amqp_marker_chunks(const struct amqp_marker *m);
/* For good: no dead letter is left that could be moved back. */
bool amqp_marker_ended(const struct amqp_marker *m);

/* Where nobody asked for other delays: the playbook's, always the same. */
void amqp_retry_default(struct ledger_spec *s);
/* How long a chunk waits after its `attempt` failed, and the queue it waits in. All messages of a
 * queue wait equally long, as only the first one of a queue expires; so the jitter is a choice
 * among AMQP_RETRY_STEPS queues, evenly from the shortest delay to the longest. */
uint32_t amqp_retry_ms(const struct ledger_spec *s, uint64_t attempt, unsigned step);
/* All delays of a job for which a queue may have been made beside the playbook's. */
size_t amqp_retry_all(const struct ledger_spec *s, uint32_t ret_ms[AMQP_RETRIES_MAX]);
void amqp_retry_name(const struct amqp_names *n, uint32_t ms, char out[AMQP_NAME_BYTES]);

/* What became of a chunk's attempts travels with it: a JSON object, attempt by attempt. `add` makes
 * one of the entries of `old` that have room and the new one. */
struct amqp_attempt {
    uint64_t at_ms, attempt;
    struct str worker, reason;
};
int amqp_history_add(struct buf *out, struct str old, const struct amqp_attempt *a);
/* Calls `fn` for each entry, oldest first. What is no history has none. */
void amqp_history_each(struct str history, void (*fn)(void *ctx, const struct amqp_attempt *a),
                       void *ctx);

struct amqp_engine;

/* Gets the answer to a call. rc TTG_ECLOSED and no event: the connection was cut; TTG_ECANCELED:
 * the queue is being closed; TTG_ETIMEOUT: a question was not answered. */
typedef void amqp_answer_fn(struct amqp_engine *e, void *ctx, int rc,
                            const struct amqp_event *event);

struct amqp_wait {
    struct list link;
    uint64_t id;
    uint64_t until_ms; /* 0: no limit */
    amqp_answer_fn *fn;
    void *ctx;
};

struct amqp_engine {
    struct queue queue;
    struct amqp_wire *wire;
    struct loop_async news;
    struct loop_timer timer, tick; /* tick: now and then while connected */
    struct prng prng;
    uint64_t gen, next_id, tries;
    uint64_t cut_ms, up_ms; /* when the last useful connection ended; when this one began */
    bool useful;            /* something came over this connection */
    unsigned in_vain;       /* connections, one after the other, that were of no use */
    uint32_t host;
    bool again, blocked; /* blocked: the broker takes nothing for now */
    struct list waits;
    struct amqp_astray astray;
    struct amqp_names names;
    bool named, marker_known;
    struct amqp_marker marker;
    struct buf text, history; /* messages are made here */
    struct buf scratch;       /* arrays for a decoded answer */
    struct amqp_worker *worker;
    struct amqp_collector *collector;
};

/* Posts a call; `fn` (may be NULL) gets its answer. Without memory the connection is given up. */
void amqp_post(struct amqp_engine *e, struct amqp_call *call, amqp_answer_fn *fn, void *ctx);
/* Asks whoever collects; rc TTG_ENOENT: nobody does. */
void amqp_ask(struct amqp_engine *e, struct str words, amqp_answer_fn *fn, void *ctx);
/* Tells everybody who listens to the job. */
void amqp_announce(struct amqp_engine *e, struct str what);
/* Connects anew, at once or after a pause. */
void amqp_cut(struct amqp_engine *e, const struct err *why);
/* The wall clock. */
uint64_t amqp_wall_ms(void);

/* Requests of each side; those of the other are answered TTG_EUNSUPPORTED. */
bool amqp_worker_send(struct amqp_engine *e, struct queue_request *r);
void amqp_worker_event(struct amqp_engine *e, const struct amqp_event *event);
void amqp_worker_down(struct amqp_engine *e);
void amqp_worker_tick(struct amqp_engine *e);
/* Whether it has nothing, and a delivery would change that. */
bool amqp_worker_waits(const struct amqp_engine *e);
void amqp_worker_free(struct amqp_engine *e);

void amqp_depths_send(struct amqp_engine *e, struct queue_request *r);

bool amqp_collect_send(struct amqp_engine *e, struct queue_request *r);
void amqp_collect_event(struct amqp_engine *e, const struct amqp_event *event);
void amqp_collect_up(struct amqp_engine *e);
void amqp_collect_down(struct amqp_engine *e, const struct err *why);
void amqp_collect_tick(struct amqp_engine *e);
bool amqp_collect_waits(const struct amqp_engine *e);
void amqp_collect_free(struct amqp_engine *e);

#endif
