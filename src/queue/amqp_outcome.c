/* SPDX-License-Identifier: Apache-2.0 */
/* Results and failures of a worker on a RabbitMQ broker: published, confirmed, acknowledged. */
#include "base/ensure.h"
#include "base/mem.h"
#include "queue/amqp_delivery.h"
#include "wire/message.h"

/* --- results --- */

struct commit_group {
    struct queue_commit *commit;
    size_t left;
    int rc;
    struct queue_verdict *verdicts;
    size_t verdict_count;
};
struct commit_item {
    struct commit_group *group;
    uint64_t epoch;
};

static void group_end(struct commit_group *g)
{
    struct queue_commit *c = g->commit;
    struct err err;
    c->verdicts = g->verdicts;
    c->verdict_count = g->verdict_count;
    c->accepted = c->count - g->verdict_count;
    if (g->rc == TTG_EFULL)
        err_set(&err, g->rc, "the broker could not keep the results");
    else if (g->rc)
        err_set(&err, g->rc, "the connection was cut");
    if (g->rc != TTG_ECANCELED && queue_request_busy(&c->call.request))
        queue_finish(&c->call.request, g->rc, g->rc ? &err : NULL);
    mem_free(g->verdicts);
    mem_free(g);
}

static void on_published(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct commit_item *item = ctx;
    struct commit_group *g = item->group;
    struct delivery *d = delivery_find(e->worker, item->epoch);
    (void)event;
    if (rc) {
        g->rc = rc;
    } else if (d) {
        delivery_acknowledge(e, d);
        delivery_free(e, d);
        pull_go_on(e);
    }
    mem_free(item);
    if (--g->left == 0)
        group_end(g);
}

static int add_result(struct amqp_engine *e, const struct queue_commit *c,
                      const struct queue_result *r, const struct delivery *d)
{
    char id[MESSAGE_CHUNK_ID_BYTES], now[CLOCK_TEXT_BYTES];
    const struct ledger_spec *s = &e->marker.spec;
    int64_t first = (int64_t)((uint64_t)s->first + r->chunk * s->chunk_params);
    clock_text(now, amqp_wall_ms());
    struct message_result m = {
        .chunk_id = str_make(id, message_chunk_id(id, r->chunk)),
        .has_range = true,
        .start_param = first,
        .end_param = (int64_t)((uint64_t)first + r->params - 1),
        .worker_id = c->worker.name,
        .attempt = d->attempt,
        .status = STR("complete"),
        .params_processed = r->params,
        .duration_seconds = (double)r->duration_us / 1e6,
        .completed_at = str_of(now),
        .value = r->is_sum ? MESSAGE_SUM : MESSAGE_OUTPUT,
        .sum = r->sum,
        .count = r->params,
        .text = r->is_sum ? STR("") : r->output,
        .extra = d->pulled ? STR("\"redelivered\":true") : STR(""),
    };
    buf_clear(&e->text);
    return message_add_result(&e->text, &m);
}

void delivery_commit(struct amqp_engine *e, struct queue_commit *c)
{
    struct amqp_worker *w = e->worker;
    struct commit_group *g = mem_zalloc(sizeof *g);
    ensure(g != NULL);
    g->commit = c;
    g->left = 1;
    g->verdicts = mem_array(c->count, sizeof *g->verdicts);
    ensure(g->verdicts != NULL);
    for (size_t i = 0; i < c->count; i++) {
        const struct queue_result *r = &c->results[i];
        struct delivery *d = delivery_find(w, r->epoch);
        if (!d) {
            g->verdicts[g->verdict_count++] = (struct queue_verdict){r->chunk, LEDGER_STALE};
            continue;
        }
        w->done++;
        w->done_us += r->duration_us;
        if (add_result(e, c, r, d)) {
            g->rc = TTG_ENOMEM;
            continue;
        }
        struct commit_item *item = mem_zalloc(sizeof *item);
        ensure(item != NULL);
        *item = (struct commit_item){g, r->epoch};
        g->left++;
        struct amqp_call call = {
            .op = AMQP_PUBLISH, .queue = str_of(e->names.results), .body = buf_str(&e->text)};
        amqp_post(e, &call, on_published, item);
    }
    if (--g->left == 0)
        group_end(g);
}

/* --- failures --- */

static void fail_end(struct amqp_engine *e, struct queue_fail *f, int rc)
{
    struct delivery *d = delivery_find(e->worker, f->epoch);
    struct err err;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return; /* the request ends with the connection */
    if (!rc && d) {
        delivery_acknowledge(e, d);
        delivery_free(e, d);
        pull_go_on(e);
    }
    if (rc)
        err_set(&err, rc, "the broker could not keep the failure");
    queue_finish(&f->call.request, rc, rc ? &err : NULL);
}

static void on_failure_kept(struct amqp_engine *e, void *ctx, int rc,
                            const struct amqp_event *event)
{
    (void)event;
    fail_end(e, ctx, rc);
}

struct amqp_call delivery_note(struct amqp_engine *e, uint64_t chunk, uint64_t attempt,
                               const char *status, struct str reason)
{
    char id[MESSAGE_CHUNK_ID_BYTES], now[CLOCK_TEXT_BYTES];
    bool final = strcmp(status, "failed") == 0;
    clock_text(now, amqp_wall_ms());
    struct message_result m = {
        .chunk_id = str_make(id, message_chunk_id(id, chunk)),
        .worker_id = str_of(e->worker->name),
        .attempt = attempt,
        .status = str_of(status),
        .completed_at = str_of(now),
    };
    buf_clear(&e->text);
    int rc = message_add_result(&e->text, &m);
    ensure(rc == 0);
    return (struct amqp_call){.op = AMQP_PUBLISH,
                              .queue = str_of(final ? e->names.results : e->names.notes),
                              .reason = reason,
                              .body = buf_str(&e->text)};
}

struct str delivery_history_with(struct amqp_engine *e, struct str old, uint64_t attempt,
                                 struct str reason)
{
    struct amqp_attempt a = {amqp_wall_ms(), attempt, str_of(e->worker->name), reason};
    buf_clear(&e->history);
    int rc = amqp_history_add(&e->history, old, &a);
    ensure(rc == 0);
    return buf_str(&e->history);
}

static void on_dead_kept(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct queue_fail *f = ctx;
    struct delivery *d;
    (void)event;
    if (rc) {
        fail_end(e, f, rc);
        return;
    }
    d = delivery_find(e->worker, f->epoch);
    struct amqp_call call = delivery_note(e, f->chunk, d ? d->attempt : 0, "failed", f->reason);
    amqp_post(e, &call, on_failure_kept, f);
}

/* The queue of this delay is made when it is first needed. */
static struct str retry_queue(struct amqp_engine *e, uint64_t ms, char queue[AMQP_NAME_BYTES])
{
    if (ms == 0)
        return str_of(e->names.tasks);
    amqp_retry_name(&e->names, (uint32_t)ms, queue);
    struct amqp_call call = {.op = AMQP_DECLARE,
                             .queue = str_of(queue),
                             .number = (uint32_t)ms,
                             .dead_to = str_of(e->names.tasks),
                             .flags = e->marker.quorum ? AMQP_QUORUM : 0};
    amqp_post(e, &call, NULL, NULL);
    return str_of(queue);
}

void delivery_fail(struct amqp_engine *e, struct queue_fail *f)
{
    struct delivery *d = delivery_find(e->worker, f->epoch);
    const struct ledger_spec *s = &e->marker.spec;
    char queue[AMQP_NAME_BYTES];
    f->retry_ms = 0;
    if (!d) {
        f->fate = LEDGER_FAIL_STALE;
        queue_finish(&f->call.request, 0, NULL);
        return;
    }
    struct amqp_call call = {
        .op = AMQP_PUBLISH,
        .attempt = d->attempt,
        .reason = f->reason,
        .history = delivery_history_with(e, delivery_history(d), d->attempt, f->reason),
        .body = delivery_body(d)};
    if (f->final || d->attempt >= s->max_attempts) {
        f->fate = LEDGER_DEAD;
        call.queue = str_of(e->names.dlq);
        amqp_post(e, &call, on_dead_kept, f);
        return;
    }
    f->fate = LEDGER_RETRY;
    f->retry_ms = amqp_retry_ms(s, d->attempt, (unsigned)prng_below(&e->prng, AMQP_RETRY_STEPS));
    struct amqp_call note = delivery_note(e, f->chunk, d->attempt, "retry", f->reason);
    amqp_post(e, &note, NULL, NULL);
    call.attempt++;
    call.queue = retry_queue(e, f->retry_ms, queue);
    amqp_post(e, &call, on_failure_kept, f);
}
