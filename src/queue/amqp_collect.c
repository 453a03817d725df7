/* SPDX-License-Identifier: Apache-2.0 */
/* The job's one collector on a RabbitMQ broker: owns its ledger, gathers its results.
 *
 * The ledger is made anew from the output that has been saved (each line is a commit), from the
 * results that wait and from the dead letters; then what waits in the task queues is thrown away
 * and every chunk that is not done is published, a window of them at a time. What workers still run
 * comes in as well, and what comes twice is dropped.
 *
 * Results are acknowledged once the output and its cursor are on disk. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"
#include "wire/message.h"

#include <fcntl.h>
#include <unistd.h>

enum {
    LINES_BYTES_MAX = 1 << 30,
    READ_BYTES = 1 << 20,
    EVENTS_MAX = 100,
    DRAIN_MS = 1000, /* a result that somebody else took away is not waited for */
};

/* --- results --- */

static void drained(struct amqp_engine *e);

/* The bytes of an output_base64. */
static int decode_base64(struct str s, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int have = 0, rc = 0;
    for (size_t i = 0; !rc && i < s.len && s.ptr[i] != '='; i++) {
        const char *at = s.ptr[i] ? strchr(digits, s.ptr[i]) : NULL;
        if (!at)
            return TTG_EINVAL;
        bits = bits << 6 | (uint32_t)(at - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            rc = buf_add_char(out, (char)(bits >> have & 0xff));
        }
    }
    return rc;
}

/* Tells the ledger of one result; adds its line to `out` when it is new (may be NULL). */
static int take_result(struct amqp_collector *c, struct message_result *m, uint64_t now_ms,
                       struct buf *out, enum ledger_verdict *ret_verdict)
{
    char sum[48];
    struct buf bytes;
    struct ledger_result r = {.kind = LEDGER_OUTPUT, .value = m->text};
    int rc = message_chunk_number(m->chunk_id, &r.chunk);
    if (rc || r.chunk >= c->chunks)
        return TTG_EPROTO;
    r.duration_us = m->duration_seconds > 0 ? (uint64_t)(m->duration_seconds * 1e6) : 0;
    buf_init(&bytes, SIZE_MAX / 2);
    if (m->value == MESSAGE_SUM) {
        r.kind = LEDGER_SUM;
        r.value = str_make(sum, str_from_i128(sum, m->sum));
    } else if (m->value == MESSAGE_SUMMARY) {
        r.kind = LEDGER_JSON;
    } else if (m->value == MESSAGE_OUTPUT_BASE64) {
        rc = decode_base64(m->text, &bytes);
        r.value = buf_str(&bytes);
    }
    struct str worker = m->worker_id.len > 0 ? m->worker_id : STR("?");
    struct ledger_chunk_info info;
    ledger_chunk_info(c->ledger, r.chunk, &info);
    if (!rc && info.place == LEDGER_AT_DEAD) /* somebody redrove it */
        ledger_redrive(c->ledger, r.chunk, now_ms);
    if (!rc)
        *ret_verdict = ledger_commit_foreign(c->ledger, worker, &r, now_ms);
    buf_done(&bytes);
    if (rc || *ret_verdict != LEDGER_ACCEPTED)
        return rc ? TTG_EPROTO : 0;
    c->seq = r.seq;
    if (m->attempt > 1)
        c->attempts_more += m->attempt - 1;
    if (str_eq(m->extra, STR("\"redelivered\":true")))
        c->redelivered++;
    if (r.chunk < c->next && c->open > 0)
        c->open--;
    if (!out)
        return 0;
    if (!m->has_range) {
        m->has_range = true;
        ledger_range(c->ledger, r.chunk, &m->start_param, &m->end_param);
    }
    rc = message_add_result(out, m);
    return rc ? rc : buf_add_char(out, '\n');
}

static void chunk_died(struct amqp_collector *c, uint64_t chunk, struct str worker,
                       struct str reason, uint64_t attempt, uint64_t now_ms)
{
    struct ledger_worker *w;
    struct ledger_chunk_info info;
    enum ledger_fate fate;
    uint64_t retry_ms;
    if (chunk >= c->chunks || !collector_is_open(c, chunk))
        return;
    if (ledger_join_foreign(c->ledger, worker.len > 0 ? worker : STR("?"), now_ms, &w) ||
        ledger_claim(c->ledger, w, chunk, now_ms))
        return;
    ledger_chunk_info(c->ledger, chunk, &info);
    ledger_fail(c->ledger, chunk, info.epoch, true, reason, now_ms, &fate, &retry_ms);
    if (attempt > 1)
        c->attempts_more += attempt - 1;
    if (chunk < c->next && c->open > 0)
        c->open--;
}

static void acknowledge(struct amqp_engine *e, uint64_t tag, unsigned flags)
{
    struct amqp_call call = {.op = AMQP_ACK, .tag = tag, .flags = flags};
    amqp_post(e, &call, NULL, NULL);
}

static void note_settled(struct amqp_engine *e, uint64_t tag)
{
    struct amqp_collector *c = e->collector;
    if (c->settled_count == c->settled_cap) {
        size_t cap = c->settled_cap ? c->settled_cap * 2 : 1024;
        struct settled *more = mem_realloc(c->settled, cap * sizeof *more);
        ensure(more != NULL);
        c->settled = more;
        c->settled_cap = cap;
    }
    c->settled[c->settled_count++] = (struct settled){c->seq, tag, e->gen};
}

static void on_result(struct amqp_engine *e, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    struct message_result m;
    struct buf room;
    struct err err;
    uint64_t now_ms = amqp_wall_ms(), chunk;
    enum ledger_verdict verdict = LEDGER_INVALID;
    buf_init(&room, LINES_BYTES_MAX);
    int rc = message_read_result(&m, event->body, &room, &err);
    if (!rc && str_eq(m.status, STR("failed"))) {
        if (message_chunk_number(m.chunk_id, &chunk) == 0)
            chunk_died(c, chunk, m.worker_id, event->reason, m.attempt, now_ms);
    } else if (!rc) {
        rc = take_result(c, &m, now_ms, &c->fresh, &verdict);
    }
    buf_done(&room);
    if (rc)
        log_warn("result.refused",
                 kv_str("reason", rc == TTG_EPROTO ? "not of this job" : err.text));
    if (verdict == LEDGER_ACCEPTED)
        note_settled(e, event->tag);
    else
        acknowledge(e, event->tag, 0);
    if (c->stage == DRAINING) {
        c->drain_until_ms = loop_now_ms(e->queue.loop) + DRAIN_MS;
        if (c->drain <= 1)
            drained(e);
        else
            c->drain--;
    }
    collector_feed(e);
    collector_check_end(e);
    collector_answer(e, false);
}

void collector_answer(struct amqp_engine *e, bool over)
{
    struct amqp_collector *c = e->collector;
    struct queue_results *r = c->results;
    struct err err;
    if (!r || c->stage < DRAINING)
        return;
    bool ended = c->stage == ENDED;
    if (r->cursor >= c->given_last) {
        struct buf swap = c->given;
        if (buf_len(&c->fresh) == 0 && !ended) {
            if (!over)
                return;
            c->results = NULL;
            err_set(&err, TTG_EAGAIN, "no result came in time");
            queue_finish(&r->call.request, TTG_EAGAIN, &err);
            return;
        }
        buf_clear(&swap);
        c->given = c->fresh;
        c->fresh = swap;
        c->given_first = c->given_last + 1;
        c->given_last = c->seq;
    }
    c->results = NULL;
    r->first = c->given_first;
    r->last = c->given_last;
    r->lines = buf_str(&c->given);
    r->ended = ended && buf_len(&c->fresh) == 0;
    queue_finish(&r->call.request, 0, NULL);
}

/* --- what has been collected before --- */

static int recall_line(struct amqp_collector *c, struct str line, struct err *err)
{
    struct message_result m;
    struct buf room;
    enum ledger_verdict verdict = LEDGER_INVALID;
    buf_init(&room, LINES_BYTES_MAX);
    int rc = message_read_result(&m, line, &room, err);
    if (!rc)
        rc = take_result(c, &m, amqp_wall_ms(), NULL, &verdict);
    buf_done(&room);
    return rc || verdict != LEDGER_ACCEPTED ? TTG_ECORRUPT : 0;
}

/* Each line of the saved output is a commit. */
static int recall(struct amqp_collector *c, const char *path, uint64_t bytes, struct err *err)
{
    struct buf text;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t at = 0;
    if (fd < 0)
        return err_set(err, TTG_EIO, "cannot read %s again", path);
    buf_init(&text, LINES_BYTES_MAX);
    while (!rc && at < bytes) {
        char *room;
        rc = buf_reserve(&text, READ_BYTES, &room);
        if (rc)
            break;
        ssize_t n = read(fd, room, bytes - at < READ_BYTES ? (size_t)(bytes - at) : READ_BYTES);
        if (n <= 0) {
            rc = TTG_EIO;
            break;
        }
        at += (uint64_t)n;
        buf_grew(&text, (size_t)n);
        for (const char *nl; !rc && (nl = memchr(buf_ptr(&text), '\n', buf_len(&text)));) {
            size_t len = (size_t)(nl - buf_ptr(&text));
            rc = recall_line(c, str_make(buf_ptr(&text), len), err);
            buf_consume(&text, len + 1);
        }
    }
    close(fd);
    buf_done(&text);
    return rc ? err_set(err, rc, "%s does not hold the results of this job (%s)", path,
                        err_text(rc))
              : 0;
}

/* --- the start: dead letters, old tasks --- */

static void consume(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_CONSUME, .queue = str_of(e->names.results), .tag = 1};
    amqp_post(e, &call, NULL, NULL);
}

static void drained(struct amqp_engine *e)
{
    e->collector->stage = RUNNING;
    collector_feed(e);
    collector_check_end(e);
}

static void on_waiting_results(struct amqp_engine *e, void *ctx, int rc,
                               const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    (void)ctx;
    if (rc || !event)
        return;
    c->stage = DRAINING;
    c->drain = event->count;
    c->drain_until_ms = loop_now_ms(e->queue.loop) + DRAIN_MS;
    consume(e);
    if (c->drain == 0)
        drained(e);
}

static void browse(struct amqp_engine *e);

static void on_dead_letter(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    struct message_task task;
    struct buf room;
    struct err err;
    uint64_t chunk;
    (void)ctx;
    if (!event)
        return;
    if (!rc && event->found) {
        buf_init(&room, MESSAGE_EXTRA_BYTES_MAX);
        if (message_read_task(&task, event->body, &room, &err) == 0 &&
            message_chunk_number(task.chunk_id, &chunk) == 0)
            chunk_died(c, chunk, STR("?"), event->reason, event->attempt, amqp_wall_ms());
        buf_done(&room);
        c->browsed_tag = event->tag;
        browse(e);
        return;
    }
    if (c->browsed_tag > 0) { /* only looked at: they stay, in their order */
        struct amqp_call call = {
            .op = AMQP_NACK, .tag = c->browsed_tag, .flags = AMQP_ON_GET | AMQP_MULTIPLE};
        amqp_post(e, &call, NULL, NULL);
    }
    c->browsed_tag = 0;
    struct amqp_call call = {.op = AMQP_DECLARE, .queue = str_of(e->names.results)};
    amqp_post(e, &call, on_waiting_results, NULL);
}

static void browse(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_GET, .queue = str_of(e->names.dlq)};
    amqp_post(e, &call, on_dead_letter, NULL);
}

static void begin(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    c->stage = BROWSING;
    c->browsed_tag = 0;
    if (!c->created) {
        collector_purge(e, e->names.tasks);
        collector_purge(e, e->names.retry);
    }
    browse(e);
}

static void results(struct amqp_engine *e, struct queue_results *r)
{
    struct amqp_collector *c = e->collector;
    struct err err = {0};
    int rc = 0;
    if (c->stage < CREATED) {
        err_set(&err, TTG_EUNSUPPORTED,
                "results on RabbitMQ are collected by `ttg run` alone (with --resume for a job "
                "that exists)");
        queue_finish(&r->call.request, err.code, &err);
        return;
    }
    if (c->stage == CREATED) {
        if (r->collected_path && r->collected_bytes > 0)
            rc = recall(c, r->collected_path, r->collected_bytes, &err);
        if (!rc && c->seq < r->cursor)
            rc = err_set(&err, TTG_ECORRUPT, "the output holds %llu results, its cursor says %llu",
                         (unsigned long long)c->seq, (unsigned long long)r->cursor);
        if (rc) {
            queue_finish(&r->call.request, rc, &err);
            return;
        }
        c->given_last = c->seq;
        begin(e);
    }
    c->results = r;
    c->results_until_ms = loop_now_ms(e->queue.loop) + r->block_ms;
    collector_answer(e, false);
}

static void trim(struct amqp_engine *e, struct queue_trim *t)
{
    struct amqp_collector *c = e->collector;
    size_t n = 0;
    uint64_t tag = 0;
    for (; n < c->settled_count && c->settled[n].seq <= t->seq; n++)
        if (c->settled[n].gen == e->gen)
            tag = c->settled[n].tag;
    if (tag > 0)
        acknowledge(e, tag, AMQP_MULTIPLE);
    c->settled_count -= n;
    memmove(c->settled, c->settled + n, c->settled_count * sizeof *c->settled);
    queue_finish(&t->call.request, 0, NULL);
}

/* --- looking --- */

static void status(struct amqp_engine *e, struct queue_status *s)
{
    struct amqp_collector *c = e->collector;
    const struct ledger_spec *spec = &e->marker.spec;
    struct err err;
    if (!c->ledger && e->marker.created_ms > 0 && e->marker.state >= LEDGER_FINISHED) {
        err_set(&err, TTG_EDONE, "the job has ended, and its results have been collected");
        queue_finish(&s->call.request, TTG_EDONE, &err);
        return;
    }
    if (!c->ledger) {
        err_set(&err, TTG_EUNSUPPORTED,
                "on RabbitMQ only the `ttg run` of a job knows its state; see its queues");
        queue_finish(&s->call.request, TTG_EUNSUPPORTED, &err);
        return;
    }
    ledger_status(c->ledger, &s->status);
    s->status.attempts += c->attempts_more;
    s->status.reclaimed += c->redelivered;
    s->first = spec->first;
    s->params_total = spec->params;
    s->chunk_params = spec->chunk_params;
    s->now_ms = amqp_wall_ms();
    s->max_attempts = spec->max_attempts;
    s->retry_min_ms = spec->retry_min_ms;
    s->retry_max_ms = spec->retry_max_ms;
    s->retry_jitter = spec->retry_jitter;
    s->stale_ms = spec->stale_ms;
    s->window = spec->window;
    s->kernel = spec->kernel;
    s->input = spec->input;
    queue_finish(&s->call.request, 0, NULL);
}

static void events(struct amqp_engine *e, struct queue_events *q)
{
    struct amqp_collector *c = e->collector;
    struct ledger_event ev;
    uint64_t after = q->after;
    q->events = c->events;
    q->event_count = 0;
    if (!c->events)
        c->events = mem_array(EVENTS_MAX, sizeof *c->events);
    while (c->events && c->ledger && q->event_count < EVENTS_MAX && q->event_count < q->count &&
           ledger_event_next(c->ledger, after, &ev)) {
        c->events[q->event_count++] =
            (struct queue_event){.seq = ev.seq,
                                 .at_ms = ev.at_ms,
                                 .value = ev.value,
                                 .chunk = ev.chunk == UINT64_MAX ? -1 : (int64_t)ev.chunk,
                                 .event = str_of(ledger_event_name(ev.kind)),
                                 .from = ev.from,
                                 .to = ev.to,
                                 .text = ev.text};
        after = ev.seq;
    }
    q->events = c->events;
    queue_finish(&q->call.request, 0, NULL);
}

/* --- the engine's side --- */

static bool collector_make(struct amqp_engine *e)
{
    if (e->collector)
        return true;
    e->collector = mem_zalloc(sizeof *e->collector);
    if (!e->collector)
        return false;
    buf_init(&e->collector->fresh, LINES_BYTES_MAX);
    buf_init(&e->collector->given, LINES_BYTES_MAX);
    return true;
}

bool amqp_collect_send(struct amqp_engine *e, struct queue_request *r)
{
    if (!collector_make(e))
        return false;
    switch (r->verb) {
    case QUEUE_CREATE:
        collector_create(e, (struct queue_create *)r);
        return true;
    case QUEUE_STATUS:
        status(e, (struct queue_status *)r);
        return true;
    case QUEUE_WORKERS: { /* they do not tell us of themselves, and any name will do for more */
        struct queue_workers *w = (struct queue_workers *)r;
        w->workers = NULL;
        w->count = 0;
        queue_finish(r, 0, NULL);
        return true;
    }
    case QUEUE_RESULTS:
        results(e, (struct queue_results *)r);
        return true;
    case QUEUE_TRIM:
        trim(e, (struct queue_trim *)r);
        return true;
    case QUEUE_EVENTS:
        events(e, (struct queue_events *)r);
        return true;
    default:
        return false;
    }
}

void amqp_collect_event(struct amqp_engine *e, const struct amqp_event *event)
{
    if (e->collector && event->kind == AMQP_DELIVERY)
        on_result(e, event);
}

/* Connected again: the ledger is here and knows all; the broker kept the rest. */
void amqp_collect_up(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (!c || c->stage < CREATED)
        return;
    collector_topology(e);
    if (c->stage == BROWSING || c->stage == DRAINING)
        begin(e);
    if (c->stage == RUNNING || c->stage == ENDING)
        consume(e);
    if (c->stage == RUNNING)
        collector_feed(e);
    if (c->stage == ENDING)
        collector_mark_end(e);
}

void amqp_collect_down(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (!c)
        return;
    c->results = NULL;                                 /* sent again */
    if (c->stage == CREATING || c->stage == FEEDING) { /* from the start, when connected again */
        c->stage = ASIDE;
        c->create = NULL;
        c->again_count = 0;
        ledger_free(c->ledger);
        c->ledger = NULL;
    }
}

void amqp_collect_tick(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (c && c->stage == DRAINING && loop_now_ms(e->queue.loop) >= c->drain_until_ms)
        drained(e);
    if (c && c->results && loop_now_ms(e->queue.loop) >= c->results_until_ms)
        collector_answer(e, true);
}

void amqp_collect_free(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (!c)
        return;
    ledger_free(c->ledger);
    buf_done(&c->fresh);
    buf_done(&c->given);
    mem_free(c->again);
    mem_free(c->settled);
    mem_free(c->events);
    mem_free(c);
    e->collector = NULL;
}
