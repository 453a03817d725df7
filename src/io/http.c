/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/conn.h"

#include <arpa/inet.h>
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

struct head {
    struct http_request request;
    uint64_t body_bytes;
    bool close, wrong;
};

static void header_line(struct head *h, struct str name, struct str value)
{
    const struct {
        const char *name;
        struct str *to;
    } kept[] = {
        {"host", &h->request.host},     {"authorization", &h->request.authorization},
        {"origin", &h->request.origin}, {"content-type", &h->request.content_type},
        {"x-ttg", &h->request.ttg},
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (str_eq_nocase(name, str_of(kept[i].name))) {
            h->wrong |= kept[i].to->len > 0; /* given twice: which one counts? */
            *kept[i].to = value;
        }
    if (str_eq_nocase(name, STR("content-length")))
        h->wrong |= h->body_bytes > 0 || str_to_u64(value, &h->body_bytes) != 0;
    else if (str_eq_nocase(name, STR("transfer-encoding")))
        h->wrong = true;
    else if (str_eq_nocase(name, STR("connection")) && memmem(value.ptr, value.len, "lose", 4))
        h->close = true;
    else if (str_eq_nocase(name, STR("accept-encoding")))
        h->request.takes_gzip = memmem(value.ptr, value.len, "gzip", 4) != NULL;
}

/* `text` is everything up to and with the empty line. */
static void head_parse(struct head *h, struct str text)
{
    struct str rest = text, words = str_trim(str_cut(rest, '\n', &rest));
    struct http_request *r = &h->request;
    const struct str none = STR("");
    *h = (struct head){0};
    r->host = r->authorization = r->origin = r->content_type = r->ttg = r->body = r->query = none;
    r->method = str_cut(words, ' ', &words);
    r->path = str_cut(words, ' ', &words);
    struct str query;
    r->path = str_cut(r->path, '?', &query);
    if (query.ptr)
        r->query = query;
    h->close = !str_eq(words, STR("HTTP/1.1"));
    h->wrong = r->path.len == 0 || r->path.ptr[0] != '/' || !str_starts(words, STR("HTTP/1."));
    while (rest.len > 0) {
        struct str line = str_cut(rest, '\n', &rest), value;
        struct str name = str_cut(line, ':', &value);
        if (value.ptr)
            header_line(h, name, str_trim(value));
        else
            h->wrong |= str_trim(line).len > 0;
    }
    r->head = str_eq(r->method, STR("HEAD"));
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
    struct head h;
    const char *end = memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4);
    if (!end) {
        if (bytes.len >= HTTP_HEAD_BYTES_MAX)
            refuse(x, "431 Request Header Fields Too Large", "too long\n");
        return x->closing ? bytes.len : 0;
    }
    size_t len = (size_t)(end - bytes.ptr) + 4;
    head_parse(&h, str_make(bytes.ptr, len));
    if (h.wrong) {
        refuse(x, "400 Bad Request", "bad request\n");
        return bytes.len;
    }
    if (h.body_bytes > HTTP_BODY_BYTES_MAX) {
        refuse(x, "413 Content Too Large", "too long\n");
        return bytes.len;
    }
    if (bytes.len - len < h.body_bytes)
        return 0;
    h.request.body = str_make(bytes.ptr + len, h.body_bytes);
    x->closing |= h.close;
    x->answered = false;
    x->head = h.request.head;
    if (!method_known(h.request.method))
        refuse(x, "405 Method Not Allowed", "GET, HEAD and POST only\n");
    else
        call_owner(x, &h.request);
    if (!x->answered)
        http_answer_text(x, "404 Not Found", "no such page\n");
    return len + h.body_bytes;
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

/* --- texts --- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool http_param(struct str query, const char *name, char *out, size_t room)
{
    while (query.len > 0) {
        struct str value, pair = str_cut(query, '&', &query);
        struct str key = str_cut(pair, '=', &value);
        if (!str_eq(key, str_of(name)))
            continue;
        size_t n = 0;
        for (size_t i = 0; i < value.len; i++, n++) {
            if (n + 1 >= room)
                return false;
            out[n] = value.ptr[i];
            if (value.ptr[i] != '%')
                continue;
            if (i + 2 >= value.len || hex(value.ptr[i + 1]) < 0 || hex(value.ptr[i + 2]) < 0)
                return false;
            out[n] = (char)(hex(value.ptr[i + 1]) << 4 | hex(value.ptr[i + 2]));
            if (out[n] == '\0')
                return false;
            i += 2;
        }
        out[n] = '\0';
        return true;
    }
    return false;
}

bool http_host_is_literal(struct str host)
{
    char text[64];
    unsigned char room[16];
    struct str rest;
    if (host.len > 0 && host.ptr[0] == '[') {
        host = str_cut(str_make(host.ptr + 1, host.len - 1), ']', &rest);
        if (!rest.ptr)
            return false;
    } else {
        host = str_cut(host, ':', &rest);
    }
    if (str_eq_nocase(host, STR("localhost")))
        return true;
    if (host.len == 0 || host.len >= sizeof text)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET, text, room) == 1 || inet_pton(AF_INET6, text, room) == 1;
}
