/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"
#include "job/run_state.h"
#include "wire/message.h"

enum { FULL_MS = 1000 }; /* between tries while the queue is full */

/* --- results, from the first line to be had --- */

/* The end of each chunk's story, under its trace. */
static void tell_collected(const struct run *r, struct str lines)
{
    struct message_result m;
    struct trace t;
    struct err err;
    struct buf room;
    uint64_t chunk;
    buf_init(&room, lines.len + 1);
    while (lines.len > 0) {
        struct str line = str_cut(lines, '\n', &lines);
        buf_clear(&room);
        if (message_read_result(&m, line, &room, &err) || message_chunk_number(m.chunk_id, &chunk))
            continue;
        trace_of(&t, str_of(r->config.job), r->create.created_ms, chunk, 0);
        log_debug("chunk.collected", kv_str("job", r->config.job), kv_u64("chunk", chunk),
                  kv_s("worker", m.worker_id), kv_u64("attempt", m.attempt), kv_trace(&t));
    }
    buf_done(&room);
}

static int on_lines(void *ctx, struct str lines, uint64_t count)
{
    struct run *r = ctx;
    (void)count;
    if (log_enabled(LOG_DEBUG))
        tell_collected(r, lines);
    if (r->config.on_lines)
        r->config.on_lines(r->config.ctx, lines);
    return tally_add(&r->tally, lines);
}

static int on_cut(void *ctx, struct err *err)
{
    struct run *r = ctx;
    tally_clear(&r->tally);
    return tally_file(&r->tally, r->config.output.path, err);
}

static int collect(struct run *r, struct err *err)
{
    struct output_cursor cursor;
    const struct ledger_spec *spec = &r->config.spec;
    r->tally.grid = (struct tally_grid){spec->first, spec->params, spec->chunk_params};
    if (r->config.only_attach)
        r->tally.grid =
            (struct tally_grid){r->status.first, r->status.params_total, r->status.chunk_params};
    r->config.output.job = r->config.job;
    r->config.output.job_created_ms = r->create.created_ms;
    int rc = output_open(&r->output, &r->config.output, &cursor, err);
    if (!rc && cursor.bytes > 0) /* what earlier runs have written counts, too */
        rc = tally_file(&r->tally, r->config.output.path, err);
    if (rc)
        return rc;
    struct collect_config config = {.queue = r->results,
                                    .job = r->config.job,
                                    .output = r->output,
                                    .output_path = r->config.output.path,
                                    .cursor = cursor,
                                    .ordered = r->config.ordered,
                                    .there = &r->tally,
                                    .follow = true,
                                    .ctx = r,
                                    .on_lines = on_lines,
                                    .on_cut = on_cut,
                                    .on_end = run_on_collected};
    return collect_start(&r->collect, r->loop, &config, err);
}

/* --- the job --- */

/* We died between the last step of collecting, which removes the cursor, and our own end. */
static bool collected_already(struct run *r)
{
    struct err err;
    if (tally_file(&r->tally, r->config.output.path, &err))
        return false;
    run_prove(r);
    return r->totals.proof == RUN_PROVEN;
}

static void begin(struct run *r)
{
    struct err err = {0};
    int rc = collect(r, &err);
    if (rc == TTG_EEXIST && r->ended_before && collected_already(r)) {
        r->phase = RUNNING;
        r->totals.begun = true;
        r->totals.lines = r->totals.status.status.completed;
        run_on_collected(r, 0, NULL);
        return;
    }
    if (rc) {
        run_failed(r, &err);
        return;
    }
    r->phase = RUNNING;
    r->totals.begun = true;
    if (r->crew && !r->ended_before)
        crew_start_workers(r->crew);
    if (r->config.status_ms > 0)
        loop_timer_after_ms(&r->status_timer, r->config.status_ms);
}

/* A full disk of the queue becomes free again, or somebody stops us. */
static void wait_for_room(struct run *r, const struct err *err)
{
    if (log_limit_minute(&r->full_limit, loop_now_ms(r->loop)))
        log_warn("queue.full", kv_str("reason", err->text), kv_str("then", "waiting for room"));
    loop_timer_after_ms(&r->create_again, FULL_MS);
}

static void on_created(struct queue_request *q, int rc, const struct err *err)
{
    struct run *r = q->ctx;
    if (r->phase != CREATING)
        return;
    if (rc == TTG_ECANCELED || rc == TTG_EUNREACH)
        return; /* on_lost tells */
    if (rc == TTG_EFULL) {
        wait_for_room(r, err);
        return;
    }
    if (rc == TTG_EDONE && r->config.output.resume) {
        r->refused = *err;
        run_ask_status(r);
        return;
    }
    if (rc) {
        struct err why = *err;
        if (rc == TTG_EEXIST)
            err_set(&why, rc,
                    "%s; to go on with it (--resume) give it the same parameters, options and "
                    "command, or choose another --job",
                    err->text);
        run_failed(r, &why);
    } else if (r->create.created)
        begin(r);
    else
        run_ask_status(r); /* it was there: what happened before is told already */
}

static bool same_job(const struct run *r)
{
    const struct queue_status *s = &r->status;
    const struct ledger_spec *spec = &r->config.spec;
    return s->first == spec->first && s->params_total == spec->params &&
           s->chunk_params == spec->chunk_params && str_eq(s->kernel, spec->kernel) &&
           str_eq(s->input, spec->input);
}

/* Workers that are there keep their names: ours would replace them. */
static void on_workers(struct queue_request *q, int rc, const struct err *err)
{
    struct run *r = q->ctx;
    uint64_t first = r->config.crew.first_worker, number;
    if (r->phase != CREATING || rc == TTG_ECANCELED || rc == TTG_EUNREACH)
        return;
    if (rc) {
        run_failed(r, err);
        return;
    }
    for (size_t i = 0; i < r->workers.count; i++) {
        struct str name = r->workers.workers[i].name, prefix = STR("worker-");
        if (str_starts(name, prefix) &&
            str_to_u64(str_make(name.ptr + prefix.len, name.len - prefix.len), &number) == 0 &&
            number >= first && number < UINT32_MAX - r->config.crew.workers)
            first = number + 1;
    }
    crew_name_workers(r->crew, (uint32_t)first);
    begin(r);
}

/* A job that ended while nobody collected is collected all the same. */
static void on_attached(struct queue_request *q, int rc, const struct err *err)
{
    struct run *r = q->ctx;
    if (r->phase != CREATING) {
        run_on_status(q, rc, err);
        return;
    }
    if (rc == TTG_ECANCELED || rc == TTG_EUNREACH)
        return;
    if (rc == TTG_EFULL) {
        wait_for_room(r, err);
        return;
    }
    if (rc) {
        run_failed(r, err);
        return;
    }
    if (r->refused.code && (r->status.status.state != LEDGER_FINISHED || !same_job(r))) {
        run_failed(r, &r->refused);
        return;
    }
    run_keep_status(r);
    r->create.created_ms = r->status.status.created_ms;
    r->event_seq = r->status.status.event_seq;
    r->ended_before = r->status.status.state >= LEDGER_FINISHED;
    if (r->config.share_names || !r->crew || r->config.crew.workers == 0) {
        begin(r);
        return;
    }
    r->workers.call.job = str_of(r->config.job);
    queue_send(r->control, &r->workers.call.request);
}

void run_create(struct run *r)
{
    if (r->config.only_attach) {
        run_ask_status(r);
        return;
    }
    r->create.call.job = str_of(r->config.job);
    r->create.spec = r->config.spec;
    queue_send(r->control, &r->create.call.request);
}

static void on_create_again(struct loop_timer *t)
{
    struct run *r = container_of(t, struct run, create_again);
    if (r->phase == CREATING)
        run_create(r);
}

void run_begin_init(struct run *r)
{
    queue_request_init(&r->create.call.request, QUEUE_CREATE, on_created, r);
    queue_request_init(&r->status.call.request, QUEUE_STATUS, on_attached, r);
    queue_request_init(&r->workers.call.request, QUEUE_WORKERS, on_workers, r);
    loop_timer_init(&r->create_again, r->loop, on_create_again);
}
