/* SPDX-License-Identifier: Apache-2.0 */
/* tail - what a command said last: cut into lines for the log, the newest kept for the reason. */
#ifndef TTG_WORKER_TAIL_H
#define TTG_WORKER_TAIL_H

#include "base/str.h"
#include "worker/kernel.h"

enum { TAIL_LINE_BYTES_MAX = 1024 }; /* longer lines are cut into several */

struct tail {
    size_t len, line_start; /* of the last line, which may be unfinished */
    unsigned lines;
    char bytes[KERNEL_STDERR_BYTES_MAX];
};

typedef void tail_on_line(void *ctx, struct str line);

void tail_start(struct tail *t);
void tail_add(struct tail *t, struct str s, tail_on_line *on_line, void *ctx);
/* A last line without newline is one too. */
void tail_end(struct tail *t, tail_on_line *on_line, void *ctx);

static inline struct str tail_str(const struct tail *t)
{
    return str_make(t->bytes, t->len);
}

#endif
