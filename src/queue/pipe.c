/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"
#include "base/mem.h"
#include "queue/pipe_impl.h"
#include "queue/queue.h"
#include "queue/url.h"

int pipe_open(struct pipe **ret_pipe, struct loop *loop, const struct pipe_config *config,
              struct err *err)
{
    struct pipe *p = NULL;
    struct err why = {0};
    ensure(config->down_count <= PIPE_DOWNS_MAX);
    switch (config->queue->url->scheme) {
    case URL_TTG_UNIX:
    case URL_TTG:
    case URL_REDIS:
        p = pipe_resp_new(loop, config, &why);
        break;
    case URL_AMQP:
        p = pipe_amqp_new(loop, config, &why);
        break;
    default:
        err_set(&why, TTG_EUNSUPPORTED,
                "a pipeline needs a ttg node, a single Redis or RabbitMQ "
                "(ttg://, ttg+unix:, redis://, amqp://)");
    }
    if (!p) {
        if (err)
            *err = why;
        return why.code;
    }
    *ret_pipe = p;
    return 0;
}

void pipe_close(struct pipe *p)
{
    if (!p)
        return;
    uint64_t *lengths = p->lengths;
    p->engine->close(p);
    mem_free(lengths);
}

int pipe_commit(struct pipe *p, const struct pipe_out *outs, size_t out_count, uint64_t acked)
{
    if (p->lost)
        return TTG_ECLOSED;
    if (!p->ready)
        return 0;
    ensure(!p->committing);
    int rc = p->engine->commit(p, outs, out_count, acked);
    p->committing = rc == 0;
    return rc;
}

int pipe_remove(struct pipe *p)
{
    ensure(!p->config.inbox);
    if (p->lost)
        return TTG_ECLOSED;
    if (!p->ready)
        return 0;
    ensure(!p->committing);
    int rc = p->engine->remove(p);
    p->committing = rc == 0;
    return rc;
}

bool pipe_is_ready(const struct pipe *p)
{
    return p->ready;
}

uint64_t pipe_backlog(const struct pipe *p)
{
    uint64_t most = 0;
    for (size_t i = 0; i < p->config.down_count; i++)
        most = p->lengths[i] > most ? p->lengths[i] : most;
    return most;
}

uint64_t pipe_backlog_of(const struct pipe *p, size_t i)
{
    ensure(i < p->config.down_count);
    return p->lengths[i];
}

void pipe_look(struct pipe *p)
{
    if (p->ready && !p->lost)
        p->engine->look(p);
}

void pipe_lose(struct pipe *p, const struct err *err)
{
    if (p->lost)
        return;
    p->lost = true;
    p->ready = false;
    p->config.on_lost(p->config.ctx, err);
}
