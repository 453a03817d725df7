/* SPDX-License-Identifier: Apache-2.0 */
/* From the ledger to the streams. */
#include "base/ensure.h"
#include "core/job.h"

enum { FIELDS_MAX = 64 };

static struct str number(char *room, uint64_t value)
{
    return str_make(room, str_from_u64(room, value));
}

static void tell_move(const struct job *j, const char *event, uint64_t chunk, uint64_t epoch,
                      uint64_t attempt, struct str worker)
{
    struct core_move move = {event, j->name, worker, j->created_ms, chunk, epoch, attempt};
    core_tell_move(j->core, &move);
}

static void tell_leased(const struct job *j, uint64_t chunk, const struct ledger_worker *w)
{
    struct ledger_chunk_info info;
    struct ledger_worker_info worker;
    if (!core_tells_moves(j->core))
        return;
    ledger_chunk_info(j->ledger, chunk, &info); /* looks only */
    ledger_worker_info(w, &worker);
    tell_move(j, "chunk.leased", chunk, info.epoch, info.attempts + 1, worker.name);
}

static void tell_back(const struct job *j, const char *event, uint64_t chunk,
                      const struct ledger_worker *w)
{
    struct ledger_worker_info worker = {.name = STR("")};
    if (!core_tells_moves(j->core))
        return;
    if (w)
        ledger_worker_info(w, &worker);
    tell_move(j, event, chunk, 0, 0, worker.name);
}

static void on_fed(void *ctx, uint64_t chunk, uint64_t count)
{
    struct job *j = ctx;
    for (uint64_t end = chunk + count; chunk < end; chunk++) {
        char id[20], from[20], to[20], total[20];
        int64_t first, last;
        ledger_range(j->ledger, chunk, &first, &last);
        const struct str fields[] = {
            STR("chunk_id"),       str_make(id, job_chunk_text(id, chunk)),
            STR("start_param"),    str_make(from, str_from_i64(from, first)),
            STR("end_param"),      str_make(to, str_from_i64(to, last)),
            STR("total_in_chunk"), number(total, ledger_range_count(j->ledger, chunk)),
            STR("created_at"),     str_of(j->created_text),
        };
        int rc = stream_append(j->tasks, job_task_id(j, chunk), fields, 5);
        ensure(rc == 0); /* see job.h about memory */
    }
}

static void on_leased(void *ctx, uint64_t chunk, const struct ledger_worker *w, uint64_t now_ms)
{
    struct job *j = ctx;
    struct stream_consumer *consumer = ledger_worker_owner(w);
    tell_leased(j, chunk, w);
    if (j->by_client)
        return;
    struct stream_pending *p = stream_deliver(consumer, job_task_id(j, chunk), now_ms);
    ensure(p != NULL);
    consumer->seen_ms = now_ms;
    p->owner = consumer->owner;
}

static void unpend(struct job *j, uint64_t chunk)
{
    struct stream_pending *p = stream_pending_find(j->group, job_task_id(j, chunk));
    if (p)
        stream_pending_remove(p);
}

static void on_returned(void *ctx, uint64_t chunk, const struct ledger_worker *w)
{
    struct job *j = ctx;
    tell_back(j, "chunk.returned", chunk, w);
    if (!j->by_client)
        unpend(j, chunk);
}

/* The entry of a dead letter stays where people can see it; a redrive hands it out again. */
static void on_dead(void *ctx, uint64_t chunk, const struct ledger_worker *w)
{
    struct job *j = ctx;
    tell_back(j, "chunk.given_up", chunk, w);
    if (!j->by_client)
        unpend(j, chunk);
}

static void on_closed(void *ctx, uint64_t chunk, const struct ledger_worker *w)
{
    struct job *j = ctx;
    if (w)
        unpend(j, chunk);
    int rc = stream_remove(j->tasks, job_task_id(j, chunk), false);
    ensure(rc == 0);
}

/* The value, as output line and stream show it. */
static size_t value_fields(struct job *j, const struct ledger_result *r, struct str *fields,
                           char *summary, struct buf *base64)
{
    if (r->kind == LEDGER_OUTPUT) {
        bool text = str_is_utf8(r->value);
        fields[0] = text ? STR("output") : STR("output_base64");
        fields[1] = r->value;
        if (!text) {
            int rc = buf_add_base64(base64, r->value);
            ensure(rc == 0);
            fields[1] = buf_str(base64);
        }
        return 2;
    }
    fields[0] = STR("result_summary");
    fields[1] = r->value;
    if (r->kind == LEDGER_SUM) {
        uint64_t count = ledger_range_count(j->ledger, r->chunk);
        fields[1] = str_make(summary, ledger_summary_text(summary, r->sum, count));
    }
    return 2;
}

static void on_result(void *ctx, const struct ledger_result *r)
{
    struct job *j = ctx;
    char id[20], from[20], to[20], attempt[20], count[20], seconds[32],
        summary[LEDGER_SUMMARY_BYTES];
    int64_t first, last;
    if (core_tells_moves(j->core))
        tell_move(j, "chunk.committed", r->chunk, r->epoch, r->attempt, r->worker);
    ledger_range(j->ledger, r->chunk, &first, &last);
    if (j->text_ms != r->now_ms || !j->now_text[0])
        clock_text(j->now_text, j->text_ms = r->now_ms);
    struct str fields[FIELDS_MAX] = {
        STR("chunk_id"),         str_make(id, job_chunk_text(id, r->chunk)),
        STR("start_param"),      str_make(from, str_from_i64(from, first)),
        STR("end_param"),        str_make(to, str_from_i64(to, last)),
        STR("worker_id"),        r->worker,
        STR("attempt"),          number(attempt, r->attempt),
        STR("status"),           STR("complete"),
        STR("params_processed"), number(count, ledger_range_count(j->ledger, r->chunk)),
        STR("duration_seconds"), str_make(seconds, job_seconds_text(seconds, r->duration_us)),
        STR("completed_at"),     str_of(j->now_text),
    };
    size_t n = 18;
    for (size_t i = 0; i < 2 * j->extra_pairs && n < FIELDS_MAX - 2; i++)
        fields[n++] = j->extra_fields[i];
    struct buf base64;
    buf_init(&base64, SIZE_MAX / 2);
    n += value_fields(j, r, fields + n, summary, &base64);
    int rc = stream_append(j->results, (struct stream_id){j->created_ms, r->seq}, fields, n / 2);
    ensure(rc == 0);
    buf_done(&base64);
}

static struct stream_consumer *consumer_of(struct job *j, const struct ledger_worker_info *info)
{
    struct stream_consumer *consumer = stream_consumer_find(j->group, info->name);
    if (!consumer)
        consumer = stream_consumer_add(j->group, info->name, info->joined_ms);
    return consumer;
}

static void on_joined(void *ctx, const struct ledger_worker *w)
{
    struct job *j = ctx;
    struct ledger_worker_info info;
    ledger_worker_info(w, &info);
    struct stream_consumer *consumer = consumer_of(j, &info);
    ensure(consumer != NULL);
    /* `owner` marks what has presence: no client may claim it for being idle, or delete it. */
    consumer->owner = info.foreign ? NULL : j;
    ledger_worker_set_owner((struct ledger_worker *)(uintptr_t)w, consumer);
}

static void on_gone(void *ctx, const struct ledger_worker *w)
{
    (void)ctx;
    struct stream_consumer *consumer = ledger_worker_owner(w);
    ledger_worker_set_owner((struct ledger_worker *)(uintptr_t)w, NULL);
    consumer->owner = NULL;
    if (consumer->pending.count == 0)
        stream_consumer_remove(consumer);
}

const struct ledger_ops job_mirror_ops = {
    .on_fed = on_fed,
    .on_leased = on_leased,
    .on_returned = on_returned,
    .on_dead = on_dead,
    .on_closed = on_closed,
    .on_result = on_result,
    .on_joined = on_joined,
    .on_gone = on_gone,
};

/* Blocks of results are larger than those of other streams: most of them wait on disk for the
 * collector, and what stays in memory for each is then nothing beside it (0.1 bytes a result, and
 * some blocks' bytes). */
static const struct stream_config results_config = {.node_entries_max = 4096,
                                                    .node_bytes_max = 128 << 10};

void job_mirror_attach(struct job *j)
{
    struct ledger_ops ops = job_mirror_ops;
    ops.ctx = j;
    ledger_set_ops(j->ledger, &ops);
    j->tasks->guard = j->results->guard = j->guard;
    j->results->config = &results_config;
    j->tasks->hooks = &job_task_hooks;
    j->results->hooks = &job_result_hooks;
    j->tasks->hooks_ctx = j->results->hooks_ctx = j;
    for (struct ledger_worker *w = NULL; (w = ledger_worker_next(j->ledger, w));) {
        on_joined(j, w);
        struct stream_consumer *consumer = ledger_worker_owner(w);
        struct stream_pending *p = stream_pending_from(j->group, consumer, STREAM_ID_MIN);
        for (; p; p = stream_pending_next(p, true))
            p->owner = consumer->owner;
    }
}
