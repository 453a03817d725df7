/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_collector - what the files of the collector share.
 *
 *     amqp_create.c   the lock, the queues, the marker: the job comes
 *     amqp_silent.c   its queues do not answer
 *     amqp_state.c    what was known before: snapshot, dead letters, messages that wait
 *     amqp_feed.c     chunks go out; the end
 *     amqp_collect.c  results come in and are handed on
 *     amqp_verbs.c    other questions and commands
 *     amqp_visit.c    a process that only asks
 *
 * Who holds the lock has the ledger. Mostly that is `ttg run`. A process that asks about the job,
 * and finds nobody to ask, takes the lock for a while and makes the ledger itself: it is visiting.
 * A visitor feeds no chunks, acknowledges nothing it has not kept, and leaves when a collector
 * comes. */
#ifndef TTG_QUEUE_AMQP_COLLECTOR_H
#define TTG_QUEUE_AMQP_COLLECTOR_H

#include "queue/amqp.h"
#include "queue/amqp_lines.h"

enum collector_stage {
    ASIDE,
    LOCKING,
    LOOKING,  /* for the marker, or writing it */
    FEEDING,  /* an unattended job gets all its chunks */
    CREATED,  /* the ledger is as it was saved; waits for the first request for results */
    LOADING,  /* the dead letters */
    DRAINING, /* results that came while nobody collected, before chunks are fed */
    RUNNING,
    ENDING,
    ENDED,
};

enum {
    YIELD_MS = 2000,
    DRAIN_MS = 1000, /* a result that somebody else took away is not waited for */
};

/* Of a chunk given up: the message that says so to those who count results. */
struct notice {
    uint64_t chunk, tag, gen;
};

struct amqp_collector {
    enum collector_stage stage;
    bool visiting, created;
    bool begun;            /* there was no job: this process began to make it */
    uint64_t silent_ms;    /* since when the job's queues have not answered; 0: they do */
    uint64_t patience_ms;  /* until queues that do not answer are made again */
    unsigned silent_count; /* connections that were cut over it */
    char *silent_why;
    bool locked, serving; /* on this connection: the lock is ours, questions come to us */
    struct queue_create *create;
    struct queue_results *results;
    uint64_t results_until_ms;
    uint64_t lock_until_ms, lock_again_ms, visit_again_ms; /* 0: not waiting */
    uint64_t yield_until_ms; /* a visitor left: the collector has its turn */
    unsigned looks;
    bool gone;         /* a queue of the job seems to have been deleted */
    uint64_t last_ms;  /* when the newest result was completed that was not seen coming in */
    uint64_t heard_ms; /* when the last result came, or its queues were looked at */

    struct ledger *ledger;
    uint64_t chunks, next, open, unconfirmed; /* next: the lowest chunk never published */
    uint64_t *again; /* chunks to be published once more: their confirm was lost */
    size_t again_count, again_cap;

    struct amqp_lines lines;
    uint64_t seq, given_seq, saved_seq; /* newest result; handed on; safe in the output */
    uint64_t last_tag, settled_tag;     /* of the last delivery on this connection; acknowledged */

    struct buf snapshot; /* of the ledger as it was when `snapshot_seq` was handed on */
    uint64_t snapshot_seq, snapshot_tag, snapshot_gen, snapshot_ms;

    uint64_t browsed_tag, drain, drain_until_ms;
    uint64_t *letters; /* chunks that have a letter among the dead, while loading */
    size_t letter_count, letter_cap;
    struct notice *notices;
    size_t notice_count, notice_cap;
    char *recall_path; /* a visitor's: the output to begin with */
    uint64_t recall_bytes;
};

bool collector_make(struct amqp_engine *e);
/* Forgets the ledger and all that belongs to it. */
void collector_clear(struct amqp_engine *e);
/* Ends the request that is waiting for the job, or the visitors' requests, or the queue. */
void collector_failed(struct amqp_engine *e, int rc, const char *text);
/* Makes room for one more element. */
void *collector_room(void *array, size_t count, size_t *cap, size_t bytes);

/* --- amqp_create.c --- */

void collector_create(struct amqp_engine *e, struct queue_create *create);
/* Declares the job's queues. */
void collector_topology(struct amqp_engine *e);
/* The request for the job is answered. */
void collector_created(struct amqp_engine *e);
/* Takes the lock; a visitor goes to look for the marker then, too. */
void collector_lock(struct amqp_engine *e);
/* Writes the marker anew; the broker keeps the newest one. */
void collector_mark(struct amqp_engine *e, amqp_answer_fn *fn, void *ctx);
/* An answer that is a refusal ends the collector by name; `ctx`: the queue it was about. */
void collector_step(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event);
void collector_purge(struct amqp_engine *e, const char *queue);
/* Every queue in which a chunk may wait. */
void collector_purge_tasks(struct amqp_engine *e);

/* --- amqp_silent.c --- */

/* The connection is cut: perhaps because a queue of the job does not answer. */
void collector_interrupted(struct amqp_engine *e, const struct err *why);
/* The job's queues answer. */
void collector_heard(struct amqp_engine *e);
/* Connected again after something like that: a job whose queues were deleted gets them and what was
 * in them again; then `then`. */
void collector_mend(struct amqp_engine *e, void (*then)(struct amqp_engine *e));
/* Now and then, while no results come. */
void collector_look_after(struct amqp_engine *e);
/* Before they are asked. False: they were asked in vain for too long, and the collector failed. */
bool collector_bears_silence(struct amqp_engine *e);

/* --- amqp_feed.c --- */

/* Publishes as many chunks as the window has room for. */
void collector_feed(struct amqp_engine *e);
void collector_feed_all(struct amqp_engine *e);
bool collector_is_open(const struct amqp_collector *c, uint64_t chunk);
/* The chunk's message, with the attempt that comes next, in `e->text`; what to publish. */
struct amqp_call collector_task(struct amqp_engine *e, uint64_t chunk, bool afresh);
/* When the ledger says that the job has ended, everybody is told. */
void collector_check_end(struct amqp_engine *e);
void collector_mark_end(struct amqp_engine *e);

/* --- amqp_state.c --- */

/* Asks for the snapshot; `then` is called with the ledger in place. */
void collector_restore(struct amqp_engine *e, void (*then)(struct amqp_engine *e));
/* Dead letters, then whatever waits; RUNNING at the end. */
void collector_load(struct amqp_engine *e);
void collector_drained(struct amqp_engine *e);
/* All that waited has come. */
void collector_check_drained(struct amqp_engine *e);
/* Keeps the ledger's bytes, to be published once the output is that far. */
void collector_snapshot(struct amqp_engine *e);
/* Acknowledges what was handed on when too much is not acknowledged. */
void collector_relieve(struct amqp_engine *e);
void collector_trim(struct amqp_engine *e, struct queue_trim *t);

/* --- amqp_collect.c --- */

/* Answers the request for results that waits, when there is an answer; `over`: it waits no longer.
 */
void collector_answer(struct amqp_engine *e, bool over);
/* A visitor lacks results behind `cursor`: they are with a collector that is away for a moment, as
 * it has not announced the end. Who follows waits for it. */
bool collector_is_awaited(const struct amqp_engine *e, uint64_t cursor);
/* Each line of the saved output that the snapshot does not cover is a commit. */
int collector_recall(struct amqp_collector *c, const char *path, uint64_t bytes, struct err *err);
void collector_consume(struct amqp_engine *e);
void collector_consume_no_more(struct amqp_engine *e);

/* --- amqp_verbs.c --- */

/* Runs a request against the ledger that is here. */
void collector_run(struct amqp_engine *e, struct queue_request *r);
/* A question of another process. */
void collector_asked(struct amqp_engine *e, const struct amqp_event *event);
/* A request as the words of its command; in `out`. */
int collector_words(struct queue_request *r, struct buf *out);

/* --- amqp_visit.c --- */

bool visit_send(struct amqp_engine *e, struct queue_request *r);
void visit_loaded(struct amqp_engine *e);
void visit_failed(struct amqp_engine *e, int rc, const char *text);
void visit_tick(struct amqp_engine *e);

#endif
