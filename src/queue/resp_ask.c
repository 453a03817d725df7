/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/resp_ask.h"

#include "base/ensure.h"

#include <stdio.h>

static void finish(struct resp_ask *a, int rc, const struct err *err)
{
    conn_close(&a->conn);
    loop_timer_stop(&a->timer);
    a->busy = false;
    a->on_done(a, rc, err);
}

static size_t on_bytes(struct conn *c, struct str bytes)
{
    struct resp_ask *a = container_of(c, struct resp_ask, conn);
    size_t used = 0;
    while (a->got < a->expected && used < bytes.len) {
        struct str rest = str_make(bytes.ptr + used, bytes.len - used);
        struct err err;
        size_t len;
        int rc = resp_scan(&a->scan, rest, RESP_ASK_BYTES_MAX, &len);
        if (rc == TTG_EAGAIN)
            return used;
        if (!rc)
            rc = buf_add(&a->bytes, rest.ptr, len);
        if (rc) {
            err_set(&err, rc == TTG_ENOMEM ? rc : TTG_EPROTO, "this is no Redis server");
            finish(a, err.code, &err);
            return 0;
        }
        a->ends[a->got++] = buf_len(&a->bytes);
        used += len;
    }
    if (a->got == a->expected)
        finish(a, 0, NULL);
    return used;
}

static void on_over(struct conn *c, const struct err *err)
{
    finish(container_of(c, struct resp_ask, conn), err->code, err);
}

static void on_open(struct conn *c)
{
    struct resp_ask *a = container_of(c, struct resp_ask, conn);
    struct err err;
    if (buf_add_str(&c->out, buf_str(&a->commands))) {
        err_set(&err, TTG_ENOMEM, "out of memory");
        finish(a, TTG_ENOMEM, &err);
        return;
    }
    conn_send_all(c);
}

static const struct conn_handler handler = {
    .on_bytes = on_bytes, .on_over = on_over, .on_open = on_open};

static void on_timer(struct loop_timer *t)
{
    struct resp_ask *a = container_of(t, struct resp_ask, timer);
    struct err err;
    err_set(&err, TTG_ETIMEOUT, "no answer in time");
    finish(a, TTG_ETIMEOUT, &err);
}

void resp_ask_init(struct resp_ask *a, struct loop *loop,
                   void (*on_done)(struct resp_ask *a, int rc, const struct err *err), void *ctx)
{
    *a = (struct resp_ask){.loop = loop, .ctx = ctx, .on_done = on_done};
    a->conn.fd = -1;
    loop_timer_init(&a->timer, loop, on_timer);
    buf_init(&a->commands, RESP_ASK_BYTES_MAX);
    buf_init(&a->bytes, 4 * RESP_ASK_BYTES_MAX);
}

void resp_ask_reset(struct resp_ask *a)
{
    conn_close(&a->conn);
    loop_timer_stop(&a->timer);
    a->scan = (struct resp_scan){0};
    a->busy = false;
    a->expected = a->got = 0;
    buf_clear(&a->commands);
    buf_clear(&a->bytes);
}

void resp_ask_done(struct resp_ask *a)
{
    resp_ask_reset(a);
    buf_done(&a->commands);
    buf_done(&a->bytes);
}

int resp_ask_start(struct resp_ask *a, const struct resp_server *server, uint64_t timeout_ms,
                   struct err *err)
{
    struct dial_to to = {.host = server->host, .port = server->port, .path = server->path};
    ensure(!a->busy && a->expected > 0 && a->expected <= RESP_ASK_REPLIES_MAX);
    int rc =
        loop_timer_after_ms(&a->timer, timeout_ms) ? err_set(err, TTG_ENOMEM, "out of memory") : 0;
    if (!rc)
        rc = conn_connect(&a->conn, a->loop, &to, server->tls, &handler, RESP_ASK_BYTES_MAX,
                          RESP_ASK_BYTES_MAX, err);
    if (rc)
        loop_timer_stop(&a->timer);
    a->busy = !rc;
    return rc;
}

int resp_ask_put(struct resp_ask *a, size_t count, const char *const *words)
{
    int rc = resp_command(&a->commands, count);
    for (size_t i = 0; i < count && !rc; i++)
        rc = resp_word(&a->commands, str_of(words[i]));
    a->expected++;
    return rc;
}

int resp_ask_auth(struct resp_ask *a, const char *user, const char *password)
{
    if (!password)
        return 0;
    return user ? resp_ask_put(a, 3, (const char *const[]){"AUTH", user, password})
                : resp_ask_put(a, 2, (const char *const[]){"AUTH", password});
}

struct str resp_ask_reply(const struct resp_ask *a, size_t i)
{
    ensure(i < a->got);
    size_t from = i ? a->ends[i - 1] : 0;
    return str_make(buf_str(&a->bytes).ptr + from, a->ends[i] - from);
}
