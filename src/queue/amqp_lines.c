/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/amqp_lines.h"

#include "base/err.h"
#include "base/mem.h"

#include <string.h>

enum { BYTES_MAX = 1 << 30, ANSWER_BYTES_MAX = 8 << 20 };

void amqp_lines_init(struct amqp_lines *l, uint64_t first)
{
    *l = (struct amqp_lines){.first = first};
    buf_init(&l->bytes, BYTES_MAX);
}

void amqp_lines_done(struct amqp_lines *l)
{
    buf_done(&l->bytes);
    mem_free(l->ends);
    *l = (struct amqp_lines){.first = 1};
}

int amqp_lines_end(struct amqp_lines *l)
{
    if (l->gone + l->count == l->cap && l->gone > l->count) {
        memmove(l->ends, l->ends + l->gone, l->count * sizeof *l->ends);
        l->gone = 0;
    }
    if (l->gone + l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 1024;
        uint64_t *more = mem_realloc(l->ends, cap * sizeof *more);
        if (!more)
            return TTG_ENOMEM;
        l->ends = more;
        l->cap = cap;
    }
    l->ends[l->gone + l->count++] = l->base + buf_len(&l->bytes);
    return 0;
}

/* Where the line number `i` of those that are here begins, counted from the first that is. */
static size_t begin_of(const struct amqp_lines *l, size_t i)
{
    return i == 0 ? 0 : (size_t)(l->ends[l->gone + i - 1] - l->base);
}

struct str amqp_lines_behind(const struct amqp_lines *l, uint64_t cursor, uint64_t count,
                             uint64_t last, uint64_t *ret_last)
{
    size_t from = cursor < l->first ? 0 : (size_t)(cursor - l->first + 1), to = from;
    *ret_last = cursor < l->first ? l->first - 1 : cursor;
    if (from >= l->count)
        return STR("");
    size_t begin = begin_of(l, from);
    while (to < l->count && to - from < count && l->first + to <= last &&
           begin_of(l, to) - begin < ANSWER_BYTES_MAX)
        to++;
    if (to == from)
        return STR("");
    *ret_last = l->first + to - 1;
    return str_make(buf_str(&l->bytes).ptr + begin, begin_of(l, to) - begin);
}

void amqp_lines_drop(struct amqp_lines *l, uint64_t seq)
{
    size_t n = seq < l->first ? 0 : (size_t)(seq - l->first + 1);
    n = n < l->count ? n : l->count;
    size_t bytes = begin_of(l, n);
    buf_consume(&l->bytes, bytes);
    l->base += bytes;
    l->first += n;
    l->gone += n;
    l->count -= n;
}
