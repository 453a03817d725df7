/* SPDX-License-Identifier: Apache-2.0 */
/* web_state - what the files of the dashboard share: web.c (requests, who may what), web_line.c
 * (connections to the queue), web_watch.c (jobs being watched, and by whom), web_act.c (actions).
 *
 * A line is a connection. Mostly one serves all jobs; on RabbitMQ each is for one job. */
#ifndef TTG_MONITOR_WEB_STATE_H
#define TTG_MONITOR_WEB_STATE_H

#include "base/list.h"
#include "monitor/feed.h"
#include "monitor/web.h"

struct web {
    struct web_config config;
    struct list lines;
    size_t line_count, watch_count, action_count;
    struct loop_timer sweep;
    uint64_t wrong_ms, wrong_count; /* tokens in the last minute */
};

struct web_line {
    struct list link;
    struct web *web;
    char job[MODEL_NAME_BYTES]; /* that it is for; "": for all */
    struct queue_config config;
    struct queue *queue;
    struct err lost; /* why it was given up */
    struct list watches;
    size_t action_count;
    uint64_t idle_since_ms; /* 0: somebody watches */
};

/* The line for a job ("": whichever comes first), opened if there is none. NULL: `err` says why. */
struct web_line *web_line(struct web *w, const char *job, struct err *err);
/* Closes what nobody has used for a while. */
void web_line_sweep(struct web *w, uint64_t now_ms);
void web_line_close_all(struct web *w);

/* web_watch.c */
void web_watch_request(struct web *w, struct http_exchange *x, const struct http_request *r);
void web_watch_link(struct web_line *line, bool up, const struct err *why);
void web_watch_hurry(struct web_line *line);
/* Drops what nobody looks at. Whether somebody watches. */
bool web_watch_sweep(struct web_line *line, uint64_t now_ms);
void web_watch_stop(struct web_line *line);
void web_watch_free(struct web_line *line);

/* web_act.c */
void web_act_request(struct web *w, struct http_exchange *x, const struct http_request *r);
/* /explain?job=NAME[&chunk=N]: only looks. */
void web_act_explain(struct web *w, struct http_exchange *x, const struct http_request *r);

#endif
