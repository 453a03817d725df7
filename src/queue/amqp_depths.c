/* SPDX-License-Identifier: Apache-2.0 */
/* How deep a job's queues are, by passive declares: what every broker tells, also one without the
 * management API. */
#include "queue/amqp.h"
#include "queue/queue.h"

static const char *name_of(const struct amqp_engine *e, size_t i)
{
    const struct amqp_names *n = &e->names;
    const char *const names[QUEUE_DEPTHS_MAX] = {n->tasks, n->retry, n->suspect, n->dlq,
                                                 n->results};
    return names[i];
}

/* Answers come in the order of the calls. */
static void on_count(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct queue_depths *d = ctx;
    struct queue_request *r = &d->call.request;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return; /* it is sent again, or has ended */
    if (rc == 0)
        d->depths[d->count++] = (struct queue_depth){
            .name = name_of(e, r->step), .ready = event->count, .consumers = event->tag};
    if (++r->step == QUEUE_DEPTHS_MAX)
        queue_finish(r, 0, NULL);
}

void amqp_depths_send(struct amqp_engine *e, struct queue_request *r)
{
    struct queue_depths *d = container_of(r, struct queue_depths, call.request);
    d->count = 0;
    for (size_t i = 0; i < QUEUE_DEPTHS_MAX; i++) {
        struct amqp_call call = {.op = AMQP_COUNT, .queue = str_of(name_of(e, i))};
        amqp_post(e, &call, on_count, d);
    }
}
