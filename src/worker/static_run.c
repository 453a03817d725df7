/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/static_run.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prng.h"

enum {
    STATIC_STARTS_PER_TURN = 256, /* of chunks that are over at once: signals are seen in between */
    STATIC_PROGRESS_LINES_MAX = 100, /* a second */
    STATIC_CLOSE_MS = 2000,          /* for coprocesses to end by themselves */
};

enum slot_state { SLOT_IDLE, SLOT_RUNS, SLOT_WAITS /* for the next attempt */, SLOT_LOST };

struct slot {
    struct static_run *run;
    struct loop_timer timer; /* SLOT_WAITS */
    enum slot_state state;
    struct kernel_task task;
};

struct static_run {
    struct static_config config;
    struct loop *loop;
    struct kernel *kernel;
    struct static_totals totals;
    struct prng prng;
    struct loop_timer feeder, drain, closing;
    uint64_t next; /* chunk */
    uint64_t started_ns;
    uint64_t logged_params; /* at the last line of progress */
    uint64_t second, lines; /* lines of progress in this second */
    bool stopping, ended;
    int rc;
    struct slot slots[];
};

static uint64_t task_params(const struct kernel_task *t)
{
    return kernel_task_params(t);
}

static bool more_to_start(const struct static_run *r)
{
    return !r->stopping && r->next < r->totals.chunks;
}

static void next_task(struct static_run *r, struct kernel_task *t)
{
    uint64_t chunk = r->next++, offset = chunk * r->config.chunk_params;
    uint64_t left = r->config.count - offset;
    uint64_t params = left < r->config.chunk_params ? left : r->config.chunk_params;
    uint64_t start = r->config.first + offset;
    *t = (struct kernel_task){.chunk = chunk,
                              .start = (int64_t)start,
                              .end = (int64_t)(start + (params - 1)),
                              .attempt = 1,
                              .job = r->config.job};
}

/* ---- the end ---- */

static void end(struct static_run *r)
{
    loop_timer_stop(&r->closing);
    loop_timer_stop(&r->drain);
    r->totals.duration_ns = loop_now_update(r->loop) - r->started_ns;
    r->config.on_end(r->config.ctx, &r->totals, r->rc);
}

static void on_drained(void *ctx)
{
    end(ctx);
}

static void on_closing(struct loop_timer *t)
{
    end(container_of(t, struct static_run, closing));
}

/* Nothing runs, nothing waits and nothing comes: the kernel may go. */
static void check_end(struct static_run *r)
{
    bool lost_all = true, lost = false;
    for (uint32_t i = 0; i < r->config.kernel.slots; i++) {
        if (r->slots[i].state == SLOT_RUNS || r->slots[i].state == SLOT_WAITS)
            return;
        lost_all = lost_all && r->slots[i].state == SLOT_LOST;
        lost = lost || r->slots[i].state == SLOT_LOST;
    }
    if (r->ended || (more_to_start(r) && !lost_all))
        return;
    r->ended = true;
    loop_timer_stop(&r->feeder);
    /* A coprocess that will not go does not hold up the result; a wedged plugin never goes. */
    if (lost || loop_timer_after_ms(&r->closing, STATIC_CLOSE_MS)) {
        end(r);
        return;
    }
    kernel_drain(r->kernel, on_drained, r);
}

/* ---- results ---- */

static void log_progress(struct static_run *r)
{
    struct static_totals *t = &r->totals;
    uint64_t seen = t->params_done + t->params_failed;
    if (seen - r->logged_params < r->config.batch)
        return;
    r->logged_params = seen - seen % r->config.batch;
    uint64_t now = loop_now_ns(r->loop), second = now / 1000000000u;
    if (second != r->second) {
        r->second = second;
        r->lines = 0;
    }
    if (r->lines++ >= STATIC_PROGRESS_LINES_MAX)
        return;
    double seconds = (double)(now - r->started_ns) / 1e9;
    log_info("worker.progress", kv_u64("done", t->params_done), kv_u64("failed", t->params_failed),
             kv_u64("total", t->params),
             kv_u64("percent", (uint64_t)(100.0 * (double)seen / (double)t->params)),
             kv_u64("per_second", seconds > 0 ? (uint64_t)((double)t->params_done / seconds) : 0));
}

static void chunk_done(struct static_run *r, struct slot *s, const struct kernel_result *result)
{
    struct static_totals *t = &r->totals;
    t->chunks_done++;
    t->params_done += task_params(&s->task);
    t->has_sum = t->has_sum && result->has_sum;
    if (result->has_sum && __builtin_add_overflow(t->sum, result->sum, &t->sum)) {
        /* Only a plugin's or a coprocess's own sums can be that large. */
        log_error("sum.overflow", kv_u64("chunk", s->task.chunk));
        t->has_sum = false;
    }
    int rc = r->config.on_chunk(r->config.ctx, &s->task, result);
    if (rc && !r->rc) {
        r->rc = rc;
        static_run_stop(r, 0);
    }
    log_progress(r);
}

static void chunk_given_up(struct static_run *r, struct slot *s, const struct kernel_result *result)
{
    r->totals.chunks_failed++;
    r->totals.params_failed += task_params(&s->task);
    log_error("chunk.failed", kv_u64("chunk", s->task.chunk), kv_i64("start", s->task.start),
              kv_i64("end", s->task.end), kv_u64("attempts", s->task.attempt),
              kv_s("reason", result->reason));
    log_progress(r);
}

/* Doubles with each attempt, +-25 % so that workers which failed together do not come back
 * together. */
static uint64_t retry_ms(struct static_run *r, uint32_t attempt)
{
    uint64_t ms = r->config.retry_min_ms, most = r->config.retry_max_ms;
    for (uint32_t i = 1; i < attempt && ms < most; i++)
        ms *= 2;
    ms = most > 0 && ms > most ? most : ms;
    return (uint64_t)((double)ms * (0.75 + 0.5 * prng_unit(&r->prng)));
}

static void retry(struct static_run *r, struct slot *s, const struct kernel_result *result)
{
    uint64_t ms = retry_ms(r, s->task.attempt);
    log_warn("chunk.retry", kv_u64("chunk", s->task.chunk), kv_u64("attempt", s->task.attempt),
             kv_u64("in_ms", ms), kv_s("reason", result->reason));
    if (loop_timer_after_ms(&s->timer, ms)) {
        chunk_given_up(r, s, result);
        return;
    }
    s->task.attempt++;
    s->state = SLOT_WAITS;
}

static void finish(struct slot *s, const struct kernel_result *result)
{
    struct static_run *r = s->run;
    s->state = result->wedged ? SLOT_LOST : SLOT_IDLE;
    if (s->task.attempt > r->totals.attempts_most)
        r->totals.attempts_most = s->task.attempt;
    switch (result->status) {
    case KERNEL_OK:
        chunk_done(r, s, result);
        break;
    case KERNEL_CANCELED:
        break;
    case KERNEL_PERMANENT:
        chunk_given_up(r, s, result);
        break;
    case KERNEL_FAILED:
    case KERNEL_TIMEOUT:
        if (s->task.attempt >= r->config.max_attempts || result->wedged)
            chunk_given_up(r, s, result);
        else if (!r->stopping)
            retry(r, s, result);
        break;
    }
}

static bool start(struct slot *s)
{
    struct kernel_result result;
    struct static_run *r = s->run;
    s->state = SLOT_RUNS;
    r->totals.attempts++;
    if (!kernel_start(r->kernel, (uint32_t)(s - r->slots), &s->task, &result))
        return false;
    finish(s, &result);
    return true;
}

/* ---- events ---- */

static void feed_soon(struct static_run *r)
{
    if (!r->ended && loop_timer_after_ms(&r->feeder, 0))
        static_run_stop(r, 0); /* no memory to go on */
}

static void feed(struct loop_timer *t)
{
    struct static_run *r = container_of(t, struct static_run, feeder);
    unsigned starts = 0;
    for (uint32_t i = 0; i < r->config.kernel.slots; i++)
        while (r->slots[i].state == SLOT_IDLE && more_to_start(r)) {
            if (starts++ == STATIC_STARTS_PER_TURN) {
                feed_soon(r);
                return;
            }
            next_task(r, &r->slots[i].task);
            start(&r->slots[i]);
        }
    check_end(r);
}

static void on_retry(struct loop_timer *t)
{
    struct slot *s = container_of(t, struct slot, timer);
    if (start(s))
        feed_soon(s->run);
}

static void on_done(void *ctx, uint32_t slot, const struct kernel_result *result)
{
    struct static_run *r = ctx;
    finish(&r->slots[slot], result);
    feed_soon(r);
}

static void on_drain(struct loop_timer *t)
{
    struct static_run *r = container_of(t, struct static_run, drain);
    for (uint32_t i = 0; i < r->config.kernel.slots; i++)
        if (r->slots[i].state == SLOT_RUNS)
            kernel_cancel(r->kernel, i);
}

/* ---- start and stop ---- */

int static_run_start(struct static_run **ret_run, struct loop *loop,
                     const struct static_config *config, struct err *err)
{
    ensure(config->chunk_params > 0 && config->batch > 0 && config->max_attempts > 0);
    ensure(config->count == 0 || config->first + (config->count - 1) <= INT64_MAX);
    struct static_run *r = mem_zalloc(sizeof *r + config->kernel.slots * sizeof *r->slots);
    if (!r)
        return err_set(err, TTG_ENOMEM, "out of memory");
    r->config = *config;
    r->config.kernel.on_done = on_done;
    r->config.kernel.ctx = r;
    r->loop = loop;
    r->started_ns = loop_now_update(loop);
    prng_init(&r->prng, config->retry_seed);
    r->totals.params = config->count;
    r->totals.chunks =
        config->count / config->chunk_params + (config->count % config->chunk_params ? 1 : 0);
    r->totals.has_sum = true;
    loop_timer_init(&r->feeder, loop, feed);
    loop_timer_init(&r->drain, loop, on_drain);
    loop_timer_init(&r->closing, loop, on_closing);
    for (uint32_t i = 0; i < config->kernel.slots; i++) {
        r->slots[i].run = r;
        loop_timer_init(&r->slots[i].timer, loop, on_retry);
    }
    int rc = kernel_open(&r->kernel, loop, &r->config.kernel, err);
    if (!rc && loop_timer_after_ms(&r->feeder, 0))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (rc) {
        static_run_close(r);
        return rc;
    }
    *ret_run = r;
    return 0;
}

void static_run_stop(struct static_run *r, uint64_t drain_ms)
{
    if (r->ended)
        return;
    r->stopping = true;
    r->totals.stopped = true;
    for (uint32_t i = 0; i < r->config.kernel.slots; i++)
        if (r->slots[i].state == SLOT_WAITS) {
            loop_timer_stop(&r->slots[i].timer);
            r->slots[i].state = SLOT_IDLE;
        }
    /* The grace between TERM and KILL is a part of the time: whoever stops us kills us after it. */
    uint64_t grace_ms = r->config.kernel.kill_grace_ms;
    uint64_t wait_ms = drain_ms > grace_ms ? drain_ms - grace_ms : 0;
    uint64_t at = loop_now_ns(r->loop) + wait_ms * 1000000;
    if (!loop_timer_is_set(&r->drain) || at < r->drain.node.key)
        if (loop_timer_at_ns(&r->drain, at))
            on_drain(&r->drain);
    /* When memory fails even here, the drain timer or the last result ends the run. */
    if (loop_timer_after_ms(&r->feeder, 0))
        check_end(r);
}

void static_run_close(struct static_run *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->config.kernel.slots; i++)
        loop_timer_stop(&r->slots[i].timer);
    loop_timer_stop(&r->feeder);
    loop_timer_stop(&r->drain);
    loop_timer_stop(&r->closing);
    kernel_close(r->kernel);
    mem_free(r);
}
