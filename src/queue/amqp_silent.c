/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of a job that do not answer while the broker does.
 *
 * A broker notes a quorum queue first and starts its replicas then. When the node that leads it
 * dies in between, the queue exists for ever without a majority: whoever asks it gets an error or
 * no answer at all. Nothing can ever have been in it. Where this process found no job and began to
 * make it, such queues are deleted and declared again. Otherwise it cannot be told from a queue
 * whose nodes are away for now, which may hold results; then somebody has to look. */
#include "base/log.h"
#include "base/mem.h"
#include "queue/amqp_collector.h"

enum {
    SILENT_COUNT = 3,
    TRIES_MAX = 6,
    SILENT_MS = 10000, /* a quorum queue whose leader died has a new one long before */
};

void collector_heard(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    c->silent_ms = c->silent_count = 0;
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
        struct amqp_call call = {.op = AMQP_DELETE, .queue = str_of(queues[i])};
        amqp_post(e, &call, collector_step, (void *)(uintptr_t)queues[i]);
    }
}

bool collector_bears_silence(struct amqp_engine *e)
{
    struct amqp_collector *c = e->collector;
    struct err err;
    if (c->begun && silent_for(e, SILENT_MS)) {
        delete_half_made(e);
        return true;
    }
    if (!silent_for(e, e->queue.config->retry_ms))
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
