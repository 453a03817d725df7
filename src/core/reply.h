/* SPDX-License-Identifier: Apache-2.0 */
/* reply - the answers of the core, written as RESP2 or RESP3.
 *
 * The core answers in one fixed vocabulary; what a connection speaks is a flag. In replay the
 * answers go nowhere: `out` is NULL and each call returns at once. An aggregate announces its
 * length first; when it is known only at the end, `reply_open`/`reply_close` patch it in. */
#ifndef TTG_CORE_REPLY_H
#define TTG_CORE_REPLY_H

#include "base/buf.h"

struct reply {
    struct buf *out; /* NULL: discard */
    bool resp3;
    bool failed; /* an error was written */
    int rc;      /* first failure of `out`: the connection has to be closed */
};

void reply_status(struct reply *r, const char *text); /* +OK */
/* "ERR ..." or another upper-case code first; line breaks become blanks. */
void reply_error(struct reply *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_int(struct reply *r, int64_t value);
void reply_str(struct reply *r, struct str s);
void reply_raw(struct reply *r, struct str encoded); /* made by another reply of the same kind */
/* The same in front of what was written since the answer was `mark` bytes long. */
void reply_insert(struct reply *r, size_t mark, struct str encoded);
/* What comes before and behind the `len` bytes of a string that are written in pieces. */
void reply_str_head(struct reply *r, size_t len);
void reply_str_end(struct reply *r);
void reply_text(struct reply *r, const char *text);
void reply_double(struct reply *r, double value); /* RESP2: a string */
void reply_bool(struct reply *r, bool value);     /* RESP2: 0 or 1 */
void reply_null(struct reply *r);                 /* RESP2: $-1 */
void reply_null_array(struct reply *r);           /* RESP2: *-1 */
void reply_array(struct reply *r, size_t count);
void reply_map(struct reply *r, size_t pairs); /* RESP2: an array of 2 * pairs */
void reply_set(struct reply *r, size_t count); /* RESP2: an array */

/* An array whose length comes later. Nesting is allowed; close in reverse order. */
size_t reply_open(struct reply *r);
void reply_close(struct reply *r, size_t mark, size_t count);
/* The same as a map of `pairs` in RESP3; an array of `pairs` elements in RESP2. */
void reply_close_map(struct reply *r, size_t mark, size_t pairs);

#endif
