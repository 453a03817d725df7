/* SPDX-License-Identifier: Apache-2.0 */
/* The job's one collector on a RabbitMQ broker: its results come in and are handed on.
 *
 * The ledger is made anew from its snapshot, from the output that has been saved (each line is a
 * commit), from the results that wait and from the dead letters; then what waits in the task queues
 * is thrown away and every chunk that is not done is published, a window of them at a time. What
 * workers still run comes in as well, and what comes twice is dropped.
 *
 * Results are acknowledged once the output and its cursor are on disk. */
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"
#include "wire/message.h"

#include <fcntl.h>
#include <unistd.h>

enum {
    LINE_BYTES_MAX = 1 << 30,
    READ_BYTES = 1 << 20,
    RESULTS_PREFETCH = 65535,  /* without a number a quorum queue gives out 2000 */
    KEPT_BYTES_MAX = 64 << 20, /* of lines that onlookers might want */
};

/* --- results --- */

/* What the ledger takes of a message; `sum` and `bytes` keep what it points to. */
static int result_of(const struct message_result *m, char sum[48], struct buf *bytes,
                     struct ledger_result *r)
{
    int rc = message_chunk_number(m->chunk_id, &r->chunk);
    r->kind = LEDGER_OUTPUT;
    r->value = m->text;
    r->duration_us = m->duration_seconds > 0 ? (uint64_t)(m->duration_seconds * 1e6) : 0;
    if (m->value == MESSAGE_SUM) {
        r->kind = LEDGER_SUM;
        r->value = str_make(sum, str_from_i128(sum, m->sum));
    } else if (m->value == MESSAGE_SUMMARY) {
        r->kind = LEDGER_JSON;
    } else if (!rc && m->value == MESSAGE_OUTPUT_BASE64) {
        rc = buf_add_unbase64(bytes, m->text);
        r->value = buf_str(bytes);
    }
    return rc ? TTG_EPROTO : 0;
}

/* What came in just now has just ended; of what waited or was collected before the worker says when
 * it had, in whole seconds: the job's time is at most a second too long then. */
static void note_span(struct amqp_collector *c, const struct message_result *m,
                      uint64_t duration_us, bool live, uint64_t now_ms)
{
    uint64_t said_ms = live ? 0 : clock_of_text(m->completed_at), ms = duration_us / 1000;
    uint64_t end_ms = said_ms > 0 && said_ms < now_ms ? said_ms : now_ms;
    uint64_t last_ms = end_ms + 999 < now_ms ? end_ms + 999 : now_ms;
    if (last_ms > c->last_ms)
        c->last_ms = last_ms;
    ledger_note_span(c->ledger, end_ms > ms ? end_ms - ms : end_ms, live ? 0 : c->last_ms);
}

/* Tells the ledger of one result; adds its line when it is new, and `hand_on`. */
static int take_result(struct amqp_collector *c, struct message_result *m, uint64_t now_ms,
                       bool hand_on, enum ledger_verdict *ret_verdict)
{
    char sum[48];
    struct buf bytes;
    struct ledger_result r = {0};
    struct ledger_worker *w;
    struct ledger_chunk_info info;
    buf_init(&bytes, SIZE_MAX / 2);
    int rc = result_of(m, sum, &bytes, &r);
    if (rc || r.chunk >= c->chunks) {
        buf_done(&bytes);
        return TTG_EPROTO;
    }
    struct str worker =
        m->worker_id.len > 0 && m->worker_id.len <= LEDGER_NAME_BYTES_MAX ? m->worker_id : STR("?");
    ledger_chunk_info(c->ledger, r.chunk, &info);
    if (info.place == LEDGER_AT_DEAD) /* somebody redrove it */
        ledger_redrive(c->ledger, r.chunk, now_ms);
    bool moved = str_eq(m->extra, STR("\"redelivered\":true"));
    if (ledger_join_foreign(c->ledger, worker, now_ms, &w))
        w = NULL;
    if (m->attempt > 1 || moved)
        ledger_note_attempt(c->ledger, r.chunk, (uint32_t)m->attempt, moved ? w : NULL, now_ms);
    *ret_verdict = ledger_commit_foreign(c->ledger, worker, &r, now_ms);
    buf_done(&bytes);
    if (*ret_verdict != LEDGER_ACCEPTED)
        return 0;
    c->seq = r.seq;
    note_span(c, m, r.duration_us, hand_on && c->stage > DRAINING && !c->visiting, now_ms);
    if (r.chunk < c->next && c->open > 0)
        c->open--;
    if (!hand_on)
        return 0;
    if (!m->has_range) {
        m->has_range = true;
        ledger_range(c->ledger, r.chunk, &m->start_param, &m->end_param);
    }
    rc = message_add_result(&c->lines.bytes, m);
    rc = rc ? rc : buf_add_char(&c->lines.bytes, '\n');
    return rc ? rc : amqp_lines_end(&c->lines);
}

/* An attempt failed, was lost with its worker, or was the last one; or a letter was dropped. */
static void take_failure(struct amqp_engine *e, const struct message_result *m, struct str reason,
                         uint64_t tag)
{
    struct amqp_collector *c = e->collector;
    uint64_t chunk, now_ms = amqp_wall_ms();
    bool final = str_eq(m->status, STR("failed")), dropped = str_eq(m->status, STR("dropped"));
    if (message_chunk_number(m->chunk_id, &chunk) || chunk >= c->chunks)
        return;
    bool open = collector_is_open(c, chunk);
    if (final && c->visiting) {
        c->notices =
            collector_room(c->notices, c->notice_count, &c->notice_cap, sizeof *c->notices);
        c->notices[c->notice_count++] = (struct notice){chunk, tag, e->gen};
    }
    enum ledger_note what = final || dropped                 ? LEDGER_NOTE_FINAL
                            : str_eq(m->status, STR("lost")) ? LEDGER_NOTE_LOST
                                                             : LEDGER_NOTE_FAILED;
    ledger_note_failure(c->ledger, m->worker_id, chunk, (uint32_t)m->attempt, what, reason, now_ms);
    if (dropped)
        ledger_drop(c->ledger, chunk, now_ms);
    if (final) { /* its letter was there before */
        c->letters =
            collector_room(c->letters, c->letter_count, &c->letter_cap, sizeof *c->letters);
        c->letters[c->letter_count++] = chunk;
    }
    if (open && !collector_is_open(c, chunk) && chunk < c->next && c->open > 0)
        c->open--;
}

static bool is_failure(struct str status)
{
    static const char *const words[] = {"failed", "retry", "lost", "dropped"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq(status, str_of(words[i])))
            return true;
    return false;
}

static void on_result(struct amqp_engine *e, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    struct message_result m;
    struct buf room;
    struct err err;
    enum ledger_verdict verdict = LEDGER_INVALID;
    if (c->stage < DRAINING)
        return;
    c->last_tag = event->tag;
    c->heard_ms = loop_now_ms(e->queue.loop);
    buf_init(&room, LINE_BYTES_MAX);
    int rc = message_read_result(&m, event->body, &room, &err);
    if (!rc && is_failure(m.status))
        take_failure(e, &m, event->reason, event->tag);
    else if (!rc)
        rc = take_result(c, &m, amqp_wall_ms(), true, &verdict);
    buf_done(&room);
    if (rc)
        log_warn("result.refused",
                 kv_str("reason", rc == TTG_EPROTO ? "not of this job" : err.text));
    if (c->stage == DRAINING) {
        c->drain_until_ms = loop_now_ms(e->queue.loop) + DRAIN_MS;
        if (c->drain > 0)
            c->drain--;
        collector_check_drained(e);
    }
    collector_feed(e);
    collector_check_end(e);
    collector_answer(e, false);
}

/* --- handing on --- */

/* What came and was handed on stays for onlookers, as far as it is new. */
static void drop_old_lines(struct amqp_collector *c)
{
    uint64_t keep = c->seq > LEDGER_RESULTS_KEPT ? c->seq - LEDGER_RESULTS_KEPT : 0;
    if (buf_len(&c->lines.bytes) > KEPT_BYTES_MAX)
        keep = c->given_seq;
    amqp_lines_drop(&c->lines, keep < c->given_seq ? keep : c->given_seq);
}

bool collector_is_awaited(const struct amqp_engine *e, uint64_t cursor)
{
    const struct amqp_collector *c = e->collector;
    return c->visiting && e->marker.state < LEDGER_FINISHED && cursor + 1 < c->lines.first;
}

void collector_answer(struct amqp_engine *e, bool over)
{
    struct amqp_collector *c = e->collector;
    struct queue_results *r = c->results;
    struct err err;
    uint64_t last;
    if (!r || c->stage < DRAINING)
        return;
    struct str lines = amqp_lines_behind(&c->lines, r->cursor, r->count, UINT64_MAX, &last);
    struct ledger_status s;
    ledger_status(c->ledger, &s);
    bool ended = c->visiting ? s.state >= LEDGER_FINISHED : c->stage == ENDED;
    bool gap = r->block_ms > 0 && collector_is_awaited(e, r->cursor);
    if (gap || (lines.len == 0 && !ended)) {
        if (!over)
            return;
        c->results = NULL;
        err_set(&err, TTG_EAGAIN, "no result came in time");
        queue_finish(&r->call.request, TTG_EAGAIN, &err);
        return;
    }
    c->results = NULL;
    r->first = r->cursor + 1 > c->lines.first ? r->cursor + 1 : c->lines.first;
    r->last = last;
    r->lines = lines;
    r->ended = ended && last == c->seq;
    if (last > c->given_seq)
        c->given_seq = last;
    collector_snapshot(e);
    if (!c->visiting)
        collector_relieve(e);
    queue_finish(&r->call.request, 0, NULL);
    drop_old_lines(c);
}

/* --- what has been collected before --- */

static int recall_line(struct amqp_collector *c, struct str line, struct err *err)
{
    struct message_result m;
    struct buf room;
    enum ledger_verdict verdict = LEDGER_INVALID;
    buf_init(&room, LINE_BYTES_MAX);
    int rc = message_read_result(&m, line, &room, err);
    if (!rc)
        rc = take_result(c, &m, amqp_wall_ms(), false, &verdict);
    buf_done(&room);
    return rc || verdict != LEDGER_ACCEPTED ? TTG_ECORRUPT : 0;
}

/* It stays for onlookers, like one that has just come. */
static int keep_line(struct amqp_collector *c, struct str line, uint64_t number)
{
    int rc = buf_add_str(&c->lines.bytes, line);
    rc = rc ? rc : buf_add_char(&c->lines.bytes, '\n');
    rc = rc ? rc : amqp_lines_end(&c->lines);
    if (buf_len(&c->lines.bytes) > KEPT_BYTES_MAX)
        amqp_lines_drop(&c->lines, number);
    else if (number > LEDGER_RESULTS_KEPT)
        amqp_lines_drop(&c->lines, number - LEDGER_RESULTS_KEPT);
    return rc;
}

int collector_recall(struct amqp_collector *c, const char *path, uint64_t bytes, struct err *err)
{
    struct buf text;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t at = 0, known = c->seq, number = 0;
    if (fd < 0)
        return err_set(err, TTG_EIO, "cannot read %s again", path);
    buf_init(&text, LINE_BYTES_MAX);
    amqp_lines_done(&c->lines);
    amqp_lines_init(&c->lines, 1);
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
            struct str line = str_make(buf_ptr(&text), len);
            if (++number > known) /* the snapshot covers those before */
                rc = recall_line(c, line, err);
            rc = rc ? rc : keep_line(c, line, number);
            buf_consume(&text, len + 1);
        }
    }
    close(fd);
    buf_done(&text);
    c->given_seq = c->saved_seq = c->seq;
    return rc ? err_set(err, rc, "%s does not hold the results of this job (%s)", path,
                        err_text(rc))
              : 0;
}

void collector_consume(struct amqp_engine *e)
{
    struct amqp_call call = {
        .op = AMQP_CONSUME, .queue = str_of(e->names.notes), .number = RESULTS_PREFETCH, .tag = 2};
    e->collector->last_tag = e->collector->settled_tag = 0;
    amqp_post(e, &call, NULL, NULL);
    call = (struct amqp_call){.op = AMQP_CONSUME,
                              .queue = str_of(e->names.results),
                              .number = RESULTS_PREFETCH,
                              .tag = 1};
    amqp_post(e, &call, NULL, NULL);
}

/* Whoever deletes a queue that it consumes is told that the queue has gone, as all others are. */
void collector_consume_no_more(struct amqp_engine *e)
{
    for (uint64_t consumer = 1; consumer <= 2; consumer++) {
        struct amqp_call call = {.op = AMQP_CANCEL, .tag = consumer};
        amqp_post(e, &call, NULL, NULL);
    }
}

/* A snapshot that knows more than the output, which was lost or is another one, is of no use. */
static int begin_collecting(struct amqp_engine *e, const struct queue_results *r, struct err *err)
{
    struct amqp_collector *c = e->collector;
    int rc = 0;
    if (c->seq > r->cursor) {
        struct ledger_spec spec = *ledger_spec(c->ledger);
        struct ledger *old = c->ledger;
        rc = ledger_new(r->call.job, &spec, 1, e->marker.created_ms, NULL, &c->ledger);
        ledger_free(old);
        c->seq = c->given_seq = c->saved_seq = 0;
        amqp_lines_done(&c->lines);
        amqp_lines_init(&c->lines, 1);
        if (rc)
            return err_set(err, rc, "out of memory");
    }
    if (r->collected_path && r->collected_bytes > 0)
        rc = collector_recall(c, r->collected_path, r->collected_bytes, err);
    if (!rc && c->seq < r->cursor)
        rc = err_set(err, TTG_ECORRUPT, "the output holds %llu results, its cursor says %llu",
                     (unsigned long long)c->seq, (unsigned long long)r->cursor);
    return rc;
}

static void results(struct amqp_engine *e, struct queue_results *r)
{
    struct amqp_collector *c = e->collector;
    struct err err = {0};
    if (c->stage == CREATED) {
        int rc = begin_collecting(e, r, &err);
        if (rc) {
            queue_finish(&r->call.request, rc, &err);
            return;
        }
        collector_load(e);
    }
    c->results = r;
    c->results_until_ms = loop_now_ms(e->queue.loop) + r->block_ms;
    collector_answer(e, r->block_ms == 0 && c->stage >= RUNNING);
}

/* --- the engine's side --- */

bool collector_make(struct amqp_engine *e)
{
    if (e->collector)
        return true;
    e->collector = mem_zalloc(sizeof *e->collector);
    if (!e->collector)
        return false;
    amqp_lines_init(&e->collector->lines, 1);
    buf_init(&e->collector->snapshot, 0);
    return true;
}

void collector_clear(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    ledger_free(c->ledger);
    c->ledger = NULL;
    c->last_ms = 0;
    c->again_count = 0;
    c->notice_count = c->letter_count = 0;
    buf_clear(&c->snapshot);
    amqp_lines_done(&c->lines);
    amqp_lines_init(&c->lines, 1);
}

/* Its process has ended; the chunks it had the broker gives to others by itself. */
static void lost(struct amqp_engine *e, struct queue_lost *l)
{
    struct amqp_collector *c = e->collector;
    struct ledger_worker *w = c->ledger ? ledger_worker_named(c->ledger, l->worker.name) : NULL;
    if (w)
        ledger_lost(c->ledger, w, l->reason, amqp_wall_ms());
    queue_finish(&l->call.request, 0, NULL);
}

bool amqp_collect_send(struct amqp_engine *e, struct queue_request *r)
{
    if (r->verb == QUEUE_LIST || !collector_make(e))
        return false;
    struct amqp_collector *c = e->collector;
    if (r->verb == QUEUE_CREATE) {
        collector_create(e, (struct queue_create *)r);
        return true;
    }
    if (r->verb == QUEUE_LOST) {
        lost(e, (struct queue_lost *)r);
        return true;
    }
    if (c->visiting ? c->stage < RUNNING : c->stage < CREATED)
        return visit_send(e, r);
    switch (r->verb) {
    case QUEUE_RESULTS:
        if (c->visiting)
            return visit_send(e, r);
        results(e, (struct queue_results *)r);
        break;
    case QUEUE_TRIM:
        collector_trim(e, (struct queue_trim *)r);
        break;
    default:
        collector_run(e, r);
    }
    return true;
}

void amqp_collect_event(struct amqp_engine *e, const struct amqp_event *event)
{
    if (e->collector && event->kind == AMQP_DELIVERY && !e->worker)
        on_result(e, event);
    else if (e->collector && event->kind == AMQP_ASKED)
        collector_asked(e, event);
}

void amqp_collect_up(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (c && !c->visiting && c->stage >= CREATED)
        collector_lock(e);
}

void amqp_collect_down(struct amqp_engine *e, const struct err *why)
{
    struct amqp_collector *c = e->collector;
    if (!c)
        return;
    c->results = NULL; /* sent again */
    c->lock_again_ms = c->lock_until_ms = c->visit_again_ms = 0;
    c->last_tag = 0;
    c->locked = c->serving = false;
    collector_interrupted(e, why);
    c->gone |= why->code == TTG_ENOENT;
    if (c->stage < CREATED || c->visiting) { /* from the start, when connected again */
        c->stage = ASIDE;
        c->create = NULL;
        collector_clear(e);
    }
}

void amqp_collect_tick(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    uint64_t now_ms = loop_now_ms(e->queue.loop);
    if (!c)
        return;
    if (c->lock_again_ms > 0 && now_ms >= c->lock_again_ms)
        collector_lock(e);
    collector_look_after(e);
    if (c->stage == DRAINING && now_ms >= c->drain_until_ms)
        collector_drained(e);
    visit_tick(e);
    if (c->results && now_ms >= c->results_until_ms)
        collector_answer(e, true);
}

bool amqp_collect_waits(const struct amqp_engine *e)
{
    const struct amqp_collector *c = e->collector;
    return c && c->stage == RUNNING && c->locked && !c->visiting && c->open > 0;
}

void amqp_collect_free(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (!c)
        return;
    ledger_free(c->ledger);
    amqp_lines_done(&c->lines);
    buf_done(&c->snapshot);
    mem_free(c->again);
    mem_free(c->letters);
    mem_free(c->notices);
    mem_free(c->recall_path);
    mem_free(c->silent_why);
    mem_free(c);
    e->collector = NULL;
}
