/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/worker.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/lines.h"
#include "io/loop.h"
#include "worker/backlog.h"
#include "worker/outbox.h"
#include "worker/pulse.h"

enum {
    TAKE_BLOCK_MS = 5000,
    STARTS_PER_TURN = 1024, /* of chunks that are over at once */
    TICK_MS = 100,
    JOB_WAIT_MS = 200,  /* between looks for a job that is not there yet */
    EMPTY_WAIT_MS = 50, /* after an empty answer that did not wait: the job is paused */
    CHECK_MS = 100,     /* prefetched leases older than this are asked about */
    CHECK_MAX = 1024,
};

enum phase {
    WAITING, /* for the connection, or for the job to appear */
    JOINING,
    RUNNING,
    ENDING, /* the job has ended, or we were told to stop: no new chunks */
    LEAVING,
    ENDED,
};

struct slot {
    bool busy, dropped; /* dropped: the lease is gone, the outcome does not count */
    bool wedged;        /* busy for ever */
    struct kernel_task task;
    uint64_t epoch, params;
    struct line_source {
        struct kernel_source source;
        struct lines_reader reader;
    } lines;
};

struct fail_call {
    struct queue_fail fail;
    struct worker *worker;
    struct buf reason;
};

struct release_call {
    struct queue_release release;
    struct worker *worker;
    struct queue_lease leases[];
};

struct worker {
    struct worker_config config;
    struct loop *loop;
    struct queue *takes, *commits;
    struct queue_config commit_config;
    struct pulse *pulse;
    struct kernel *kernel;
    struct outbox *outbox;
    struct lines *lines; /* NULL: the parameters are numbers */
    struct backlog backlog;
    struct queue_join join;
    struct queue_take take;
    struct queue_leave leave;
    struct queue_beat check;
    struct queue_lease checked[CHECK_MAX];
    struct loop_timer tick, resume, drain, finish;
    struct loop_async stale;
    struct loop_hook hook;
    enum phase phase;
    enum worker_end end;
    struct err err;
    unsigned stops;
    bool joined;
    uint64_t calls; /* fails and releases under way */
    uint64_t idle_since_ms;
    uint64_t wedged;
    /* of the job */
    int64_t first;
    uint64_t params_total, chunk_params;
    char *job_input;
    /* measured, in ns, smoothed */
    double chunk_ns, take_ns;
    uint64_t take_sent_ns;
    struct worker_totals totals;
    struct slot slots[];
};

static void go_on(struct worker *w);
static void send_join(struct worker *w);

static struct str job_of(const struct worker *w)
{
    return str_of(w->config.job);
}

static struct queue_worker self(const struct worker *w)
{
    return (struct queue_worker){str_of(w->config.name), w->config.incarnation};
}

static uint32_t busy_slots(const struct worker *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->config.kernel.slots; i++)
        n += w->slots[i].busy;
    return n;
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
    w->totals.committed = o.accepted;
    w->totals.stale += o.stale;
    w->config.on_end(w->config.ctx, w->end, &w->totals, &w->err);
}

/* From any callback; the rest happens from the loop. */
static void end_now(struct worker *w, enum worker_end end, const struct err *err)
{
    if (w->phase == ENDED)
        return;
    w->phase = ENDED;
    w->end = end;
    if (err)
        w->err = *err;
    loop_timer_stop(&w->tick);
    loop_timer_stop(&w->resume);
    loop_timer_stop(&w->drain);
    loop_timer_after_ms(&w->finish, 0);
}

static void on_left(struct queue_request *r, int rc, const struct err *err)
{
    struct worker *w = r->ctx;
    (void)rc;
    (void)err;
    end_now(w, w->end, NULL);
}

/* Nothing runs and nothing is on its way: say good-bye. */
static void check_end(struct worker *w)
{
    if (w->phase != ENDING || busy_slots(w) > w->wedged || w->calls > 0 ||
        (w->outbox && outbox_pending(w->outbox) > 0))
        return;
    w->phase = LEAVING;
    if (!w->joined || !queue_is_up(w->commits)) {
        end_now(w, w->end, NULL);
        return;
    }
    w->leave.call.job = job_of(w);
    w->leave.worker = self(w);
    queue_send(w->commits, &w->leave.call.request);
}

static void begin_end(struct worker *w, enum worker_end end)
{
    if (w->phase >= ENDING)
        return;
    w->phase = ENDING;
    w->end = end;
    check_end(w);
}

static void broken(struct worker *w, int rc, const char *what)
{
    struct err err;
    err_set(&err, rc, "%s: %s", what, err_text(rc));
    end_now(w, WORKER_BROKEN, &err);
}

/* --- giving back --- */

static void on_released(struct queue_request *r, int rc, const struct err *err)
{
    struct release_call *call = r->ctx;
    struct worker *w = call->worker;
    (void)rc; /* what cannot be given back runs out by itself */
    (void)err;
    w->calls--;
    queue_request_done(r);
    mem_free(call);
    check_end(w);
}

static void release(struct worker *w, const struct ledger_held *leases, size_t count)
{
    struct release_call *call =
        count == 0 ? NULL : mem_zalloc(sizeof *call + count * sizeof *call->leases);
    if (!call)
        return; /* leaving gives back all */
    for (size_t i = 0; i < count; i++)
        call->leases[i] = (struct queue_lease){leases[i].chunk, leases[i].epoch};
    call->worker = w;
    queue_request_init(&call->release.call.request, QUEUE_RELEASE, on_released, call);
    call->release.call.job = job_of(w);
    call->release.worker = self(w);
    call->release.leases = call->leases;
    call->release.count = count;
    w->calls++;
    w->totals.released += count;
    queue_send(w->commits, &call->release.call.request);
}

static void release_backlog(struct worker *w)
{
    size_t count = (size_t)w->backlog.chunks;
    struct ledger_held *leases = count ? mem_array(count, sizeof *leases) : NULL;
    if (leases)
        release(w, leases, backlog_list(&w->backlog, leases, count));
    mem_free(leases);
    backlog_clear(&w->backlog);
}

/* --- outcomes --- */

static void on_failed(struct queue_request *r, int rc, const struct err *err)
{
    struct fail_call *call = r->ctx;
    struct worker *w = call->worker;
    if (rc)
        log_warn("chunk.failure_not_told", kv_u64("chunk", call->fail.chunk),
                 kv_str("reason", err->text));
    else if (call->fail.fate == LEDGER_DEAD)
        log_error("chunk.dead", kv_u64("chunk", call->fail.chunk),
                  kv_s("reason", buf_str(&call->reason)));
    w->calls--;
    queue_request_done(r);
    buf_done(&call->reason);
    mem_free(call);
    check_end(w);
}

static void fail(struct worker *w, const struct slot *s, const struct kernel_result *result)
{
    bool final = result->status == KERNEL_PERMANENT;
    w->totals.failed++;
    log_warn("chunk.failed", kv_u64("chunk", s->task.chunk), kv_u64("attempt", s->task.attempt),
             kv_s("reason", result->reason), kv_bool("final", final));
    struct fail_call *call = mem_zalloc(sizeof *call);
    if (!call)
        return; /* the lease stays ours until we leave */
    buf_init(&call->reason, 2 * LEDGER_REASON_BYTES_MAX);
    buf_add_str(&call->reason, result->reason);
    if (result->stderr_tail.len > 0) {
        buf_add_str(&call->reason, STR("\n"));
        buf_add_str(&call->reason, result->stderr_tail);
    }
    call->worker = w;
    queue_request_init(&call->fail.call.request, QUEUE_FAIL, on_failed, call);
    call->fail.call.job = job_of(w);
    call->fail.worker = self(w);
    call->fail.chunk = s->task.chunk;
    call->fail.epoch = s->epoch;
    call->fail.final = final;
    call->fail.reason = buf_str(&call->reason);
    w->calls++;
    queue_send(w->commits, &call->fail.call.request);
}

static void measure(double *mean, double value)
{
    *mean = *mean > 0 ? *mean + (value - *mean) / 16 : value > 1 ? value : 1;
}

static void finish_chunk(struct worker *w, struct slot *s, const struct kernel_result *result)
{
    bool dropped = s->dropped;
    s->busy = result->wedged;
    s->dropped = false;
    if (result->wedged) {
        s->wedged = true;
        w->wedged++;
    }
    if (dropped) {
        w->totals.stale++;
        log_info("chunk.dropped", kv_u64("chunk", s->task.chunk),
                 kv_str("reason", "the lease was lost meanwhile"));
        return;
    }
    measure(&w->chunk_ns, (double)result->duration_ns);
    if (result->status == KERNEL_CANCELED) {
        release(w, &(struct ledger_held){s->task.chunk, s->epoch}, 1);
    } else if (result->status == KERNEL_OK) {
        struct queue_result out = {.chunk = s->task.chunk,
                                   .epoch = s->epoch,
                                   .params = s->params,
                                   .duration_us = result->duration_ns / 1000,
                                   .is_sum = result->has_sum,
                                   .sum = result->sum,
                                   .output = result->output};
        int rc = outbox_add(w->outbox, &out);
        if (rc)
            broken(w, rc, "a result cannot be kept");
        else
            w->totals.params += s->params;
    } else {
        fail(w, s, result);
    }
}

/* --- starting chunks --- */

static int read_lines(struct kernel_source *source, struct buf *out, size_t bytes_max,
                      bool *ret_end)
{
    struct line_source *s = container_of(source, struct line_source, source);
    struct err err;
    int rc = lines_read(&s->reader, out, bytes_max, ret_end, &err);
    if (rc)
        log_error("input.failed", kv_str("reason", err.text));
    return rc;
}

static void fill_task(struct worker *w, struct slot *s, const struct ledger_run *run)
{
    uint64_t offset = run->chunk * w->chunk_params, left = w->params_total - offset;
    s->params = left < w->chunk_params ? left : w->chunk_params;
    s->epoch = run->epoch;
    s->task = (struct kernel_task){.chunk = run->chunk,
                                   .start = (int64_t)((uint64_t)w->first + offset),
                                   .end = (int64_t)((uint64_t)w->first + offset + s->params - 1),
                                   .attempt = run->attempt,
                                   .job = w->config.job};
    if (w->lines) {
        s->lines.source.read = read_lines;
        s->lines.reader = (struct lines_reader){w->lines, run->chunk, 0};
        s->task.lines = &s->lines.source;
    }
}

/* Starts what can start. */
static void fill_slots(struct worker *w)
{
    struct ledger_run run;
    struct kernel_result result;
    unsigned starts = 0;
    for (uint32_t i = 0; i < w->config.kernel.slots; i++) {
        struct slot *s = &w->slots[i];
        while (w->phase == RUNNING && !s->busy && !outbox_full(w->outbox)) {
            if (starts++ == STARTS_PER_TURN) { /* let answers and signals in */
                loop_timer_after_ms(&w->resume, 0);
                return;
            }
            if (!backlog_pop(&w->backlog, &run))
                return;
            fill_task(w, s, &run);
            s->busy = true;
            if (kernel_start(w->kernel, i, &s->task, &result))
                finish_chunk(w, s, &result);
        }
    }
}

static void on_chunk(void *ctx, uint32_t slot, const struct kernel_result *result)
{
    struct worker *w = ctx;
    finish_chunk(w, &w->slots[slot], result);
    if (w->wedged == w->config.kernel.slots && w->phase == RUNNING) {
        release_backlog(w);
        err_set(&w->err, TTG_ETIMEOUT, "no slot is left that answers: the plugin hangs");
        begin_end(w, WORKER_BROKEN);
    }
    go_on(w);
}

/* --- taking chunks --- */

/* How many chunks to have in hand beyond those that run: twice what the slots get through while a
 * take is under way. */
static uint64_t prefetch(const struct worker *w)
{
    if (w->config.prefetch_max == 0 || w->chunk_ns == 0 || w->chunk_ns > 50 * w->take_ns)
        return 0;
    double ahead = 2 * w->take_ns / w->chunk_ns * w->config.kernel.slots + 1;
    return ahead < w->config.prefetch_max ? (uint64_t)ahead : w->config.prefetch_max;
}

static void ask(struct worker *w)
{
    if (w->phase != RUNNING || !w->joined || queue_request_busy(&w->take.call.request) ||
        loop_timer_is_set(&w->resume))
        return;
    uint64_t idle = w->config.kernel.slots - busy_slots(w), ahead = prefetch(w);
    if (w->backlog.chunks > ahead / 2 + idle || (idle == 0 && ahead == 0))
        return;
    uint64_t want = idle + ahead > w->backlog.chunks ? idle + ahead - w->backlog.chunks : 0;
    if (want == 0)
        return;
    w->take.call.job = job_of(w);
    w->take.worker = self(w);
    w->take.count = want < QUEUE_TAKE_MAX ? want : QUEUE_TAKE_MAX;
    w->take.block_ms = TAKE_BLOCK_MS;
    w->take_sent_ns = loop_now_ns(w->loop);
    queue_send(w->takes, &w->take.call.request);
}

static void cancel_slots(struct worker *w, bool drop)
{
    for (uint32_t i = 0; i < w->config.kernel.slots; i++) {
        if (!w->slots[i].busy || w->slots[i].wedged)
            continue;
        w->slots[i].dropped |= drop;
        kernel_cancel(w->kernel, i);
    }
}

static void take_runs(struct worker *w)
{
    measure(&w->take_ns, (double)(loop_now_ns(w->loop) - w->take_sent_ns));
    w->idle_since_ms = loop_now_ms(w->loop);
    for (size_t i = 0; i < w->take.run_count; i++)
        if (backlog_push(&w->backlog, &w->take.runs[i], w->idle_since_ms))
            broken(w, TTG_ENOMEM, "chunks cannot be kept");
    if (w->phase != RUNNING)
        release_backlog(w);
}

static void on_take(struct queue_request *r, int rc, const struct err *err)
{
    struct worker *w = r->ctx;
    if (w->phase >= LEAVING)
        return;
    if (rc == TTG_ESTALE) {
        log_warn("worker.lost", kv_str("reason", err->text));
        w->joined = false;
        send_join(w);
    } else if (rc == TTG_EBUSY) {
        end_now(w, WORKER_REPLACED, err);
    } else if (rc == TTG_ENOENT) {
        end_now(w, WORKER_LOST, err);
    } else if (rc == TTG_ECLOSED || rc == TTG_ECANCELED || rc == TTG_EUNREACH) {
        return; /* on_up or on_lost goes on */
    } else if (rc && rc != TTG_EAGAIN) {
        log_warn("take.failed", kv_str("reason", err->text));
        loop_timer_after_ms(&w->resume, EMPTY_WAIT_MS);
    } else if (!rc && w->take.state >= LEDGER_FINISHED) {
        if (w->take.state == LEDGER_CANCELED) {
            cancel_slots(w, true);
            backlog_clear(&w->backlog);
        }
        begin_end(w, WORKER_FINISHED);
    } else if (!rc && w->take.run_count == 0) {
        loop_timer_after_ms(&w->resume, EMPTY_WAIT_MS);
    } else if (!rc) {
        take_runs(w);
    }
    go_on(w);
}

/* Does whatever can be done now. */
static void go_on(struct worker *w)
{
    if (w->phase == RUNNING) {
        fill_slots(w);
        ask(w);
    } else {
        check_end(w);
    }
}

static void on_resume(struct loop_timer *t)
{
    go_on(container_of(t, struct worker, resume));
}

static void on_turn(struct loop_hook *h)
{
    struct worker *w = container_of(h, struct worker, hook);
    if (w->outbox && w->phase < ENDED)
        outbox_flush(w->outbox);
}

/* --- joining --- */

/* What this worker has, in the order of taking: results on their way, what runs, what waits. */
static int list_held(struct worker *w)
{
    size_t max = w->config.kernel.slots + (size_t)w->backlog.chunks + OUTBOX_INFLIGHT, n = 0;
    mem_free(w->join.held);
    w->join.held = mem_array(max, sizeof *w->join.held);
    if (!w->join.held)
        return TTG_ENOMEM;
    if (w->outbox)
        n = outbox_list(w->outbox, w->join.held, OUTBOX_INFLIGHT);
    for (uint32_t i = 0; i < w->config.kernel.slots; i++)
        if (w->slots[i].busy && !w->slots[i].dropped && !w->slots[i].wedged)
            w->join.held[n++] = (struct ledger_held){w->slots[i].task.chunk, w->slots[i].epoch};
    n += backlog_list(&w->backlog, w->join.held + n, max - n);
    w->join.held_count = n;
    return 0;
}

static void send_join(struct worker *w)
{
    if (w->phase >= ENDING || queue_request_busy(&w->join.call.request) || !queue_is_up(w->takes))
        return;
    if (list_held(w)) {
        broken(w, TTG_ENOMEM, "joining");
        return;
    }
    w->phase = JOINING;
    w->join.call.job = job_of(w);
    w->join.worker = self(w);
    w->join.slots = w->config.kernel.slots;
    w->join.inflight = OUTBOX_INFLIGHT;
    queue_send(w->takes, &w->join.call.request);
}

/* What the queue does not know as ours any more is dropped. */
static void reconcile(struct worker *w)
{
    uint64_t lost = 0;
    for (size_t k = 0; k < w->join.held_count; k++) {
        struct ledger_held *h = &w->join.held[k];
        bool running = false;
        for (uint32_t i = 0; i < w->config.kernel.slots && !running; i++) {
            struct slot *s = &w->slots[i];
            running = s->busy && !s->dropped && s->task.chunk == h->chunk;
            if (running && h->epoch == 0) {
                s->dropped = true;
                kernel_cancel(w->kernel, i);
                lost++;
            } else if (running) {
                s->epoch = h->epoch;
            }
        }
        if (running)
            continue;
        if (h->epoch == 0)
            lost += backlog_remove(&w->backlog, h->chunk);
        else
            backlog_renew(&w->backlog, h->chunk, h->epoch);
    }
    if (w->join.held_count > 0)
        log_info("worker.rejoined", kv_u64("held", w->join.held_count), kv_u64("lost", lost));
}

static void on_stale_beat(void *ctx)
{
    loop_async_send(&((struct worker *)ctx)->stale);
}

static void on_stale(struct loop_async *a)
{
    struct worker *w = container_of(a, struct worker, stale);
    if (w->phase == RUNNING && w->joined) {
        log_warn("worker.lost",
                 kv_str("reason", "the queue did not hear from this worker in time"));
        w->joined = false;
        send_join(w);
    }
}

static void on_verdict(void *ctx, uint64_t chunk, enum ledger_verdict verdict)
{
    (void)ctx;
    if (verdict == LEDGER_INVALID)
        log_error("commit.invalid", kv_u64("chunk", chunk));
    else
        log_info(verdict == LEDGER_STALE ? "commit.stale" : "commit.refused",
                 kv_u64("chunk", chunk));
}

static void on_commit_failed(void *ctx, int rc, const struct err *err)
{
    struct worker *w = ctx;
    if (rc == TTG_EUNREACH || rc == TTG_ECANCELED)
        return; /* on_lost tells */
    end_now(w, WORKER_LOST, err);
}

static void on_room(void *ctx)
{
    go_on(ctx);
}

/* The first time: now it is known what the job is. */
static int prepare(struct worker *w, struct err *err)
{
    static const char prefix[] = "lines:";
    struct str input = w->join.input;
    if (str_starts(input, STR("lines:"))) {
        w->job_input = mem_dup(input.ptr + sizeof prefix - 1, input.len - (sizeof prefix - 1));
        int rc = w->job_input ? lines_open(&w->lines, w->job_input, err) : TTG_ENOMEM;
        if (rc)
            return rc;
    } else if (input.len > 0) {
        return err_set(err, TTG_EVERSION,
                       "the job's input '%.*s' is of a kind this version does not know",
                       STR_ARG(input));
    }
    struct kernel_config kernel = w->config.kernel;
    kernel.worker = w->config.name;
    kernel.on_done = on_chunk;
    kernel.ctx = w;
    int rc = kernel_open(&w->kernel, w->loop, &kernel, err);
    struct outbox_config outbox = {.queue = w->commits,
                                   .job = job_of(w),
                                   .worker = self(w),
                                   .ctx = w,
                                   .on_room = on_room,
                                   .on_verdict = on_verdict,
                                   .on_failed = on_commit_failed};
    if (!rc)
        rc = outbox_new(&w->outbox, &outbox);
    if (!rc)
        rc = pulse_start(&w->pulse, &w->config.queue, job_of(w), &outbox.worker, on_stale_beat, w,
                         err);
    return rc;
}

static void joined(struct worker *w)
{
    struct err err = {0};
    w->first = w->join.first;
    w->params_total = w->join.params_total;
    w->chunk_params = w->join.chunk_params;
    if (w->chunk_params == 0) {
        err_set(&err, TTG_EPROTO, "the queue says nothing of the chunks' size");
        end_now(w, WORKER_LOST, &err);
        return;
    }
    if (!w->kernel) {
        int rc = prepare(w, &err);
        if (rc) {
            if (!err.code)
                err_set(&err, rc, "cannot start: %s", err_text(rc));
            end_now(w, WORKER_BROKEN, &err);
            return;
        }
        log_info("worker.joined", kv_u64("slots", w->config.kernel.slots),
                 kv_u64("chunks", w->join.chunks));
    }
    reconcile(w);
    w->joined = true;
    w->phase = RUNNING;
    w->idle_since_ms = loop_now_ms(w->loop);
    if (w->stops > 0)
        begin_end(w, WORKER_STOPPED);
    go_on(w);
}

static void on_joined(struct queue_request *r, int rc, const struct err *err)
{
    struct worker *w = r->ctx;
    if (w->phase != JOINING)
        return;
    w->phase = WAITING;
    switch (rc) {
    case 0:
        joined(w);
        break;
    case TTG_ENOENT: /* not there yet: the tick asks again */
        break;
    case TTG_EDONE:
        begin_end(w, WORKER_FINISHED);
        break;
    case TTG_EBUSY:
        end_now(w, WORKER_REPLACED, err);
        break;
    case TTG_EUNREACH:
    case TTG_ECANCELED:
    case TTG_ECLOSED:
        break; /* on_up or on_lost goes on */
    default:
        end_now(w, WORKER_LOST, err);
    }
}

/* --- the connections --- */

static void on_takes_up(void *ctx)
{
    send_join(ctx);
}

static void on_takes_down(void *ctx, const struct err *err)
{
    struct worker *w = ctx;
    log_warn("queue.cut", kv_str("reason", err->text));
    w->joined = false;
    if (w->phase == RUNNING || w->phase == JOINING)
        w->phase = WAITING;
}

static void on_queue_lost(void *ctx, const struct err *err)
{
    end_now(ctx, WORKER_LOST, err);
}

/* --- now and then --- */

static void on_checked(struct queue_request *r, int rc, const struct err *err)
{
    struct worker *w = r->ctx;
    (void)err;
    if (rc)
        return;
    for (size_t i = 0; i < w->check.gone_count; i++)
        backlog_remove(&w->backlog, w->check.gone[i]);
}

/* Prefetched chunks may have been moved to an idle worker. */
static void check_backlog(struct worker *w, uint64_t now_ms)
{
    uint64_t oldest_ms = backlog_oldest_ms(&w->backlog);
    if (!w->joined || oldest_ms == UINT64_MAX || now_ms - oldest_ms < CHECK_MS ||
        queue_request_busy(&w->check.call.request))
        return;
    struct ledger_held held[CHECK_MAX];
    w->check.count = backlog_list(&w->backlog, held, CHECK_MAX);
    for (size_t i = 0; i < w->check.count; i++)
        w->checked[i] = (struct queue_lease){held[i].chunk, held[i].epoch};
    w->check.call.job = job_of(w);
    w->check.worker = self(w);
    w->check.leases = w->checked;
    queue_send(w->commits, &w->check.call.request);
}

static void on_tick(struct loop_timer *t)
{
    struct worker *w = container_of(t, struct worker, tick);
    uint64_t now_ms = loop_now_ms(w->loop);
    loop_timer_after_ms(&w->tick, w->phase == WAITING ? JOB_WAIT_MS : TICK_MS);
    bool idle = busy_slots(w) == 0 && w->backlog.chunks == 0 &&
                (!w->outbox || outbox_pending(w->outbox) == 0);
    if (!idle)
        w->idle_since_ms = now_ms;
    if (w->phase == WAITING)
        send_join(w);
    if (w->phase == RUNNING)
        check_backlog(w, now_ms);
    /* A job that others still work on keeps us here: they may die. */
    bool needed = w->phase == RUNNING && w->joined;
    if (w->config.idle_ms > 0 && !needed && idle &&
        now_ms - w->idle_since_ms >= w->config.idle_ms && queue_is_up(w->takes))
        begin_end(w, WORKER_IDLE);
}

static void on_drain(struct loop_timer *t)
{
    struct worker *w = container_of(t, struct worker, drain);
    log_warn("worker.drain_over", kv_u64("running", busy_slots(w)));
    cancel_slots(w, false);
}

void worker_stop(struct worker *w)
{
    w->stops++;
    if (w->phase == ENDED)
        return;
    if (w->stops > 1) {
        cancel_slots(w, false);
        return;
    }
    log_info("worker.draining", kv_u64("running", busy_slots(w)),
             kv_u64("released", w->backlog.chunks));
    release_backlog(w);
    loop_timer_after_ms(&w->drain, w->config.drain_ms);
    begin_end(w, WORKER_STOPPED);
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
    struct worker *w = mem_zalloc(sizeof *w + config->kernel.slots * sizeof *w->slots);
    if (!w)
        return err_set(err, TTG_ENOMEM, "out of memory");
    w->config = *config;
    w->loop = loop;
    w->config.queue.ctx = w;
    w->config.queue.on_up = on_takes_up;
    w->config.queue.on_down = on_takes_down;
    w->config.queue.on_lost = on_queue_lost;
    w->idle_since_ms = loop_now_ms(loop);
    backlog_init(&w->backlog);
    queue_request_init(&w->join.call.request, QUEUE_JOIN, on_joined, w);
    queue_request_init(&w->take.call.request, QUEUE_TAKE, on_take, w);
    queue_request_init(&w->leave.call.request, QUEUE_LEAVE, on_left, w);
    queue_request_init(&w->check.call.request, QUEUE_BEAT, on_checked, w);
    loop_timer_init(&w->tick, loop, on_tick);
    loop_timer_init(&w->resume, loop, on_resume);
    loop_timer_init(&w->drain, loop, on_drain);
    loop_timer_init(&w->finish, loop, on_finish);
    loop_async_start(&w->stale, loop, on_stale);
    loop_hook_start(&w->hook, loop, on_turn);
    int rc = queue_open(&w->takes, loop, &w->config.queue, err);
    if (!rc) {
        w->commit_config = w->config.queue;
        w->commit_config.on_up = NULL;
        w->commit_config.on_down = NULL;
        rc = queue_open(&w->commits, loop, &w->commit_config, err);
    }
    if (!rc && loop_timer_after_ms(&w->tick, TICK_MS))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (rc) {
        worker_free(w);
        return rc;
    }
    *ret_worker = w;
    return 0;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    w->phase = ENDED;
    pulse_stop(w->pulse);
    kernel_close(w->kernel);
    queue_close(w->takes);
    queue_close(w->commits);
    loop_timer_stop(&w->tick);
    loop_timer_stop(&w->resume);
    loop_timer_stop(&w->drain);
    loop_timer_stop(&w->finish);
    loop_async_stop(&w->stale);
    loop_hook_stop(&w->hook);
    queue_request_done(&w->join.call.request);
    queue_request_done(&w->take.call.request);
    queue_request_done(&w->leave.call.request);
    queue_request_done(&w->check.call.request);
    outbox_free(w->outbox);
    backlog_done(&w->backlog);
    lines_close(w->lines);
    mem_free(w->job_input);
    mem_free(w->join.held);
    mem_free(w);
}
