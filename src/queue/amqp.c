/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/amqp.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/realclock.h"

enum {
    PAUSE_MS_MIN = 50,
    PAUSE_MS_MAX = 2000,
    TICK_MS = 50,
    GONE_TRIES = 3,    /* a queue is missing: whoever makes it again needs a moment */
    ANSWER_MS = 3000,  /* to a question */
    LASTED_MS = 15000, /* longer than any answer is waited for: such a connection was in order */
    IN_VAIN = 3,       /* connections, until somebody is told */
    TEXT_BYTES = 256 << 20,
};

static struct amqp_engine *engine_of(struct queue *q)
{
    return container_of(q, struct amqp_engine, queue);
}

uint64_t amqp_wall_ms(void)
{
    struct clock *c = realclock();
    return c->wall_ms(c);
}

/* --- calls and their answers --- */

static struct amqp_wait *wait_new(struct amqp_engine *e, amqp_answer_fn *fn, void *ctx)
{
    struct amqp_wait *wait = mem_zalloc(sizeof *wait);
    ensure(wait != NULL); /* without memory nothing can be promised any more */
    wait->id = ++e->next_id;
    wait->fn = fn;
    wait->ctx = ctx;
    list_push_back(&e->waits, &wait->link);
    return wait;
}

static void post(struct amqp_engine *e, struct amqp_call *call)
{
    if (!e->wire) /* being closed: whoever hears of it may not know yet */
        return;
    call->gen = e->gen;
    int rc = amqp_wire_post(e->wire, call);
    ensure(rc == 0);
}

void amqp_post(struct amqp_engine *e, struct amqp_call *call, amqp_answer_fn *fn, void *ctx)
{
    call->id = fn ? wait_new(e, fn, ctx)->id : 0;
    post(e, call);
}

void amqp_ask(struct amqp_engine *e, struct str words, amqp_answer_fn *fn, void *ctx)
{
    struct amqp_wait *wait = wait_new(e, fn, ctx);
    struct amqp_call call = {
        .op = AMQP_ASK, .queue = str_of(e->names.control), .tag = wait->id, .body = words};
    wait->until_ms = loop_now_ms(e->queue.loop) + ANSWER_MS;
    post(e, &call);
}

void amqp_announce(struct amqp_engine *e, struct str what)
{
    struct amqp_call call = {.op = AMQP_ANNOUNCE, .queue = str_of(e->names.job), .body = what};
    amqp_post(e, &call, NULL, NULL);
}

static void answer(struct amqp_engine *e, uint64_t id, const struct amqp_event *event)
{
    list_each(it, &e->waits)
    {
        struct amqp_wait *wait = container_of(it, struct amqp_wait, link);
        if (wait->id != id)
            continue;
        list_remove(it);
        wait->fn(e, wait->ctx, event->rc, event);
        mem_free(wait);
        return;
    }
}

/* Whoever was asked may have died meanwhile. */
static void expire(struct amqp_engine *e)
{
    uint64_t now_ms = loop_now_ms(e->queue.loop), gen = e->gen;
    list_each(it, &e->waits)
    {
        struct amqp_wait *wait = container_of(it, struct amqp_wait, link);
        if (wait->until_ms == 0 || wait->until_ms > now_ms)
            continue;
        list_remove(it);
        wait->fn(e, wait->ctx, TTG_ETIMEOUT, NULL);
        mem_free(wait);
        if (e->gen != gen)
            return; /* it cut the connection: all have been told */
        expire(e);
        return;
    }
}

/* --- requests --- */

static bool repeatable(const struct queue_request *r)
{
    switch (r->verb) {
    case QUEUE_JOIN:
    case QUEUE_TAKE:
    case QUEUE_COMMIT:
    case QUEUE_FAIL:
    case QUEUE_BEAT:
        return false;
    default:
        return true;
    }
}

/* A connection is for the job that it was first asked about: its queues are declared, its collector
 * is open. */
static bool is_of_our_job(struct amqp_engine *e, const struct queue_call *call)
{
    struct amqp_names names = {0};
    amqp_names_of(&names, call->job);
    if (!e->named)
        e->names = names;
    e->named = true;
    return strcmp(names.tasks, e->names.tasks) == 0;
}

static void dispatch(struct amqp_engine *e, struct queue_request *r)
{
    struct queue_call *call = container_of(r, struct queue_call, request);
    struct err err;
    r->sent = true;
    r->step = 0;
    if (r->verb != QUEUE_LIST && !is_of_our_job(e, call)) {
        err_set(&err, TTG_EUNSUPPORTED, "on RabbitMQ one process is for one job: start another");
        queue_finish(r, err.code, &err);
        return;
    }
    if (r->verb == QUEUE_DEPTHS)
        amqp_depths_send(e, r);
    if (r->verb == QUEUE_DEPTHS || amqp_worker_send(e, r) || amqp_collect_send(e, r))
        return;
    err_set(&err, TTG_EUNSUPPORTED, "a RabbitMQ broker cannot do this from here");
    queue_finish(r, err.code, &err);
}

static void engine_send(struct queue *q, struct queue_request *r)
{
    struct amqp_engine *e = engine_of(q);
    if (q->lost)
        queue_finish(r, TTG_EUNREACH, &q->why_lost);
    else if (q->up)
        loop_async_send(&e->news); /* answers come from the loop, never from inside a send */
}

static void dispatch_waiting(struct amqp_engine *e)
{
    struct list waiting;
    list_init(&waiting);
    list_each(it, &e->queue.requests)
    {
        if (container_of(it, struct queue_request, link)->sent)
            continue;
        list_remove(it);
        list_push_back(&waiting, it);
    }
    for (struct list *it; (it = list_first(&waiting));) {
        list_remove(it);
        list_push_back(&e->queue.requests, it);
        if (e->queue.up)
            dispatch(e, container_of(it, struct queue_request, link));
    }
}

/* --- the connection --- */

static bool hopeless(int code)
{
    return code == TTG_EAUTH || code == TTG_EUSAGE || code == TTG_EUNSUPPORTED ||
           code == TTG_EINVAL;
}

static void engine_connect(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_CONNECT, .number = e->host};
    e->gen++;
    amqp_post(e, &call, NULL, NULL);
}

static void engine_retry(struct amqp_engine *e, const struct err *why)
{
    uint64_t now_ms = loop_now_ms(e->queue.loop), pause_ms = PAUSE_MS_MIN;
    char where[URL_TEXT_BYTES_MAX];
    struct err err;
    e->tries++;
    e->host++;
    if (hopeless(why->code) || now_ms - e->cut_ms >= e->queue.config->retry_ms) {
        url_show(e->queue.config->url, where);
        if (hopeless(why->code))
            err_set(&err, why->code, "%s: %s", where, why->text);
        else if (e->in_vain > 0)
            err_set(&err, TTG_EUNREACH,
                    "the broker %s answers, and the job's queues (%s and others) do not, for %.1f "
                    "s: %.200s; the broker's log says why, see also ttg doctor",
                    where, e->names.job, (double)(now_ms - e->cut_ms) / 1000, why->text);
        else
            err_set(&err, TTG_EUNREACH, "no connection to %s for %.1f s: %s", where,
                    (double)(now_ms - e->cut_ms) / 1000, why->text);
        queue_lose(&e->queue, &err);
        return;
    }
    for (uint64_t i = 1; i < e->tries && pause_ms < PAUSE_MS_MAX; i++)
        pause_ms *= 2;
    log_debug("queue.retry", kv_u64("tries", e->tries), kv_str("reason", why->text));
    loop_timer_after_ms(&e->timer, pause_ms / 2 + prng_below(&e->prng, pause_ms + 1));
}

/* A broker whose disk lost something may take connections and refuse every queue. So our patience
 * begins anew only with the end of a connection that was of use. */
static void count_cut(struct amqp_engine *e, const struct err *why)
{
    uint64_t now_ms = loop_now_ms(e->queue.loop), retry_ms = e->queue.config->retry_ms;
    uint64_t lasted_ms = retry_ms < LASTED_MS ? retry_ms : LASTED_MS;
    if (e->useful || now_ms - e->up_ms >= lasted_ms) {
        e->cut_ms = now_ms;
        e->tries = e->in_vain = 0;
    } else if (++e->in_vain == IN_VAIN) {
        log_warn("queue.refuses", kv_str("reason", why->text),
                 kv_str("then", "the broker answers, the job's queues do not; trying again"));
    }
    if (why->code == TTG_ENOENT && e->tries < GONE_TRIES)
        e->tries = GONE_TRIES;
}

/* All that was under way is over: whoever waits is told, requests that may be repeated wait. */
void amqp_cut(struct amqp_engine *e, const struct err *why)
{
    struct queue *q = &e->queue;
    struct err err = *why;
    bool was_up = q->up;
    struct list waits, ended;
    if (q->lost)
        return;
    q->up = e->blocked = false;
    e->gen++; /* late events of the old connection do not count */
    loop_timer_stop(&e->tick);
    if (was_up)
        count_cut(e, &err);
    else
        e->in_vain = 0;
    list_init(&waits);
    for (struct list *it; (it = list_first(&e->waits));) {
        list_remove(it);
        list_push_back(&waits, it);
    }
    for (struct list *it; (it = list_first(&waits));) {
        struct amqp_wait *wait = container_of(it, struct amqp_wait, link);
        list_remove(it);
        wait->fn(e, wait->ctx, TTG_ECLOSED, NULL);
        mem_free(wait);
    }
    amqp_worker_down(e);
    amqp_collect_down(e, &err);
    list_init(&ended);
    list_each(it, &q->requests)
    {
        struct queue_request *r = container_of(it, struct queue_request, link);
        if (r->sent && !repeatable(r)) {
            list_remove(it);
            list_push_back(&ended, it);
        }
        r->sent = false;
    }
    engine_retry(e, &err);
    for (struct list *it; (it = list_first(&ended));)
        queue_finish(container_of(it, struct queue_request, link), TTG_ECLOSED, &err);
    if (was_up && !q->lost && q->config->on_down)
        q->config->on_down(q->config->ctx, &err);
}

static void engine_up(struct amqp_engine *e)
{
    e->queue.up = true;
    e->useful = false;
    e->up_ms = loop_now_ms(e->queue.loop);
    loop_timer_after_ms(&e->tick, TICK_MS);
    log_debug("queue.up", kv_bool("again", e->again));
    e->again = true;
    amqp_collect_up(e);
    if (e->queue.config->on_up)
        e->queue.config->on_up(e->queue.config->ctx);
}

static void on_event(struct amqp_engine *e, const struct amqp_event *event)
{
    struct err err;
    switch (event->kind) {
    case AMQP_UP:
        engine_up(e);
        break;
    case AMQP_DOWN:
        err_set(&err, event->rc, "%.*s", STR_ARG(event->body));
        amqp_cut(e, &err);
        break;
    case AMQP_DONE:
        answer(e, event->id, event);
        break;
    case AMQP_REPLIED:
        e->useful = true;
        answer(e, event->tag, event);
        break;
    case AMQP_ASKED:
        e->useful = true;
        amqp_collect_event(e, event);
        break;
    case AMQP_DELIVERY:
    case AMQP_HEARD:
        e->useful = true;
        if (event->kind == AMQP_DELIVERY)
            amqp_astray_came(&e->astray);
        amqp_worker_event(e, event);
        amqp_collect_event(e, event);
        break;
    case AMQP_BLOCKED:
        e->blocked = true;
        log_warn("queue.blocked", kv_s("reason", event->body),
                 kv_str("then", "the broker takes nothing for now; waiting, nothing is lost"));
        break;
    case AMQP_UNBLOCKED:
        e->blocked = false;
        log_info("queue.unblocked", kv_u64("waiting", e->queue.request_count));
        break;
    }
}

static void on_news(struct loop_async *a)
{
    struct amqp_engine *e = container_of(a, struct amqp_engine, news);
    struct list events;
    list_init(&events);
    amqp_wire_events(e->wire, &events);
    for (struct list *it; (it = list_first(&events));) {
        struct amqp_event *event = container_of(it, struct amqp_event, link);
        list_remove(it);
        if (event->gen == e->gen && !e->queue.lost)
            on_event(e, event);
        amqp_event_free(event);
    }
    if (e->queue.up)
        dispatch_waiting(e);
}

static void on_timer(struct loop_timer *t)
{
    engine_connect(container_of(t, struct amqp_engine, timer));
}

static void look_for_astray(struct amqp_engine *e)
{
    bool waits = e->marker.quorum && (amqp_worker_waits(e) || amqp_collect_waits(e));
    struct err err;
    if (amqp_astray_look(&e->astray, &e->prng, waits, loop_now_ms(e->queue.loop), &err))
        amqp_cut(e, &err);
}

static void on_tick(struct loop_timer *t)
{
    struct amqp_engine *e = container_of(t, struct amqp_engine, tick);
    loop_timer_after_ms(&e->tick, TICK_MS);
    expire(e);
    if (e->queue.up)
        amqp_worker_tick(e);
    if (e->queue.up)
        amqp_collect_tick(e);
    if (e->queue.up)
        look_for_astray(e);
}

/* --- life --- */

static void engine_close(struct queue *q)
{
    struct amqp_engine *e = engine_of(q);
    loop_timer_stop(&e->timer);
    loop_timer_stop(&e->tick);
    amqp_wire_close(e->wire);
    e->wire = NULL;
    q->up = false;
    loop_async_stop(&e->news);
    for (struct list *it; (it = list_first(&e->waits));) {
        struct amqp_wait *wait = container_of(it, struct amqp_wait, link);
        list_remove(it);
        wait->fn(e, wait->ctx, TTG_ECANCELED, NULL);
        mem_free(wait);
    }
    amqp_worker_free(e);
    amqp_collect_free(e);
    buf_done(&e->marker.texts);
    buf_done(&e->text);
    buf_done(&e->history);
    buf_done(&e->scratch);
    mem_free(e);
}

static const struct queue_engine amqp_engine = {.close = engine_close, .send = engine_send};

struct queue *amqp_engine_new(struct loop *loop, const struct queue_config *config, struct err *err)
{
    struct amqp_engine *e = mem_zalloc(sizeof *e);
    if (!e) {
        err_set(err, TTG_ENOMEM, "out of memory");
        return NULL;
    }
    e->queue = (struct queue){.engine = &amqp_engine, .config = config, .loop = loop};
    list_init(&e->queue.requests);
    list_init(&e->waits);
    e->cut_ms = loop_now_ms(loop);
    prng_init(&e->prng, config->seed);
    /* Not all on the first node of a cluster. */
    e->host = (uint32_t)prng_below(&e->prng, config->url->host_count);
    buf_init(&e->text, TEXT_BYTES);
    buf_init(&e->history, TEXT_BYTES);
    buf_init(&e->scratch, TEXT_BYTES);
    buf_init(&e->marker.texts, TEXT_BYTES);
    loop_timer_init(&e->timer, loop, on_timer);
    loop_timer_init(&e->tick, loop, on_tick);
    loop_async_start(&e->news, loop, on_news);
    if (amqp_wire_open(&e->wire, config, &e->news, err)) {
        loop_async_stop(&e->news);
        mem_free(e);
        return NULL;
    }
    loop_timer_after_ms(&e->timer, 0);
    return &e->queue;
}
