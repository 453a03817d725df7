/* SPDX-License-Identifier: Apache-2.0 */
/* A job on a RabbitMQ broker: its queues, its creation, its chunks, its end.
 *
 * Who holds the exclusive queue ttg.job.lock is the collector. The message in ttg.job says that the
 * job exists: nobody creates its chunks again. The newest one counts; it is published before the
 * older one goes. */
#include "base/ensure.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"
#include "wire/message.h"

#include <stdio.h>

enum { UNCONFIRMED_MAX = 1000 /* tasks published and not on the broker's disk */ };

static void start_failed(struct amqp_engine *e, int rc, const char *text)
{
    struct amqp_collector *c = e->collector;
    struct queue_create *create = c->create;
    struct err err;
    err_set(&err, rc, "%s", text);
    c->stage = ASIDE;
    c->create = NULL;
    if (create)
        queue_finish(&create->call.request, rc, &err);
    else
        queue_lose(&e->queue, &err);
}

/* --- topology, lock, marker --- */

static void on_step(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    const char *what = ctx;
    char text[ERR_TEXT_BYTES_MAX];
    if (!rc || !event || e->collector->stage == ASIDE)
        return;
    if (rc == TTG_EBUSY && e->collector->stage >= CREATED) {
        /* Most likely our own lock, of a connection that the broker has not given up yet. */
        struct err err;
        err_set(&err, rc, "the job's lock is taken");
        amqp_cut(e, &err);
        return;
    }
    if (rc == TTG_EBUSY)
        snprintf(text, sizeof text, "another process collects this job's results (%.*s)",
                 (int)(event->body.len > 300 ? 300 : event->body.len), event->body.ptr);
    else
        snprintf(text, sizeof text, "%s: %.*s", what,
                 (int)(event->body.len > 300 ? 300 : event->body.len), event->body.ptr);
    start_failed(e, rc, text);
}

static void declare(struct amqp_engine *e, const char *queue, uint32_t ttl_ms, const char *dead_to,
                    unsigned flags)
{
    struct amqp_call call = {.op = AMQP_DECLARE,
                             .queue = str_of(queue),
                             .number = ttl_ms,
                             .dead_to = str_of(dead_to),
                             .flags = flags};
    amqp_post(e, &call, on_step, (void *)(uintptr_t)queue);
}

void collector_topology(struct amqp_engine *e)
{
    const struct amqp_names *n = &e->names;
    declare(e, n->lock, 0, NULL, AMQP_EXCLUSIVE);
    declare(e, n->tasks, 0, n->retry, 0);
    declare(e, n->results, 0, NULL, 0);
    declare(e, n->retry, AMQP_RETRY_MS, n->tasks, 0);
    declare(e, n->dlq, 0, NULL, 0);
    declare(e, n->job, 0, NULL, 0);
}

void collector_purge(struct amqp_engine *e, const char *queue)
{
    struct amqp_call call = {.op = AMQP_PURGE, .queue = str_of(queue)};
    amqp_post(e, &call, on_step, (void *)(uintptr_t)queue);
}

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

static void put_marker(struct amqp_engine *e, void (*fn)(struct amqp_engine *e, void *ctx, int rc,
                                                         const struct amqp_event *event))
{
    buf_clear(&e->text);
    int rc = amqp_marker_add(&e->text, &e->marker);
    ensure(rc == 0);
    struct amqp_call call = {
        .op = AMQP_PUBLISH, .queue = str_of(e->names.job), .body = buf_str(&e->text)};
    amqp_post(e, &call, fn, NULL);
}

static void create_done(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct queue_create *create = c->create;
    struct ledger_spec spec = e->marker.spec;
    struct err err;
    spec.window = LEDGER_WINDOW_MAX; /* the window is ours to keep; fresh chunks cost nothing */
    if (!c->ledger &&
        ledger_new(create->call.job, &spec, 1, e->marker.created_ms, NULL, &c->ledger)) {
        start_failed(e, TTG_ENOMEM, "out of memory");
        return;
    }
    if (ledger_same(c->ledger, &create->spec, &err) == TTG_EEXIST) {
        ledger_free(c->ledger);
        c->ledger = NULL;
        start_failed(e, TTG_EEXIST, err.text);
        return;
    }
    c->stage = CREATED;
    c->chunks = amqp_marker_chunks(&e->marker);
    c->create = NULL;
    create->created = c->created;
    create->created_ms = e->marker.created_ms;
    queue_finish(&create->call.request, 0, NULL);
}

static void look(struct amqp_engine *e);
static void feed_all(struct amqp_engine *e);

static void on_marked(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)ctx;
    (void)event;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return;
    if (rc)
        start_failed(e, rc, "the broker could not keep the job");
    else if (e->collector->created)
        create_done(e);
    else
        look(e);
}

static void on_looked(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    struct err err;
    (void)ctx;
    if (!event || c->stage != CREATING)
        return;
    if (rc) {
        on_step(e, e->names.job, rc, event);
        return;
    }
    if (!event->found) { /* a new job: what lies around is not its */
        c->created = true;
        collector_purge(e, e->names.tasks);
        collector_purge(e, e->names.retry);
        collector_purge(e, e->names.results);
        collector_purge(e, e->names.dlq);
        if (keep_spec(&e->marker, &c->create->spec)) {
            start_failed(e, TTG_ENOMEM, "out of memory");
            return;
        }
        e->marker.created_ms = amqp_wall_ms();
        if (c->create->unattended)
            feed_all(e);
        else
            put_marker(e, on_marked);
        return;
    }
    struct amqp_call call = {
        .op = event->count > 0 ? AMQP_ACK : AMQP_NACK, .tag = event->tag, .flags = AMQP_ON_GET};
    amqp_post(e, &call, NULL, NULL);
    if (event->count > 0) { /* an older one: a crash came between the new one and its removal */
        look(e);
        return;
    }
    rc = amqp_marker_read(&e->marker, event->body, &err);
    if (rc)
        start_failed(e, rc, err.text);
    else if (e->marker.state >= LEDGER_FINISHED && e->marker.dead == 0)
        start_failed(e, TTG_EDONE, "a job of this name has ended; choose another --job");
    else if (e->marker.state >= LEDGER_FINISHED) { /* its dead letters may have been redriven */
        e->marker.state = LEDGER_RUNNING;
        e->marker.dead = 0;
        put_marker(e, on_marked);
    } else {
        create_done(e);
    }
}

static void look(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_GET, .queue = str_of(e->names.job)};
    amqp_post(e, &call, on_looked, NULL);
}

void collector_create(struct amqp_engine *e, struct queue_create *create)
{
    struct amqp_collector *c = e->collector;
    c->create = create;
    c->stage = CREATING;
    collector_topology(e);
    look(e);
}

/* --- feeding --- */

static void on_fed(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    uint64_t chunk = (uint64_t)(uintptr_t)ctx;
    (void)event;
    c->unconfirmed--;
    if (rc && c->again_count == c->again_cap) {
        size_t cap = c->again_cap ? c->again_cap * 2 : 64;
        uint64_t *more = mem_realloc(c->again, cap * sizeof *more);
        ensure(more != NULL);
        c->again = more;
        c->again_cap = cap;
    }
    if (rc)
        c->again[c->again_count++] = chunk;
    else if (e->queue.up)
        collector_feed(e);
}

bool collector_is_open(const struct amqp_collector *c, uint64_t chunk)
{
    struct ledger_chunk_info info;
    ledger_chunk_info(c->ledger, chunk, &info);
    return info.place != LEDGER_AT_DONE && info.place != LEDGER_AT_DEAD &&
           info.place != LEDGER_AT_DROPPED;
}

static void publish_task(struct amqp_engine *e, uint64_t chunk)
{
    struct amqp_collector *c = e->collector;
    char id[MESSAGE_CHUNK_ID_BYTES], created[CLOCK_TEXT_BYTES];
    struct message_task t = {.chunk_id = str_make(id, message_chunk_id(id, chunk)),
                             .total_in_chunk = ledger_range_count(c->ledger, chunk),
                             .created_at = str_of(created)};
    clock_text(created, e->marker.created_ms);
    ledger_range(c->ledger, chunk, &t.start_param, &t.end_param);
    buf_clear(&e->text);
    int rc = message_add_task(&e->text, &t);
    ensure(rc == 0);
    struct amqp_call call = {
        .op = AMQP_PUBLISH, .queue = str_of(e->names.tasks), .body = buf_str(&e->text)};
    c->unconfirmed++;
    amqp_post(e, &call, on_fed, (void *)(uintptr_t)chunk);
}

void collector_feed(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (c->stage == FEEDING && c->next == c->chunks && c->unconfirmed == 0 && !c->again_count) {
        c->stage = CREATING;
        put_marker(e, on_marked);
        return;
    }
    if (c->stage != RUNNING && c->stage != FEEDING)
        return;
    while (c->again_count > 0 && c->unconfirmed < UNCONFIRMED_MAX) {
        uint64_t chunk = c->again[--c->again_count];
        if (collector_is_open(c, chunk))
            publish_task(e, chunk);
    }
    while (c->next < c->chunks && (c->open < e->marker.spec.window || c->stage == FEEDING) &&
           c->unconfirmed < UNCONFIRMED_MAX) {
        uint64_t chunk = c->next++;
        if (!collector_is_open(c, chunk))
            continue;
        c->open++;
        publish_task(e, chunk);
    }
}

/* All chunks at once, and only then the marker: a creator that dies in between is simply replaced,
 * since nobody takes a chunk of a job without marker. */
static void feed_all(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct ledger_spec spec = e->marker.spec;
    e->marker.unattended = 1;
    spec.window = LEDGER_WINDOW_MAX;
    if (ledger_new(c->create->call.job, &spec, 1, e->marker.created_ms, NULL, &c->ledger)) {
        start_failed(e, TTG_ENOMEM, "out of memory");
        return;
    }
    c->chunks = amqp_marker_chunks(&e->marker);
    c->next = 0;
    c->stage = FEEDING;
    collector_feed(e);
}

/* --- the end --- */

static void on_old_marker(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    (void)ctx;
    if (!event)
        return;
    if (!rc && event->found) {
        struct amqp_call call = {
            .op = event->count > 0 ? AMQP_ACK : AMQP_NACK, .tag = event->tag, .flags = AMQP_ON_GET};
        amqp_post(e, &call, NULL, NULL);
    }
    c->stage = ENDED;
    collector_answer(e, false);
}

static void on_end_marked(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)event;
    (void)ctx;
    if (rc)
        return; /* cut: it comes again with the connection */
    struct amqp_call call = {.op = AMQP_ANNOUNCE, .queue = str_of(e->names.job)};
    amqp_post(e, &call, NULL, NULL);
    call = (struct amqp_call){.op = AMQP_GET, .queue = str_of(e->names.job)};
    amqp_post(e, &call, on_old_marker, NULL);
}

void collector_mark_end(struct amqp_engine *e)
{
    put_marker(e, on_end_marked);
}

void collector_check_end(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct ledger_status s;
    if (c->stage != RUNNING)
        return;
    ledger_status(c->ledger, &s);
    if (s.state < LEDGER_FINISHED)
        return;
    c->stage = ENDING;
    e->marker.state = s.state;
    e->marker.dead = s.dead;
    collector_mark_end(e);
}
