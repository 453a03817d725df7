/* SPDX-License-Identifier: Apache-2.0 */
/* Reading results: the queue hands out blocks of lines, the program gets one at a time. */
#include "base/mem.h"
#include "lib/handles.h"
#include "lib/sized.h"
#include "wire/message.h"

enum {
    BLOCK_RESULTS = 1000,
    BLOCK_WAIT_MS = 5000,
    BLOCK_BYTES_MAX = 1 << 30,
};

struct ttg_results {
    struct link link;
    char *job;
    uint64_t wait_ms;
    uint64_t cursor; /* of the last result handed out */
    /* the present block */
    struct queue_results call;
    struct buf lines;     /* with NULs for newlines */
    struct buf cursors;   /* behind each line; empty: they count up */
    size_t at, line;      /* the next line: where, and which */
    uint64_t first, last; /* cursors of the first line and behind the block */
    bool ended;           /* nothing follows the block */
    /* the present result */
    struct ttg_result result;
    struct buf room, output;
    char worker[256], sum[48];
};

int ttg_results_open(ttg_results **ret_results, const ttg_queue *q, const char *job,
                     const struct ttg_results_options *options)
{
    struct ttg_results_options o;
    struct str name;
    if (ret_results)
        *ret_results = NULL;
    if (!ret_results || !q)
        return TTG_EINVAL;
    struct ttg_results *r = *ret_results = mem_zalloc(sizeof *r);
    if (!r)
        return TTG_ENOMEM;
    queue_request_init(&r->call.call.request, QUEUE_RESULTS, NULL, NULL);
    buf_init(&r->lines, BLOCK_BYTES_MAX);
    buf_init(&r->cursors, BLOCK_BYTES_MAX);
    buf_init(&r->room, BLOCK_BYTES_MAX);
    buf_init(&r->output, BLOCK_BYTES_MAX);
    struct err *err = &r->link.err;
    if (!q->link.address)
        return err_set(err, TTG_EINVAL, "the queue was not opened");
    int rc = link_job(job, &name, err);
    if (!rc)
        rc = sized_in(&o, sizeof o, options, err);
    if (!rc && !(r->job = mem_dup(name.ptr, name.len)))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (rc)
        return rc;
    link_init(&r->link, address_ref(q->link.address));
    r->link.keep = true;
    r->cursor = r->last = o.cursor;
    r->wait_ms = o.wait_ms;
    return 0;
}

void ttg_results_close(ttg_results *r)
{
    if (!r)
        return;
    link_done(&r->link);
    queue_request_done(&r->call.call.request);
    buf_done(&r->lines);
    buf_done(&r->cursors);
    buf_done(&r->room);
    buf_done(&r->output);
    mem_free(r->job);
    mem_free(r);
}

const char *ttg_results_message(const ttg_results *r)
{
    return r ? r->link.err.text : "no results";
}

uint64_t ttg_results_cursor(const ttg_results *r)
{
    return r ? r->cursor : 0;
}

static int begin(ttg_results *r)
{
    if (!r)
        return TTG_EINVAL;
    return r->link.address ? 0 : err_set(&r->link.err, TTG_EINVAL, "the results were not opened");
}

/* ---- a block ---- */

static size_t split_lines(struct buf *lines)
{
    size_t count = 0;
    for (char *p = buf_ptr(lines), *end = p + buf_len(lines); p < end; p++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            break;
        *p = '\0';
        count++;
    }
    return count;
}

static int on_block(void *ctx, int rc, struct err *err)
{
    struct ttg_results *r = ctx;
    const struct queue_results *c = &r->call;
    if (rc == TTG_ERANGE)
        return err_set(err, rc,
                       "the queue has lost results that were handed out: was it restored, or run "
                       "without syncs?");
    if (rc)
        return rc;
    if (c->first > r->last + 1)
        return err_set(err, TTG_ENOENT, "results behind the cursor were forgotten");
    buf_clear(&r->lines);
    buf_clear(&r->cursors);
    r->at = r->line = 0;
    rc = buf_add_str(&r->lines, c->lines);
    size_t count = rc || c->lines.len == 0 ? 0 : split_lines(&r->lines);
    if (!rc && c->cursors && count > 0)
        rc = buf_add(&r->cursors, c->cursors, count * sizeof *c->cursors);
    if (rc) {
        buf_clear(&r->lines);
        return err_set(err, rc, "%s", err_text(rc));
    }
    r->first = c->first;
    r->last = c->last;
    r->ended = c->ended;
    return 0;
}

/* Waits for a block that is not empty. */
static int next_block(struct ttg_results *r)
{
    int rc;
    uint64_t start_ms = link_now_ms(&r->link), waited_ms = 0;
    do {
        uint64_t left_ms = waited_ms < r->wait_ms ? r->wait_ms - waited_ms : 0;
        r->call.call.job = str_of(r->job);
        r->call.cursor = r->last;
        r->call.count = BLOCK_RESULTS;
        r->call.block_ms = left_ms < BLOCK_WAIT_MS ? left_ms : BLOCK_WAIT_MS;
        rc = link_call(&r->link, &r->call.call.request, on_block, r);
        uint64_t now_ms = link_now_ms(&r->link);
        if (start_ms == 0)
            start_ms = now_ms;
        waited_ms = now_ms - start_ms;
    } while (waited_ms < r->wait_ms &&
             (rc == TTG_EAGAIN || (!rc && buf_len(&r->lines) == 0 && !r->ended)));
    if (rc == TTG_EAGAIN || (!rc && buf_len(&r->lines) == 0))
        return r->ended ? err_set(&r->link.err, TTG_EDONE, "the job has ended; all results came")
                        : err_set(&r->link.err, TTG_EAGAIN, "no result in time");
    return rc;
}

/* ---- a result ---- */

static int take_value(struct ttg_results *r, const struct message_result *m)
{
    struct ttg_result *out = &r->result;
    int rc = 0;
    buf_clear(&r->output);
    switch (m->value) {
    case MESSAGE_SUM:
        r->sum[str_from_i128(r->sum, m->sum)] = '\0';
        out->sum = r->sum;
        out->sum_fits = m->sum >= INT64_MIN && m->sum <= INT64_MAX;
        out->sum_i64 = out->sum_fits ? (int64_t)m->sum : 0;
        return 0;
    case MESSAGE_OUTPUT_BASE64:
        rc = buf_add_unbase64(&r->output, m->text);
        break;
    case MESSAGE_NOTHING:
        break;
    case MESSAGE_OUTPUT:
    case MESSAGE_SUMMARY:
        rc = buf_add_str(&r->output, m->text);
        break;
    }
    if (!rc && !buf_cstr(&r->output))
        rc = TTG_ENOMEM;
    out->output = rc ? NULL : buf_ptr(&r->output);
    out->output_bytes = buf_len(&r->output);
    return rc;
}

static int take_line(struct ttg_results *r, struct str line)
{
    struct message_result m;
    struct err *err = &r->link.err;
    int rc = message_read_result(&m, line, &r->room, err);
    if (rc)
        return rc;
    r->result = (struct ttg_result){.start = m.start_param,
                                    .end = m.end_param,
                                    .params = m.params_processed,
                                    .attempt = m.attempt,
                                    .duration_us = (uint64_t)(m.duration_seconds * 1e6 + 0.5),
                                    .worker = r->worker,
                                    .line = line.ptr};
    size_t len = m.worker_id.len < sizeof r->worker ? m.worker_id.len : sizeof r->worker - 1;
    memcpy(r->worker, m.worker_id.ptr ? m.worker_id.ptr : "", len);
    r->worker[len] = '\0';
    rc = message_chunk_number(m.chunk_id, &r->result.chunk);
    if (!rc)
        rc = take_value(r, &m);
    return rc ? err_set(err, rc, "a result that cannot be read: %.100s", line.ptr) : 0;
}

int ttg_results_next(ttg_results *r, const struct ttg_result **ret_result)
{
    int rc = begin(r);
    if (!rc && !ret_result)
        rc = err_set(&r->link.err, TTG_EINVAL, "no place for the result");
    if (!rc && r->at >= buf_len(&r->lines)) {
        buf_clear(&r->lines);
        r->at = 0;
        rc = r->ended ? err_set(&r->link.err, TTG_EDONE, "the job has ended; all results came")
                      : next_block(r);
    }
    if (rc)
        return rc;
    struct str line = str_of(buf_ptr(&r->lines) + r->at);
    rc = take_line(r, line);
    if (rc == TTG_ENOMEM)
        return rc; /* the same one again, later */
    r->at += line.len + 1;
    const uint64_t *cursors = (const uint64_t *)(const void *)buf_str(&r->cursors).ptr;
    bool was_last = r->at >= buf_len(&r->lines);
    r->cursor = was_last                   ? r->last
                : buf_len(&r->cursors) > 0 ? cursors[r->line]
                                           : r->first + r->line;
    r->line++;
    if (!rc)
        *ret_result = &r->result;
    return rc;
}

int ttg_results_forget(ttg_results *r)
{
    struct queue_trim call = {0};
    int rc = begin(r);
    if (rc)
        return rc;
    call.call.job = str_of(r->job);
    call.seq = r->cursor;
    queue_request_init(&call.call.request, QUEUE_TRIM, NULL, NULL);
    rc = link_call(&r->link, &call.call.request, NULL, NULL);
    queue_request_done(&call.call.request);
    return rc;
}
