/* SPDX-License-Identifier: Apache-2.0 */
/* From the streams to the ledger: what plain Redis clients do to the streams of a job.
 *
 *     XREADGROUP, XCLAIM   lease the chunk, for stale_ms
 *     XADD to the results  records the result once; a copy is dropped
 *     XACK                 with a result: a formality; without one the chunk runs again
 *
 * In each hook the client's own command moves the pending entry, so the mirror keeps off it. */
#include "base/mem.h"
#include "core/job.h"

static bool chunk_of_id(const struct job *j, struct stream_id id, uint64_t *ret_chunk)
{
    if (id.ms != j->created_ms || id.seq == 0)
        return false;
    *ret_chunk = id.seq - 1;
    return true;
}

/* The foreign worker behind a consumer; NULL when that name is one of ours, or without memory. */
static struct ledger_worker *worker_of(struct job *j, struct stream_consumer *consumer,
                                       uint64_t now_ms)
{
    struct ledger_worker *w = NULL;
    if (consumer->name.len == 0 || consumer->name.len > LEDGER_NAME_BYTES_MAX)
        return NULL;
    return ledger_join_foreign(j->ledger, consumer->name, now_ms, &w) ? NULL : w;
}

static void on_deliver(void *ctx, struct stream *s, struct stream_pending *p, struct stream_id id,
                       uint64_t now_ms)
{
    struct job *j = ctx;
    uint64_t chunk;
    (void)s;
    /* Read without acknowledging, or by a group that only looks on: nobody's lease. */
    if (!p || p->consumer->group != j->group || !chunk_of_id(j, id, &chunk))
        return;
    struct ledger_worker *w = worker_of(j, p->consumer, now_ms);
    if (!w)
        return;
    j->by_client = true;
    ledger_claim(j->ledger, w, chunk, now_ms);
    j->by_client = false;
    p->owner = NULL;
    job_wake(j);
}

static void on_ack(void *ctx, struct stream *s, struct stream_pending *p, uint64_t now_ms)
{
    struct job *j = ctx;
    uint64_t chunk;
    (void)s;
    if (p->consumer->group != j->group || !chunk_of_id(j, p->id, &chunk))
        return;
    j->by_client = true;
    ledger_release_foreign(j->ledger, p->consumer->name, chunk, now_ms);
    j->by_client = false;
    job_wake(j);
}

/* What came back: plain readers get it before anything fresh. */
static bool on_read(void *ctx, const struct stream_group *g, struct stream_id *ret_id)
{
    struct job *j = ctx;
    uint64_t chunk;
    if (g != j->group || !ledger_ready_first(j->ledger, &chunk))
        return false;
    *ret_id = job_task_id(j, chunk);
    return true;
}

/* --- results --- */

struct foreign_result {
    struct ledger_result r;
    struct str worker, status;
    bool has_chunk;
};

static bool is_own_field(struct str name)
{
    static const char *const names[] = {"start_param",      "end_param",    "attempt",
                                        "params_processed", "completed_at", "output_base64"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

/* Takes the field if it means something to us. */
static bool read_field(struct foreign_result *f, struct str name, struct str value)
{
    if (str_eq(name, STR("chunk_id"))) {
        f->has_chunk = value.len > 0 && str_to_u64(value, &f->r.chunk) == 0;
    } else if (str_eq(name, STR("worker_id"))) {
        f->worker = value;
    } else if (str_eq(name, STR("status"))) {
        f->status = value;
    } else if (str_eq(name, STR("duration_seconds"))) {
        double seconds;
        if (str_to_f64(value, &seconds) == 0 && seconds >= 0 && seconds < 1e12)
            f->r.duration_us = (uint64_t)(seconds * 1e6 + 0.5);
    } else if (str_eq(name, STR("output"))) {
        f->r.kind = LEDGER_OUTPUT;
        f->r.value = value;
    } else if (str_eq(name, STR("result_summary"))) {
        bool json = job_json_valid(value, &f->r.has_sum, &f->r.sum);
        f->r.kind = json ? LEDGER_JSON : LEDGER_OUTPUT; /* a line of output must stay JSON */
        f->r.value = value;
    } else {
        return is_own_field(name);
    }
    return true;
}

/* True would add the entry as it is; results are only ever added by the ledger. */
static bool on_add(void *ctx, struct stream *s, struct stream_id id, const struct str *fields,
                   size_t pairs, uint64_t now_ms)
{
    struct job *j = ctx;
    struct foreign_result f = {.r = {.kind = LEDGER_OUTPUT, .value = STR("")},
                               .worker = STR("unknown"),
                               .status = STR("complete")};
    struct str extra[32];
    size_t kept = 0;
    (void)s;
    (void)id;
    size_t bytes = 0;
    for (size_t i = 0; i < 2 * pairs; i++)
        bytes += fields[i].len;
    if (bytes > JOB_VALUE_BYTES_MAX)
        return false;
    for (size_t i = 0; i < pairs; i++) {
        if (read_field(&f, fields[2 * i], fields[2 * i + 1]) || kept + 2 > 32)
            continue;
        extra[kept++] = fields[2 * i];
        extra[kept++] = fields[2 * i + 1];
    }
    if (!f.has_chunk || !str_eq(f.status, STR("complete")) || f.worker.len == 0)
        return false;
    if (f.worker.len > LEDGER_NAME_BYTES_MAX)
        f.worker.len = LEDGER_NAME_BYTES_MAX;
    j->extra_fields = extra;
    j->extra_pairs = kept / 2;
    ledger_commit_foreign(j->ledger, f.worker, &f.r, now_ms);
    j->extra_fields = NULL;
    j->extra_pairs = 0;
    job_wake(j);
    return false;
}

/* The task stream is fed by the job alone. */
const struct stream_hooks job_task_hooks = {
    .on_deliver = on_deliver, .on_ack = on_ack, .on_read = on_read};
const struct stream_hooks job_result_hooks = {.on_add = on_add};
