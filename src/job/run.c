/* SPDX-License-Identifier: Apache-2.0 */
#include "job/run_state.h"

#include "base/mem.h"

#include <stdio.h>

enum {
    EVENTS_COUNT = 100,
    TELL_MS = 2000,  /* we stay at most so long to tell of a death */
    SETTLE_MS = 100, /* the queue knows of a loss at once, of its reason when we have told it */
};

static void close_all(struct run *r);

void run_failed(struct run *r, const struct err *err)
{
    if (r->phase >= CLOSING)
        return;
    r->end = RUN_FAILED;
    r->err = *err;
    close_all(r);
}

/* --- the end: collector, crew, queues, in this order, from the loop --- */

void run_prove(struct run *r)
{
    const struct ledger_status *s = &r->totals.status.status;
    struct tally_truth truth = {
        .chunks = s->chunks,
        .completed = s->completed,
        .digest = {s->digest[0], s->digest[1]},
        /* A job that plain Redis clients worked on has none. */
        .has_digest = s->digest[0] != 0 || s->digest[1] != 0 || s->completed == 0,
    };
    struct buf report;
    buf_init(&report, RUN_REPORT_BYTES - 1);
    bool proven = tally_compare(&r->tally, &truth, &report) == TALLY_PROVEN;
    if (!proven && truth.has_digest && r->collect && collect_repeated(r->collect)) {
        /* Some lines are of a first run that the queue forgot; the second may have given others. */
        truth.has_digest = false;
        buf_clear(&report);
        proven = tally_compare(&r->tally, &truth, &report) == TALLY_PROVEN;
        if (proven)
            log_warn("results.differ", kv_str("reason", "the queue lost results that were printed "
                                                        "already; run again, they were others"));
    }
    r->totals.proof = proven ? RUN_PROVEN : RUN_WRONG;
    snprintf(r->totals.report, sizeof r->totals.report, "%.*s", STR_ARG(buf_str(&report)));
    buf_done(&report);
}

static void on_finish(struct loop_timer *t)
{
    struct run *r = container_of(t, struct run, finish);
    struct err err = {0};
    if (r->phase == ENDED)
        return;
    r->phase = ENDED;
    if (r->collect && collect_stop(r->collect, &err) && r->end != RUN_FAILED) {
        r->end = RUN_FAILED;
        r->err = err;
    }
    if (r->end == RUN_DONE)
        run_prove(r);
    /* Dead letters may be tried again, and what is wrong is to be looked at: the cursor stays. */
    bool complete = r->totals.proof == RUN_PROVEN && r->totals.status.status.dead == 0;
    if (r->end == RUN_DONE && complete && r->output && output_finish(r->output, &err)) {
        r->end = RUN_FAILED;
        r->err = err;
    }
    if (r->output)
        r->totals.lines = output_lines(r->output);
    r->totals.seconds = (double)(loop_now_update(r->loop) - r->started_ns) / 1e9;
    r->config.on_end(r->config.ctx, r->end, &r->totals, &r->err);
}

static void on_crew_stopped(void *ctx)
{
    struct run *r = ctx;
    r->crew_stopped = true;
    loop_timer_after_ms(&r->finish, 0);
}

/* --- what workers died of --- */

static void on_told(void *ctx)
{
    struct run *r = ctx;
    if (r->untold > 0 && r->phase < ENDED) {
        r->untold--;
        crew_release(r->crew);
    }
}

static void on_death(void *ctx, const struct crew_death *death)
{
    struct run *r = ctx;
    r->obituaries = (struct obituaries){r->control, r->config.job, r, on_told};
    r->untold++;
    crew_keep(r->crew);
    loop_timer_after_ms(&r->tell_limit, TELL_MS);
    if (!r->control || !obituary_send(&r->obituaries, death))
        on_told(r);
}

/* The queue does not answer. */
static void on_tell_limit(struct loop_timer *t)
{
    struct run *r = container_of(t, struct run, tell_limit);
    while (r->untold > 0)
        on_told(r);
}

static void close_all(struct run *r)
{
    r->phase = CLOSING;
    loop_timer_stop(&r->status_timer);
    loop_timer_stop(&r->settle);
    if (r->collect)
        collect_hurry(r->collect); /* what the workers finish now is to be written, too */
    if (r->crew)
        crew_stop(r->crew);
    else
        loop_timer_after_ms(&r->finish, 0);
}

void run_stop(struct run *r)
{
    r->stops++;
    if (r->phase >= CLOSING) {
        if (r->crew && r->phase == CLOSING)
            crew_stop(r->crew);
        return;
    }
    r->end = RUN_STOPPED;
    close_all(r);
}

/* --- status and events --- */

/* A chunk that kills its workers is no reason to give up: it becomes a dead letter. */
static void look_for_progress(struct run *r)
{
    const struct ledger_status *s = &r->status.status;
    uint64_t ends = s->completed + s->dead + s->attempts + s->failures + s->reclaimed;
    if (r->crew && ends != r->ends_seen)
        crew_progress(r->crew);
    r->ends_seen = ends;
}

void run_keep_status(struct run *r)
{
    look_for_progress(r);
    r->totals.status = r->status;
    r->totals.status.status.name = r->totals.status.kernel = r->totals.status.input = STR("");
    r->totals.has_status = true;
}

static void ask_events(struct run *r)
{
    if (queue_request_busy(&r->events.call.request) || loop_timer_is_set(&r->settle))
        return;
    r->events.call.job = str_of(r->config.job);
    r->events.after = r->event_seq;
    r->events.count = EVENTS_COUNT;
    queue_send(r->control, &r->events.call.request);
}

static void on_settled(struct loop_timer *t)
{
    ask_events(container_of(t, struct run, settle));
}

/* Of a loss that we have not seen before, our own word on its reason may be under way. */
static bool is_settled(const struct run *r, const struct queue_event *e)
{
    return !r->crew || e->seq <= r->settled_seq ||
           !(str_eq(e->event, STR("worker.lost")) || str_eq(e->event, STR("chunk.dead")));
}

static void on_events(struct queue_request *q, int rc, const struct err *err)
{
    struct run *r = q->ctx;
    const struct queue_event *e = r->events.events, *end = e + (rc ? 0 : r->events.event_count);
    (void)err;
    for (; !rc && e < end && is_settled(r, e); e++) {
        r->event_seq = e->seq;
        r->config.on_event(r->config.ctx, e);
    }
    if (!rc && e < end) {
        r->settled_seq = end[-1].seq;
        if (r->phase < CLOSING && !loop_timer_after_ms(&r->settle, SETTLE_MS))
            return;
    }
    if (r->final_known && r->phase == RUNNING)
        close_all(r);
}

void run_ask_status(struct run *r)
{
    if (queue_request_busy(&r->status.call.request))
        return;
    r->status.call.job = str_of(r->config.job);
    queue_send(r->control, &r->status.call.request);
}

/* All results were collected, and the job has not ended: a replica was promoted in between. */
static bool went_back(const struct run *r)
{
    enum url_scheme scheme = r->config.queue.url->scheme;
    return r->status.status.state == LEDGER_RUNNING &&
           (scheme == URL_REDIS || scheme == URL_REDIS_SENTINEL || scheme == URL_REDIS_CLUSTER);
}

void run_on_status(struct queue_request *q, int rc, const struct err *err)
{
    struct run *r = q->ctx;
    const struct ledger_status *s = &r->status.status;
    if (r->phase >= CLOSING)
        return;
    if (rc == TTG_EFULL && r->config.status_ms > 0) {
        loop_timer_after_ms(&r->status_timer, r->config.status_ms); /* the last one too */
        return;
    }
    if (rc) {
        if (rc != TTG_ECANCELED && rc != TTG_EUNREACH)
            run_failed(r, err);
        return;
    }
    run_keep_status(r);
    if (r->final_status && !r->final_asked) { /* it was on its way, maybe for long */
        r->final_asked = true;
        run_ask_status(r);
        return;
    }
    r->final_known = r->final_status;
    if (r->final_known && went_back(r)) {
        struct err back;
        err_set(&back, TTG_ESTALE,
                "the queue lost results just after the last one was collected: run again with "
                "--resume");
        run_failed(r, &back);
        return;
    }
    if (!r->final_status && s->state == LEDGER_RUNNING && s->completed + s->dead < s->chunks &&
        r->crew && r->phase == RUNNING)
        crew_call_back(r->crew);
    if (r->config.on_status)
        r->config.on_status(r->config.ctx, &r->status);
    if (r->config.on_event)
        ask_events(r);
    else if (r->final_known)
        close_all(r);
}

static void on_status_timer(struct loop_timer *t)
{
    struct run *r = container_of(t, struct run, status_timer);
    run_ask_status(r);
    loop_timer_after_ms(&r->status_timer, r->config.status_ms);
}

/* --- results --- */

void run_on_collected(void *ctx, int rc, const struct err *err)
{
    struct run *r = ctx;
    if (rc) {
        run_failed(r, err);
        return;
    }
    /* All is in the output; one more look at the job, and then the end. */
    if (r->crew)
        crew_job_ended(r->crew);
    r->end = RUN_DONE;
    r->final_status = true;
    loop_timer_stop(&r->status_timer);
    if (queue_request_busy(&r->status.call.request))
        return; /* asked before, so it may tell of a job that runs: on_status asks again */
    r->final_asked = true;
    run_ask_status(r);
}

static void on_up(void *ctx)
{
    struct run *r = ctx;
    if (r->crew)
        crew_progress(r->crew);
}

static void on_lost(void *ctx, const struct err *err)
{
    run_failed(ctx, err);
}

static void on_crew_failed(void *ctx, const struct err *err)
{
    run_failed(ctx, err);
}

static bool on_worker_needed(void *ctx, const char *name)
{
    struct run *r = ctx;
    return r->worker_needed(r->config.ctx, name);
}

static void on_worker(void *ctx, const char *name, pid_t pid, bool died)
{
    struct run *r = ctx;
    r->on_worker(r->config.ctx, name, pid, died);
}

static bool on_node_needed(void *ctx)
{
    struct run *r = ctx;
    return !r->control || !queue_is_up(r->control);
}

int run_start(struct run **ret_run, struct loop *loop, const struct run_config *config,
              struct err *err)
{
    struct run *r = mem_zalloc(sizeof *r);
    if (!r)
        return err_set(err, TTG_ENOMEM, "out of memory");
    tally_init(&r->tally);
    r->config = *config;
    r->loop = loop;
    r->started_ns = loop_now_ns(loop);
    r->config.queue.ctx = r;
    r->config.queue.job = config->job;
    r->config.queue.on_up = on_up;
    r->config.queue.on_down = NULL;
    r->config.queue.on_lost = on_lost;
    r->results_config = r->config.queue;
    r->results_config.quiet = true;
    r->config.crew.ctx = r;
    r->config.crew.node_needed = on_node_needed;
    r->config.crew.on_failed = on_crew_failed;
    r->config.crew.on_stopped = on_crew_stopped;
    r->worker_needed = config->crew.worker_needed;
    r->on_worker = config->crew.on_worker;
    if (r->worker_needed)
        r->config.crew.worker_needed = on_worker_needed;
    if (r->on_worker)
        r->config.crew.on_worker = on_worker;
    r->config.crew.on_death = on_death;
    run_begin_init(r);
    queue_request_init(&r->events.call.request, QUEUE_EVENTS, on_events, r);
    loop_timer_init(&r->status_timer, loop, on_status_timer);
    loop_timer_init(&r->finish, loop, on_finish);
    loop_timer_init(&r->tell_limit, loop, on_tell_limit);
    loop_timer_init(&r->settle, loop, on_settled);
    int rc = 0;
    if (config->crew.node || config->crew.workers > 0)
        rc = crew_start(&r->crew, loop, &r->config.crew, err);
    if (!rc)
        rc = queue_open(&r->control, loop, &r->config.queue, err);
    if (!rc)
        rc = queue_is_one(&r->config.queue)
                 ? (r->results = r->control, 0)
                 : queue_open(&r->results, loop, &r->results_config, err);
    if (rc) {
        run_free(r);
        return rc;
    }
    run_create(r);
    *ret_run = r;
    return 0;
}

void run_free(struct run *r)
{
    if (!r)
        return;
    r->phase = ENDED;
    if (r->results != r->control)
        queue_close(r->results);
    queue_close(r->control);
    loop_timer_stop(&r->status_timer);
    loop_timer_stop(&r->finish);
    loop_timer_stop(&r->create_again);
    loop_timer_stop(&r->tell_limit);
    loop_timer_stop(&r->settle);
    collect_free(r->collect);
    output_close(r->output);
    tally_done(&r->tally);
    crew_free(r->crew);
    queue_request_done(&r->create.call.request);
    queue_request_done(&r->status.call.request);
    queue_request_done(&r->events.call.request);
    queue_request_done(&r->workers.call.request);
    mem_free(r);
}
