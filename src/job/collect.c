/* SPDX-License-Identifier: Apache-2.0 */
#include "job/collect.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "job/order.h"
#include "wire/message.h"

enum {
    RESULTS_COUNT = 4000, /* a reply is in memory here and in the node */
    RESULTS_BLOCK_MS = 2000,
    SAVE_MS = 250,      /* at most so often, */
    SAVE_LINES = 50000, /* or after so many */
    FULL_MS = 1000,     /* between tries while the disk is full */
    FEW_RESULTS = 64,
    PAUSE_NS_MAX = 10000000,
    PAUSE_SHARE = 200,
    ORDERED_BYTES_MAX = 1 << 30,
};

/* What came, so that `results` can be asked again before it is in the output. */
struct answer {
    uint64_t first, last, kept;
    int64_t kept_chunk;
    bool ended;
    struct str lines;
    char history[HISTORY_TEXT_BYTES]; /* while `outdated`: that our cursor belongs to */
};

struct collect {
    struct collect_config config;
    struct loop *loop;
    struct queue_results results;
    struct answer got;
    struct queue_trim trim;
    struct loop_timer again;
    struct order *order;
    struct buf lines; /* in order, to be written */
    uint64_t seq, saved_seq, saved_ms, unsaved_lines, began_ns;
    bool full, ended, repeats; /* full: and it was said. repeats: chunks that are in the output
                                * come again */
    bool hurried, outdated; /* outdated: the answer under way, as the one before came to nothing */
    struct log_limit full_limit, refuse_limit;
};

static void ask(struct collect *c, uint64_t cursor);

static void end(struct collect *c, int rc, const struct err *err)
{
    c->ended = true;
    loop_timer_stop(&c->again);
    c->config.on_end(c->config.ctx, rc, err);
}

static void on_trimmed(struct queue_request *r, int rc, const struct err *err)
{
    (void)r;
    if (rc && rc != TTG_ECANCELED)
        log_debug("results.trim_failed", kv_str("reason", err->text));
}

static int save(struct collect *c, struct err *err)
{
    bool saved;
    /* In order of chunks the queue's cursor says nothing about the output: all is read again. */
    int rc = output_save(c->config.output, c->order ? 0 : c->seq,
                         c->order ? "" : c->results.history, &saved, err);
    if (rc)
        return rc;
    c->saved_ms = loop_now_ms(c->loop);
    c->unsaved_lines = 0;
    c->saved_seq = c->seq;
    if (saved && !c->config.keep && !c->order && !queue_request_busy(&c->trim.call.request)) {
        c->trim.call.job = str_of(c->config.job);
        c->trim.seq = c->seq;
        queue_send(c->config.queue, &c->trim.call.request);
    }
    return 0;
}

static uint64_t count_lines(struct str s)
{
    uint64_t n = 0;
    for (const char *p = s.ptr, *end_of = s.ptr + s.len;
         p < end_of && (p = memchr(p, '\n', (size_t)(end_of - p))); p++)
        n++;
    return n;
}

/* The number in `{"chunk_id":"00042",...`: how every line begins. */
static int chunk_of_line(struct str line, uint64_t *ret_chunk)
{
    static const char head[] = "{\"chunk_id\":\"";
    struct str rest;
    if (!str_starts(line, str_make(head, sizeof head - 1)))
        return TTG_EPROTO;
    struct str id =
        str_cut(str_make(line.ptr + sizeof head - 1, line.len - (sizeof head - 1)), '"', &rest);
    return message_chunk_number(id, ret_chunk);
}

static int put_in_order(struct collect *c, struct str lines, struct err *err)
{
    while (lines.len > 0) {
        struct str rest, line = str_cut(lines, '\n', &rest);
        uint64_t chunk;
        int rc = chunk_of_line(line, &chunk);
        if (rc)
            return err_set(err, TTG_EPROTO, "a result line without a chunk_id at its front");
        line.len++;
        lines = rest;
        if (tally_has(c->config.there, chunk))
            continue;
        rc = order_add(c->order, chunk, line, &c->lines, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int put_lines(struct collect *c, struct str lines, uint64_t count, struct err *err)
{
    int rc = output_add(c->config.output, lines, count, err);
    if (rc)
        return rc;
    c->unsaved_lines += count;
    rc = c->config.on_lines ? c->config.on_lines(c->config.ctx, lines, count) : 0;
    return rc ? err_set(err, rc, "counting results: %s", err_text(rc)) : 0;
}

/* The lines of chunks that are not in the output. */
static int put_news(struct collect *c, struct str lines, struct err *err)
{
    buf_clear(&c->lines);
    while (lines.len > 0) {
        struct str rest, line = str_cut(lines, '\n', &rest);
        uint64_t chunk;
        int rc = chunk_of_line(line, &chunk);
        line.len++;
        lines = rest;
        if (rc || tally_has(c->config.there, chunk))
            continue;
        rc = buf_add_str(&c->lines, line);
        if (rc)
            return err_set(err, rc, "%s", err_text(rc));
    }
    int rc = put_lines(c, buf_str(&c->lines), count_lines(buf_str(&c->lines)), err);
    buf_clear(&c->lines);
    return rc;
}

/* What waits in memory for room in the output, or has just come into order. */
static int put_waiting(struct collect *c, struct err *err)
{
    struct str lines = buf_str(&c->lines);
    int rc = lines.len > 0 ? put_lines(c, lines, count_lines(lines), err) : 0;
    if (!rc)
        buf_clear(&c->lines);
    return rc;
}

/* To the output. While the disk is full nothing is lost: the queue keeps what is not saved, and
 * what has come into order waits here. */
static int put(struct collect *c, struct err *err)
{
    struct str lines = c->got.lines;
    int rc;
    if (c->order) {
        rc = put_in_order(c, lines, err);
        if (!rc && c->got.ended)
            rc = order_end(c->order, &c->lines, err);
        if (!rc)
            rc = put_waiting(c, err);
    } else {
        rc = c->repeats ? put_news(c, lines, err) : put_lines(c, lines, count_lines(lines), err);
    }
    if (!rc)
        c->seq = c->got.last;
    return rc;
}

static void wait_for_room(struct collect *c, const struct err *err)
{
    if (log_limit_minute(&c->full_limit, loop_now_ms(c->loop))) {
        log_warn("output.full", kv_str("reason", err->text),
                 kv_str("then", "waiting for room; nothing is lost"));
        c->full = true;
    }
    loop_timer_after_ms(&c->again, FULL_MS);
}

static void has_room(struct collect *c)
{
    if (c->full)
        log_info("output.room", kv_str("then", "writing again"));
    c->full = false;
}

/* --- a queue that lost results --- */

/* Back to the last line that the queue still stands for: then output and queue agree again, also
 * where a chunk's second run gives something else. */
static int cut_output(struct collect *c, uint64_t kept, int64_t kept_chunk, struct err *err)
{
    struct buf line;
    uint64_t bytes, chunk;
    buf_init(&line, ORDERED_BYTES_MAX);
    int rc = output_line(c->config.output, kept, &line, &bytes, err);
    bool fits = rc || kept == 0 || kept_chunk < 0 ||
                (chunk_of_line(buf_str(&line), &chunk) == 0 && chunk == (uint64_t)kept_chunk);
    buf_done(&line);
    if (!fits)
        return err_set(err, TTG_ECORRUPT,
                       "the queue went back in time, to its result %llu, of chunk %lld, but that "
                       "is not line %llu of the output: remove it and its cursor to collect again",
                       (unsigned long long)kept, (long long)kept_chunk, (unsigned long long)kept);
    if (!rc)
        rc = output_cut(c->config.output, kept, bytes, c->seq, c->results.history, err);
    if (!rc && c->config.on_cut)
        rc = c->config.on_cut(c->config.ctx, err);
    return rc;
}

static int go_back(struct collect *c, struct err *err)
{
    uint64_t had = output_lines(c->config.output), kept = c->got.kept;
    bool cut = !c->order && output_is_file(c->config.output);
    c->seq = c->saved_seq = c->got.last;
    log_warn("results.went_back", kv_u64("lines", had), kv_u64("kept_by_queue", kept),
             kv_str("then", cut ? "the output is cut to what the queue has; the rest runs again"
                                : "the rest runs again; what is in the output is not repeated"));
    if (cut)
        return cut_output(c, kept, c->got.kept_chunk, err);
    c->repeats = true;
    return c->config.there
               ? 0
               : err_set(err, TTG_ERANGE, "the queue lost results that were printed already");
}

/* Each question wakes the queue and us, and costs the same for one result as for a thousand: who
 * got few lets more of them come first. As long as half a percent of the time so far, so that no
 * job ends noticeably later. */
static void ask_later(struct collect *c)
{
    uint64_t now_ns = loop_now_ns(c->loop), pause_ns = (now_ns - c->began_ns) / PAUSE_SHARE;
    if (c->hurried ||
        loop_timer_at_ns(&c->again, now_ns + (pause_ns < PAUSE_NS_MAX ? pause_ns : PAUSE_NS_MAX)))
        ask(c, c->seq);
}

static void on_results(struct queue_request *r, int rc, const struct err *err)
{
    struct collect *c = r->ctx;
    struct err why = {0};
    uint64_t now_ms = loop_now_ms(c->loop);
    if (c->ended || rc == TTG_ECANCELED || rc == TTG_EUNREACH)
        return; /* the owner of the queue knows */
    if (c->outdated) {
        c->outdated = false;
        memcpy(c->results.history, c->got.history, sizeof c->got.history);
        if (!loop_timer_is_set(&c->again))
            ask(c, c->seq);
        return;
    }
    const struct queue_results *q = &c->results;
    c->got = (struct answer){.first = q->first,
                             .last = q->last,
                             .kept = q->kept,
                             .kept_chunk = q->kept_chunk,
                             .ended = q->ended,
                             .lines = q->lines};
    if (rc == TTG_EFULL) { /* a Redis without memory or replicas: its commits wait as well */
        if (log_limit_minute(&c->refuse_limit, now_ms))
            log_warn("queue.refuses", kv_str("reason", err->text), kv_str("then", "asked again"));
        loop_timer_after_ms(&c->again, FULL_MS);
        return;
    }
    bool nothing = rc == TTG_EAGAIN;
    if (rc == TTG_ESTALE) {
        rc = go_back(c, &why);
        if (rc)
            end(c, rc, &why);
        else
            ask(c, c->seq);
        return;
    }
    if (rc && !nothing) {
        if (rc == TTG_ERANGE)
            err_set(&why, TTG_ERANGE,
                    "the queue went back in time: it has results up to %llu, the output up to %llu "
                    "(was it restored, or run without syncs?)",
                    (unsigned long long)c->got.last, (unsigned long long)c->seq);
        end(c, rc, rc == TTG_ERANGE ? &why : err);
        return;
    }
    if (!nothing && !c->order && c->got.first > c->seq + 1) {
        err_set(&why, TTG_ENOENT,
                "the queue has not all results any more: the first ones are in the output of the "
                "collector that came first");
        end(c, TTG_ENOENT, &why);
        return;
    }
    bool few = !nothing && c->got.last - c->seq < FEW_RESULTS;
    /* While we write, the queue looks for the next ones. */
    if (!nothing && !few && !c->got.ended && queue_lines_stay(c->config.queue))
        ask(c, c->got.last);
    rc = nothing ? 0 : put(c, &why);
    bool all = !nothing && !rc && c->got.ended;
    bool here = nothing && !c->config.follow;
    if (!rc && c->seq != c->saved_seq &&
        (all || here || nothing || c->unsaved_lines >= SAVE_LINES ||
         now_ms - c->saved_ms >= SAVE_MS))
        rc = save(c, &why);
    if (rc == TTG_ENOSPC) {
        c->outdated = queue_request_busy(r) && c->seq != q->cursor;
        memcpy(c->got.history, q->history, sizeof c->got.history);
        wait_for_room(c, &why);
        return;
    }
    has_room(c);
    if (rc || all || here)
        end(c, rc, rc ? &why : NULL);
    else if (few && c->config.follow)
        ask_later(c);
    else
        ask(c, c->seq);
}

static void ask(struct collect *c, uint64_t cursor)
{
    if (queue_request_busy(&c->results.call.request))
        return;
    c->results.call.job = str_of(c->config.job);
    c->results.cursor = cursor;
    c->results.count = RESULTS_COUNT;
    c->results.collected_path = c->order ? NULL : c->config.output_path;
    c->results.collected_bytes = c->config.cursor.bytes;
    c->results.block_ms = c->config.follow ? RESULTS_BLOCK_MS : 0;
    queue_send(c->config.queue, &c->results.call.request);
}

static void on_again(struct loop_timer *t)
{
    struct collect *c = container_of(t, struct collect, again);
    struct err err;
    int rc = put_waiting(c, &err);
    if (rc == TTG_ENOSPC) {
        wait_for_room(c, &err);
        return;
    }
    if (rc) {
        end(c, rc, &err);
        return;
    }
    ask(c, c->seq);
}

int collect_start(struct collect **ret_collect, struct loop *loop,
                  const struct collect_config *config, struct err *err)
{
    struct collect *c = mem_zalloc(sizeof *c);
    if (!c)
        return err_set(err, TTG_ENOMEM, "out of memory");
    c->config = *config;
    c->loop = loop;
    c->seq = c->saved_seq = config->ordered ? 0 : config->cursor.seq;
    c->saved_ms = loop_now_ms(loop);
    c->began_ns = loop_now_ns(loop);
    if (!config->ordered)
        memcpy(c->results.history, config->cursor.history, sizeof c->results.history);
    buf_init(&c->lines, ORDERED_BYTES_MAX);
    queue_request_init(&c->results.call.request, QUEUE_RESULTS, on_results, c);
    queue_request_init(&c->trim.call.request, QUEUE_TRIM, on_trimmed, c);
    loop_timer_init(&c->again, loop, on_again);
    /* In the order of chunks the cursor tells nothing of the queue's results: all come again, and
     * those that are out are dropped. A dead letter that was tried again comes late, at the end. */
    int rc =
        config->ordered ? order_new(&c->order, NULL, tally_first_missing(config->there), err) : 0;
    if (rc) {
        collect_free(c);
        return rc;
    }
    *ret_collect = c;
    ask(c, c->seq);
    return 0;
}

void collect_hurry(struct collect *c)
{
    c->hurried = true;
    if (!c->ended && !c->full && loop_timer_is_set(&c->again)) {
        loop_timer_stop(&c->again);
        ask(c, c->seq);
    }
}

int collect_stop(struct collect *c, struct err *err)
{
    c->ended = true;
    loop_timer_stop(&c->again);
    return c->seq != c->saved_seq ? save(c, err) : 0;
}

void collect_free(struct collect *c)
{
    if (!c)
        return;
    ensure(!queue_request_busy(&c->results.call.request));
    loop_timer_stop(&c->again);
    queue_request_done(&c->results.call.request);
    queue_request_done(&c->trim.call.request);
    order_free(c->order);
    buf_done(&c->lines);
    mem_free(c);
}

bool collect_repeated(const struct collect *c)
{
    return c->repeats;
}

uint64_t collect_lines(const struct collect *c)
{
    return output_lines(c->config.output);
}
