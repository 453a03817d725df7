/* SPDX-License-Identifier: Apache-2.0 */
/* worker_stay - waits until a job of a name wants workers: it is there and has not ended.
 *
 * For workers that outlive a job (`ttg worker --stay`): a service or a Deployment that starts an
 * ended worker again would otherwise do so in a circle. Asking changes nothing in the queue, other
 * than joining does. */
#ifndef TTG_CMD_WORKER_STAY_H
#define TTG_CMD_WORKER_STAY_H

#include "io/loop.h"
#include "queue/queue.h"

struct worker_stay {
    struct queue_config config;
    struct queue *queue;
    struct queue_status status;
    struct loop_timer timer;
    bool waited; /* it was said that there is nothing to do */
    void *ctx;
    /* Comes once, from the loop; an error: the queue is lost. */
    void (*on_wanted)(void *ctx, const struct err *err);
};

/* Zeroed before. `job` and what `config` points to live until worker_stay_stop. */
int worker_stay_start(struct worker_stay *s, struct loop *l, const struct queue_config *config,
                      struct str job, struct err *err);
/* Not from on_wanted. Harmless when not started. */
void worker_stay_stop(struct worker_stay *s);

#endif
