/* SPDX-License-Identifier: Apache-2.0 */
/* pipe_amqp - a pipe on RabbitMQ.
 *
 * An inbox is a durable queue with one exclusive consumer. Before it consumes, the owner declares a
 * queue that belongs to its connection alone: while another owner lives, the broker says so
 * politely there, where a refused consumer would cost the connection. The broker closes the
 * connection of an owner that falls silent (heartbeats), gives its messages back in their order,
 * and only then lets the next one consume. A commit is: publish all, wait for all confirms,
 * acknowledge. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prng.h"
#include "io/loop.h"
#include "queue/amqp_astray.h"
#include "queue/amqp_wire.h"
#include "queue/pipe_impl.h"
#include "queue/queue.h"

#include <stdio.h>

enum {
    PAUSE_MS_MIN = 20,
    PAUSE_MS_MAX = 1000,
    TAKEN_PAUSE_MS = 100, /* the last owner's connection is still open */
    WAIT_MS = 1000,       /* between looks whether a delivery went astray */
    LOOK_MS = 100,        /* a length older than that is asked for with a commit */
    NAME_BYTES = PIPE_NAME_BYTES + 80,
};

/* Ids of calls: what their answers mean. */
enum { ID_LOCK = 1, ID_INBOX, ID_CONSUME, ID_CONFIRM, ID_DOWN };

struct pipe_amqp {
    struct pipe pipe;
    struct amqp_wire *wire;
    struct loop_async news;
    struct loop_timer timer, soon, wait;
    struct amqp_astray astray;
    struct prng prng;
    uint64_t gen, cut_ms, tries, looked_ms;
    uint32_t host;
    bool up, was_up, locked;
    size_t downs_due;   /* answers to declarations of downs */
    bool looking;       /* on_looked is due */
    size_t unconfirmed; /* of the commit */
    uint64_t acked, last_tag, tag_base;
    uint64_t settled; /* acknowledged by an earlier commit */
};

static struct pipe_amqp *amqp_of(struct pipe *p)
{
    return container_of(p, struct pipe_amqp, pipe);
}

static void name_of(const struct pipe_amqp *p, char out[NAME_BYTES], const char *kind,
                    const char *inbox)
{
    snprintf(out, NAME_BYTES, "ttg.%s.%s.%s", p->pipe.config.name, kind, inbox);
}

/* A message that kills its reader each time is the stage's business, not the broker's. */
static unsigned kind_flags(const struct pipe_amqp *p)
{
    const char *type = p->pipe.config.queue->queue_type;
    return type && strcmp(type, "quorum") == 0 ? AMQP_QUORUM | AMQP_LOOKED_AT : 0;
}

static void post(struct pipe_amqp *p, struct amqp_call *call)
{
    call->gen = p->gen;
    ensure(amqp_wire_post(p->wire, call) == 0); /* without memory nothing can be promised */
}

/* --- the connection --- */

static void on_timer(struct loop_timer *t)
{
    struct pipe_amqp *p = container_of(t, struct pipe_amqp, timer);
    if (p->up) { /* the lock was taken: once more */
        char name[NAME_BYTES];
        name_of(p, name, "owner", p->pipe.config.inbox);
        post(p, &(struct amqp_call){.op = AMQP_DECLARE,
                                    .id = ID_LOCK,
                                    .queue = str_of(name),
                                    .flags = AMQP_EXCLUSIVE});
        return;
    }
    p->gen++;
    post(p, &(struct amqp_call){.op = AMQP_CONNECT, .number = p->host});
}

static void cut(struct pipe_amqp *p, const struct err *why)
{
    uint64_t now_ms = loop_now_ms(p->pipe.loop), pause_ms = PAUSE_MS_MIN;
    bool hopeless = (why->code == TTG_EAUTH || why->code == TTG_EUSAGE) && !p->was_up;
    if (p->up) {
        p->cut_ms = now_ms;
        p->tries = 0;
    }
    loop_timer_stop(&p->soon);
    loop_timer_stop(&p->wait);
    p->up = p->locked = p->looking = false;
    p->pipe.ready = p->pipe.committing = false;
    p->gen++; /* late events do not count */
    p->tries++;
    p->host++;
    if (hopeless || now_ms - p->cut_ms >= p->pipe.config.queue->retry_ms) {
        char where[URL_TEXT_BYTES_MAX];
        struct err err;
        url_show(p->pipe.config.queue->url, where);
        err_set(&err, hopeless ? why->code : TTG_EUNREACH, "%s: %s", where, why->text);
        pipe_lose(&p->pipe, &err);
        return;
    }
    for (uint64_t i = 1; i < p->tries && pause_ms < PAUSE_MS_MAX; i++)
        pause_ms *= 2;
    log_debug("queue.retry", kv_u64("tries", p->tries), kv_str("reason", why->text));
    loop_timer_after_ms(&p->timer, pause_ms / 2 + prng_below(&p->prng, pause_ms + 1));
}

static void on_wait(struct loop_timer *t)
{
    struct pipe_amqp *p = container_of(t, struct pipe_amqp, wait);
    bool has_some = p->last_tag > 0 && p->last_tag - p->tag_base > p->settled;
    bool waits = p->locked && p->pipe.ready && !p->pipe.committing && !has_some;
    struct err err;
    loop_timer_after_ms(&p->wait, WAIT_MS);
    if (amqp_astray_look(&p->astray, &p->prng, waits, loop_now_ms(p->pipe.loop), &err))
        cut(p, &err);
}

static void declare_downs(struct pipe_amqp *p)
{
    char name[NAME_BYTES];
    p->looked_ms = loop_now_ms(p->pipe.loop);
    for (size_t i = 0; i < p->pipe.config.down_count; i++) {
        name_of(p, name, "pipe", p->pipe.config.downs[i]);
        post(p, &(struct amqp_call){.op = AMQP_DECLARE,
                                    .id = ID_DOWN + i,
                                    .queue = str_of(name),
                                    .flags = kind_flags(p)});
        p->downs_due++;
    }
}

static void on_up(struct pipe_amqp *p)
{
    p->up = p->was_up = true;
    p->downs_due = p->unconfirmed = 0;
    p->last_tag = p->tag_base = p->settled = 0;
    if (kind_flags(p) & AMQP_QUORUM)
        loop_timer_after_ms(&p->wait, WAIT_MS);
    declare_downs(p);
    if (p->pipe.config.inbox)
        on_timer(&p->timer);
    else if (p->downs_due == 0) {
        p->pipe.ready = true;
        p->pipe.config.on_ready(p->pipe.config.ctx);
    }
}

/* --- answers --- */

static void start_consuming(struct pipe_amqp *p)
{
    char name[NAME_BYTES];
    name_of(p, name, "pipe", p->pipe.config.inbox);
    post(p, &(struct amqp_call){
                .op = AMQP_DECLARE, .id = ID_INBOX, .queue = str_of(name), .flags = kind_flags(p)});
    post(p, &(struct amqp_call){.op = AMQP_CONSUME,
                                .id = ID_CONSUME,
                                .queue = str_of(name),
                                .tag = 1,
                                .number = p->pipe.config.credit,
                                .flags = AMQP_EXCLUSIVE});
}

static void end_commit(struct pipe_amqp *p)
{
    if (p->acked > 0) {
        post(p, &(struct amqp_call){
                    .op = AMQP_ACK, .tag = p->acked + p->tag_base, .flags = AMQP_MULTIPLE});
        p->settled = p->acked;
    }
    p->pipe.committing = false;
    p->pipe.config.on_committed(p->pipe.config.ctx);
}

static void on_lock(struct pipe_amqp *p, const struct amqp_event *e)
{
    if (e->rc == TTG_EBUSY) {
        loop_timer_after_ms(&p->timer, TAKEN_PAUSE_MS);
        return;
    }
    p->locked = true;
    start_consuming(p);
}

static void become_ready(struct pipe_amqp *p)
{
    if (p->pipe.ready || p->downs_due > 0 || (p->pipe.config.inbox && !p->locked))
        return;
    p->pipe.ready = true;
    p->pipe.config.on_ready(p->pipe.config.ctx);
}

static void on_length(struct pipe_amqp *p, size_t i, const struct amqp_event *e)
{
    if (i >= p->pipe.config.down_count || p->downs_due == 0)
        return;
    p->pipe.lengths[i] = e->count;
    if (--p->downs_due > 0)
        return;
    if (p->looking && p->pipe.ready) {
        p->looking = false;
        p->pipe.config.on_looked(p->pipe.config.ctx);
    } else {
        become_ready(p);
    }
}

static void on_done(struct pipe_amqp *p, const struct amqp_event *e)
{
    struct err err;
    if (e->rc && !(e->id == ID_LOCK && e->rc == TTG_EBUSY)) {
        err_set(&err, e->rc, "%.*s", STR_ARG(e->body));
        if (e->rc == TTG_EUSAGE) /* such a queue is there, of another kind */
            pipe_lose(&p->pipe, &err);
        else
            cut(p, &err);
        return;
    }
    switch (e->id) {
    case ID_LOCK:
        on_lock(p, e);
        break;
    case ID_INBOX:
        break;
    case ID_CONSUME:
        become_ready(p);
        break;
    case ID_CONFIRM:
        if (p->pipe.committing && p->unconfirmed > 0 && --p->unconfirmed == 0)
            end_commit(p);
        break;
    default:
        on_length(p, (size_t)(e->id - ID_DOWN), e);
    }
}

static void on_delivery(struct pipe_amqp *p, const struct amqp_event *e)
{
    become_ready(p); /* a delivery may overtake the answer to the consumer */
    if (!p->pipe.ready) {
        struct err err;
        err_set(&err, TTG_EAGAIN, "starting afresh");
        cut(p, &err);
        return;
    }
    amqp_astray_came(&p->astray);
    if (p->last_tag == 0)
        p->tag_base = e->tag - 1;
    p->last_tag = e->tag;
    p->pipe.config.on_message(p->pipe.config.ctx, e->tag - p->tag_base, e->body);
}

static void on_event(struct pipe_amqp *p, const struct amqp_event *e)
{
    struct err err;
    switch (e->kind) {
    case AMQP_UP:
        on_up(p);
        break;
    case AMQP_DOWN:
        err_set(&err, e->rc, "%.*s", STR_ARG(e->body));
        cut(p, &err);
        break;
    case AMQP_DONE:
        on_done(p, e);
        break;
    case AMQP_DELIVERY:
        on_delivery(p, e);
        break;
    case AMQP_BLOCKED:
        log_warn("queue.blocked", kv_s("reason", e->body),
                 kv_str("then", "the broker takes nothing for now; waiting, nothing is lost"));
        break;
    default:
        break;
    }
}

static void on_news(struct loop_async *a)
{
    struct pipe_amqp *p = container_of(a, struct pipe_amqp, news);
    struct list events;
    list_init(&events);
    amqp_wire_events(p->wire, &events);
    for (struct list *it; (it = list_first(&events));) {
        struct amqp_event *e = container_of(it, struct amqp_event, link);
        list_remove(it);
        if (e->gen == p->gen && !p->pipe.lost)
            on_event(p, e);
        amqp_event_free(e);
    }
}

/* --- the interface --- */

/* Nothing was sent, so there is nothing to wait for; but not from inside the call. */
static void on_soon(struct loop_timer *t)
{
    end_commit(container_of(t, struct pipe_amqp, soon));
}

static int amqp_pipe_commit(struct pipe *pipe, const struct pipe_out *outs, size_t out_count,
                            uint64_t acked)
{
    struct pipe_amqp *p = amqp_of(pipe);
    char name[NAME_BYTES];
    p->acked = acked;
    p->unconfirmed = out_count;
    for (size_t i = 0; i < out_count; i++) {
        name_of(p, name, "pipe", outs[i].to);
        post(p, &(struct amqp_call){.op = AMQP_PUBLISH,
                                    .id = ID_CONFIRM,
                                    .queue = str_of(name),
                                    .body = outs[i].body});
    }
    if (out_count == 0)
        loop_timer_after_ms(&p->soon, 0);
    if (loop_now_ms(pipe->loop) - p->looked_ms >= LOOK_MS && p->downs_due == 0 && out_count > 0)
        declare_downs(p);
    return 0;
}

static int amqp_pipe_remove(struct pipe *pipe)
{
    struct pipe_amqp *p = amqp_of(pipe);
    char name[NAME_BYTES];
    p->acked = 0;
    p->unconfirmed = pipe->config.down_count;
    for (size_t i = 0; i < pipe->config.down_count; i++) {
        name_of(p, name, "pipe", pipe->config.downs[i]);
        post(p, &(struct amqp_call){.op = AMQP_DELETE, .id = ID_CONFIRM, .queue = str_of(name)});
    }
    return 0;
}

static void amqp_pipe_look(struct pipe *pipe)
{
    struct pipe_amqp *p = amqp_of(pipe);
    p->looking = true;
    if (p->downs_due == 0)
        declare_downs(p);
}

static void amqp_pipe_close(struct pipe *pipe)
{
    struct pipe_amqp *p = amqp_of(pipe);
    loop_timer_stop(&p->timer);
    loop_timer_stop(&p->soon);
    loop_timer_stop(&p->wait);
    amqp_wire_close(p->wire);
    loop_async_stop(&p->news);
    mem_free(p);
}

static const struct pipe_engine amqp_pipe = {.close = amqp_pipe_close,
                                             .commit = amqp_pipe_commit,
                                             .remove = amqp_pipe_remove,
                                             .look = amqp_pipe_look};

struct pipe *pipe_amqp_new(struct loop *loop, const struct pipe_config *config, struct err *err)
{
    struct pipe_amqp *p = mem_zalloc(sizeof *p);
    uint64_t *lengths = mem_array(config->down_count + 1, sizeof *lengths);
    if (!p || !lengths) {
        mem_free(p);
        mem_free(lengths);
        err_set(err, TTG_ENOMEM, "out of memory");
        return NULL;
    }
    memset(lengths, 0, (config->down_count + 1) * sizeof *lengths);
    p->pipe =
        (struct pipe){.engine = &amqp_pipe, .config = *config, .loop = loop, .lengths = lengths};
    p->cut_ms = loop_now_ms(loop);
    prng_init(&p->prng, config->queue->seed);
    loop_timer_init(&p->timer, loop, on_timer);
    loop_timer_init(&p->soon, loop, on_soon);
    loop_timer_init(&p->wait, loop, on_wait);
    loop_async_start(&p->news, loop, on_news);
    if (amqp_wire_open(&p->wire, config->queue, &p->news, err)) {
        loop_async_stop(&p->news);
        mem_free(lengths);
        mem_free(p);
        return NULL;
    }
    loop_timer_after_ms(&p->timer, 0);
    return &p->pipe;
}
