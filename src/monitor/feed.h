/* SPDX-License-Identifier: Apache-2.0 */
/* feed - asks a queue, again and again, and tells a model.
 *
 * One round at a time: the jobs, the status of the one in view, its workers, the map, events and
 * dead letters, all sent together. What an engine cannot answer (a broker knows no workers) stays
 * empty. Without a connection nothing is sent; the model says so. */
#ifndef TTG_MONITOR_FEED_H
#define TTG_MONITOR_FEED_H

#include "io/loop.h"
#include "monitor/model.h"

struct feed;

struct feed_config {
    struct queue *queue; /* stays the caller's, outlives the feed */
    struct loop *loop;
    /* NULL: the newest, and the next newer one when that has ended. On RabbitMQ, where a queue is
     * for one job, it is the default one. */
    const char *job;
    uint64_t period_ms; /* between the starts of rounds */
    /* A RabbitMQ broker is asked of its own, too: where, and http://HOST:PORT of its management API
     * or NULL. They stay the caller's. */
    const struct queue_config *server;
    const char *management;
    void *ctx;
    void (*on_round)(void *ctx); /* the model has settled, or the connection came or went */
};

/* Texts are copied. */
int feed_open(struct feed **ret_feed, const struct feed_config *config, struct err *err);
/* Not from on_round. The queue is closed first: requests under way end then. NULL is fine. */
void feed_close(struct feed *f);
const struct model *feed_model(const struct feed *f);
/* Whether requests are under way; without any (see feed_stop) the feed can be closed. */
bool feed_busy(const struct feed *f);
/* Asks no more. */
void feed_stop(struct feed *f);
/* Another job; NULL: as in the configuration. */
void feed_show(struct feed *f, const char *job);
/* Now, not only at the next period: after an action. */
void feed_hurry(struct feed *f);
/* From the callbacks of the queue's owner. */
void feed_link(struct feed *f, bool connected, const struct err *why);

#endif
