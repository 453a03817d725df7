/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of a job that do not answer while the broker does, or that somebody deleted.
 *
 * A broker notes a quorum queue first and starts its replicas then. When the node that leads it
 * dies in between, the queue exists for ever without a majority: whoever asks it gets an error or
 * no answer at all. Nothing can ever have been in it. Where this process found no job and began to
 * make it, such queues are deleted and declared again. Otherwise it cannot be told from a queue
 * whose nodes are away for now, which may hold results; then somebody has to look.
 *
 * Of queues that were deleted the ledger knows what was in them: which chunks are neither done nor
 * dead. They are published again. Results that nobody had collected are computed again. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"

enum {
    SILENT_COUNT = 3,
    TRIES_MAX = 6,
    LOOK_AFTER_MS = 2000,
    SILENT_MS = 10000, /* a quorum queue whose leader died has a new one long before */
};

void collector_heard(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    e->useful = true;
    c->silent_ms = c->silent_count = 0;
    c->patience_ms = SILENT_MS;
    mem_free(c->silent_why);
    c->silent_why = NULL;
}

void collector_interrupted(struct amqp_engine *e, const struct err *why)
{
    struct amqp_collector *c = e->collector;
    bool at_work = c->stage == LOOKING || c->stage == FEEDING ||
                   (c->visiting && (c->stage == LOADING || c->stage == DRAINING));
    if (!at_work)
        return;
    if (c->silent_count++ == 0)
        c->silent_ms = loop_now_ms(e->queue.loop);
    e->tries = c->silent_count < TRIES_MAX ? c->silent_count : TRIES_MAX; /* not ever so often */
    mem_free(c->silent_why);
    c->silent_why = mem_strdup(why->text);
    if (c->silent_count == SILENT_COUNT)
        log_warn("job.silent", kv_str("reason", why->text),
                 kv_str("then", "the job's queues do not answer; trying again"));
}

static bool silent_for(const struct amqp_engine *e, uint64_t ms)
{
    const struct amqp_collector *c = e->collector;
    return c->silent_count >= SILENT_COUNT && loop_now_ms(e->queue.loop) - c->silent_ms >= ms;
}

static void delete_half_made(struct amqp_engine *e)
{
    const struct amqp_names *n = &e->names;
    const char *queues[] = {n->tasks, n->suspect, n->retry, n->results,
                            n->dlq,   n->notes,   n->state, n->job};
    log_warn("job.made_again",
             kv_str("reason", e->collector->silent_why ? e->collector->silent_why : ""),
             kv_str("then", "queues that were half made when a node died are made again"));
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        struct amqp_call call = {.op = AMQP_DELETE, .queue = str_of(queues[i]), .flags = AMQP_SLOW};
        amqp_post(e, &call, collector_step, (void *)(uintptr_t)queues[i]);
    }
}

bool collector_bears_silence(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct err err;
    uint64_t limit_ms = e->queue.config->retry_ms;
    if (c->patience_ms == 0)
        c->patience_ms = SILENT_MS;
    if (c->begun && c->patience_ms < limit_ms && silent_for(e, c->patience_ms)) {
        delete_half_made(e);
        c->patience_ms *= 2; /* it may just be slow: let it finish the next time */
        c->silent_count = 0;
        return true;
    }
    if (!silent_for(e, limit_ms))
        return true;
    err_set(&err, TTG_EUNREACH,
            "the broker answers, and the job's queues (%s and others) do not, for %.0f s: %.200s; "
            "nodes are away, or one died as the queues were made: see ttg doctor",
            e->names.job, (double)(loop_now_ms(e->queue.loop) - c->silent_ms) / 1000,
            c->silent_why ? c->silent_why : "");
    c->stage = ASIDE;
    c->create = NULL;
    queue_lose(&e->queue, &err);
    return false;
}

/* --- queues that were deleted --- */

struct mending {
    void (*then)(struct amqp_engine *e);
    bool gone;
};

static void on_results_found(struct amqp_engine *e, void *ctx, int rc,
                             const struct amqp_event *event)
{
    struct amqp_collector *c = e->collector;
    struct mending m = *(struct mending *)ctx;
    mem_free(ctx);
    if (!event || (rc && rc != TTG_ENOENT))
        return;
    c->gone = false;
    if ((m.gone || rc) && c->stage >= LOADING && c->stage <= RUNNING) {
        log_warn("job.queues_gone",
                 kv_str("then", "they are made again, and so is what was in them"));
        c->created = false;
        c->next = c->open = c->again_count = 0;
        c->stage = LOADING;
    }
    if (m.gone || rc) {
        collector_topology(e);
        collector_mark(e, NULL, NULL);
    }
    m.then(e);
}

static void on_tasks_found(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_call call = {.op = AMQP_COUNT, .queue = str_of(e->names.results)};
    struct mending *m = ctx;
    if (!event || (rc && rc != TTG_ENOENT)) {
        mem_free(m);
        return;
    }
    m->gone = rc == TTG_ENOENT;
    amqp_post(e, &call, on_results_found, m);
}

void collector_mend(struct amqp_engine *e, void (*then)(struct amqp_engine *e))
{
    struct amqp_call call = {.op = AMQP_COUNT, .queue = str_of(e->names.tasks)};
    struct mending *m;
    if (!e->collector->gone) {
        then(e);
        return;
    }
    m = mem_zalloc(sizeof *m);
    ensure(m != NULL); /* as in amqp_post */
    m->then = then;
    amqp_post(e, &call, on_tasks_found, m);
}

static void on_looked_after(struct amqp_engine *e, void *ctx, int rc,
                            const struct amqp_event *event)
{
    struct err err;
    (void)ctx;
    if (!event || rc != TTG_ENOENT)
        return;
    err_set(&err, TTG_ENOENT, "a queue of the job has gone");
    amqp_cut(e, &err);
}

/* The queue of results would tell us that it goes; that of tasks does not. Chunks that the broker
 * refused to take are published again. */
void collector_look_after(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct amqp_call call = {.op = AMQP_COUNT, .queue = str_of(e->names.tasks)};
    uint64_t now_ms = loop_now_ms(e->queue.loop);
    if (c->stage != RUNNING || c->visiting || !c->locked || c->open == 0 ||
        now_ms < c->heard_ms + LOOK_AFTER_MS)
        return;
    c->heard_ms = now_ms;
    collector_feed(e);
    amqp_post(e, &call, on_looked_after, NULL);
}
