/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/worker_static.h"

#include "base/log.h"
#include "cmd/kernel_options.h"
#include "io/loop.h"
#include "io/realclock.h"
#include "io/stdio.h"
#include "wire/message.h"
#include "worker/static_range.h"
#include "worker/static_run.h"

#include <signal.h>
#include <stdio.h>

enum { STATIC_RETRY_MAX_MS = 5000, STATIC_LINE_BYTES_MAX = 1 << 30 };

struct worker_static {
    struct command_run *command;
    struct loop *loop;
    struct static_run *run;
    struct loop_signal sigterm, sigint;
    struct static_range range;
    uint64_t id, drain_ms;
    char name[32]; /* "worker-0" */
    bool sums;     /* whatever it computes, it is a sum */
    struct static_totals totals;
    struct buf line;
    struct err err;
    int rc;     /* why it ended early */
    int signal; /* the first one */
};

/* ---- output ---- */

static int print_result(struct worker_static *w, const struct message_result *m)
{
    buf_clear(&w->line);
    int rc = message_add_result(&w->line, m);
    if (!rc)
        rc = buf_add_char(&w->line, '\n');
    if (rc)
        return err_set(&w->err, rc, "cannot write a result: %s", err_text(rc));
    return stdio_write(buf_str(&w->line), &w->err);
}

static void completed_now(char *text)
{
    struct clock *c = realclock();
    clock_text(text, c->wall_ms(c));
}

/* A sum waits for the total; what a command printed has no place there. */
static int on_chunk(void *ctx, const struct kernel_task *t, const struct kernel_result *r)
{
    struct worker_static *w = ctx;
    char id[MESSAGE_CHUNK_ID_BYTES], now[CLOCK_TEXT_BYTES];
    if (r->has_sum)
        return 0;
    completed_now(now);
    struct message_result m = {
        .chunk_id = str_make(id, message_chunk_id(id, t->chunk)),
        .has_range = true,
        .start_param = t->start,
        .end_param = t->end,
        .worker_id = str_of(w->name),
        .attempt = t->attempt,
        .status = STR("complete"),
        .params_processed = kernel_task_params(t),
        .duration_seconds = (double)r->duration_ns / 1e9,
        .completed_at = str_of(now),
        .value = MESSAGE_OUTPUT,
        .text = r->output,
    };
    return print_result(w, &m);
}

static bool complete(const struct static_totals *t)
{
    return t->params_done == t->params;
}

static int print_total(struct worker_static *w)
{
    const struct static_totals *t = &w->totals;
    char id[MESSAGE_CHUNK_ID_BYTES], now[CLOCK_TEXT_BYTES], extra[128];
    completed_now(now);
    snprintf(extra, sizeof extra, "\"total_params\":%llu,\"chunks\":%llu,\"dead_letters\":%llu",
             (unsigned long long)t->params, (unsigned long long)t->chunks_done,
             (unsigned long long)t->chunks_failed);
    const char *status = complete(t) ? "complete" : w->signal ? "stopped" : "failed";
    struct message_result m = {
        .chunk_id = str_make(id, message_chunk_id(id, w->id)),
        .has_range = t->params > 0,
        .start_param = (int64_t)w->range.first,
        .end_param = (int64_t)(w->range.first + t->params - 1),
        .worker_id = str_of(w->name),
        .attempt = t->attempts_most,
        .status = str_of(status),
        .params_processed = t->params_done,
        .duration_seconds = (double)t->duration_ns / 1e9,
        .completed_at = str_of(now),
        .value = t->has_sum && (t->chunks_done > 0 || w->sums) ? MESSAGE_SUM : MESSAGE_NOTHING,
        .sum = t->sum,
        .count = t->params_done,
        .extra = str_of(extra),
    };
    return print_result(w, &m);
}

/* ---- events ---- */

static void on_end(void *ctx, const struct static_totals *totals, int rc)
{
    struct worker_static *w = ctx;
    w->totals = *totals;
    w->rc = rc;
    loop_stop(w->loop);
}

static void on_signal(struct loop_signal *s)
{
    struct worker_static *w = s->signo == SIGTERM ? container_of(s, struct worker_static, sigterm)
                                                  : container_of(s, struct worker_static, sigint);
    bool again = w->signal != 0;
    if (!again)
        w->signal = s->signo;
    uint64_t drain_ms = again ? 0 : w->drain_ms;
    log_warn("worker.stopping", kv_str("signal", s->signo == SIGTERM ? "SIGTERM" : "SIGINT"),
             kv_u64("drain_ms", drain_ms));
    static_run_stop(w->run, drain_ms);
}

static void log_end(const struct worker_static *w)
{
    const struct static_totals *t = &w->totals;
    struct kv done = kv_u64("done", t->params_done), failed = kv_u64("failed", t->params_failed);
    struct kv left = kv_u64("not_done", t->params - t->params_done - t->params_failed);
    struct kv chunks = kv_u64("chunks", t->chunks_done), all = kv_u64("total", t->params);
    struct kv seconds = kv_f64("seconds", (double)t->duration_ns / 1e9);
    if (complete(t))
        log_info("worker.done", done, all, chunks, seconds);
    else if (w->signal)
        log_warn("worker.stopped", done, failed, left, all, chunks, seconds);
    else
        log_error("worker.failed", done, failed, left, all, chunks, seconds);
}

/* ---- start ---- */

static int configure(struct worker_static *w, struct static_config *c)
{
    struct command_run *r = w->command;
    const struct options *o = r->options;
    uint64_t workers = option_u64(o, OPT_TOTAL_WORKERS);
    w->id = option_u64(o, OPT_WORKER_ID);
    if (w->id >= workers)
        return err_set(&w->err, TTG_EUSAGE,
                       "WORKER_ID %llu has to be below TOTAL_WORKERS %llu: workers count from 0",
                       (unsigned long long)w->id, (unsigned long long)workers);
    snprintf(w->name, sizeof w->name, "worker-%llu", (unsigned long long)w->id);
    w->range = static_range(option_u64(o, OPT_PARAMS), workers, w->id);
    w->drain_ms = option_ms(o, OPT_DRAIN);
    struct clock *clock = realclock();
    *c = (struct static_config){
        .first = w->range.first,
        .count = w->range.count,
        .chunk_params = option_u64(o, OPT_CHUNK),
        .batch = option_u64(o, OPT_BATCH),
        .max_attempts = (uint32_t)option_u64(o, OPT_MAX_ATTEMPTS),
        .retry_min_ms = option_ms(o, OPT_RETRY_DELAY),
        .retry_max_ms = STATIC_RETRY_MAX_MS,
        .retry_seed = clock->mono_ns(clock) + w->id,
        .job = "static",
        .on_chunk = on_chunk,
        .on_end = on_end,
        .ctx = w,
    };
    if (c->retry_min_ms > c->retry_max_ms)
        c->retry_max_ms = c->retry_min_ms;
    int rc = kernel_from_options(&c->kernel, r, &w->err);
    if (!rc)
        rc = kernel_check_chunk(&c->kernel, c->chunk_params, &w->err);
    c->kernel.worker = w->name;
    if (c->kernel.kill_grace_ms > w->drain_ms / 2)
        c->kernel.kill_grace_ms = w->drain_ms / 2;
    w->sums = c->kernel.type == KERNEL_SIMULATE;
    return rc;
}

static void log_start(const struct static_config *c)
{
    struct buf kernel;
    buf_init(&kernel, 4096);
    kernel_describe(&c->kernel, &kernel);
    if (c->count > 0)
        log_info("worker.started", kv_str("mode", "static"), kv_u64("start", c->first),
                 kv_u64("end", c->first + c->count - 1), kv_u64("total", c->count),
                 kv_s("kernel", buf_str(&kernel)));
    else
        log_warn("worker.started", kv_str("mode", "static"), kv_u64("total", 0),
                 kv_str("reason", "more workers than parameters: nothing to do"));
    buf_done(&kernel);
}

static int run(struct worker_static *w, const struct static_config *c)
{
    int rc = loop_signal_start(&w->sigterm, w->loop, SIGTERM, on_signal);
    if (!rc)
        rc = loop_signal_start(&w->sigint, w->loop, SIGINT, on_signal);
    if (rc)
        return err_set(&w->err, rc, "cannot listen to signals: %s", err_text(rc));
    rc = static_run_start(&w->run, w->loop, c, &w->err);
    if (rc)
        return rc;
    log_start(c);
    rc = loop_run(w->loop);
    if (rc)
        return err_set(&w->err, rc, "the event loop failed: %s", err_text(rc));
    log_end(w);
    return w->rc ? w->rc : print_total(w);
}

static int exit_code(const struct worker_static *w)
{
    if (w->signal)
        return w->signal == SIGTERM ? EXIT_SIGTERM : EXIT_SIGINT;
    return complete(&w->totals) ? EXIT_DONE : EXIT_FAILED_CHUNKS;
}

int worker_static(struct command_run *r)
{
    struct worker_static w = {.command = r};
    struct static_config c;
    buf_init(&w.line, STATIC_LINE_BYTES_MAX);
    int rc = configure(&w, &c);
    if (!rc)
        rc = loop_open(&w.loop, &w.err);
    if (!rc) {
        log_context("worker", w.name);
        rc = run(&w, &c);
    }
    static_run_close(w.run);
    if (w.loop) {
        loop_signal_stop(&w.sigterm);
        loop_signal_stop(&w.sigint);
        loop_close(w.loop);
    }
    buf_done(&w.line);
    return rc ? command_fail(r, &w.err) : exit_code(&w);
}
