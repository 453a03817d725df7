/* SPDX-License-Identifier: Apache-2.0 */
/* Taking chunks, starting them, giving them back. */
#include "base/mem.h"
#include "worker/worker_state.h"

enum {
    TAKE_BLOCK_MS = 5000,
    STARTS_PER_TURN = 1024, /* of chunks that are over at once */
    PAUSE_MS_MIN = 50,      /* after a take that was refused, or answered with nothing at once */
    PAUSE_MS_MAX = 2000,
    CHECK_MS = LEDGER_STEAL_MS, /* prefetched leases older than this may have been moved */
    LONG_CHUNK = 50, /* times as long as a take: fetching ahead would gain less than 2 % */
    PACE_NS = WORKER_TICK_MS * 1000000, /* what the queue accepts in this time may be in hand, */
    PACE_TRIPS = 4,                     /* or in so many round trips, if that is longer */
    HAND_MIN = 256,                     /* but so many always, */
    HAND_START = 512,                   /* and so many at first */
    MOMENT_NS = 5000000,                /* what is over so soon need not be shared out, */
    SOON_MAX = 128,                     /* but for no more chunks than make a call worth it; */
    FEW = 4,                            /* so many of these a slot, so that takes are fewer */
};

/* --- giving back --- */

struct release_call {
    struct queue_release release;
    struct worker *worker;
    struct queue_lease leases[];
};

static void on_released(struct queue_request *r, int rc, const struct err *err)
{
    struct release_call *call = r->ctx;
    struct worker *w = call->worker;
    (void)rc; /* what cannot be given back now goes back when we join again, leave or are lost */
    (void)err;
    w->releases--;
    queue_request_done(r);
    mem_free(call);
    worker_go_on(w);
}

void worker_release(struct worker *w, const struct ledger_held *leases, size_t count)
{
    struct release_call *call =
        count == 0 ? NULL : mem_zalloc(sizeof *call + count * sizeof *call->leases);
    if (count > 0 && !call)
        worker_broken(w, TTG_ENOMEM, "chunks cannot be given back");
    if (!call)
        return;
    for (size_t i = 0; i < count; i++)
        call->leases[i] = (struct queue_lease){leases[i].chunk, leases[i].epoch};
    call->worker = w;
    queue_request_init(&call->release.call.request, QUEUE_RELEASE, on_released, call);
    call->release.call.job = worker_job(w);
    call->release.worker = worker_self(w);
    call->release.leases = call->leases;
    call->release.count = count;
    w->releases++;
    w->totals.released += count;
    queue_send(w->commits, &call->release.call.request);
}

void worker_release_backlog(struct worker *w)
{
    size_t count = (size_t)w->backlog.chunks;
    struct ledger_held *leases = count ? mem_array(count, sizeof *leases) : NULL;
    if (leases)
        worker_release(w, leases, backlog_list(&w->backlog, leases, count));
    else if (count)
        worker_broken(w, TTG_ENOMEM, "chunks cannot be given back");
    mem_free(leases);
    backlog_clear(&w->backlog);
}

/* --- starting chunks --- */

static int read_lines(struct kernel_source *source, struct buf *out, size_t bytes_max,
                      bool *ret_end)
{
    struct worker_lines *s = container_of(source, struct worker_lines, source);
    struct worker_slot *slot = container_of(s, struct worker_slot, lines);
    struct err err;
    int rc = lines_read(&s->reader, out, bytes_max, ret_end, &err);
    if (rc)
        log_error("input.failed", kv_u64("chunk", slot->task.chunk), kv_str("reason", err.text));
    return rc;
}

/* False: the job has no such chunk. */
static bool fill_task(struct worker *w, struct worker_slot *s, const struct ledger_run *run)
{
    uint64_t offset;
    if (__builtin_mul_overflow(run->chunk, w->chunk_params, &offset) || offset >= w->params_total)
        return false;
    uint64_t left = w->params_total - offset;
    s->params = left < w->chunk_params ? left : w->chunk_params;
    s->epoch = run->epoch;
    s->task = (struct kernel_task){.chunk = run->chunk,
                                   .start = (int64_t)((uint64_t)w->first + offset),
                                   .end = (int64_t)((uint64_t)w->first + offset + s->params - 1),
                                   .attempt = run->attempt,
                                   .epoch = run->epoch,
                                   .created_ms = w->join.created_ms,
                                   .job = w->config.job};
    if (w->lines) {
        s->lines.source = (struct kernel_source){read_lines, lines_separator(w->lines)};
        s->lines.reader = (struct lines_reader){w->lines, run->chunk, 0};
        s->task.lines = &s->lines.source;
    }
    return true;
}

static bool may_start(const struct worker *w)
{
    return w->phase == WORKER_RUNNING && w->joined && !outbox_full(w->outbox);
}

void worker_fill_slots(struct worker *w)
{
    struct ledger_run run;
    struct kernel_result result;
    unsigned starts = 0;
    for (uint32_t i = 0; i < w->config.kernel.slots && w->backlog.chunks > 0; i++) {
        struct worker_slot *s = &w->slots[i];
        while (!s->busy && may_start(w)) {
            if (starts++ == STARTS_PER_TURN) { /* let answers and signals in */
                loop_timer_after_ms(&w->resume, 0);
                return;
            }
            if (!backlog_pop(&w->backlog, &run))
                return;
            if (!fill_task(w, s, &run)) {
                worker_broken(w, TTG_EPROTO, "the queue gave out a chunk that the job has not");
                return;
            }
            s->busy = true;
            w->busy++;
            worker_log_started(s);
            if (kernel_start(w->kernel, i, &s->task, &result))
                worker_chunk_ended(w, s, &result);
        }
    }
}

/* --- taking chunks --- */

uint64_t worker_prefetch(double chunk_ns, double take_ns, uint32_t slots, uint32_t max)
{
    if (max == 0 || chunk_ns == 0 || chunk_ns > LONG_CHUNK * take_ns)
        return 0;
    double few = MOMENT_NS / chunk_ns < FEW ? MOMENT_NS / chunk_ns : FEW;
    double ahead = 2 * take_ns / chunk_ns * slots + (few * slots > 1 ? few * slots : 1);
    return ahead < max ? (uint64_t)ahead : max;
}

/* What the queue is slower to accept than we are to compute only waits there if it is taken early:
 * others wait longer, and what is held for long costs a Redis more. So a worker has no more in
 * hand, results under way included, than the queue has lately accepted in a moment. */
uint64_t worker_hand_max(double told_per_pace, double trip_ns, uint32_t slots)
{
    double paces = PACE_TRIPS * trip_ns / PACE_NS;
    double most = told_per_pace * (paces > 1 ? paces : 1);
    return slots + (most > HAND_MIN ? (uint64_t)most : HAND_MIN);
}

uint64_t worker_soon(double slowest_ns, uint32_t slots)
{
    double soon = slowest_ns > 0 ? MOMENT_NS / slowest_ns * slots : 0;
    return soon < SOON_MAX ? (uint64_t)soon : SOON_MAX;
}

void worker_note_pace(struct worker *w)
{
    uint64_t now_ns = loop_now_ns(w->loop), took_ns = now_ns - w->pace_since_ns;
    uint64_t told = w->outbox ? outbox_answered(w->outbox) : 0;
    if (took_ns < PACE_NS / 2)
        return;
    double lately = (double)(told - w->pace_told) * PACE_NS / (double)took_ns;
    bool faster = lately > w->told_per_pace;
    w->told_per_pace = faster ? lately : (3 * w->told_per_pace + lately) / 4;
    w->pace_since_ns = now_ns;
    w->pace_told = told;
}

/* A take waits at the queue only when a slot is idle. Ahead of need it does not, so that its time
 * is the way there and back and not the wait for other workers' chunks. */
void worker_ask(struct worker *w)
{
    if (w->phase != WORKER_RUNNING || !w->joined || queue_request_busy(&w->take.call.request) ||
        loop_timer_is_set(&w->resume))
        return;
    uint32_t slots = w->config.kernel.slots, idle = slots - w->busy;
    uint64_t have = w->backlog.chunks,
             ahead = worker_prefetch(w->chunk_ns, w->take_ns, slots, w->config.prefetch_max);
    bool needed = idle > 0 && have == 0;
    if ((!needed && (w->dry || have > ahead / 2)) || idle + ahead <= have)
        return;
    uint64_t most = worker_hand_max(w->told_per_pace, w->trip_ns, slots);
    uint64_t hand = have + w->busy + outbox_pending(w->outbox);
    uint64_t room = most > hand ? most - hand : 0, want = idle + ahead - have;
    if (room < want && room < (most / 4 > SOON_MAX ? most / 4 : SOON_MAX))
        return; /* until more results are answered */
    want = want < room ? want : room;
    w->blocking = needed;
    w->take.call.job = worker_job(w);
    w->take.worker = worker_self(w);
    w->take.count = want < QUEUE_TAKE_MAX ? want : QUEUE_TAKE_MAX;
    w->take.soon = needed ? worker_soon(w->slowest_ns, slots) : 0;
    w->take.block_ms = needed ? TAKE_BLOCK_MS : 0;
    w->take_sent_ns = loop_now_ns(w->loop);
    queue_send(w->takes, &w->take.call.request);
}

static void pause_takes(struct worker *w)
{
    w->pause_ms = w->pause_ms ? w->pause_ms * 2 : PAUSE_MS_MIN;
    if (w->pause_ms > PAUSE_MS_MAX)
        w->pause_ms = PAUSE_MS_MAX;
    loop_timer_after_ms(&w->resume, w->pause_ms);
}

/* "Not now": disk or memory of the queue is full, or it fails over. As patient as with a queue that
 * cannot be reached. */
static void take_refused(struct worker *w, int rc, const struct err *err)
{
    uint64_t now_ms = loop_now_ms(w->loop);
    if (!w->refused_since_ms) {
        w->refused_since_ms = now_ms;
        log_warn("take.refused", kv_str("reason", err->text));
    }
    if (outbox_not_now(rc) && now_ms - w->refused_since_ms < w->config.queue.retry_ms)
        pause_takes(w);
    else
        worker_end_now(w, WORKER_LOST, err);
}

static void take_runs(struct worker *w)
{
    uint64_t now_ms = loop_now_ms(w->loop);
    for (size_t i = 0; i < w->take.run_count; i++)
        if (backlog_push(&w->backlog, &w->take.runs[i], now_ms))
            worker_broken(w, TTG_ENOMEM, "chunks cannot be kept");
    if (w->phase != WORKER_RUNNING)
        worker_release_backlog(w);
}

static void measure_take(struct worker *w)
{
    double took_ns = (double)(loop_now_ns(w->loop) - w->take_sent_ns);
    worker_measure(&w->take_ns, took_ns);
    if (w->trip_ns == 0 || took_ns < w->trip_ns)
        w->trip_ns = took_ns;
}

static void take_answered(struct worker *w)
{
    w->refused_since_ms = 0;
    if (!w->blocking)
        measure_take(w);
    if (w->take.state >= LEDGER_FINISHED) {
        /* Whatever runs here has been done by others, or is not wanted. */
        worker_cancel_slots(w, true);
        backlog_clear(&w->backlog);
        worker_begin_end(w, WORKER_FINISHED);
    } else if (w->take.run_count > 0) {
        w->pause_ms = 0;
        take_runs(w);
    } else if (w->blocking) {
        pause_takes(w); /* paused, and the queue did not wait */
    } else {
        w->dry = true;
    }
}

/* Nothing came while it waited; or the queue is just loading and did not wait. */
static void take_in_vain(struct worker *w)
{
    uint64_t waited_ms = (loop_now_ns(w->loop) - w->take_sent_ns) / 1000000;
    w->refused_since_ms = 0;
    w->dry = !w->blocking;
    if (w->blocking && waited_ms < TAKE_BLOCK_MS / 2)
        pause_takes(w);
    else
        w->pause_ms = 0;
}

static void on_take(struct queue_request *r, int rc, const struct err *err)
{
    struct worker *w = r->ctx;
    if (w->phase >= WORKER_LEAVING)
        return;
    switch (rc) {
    case 0:
        take_answered(w);
        break;
    case TTG_EAGAIN:
        take_in_vain(w);
        break;
    case TTG_ESTALE:
        worker_rejoin(w, err->text);
        break;
    case TTG_EBUSY:
        worker_end_now(w, WORKER_REPLACED, err);
        break;
    case TTG_ECLOSED:
    case TTG_ECANCELED:
    case TTG_EUNREACH:
        return; /* the connection's callbacks go on */
    default:
        take_refused(w, rc, err);
    }
    worker_go_on(w);
}

static void on_resume(struct loop_timer *t)
{
    worker_go_on(container_of(t, struct worker, resume));
}

/* --- prefetched chunks --- */

static void on_checked(struct queue_request *r, int rc, const struct err *err)
{
    struct worker *w = r->ctx;
    if (w->phase >= WORKER_LEAVING)
        return;
    if (rc == TTG_ESTALE)
        worker_rejoin(w, err->text);
    /* The gone ones come in the order they were named in. A chunk that is gone may be here once
     * more, taken again meanwhile: the epoch says which one. */
    for (size_t i = 0, at = 0; !rc && i < w->check.gone_count; i++) {
        while (at < w->check.count && w->checked[at].chunk != w->check.gone[i])
            at++;
        if (at < w->check.count)
            backlog_remove(&w->backlog, w->checked[at].chunk, w->checked[at].epoch);
    }
}

void worker_check_backlog(struct worker *w)
{
    uint64_t oldest_ms = backlog_oldest_ms(&w->backlog);
    if (!w->joined || oldest_ms == UINT64_MAX || loop_now_ms(w->loop) - oldest_ms < CHECK_MS ||
        queue_request_busy(&w->check.call.request))
        return;
    size_t count = (size_t)w->backlog.chunks;
    struct ledger_held *held = mem_array(count, sizeof *held);
    mem_free(w->checked);
    w->checked = mem_array(count, sizeof *w->checked);
    if (held && w->checked) {
        w->check.count = backlog_list(&w->backlog, held, count);
        for (size_t i = 0; i < w->check.count; i++)
            w->checked[i] = (struct queue_lease){held[i].chunk, held[i].epoch};
        w->check.call.job = worker_job(w);
        w->check.worker = worker_self(w);
        w->check.leases = w->checked;
        queue_send(w->commits, &w->check.call.request);
    }
    mem_free(held);
}

void worker_take_init(struct worker *w)
{
    backlog_init(&w->backlog);
    w->told_per_pace = HAND_START;
    w->pace_since_ns = loop_now_ns(w->loop);
    queue_request_init(&w->take.call.request, QUEUE_TAKE, on_take, w);
    queue_request_init(&w->check.call.request, QUEUE_BEAT, on_checked, w);
    loop_timer_init(&w->resume, w->loop, on_resume);
}
