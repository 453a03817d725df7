/* SPDX-License-Identifier: Apache-2.0 */
/* web - the dashboard: one page, its data as a stream of events, and a few actions.
 *
 * It answers requests that an HTTP server hands to it, in `ttg monitor --web` as well as on a
 * node's port, and asks the queue only while somebody watches. The page holds no secrets and is
 * given to everybody. Data needs the token, unless `open`: then this machine alone can reach it,
 * and a Host header that is a name is refused, so that no foreign page gets at it through a DNS
 * trick. Actions always need the token, which the page sends in a header, never in a cookie. */
#ifndef TTG_MONITOR_WEB_H
#define TTG_MONITOR_WEB_H

#include "io/http.h"
#include "queue/queue.h"

enum {
    WEB_TOKEN_BYTES_MIN = 16,
    WEB_TOKEN_BYTES_MAX = 512,
    WEB_WATCHES_MAX = 8, /* jobs looked at at a time */
    WEB_LINES_MAX = 12,  /* connections to a RabbitMQ broker: each is for one job */
    WEB_PERIOD_MS = 500,
    WEB_IDLE_MS = 60000, /* nobody watches: the queue is left alone */
};

struct web;

struct web_config {
    struct loop *loop;
    struct queue_config queue; /* its callbacks are ours; pointers stay the caller's */
    const char *job;           /* shown first; NULL: the newest */
    const char *management; /* http://HOST:PORT of a RabbitMQ broker; NULL: where it usually is */
    const char *token;      /* NULL: no actions, and no data unless open */
    bool open;
};

int web_open(struct web **ret_web, const struct web_config *config, struct err *err);
/* Streams end. NULL is fine. */
void web_close(struct web *w);
/* Answers. */
void web_request(struct web *w, struct http_exchange *x, const struct http_request *r);

/* Answers /metrics with the figures of this process and of the queue's jobs. */
void web_metrics(struct web *w, struct http_exchange *x);

/* Files of the page, packed with gzip; made of web/ at build time. The last has no path. */
struct web_file {
    const char *path, *type;
    const unsigned char *bytes;
    size_t len;
};
extern const struct web_file web_files[];

#endif
