/* SPDX-License-Identifier: Apache-2.0 */
#include "node/health.h"

#include "io/http.h"

static void answer_metrics(struct node *n, struct http_exchange *x)
{
    struct buf body;
    buf_init(&body, HTTP_ANSWER_BYTES_MAX);
    if (metrics_write(n, &body))
        http_answer_text(x, "500 Internal Server Error", "out of memory\n");
    else
        http_answer(x, "200 OK", "text/plain; version=0.0.4; charset=utf-8", NULL, buf_str(&body));
    buf_done(&body);
}

static void answer_ready(const struct node *n, struct http_exchange *x)
{
    if (n->stopping)
        http_answer_text(x, "503 Service Unavailable", "stopping\n");
    else if (n->disk_full)
        http_answer_text(x, "503 Service Unavailable", "disk full\n");
    else
        http_answer_text(x, "200 OK", "ready\n");
}

static void on_request(void *ctx, struct http_exchange *x, const struct http_request *r)
{
    struct node *n = ctx;
    bool asks = !str_eq(r->method, STR("POST"));
    if (asks && str_eq(r->path, STR("/metrics")))
        answer_metrics(n, x);
    else if (asks && str_eq(r->path, STR("/healthz")))
        http_answer_text(x, "200 OK", "ok\n");
    else if (asks && str_eq(r->path, STR("/readyz")))
        answer_ready(n, x);
    else if (n->options.on_http)
        n->options.on_http(n->options.on_http_ctx, x, r);
    else
        http_answer_text(x, "404 Not Found", "try /metrics, /healthz or /readyz\n");
}

int health_open(struct node *n, const char *address, struct err *err)
{
    struct http_config config = {.address = address, .ctx = n, .on_request = on_request};
    return http_open(&n->http, n->loop, &config, err);
}
