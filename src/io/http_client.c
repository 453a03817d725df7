/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_client.h"

#include "base/clock.h"
#include "base/ensure.h"

#include <stdio.h>

/* --- reading an answer --- */

/* The next line without its end; false when it is not whole yet. */
static bool next_line(struct str *rest, struct str *ret_line)
{
    const char *at = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    if (!at)
        return false;
    size_t len = (size_t)(at - rest->ptr);
    *ret_line = str_make(rest->ptr, len > 0 && at[-1] == '\r' ? len - 1 : len);
    *rest = str_make(at + 1, rest->len - len - 1);
    return true;
}

/* "HTTP/1.1 200 OK" */
static int read_status(struct str line, int *ret_status)
{
    struct str rest, version = str_cut(line, ' ', &rest), code = str_cut(rest, ' ', &rest);
    uint64_t status;
    if (!str_starts(version, STR("HTTP/1.")) || code.len != 3 || str_to_u64(code, &status))
        return TTG_EPROTO;
    *ret_status = (int)status;
    return 0;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT"; 0: anything else. */
static uint64_t read_date(struct str text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char line[40], month[4];
    unsigned day, year, hour, minute, second;
    int end = 0;
    snprintf(line, sizeof line, "%.*s", STR_ARG(text));
    if (sscanf(line, "%*3[A-Za-z], %2u %3[A-Za-z] %4u %2u:%2u:%2u GMT%n", &day, month, &year, &hour,
               &minute, &second, &end) != 6 ||
        end == 0)
        return 0;
    const char *at = strlen(month) == 3 ? strstr(months, month) : NULL;
    return at && (at - months) % 3 == 0
               ? clock_of_date(year, (unsigned)(at - months) / 3 + 1, day, hour, minute, second)
               : 0;
}

struct head {
    bool chunked, sized;
    uint64_t size, date_ms;
};

/* Up to the empty line. */
static int read_head(struct str *rest, struct head *h)
{
    struct str line, value;
    while (next_line(rest, &line)) {
        if (line.len == 0)
            return 0;
        struct str name = str_cut(line, ':', &value);
        value = str_trim(value);
        if (str_eq_nocase(name, STR("transfer-encoding"))) {
            if (!str_eq_nocase(value, STR("chunked")))
                return TTG_EPROTO;
            h->chunked = true;
        } else if (str_eq_nocase(name, STR("content-length"))) {
            if (str_to_u64(value, &h->size))
                return TTG_EPROTO;
            h->sized = true;
        } else if (str_eq_nocase(name, STR("date"))) {
            h->date_ms = read_date(value);
        }
    }
    return rest->len > HTTP_HEAD_BYTES_MAX ? TTG_EFULL : TTG_EAGAIN;
}

static int hex_size(struct str text, uint64_t *ret_size)
{
    uint64_t size = 0;
    if (text.len == 0 || text.len > 8)
        return TTG_EPROTO;
    for (size_t i = 0; i < text.len; i++) {
        const char *digits = "0123456789abcdef";
        char c = text.ptr[i] >= 'A' && text.ptr[i] <= 'F' ? (char)(text.ptr[i] | 32) : text.ptr[i];
        const char *at = memchr(digits, c, 16);
        if (!at)
            return TTG_EPROTO;
        size = size << 4 | (uint64_t)(at - digits);
    }
    *ret_size = size;
    return 0;
}

static int read_chunks(struct str rest, struct buf *room)
{
    struct str line, more;
    uint64_t size;
    buf_clear(room);
    for (;;) {
        if (!next_line(&rest, &line))
            return TTG_EAGAIN;
        int rc = hex_size(str_trim(str_cut(line, ';', &more)), &size);
        if (rc)
            return rc;
        if (buf_len(room) + size > HTTP_BODY_BYTES_MAX)
            return TTG_EFULL;
        if (size == 0)
            break;
        if (rest.len < size)
            return TTG_EAGAIN;
        rc = buf_add(room, rest.ptr, size);
        if (rc)
            return rc;
        rest = str_make(rest.ptr + size, rest.len - size);
        if (!next_line(&rest, &line))
            return TTG_EAGAIN;
        if (line.len > 0)
            return TTG_EPROTO;
    }
    while (next_line(&rest, &line)) /* trailers */
        if (line.len == 0)
            return 0;
    return TTG_EAGAIN;
}

static int read_whole(struct str bytes, bool ended, struct buf *room, struct http_answer *answer)
{
    struct head h = {0};
    struct str rest = bytes, line;
    if (!next_line(&rest, &line))
        return bytes.len > HTTP_HEAD_BYTES_MAX ? TTG_EPROTO : TTG_EAGAIN;
    int rc = read_status(line, &answer->status);
    if (!rc)
        rc = read_head(&rest, &h);
    if (rc)
        return rc;
    answer->date_ms = h.date_ms;
    if (answer->status == 204 || answer->status == 304)
        rest.len = 0;
    else if (h.chunked) {
        rc = read_chunks(rest, room);
        rest = buf_str(room);
    } else if (h.sized) {
        if (h.size > HTTP_BODY_BYTES_MAX)
            return TTG_EFULL;
        if (rest.len < h.size)
            return TTG_EAGAIN;
        rest.len = h.size;
    } else if (!ended) {
        return rest.len > HTTP_BODY_BYTES_MAX ? TTG_EFULL : TTG_EAGAIN;
    }
    answer->body = rest;
    return rc;
}

int http_answer_read(struct str bytes, bool ended, struct buf *room, struct http_answer *ret_answer)
{
    struct http_answer answer = {0};
    int rc = read_whole(bytes, ended, room, &answer);
    if (!rc)
        *ret_answer = answer;
    return rc == TTG_EAGAIN && ended ? TTG_EPROTO : rc;
}

/* --- the client --- */

static void finish(struct http_client *c, int rc, const struct http_answer *answer,
                   const struct err *err)
{
    conn_close(&c->conn);
    loop_timer_stop(&c->timer);
    c->busy = false;
    c->on_done(c, rc, answer, err);
}

static void look(struct http_client *c, bool ended)
{
    struct http_answer answer;
    struct err err;
    int rc = http_answer_read(buf_str(&c->bytes), ended, &c->room, &answer);
    if (rc == TTG_EAGAIN)
        return;
    if (rc)
        err_set(&err, rc, "%s",
                rc == TTG_EFULL ? "the answer is too large" : "this is not an HTTP server");
    finish(c, rc, rc ? NULL : &answer, rc ? &err : NULL);
}

static size_t on_bytes(struct conn *conn, struct str bytes)
{
    struct http_client *c = container_of(conn, struct http_client, conn);
    struct err err;
    if (buf_add_str(&c->bytes, bytes)) {
        err_set(&err, TTG_EFULL, "the answer is too large");
        finish(c, TTG_EFULL, NULL, &err);
        return 0;
    }
    look(c, false);
    return bytes.len;
}

static void on_over(struct conn *conn, const struct err *err)
{
    struct http_client *c = container_of(conn, struct http_client, conn);
    if (err->code == TTG_ECLOSED && buf_len(&c->bytes) > 0)
        look(c, true);
    else
        finish(c, err->code, NULL, err);
}

static void on_open(struct conn *conn)
{
    struct http_client *c = container_of(conn, struct http_client, conn);
    struct err err;
    if (buf_add_str(&conn->out, buf_str(&c->request))) {
        err_set(&err, TTG_ENOMEM, "out of memory");
        finish(c, TTG_ENOMEM, NULL, &err);
        return;
    }
    conn_send_all(conn);
}

static const struct conn_handler handler = {
    .on_bytes = on_bytes, .on_over = on_over, .on_open = on_open};

static void on_timer(struct loop_timer *t)
{
    struct http_client *c = container_of(t, struct http_client, timer);
    struct err err;
    err_set(&err, TTG_ETIMEOUT, "no answer in time");
    finish(c, TTG_ETIMEOUT, NULL, &err);
}

void http_client_init(struct http_client *c, struct loop *loop,
                      void (*on_done)(struct http_client *c, int rc,
                                      const struct http_answer *answer, const struct err *err),
                      void *ctx)
{
    *c = (struct http_client){.loop = loop, .on_done = on_done, .ctx = ctx};
    c->conn.fd = -1;
    loop_timer_init(&c->timer, loop, on_timer);
    buf_init(&c->request, HTTP_HEAD_BYTES_MAX);
    buf_init(&c->bytes, HTTP_BODY_BYTES_MAX + HTTP_HEAD_BYTES_MAX);
    buf_init(&c->room, HTTP_BODY_BYTES_MAX);
}

void http_client_done(struct http_client *c)
{
    conn_close(&c->conn);
    loop_timer_stop(&c->timer);
    buf_done(&c->request);
    buf_done(&c->bytes);
    buf_done(&c->room);
}

/* What the caller names may come from a user: no byte of it may begin another line. */
static bool is_plain(const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p == 0x7f)
            return false;
    return true;
}

static int put_request(struct http_client *c, const struct http_get *get, struct err *err)
{
    struct buf *out = &c->request, credentials;
    bool six = strchr(get->host, ':');
    if (!is_plain(get->path) || !is_plain(get->host))
        return err_set(err, TTG_EINVAL, "a blank in the address");
    buf_clear(out);
    int rc = buf_printf(out, "GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nConnection: close\r\n",
                        get->path, six ? "[" : "", get->host, six ? "]" : "", get->port);
    if (!rc && get->user) {
        buf_init(&credentials, HTTP_HEAD_BYTES_MAX / 2);
        rc = buf_printf(&credentials, "%s:%s", get->user, get->password ? get->password : "");
        if (!rc)
            rc = buf_add_str(out, STR("Authorization: Basic "));
        if (!rc)
            rc = buf_add_base64(out, buf_str(&credentials));
        if (!rc)
            rc = buf_add_str(out, STR("\r\n"));
        buf_done(&credentials);
    }
    if (!rc)
        rc = buf_add_str(out, STR("Accept: application/json\r\n\r\n"));
    return rc ? err_set(err, rc, "%s", err_text(rc)) : 0;
}

int http_client_start(struct http_client *c, const struct http_get *get, struct err *err)
{
    struct dial_to to = {.host = get->host, .port = get->port};
    ensure(!c->busy);
    buf_clear(&c->bytes);
    int rc = put_request(c, get, err);
    if (!rc && loop_timer_after_ms(&c->timer, get->timeout_ms))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (!rc)
        rc = conn_connect(&c->conn, c->loop, &to, get->tls, &handler, HTTP_BODY_BYTES_MAX,
                          HTTP_HEAD_BYTES_MAX, err);
    if (rc)
        loop_timer_stop(&c->timer);
    c->busy = !rc;
    return rc;
}
