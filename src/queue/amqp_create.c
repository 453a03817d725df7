/* SPDX-License-Identifier: Apache-2.0 */
/* A job on a RabbitMQ broker: its lock, its queues, its creation.
 *
 * Who holds the exclusive queue ttg.job.lock is the collector. The message in ttg.job says that the
 * job exists: nobody creates its chunks again. That queue keeps its newest message only, so writing
 * it anew is one step. */
#include "base/ensure.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"
#include "wire/message.h"
#include "wire/resp_client.h"

#include <stdio.h>

enum {
    LOCK_MS = 10000, /* a dead process's connection may be there for some seconds */
    LOCK_AGAIN_MS = 50,
    LOOKS_MAX = 200,
};

void collector_failed(struct amqp_engine *e, int rc, const char *text)
{
    struct amqp_collector *c = e->collector;
    struct queue_create *create = c->create;
    struct err err;
    err_set(&err, rc, "%s", text);
    c->stage = ASIDE;
    c->create = NULL;
    if (c->visiting)
        visit_failed(e, rc, text);
    else if (create)
        queue_finish(&create->call.request, rc, &err);
    else
        queue_lose(&e->queue, &err);
}

/* --- topology --- */

void collector_step(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    const char *what = ctx;
    char text[ERR_TEXT_BYTES_MAX];
    if (!rc || !event || e->collector->stage == ASIDE)
        return;
    snprintf(text, sizeof text, "%s: %.*s", what,
             (int)(event->body.len > 300 ? 300 : event->body.len), event->body.ptr);
    collector_failed(e, rc, text);
}

static void declare(struct amqp_engine *e, const char *queue, uint32_t ttl_ms, const char *dead_to,
                    unsigned flags)
{
    struct amqp_call call = {.op = AMQP_DECLARE,
                             .queue = str_of(queue),
                             .number = ttl_ms,
                             .dead_to = str_of(dead_to),
                             .flags = flags | (e->marker.quorum ? AMQP_QUORUM : 0) |
                                      (e->collector->begun ? AMQP_SLOW : 0)};
    amqp_post(e, &call, collector_step, (void *)(uintptr_t)queue);
}

void collector_topology(struct amqp_engine *e)
{
    const struct amqp_names *n = &e->names;
    declare(e, n->tasks, 0, n->retry, AMQP_LIMITED);
    declare(e, n->results, 0, NULL, AMQP_LOOKED_AT);
    declare(e, n->retry, AMQP_RETRY_MS, n->tasks, 0);
    declare(e, n->suspect, 0, NULL, AMQP_LOOKED_AT);
    declare(e, n->dlq, 0, NULL, AMQP_LOOKED_AT);
    declare(e, n->notes, 0, NULL, AMQP_LOOKED_AT);
    declare(e, n->state, 0, NULL, AMQP_NEWEST | AMQP_LOOKED_AT);
    declare(e, n->job, 0, NULL, AMQP_NEWEST | AMQP_LOOKED_AT);
    if (e->collector->serving)
        return;
    struct amqp_call call = {.op = AMQP_SERVE, .queue = str_of(n->control)};
    e->collector->serving = true;
    amqp_post(e, &call, collector_step, (void *)(uintptr_t)n->control);
}

void collector_purge(struct amqp_engine *e, const char *queue)
{
    struct amqp_call call = {
        .op = AMQP_PURGE, .queue = str_of(queue), .flags = e->collector->begun ? AMQP_SLOW : 0};
    amqp_post(e, &call, collector_step, (void *)(uintptr_t)queue);
}

/* A queue of a delay exists once somebody needed it. */
static void on_purged(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    if (rc != TTG_ENOENT)
        collector_step(e, ctx, rc, event);
}

void collector_purge_tasks(struct amqp_engine *e)
{
    char queue[AMQP_NAME_BYTES];
    uint32_t ms[AMQP_RETRIES_MAX];
    size_t count = amqp_retry_all(&e->marker.spec, ms);
    collector_purge(e, e->names.tasks);
    collector_purge(e, e->names.suspect);
    collector_purge(e, e->names.retry);
    for (size_t i = 0; i < count; i++) {
        amqp_retry_name(&e->names, ms[i], queue);
        struct amqp_call call = {.op = AMQP_PURGE, .queue = str_of(queue)};
        amqp_post(e, &call, on_purged, e->names.retry);
    }
}

/* --- the marker --- */

static int keep_spec(struct amqp_marker *m, const struct ledger_spec *spec)
{
    buf_done(&m->texts);
    *m = (struct amqp_marker){.spec = *spec};
    buf_init(&m->texts, 4 * LEDGER_TEXT_BYTES_MAX);
    int rc = buf_add_str(&m->texts, spec->kernel);
    rc = rc ? rc : buf_add_str(&m->texts, spec->input);
    m->spec.kernel.ptr = buf_str(&m->texts).ptr;
    m->spec.input.ptr = buf_str(&m->texts).ptr + spec->kernel.len;
    return rc;
}

void collector_mark(struct amqp_engine *e, amqp_answer_fn *fn, void *ctx)
{
    buf_clear(&e->text);
    int rc = amqp_marker_add(&e->text, &e->marker);
    ensure(rc == 0);
    struct amqp_call call = {
        .op = AMQP_PUBLISH, .queue = str_of(e->names.job), .body = buf_str(&e->text)};
    amqp_post(e, &call, fn, ctx);
}

/* --- creating --- */

void collector_created(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct queue_create *create = c->create;
    bool unattended = create->unattended;
    struct err err;
    c->stage = CREATED;
    c->create = NULL;
    c->begun = false;
    collector_heard(e);
    create->created = c->created;
    create->created_ms = e->marker.created_ms;
    queue_finish(&create->call.request, 0, NULL);
    if (!unattended)
        return;
    c->stage = ASIDE; /* whoever wants to collect may have the lock, which goes with this cut */
    collector_clear(e);
    err_set(&err, TTG_ECLOSED, "the job is created");
    amqp_cut(e, &err);
}

/* The job is there, and so is what was known of it. */
static void create_done(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct queue_create *create = c->create;
    struct err err;
    if (ledger_same(c->ledger, &create->spec, &err) == TTG_EEXIST) {
        collector_clear(e);
        collector_failed(e, TTG_EEXIST, err.text);
        return;
    }
    collector_created(e);
}

static void on_marked(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)ctx;
    (void)event;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return;
    if (rc)
        collector_failed(e, rc, "the broker could not keep the job");
    else
        collector_restore(e, create_done);
}

static bool wants_quorum(const struct amqp_engine *e)
{
    const char *type = e->queue.config->queue_type;
    return type && strcmp(type, "quorum") == 0;
}

/* A new job: what lies around is not its. */
static void create_new(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    c->created = c->begun = true;
    if (keep_spec(&e->marker, &c->create->spec)) {
        collector_failed(e, TTG_ENOMEM, "out of memory");
        return;
    }
    e->marker.created_ms = amqp_wall_ms();
    e->marker.quorum = wants_quorum(e);
    e->marker.unattended = c->create->unattended;
    collector_topology(e);
    collector_purge_tasks(e);
    collector_purge(e, e->names.results);
    collector_purge(e, e->names.dlq);
    collector_purge(e, e->names.notes);
    collector_purge(e, e->names.state);
    if (c->create->unattended)
        collector_feed_all(e);
    else
        collector_mark(e, on_marked, NULL);
}

static void create_again(struct amqp_engine *e)
{
    const struct amqp_marker *m = &e->marker;
    const char *type = e->queue.config->queue_type;
    if (type && wants_quorum(e) != (m->quorum == 1)) {
        collector_failed(e, TTG_EEXIST,
                         m->quorum ? "the job's queues are quorum queues: --queue-type quorum"
                                   : "the job's queues are classic queues: --queue-type classic");
        return;
    }
    collector_topology(e);
    if (amqp_marker_ended(m)) {
        collector_failed(e, TTG_EDONE,
                         "a job of this name has ended; `ttg cancel --forget` removes it, or "
                         "choose another --job");
        return;
    }
    if (m->state == LEDGER_FINISHED) { /* its dead letters may have been moved back */
        e->marker.state = LEDGER_RUNNING;
        e->marker.dead = 0;
        collector_mark(e, on_marked, NULL);
    } else {
        collector_restore(e, create_done);
    }
}

static void look(struct amqp_engine *e);

static void on_looked(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    struct err err;
    (void)ctx;
    if (!event || c->stage != LOOKING)
        return;
    bool found = !rc && event->found;
    if (rc && rc != TTG_ENOENT) {
        collector_step(e, e->names.job, rc, event);
        return;
    }
    if (found) {
        struct amqp_call call = {.op = AMQP_NACK, .tag = event->tag, .flags = AMQP_ON_GET};
        amqp_post(e, &call, NULL, NULL);
    }
    /* Empty while somebody else looks at it; a message behind it is newer. */
    if (!rc && (!found || event->count > 0) && ++c->looks < LOOKS_MAX) {
        look(e);
        return;
    }
    rc = found ? amqp_marker_read(&e->marker, event->body, &err) : 0;
    if (rc)
        collector_failed(e, rc, err.text);
    else if (c->visiting && !found)
        collector_failed(e, TTG_ENOENT, "there is no such job");
    else if (c->visiting) {
        collector_topology(e);
        collector_restore(e, collector_load);
    } else if (!found)
        create_new(e);
    else
        create_again(e);
}

static void look(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_GET, .queue = str_of(e->names.job)};
    amqp_post(e, &call, on_looked, NULL);
}

/* --- the lock --- */

/* Connected again: the ledger is here and knows all; the broker kept the rest. */
static void go_on(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    collector_topology(e);
    if (c->stage == LOADING || c->stage == DRAINING)
        collector_load(e);
    if (c->stage == RUNNING || c->stage == ENDING)
        collector_consume(e);
    if (c->stage == RUNNING)
        collector_feed(e);
    if (c->stage == ENDING)
        collector_mark_end(e);
}

static void locked(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    c->lock_until_ms = 0;
    c->locked = true;
    if (c->stage == LOCKING) {
        c->stage = LOOKING;
        c->looks = 0;
        if (collector_bears_silence(e))
            look(e);
        return;
    }
    collector_mend(e, go_on);
}

static void on_yielded(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    (void)ctx;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return;
    if (!rc && event && event->body.len > 0 && event->body.ptr[0] == '-') {
        collector_failed(e, TTG_EBUSY, "another process collects this job's results");
        return;
    }
    if (loop_now_ms(e->queue.loop) < c->lock_until_ms) {
        c->lock_again_ms = loop_now_ms(e->queue.loop) + LOCK_AGAIN_MS;
        return;
    }
    char text[ERR_TEXT_BYTES_MAX];
    snprintf(text, sizeof text,
             "the job's lock (queue %s) is taken, and whoever has it is silent: a process that "
             "hangs, or a broker that could not make the queue (see the broker's log, ttg doctor)",
             e->names.lock);
    collector_failed(e, TTG_EBUSY, text);
}

static void on_locked(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    struct buf words;
    (void)ctx;
    if (!event || rc == TTG_ECANCELED)
        return;
    if (rc == TTG_EBUSY && c->visiting) {
        c->stage = ASIDE;
        c->visit_again_ms = loop_now_ms(e->queue.loop) + 2 * LOCK_AGAIN_MS;
    } else if (rc == TTG_EBUSY) { /* a visitor leaves when it is asked */
        buf_init(&words, 256);
        rc = resp_command(&words, 1) || resp_word(&words, STR("TTG.YIELD"));
        ensure(rc == 0);
        amqp_ask(e, buf_str(&words), on_yielded, NULL);
        buf_done(&words);
    } else if (rc) {
        collector_step(e, e->names.lock, rc, event);
    } else {
        locked(e);
    }
}

void collector_lock(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct amqp_call call = {
        .op = AMQP_DECLARE, .queue = str_of(e->names.lock), .flags = AMQP_EXCLUSIVE};
    c->lock_again_ms = 0;
    if (c->lock_until_ms == 0)
        c->lock_until_ms = loop_now_ms(e->queue.loop) + LOCK_MS;
    amqp_post(e, &call, on_locked, NULL);
}

void collector_create(struct amqp_engine *e, struct queue_create *create)
{
    struct amqp_collector *c = e->collector;
    c->create = create;
    amqp_retry_default(&create->spec);
    c->visiting = false;
    c->stage = LOCKING;
    c->lock_until_ms = 0;
    collector_lock(e);
}
