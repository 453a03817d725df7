/* SPDX-License-Identifier: Apache-2.0 */
/* conn - a byte stream to a peer: Unix socket or TCP, with or without TLS, either end.
 *
 * An idle connection owns no buffer: bytes are read into the loop's block and shown to the owner at
 * once; only an unfinished rest is kept. The owner writes answers into `out` and says with
 * conn_send how many of them may leave, so that answers can wait there until they are durable. */
#ifndef TTG_IO_CONN_H
#define TTG_IO_CONN_H

#include "base/buf.h"
#include "io/dial.h"
#include "io/net.h"
#include "io/tls.h"

struct conn;

struct conn_handler {
    /* Bytes came; `bytes` are all that were not taken before. Returns how many are used up. Set
     * `c->in_needed` to be left alone until there are that many. */
    size_t (*on_bytes)(struct conn *c, struct str bytes);
    /* The connection is over: closed by the peer (TTG_ECLOSED), broken, or past a limit
     * (TTG_EFULL). Never from inside a call of the owner, who closes. He may put that off after
     * TTG_ECLOSED to send the rest, in case the peer only finished sending; when it is gone for
     * good this comes again. */
    void (*on_over)(struct conn *c, const struct err *err);
    /* It stands, with TLS and all. For accepted plain ones it does not come. May be NULL. */
    void (*on_open)(struct conn *c);
    /* All that was released by conn_send has gone after waiting for the peer. May be NULL. */
    void (*on_sent)(struct conn *c);
};

struct conn {
    const struct conn_handler *handler;
    struct loop *loop;
    struct loop_poll poll;
    struct tls_session *tls; /* NULL: plain */
    struct dial *dial;       /* it is being connected, there is no descriptor yet */
    struct tls *dial_tls;    /* for the session, then; NULL: plain */
    int fd;                  /* -1: closed */
    struct buf in;           /* read and not taken */
    struct buf out;          /* written and not sent */
    size_t in_needed;        /* on_bytes waits until `in` holds so many */
    size_t sendable;         /* bytes at the front of `out` that may leave */
    bool opening, paused, over, waits_writable;
    struct err failure;           /* reported at the next turn */
    uint64_t in_bytes, out_bytes; /* ever */
};

/* Limits of both buffers. The descriptor is taken (also on failure). `tls` NULL: plain. */
int conn_open(struct conn *c, struct loop *l, int fd, struct tls *tls,
              const struct conn_handler *handler, size_t in_bytes_max, size_t out_bytes_max);
/* From this end: on_open or on_over comes. A certificate must carry the name of the host. */
int conn_connect(struct conn *c, struct loop *l, const struct dial_to *to, struct tls *tls,
                 const struct conn_handler *handler, size_t in_bytes_max, size_t out_bytes_max,
                 struct err *err);
/* At once; what was not sent is lost. No callback comes any more. Harmless when closed (fd -1). */
void conn_close(struct conn *c);
static inline bool conn_is_open(const struct conn *c)
{
    return c->fd >= 0 || c->dial;
}

/* Lets the next `bytes` of `out` leave, as far as the peer takes them now, the rest later. */
void conn_send(struct conn *c, size_t bytes);
/* Lets all of `out` leave. */
static inline void conn_send_all(struct conn *c)
{
    conn_send(c, buf_len(&c->out) - c->sendable);
}

/* Stops and resumes reading. After resuming, bytes that are there already are shown at once by
 * conn_show. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
/* Shows what `in` holds to on_bytes again. */
void conn_show(struct conn *c);

#endif
