/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's life: start, stop, the end, and what happens now and then. */
#include "worker/worker.h"

#include "base/ensure.h"
#include "base/mem.h"
#include "worker/worker_state.h"

enum {
    JOB_WAIT_MS = 200, /* between looks for a job that is not there yet */
    GIVE_UP_MS = 2000, /* for the queue's answers, once nothing runs any more */
    LEAVE_MS = 5000,   /* for the good-bye: on RabbitMQ without it what is here costs an attempt */
    UNSURE_MS = 100,   /* for the good-bye of who does not know whether it has joined */
    AWAY_MS = 5000, /* of the queue, until what a worker that was told to stop still runs is lost */
    LINES_PER_SECOND = 50,
};

bool worker_log_passes(struct worker *w, struct worker_log_limit *l, uint64_t *ret_left_out)
{
    uint64_t second = loop_now_ms(w->loop) / 1000;
    if (second != l->second) {
        l->second = second;
        l->count = 0;
    }
    if (l->count++ >= LINES_PER_SECOND) {
        l->left_out++;
        return false;
    }
    *ret_left_out = l->left_out;
    l->left_out = 0;
    return true;
}

/* --- the end --- */

static void on_finish(struct loop_timer *t)
{
    struct worker *w = container_of(t, struct worker, finish);
    pulse_stop(w->pulse);
    w->pulse = NULL;
    kernel_close(w->kernel);
    w->kernel = NULL;
    struct outbox_totals o = w->outbox ? outbox_totals(w->outbox) : (struct outbox_totals){0};
    uint64_t pending = w->outbox ? outbox_pending(w->outbox) : 0;
    if (pending > 0)
        log_warn("worker.gave_up", kv_u64("results_not_told", pending));
    if (w->end == WORKER_STOPPED && (pending > 0 || !w->left))
        err_set(&w->err, TTG_EUNREACH,
                "stopped, and the queue did not answer: what it has not heard of runs again");
    w->totals.committed = o.accepted;
    w->totals.stale += o.stale;
    w->config.on_end(w->config.ctx, w->end, &w->totals, &w->err);
}

void worker_end_now(struct worker *w, enum worker_end end, const struct err *err)
{
    if (w->phase == WORKER_ENDED)
        return;
    w->phase = WORKER_ENDED;
    w->end = end;
    if (err)
        w->err = *err;
    loop_timer_stop(&w->tick);
    loop_timer_stop(&w->resume);
    loop_timer_stop(&w->drain);
    loop_timer_after_ms(&w->finish, 0);
}

void worker_broken(struct worker *w, int rc, const char *what)
{
    struct err err;
    err_set(&err, rc, "%s: %s", what, err_text(rc));
    worker_end_now(w, WORKER_BROKEN, &err);
}

static void check_left(struct worker *w)
{
    if (w->phase == WORKER_LEAVING && w->left && (w->quiet || w->wedged > 0))
        worker_end_now(w, w->end, NULL);
}

void worker_left(struct worker *w)
{
    w->left = true;
    check_left(w);
}

static void on_left(struct queue_request *r, int rc, const struct err *err)
{
    (void)rc;
    (void)err;
    worker_left(r->ctx);
}

static void on_quiet(void *ctx)
{
    struct worker *w = ctx;
    w->quiet = true;
    check_left(w);
}

/* Its first join is on its way: it waits for its job there, or has joined already, and then it must
 * not go without a word, or it counts as lost. */
static bool may_have_joined(const struct worker *w)
{
    return !w->joined && !queue_is_one(&w->config.queue) && queue_is_up(w->takes) &&
           queue_request_busy(&w->join.call.request);
}

/* Nothing runs and nothing is on its way: good-bye. */
static void leave(struct worker *w)
{
    bool unsure = may_have_joined(w);
    struct queue *q = unsure ? w->takes : w->commits;
    w->phase = WORKER_LEAVING;
    loop_timer_after_ms(&w->drain, unsure ? UNSURE_MS : LEAVE_MS + w->config.kernel.kill_grace_ms);
    w->quiet = !w->kernel;
    w->left = !(w->joined || unsure) || !queue_is_up(q);
    if (w->kernel)
        kernel_drain(w->kernel, on_quiet, w);
    if (!w->left) {
        w->leave.call.job = worker_job(w);
        w->leave.worker = worker_self(w);
        queue_send(q, &w->leave.call.request);
    }
    check_left(w);
}

static void check_end(struct worker *w)
{
    if (w->phase != WORKER_ENDING || w->busy > w->wedged || w->releases > 0 ||
        (queue_request_busy(&w->join.call.request) && !worker_waits_for_job(w)))
        return;
    /* Held results leave after the next join. Once all chunks are done nobody needs them. */
    if (w->outbox && outbox_pending(w->outbox) > 0 && (w->joined || w->end != WORKER_FINISHED))
        worker_send_join(w);
    else
        leave(w);
}

void worker_begin_end(struct worker *w, enum worker_end end)
{
    if (w->phase >= WORKER_ENDING)
        return;
    w->phase = WORKER_ENDING;
    w->end = end;
    check_end(w);
}

void worker_go_on(struct worker *w)
{
    if (w->phase == WORKER_RUNNING && w->joined) {
        worker_fill_slots(w);
        worker_ask(w);
    }
    check_end(w);
}

/* --- told to stop --- */

static void stop_running(struct worker *w)
{
    worker_cancel_slots(w, false);
    if (w->phase < WORKER_LEAVING)
        loop_timer_after_ms(&w->drain, GIVE_UP_MS + w->config.kernel.kill_grace_ms);
    w->gave_up = true;
}

static void on_drain(struct loop_timer *t)
{
    struct worker *w = container_of(t, struct worker, drain);
    if (w->phase == WORKER_LEAVING || w->gave_up) {
        worker_end_now(w, w->end, NULL); /* whatever did not answer: the leases run out */
        return;
    }
    log_warn("worker.drain_over", kv_u64("running", w->busy));
    stop_running(w);
}

void worker_stop(struct worker *w)
{
    w->stops++;
    if (w->phase >= WORKER_LEAVING)
        return;
    if (w->stops > 1) {
        log_warn("worker.stopped", kv_u64("running", w->busy));
        stop_running(w);
        return;
    }
    log_info("worker.draining", kv_u64("running", w->busy), kv_u64("released", w->backlog.chunks));
    worker_release_backlog(w);
    loop_timer_after_ms(&w->drain, w->config.drain_ms);
    if (w->busy == 0 && (!w->outbox || outbox_pending(w->outbox) == 0))
        stop_running(w); /* nothing to wait for but the good-bye */
    worker_begin_end(w, WORKER_STOPPED);
}

/* --- now and then --- */

static void on_turn(struct loop_hook *h)
{
    struct worker *w = container_of(h, struct worker, hook);
    if (w->outbox && w->phase < WORKER_ENDED)
        outbox_flush(w->outbox, loop_now_ms(w->loop));
}

/* Results that the queue refuses for as long as we would wait for the queue itself. */
static void check_refused(struct worker *w)
{
    struct err err;
    uint64_t refused_ms = w->outbox ? outbox_refused_ms(w->outbox) : 0;
    if (refused_ms == 0 || refused_ms < w->config.queue.retry_ms)
        return;
    err_set(&err, TTG_EFULL, "the queue has accepted no result for %.1f s",
            (double)refused_ms / 1000);
    worker_end_now(w, WORKER_LOST, &err);
}

/* Told to stop, and the queue is gone: its run has died, perhaps, and took the node along. Nobody
 * waits for what is still here any more; the leases are lost before this. */
static void check_away(struct worker *w, uint64_t now_ms)
{
    if (w->stops == 0 || w->phase >= WORKER_LEAVING || queue_is_up(w->takes)) {
        w->away_since_ms = 0;
        return;
    }
    if (w->away_since_ms == 0)
        w->away_since_ms = now_ms;
    bool runs = w->busy > w->wedged;
    if (now_ms - w->away_since_ms < (runs ? AWAY_MS : GIVE_UP_MS) || (runs && w->gave_up))
        return;
    if (!w->gave_up)
        log_warn("worker.alone", kv_u64("running", w->busy),
                 kv_str("reason", "told to stop, and the queue is away"));
    if (runs)
        stop_running(w);
    else
        worker_end_now(w, w->end, NULL);
}

static void on_tick(struct loop_timer *t)
{
    struct worker *w = container_of(t, struct worker, tick);
    uint64_t now_ms = loop_now_ms(w->loop);
    loop_timer_after_ms(&w->tick, w->phase == WORKER_BEGINNING ? JOB_WAIT_MS : WORKER_TICK_MS);
    worker_send_join(w);
    worker_note_pace(w);
    if (w->phase == WORKER_RUNNING)
        worker_check_backlog(w);
    check_refused(w);
    check_away(w, now_ms);
    if (!loop_timer_is_set(&w->resume))
        worker_go_on(w); /* whatever had no memory for a timer of its own */
    if (w->busy > 0 || w->backlog.chunks > 0)
        w->idle_since_ms = now_ms;
    /* A job that has not ended keeps us here, even when others hold all that is left: they may die.
     * So only the wait for the job itself is idle, unless nobody would ever tell us of its end. */
    if ((w->phase == WORKER_BEGINNING || (w->phase == WORKER_RUNNING && w->config.idle_ends)) &&
        w->config.idle_ms > 0 && queue_is_up(w->takes) &&
        now_ms - w->idle_since_ms >= w->config.idle_ms)
        worker_begin_end(w, WORKER_IDLE);
}

/* --- life --- */

void worker_config_init(struct worker_config *c)
{
    *c = (struct worker_config){.job = "default",
                                .name = "worker-0",
                                .prefetch_max = WORKER_PREFETCH_MAX,
                                .drain_ms = WORKER_DRAIN_MS,
                                .idle_ms = WORKER_IDLE_MS};
    c->queue.retry_ms = QUEUE_RETRY_MS;
    kernel_config_init(&c->kernel);
}

int worker_start(struct worker **ret_worker, struct loop *loop, const struct worker_config *config,
                 struct err *err)
{
    ensure(config->kernel.slots > 0 && config->kernel.slots <= KERNEL_SLOTS_MAX);
    struct worker *w = mem_zalloc(sizeof *w + config->kernel.slots * sizeof *w->slots);
    if (!w)
        return err_set(err, TTG_ENOMEM, "out of memory");
    w->config = *config;
    w->loop = loop;
    w->idle_since_ms = loop_now_ms(loop);
    worker_join_init(w);
    worker_take_init(w);
    queue_request_init(&w->leave.call.request, QUEUE_LEAVE, on_left, w);
    loop_timer_init(&w->tick, loop, on_tick);
    loop_timer_init(&w->drain, loop, on_drain);
    loop_timer_init(&w->finish, loop, on_finish);
    loop_hook_start(&w->hook, loop, on_turn);
    int rc = worker_connect(w, err);
    /* Timers have room once they have been set: heap places are kept. */
    if (!rc && loop_timer_after_ms(&w->tick, WORKER_TICK_MS))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (rc) {
        worker_free(w);
        return rc;
    }
    *ret_worker = w;
    return 0;
}

void worker_figures(const struct worker *w, struct worker_figures *ret_figures)
{
    *ret_figures = w->figures;
    ret_figures->totals = w->totals;
    if (w->outbox && w->phase != WORKER_ENDED) { /* then they are in the totals */
        struct outbox_totals t = outbox_totals(w->outbox);
        ret_figures->totals.committed = t.accepted;
        ret_figures->totals.stale += t.stale;
        ret_figures->untold = outbox_pending(w->outbox);
    }
    ret_figures->joined = w->joined;
    ret_figures->slots = w->config.kernel.slots;
    ret_figures->busy = w->busy;
    ret_figures->prefetched = w->backlog.chunks;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    w->phase = WORKER_ENDED;
    pulse_stop(w->pulse);
    kernel_close(w->kernel);
    if (w->commits != w->takes)
        queue_close(w->commits);
    queue_close(w->takes);
    loop_timer_stop(&w->tick);
    loop_timer_stop(&w->resume);
    loop_timer_stop(&w->drain);
    loop_timer_stop(&w->finish);
    loop_async_stop(&w->news);
    loop_hook_stop(&w->hook);
    queue_request_done(&w->join.call.request);
    queue_request_done(&w->take.call.request);
    queue_request_done(&w->leave.call.request);
    queue_request_done(&w->check.call.request);
    outbox_free(w->outbox);
    backlog_done(&w->backlog);
    lines_close(w->lines);
    mem_free(w->join.held);
    mem_free(w->held);
    mem_free(w->checked);
    mem_free(w);
}
