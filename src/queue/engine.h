/* SPDX-License-Identifier: Apache-2.0 */
/* engine - what stands behind a queue: one table of functions for each kind of engine. */
#ifndef TTG_QUEUE_ENGINE_H
#define TTG_QUEUE_ENGINE_H

#include "queue/queue.h"

struct queue {
    const struct queue_engine *engine;
    const struct queue_config *config;
    struct loop *loop;
    struct list requests; /* under way, in order of sending */
    size_t request_count;
    bool up, lost;
    struct err why_lost;
};

struct queue_engine {
    bool lines_stay;                /* those of an answer, while the next question is sent */
    void (*close)(struct queue *q); /* the requests have ended */
    void (*send)(struct queue *q, struct queue_request *r);
};

/* Takes `r` off the queue and calls on_done. */
void queue_finish(struct queue_request *r, int rc, const struct err *err);
/* The queue will not come back: ends all requests, tells the owner. */
void queue_lose(struct queue *q, const struct err *err);

/* The engines. */
struct queue *resp_engine_new(struct loop *loop, const struct queue_config *config,
                              struct err *err);
struct queue *amqp_engine_new(struct loop *loop, const struct queue_config *config,
                              struct err *err);

#endif
