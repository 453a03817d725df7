/* SPDX-License-Identifier: Apache-2.0 */
/* rabbit - what a RabbitMQ broker says of its own, for a model: how deep the queues of the job in
 * view are, from where its workers are connected, alarms, and which jobs there are.
 *
 * The management API tells, asked with the queue's own user every few seconds. Where it does not
 * answer that is known too, and the feed asks for the depths by passive declares. */
#ifndef TTG_MONITOR_RABBIT_H
#define TTG_MONITOR_RABBIT_H

#include "monitor/model.h"

struct rabbit;
struct loop;

struct rabbit_config {
    struct loop *loop;
    const struct queue_config *queue; /* this and `given` stay the caller's */
    const char *given;                /* http://HOST:PORT of the management API, or NULL */
    struct model *model;
    void *ctx;
    void (*on_news)(void *ctx); /* the model was told */
};

/* TTG_EUSAGE, TTG_ENOMEM. */
int rabbit_open(struct rabbit **ret_rabbit, const struct rabbit_config *config, struct err *err);
void rabbit_close(struct rabbit *b); /* NULL is fine */
/* Asks no more. */
void rabbit_stop(struct rabbit *b);
/* Why the management API does not answer; NULL: it does, or nobody knows yet. */
const char *rabbit_why(const struct rabbit *b);

#endif
