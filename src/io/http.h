/* SPDX-License-Identifier: Apache-2.0 */
/* http - a small HTTP/1.1 server: requests in, answers or streams of events out.
 *
 * For monitoring: a few clients, short requests. It reads GET, HEAD and POST with a Content-Length;
 * what it does not know (chunked bodies, other methods) is refused, not guessed. Requests, clients
 * and unsent bytes have limits; who does not read, or says nothing for long, is dropped. Plain
 * text only: TLS is for whoever stands in front. */
#ifndef TTG_IO_HTTP_H
#define TTG_IO_HTTP_H

#include "base/buf.h"
#include "io/net.h"

enum {
    HTTP_HEAD_BYTES_MAX = 8192,
    HTTP_BODY_BYTES_MAX = 16384,
    HTTP_ANSWER_BYTES_MAX = 8 << 20,
    HTTP_CLIENTS_MAX = 64,
    HTTP_STREAMS_MAX = 16,
    HTTP_IDLE_MS = 30000, /* without a request, or without a byte of a stream taken */
};

struct http_server;
struct http_exchange; /* one request that waits for its answer; gone once it is answered */
struct http_stream;

/* Views that live until on_request returns. Headers that are not there are empty. */
struct http_request {
    struct str method, path, query, body;
    struct str host, authorization, origin, content_type, ttg; /* ttg: X-TTG */
    bool head, takes_gzip;
    bool close; /* the client wants no further answer */
};

struct http_config {
    const char *address;
    void *ctx;
    /* Answers with http_answer, http_stream or http_later before it returns. */
    void (*on_request)(void *ctx, struct http_exchange *x, const struct http_request *r);
};

int http_open(struct http_server **ret_server, struct loop *loop, const struct http_config *config,
              struct err *err);
/* Streams end with their on_closed. Not from on_request. NULL is fine. */
void http_close(struct http_server *s);
/* As bound, with the port that 0 became. */
const struct net_addr *http_addr(const struct http_server *s);

/* `status`: "200 OK". `headers`: whole lines, each with "\r\n"; may be NULL. */
void http_answer(struct http_exchange *x, const char *status, const char *type, const char *headers,
                 struct str body);
/* Text with a newline. */
void http_answer_text(struct http_exchange *x, const char *status, const char *text);

/* The answer comes later, by http_answer. `on_closed` comes when the client goes before. */
void http_later(struct http_exchange *x, void *owner, void (*on_closed)(void *owner));

/* The answer has no end: events follow. NULL (and answered) when there are too many. `on_closed`
 * comes once, when the client has gone; not after http_stream_close. */
struct http_stream *http_stream(struct http_exchange *x, const char *type, const char *headers,
                                void *owner, void (*on_closed)(void *owner));
/* TTG_EAGAIN: the client has not taken what it got before, and gets nothing now. */
int http_stream_send(struct http_stream *s, struct str bytes);
void http_stream_close(struct http_stream *s);

/* One whole request at the front of `bytes`; all views lie inside. TTG_EAGAIN: not complete,
 * TTG_EPROTO: refused, TTG_EFULL: the head is too long, TTG_ERANGE: the body is. */
int http_parse(struct str bytes, struct http_request *ret_request, size_t *ret_len);
/* The value of a parameter of the query, decoded. False when it is not there, or wrong. */
bool http_param(struct str query, const char *name, char *out, size_t room);
/* Whether the Host header names this machine by address or as localhost: a page of another site
 * whose name leads here by a trick (DNS rebinding) cannot do that. */
bool http_host_is_literal(struct str host);

#endif
