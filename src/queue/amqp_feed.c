/* SPDX-License-Identifier: Apache-2.0 */
/* The collector feeds its job: a window of chunks at a time, or all at once; and ends it. */
#include "base/ensure.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"
#include "wire/message.h"

enum { UNCONFIRMED_MAX = 1000 /* tasks published and not on the broker's disk */ };

void *collector_room(void *array, size_t count, size_t *cap, size_t bytes)
{
    if (count < *cap)
        return array;
    size_t more = *cap ? *cap * 2 : 64;
    void *room = mem_realloc(array, more * bytes);
    ensure(room != NULL); /* as in amqp_post */
    *cap = more;
    return room;
}

static void on_fed(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    uint64_t chunk = (uint64_t)(uintptr_t)ctx;
    (void)event;
    c->unconfirmed--;
    if (rc) {
        c->again = collector_room(c->again, c->again_count, &c->again_cap, sizeof *c->again);
        c->again[c->again_count++] = chunk;
    } else if (e->queue.up) {
        collector_feed(e);
    }
}

bool collector_is_open(const struct amqp_collector *c, uint64_t chunk)
{
    struct ledger_chunk_info info;
    ledger_chunk_info(c->ledger, chunk, &info);
    return info.place != LEDGER_AT_DONE && info.place != LEDGER_AT_DEAD &&
           info.place != LEDGER_AT_DROPPED;
}

struct amqp_call collector_task(struct amqp_engine *e, uint64_t chunk, bool afresh)
{
    struct amqp_collector *c = e->collector;
    char id[MESSAGE_CHUNK_ID_BYTES], created[CLOCK_TEXT_BYTES];
    struct ledger_chunk_info info;
    struct message_task t = {.chunk_id = str_make(id, message_chunk_id(id, chunk)),
                             .total_in_chunk = ledger_range_count(c->ledger, chunk)};
    clock_text(created, e->marker.created_ms);
    t.created_at = str_of(created);
    ledger_range(c->ledger, chunk, &t.start_param, &t.end_param);
    ledger_chunk_info(c->ledger, chunk, &info);
    buf_clear(&e->text);
    int rc = message_add_task(&e->text, &t);
    ensure(rc == 0);
    bool tried = !afresh && info.attempts > 0;
    return (struct amqp_call){.op = AMQP_PUBLISH,
                              .queue = str_of(e->names.tasks),
                              .attempt = tried ? info.attempts + 1 : 0,
                              .body = buf_str(&e->text)};
}

static void publish_task(struct amqp_engine *e, uint64_t chunk)
{
    struct amqp_call call = collector_task(e, chunk, false);
    e->collector->unconfirmed++;
    amqp_post(e, &call, on_fed, (void *)(uintptr_t)chunk);
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
        collector_created(e);
}

void collector_feed(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (c->visiting)
        return;
    if (c->stage == FEEDING && c->next == c->chunks && c->unconfirmed == 0 && !c->again_count) {
        c->stage = LOOKING;
        collector_mark(e, on_marked, NULL);
        return;
    }
    if ((c->stage != RUNNING && c->stage != FEEDING) || e->marker.state != LEDGER_RUNNING)
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
void collector_feed_all(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct ledger_spec spec = e->marker.spec;
    spec.window = LEDGER_WINDOW_MAX;
    if (ledger_new(c->create->call.job, &spec, 1, e->marker.created_ms, NULL, &c->ledger)) {
        collector_failed(e, TTG_ENOMEM, "out of memory");
        return;
    }
    c->chunks = amqp_marker_chunks(&e->marker);
    c->next = 0;
    c->stage = FEEDING;
    collector_feed(e);
}

/* --- the end --- */

static void on_end_marked(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct err err;
    (void)event;
    (void)ctx;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return; /* it comes again with the connection */
    if (rc) {
        err_set(&err, TTG_ECLOSED, "the broker refuses to keep the job's end");
        amqp_cut(e, &err);
        return;
    }
    amqp_announce(e, STR("ended"));
    e->collector->stage = ENDED;
    collector_answer(e, false);
}

void collector_mark_end(struct amqp_engine *e)
{
    collector_mark(e, on_end_marked, NULL);
}

void collector_check_end(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct ledger_status s;
    if (c->stage != RUNNING || c->visiting)
        return;
    ledger_status(c->ledger, &s);
    if (s.state < LEDGER_FINISHED)
        return;
    c->stage = ENDING;
    e->marker.state = s.state;
    e->marker.dead = s.dead;
    collector_mark_end(e);
}
