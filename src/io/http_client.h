/* SPDX-License-Identifier: Apache-2.0 */
/* http_client - one GET over a connection of its own, for small answers.
 *
 * Bounded: an answer larger than HTTP_BODY_BYTES_MAX, or a slow one, is an error. It speaks
 * HTTP/1.1 as far as the management interfaces of brokers need it: a length, chunks, or the end of
 * the connection tell where the body ends. No redirects, no cookies, no compression. */
#ifndef TTG_IO_HTTP_CLIENT_H
#define TTG_IO_HTTP_CLIENT_H

#include "io/conn.h"

enum { HTTP_HEAD_BYTES_MAX = 64 * 1024, HTTP_BODY_BYTES_MAX = 16 << 20 };

struct http_answer {
    int status;       /* 200 */
    uint64_t date_ms; /* what the server's clock said, to the second; 0: it does not say */
    struct str body;  /* a view into the reader's bytes, or into `room` when it came in chunks */
};

/* Reads an answer from all bytes that have come so far; `ended`: no more will. TTG_EAGAIN: not all
 * is there; TTG_EPROTO: this is no HTTP, or it was cut off; TTG_EFULL: larger than allowed. */
int http_answer_read(struct str bytes, bool ended, struct buf *room,
                     struct http_answer *ret_answer);

struct http_get {
    const char *host;
    uint16_t port;
    struct tls *tls;             /* NULL: none */
    const char *path;            /* "/api/overview" */
    const char *user, *password; /* NULL: none */
    uint64_t timeout_ms;
};

struct http_client {
    struct loop *loop;
    struct conn conn;
    struct loop_timer timer;
    struct buf bytes, room, request;
    bool busy;
    void *ctx;
    /* Once for each start, from the loop. 0: an answer, of any status; it lives until the next
     * start. */
    void (*on_done)(struct http_client *c, int rc, const struct http_answer *answer,
                    const struct err *err);
};

void http_client_init(struct http_client *c, struct loop *loop,
                      void (*on_done)(struct http_client *c, int rc,
                                      const struct http_answer *answer, const struct err *err),
                      void *ctx);
void http_client_done(struct http_client *c);
/* An error is returned, and on_done does not come, when it cannot even begin. */
int http_client_start(struct http_client *c, const struct http_get *get, struct err *err);

#endif
