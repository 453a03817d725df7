/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/resp.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/redis_list.h"

#include <stdio.h>

enum {
    IN_BYTES_MAX = 1 << 30,
    OUT_BYTES_MAX = 1 << 30,
    STRING_BYTES_MAX = 512 << 20,
    CONNECT_MS = 5000, /* for one try, greeting included */
    ANSWER_MS = 15000, /* silence while an answer is due: the other end hangs */
    PAUSE_MS_MIN = 50,
    PAUSE_MS_MIN_UNIX = 5, /* a node on this machine is back at once, */
    SOON_MS = 100,         /* mostly before this: then a look costs less than the wait */
    PAUSE_MS_MAX = 1000,   /* and half as much again by chance: below PRESENCE_MS of redis/lib */
    FOLLOW_MS = 2000,      /* between looks for another master while one serves */
    EAGER_MS = 5000,       /* a short outage ends before anybody takes us for lost */
    TELL_MS = 1000,
    PAUSE_MS_EAGER = 300,
    POLL_MS_MIN = 10,
    POLL_MS_MAX = 100,
};

static struct resp_engine *engine_of(struct queue *q)
{
    return container_of(q, struct resp_engine, queue);
}

static void engine_connect(struct resp_engine *e);

/* --- requests --- */

static bool repeatable(const struct queue_request *r)
{
    return r->verb != QUEUE_TAKE && r->verb != QUEUE_JOIN && r->verb != QUEUE_BEAT &&
           r->verb != QUEUE_COMMIT && r->verb != QUEUE_FAIL && r->verb != QUEUE_TRIM;
}

/* Encodes once; what fails here is our own limit, not the queue's. */
static void request_put(struct resp_engine *e, struct queue_request *r)
{
    size_t count;
    r->early = (struct err){0};
    r->behind = 0;
    r->answered = false;
    int rc = resp_encode(r, &count);
    if (!rc)
        rc = e->dialect->command(e, r, count, &e->conn.out);
    if (rc) {
        struct err err;
        err_set(&err, rc, "a request of %zu bytes cannot be sent: %s", buf_len(&r->words),
                err_text(rc));
        queue_finish(r, rc, &err);
        return;
    }
    r->sent = true;
}

static void engine_watch(struct resp_engine *e)
{
    struct list *first = list_first(&e->queue.requests);
    if (!first || !e->queue.up) {
        loop_timer_stop(&e->watch);
        return;
    }
    struct queue_request *r = container_of(first, struct queue_request, link);
    if (!loop_timer_is_set(&e->watch))
        loop_timer_after_ms(&e->watch, ANSWER_MS + resp_block_ms(r));
}

static void engine_send(struct queue *q, struct queue_request *r)
{
    struct resp_engine *e = engine_of(q);
    uint64_t block_ms = resp_block_ms(r);
    r->deadline_ms = loop_now_ms(q->loop) + block_ms;
    r->pause_ms = 0;
    r->with_text = false;
    r->step = 0;
    if (q->lost) {
        struct err err = q->why_lost;
        queue_finish(r, TTG_EUNREACH, &err);
        return;
    }
    if (r->verb == QUEUE_LIST && q->config->url->scheme == URL_REDIS_CLUSTER) {
        struct err err;
        redis_list_stop(e->list);
        e->list = NULL;
        int rc = redis_list_start(&e->list, (struct queue_list *)r, e->tls, &err);
        if (rc)
            queue_finish(r, rc, &err);
        return;
    }
    if (!q->up)
        return; /* goes out with the others once the connection stands */
    request_put(e, r);
    conn_send_all(&e->conn);
    engine_watch(e);
}

/* --- answers --- */

static void greeting_answer(struct resp_engine *e, struct str reply);

/* "Nothing yet" from an engine that cannot wait: is asked again after a growing pause. */
static bool ask_again(struct resp_engine *e, struct queue_request *r, int rc)
{
    uint64_t now_ms = loop_now_ms(e->queue.loop);
    if (!e->dialect->polls || resp_block_ms(r) == 0 || now_ms >= r->deadline_ms)
        return false;
    const struct queue_take *take = (const struct queue_take *)r;
    bool nothing = rc == TTG_EAGAIN || (!rc && r->verb == QUEUE_TAKE && take->run_count == 0 &&
                                        take->state <= LEDGER_PAUSED);
    if (!nothing)
        return false;
    r->pause_ms = r->pause_ms ? r->pause_ms * 2 : POLL_MS_MIN;
    if (r->pause_ms > POLL_MS_MAX)
        r->pause_ms = POLL_MS_MAX;
    /* Jitter, so that many idle workers do not ask in step. */
    r->pause_ms += prng_below(&e->prng, r->pause_ms / 2 + 1);
    return true;
}

/* Moves behind all that is sent, as its next answer does. */
static void request_to_tail(struct resp_engine *e, struct queue_request *r)
{
    list_remove(&r->link);
    list_push_back(&e->queue.requests, &r->link);
}

/* Whether the answer was only a step: the next one has been sent. */
static bool request_goes_on(struct resp_engine *e, struct queue_request *r, struct str reply)
{
    if (e->dialect->wants_text && !r->with_text && e->dialect->wants_text(r, reply)) {
        r->with_text = true;
        request_to_tail(e, r);
        request_put(e, r);
        conn_send_all(&e->conn);
        return true;
    }
    int step = e->dialect->next_step ? e->dialect->next_step(r, reply, &e->conn.out) : 0;
    if (step <= 0)
        return false;
    request_to_tail(e, r);
    conn_send_all(&e->conn);
    return true;
}

static void engine_cut(struct resp_engine *e, const struct err *why);

/* An answer that counts only with what follows it is put aside. True: not yet. In the end *reply is
 * that answer, and *ret_rc what those behind it say, unless it is an error itself. */
static bool request_waits(struct resp_engine *e, struct queue_request *r, struct str *reply,
                          int *ret_rc, struct err *err)
{
    *ret_rc = 0;
    if (r->behind == 0)
        return false;
    if (!r->answered) {
        buf_clear(&e->kept);
        r->answered = true;
        if (buf_add_str(&e->kept, *reply)) {
            r->early.code = err_set(&r->early, TTG_ENOMEM, "out of memory");
            buf_add_str(&e->kept, STR("_\r\n"));
        }
        return true;
    }
    if (--r->behind > 0) {
        struct str text = str_make(reply->ptr + 1, reply->len > 3 ? reply->len - 3 : 0);
        if (reply->ptr[0] == '-' && !r->early.code)
            resp_decode_error(resp_refusal(text), &r->early);
        return true;
    }
    struct str main = buf_str(&e->kept);
    bool refused = main.ptr[0] == '-';
    *ret_rc = refused ? 0 : e->dialect->confirm(e, *reply, err);
    if (!refused && r->early.code) {
        *err = r->early;
        *ret_rc = err->code;
    }
    *reply = main;
    return false;
}

static void request_answer(struct resp_engine *e, struct str reply)
{
    struct list *it = list_first(&e->queue.requests);
    while (it != &e->queue.requests && !container_of(it, struct queue_request, link)->sent)
        it = it->next; /* one that waits to be asked again */
    ensure(it != &e->queue.requests);
    struct queue_request *r = container_of(it, struct queue_request, link);
    struct err err = {0};
    if (r->skip > 0) { /* the answer that counts follows, also after a refusal */
        r->skip--;
        if (reply.ptr[0] == '-' && !r->early.code)
            resp_decode(r, reply, &e->scratch, &r->early);
        return;
    }
    int unsure;
    if (request_waits(e, r, &reply, &unsure, &err))
        return;
    if (request_goes_on(e, r, reply))
        return;
    int rc = unsure ? unsure : e->dialect->decode(e, r, reply, &err);
    if (e->dialect->unfit && e->dialect->unfit(r, reply)) {
        engine_cut(e, &err);
        return;
    }
    e->fit = true;
    if (ask_again(e, r, rc)) {
        r->sent = false;
        uint64_t at_ns = loop_now_ns(e->queue.loop) + r->pause_ms * 1000000;
        if (!loop_timer_is_set(&e->timer) || e->timer.node.key > at_ns)
            loop_timer_at_ns(&e->timer, at_ns);
        return;
    }
    queue_finish(r, rc, rc ? &err : NULL);
    /* Who is not understood may have granted something: coming back makes a fresh start. */
    if (rc == TTG_EPROTO && conn_is_open(&e->conn))
        engine_cut(e, &err);
}

static bool answer_due(const struct resp_engine *e)
{
    if (e->hello_left > 0)
        return true;
    const struct list *head = &e->queue.requests;
    for (const struct list *it = head->next; it != head; it = it->next)
        if (container_of(it, struct queue_request, link)->sent)
            return true;
    return false;
}

static size_t on_bytes(struct conn *c, struct str bytes)
{
    struct resp_engine *e = container_of(c, struct resp_engine, conn);
    size_t used = 0;
    e->heard_ms = loop_now_ms(e->queue.loop);
    loop_timer_stop(&e->watch);
    while (conn_is_open(c) && used < bytes.len) {
        struct str rest = str_make(bytes.ptr + used, bytes.len - used);
        size_t len;
        int rc = resp_scan(&e->scan, rest, STRING_BYTES_MAX, &len);
        if (rc == TTG_EAGAIN)
            break;
        if (rc || !answer_due(e)) {
            struct err err;
            err_set(&err, TTG_EPROTO, "this is not a ttg node or Redis: its answer is no RESP");
            engine_cut(e, &err);
            return 0;
        }
        used += len;
        if (e->hello_left > 0)
            greeting_answer(e, str_make(rest.ptr, len));
        else
            request_answer(e, str_make(rest.ptr, len));
    }
    if (conn_is_open(c))
        engine_watch(e);
    return used;
}

/* --- the connection --- */

static uint64_t pause_ms(struct resp_engine *e)
{
    bool local = e->queue.config->url->scheme == URL_TTG_UNIX;
    uint64_t ms = local ? PAUSE_MS_MIN_UNIX : PAUSE_MS_MIN;
    uint64_t away_ms = loop_now_ms(e->queue.loop) - e->cut_ms;
    if (local && away_ms < SOON_MS)
        return 1 + prng_below(&e->prng, 2);
    uint64_t max = away_ms < EAGER_MS ? PAUSE_MS_EAGER : PAUSE_MS_MAX;
    for (uint64_t i = 1; i < e->tries && ms < max; i++)
        ms *= 2;
    if (ms > max)
        ms = max;
    return ms / 2 + prng_below(&e->prng, ms + 1);
}

static bool hopeless(int code)
{
    return code == TTG_EAUTH || code == TTG_EUSAGE || code == TTG_EUNSUPPORTED ||
           code == TTG_EVERSION;
}

/* After a failed try: waits and tries again, or gives up. */
static void engine_retry(struct resp_engine *e, const struct err *why)
{
    const struct queue_config *config = e->queue.config;
    uint64_t now_ms = loop_now_ms(e->queue.loop);
    char where[URL_TEXT_BYTES_MAX];
    e->tries++;
    e->host++;
    if (hopeless(why->code) || now_ms - e->cut_ms >= config->retry_ms) {
        struct err err;
        url_show(config->url, where);
        if (hopeless(why->code))
            err_set(&err, why->code, "%s: %s", where, why->text);
        else
            err_set(&err, TTG_EUNREACH, "no connection to %s for %.1f s: %s", where,
                    (double)(now_ms - e->cut_ms) / 1000, why->text);
        queue_lose(&e->queue, &err);
        return;
    }
    log_debug("queue.retry", kv_u64("tries", e->tries), kv_str("reason", why->text));
    if (!config->quiet && !e->again && !e->told &&
        now_ms - e->cut_ms >= TELL_MS) { /* a wrong address, perhaps */
        e->told = true;
        url_show(config->url, where);
        log_warn("queue.unreachable", kv_str("queue", where), kv_str("reason", why->text),
                 kv_u64("giving_up_after_ms", config->retry_ms));
    }
    if (loop_timer_after_ms(&e->timer, pause_ms(e))) {
        struct err err;
        err_set(&err, TTG_ENOMEM, "out of memory");
        queue_lose(&e->queue, &err);
    }
}

/* The connection is gone: what may be repeated waits, the rest ends. */
static void engine_cut(struct resp_engine *e, const struct err *why)
{
    struct queue *q = &e->queue;
    struct err err = *why;
    bool was_up = q->up;
    conn_close(&e->conn);
    loop_timer_stop(&e->timer);
    loop_timer_stop(&e->watch);
    loop_timer_stop(&e->follow);
    if (e->locate)
        resp_locate_stop(e->locate);
    e->scan = (struct resp_scan){0};
    e->hello_left = 0;
    q->up = false;
    if (was_up && e->fit) {
        e->cut_ms = loop_now_ms(q->loop);
        e->tries = 0;
    }
    e->fit = false;
    /* Requests that end here may send new ones: those are not sent and stay. */
    struct list ended;
    list_init(&ended);
    list_each(it, &q->requests)
    {
        struct queue_request *r = container_of(it, struct queue_request, link);
        if (was_up && !repeatable(r)) {
            list_remove(it);
            list_push_back(&ended, it);
        }
        r->sent = false;
    }
    engine_retry(e, &err);
    for (struct list *it; (it = list_first(&ended));) /* queue_finish takes it off */
        queue_finish(container_of(it, struct queue_request, link), TTG_ECLOSED, &err);
    if (was_up && !q->lost && q->config->on_down)
        q->config->on_down(q->config->ctx, &err);
}

static void engine_up(struct resp_engine *e)
{
    struct queue *q = &e->queue;
    loop_timer_stop(&e->timer);
    q->up = true;
    /* What was asked before the cut comes before what the owner asks now. */
    list_each(it, &q->requests)
    {
        struct queue_request *r = container_of(it, struct queue_request, link);
        if (!r->sent)
            request_put(e, r);
    }
    conn_send_all(&e->conn);
    engine_watch(e);
    if (q->config->url->scheme == URL_REDIS_SENTINEL)
        loop_timer_after_ms(&e->follow, FOLLOW_MS);
    log_debug("queue.up", kv_bool("again", e->again), kv_str("server", e->server));
    e->again = true;
    if (q->config->on_up)
        q->config->on_up(q->config->ctx);
}

static void greeting_answer(struct resp_engine *e, struct str reply)
{
    struct err err;
    e->hello_left--;
    int refused = e->dialect->greeted ? e->dialect->greeted(e, reply, &err) : 0;
    if (refused < 0 || (refused == 0 && resp_hello_check(reply, &err))) {
        engine_cut(e, &err);
        return;
    }
    if (e->hello_left == 0)
        engine_up(e);
}

static int greet(struct resp_engine *e)
{
    struct buf *out = &e->conn.out;
    int count = resp_hello(e->queue.config->url, e->queue.config->client_name, out);
    int more = e->dialect->greet(e, out);
    if (count < 0 || more < 0)
        return TTG_ENOMEM;
    e->hello_left = (size_t)count + (size_t)more;
    return 0;
}

static void on_open(struct conn *c)
{
    struct resp_engine *e = container_of(c, struct resp_engine, conn);
    struct err err;
    if (greet(e)) {
        err_set(&err, TTG_ENOMEM, "out of memory");
        engine_cut(e, &err);
        return;
    }
    ensure(e->hello_left > 0);
    conn_send_all(c);
}

static void on_over(struct conn *c, const struct err *err)
{
    engine_cut(container_of(c, struct resp_engine, conn), err);
}

static const struct conn_handler handler = {
    .on_bytes = on_bytes, .on_over = on_over, .on_open = on_open};

static void engine_dial(struct resp_engine *e)
{
    struct err err;
    struct dial_to to = e->locate ? (struct dial_to){.host = e->node.host, .port = e->node.port}
                                  : resp_address(e->queue.config->url, e->host);
    if (conn_connect(&e->conn, e->queue.loop, &to, e->tls, &handler, IN_BYTES_MAX, OUT_BYTES_MAX,
                     &err))
        engine_retry(e, &err);
    else
        loop_timer_after_ms(&e->timer, CONNECT_MS);
}

/* --- where the server is --- */

static void on_located(struct resp_locate *l, const struct err *why)
{
    struct resp_engine *e = l->ctx;
    bool same = !why && e->node.port == l->found.port && strcmp(e->node.host, l->found.host) == 0;
    struct err err;
    if (e->queue.up) {
        loop_timer_after_ms(&e->follow, FOLLOW_MS);
        if (why || same)
            return;
        err_set(&err, TTG_ECLOSED, "the sentinels name another master: %s:%u", l->found.host,
                l->found.port);
        engine_cut(e, &err);
    } else if (why) {
        engine_retry(e, why);
    } else {
        e->node = l->found;
        engine_dial(e);
    }
}

/* A connection to a master that was cut off may stay, while others follow a new one. */
static void on_follow(struct loop_timer *t)
{
    struct resp_engine *e = container_of(t, struct resp_engine, follow);
    struct err err;
    if (resp_locate_start(e->locate, &err))
        loop_timer_after_ms(t, FOLLOW_MS);
}

static void engine_connect(struct resp_engine *e)
{
    struct err err;
    if (!e->locate) {
        engine_dial(e);
        return;
    }
    e->locate->slot = resp_redis_slot(&e->queue);
    if (resp_locate_start(e->locate, &err))
        engine_retry(e, &err);
}

/* Asks those again whose pause is over, and sets the timer for the next one. */
static void engine_poll(struct resp_engine *e)
{
    struct list again;
    list_init(&again);
    list_each(it, &e->queue.requests)
    {
        if (container_of(it, struct queue_request, link)->sent)
            continue;
        list_remove(it);
        list_push_back(&again, it);
    }
    /* Answers come in the order of sending, so these go behind all that is sent. */
    for (struct list *it; (it = list_first(&again));) {
        struct queue_request *r = container_of(it, struct queue_request, link);
        request_to_tail(e, r);
        request_put(e, r);
    }
    conn_send_all(&e->conn);
    engine_watch(e);
}

static void on_timer(struct loop_timer *t)
{
    struct resp_engine *e = container_of(t, struct resp_engine, timer);
    struct err err;
    if (e->queue.up) {
        engine_poll(e);
    } else if (conn_is_open(&e->conn)) {
        err_set(&err, TTG_ETIMEOUT, "no answer to the greeting within %d s", CONNECT_MS / 1000);
        engine_cut(e, &err);
    } else {
        engine_connect(e);
    }
}

static void on_watch(struct loop_timer *t)
{
    struct resp_engine *e = container_of(t, struct resp_engine, watch);
    struct err err;
    err_set(&err, TTG_ETIMEOUT, "no answer for %d s", ANSWER_MS / 1000);
    engine_cut(e, &err);
}

static void engine_close(struct queue *q)
{
    struct resp_engine *e = engine_of(q);
    loop_timer_stop(&e->timer);
    loop_timer_stop(&e->watch);
    loop_timer_stop(&e->follow);
    conn_close(&e->conn);
    redis_list_stop(e->list);
    if (e->locate)
        resp_locate_done(e->locate);
    mem_free(e->locate);
    tls_free(e->tls);
    buf_done(&e->kept);
    buf_done(&e->scratch);
    buf_done(&e->cursors);
    mem_free(e);
}

static const struct queue_engine resp_engine = {
    .lines_stay = true,
    .close = engine_close,
    .send = engine_send,
};

struct queue *resp_engine_new(struct loop *loop, const struct queue_config *config, struct err *err)
{
    struct resp_engine *e = mem_zalloc(sizeof *e);
    if (!e) {
        err_set(err, TTG_ENOMEM, "out of memory");
        return NULL;
    }
    e->queue = (struct queue){.engine = &resp_engine, .config = config, .loop = loop};
    list_init(&e->queue.requests);
    bool locates =
        config->url->scheme == URL_REDIS_SENTINEL || config->url->scheme == URL_REDIS_CLUSTER;
    e->dialect =
        locates || config->url->scheme == URL_REDIS ? &resp_redis_dialect : &resp_node_dialect;
    e->conn.fd = -1;
    e->cut_ms = loop_now_ms(loop);
    prng_init(&e->prng, config->seed);
    buf_init(&e->kept, SIZE_MAX);
    buf_init(&e->scratch, SIZE_MAX);
    buf_init(&e->cursors, SIZE_MAX);
    loop_timer_init(&e->timer, loop, on_timer);
    loop_timer_init(&e->watch, loop, on_watch);
    loop_timer_init(&e->follow, loop, on_follow);
    if (config->url->tls && queue_tls(config, &e->tls, err)) {
        mem_free(e);
        return NULL;
    }
    e->locate = locates ? mem_zalloc(sizeof *e->locate) : NULL;
    if (e->locate)
        resp_locate_init(e->locate, loop, config->url, e->tls, on_located, e);
    /* From the loop, so that no callback comes before the caller has the queue. */
    if ((locates && !e->locate) || loop_timer_after_ms(&e->timer, 0)) {
        err_set(err, TTG_ENOMEM, "out of memory");
        engine_close(&e->queue);
        return NULL;
    }
    return &e->queue;
}
