/* SPDX-License-Identifier: Apache-2.0 */
/* monitor_term - a job watched on a terminal: a model that is fed, drawn again and again, and keys.
 *
 * It lives on somebody's loop, so that `ttg demo` can show it beside its own work. */
#ifndef TTG_CMD_MONITOR_TERM_H
#define TTG_CMD_MONITOR_TERM_H

#include "cmd/command.h"
#include "queue/queue.h"

struct loop;
struct monitor_term;

/* Pointers stay the caller's and live as long as the monitor. */
struct monitor_term_config {
    struct queue_config queue; /* its callbacks are not used */
    const char *job;           /* NULL: the newest */
    const char *management;    /* http://HOST:PORT of a RabbitMQ broker; NULL: the usual port */
    const char *place;         /* the queue, for people */
    uint64_t period_ms;
    bool once, json;
    bool full; /* the whole screen, and keys; otherwise one frame after the other */
    bool color;
    void *ctx;
    void (*on_end)(void *ctx, int rc, const struct err *err); /* q, once, a failure; may be NULL */
};

int monitor_term_open(struct monitor_term **ret_term, struct loop *loop,
                      const struct monitor_term_config *config, struct err *err);
/* The job in view is about to end, and the queue perhaps with it: the picture of its end stays. */
void monitor_term_hold(struct monitor_term *t);
/* The terminal is as before. NULL is fine. */
void monitor_term_close(struct monitor_term *t);

/* `ttg monitor` without --web. */
int monitor_term(struct command_run *r);

#endif
