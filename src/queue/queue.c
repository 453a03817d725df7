/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue.h"

#include "base/ensure.h"
#include "io/loop.h"
#include "io/tls.h"
#include "queue/engine.h"

enum { WORDS_BYTES_MAX = 512 << 20 };

int queue_open(struct queue **ret_queue, struct loop *loop, const struct queue_config *config,
               struct err *err)
{
    struct queue *q = NULL;
    struct err why = {0};
    enum url_scheme scheme = config->engine ? URL_TTG : config->url->scheme;
    switch (scheme) {
    case URL_TTG_UNIX:
    case URL_TTG:
    case URL_REDIS:
    case URL_REDIS_SENTINEL:
    case URL_REDIS_CLUSTER:
        q = (config->engine ? config->engine : resp_engine_new)(loop, config, &why);
        break;
    case URL_EMBEDDED:
        err_set(&why, TTG_EUSAGE, "an embedded queue is reached through the node that serves it");
        break;
    case URL_AMQP:
        q = amqp_engine_new(loop, config, &why);
        break;
    }
    if (!q) {
        if (err)
            *err = why;
        return why.code;
    }
    *ret_queue = q;
    return 0;
}

bool queue_is_one(const struct queue_config *config)
{
    return !config->engine && config->url->scheme == URL_AMQP;
}

int queue_tls(const struct queue_config *config, struct tls **ret_tls, struct err *err)
{
    struct tls_options tls = {.cert_file = config->tls_cert,
                              .key_file = config->tls_key,
                              .ca_file = config->tls_ca,
                              .verify = !config->tls_no_verify};
    return tls_new(&tls, ret_tls, err);
}

void queue_close(struct queue *q)
{
    if (!q)
        return;
    struct err err;
    err_set(&err, TTG_ECANCELED, "the queue was closed");
    q->lost = true;
    q->why_lost = err;
    for (struct list *it; (it = list_first(&q->requests));)
        queue_finish(container_of(it, struct queue_request, link), TTG_ECANCELED, &err);
    q->engine->close(q);
}

bool queue_lines_stay(const struct queue *q)
{
    return q->engine->lines_stay;
}

bool queue_is_up(const struct queue *q)
{
    return q->up;
}

size_t queue_pending(const struct queue *q)
{
    return q->request_count;
}

void queue_request_init(struct queue_request *r, enum queue_verb verb,
                        void (*on_done)(struct queue_request *r, int rc, const struct err *err),
                        void *ctx)
{
    *r = (struct queue_request){.verb = verb, .on_done = on_done, .ctx = ctx};
    list_init(&r->link);
    buf_init(&r->words, WORDS_BYTES_MAX);
}

void queue_request_done(struct queue_request *r)
{
    ensure(!queue_request_busy(r));
    buf_done(&r->words);
}

void queue_send(struct queue *q, struct queue_request *r)
{
    ensure(!queue_request_busy(r));
    ensure(r->verb != QUEUE_DEPTHS || queue_is_one(q->config));
    r->queue = q;
    r->sent = false;
    list_push_back(&q->requests, &r->link);
    q->request_count++;
    q->engine->send(q, r);
}

void queue_finish(struct queue_request *r, int rc, const struct err *err)
{
    struct queue *q = r->queue;
    ensure(q);
    list_remove(&r->link);
    q->request_count--;
    r->queue = NULL;
    r->on_done(r, rc, err);
}

void queue_lose(struct queue *q, const struct err *err)
{
    if (q->lost)
        return;
    q->lost = true;
    q->up = false;
    q->why_lost = *err;
    for (struct list *it; (it = list_first(&q->requests));)
        queue_finish(container_of(it, struct queue_request, link), TTG_EUNREACH, &q->why_lost);
    if (q->config->on_lost)
        q->config->on_lost(q->config->ctx, &q->why_lost);
}
