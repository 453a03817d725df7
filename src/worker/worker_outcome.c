/* SPDX-License-Identifier: Apache-2.0 */
/* What became of chunks: results and failures into the outbox, answers out of it. */
#include "base/ensure.h"
#include "base/mem.h"
#include "base/trace.h"
#include "worker/worker_state.h"

#include <stdio.h>

void worker_measure(double *mean, double value)
{
    if (value < 1)
        value = 1;
    *mean = *mean > 0 ? *mean + (value - *mean) / 16 : value;
}

void worker_cancel_slots(struct worker *w, bool drop)
{
    for (uint32_t i = 0; i < w->config.kernel.slots; i++) {
        if (!w->slots[i].busy || w->slots[i].wedged)
            continue;
        w->slots[i].dropped |= drop;
        kernel_cancel(w->kernel, i);
    }
}

/* --- from the kernel --- */

static struct trace trace_of_slot(const struct worker_slot *s)
{
    struct trace t;
    trace_of(&t, str_of(s->task.job), s->task.created_ms, s->task.chunk, s->epoch);
    return t;
}

void worker_log_started(const struct worker_slot *s)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    struct trace t = trace_of_slot(s);
    log_debug("chunk.started", kv_u64("chunk", s->task.chunk), kv_u64("attempt", s->task.attempt),
              kv_u64("epoch", s->epoch), kv_trace(&t), kv_span(&t));
}

static void log_done(const struct worker_slot *s, const struct kernel_result *result)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    struct trace t = trace_of_slot(s);
    log_debug("chunk.done", kv_u64("chunk", s->task.chunk), kv_u64("attempt", s->task.attempt),
              kv_u64("us", result->duration_ns / 1000), kv_trace(&t), kv_span(&t));
}

static void put_failure(struct worker *w, const struct worker_slot *s, bool final,
                        struct str reason, struct str stderr_tail)
{
    uint64_t left_out;
    struct trace t = trace_of_slot(s);
    w->totals.failed++;
    if (worker_log_passes(w, &w->failed_lines, &left_out))
        log_warn("chunk.failed", kv_u64("chunk", s->task.chunk), kv_u64("attempt", s->task.attempt),
                 kv_s("reason", reason), kv_bool("final", final), kv_left_out(left_out),
                 kv_trace(&t), kv_span(&t));
    struct buf text;
    buf_init(&text, SIZE_MAX / 2);
    int rc = buf_add_str(&text, reason);
    if (!rc && stderr_tail.len > 0)
        rc = buf_add_char(&text, '\n') | buf_add_str(&text, stderr_tail);
    struct outbox_failure f = {s->task.chunk, s->epoch, final, buf_str(&text)};
    if (!rc)
        rc = outbox_fail(w->outbox, &f);
    buf_done(&text);
    if (rc)
        worker_broken(w, rc, "a failure cannot be kept");
}

static void put_result(struct worker *w, const struct worker_slot *s,
                       const struct kernel_result *result)
{
    struct queue_result out = {.chunk = s->task.chunk,
                               .epoch = s->epoch,
                               .params = s->params,
                               .duration_us = result->duration_ns / 1000,
                               .is_sum = result->has_sum,
                               .sum = result->sum,
                               .output = result->output};
    if (!out.is_sum && out.output.len > OUTBOX_RESULT_BYTES_MAX) {
        char text[192];
        snprintf(
            text, sizeof text,
            "output of %zu bytes; a queue takes %d MiB of a chunk at most: make chunks smaller "
            "(--chunk), or write to a file and print its name",
            out.output.len, OUTBOX_RESULT_BYTES_MAX >> 20);
        put_failure(w, s, true, str_of(text), STR(""));
        return;
    }
    int rc = outbox_add(w->outbox, &out);
    if (rc)
        worker_broken(w, rc, "a result cannot be kept");
    else
        w->totals.params += s->params;
}

static void measure_chunk(struct worker *w, uint64_t took_ns)
{
    double faded = w->slowest_ns * 15 / 16, took = took_ns > 0 ? (double)took_ns : 1;
    w->slowest_ns = took > faded ? took : faded;
    worker_measure(&w->chunk_ns, took);
}

void worker_chunk_ended(struct worker *w, struct worker_slot *s, const struct kernel_result *result)
{
    bool dropped = s->dropped;
    ensure(s->busy && !s->wedged);
    s->dropped = false;
    w->dry = false;
    histogram_add(&w->figures.took, result->duration_ns / 1000);
    if (result->wedged) {
        s->wedged = true;
        w->wedged++;
    } else {
        s->busy = false;
        w->busy--;
    }
    if (w->phase == WORKER_ENDED)
        return;
    if (dropped) {
        struct trace t = trace_of_slot(s);
        w->totals.stale++;
        log_info("chunk.dropped", kv_u64("chunk", s->task.chunk),
                 kv_u64("attempt", s->task.attempt),
                 kv_str("reason", "the lease was lost meanwhile"), kv_trace(&t), kv_span(&t));
    } else if (result->status == KERNEL_CANCELED) {
        worker_release(w, &(struct ledger_held){s->task.chunk, s->epoch}, 1);
    } else if (result->status == KERNEL_OK) {
        measure_chunk(w, result->duration_ns);
        log_done(s, result);
        put_result(w, s, result);
    } else {
        measure_chunk(w, result->duration_ns);
        put_failure(w, s, result->status == KERNEL_PERMANENT, result->reason, result->stderr_tail);
    }
}

void worker_on_chunk(void *ctx, uint32_t slot, const struct kernel_result *result)
{
    struct worker *w = ctx;
    worker_chunk_ended(w, &w->slots[slot], result);
    if (w->wedged == w->config.kernel.slots && w->phase == WORKER_RUNNING) {
        worker_release_backlog(w);
        err_set(&w->err, TTG_ETIMEOUT, "no slot is left that answers: the plugin hangs");
        worker_begin_end(w, WORKER_BROKEN);
    }
    worker_go_on(w);
}

/* --- from the queue --- */

static void on_room(void *ctx)
{
    struct worker *w = ctx;
    if (!w->joined)
        worker_send_join(w); /* it may have waited for these answers */
    worker_go_on(w);
}

static void on_verdict(void *ctx, uint64_t chunk, enum ledger_verdict verdict)
{
    struct worker *w = ctx;
    uint64_t left_out;
    struct trace t;
    trace_of(&t, worker_job(w), w->join.created_ms, chunk, 0);
    if (verdict == LEDGER_INVALID)
        log_error("commit.invalid", kv_u64("chunk", chunk));
    else if (worker_log_passes(w, &w->stale_lines, &left_out))
        log_info(verdict == LEDGER_STALE ? "commit.stale" : "commit.refused",
                 kv_u64("chunk", chunk), kv_left_out(left_out), kv_trace(&t));
}

static void on_fate(void *ctx, const struct outbox_failure *f, enum ledger_fate fate)
{
    struct worker *w = ctx;
    struct trace t;
    trace_of(&t, worker_job(w), w->join.created_ms, f->chunk, f->epoch);
    /* The reason was told as chunk.failed; a run tells of it as an error. */
    if (fate == LEDGER_DEAD)
        log_info("chunk.dead", kv_u64("chunk", f->chunk), kv_trace(&t), kv_span(&t));
}

static void on_unwanted(void *ctx, uint64_t chunk, uint64_t epoch)
{
    worker_release(ctx, &(struct ledger_held){chunk, epoch}, 1);
}

static void on_failed(void *ctx, int rc, const struct err *err)
{
    struct worker *w = ctx;
    (void)rc;
    worker_end_now(w, WORKER_LOST, err);
}

static uint64_t now_us(void *ctx)
{
    return loop_now_ns(((struct worker *)ctx)->loop) / 1000;
}

int worker_open_outbox(struct worker *w)
{
    struct outbox_config c = {.queue = w->commits,
                              .job = worker_job(w),
                              .worker = worker_self(w),
                              .running_max = w->config.kernel.slots,
                              .ctx = w,
                              .now_us = now_us,
                              .latency = &w->figures.commit,
                              .on_room = on_room,
                              .on_verdict = on_verdict,
                              .on_fate = on_fate,
                              .on_unwanted = on_unwanted,
                              .on_failed = on_failed};
    return outbox_new(&w->outbox, &c);
}
