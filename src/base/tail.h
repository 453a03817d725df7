/* SPDX-License-Identifier: Apache-2.0 */
/* tail - what a process said last: cut into lines, the newest kept. */
#ifndef TTG_BASE_TAIL_H
#define TTG_BASE_TAIL_H

#include "base/str.h"

enum {
    TAIL_BYTES_MAX = 4096,
    TAIL_LINES_MAX = 20,
    TAIL_LINE_BYTES_MAX = 1024, /* longer lines are cut into several */
};

struct tail {
    size_t len, line_start; /* of the last line, which may be unfinished */
    unsigned lines;
    char bytes[TAIL_BYTES_MAX];
};

/* Told of each line as it ends, without its newline; may be NULL. */
typedef void tail_on_line(void *ctx, struct str line);

void tail_start(struct tail *t);
void tail_add(struct tail *t, struct str s, tail_on_line *on_line, void *ctx);
/* A last line without newline is one too. */
void tail_end(struct tail *t, tail_on_line *on_line, void *ctx);

static inline struct str tail_str(const struct tail *t)
{
    return str_make(t->bytes, t->len);
}

/* The newest whole lines that have room in so many bytes. */
struct str tail_within(const struct tail *t, size_t bytes_max);

#endif
