/* SPDX-License-Identifier: Apache-2.0 */
/* web_state - what the files of the dashboard share: web.c (requests, who may what), web_watch.c
 * (jobs being watched, and by whom), web_act.c (actions). */
#ifndef TTG_MONITOR_WEB_STATE_H
#define TTG_MONITOR_WEB_STATE_H

#include "base/list.h"
#include "monitor/feed.h"
#include "monitor/web.h"

struct web {
    struct web_config config;
    struct queue *queue; /* NULL: nobody watches */
    struct err lost;     /* why it was given up */
    struct list watches, actions;
    size_t watch_count, action_count;
    struct loop_timer sweep;
    uint64_t wrong_ms, wrong_count; /* tokens in the last minute */
    uint64_t idle_since_ms;         /* 0: somebody watches */
};

/* Opens the queue if it is not. */
int web_connect(struct web *w, struct err *err);

/* web_watch.c */
void web_watch_request(struct web *w, struct http_exchange *x, const struct http_request *r);
void web_watch_link(struct web *w, bool up, const struct err *why);
void web_watch_hurry(struct web *w);
/* Drops what nobody looks at. Whether somebody watches. */
bool web_watch_sweep(struct web *w, uint64_t now_ms);
void web_watch_stop(struct web *w);
void web_watch_free(struct web *w);

/* web_act.c */
void web_act_request(struct web *w, struct http_exchange *x, const struct http_request *r);
/* /explain?job=NAME[&chunk=N]: only looks. */
void web_act_explain(struct web *w, struct http_exchange *x, const struct http_request *r);

#endif
