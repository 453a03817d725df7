/* SPDX-License-Identifier: Apache-2.0 */
#include "io/conn.h"

#include "base/ensure.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { READS_A_TURN = 16, IN_ROOM_MIN = 16 * 1024 };

static void watch(struct conn *c)
{
    if (!c->poll.loop)
        return;
    unsigned events = c->paused && !c->opening ? 0 : LOOP_READ;
    if (c->waits_writable)
        events |= LOOP_WRITE;
    if (c->poll.events != events)
        loop_poll_change(&c->poll, events);
}

/* Notes a failure found inside a call of the owner; the hang-up brings it to on_over. */
static void fail_later(struct conn *c, int rc, const char *text)
{
    if (c->failure.code)
        return;
    err_set(&c->failure, rc, "%s", text);
    c->sendable = 0;
    shutdown(c->fd, SHUT_RDWR);
}

static void over(struct conn *c, int rc, const char *text)
{
    struct err failure = c->failure;
    if (!failure.code)
        err_set(&failure, rc, "%s", text);
    c->over = c->paused = true;
    watch(c);
    c->handler->on_over(c, &failure);
}

/* Bytes read, 0 when there are none now (`*ret_rc` 0) or no more (`*ret_rc` < 0). */
static size_t read_some(struct conn *c, char *at, size_t len, int *ret_rc)
{
    *ret_rc = 0;
    if (c->tls) {
        enum tls_want want;
        long n = tls_read(c->tls, at, len, &want, &c->failure);
        if (n >= 0)
            return (size_t)n;
        if (n != TTG_EAGAIN)
            *ret_rc = (int)n;
        else
            c->failure.code = 0;
        return 0;
    }
    ssize_t n;
    do
        n = recv(c->fd, at, len, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return (size_t)n;
    if (n == 0)
        *ret_rc = TTG_ECLOSED;
    else if (errno != EAGAIN)
        *ret_rc = errno == ECONNRESET ? TTG_ECLOSED : err_from_errno(errno);
    return 0;
}

void conn_show(struct conn *c)
{
    size_t len = buf_len(&c->in);
    if (len == 0 || len < c->in_needed || c->paused || c->over)
        return;
    c->in_needed = 0;
    size_t used = c->handler->on_bytes(c, buf_str(&c->in));
    if (!conn_is_open(c))
        return;
    buf_consume(&c->in, used);
    if (buf_len(&c->in) == 0)
        buf_done(&c->in);
}

/* Into the block that all connections of the loop share, and from there to the owner; what he
 * leaves is kept. */
static size_t read_shared(struct conn *c, int *ret_rc)
{
    char *block = loop_block(c->loop);
    size_t len = read_some(c, block, LOOP_BLOCK_BYTES, ret_rc);
    if (len == 0)
        return 0;
    c->in_bytes += len;
    c->in_needed = 0;
    size_t used = c->handler->on_bytes(c, str_make(block, len));
    if (conn_is_open(c) && used < len)
        *ret_rc = buf_add(&c->in, block + used, len - used);
    return len;
}

static size_t read_owned(struct conn *c, int *ret_rc)
{
    char *at;
    size_t room = c->in_needed > buf_len(&c->in) ? c->in_needed - buf_len(&c->in) : 0;
    if (room < IN_ROOM_MIN)
        room = IN_ROOM_MIN;
    if (room > LOOP_BLOCK_BYTES) /* never believe an announced length before bytes came */
        room = LOOP_BLOCK_BYTES;
    if (room > c->in.bytes_max - buf_len(&c->in))
        room = c->in.bytes_max - buf_len(&c->in);
    *ret_rc = room ? buf_reserve(&c->in, room, &at) : TTG_EFULL;
    if (*ret_rc)
        return 0;
    room = c->in.cap - c->in.end < room ? c->in.cap - c->in.end : room;
    size_t len = read_some(c, at, room, ret_rc);
    buf_grew(&c->in, len);
    c->in_bytes += len;
    if (len > 0)
        conn_show(c);
    return len;
}

static const char *failure_text(int rc)
{
    if (rc == TTG_ECLOSED)
        return "closed by the peer";
    if (rc == TTG_EFULL)
        return "more input than the limit allows";
    return err_text(rc);
}

static void read_ready(struct conn *c)
{
    /* TLS may hold decoded bytes that the descriptor does not announce: read until it is dry. */
    for (int i = 0; i < READS_A_TURN || c->tls; i++) {
        int rc = 0;
        size_t len = buf_len(&c->in) > 0 ? read_owned(c, &rc) : read_shared(c, &rc);
        if (!conn_is_open(c))
            return;
        if (rc) {
            over(c, rc, failure_text(rc));
            return;
        }
        if (len == 0 || c->paused || (!c->tls && len < LOOP_BLOCK_BYTES))
            return;
    }
}

static ssize_t write_some(struct conn *c, const char *at, size_t len)
{
    if (c->tls) {
        enum tls_want want;
        struct err err = {0};
        long n = tls_write(c->tls, at, len, &want, &err);
        if (n < 0 && n != TTG_EAGAIN)
            fail_later(c, (int)n, err.text);
        return n < 0 ? -1 : n;
    }
    ssize_t n;
    do
        n = send(c->fd, at, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        bool gone = errno == EPIPE || errno == ECONNRESET;
        int rc = gone ? TTG_ECLOSED : err_from_errno(errno);
        fail_later(c, rc, failure_text(rc));
    }
    return n;
}

static void write_ready(struct conn *c)
{
    bool waited = c->waits_writable;
    while (c->sendable > 0) {
        ssize_t n = write_some(c, buf_ptr(&c->out), c->sendable);
        if (n < 0)
            break;
        buf_consume(&c->out, (size_t)n);
        c->sendable -= (size_t)n;
        c->out_bytes += (size_t)n;
    }
    c->waits_writable = c->sendable > 0;
    if (c->waits_writable != waited)
        watch(c);
    if (buf_len(&c->out) == 0)
        buf_done(&c->out);
    if (waited && !c->waits_writable && !c->failure.code && c->handler->on_sent)
        c->handler->on_sent(c);
}

/* The handshake of TLS, where there is one. */
static void open_ready(struct conn *c)
{
    if (c->tls) {
        enum tls_want want;
        int rc = tls_handshake(c->tls, &want, &c->failure);
        if (rc == TTG_EAGAIN) {
            c->failure.code = 0;
            c->waits_writable = want == TLS_WANT_WRITE;
            watch(c);
            return;
        }
        if (rc) {
            over(c, rc, "TLS handshake failed");
            return;
        }
    }
    c->opening = false;
    c->waits_writable = c->sendable > 0;
    watch(c);
    if (c->handler->on_open)
        c->handler->on_open(c);
}

static void on_ready(struct loop_poll *p, unsigned events)
{
    struct conn *c = container_of(p, struct conn, poll);
    if (c->failure.code) {
        over(c, c->failure.code, "");
        return;
    }
    if (c->opening) {
        open_ready(c);
        return;
    }
    if (events & LOOP_WRITE && c->waits_writable)
        write_ready(c);
    if (conn_is_open(c) && events & LOOP_READ && !c->over && !c->paused)
        read_ready(c);
    else if (conn_is_open(c) && events & LOOP_HANGUP)
        over(c, TTG_ECLOSED, failure_text(TTG_ECLOSED));
}

static void init(struct conn *c, struct loop *l, const struct conn_handler *handler,
                 size_t in_bytes_max, size_t out_bytes_max)
{
    *c = (struct conn){.handler = handler, .loop = l, .fd = -1};
    buf_init(&c->in, in_bytes_max);
    buf_init(&c->out, out_bytes_max);
}

/* `host` NULL: the peer is the client. */
static int start(struct conn *c, int fd, struct tls *tls, const char *host)
{
    c->fd = fd;
    int rc = tls ? tls_session_new(tls, fd, host, &c->tls) : 0;
    return rc ? rc : loop_poll_start(&c->poll, c->loop, fd, LOOP_READ, on_ready);
}

int conn_open(struct conn *c, struct loop *l, int fd, struct tls *tls,
              const struct conn_handler *handler, size_t in_bytes_max, size_t out_bytes_max)
{
    init(c, l, handler, in_bytes_max, out_bytes_max);
    c->opening = tls != NULL;
    int rc = start(c, fd, tls, NULL);
    if (rc)
        conn_close(c);
    return rc;
}

static void on_dialed(void *ctx, int fd, const struct err *err)
{
    struct conn *c = ctx;
    struct dial *dial = c->dial;
    c->dial = NULL;
    int rc = fd >= 0 ? start(c, fd, c->dial_tls, dial_host(dial)) : err->code;
    if (fd < 0) {
        c->failure = *err;
        buf_done(&c->out);
    }
    dial_free(dial);
    if (rc)
        over(c, rc, err_text(rc));
    else
        open_ready(c);
}

int conn_connect(struct conn *c, struct loop *l, const struct dial_to *to, struct tls *tls,
                 const struct conn_handler *handler, size_t in_bytes_max, size_t out_bytes_max,
                 struct err *err)
{
    init(c, l, handler, in_bytes_max, out_bytes_max);
    c->dial_tls = tls;
    c->opening = true;
    return dial_start(&c->dial, l, to, on_dialed, c, err);
}

void conn_close(struct conn *c)
{
    if (!conn_is_open(c))
        return;
    if (c->tls && !c->opening)
        tls_bye(c->tls);
    tls_session_free(c->tls);
    loop_poll_stop(&c->poll);
    if (c->fd >= 0)
        close(c->fd);
    dial_free(c->dial);
    c->fd = -1;
    c->dial = NULL;
    c->tls = NULL;
    buf_done(&c->in);
    buf_done(&c->out);
}

void conn_send(struct conn *c, size_t bytes)
{
    c->sendable += bytes;
    ensure(c->sendable <= buf_len(&c->out));
    if (c->failure.code || c->opening || c->waits_writable || c->sendable == 0)
        return;
    write_ready(c);
}

void conn_pause(struct conn *c)
{
    c->paused = true;
    watch(c);
}

void conn_resume(struct conn *c)
{
    if (!c->paused || c->over)
        return;
    c->paused = false;
    watch(c);
}
