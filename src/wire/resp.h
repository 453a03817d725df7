/* SPDX-License-Identifier: Apache-2.0 */
/* resp - requests of the Redis protocol, out of a stream of bytes.
 *
 * A request is an array of bulk strings, or one line of words as a person types it. Parsing makes
 * views into the caller's bytes and copies nothing (except words with escapes). An incomplete
 * request keeps no state: it answers how many bytes it needs at least, and the caller shows the
 * same bytes again once they are there. The announced lengths are only believed as far as the
 * limits go, so a lie costs its sender a connection and us no memory. */
#ifndef TTG_WIRE_RESP_H
#define TTG_WIRE_RESP_H

#include "base/buf.h"
#include "base/err.h"

enum {
    RESP_ARGS_MAX = 1024 * 1024,
    RESP_BULK_BYTES_MAX = 512 * 1024 * 1024,
    RESP_LINE_BYTES_MAX = 64 * 1024,
};

struct resp_limits {
    size_t args_max, bulk_bytes_max;
};

/* Where a request's words are put: one for all connections. */
struct resp_request {
    struct str *argv;
    size_t argc, cap;
    struct buf words; /* unescaped words of a typed line */
};

void resp_request_init(struct resp_request *r);
void resp_request_done(struct resp_request *r);

/* Parses one request at the front of `bytes`. Returns 1 and how many bytes it took: the words are
 * views into `bytes` or into `r`, until the next call; argc may be 0 (an empty line), which asks
 * for nothing. Returns 0 when bytes are missing: there is no point in calling again before there
 * are `*ret_bytes`. TTG_EPROTO with a text for the client, TTG_ENOMEM. */
int resp_parse(struct resp_request *r, const struct resp_limits *limits, struct str bytes,
               size_t *ret_bytes, struct err *err);

/* Splits a typed line into words. "a b" and 'a b' group, with \n \r \t \b \a \xHH \" inside double
 * quotes. TTG_EPROTO when a quote is not closed. */
int resp_split(struct resp_request *r, struct str line);

#endif
