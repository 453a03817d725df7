/* SPDX-License-Identifier: Apache-2.0 */
/* resp_client - the client's half of the Redis protocol: commands out, replies in.
 *
 * A reply is first scanned for completeness, then read in place with a cursor, token by token: no
 * tree is built and nothing is allocated, since a collector reads millions of small fields. The
 * scan remembers where it stopped, so that a large reply that arrives in pieces is scanned once. */
#ifndef TTG_WIRE_RESP_CLIENT_H
#define TTG_WIRE_RESP_CLIENT_H

#include "base/buf.h"

enum { RESP_DEPTH_MAX = 16 };

enum resp_type {
    RESP_STATUS,
    RESP_ERROR,
    RESP_INT,
    RESP_STR, /* bulk, verbatim (without its prefix) and big numbers */
    RESP_NULL,
    RESP_ARRAY, /* also sets */
    RESP_MAP,   /* `count` pairs */
    RESP_PUSH,
    RESP_DOUBLE,
    RESP_BOOL,
};

struct resp_value {
    enum resp_type type;
    struct str s;   /* STATUS, ERROR, STR and DOUBLE: a view into the input */
    int64_t number; /* INT, BOOL */
    size_t count;   /* ARRAY, MAP, PUSH */
};

struct resp_scan {
    size_t at;
    int depth;
    uint64_t left[RESP_DEPTH_MAX]; /* elements still to come at each depth */
};

/* Looks for one whole reply at the front of `bytes`, which only ever grow between calls with the
 * same `s` (start with a zeroed one). 0: it is `*ret_len` bytes long and `s` is zeroed again;
 * TTG_EAGAIN: more bytes are needed; TTG_EPROTO: this is not the protocol; TTG_EFULL: nested too
 * deeply, or a string longer than `string_bytes_max`. */
int resp_scan(struct resp_scan *s, struct str bytes, size_t string_bytes_max, size_t *ret_len);

struct resp_cursor {
    const char *at, *end;
};

/* Over one reply that resp_scan found whole. */
static inline struct resp_cursor resp_cursor_of(struct str reply)
{
    return (struct resp_cursor){reply.ptr, reply.ptr + reply.len};
}

/* The next token; the elements of an aggregate follow it. False at the end. */
bool resp_next(struct resp_cursor *c, struct resp_value *ret_value);

/* Passes over the next value with all that it contains. */
void resp_skip(struct resp_cursor *c);

/* Helpers for replies of a known shape: false, and the reply is to be treated as a protocol
 * violation, when the next token is something else. Integers are also taken from strings. */
bool resp_next_array(struct resp_cursor *c, size_t *ret_count);
bool resp_next_int(struct resp_cursor *c, int64_t *ret_value);
bool resp_next_str(struct resp_cursor *c, struct str *ret_value);

/* A command: announce how many words follow, then add them. */
int resp_command(struct buf *b, size_t words);
int resp_word(struct buf *b, struct str word);
int resp_word_u64(struct buf *b, uint64_t value);
int resp_word_i64(struct buf *b, int64_t value);

#endif
