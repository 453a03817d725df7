/* SPDX-License-Identifier: Apache-2.0 */
#include "node/http.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <unistd.h>

enum { REQUEST_BYTES_MAX = 8192, RESPONSE_BYTES_MAX = 4 << 20, CLIENTS_MAX = 64, IDLE_MS = 30000 };

struct http {
    struct node *node;
    struct listener listener;
    struct list clients, dead;
    size_t count;
    struct loop_timer sweep;
};

struct http_client {
    struct conn conn;
    struct http *http;
    struct list link;
    uint64_t active_ms;
    bool closing;
};

static void bury(struct http *h)
{
    struct list *first;
    while ((first = list_pop_front(&h->dead)))
        mem_free(container_of(first, struct http_client, link));
}

static void http_client_close(struct http_client *c)
{
    if (!conn_is_open(&c->conn))
        return;
    conn_close(&c->conn);
    list_remove(&c->link);
    /* Freed later: we may be inside one of its callbacks. */
    list_push_back(&c->http->dead, &c->link);
    c->http->count--;
    loop_timer_after_ms(&c->http->sweep, 0);
}

static void respond(struct http_client *c, const char *status, const char *type, struct str body,
                    bool head)
{
    struct buf *out = &c->conn.out;
    buf_printf(out,
               "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
               "Cache-Control: no-store\r\n%s\r\n",
               status, type, body.len, c->closing ? "Connection: close\r\n" : "");
    if (!head)
        buf_add_str(out, body);
}

static void answer(struct http_client *c, struct str method, struct str path)
{
    static const char text[] = "text/plain; charset=utf-8";
    struct node *n = c->http->node;
    bool head = str_eq(method, STR("HEAD"));
    path = str_cut(path, '?', &(struct str){0});
    if (!head && !str_eq(method, STR("GET"))) {
        c->closing = true;
        respond(c, "405 Method Not Allowed", text, STR("GET only\n"), false);
    } else if (str_eq(path, STR("/metrics"))) {
        struct buf body;
        buf_init(&body, RESPONSE_BYTES_MAX);
        if (metrics_write(n, &body))
            respond(c, "500 Internal Server Error", text, STR("out of memory\n"), head);
        else
            respond(c, "200 OK", "text/plain; version=0.0.4; charset=utf-8", buf_str(&body), head);
        buf_done(&body);
    } else if (str_eq(path, STR("/healthz"))) {
        respond(c, "200 OK", text, STR("ok\n"), head);
    } else if (str_eq(path, STR("/readyz"))) {
        if (n->stopping)
            respond(c, "503 Service Unavailable", text, STR("stopping\n"), head);
        else if (n->disk_full)
            respond(c, "503 Service Unavailable", text, STR("disk full\n"), head);
        else
            respond(c, "200 OK", text, STR("ready\n"), head);
    } else {
        respond(c, "404 Not Found", text, STR("try /metrics, /healthz or /readyz\n"), head);
    }
}

/* One request with its head at the front of `bytes`. Bytes used, 0 when it is not complete. */
static size_t request_take(struct http_client *c, struct str bytes)
{
    const char *end = memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t len = (size_t)(end - bytes.ptr) + 4;
    struct str rest = str_make(bytes.ptr, len);
    struct str line = str_cut(rest, '\r', &rest), words = line;
    struct str method = str_cut(words, ' ', &words), path = str_cut(words, ' ', &words);
    if (!str_eq(words, STR("HTTP/1.1")) || memmem(bytes.ptr, len, "onnection: close", 16))
        c->closing = true;
    if (path.len == 0 || path.ptr[0] != '/' || !str_starts(words, STR("HTTP/1."))) {
        c->closing = true;
        respond(c, "400 Bad Request", "text/plain", STR("bad request\n"), false);
    } else {
        answer(c, method, path);
    }
    return len;
}

static void http_on_sent(struct conn *conn)
{
    struct http_client *c = container_of(conn, struct http_client, conn);
    if (c->closing)
        http_client_close(c);
}

static size_t http_on_bytes(struct conn *conn, struct str bytes)
{
    struct http_client *c = container_of(conn, struct http_client, conn);
    size_t used = 0, len;
    c->active_ms = loop_now_ms(conn->loop);
    while (!c->closing && (len = request_take(c, str_make(bytes.ptr + used, bytes.len - used))) > 0)
        used += len;
    conn_send_all(conn);
    if (c->closing && buf_len(&conn->out) == 0)
        http_client_close(c);
    return c->closing ? bytes.len : used;
}

static void http_on_over(struct conn *conn, const struct err *err)
{
    (void)err;
    http_client_close(container_of(conn, struct http_client, conn));
}

static const struct conn_handler handler = {
    .on_bytes = http_on_bytes, .on_over = http_on_over, .on_sent = http_on_sent};

static void http_on_accept(struct listener *l, int fd, const struct net_addr *peer)
{
    struct http *h = l->ctx;
    (void)peer;
    struct http_client *c = h->count < CLIENTS_MAX ? mem_zalloc(sizeof(*c)) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    c->http = h;
    c->active_ms = loop_now_ms(l->loop);
    list_push_back(&h->clients, &c->link);
    h->count++;
    if (conn_open(&c->conn, l->loop, fd, NULL, &handler, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX)) {
        list_remove(&c->link);
        h->count--;
        mem_free(c);
    } else if (!loop_timer_is_set(&h->sweep)) {
        loop_timer_after_ms(&h->sweep, IDLE_MS);
    }
}

static void on_sweep(struct loop_timer *t)
{
    struct http *h = container_of(t, struct http, sweep);
    uint64_t now_ms = loop_now_ms(t->loop);
    list_each(it, &h->clients)
    {
        struct http_client *c = container_of(it, struct http_client, link);
        if (c->active_ms + IDLE_MS <= now_ms)
            http_client_close(c);
    }
    bury(h);
    if (!list_empty(&h->clients))
        loop_timer_after_ms(&h->sweep, IDLE_MS);
    else
        loop_timer_stop(&h->sweep);
}

int http_open(struct node *n, const char *address, struct err *err)
{
    struct net_addr addr;
    char text[NET_TEXT_BYTES];
    int rc = net_addr_parse(&addr, str_of(address), 0, err);
    if (rc)
        return rc;
    struct http *h = mem_zalloc(sizeof(*h));
    if (!h)
        return err_set(err, TTG_ENOMEM, "out of memory");
    h->node = n;
    list_init(&h->clients);
    list_init(&h->dead);
    loop_timer_init(&h->sweep, n->loop, on_sweep);
    rc = listener_open(&h->listener, n->loop, &addr, 0, http_on_accept, err);
    if (rc) {
        mem_free(h);
        return rc;
    }
    h->listener.ctx = h;
    n->http = h;
    net_addr_text(&h->listener.addr, text);
    log_info("node.http", kv_str("address", text));
    return 0;
}

void http_close(struct http *h)
{
    if (!h)
        return;
    list_each(it, &h->clients) http_client_close(container_of(it, struct http_client, link));
    bury(h);
    loop_timer_stop(&h->sweep);
    listener_close(&h->listener);
    mem_free(h);
}
