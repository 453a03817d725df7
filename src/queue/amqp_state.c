/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives a collector: the snapshot of its ledger in ttg.job.state, the dead letters, the
 * results and notes that were not acknowledged.
 *
 * A snapshot is taken as lines are handed on, published once the output with them is on disk, and
 * only then what it covers is acknowledged. So a snapshot never knows more than the output, and
 * what is neither in it nor in the output comes again from the broker. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"
#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

enum {
    SNAPSHOT_MS = 200,
    SNAPSHOT_BYTES_MAX = 256 << 20,
    LINES_BYTES_MAX = 8 << 20,
    UNACKNOWLEDGED_MAX =
        55000, /* below the prefetch of the results, and above what is saved at once */
    LOOKS_MAX = 50,
};

/* --- the snapshot --- */

static void acknowledge(struct amqp_engine *e, uint64_t tag)
{
    struct amqp_call call = {.op = AMQP_ACK, .tag = tag, .flags = AMQP_MULTIPLE};
    if (tag > 0)
        amqp_post(e, &call, NULL, NULL);
}

static void on_kept(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)event;
    if (!rc)
        acknowledge(e, (uint64_t)(uintptr_t)ctx);
}

/* The ledger, and at the end the newest lines, for onlookers that come after the collector. */
static int pack_state(struct amqp_engine *e, bool with_lines)
{
    struct amqp_collector *c = e->collector;
    struct packer p = {.out = &e->text};
    while (with_lines && buf_len(&c->lines.bytes) > LINES_BYTES_MAX && c->lines.count > 0)
        amqp_lines_drop(&c->lines, c->lines.first + c->lines.count / 2);
    buf_clear(&e->text);
    pack_str(&p, buf_str(&c->snapshot));
    pack_u64(&p, with_lines ? c->lines.first : c->seq + 1);
    pack_str(&p, with_lines ? buf_str(&c->lines.bytes) : STR(""));
    return p.rc;
}

/* What the snapshot covers is acknowledged once it is on the broker's disk. */
static void publish_snapshot(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    uint64_t tag = c->snapshot_gen == e->gen ? c->snapshot_tag : 0;
    bool last = c->stage == ENDED; /* the process is about to go: nobody waits for a confirm */
    if (pack_state(e, last))
        return;
    struct amqp_call call = {
        .op = AMQP_PUBLISH, .queue = str_of(e->names.state), .body = buf_str(&e->text)};
    amqp_post(e, &call, last ? NULL : on_kept, (void *)(uintptr_t)tag);
    if (last)
        acknowledge(e, tag);
    c->settled_tag = tag;
    buf_clear(&c->snapshot);
}

void collector_snapshot(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    uint64_t now_ms = loop_now_ms(e->queue.loop);
    bool waits = buf_len(&c->snapshot) > 0;
    if ((waits && now_ms - c->snapshot_ms < SNAPSHOT_MS && c->stage != ENDED) ||
        c->given_seq != c->seq)
        return; /* the ledger is ahead of what was handed on */
    c->snapshot.bytes_max = SNAPSHOT_BYTES_MAX;
    buf_clear(&c->snapshot);
    struct packer p = {.out = &c->snapshot};
    ledger_save(c->ledger, &p);
    if (p.rc) { /* too large: what it would have covered simply comes again */
        buf_clear(&c->snapshot);
        return;
    }
    c->snapshot_seq = c->seq;
    c->snapshot_tag = c->last_tag;
    c->snapshot_gen = e->gen;
    c->snapshot_ms = now_ms;
    if (c->stage == ENDED && c->snapshot_seq <= c->saved_seq)
        publish_snapshot(e); /* all was saved before the end came: no trim follows */
}

/* A pipe is never safe; but a quorum queue gives out only so many messages without an
 * acknowledgement. A snapshot that knows more than the output is no harm: then a collector that
 * resumes computes the difference again. */
void collector_relieve(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    if (c->last_tag > c->settled_tag + UNACKNOWLEDGED_MAX && buf_len(&c->snapshot) > 0)
        publish_snapshot(e);
}

void collector_trim(struct amqp_engine *e, struct queue_trim *t)
{
    struct amqp_collector *c = e->collector;
    if (t->seq > c->saved_seq)
        c->saved_seq = t->seq;
    if (buf_len(&c->snapshot) > 0 && c->snapshot_seq <= t->seq)
        publish_snapshot(e);
    queue_finish(&t->call.request, 0, NULL);
}

/* --- and back --- */

struct state {
    struct str ledger, lines;
    uint64_t first; /* number of the first line */
};

static int unpack_state(struct state *s, struct str bytes)
{
    struct unpacker u = unpack_of(bytes);
    s->ledger = unpack_str(&u);
    s->first = unpack_u64(&u);
    s->lines = unpack_str(&u);
    return unpack_end(&u);
}

static int load_ledger(struct amqp_engine *e, struct str bytes)
{
    struct amqp_collector *c = e->collector;
    struct unpacker u = unpack_of(bytes);
    struct ledger_status s;
    int rc = ledger_load(&u, NULL, &c->ledger);
    if (rc)
        return rc;
    ledger_status(c->ledger, &s);
    if (unpack_end(&u) == 0 && s.created_ms == e->marker.created_ms)
        return 0;
    ledger_free(c->ledger);
    c->ledger = NULL;
    return TTG_ECORRUPT;
}

static int new_ledger(struct amqp_engine *e, struct str name)
{
    struct ledger_spec spec = e->marker.spec;
    spec.window = LEDGER_WINDOW_MAX; /* the window is ours to keep; fresh chunks cost nothing */
    return ledger_new(name, &spec, 1, e->marker.created_ms, NULL, &e->collector->ledger);
}

/* "ttg.NAME.job", "ttg.job". */
static struct str job_name(const struct amqp_engine *e)
{
    struct str s = str_of(e->names.job), head = STR("ttg.");
    size_t tail = sizeof ".job" - 1;
    return s.len <= head.len + tail ? STR("default")
                                    : str_make(s.ptr + head.len, s.len - head.len - tail);
}

static int recall_visitor(struct amqp_engine *e, struct err *err)
{
    struct amqp_collector *c = e->collector;
    if (!c->visiting || !c->recall_path)
        return 0;
    return collector_recall(c, c->recall_path, c->recall_bytes, err);
}

/* The last lines, as far as they belong to this ledger. */
static void keep_lines(struct amqp_collector *c, const struct state *s)
{
    struct str rest = s->lines;
    amqp_lines_done(&c->lines);
    amqp_lines_init(&c->lines, s->first);
    for (const char *nl; rest.len > 0 && (nl = memchr(rest.ptr, '\n', rest.len));) {
        size_t len = (size_t)(nl - rest.ptr) + 1;
        if (buf_add(&c->lines.bytes, rest.ptr, len) || amqp_lines_end(&c->lines))
            break;
        rest = str_make(rest.ptr + len, rest.len - len);
    }
    if (rest.len == 0 && s->first + c->lines.count == c->seq + 1)
        return;
    amqp_lines_done(&c->lines);
    amqp_lines_init(&c->lines, c->seq + 1);
}

static void adopt(struct amqp_engine *e, const struct state *state)
{
    struct amqp_collector *c = e->collector;
    struct ledger_status s;
    uint64_t now_ms = amqp_wall_ms();
    ledger_status(c->ledger, &s);
    if (e->marker.state == LEDGER_PAUSED)
        ledger_pause(c->ledger, now_ms);
    else if (e->marker.state == LEDGER_CANCELED)
        ledger_cancel(c->ledger, now_ms);
    else if (s.state == LEDGER_PAUSED)
        ledger_resume(c->ledger, now_ms);
    c->chunks = s.chunks;
    c->seq = c->given_seq = c->saved_seq = s.result_seq;
    c->next = c->open = 0;
    keep_lines(c, state);
}

struct restoring {
    void (*then)(struct amqp_engine *e);
};

static void on_snapshot(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    void (*then)(struct amqp_engine * e) = ((struct restoring *)ctx)->then;
    struct state state = {.lines = STR("")};
    mem_free(ctx);
    if (!event || c->stage != LOOKING)
        return;
    if (rc) {
        collector_step(e, e->names.state, rc, event);
        return;
    }
    if (event->found) {
        struct amqp_call call = {.op = AMQP_NACK, .tag = event->tag, .flags = AMQP_ON_GET};
        amqp_post(e, &call, NULL, NULL);
        if (event->count > 0 && ++c->looks < LOOKS_MAX) { /* a newer one lies behind it */
            collector_restore(e, then);
            return;
        }
        rc = unpack_state(&state, event->body);
        rc = rc ? rc : load_ledger(e, state.ledger);
        if (rc)
            log_warn("snapshot.refused", kv_str("reason", err_text(rc)),
                     kv_str("then", "chunks that were collected before may be computed again"));
    }
    if (!c->ledger && new_ledger(e, job_name(e))) {
        collector_failed(e, TTG_ENOMEM, "out of memory");
        return;
    }
    struct err err;
    adopt(e, &state);
    rc = recall_visitor(e, &err);
    if (rc)
        collector_failed(e, rc, err.text);
    else
        then(e);
}

void collector_restore(struct amqp_engine *e, void (*then)(struct amqp_engine *e))
{
    struct amqp_call call = {.op = AMQP_GET, .queue = str_of(e->names.state)};
    struct restoring *r = mem_zalloc(sizeof *r);
    ensure(r != NULL);
    r->then = then;
    ledger_free(e->collector->ledger);
    e->collector->ledger = NULL;
    amqp_post(e, &call, on_snapshot, r);
}

/* --- what waits --- */

static int compare_chunks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* A dead letter that somebody took out of its queue is to be tried again. */
static void redrive_missing(struct amqp_collector *c)
{
    uint64_t chunk, after = UINT64_MAX, now_ms = amqp_wall_ms();
    if (c->letter_count > 0)
        qsort(c->letters, c->letter_count, sizeof *c->letters, compare_chunks);
    for (; ledger_dead_next(c->ledger, after, &chunk);) {
        bool there = c->letter_count > 0 && bsearch(&chunk, c->letters, c->letter_count,
                                                    sizeof *c->letters, compare_chunks);
        if (there)
            after = chunk;
        else
            ledger_redrive(c->ledger, chunk, now_ms);
    }
    c->letter_count = 0;
}

void collector_drained(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    redrive_missing(c);
    c->stage = RUNNING;
    if (c->visiting) {
        visit_loaded(e);
        return;
    }
    collector_feed(e);
    collector_check_end(e);
    collector_answer(e, false);
}

/* A job that has ended, and not all of its results: the rest is on the way back to its queue from
 * whoever looked last. */
static bool is_short(struct amqp_engine *e)
{
    struct ledger_status s;
    ledger_status(e->collector->ledger, &s);
    return e->marker.state == LEDGER_FINISHED &&
           s.completed + s.dropped + e->marker.dead < e->collector->chunks;
}

void collector_check_drained(struct amqp_engine *e)
{
    if (e->collector->drain == 0 && !is_short(e))
        collector_drained(e);
}

static void on_waiting_notes(struct amqp_engine *e, void *ctx, int rc,
                             const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    (void)ctx;
    if (rc || !event || c->stage != LOADING)
        return;
    c->stage = DRAINING;
    c->drain += event->count;
    c->drain_until_ms = loop_now_ms(e->queue.loop) + DRAIN_MS;
    collector_consume(e);
    collector_check_drained(e);
}

static void on_waiting_results(struct amqp_engine *e, void *ctx, int rc,
                               const struct amqp_event *event)
{
    struct amqp_call call = {.op = AMQP_COUNT, .queue = str_of(e->names.notes)};
    (void)ctx;
    if (rc || !event)
        return;
    e->collector->drain = event->count;
    amqp_post(e, &call, on_waiting_notes, NULL);
}

static void browse(struct amqp_engine *e);

static void read_letter(struct amqp_engine *e, const struct amqp_event *event);

static void on_letter(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    (void)ctx;
    if (!event || c->stage != LOADING)
        return;
    if (!rc && event->found) {
        read_letter(e, event);
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
    struct amqp_call call = {.op = AMQP_COUNT, .queue = str_of(e->names.results)};
    amqp_post(e, &call, on_waiting_results, NULL);
}

struct letter {
    struct amqp_collector *c;
    uint64_t chunk;
};

static void on_attempt(void *ctx, const struct amqp_attempt *a)
{
    struct letter *l = ctx;
    ledger_note_failure(l->c->ledger, a->worker, l->chunk, (uint32_t)a->attempt, LEDGER_NOTE_FAILED,
                        a->reason, a->at_ms);
}

static void read_letter(struct amqp_engine *e, const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    struct message_task task;
    struct buf room;
    struct err err;
    uint64_t chunk;
    buf_init(&room, MESSAGE_EXTRA_BYTES_MAX);
    if (message_read_task(&task, event->body, &room, &err) == 0 &&
        message_chunk_number(task.chunk_id, &chunk) == 0 && chunk < c->chunks) {
        struct letter l = {c, chunk};
        amqp_history_each(event->extra, on_attempt, &l);
        ledger_note_failure(c->ledger, STR(""), chunk, (uint32_t)event->attempt, LEDGER_NOTE_FINAL,
                            event->reason, amqp_wall_ms());
        c->letters =
            collector_room(c->letters, c->letter_count, &c->letter_cap, sizeof *c->letters);
        c->letters[c->letter_count++] = chunk;
    }
    buf_done(&room);
}

static void browse(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_GET, .queue = str_of(e->names.dlq)};
    amqp_post(e, &call, on_letter, NULL);
}

void collector_load(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    c->stage = LOADING;
    c->browsed_tag = 0;
    c->letter_count = c->notice_count = 0;
    if (!c->created && !c->visiting)
        collector_purge_tasks(e);
    browse(e);
}
