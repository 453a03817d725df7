/* SPDX-License-Identifier: Apache-2.0 */
/* A process that only asks about a job: it asks the collector, over a queue that only a collector
 * has. When there is none it takes the lock, makes the ledger from what the broker keeps, and
 * answers itself, and whoever else asks meanwhile. */
#include "base/ensure.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"
#include "queue/resp.h"

#include <string.h>

enum { AGAIN_MS = 100, WORDS_BYTES_MAX = 1 << 20 };

enum step {
    FRESH,
    ASKED, /* the collector, if there is one */
    WAITS, /* for the ledger here */
    LATER, /* asked again in a moment */
};

static void ask(struct amqp_engine *e, struct queue_request *r);

/* Nobody collects: we look ourselves. */
static void begin_visit(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (c->stage != ASIDE || loop_now_ms(e->queue.loop) < c->yield_until_ms)
        return;
    c->visiting = true;
    c->created = false;
    c->stage = LOCKING;
    c->looks = 0;
    collector_lock(e);
}

static void later(struct amqp_engine *e, struct queue_request *r)
{
    r->step = LATER;
    e->collector->visit_again_ms = loop_now_ms(e->queue.loop) + AGAIN_MS;
}

/* "Nothing yet" is asked again for as long as the request may wait. */
static void replied(struct amqp_engine *e, struct queue_request *r, struct str reply)
{
    struct err err = {0};
    int rc = resp_decode(r, reply, &e->scratch, &err);
    bool waits = rc == TTG_EAGAIN && loop_now_ms(e->queue.loop) < r->deadline_ms;
    if (waits || str_starts(reply, STR("-LOADING")))
        later(e, r);
    else
        queue_finish(r, rc, rc ? &err : NULL);
}

static void on_replied(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct queue_request *r = ctx;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return; /* it is sent again, or has ended */
    if (rc == 0 && event) {
        replied(e, r, event->body);
        return;
    }
    later(e, r);
    begin_visit(e);
}

static void ask(struct amqp_engine *e, struct queue_request *r)
{
    struct buf words;
    buf_init(&words, WORDS_BYTES_MAX);
    int rc = collector_words(r, &words);
    ensure(rc == 0);
    r->step = ASKED;
    amqp_ask(e, buf_str(&words), on_replied, r);
    buf_done(&words);
}

/* The order of results is the output's: a visitor that goes on with an output begins with it. */
static bool begins_anew(struct amqp_engine *e, const struct queue_results *r)
{
    struct amqp_collector *c = e->collector;
    struct err err;
    if (!r->collected_path || r->collected_bytes == 0 || c->recall_bytes >= r->collected_bytes)
        return false;
    mem_free(c->recall_path);
    c->recall_path = mem_strdup(r->collected_path);
    c->recall_bytes = c->recall_path ? r->collected_bytes : 0;
    err_set(&err, TTG_ECLOSED, "the ledger is made from %s", r->collected_path);
    amqp_cut(e, &err); /* what was delivered comes again, and so does the request */
    return true;
}

static void answer_here(struct amqp_engine *e, struct queue_request *r)
{
    struct amqp_collector *c = e->collector;
    if (r->verb == QUEUE_RESULTS) {
        struct queue_results *results = (struct queue_results *)r;
        if (begins_anew(e, results))
            return;
        c->results = results;
        c->results_until_ms = loop_now_ms(e->queue.loop) + results->block_ms;
        collector_answer(e, results->block_ms == 0);
    } else if (r->verb == QUEUE_TRIM) {
        collector_trim(e, (struct queue_trim *)r);
    } else {
        collector_run(e, r);
    }
}

bool visit_send(struct amqp_engine *e, struct queue_request *r)
{
    struct amqp_collector *c = e->collector;
    r->deadline_ms = loop_now_ms(e->queue.loop) + resp_block_ms(r);
    if (c->visiting && c->stage == RUNNING)
        answer_here(e, r);
    else if (c->visiting && c->stage != ASIDE)
        r->step = WAITS;
    else if (c->locked) { /* it was refused us as a collector: we still have the lock */
        r->step = WAITS;
        begin_visit(e);
    } else {
        ask(e, r);
    }
    return true;
}

/* Requests of one kind, one after the other: each may end the queue or the connection. */
static struct queue_request *request_at(struct amqp_engine *e, enum step from, enum step to)
{
    list_each(it, &e->queue.requests)
    {
        struct queue_request *r = container_of(it, struct queue_request, link);
        if (r->sent && (r->step == from || r->step == to))
            return r;
    }
    return NULL;
}

void visit_loaded(struct amqp_engine *e)
{
    struct queue_request *r;
    uint64_t gen = e->gen;
    collector_heard(e);
    while (e->gen == gen && e->queue.up && (r = request_at(e, WAITS, LATER))) {
        r->step = FRESH;
        answer_here(e, r);
    }
}

void visit_failed(struct amqp_engine *e, int rc, const char *text)
{
    struct amqp_collector *c = e->collector;
    struct queue_request *r;
    struct err err;
    err_set(&err, rc, "%s", text);
    c->visiting = false;
    collector_clear(e);
    while ((r = request_at(e, WAITS, LATER)))
        queue_finish(r, rc, &err);
    /* The lock and what was delivered go with the connection. */
    err_set(&err, TTG_ECLOSED, "the look at the job has ended: %s", text);
    if (!e->queue.lost && e->queue.up && e->queue.request_count > 0) {
        amqp_cut(e, &err);
    } else if (!e->queue.lost && e->queue.up && c->locked) {
        /* A monitor stays connected: who creates the job must find it free. */
        struct amqp_call call = {.op = AMQP_DELETE, .queue = str_of(e->names.lock)};
        c->locked = false;
        amqp_post(e, &call, NULL, NULL);
    }
}

void visit_tick(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct queue_request *r;
    uint64_t gen = e->gen;
    if (c->visit_again_ms == 0 || loop_now_ms(e->queue.loop) < c->visit_again_ms)
        return;
    c->visit_again_ms = 0;
    if (c->visiting && c->stage == RUNNING) {
        visit_loaded(e);
        return;
    }
    if (c->visiting && c->stage != ASIDE)
        return; /* on its way: visit_loaded answers */
    while (e->gen == gen && (r = request_at(e, WAITS, LATER)))
        ask(e, r);
}
