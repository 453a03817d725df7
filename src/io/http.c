/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/conn.h"

#include <unistd.h>

struct http_server {
    struct http_config config;
    struct loop *loop;
    struct listener listener;
    struct list clients, dead;
    size_t count, streams;
    struct loop_timer sweep;
};

/* A connection: it has one request at a time, or is a stream. */
struct http_exchange {
    struct conn conn;
    struct http_server *server;
    struct list link;
    uint64_t active_ms, out_bytes;
    bool closing, head, answered, later, is_stream, inside; /* a call of on_request is under way */
    void *owner;
    void (*on_closed)(void *owner);
};

static struct http_exchange *of_stream(struct http_stream *s)
{
    return (struct http_exchange *)s;
}

static void bury(struct http_server *s)
{
    struct list *first;
    while ((first = list_pop_front(&s->dead)))
        mem_free(container_of(first, struct http_exchange, link));
}

static void client_close(struct http_exchange *x)
{
    if (!conn_is_open(&x->conn))
        return;
    conn_close(&x->conn);
    list_remove(&x->link);
    /* Freed later: we may be inside one of its callbacks. */
    list_push_back(&x->server->dead, &x->link);
    x->server->count--;
    x->server->streams -= x->is_stream;
    loop_timer_after_ms(&x->server->sweep, 0);
    if (x->on_closed)
        x->on_closed(x->owner);
    x->on_closed = NULL;
}

/* --- answers --- */

static const char common[] = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

void http_answer(struct http_exchange *x, const char *status, const char *type, const char *headers,
                 struct str body)
{
    struct buf *out = &x->conn.out;
    bool late = x->later;
    x->answered = true;
    x->later = false;
    int rc = buf_printf(out, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s%s\r\n",
                        status, type, body.len, common, headers ? headers : "",
                        x->closing ? "Connection: close\r\n" : "");
    if (!rc && !x->head)
        rc = buf_add_str(out, body);
    if (rc)
        x->closing = true;
    if (!late)
        return;
    x->on_closed = NULL;
    if (x->inside)
        return;
    conn_send_all(&x->conn);
    if (x->closing && buf_len(&x->conn.out) == 0)
        client_close(x);
    else
        conn_show(&x->conn); /* what was sent behind that request */
}

void http_later(struct http_exchange *x, void *owner, void (*on_closed)(void *owner))
{
    x->answered = x->later = true;
    x->owner = owner;
    x->on_closed = on_closed;
}

void http_answer_text(struct http_exchange *x, const char *status, const char *text)
{
    http_answer(x, status, "text/plain; charset=utf-8", NULL, str_of(text));
}

struct http_stream *http_stream(struct http_exchange *x, const char *type, const char *headers,
                                void *owner, void (*on_closed)(void *owner))
{
    if (x->server->streams >= HTTP_STREAMS_MAX) {
        http_answer_text(x, "503 Service Unavailable", "too many are watching\n");
        return NULL;
    }
    x->answered = x->is_stream = true;
    x->server->streams++;
    x->owner = owner;
    x->on_closed = on_closed;
    buf_printf(&x->conn.out, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n%s%s\r\n",
               type, common, headers ? headers : "");
    conn_send_all(&x->conn);
    return (struct http_stream *)x;
}

int http_stream_send(struct http_stream *s, struct str bytes)
{
    struct http_exchange *x = of_stream(s);
    if (buf_len(&x->conn.out) > 0)
        return TTG_EAGAIN;
    int rc = buf_add_str(&x->conn.out, bytes);
    if (!rc) {
        x->active_ms = loop_now_ms(x->server->loop);
        conn_send_all(&x->conn);
    }
    return rc;
}

void http_stream_close(struct http_stream *s)
{
    struct http_exchange *x = of_stream(s);
    x->on_closed = NULL;
    client_close(x);
}

/* --- requests --- */

static void refuse(struct http_exchange *x, const char *status, const char *text)
{
    x->closing = true;
    x->head = false;
    http_answer_text(x, status, text);
}

static bool method_known(struct str method)
{
    return str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")) || str_eq(method, STR("POST"));
}

static void call_owner(struct http_exchange *x, const struct http_request *r)
{
    x->inside = true;
    x->server->config.on_request(x->server->config.ctx, x, r);
    x->inside = false;
}

/* One request at the front of `bytes`. Bytes used, 0 when it is not complete. */
static size_t request_take(struct http_exchange *x, struct str bytes)
{
    struct http_request r;
    size_t len;
    int rc = http_parse(bytes, &r, &len);
    if (rc == TTG_EAGAIN)
        return 0;
    if (rc) {
        refuse(x,
               rc == TTG_EFULL    ? "431 Request Header Fields Too Large"
               : rc == TTG_ERANGE ? "413 Content Too Large"
                                  : "400 Bad Request",
               rc == TTG_EPROTO ? "bad request\n" : "too long\n");
        return bytes.len;
    }
    x->closing |= r.close;
    x->answered = false;
    x->head = r.head;
    if (!method_known(r.method))
        refuse(x, "405 Method Not Allowed", "GET, HEAD and POST only\n");
    else
        call_owner(x, &r);
    if (!x->answered)
        http_answer_text(x, "404 Not Found", "no such page\n");
    return len;
}

static void on_sent(struct conn *conn)
{
    struct http_exchange *x = container_of(conn, struct http_exchange, conn);
    x->active_ms = loop_now_ms(conn->loop);
    if (x->closing && !x->later)
        client_close(x);
}

static size_t on_bytes(struct conn *conn, struct str bytes)
{
    struct http_exchange *x = container_of(conn, struct http_exchange, conn);
    size_t used = 0, len;
    if (x->is_stream)
        return bytes.len; /* there is nothing more to ask */
    x->active_ms = loop_now_ms(conn->loop);
    while (!x->closing && !x->is_stream && !x->later &&
           (len = request_take(x, str_make(bytes.ptr + used, bytes.len - used))) > 0)
        used += len;
    if (!conn_is_open(conn))
        return bytes.len;
    conn_send_all(conn);
    if (x->closing && !x->later && buf_len(&conn->out) == 0)
        client_close(x);
    return (x->closing && !x->later) || x->is_stream ? bytes.len : used;
}

static void on_over(struct conn *conn, const struct err *err)
{
    (void)err;
    client_close(container_of(conn, struct http_exchange, conn));
}

static const struct conn_handler handler = {
    .on_bytes = on_bytes, .on_over = on_over, .on_sent = on_sent};

/* --- the server --- */

static void on_accept(struct listener *l, int fd, const struct net_addr *peer)
{
    struct http_server *s = l->ctx;
    (void)peer;
    struct http_exchange *x = s->count < HTTP_CLIENTS_MAX ? mem_zalloc(sizeof *x) : NULL;
    if (!x) {
        close(fd);
        return;
    }
    x->server = s;
    x->active_ms = loop_now_ms(l->loop);
    list_push_back(&s->clients, &x->link);
    s->count++;
    if (conn_open(&x->conn, l->loop, fd, NULL, &handler, HTTP_HEAD_BYTES_MAX + HTTP_BODY_BYTES_MAX,
                  HTTP_ANSWER_BYTES_MAX)) {
        list_remove(&x->link);
        s->count--;
        mem_free(x);
    } else if (!loop_timer_is_set(&s->sweep)) {
        loop_timer_after_ms(&s->sweep, HTTP_IDLE_MS / 4);
    }
}

/* A stream may be quiet, but what was sent must be taken. */
static bool is_idle(struct http_exchange *x, uint64_t now_ms)
{
    if (x->conn.out_bytes != x->out_bytes || (x->is_stream && buf_len(&x->conn.out) == 0)) {
        x->out_bytes = x->conn.out_bytes;
        x->active_ms = now_ms;
    }
    return x->active_ms + HTTP_IDLE_MS <= now_ms;
}

static void on_sweep(struct loop_timer *t)
{
    struct http_server *s = container_of(t, struct http_server, sweep);
    uint64_t now_ms = loop_now_ms(t->loop);
    for (struct list *it = s->clients.next, *next; it != &s->clients; it = next) {
        next = it->next;
        struct http_exchange *x = container_of(it, struct http_exchange, link);
        if (is_idle(x, now_ms))
            client_close(x);
    }
    bury(s);
    if (!list_empty(&s->clients))
        loop_timer_after_ms(&s->sweep, HTTP_IDLE_MS / 4);
    else
        loop_timer_stop(&s->sweep);
}

int http_open(struct http_server **ret_server, struct loop *loop, const struct http_config *config,
              struct err *err)
{
    struct net_addr addr;
    char text[NET_TEXT_BYTES];
    int rc = net_addr_parse(&addr, str_of(config->address), 0, err);
    if (rc)
        return rc;
    struct http_server *s = mem_zalloc(sizeof *s);
    if (!s)
        return err_set(err, TTG_ENOMEM, "out of memory");
    s->config = *config;
    s->loop = loop;
    list_init(&s->clients);
    list_init(&s->dead);
    loop_timer_init(&s->sweep, loop, on_sweep);
    rc = listener_open(&s->listener, loop, &addr, 0, on_accept, err);
    if (rc) {
        mem_free(s);
        return rc;
    }
    s->listener.ctx = s;
    net_addr_text(&s->listener.addr, text);
    log_info("http.listening", kv_str("address", text));
    *ret_server = s;
    return 0;
}

void http_close(struct http_server *s)
{
    if (!s)
        return;
    listener_close(&s->listener);
    while (!list_empty(&s->clients))
        client_close(container_of(s->clients.next, struct http_exchange, link));
    bury(s);
    loop_timer_stop(&s->sweep);
    mem_free(s);
}

const struct net_addr *http_addr(const struct http_server *s)
{
    return &s->listener.addr;
}
