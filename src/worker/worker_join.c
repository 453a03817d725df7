/* SPDX-License-Identifier: Apache-2.0 */
/* The connections; joining, and joining again with what the worker holds. */
#include "base/mem.h"
#include "worker/worker_state.h"

#include <stdio.h>

#include <ttg/version.h>

enum {
    PROTOCOL = 1,        /* the one of docs/protocol.md that this worker speaks */
    JOB_BLOCK_MS = 5000, /* until we ask again for a job that is not there yet */
    JOIN_WAITED_MS = 20, /* an answer that took so long has waited for the job */
};

/* --- what it holds --- */

/* In the order of taking: results on their way, what runs, what waits. */
static int list_held(struct worker *w)
{
    uint32_t slots = w->config.kernel.slots;
    size_t max = slots + (size_t)w->backlog.chunks, n = 0;
    if (w->outbox)
        max += (size_t)outbox_pending(w->outbox);
    mem_free(w->held);
    mem_free(w->join.held);
    w->held = mem_array(max, sizeof *w->held);
    w->join.held = mem_array(max, sizeof *w->join.held);
    if (!w->held || !w->join.held)
        return TTG_ENOMEM;
    if (w->outbox)
        n = outbox_list(w->outbox, w->held, max);
    for (uint32_t i = 0; i < slots; i++)
        if (w->slots[i].busy && !w->slots[i].dropped && !w->slots[i].wedged)
            w->held[n++] = (struct ledger_held){w->slots[i].task.chunk, w->slots[i].epoch};
    n += backlog_list(&w->backlog, w->held + n, max - n);
    for (size_t i = 0; i < n; i++)
        w->join.held[i] = w->held[i];
    w->join.held_count = n;
    return 0;
}

static struct worker_slot *running(struct worker *w, struct ledger_held h)
{
    for (uint32_t i = 0; i < w->config.kernel.slots; i++) {
        struct worker_slot *s = &w->slots[i];
        if (s->busy && !s->dropped && !s->wedged && s->task.chunk == h.chunk && s->epoch == h.epoch)
            return s;
    }
    return NULL;
}

/* One lease with what the queue says about it: epoch 0, it is lost. A result whose lease is lost is
 * sent all the same: the queue knows best, and counts it as stale. */
static bool settle_lease(struct worker *w, struct ledger_held old, uint64_t epoch)
{
    struct worker_slot *s = running(w, old);
    if (s && epoch == 0) {
        s->dropped = true;
        kernel_cancel(w->kernel, (uint32_t)(s - w->slots));
        return true;
    }
    if (s) {
        s->epoch = epoch;
        return false;
    }
    if (epoch == 0)
        return backlog_remove(&w->backlog, old.chunk, old.epoch);
    if (epoch == old.epoch || (w->outbox && outbox_renew(w->outbox, old, epoch)) ||
        backlog_renew(&w->backlog, old, epoch))
        return false;
    worker_release(w, &(struct ledger_held){old.chunk, epoch},
                   1); /* ended and given up meanwhile */
    return false;
}

static void reconcile(struct worker *w)
{
    uint64_t lost = 0;
    for (size_t i = 0; i < w->join.held_count; i++)
        lost += settle_lease(w, w->held[i], w->join.held[i].epoch);
    if (w->again)
        log_info("worker.rejoined", kv_u64("held", w->join.held_count), kv_u64("lost", lost));
}

/* --- joining --- */

bool worker_waits_for_job(const struct worker *w)
{
    return w->join.block_ms > 0 && !w->again;
}

static bool join_has_waited(const struct worker *w)
{
    return worker_waits_for_job(w) &&
           loop_now_ns(w->loop) - w->join_sent_ns > JOIN_WAITED_MS * UINT64_C(1000000);
}

/* `block_ms`: how long to wait for the job, if there is none. */
static void send_join(struct worker *w, uint64_t block_ms)
{
    /* With nothing under way the list of leases is complete and stays true until the answer. */
    if (w->joined || w->phase >= WORKER_LEAVING || queue_request_busy(&w->join.call.request) ||
        queue_request_busy(&w->take.call.request) || !queue_is_up(w->takes) ||
        (w->outbox && outbox_moving(w->outbox)))
        return;
    if (list_held(w)) {
        worker_broken(w, TTG_ENOMEM, "joining");
        return;
    }
    w->join.call.job = worker_job(w);
    w->join.worker = worker_self(w);
    w->join.host = str_of(w->config.host ? w->config.host : "");
    w->join.slots = w->config.kernel.slots;
    w->join.inflight = OUTBOX_BATCHES * (OUTBOX_RESULTS + w->config.kernel.slots);
    w->join.block_ms = block_ms;
    w->join_sent_ns = loop_now_ns(w->loop);
    queue_send(w->takes, &w->join.call.request);
}

void worker_send_join(struct worker *w)
{
    send_join(w, w->phase == WORKER_BEGINNING ? JOB_BLOCK_MS : 0);
}

static void lose_join(struct worker *w)
{
    w->joined = false;
    if (w->outbox)
        outbox_hold(w->outbox, true);
}

void worker_rejoin(struct worker *w, const char *reason)
{
    if (w->joined)
        log_warn("worker.lost", kv_str("reason", reason));
    lose_join(w);
    worker_send_join(w);
}

/* The command that this worker was started with runs, whatever the job says; but one of them may be
 * a mistake. */
static void compare_kernel(const struct worker *w)
{
    struct buf mine;
    buf_init(&mine, LEDGER_TEXT_BYTES_MAX);
    if (w->join.kernel.len > 0 && kernel_describe(&w->config.kernel, &mine) == 0 &&
        !str_eq(buf_str(&mine), w->join.kernel))
        log_warn("kernel.differs", kv_s("of_job", w->join.kernel),
                 kv_s("of_worker", buf_str(&mine)));
    buf_done(&mine);
}

static int check_answer(struct worker *w, struct err *err)
{
    const struct queue_join *j = &w->join;
    if (j->protocol != 0 && j->protocol != PROTOCOL)
        return err_set(err, TTG_EVERSION,
                       "the node (ttg %.*s) speaks version %llu of the protocol, this worker (ttg "
                       "%s) version %d: use the same ttg on both",
                       STR_ARG(j->version), (unsigned long long)j->protocol, TTG_VERSION, PROTOCOL);
    if (j->version.len > 0 && !str_eq(j->version, STR(TTG_VERSION)))
        log_warn("node.version_differs", kv_s("node", j->version), kv_str("worker", TTG_VERSION));
    if (j->chunk_params == 0)
        return err_set(err, TTG_EPROTO, "the queue says nothing of the chunks' size");
    return 0;
}

static int open_input(struct worker *w, struct err *err)
{
    return w->join.input.len > 0 ? lines_open_named(&w->lines, w->join.input, err) : 0;
}

/* In the pulse's thread. */
static void on_beat(void *ctx)
{
    struct worker *w = ctx;
    loop_async_send(&w->news);
}

/* The first time: now it is known what the job is. */
static int prepare(struct worker *w, struct err *err)
{
    struct queue_worker self = worker_self(w);
    int rc = kernel_check_chunk(&w->config.kernel, w->join.chunk_params, err);
    if (!rc)
        rc = open_input(w, err);
    if (rc)
        return rc;
    compare_kernel(w);
    struct kernel_config kernel = w->config.kernel;
    kernel.worker = w->config.name;
    kernel.on_done = worker_on_chunk;
    kernel.ctx = w;
    rc = kernel_open(&w->kernel, w->loop, &kernel, err);
    if (!rc)
        rc = worker_open_outbox(w);
    if (!rc && !queue_is_one(&w->config.queue))
        rc = pulse_start(&w->pulse, &w->config.queue, worker_job(w), &self, on_beat, w, err);
    return rc;
}

static int first_join(struct worker *w, struct err *err)
{
    int rc = check_answer(w, err);
    if (rc)
        return rc;
    w->first = w->join.first;
    w->params_total = w->join.params_total;
    w->chunk_params = w->join.chunk_params;
    if (w->phase == WORKER_BEGINNING && w->join.state < LEDGER_FINISHED)
        rc = prepare(w, err);
    if (rc)
        return err->code ? rc : err_set(err, rc, "cannot start: %s", err_text(rc));
    log_info("worker.joined", kv_u64("slots", w->config.kernel.slots),
             kv_u64("chunks", w->join.chunks));
    return 0;
}

static void joined(struct worker *w)
{
    struct err err = {0};
    if (!w->again && first_join(w, &err)) {
        bool queue = err.code == TTG_EPROTO;
        worker_end_now(w, queue ? WORKER_LOST : WORKER_BROKEN, &err);
        return;
    }
    if (!w->again)
        w->take_ns = (double)(loop_now_ns(w->loop) - w->join_sent_ns);
    reconcile(w);
    w->joined = w->again = true;
    w->dry = false;
    if (w->outbox)
        outbox_hold(w->outbox, false);
    if (w->phase == WORKER_BEGINNING)
        w->phase = WORKER_RUNNING;
    if (w->join.state >= LEDGER_FINISHED) {
        worker_cancel_slots(w, true);
        backlog_clear(&w->backlog);
        worker_begin_end(w, WORKER_FINISHED);
    }
}

static void on_joined(struct queue_request *r, int rc, const struct err *err)
{
    struct worker *w = r->ctx;
    if (w->phase >= WORKER_LEAVING)
        return;
    switch (rc) {
    case 0:
        if (join_has_waited(w))
            send_join(w, 0); /* the job is there; once more, to see how long an answer takes */
        else
            joined(w);
        break;
    case TTG_EAGAIN:
        if (join_has_waited(w))
            worker_send_join(w);
        break;
    case TTG_ENOENT:
        if (w->again)
            worker_end_now(w, WORKER_LOST, err);
        break; /* not there yet: the tick asks again */
    case TTG_EDONE:
        worker_begin_end(w, WORKER_FINISHED);
        break;
    case TTG_EBUSY:
        worker_end_now(w, WORKER_REPLACED, err);
        break;
    case TTG_EUNREACH:
    case TTG_ECANCELED:
    case TTG_ECLOSED:
        return; /* the connection's callbacks go on */
    default:
        if (!outbox_not_now(rc))
            worker_end_now(w, WORKER_LOST, err);
    }
    worker_go_on(w);
}

/* What the pulse heard. */
static void on_news(struct loop_async *a)
{
    struct worker *w = container_of(a, struct worker, news);
    struct pulse_news news = pulse_news(w->pulse);
    if (w->phase >= WORKER_LEAVING || !w->joined)
        return;
    if (news.lost) {
        worker_rejoin(w, "the queue did not hear from this worker in time");
    } else if (news.ended) {
        worker_cancel_slots(w, true);
        backlog_clear(&w->backlog);
        worker_begin_end(w, WORKER_FINISHED);
    }
}

/* --- the connections --- */

static void on_takes_up(void *ctx)
{
    struct worker *w = ctx;
    w->idle_since_ms = loop_now_ms(w->loop);
    worker_send_join(w);
}

static void on_takes_down(void *ctx, const struct err *err)
{
    struct worker *w = ctx;
    if (w->phase < WORKER_LEAVING) {
        w->figures.cuts++;
        log_warn("queue.cut", kv_str("reason", err->text), kv_u64("running", w->busy));
    }
    lose_join(w);
    if (w->phase == WORKER_LEAVING)
        worker_left(w); /* not worth waiting for */
    else
        worker_go_on(w);
}

static void on_queue_lost(void *ctx, const struct err *err)
{
    worker_end_now(ctx, WORKER_LOST, err);
}

int worker_connect(struct worker *w, struct err *err)
{
    w->config.queue.ctx = w;
    w->config.queue.job = w->config.job;
    w->config.queue.on_up = on_takes_up;
    w->config.queue.on_down = on_takes_down;
    w->config.queue.on_lost = on_queue_lost;
    w->commit_config = w->config.queue;
    w->commit_config.quiet = true;
    w->commit_config.on_up = NULL;
    w->commit_config.on_down = NULL;
    int rc = queue_open(&w->takes, w->loop, &w->config.queue, err);
    if (!rc && queue_is_one(&w->config.queue))
        w->commits = w->takes;
    else if (!rc)
        rc = queue_open(&w->commits, w->loop, &w->commit_config, err);
    return rc;
}

void worker_join_init(struct worker *w)
{
    queue_request_init(&w->join.call.request, QUEUE_JOIN, on_joined, w);
    loop_async_start(&w->news, w->loop, on_news);
}
