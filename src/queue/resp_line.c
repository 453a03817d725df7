/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/resp_line.h"

#include "base/log.h"
#include "queue/queue.h"
#include "queue/resp.h"

enum {
    BYTES_MAX = 1 << 30,
    STRING_BYTES_MAX = 512 << 20,
    CONNECT_MS = 5000,
    ANSWER_MS = 15000, /* silence while an answer is due: the other end hangs */
    PAUSE_MS_MIN = 5,
    PAUSE_MS_MAX = 500,
};

static void line_retry(struct resp_line *l, const struct err *why)
{
    uint64_t now_ms = loop_now_ms(l->loop), pause_ms = PAUSE_MS_MIN;
    bool hopeless =
        why->code == TTG_EAUTH || why->code == TTG_EUSAGE || why->code == TTG_EUNSUPPORTED;
    l->tries++;
    l->host++;
    if (hopeless || now_ms - l->cut_ms >= l->config->retry_ms) {
        char where[URL_TEXT_BYTES_MAX];
        struct err err;
        url_show(l->config->url, where);
        err_set(&err, hopeless ? why->code : TTG_EUNREACH, "%s: %s", where, why->text);
        l->on_lost(l, &err);
        return;
    }
    for (uint64_t i = 1; i < l->tries && pause_ms < PAUSE_MS_MAX; i++)
        pause_ms *= 2;
    log_debug("queue.retry", kv_u64("tries", l->tries), kv_str("reason", why->text));
    loop_timer_after_ms(&l->timer, pause_ms / 2 + prng_below(&l->prng, pause_ms + 1));
}

void resp_line_cut(struct resp_line *l, const struct err *why)
{
    struct err err = *why;
    bool was_up = l->up;
    conn_close(&l->conn);
    loop_timer_stop(&l->timer);
    loop_timer_stop(&l->watch);
    l->scan = (struct resp_scan){0};
    l->hello_left = l->due = 0;
    l->up = false;
    if (was_up) {
        l->cut_ms = loop_now_ms(l->loop);
        l->tries = 0;
        l->on_down(l, &err);
    }
    line_retry(l, &err);
}

static void line_watch(struct resp_line *l)
{
    if (l->due == 0)
        loop_timer_stop(&l->watch);
    else
        loop_timer_after_ms(&l->watch, ANSWER_MS + l->slack_ms);
}

static void line_reply(struct resp_line *l, struct str reply)
{
    struct err err;
    if (l->hello_left == 0) {
        l->due--;
        l->on_reply(l, reply);
        return;
    }
    if (resp_hello_check(reply, &err)) {
        resp_line_cut(l, &err);
        return;
    }
    if (--l->hello_left == 0) {
        loop_timer_stop(&l->timer);
        l->up = true;
        l->on_up(l);
    }
}

static size_t on_bytes(struct conn *c, struct str bytes)
{
    struct resp_line *l = container_of(c, struct resp_line, conn);
    size_t used = 0;
    while (conn_is_open(c) && used < bytes.len) {
        struct str rest = str_make(bytes.ptr + used, bytes.len - used);
        size_t len;
        int rc = resp_scan(&l->scan, rest, STRING_BYTES_MAX, &len);
        if (rc == TTG_EAGAIN)
            break;
        if (rc || l->hello_left + l->due == 0) {
            struct err err;
            err_set(&err, TTG_EPROTO, "this is not a ttg node or Redis: its answer is no RESP");
            resp_line_cut(l, &err);
            return 0;
        }
        used += len;
        line_reply(l, str_make(rest.ptr, len));
    }
    if (conn_is_open(c) && l->up)
        line_watch(l);
    return used;
}

static void on_open(struct conn *c)
{
    struct resp_line *l = container_of(c, struct resp_line, conn);
    int count = resp_hello(l->config->url, l->config->client_name, &c->out);
    if (count < 0 || resp_command(&c->out, 1) || resp_word(&c->out, STR("PING"))) {
        struct err err;
        err_set(&err, TTG_ENOMEM, "out of memory");
        resp_line_cut(l, &err);
        return;
    }
    l->hello_left = (size_t)count + 1;
    conn_send_all(c);
}

static void on_over(struct conn *c, const struct err *err)
{
    resp_line_cut(container_of(c, struct resp_line, conn), err);
}

static const struct conn_handler handler = {
    .on_bytes = on_bytes, .on_over = on_over, .on_open = on_open};

static void on_timer(struct loop_timer *t)
{
    struct resp_line *l = container_of(t, struct resp_line, timer);
    struct dial_to to = resp_address(l->config->url, l->host);
    struct err err;
    if (conn_is_open(&l->conn)) {
        err_set(&err, TTG_ETIMEOUT, "no answer to the greeting within %d s", CONNECT_MS / 1000);
        resp_line_cut(l, &err);
        return;
    }
    if (conn_connect(&l->conn, l->loop, &to, l->tls, &handler, BYTES_MAX, BYTES_MAX, &err))
        line_retry(l, &err);
    else
        loop_timer_after_ms(&l->timer, CONNECT_MS);
}

static void on_watch(struct loop_timer *t)
{
    struct err err;
    err_set(&err, TTG_ETIMEOUT, "no answer for %d s", ANSWER_MS / 1000);
    resp_line_cut(container_of(t, struct resp_line, watch), &err);
}

void resp_line_send(struct resp_line *l, size_t replies, uint64_t slack_ms)
{
    l->due += replies;
    l->slack_ms = slack_ms;
    line_watch(l);
    conn_send_all(&l->conn);
}

int resp_line_open(struct resp_line *l, struct loop *loop, const struct queue_config *config,
                   struct err *err)
{
    l->config = config;
    l->loop = loop;
    l->conn.fd = -1;
    l->cut_ms = loop_now_ms(loop);
    prng_init(&l->prng, config->seed);
    loop_timer_init(&l->timer, loop, on_timer);
    loop_timer_init(&l->watch, loop, on_watch);
    int rc = config->url->tls ? queue_tls(config, &l->tls, err) : 0;
    if (!rc && (rc = loop_timer_after_ms(&l->timer, 0)))
        err_set(err, rc, "out of memory");
    return rc;
}

void resp_line_close(struct resp_line *l)
{
    if (!l->loop)
        return;
    loop_timer_stop(&l->timer);
    loop_timer_stop(&l->watch);
    conn_close(&l->conn);
    tls_free(l->tls);
    l->loop = NULL;
}
