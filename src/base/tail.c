/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tail.h"

#include "base/ensure.h"

void tail_start(struct tail *t)
{
    t->len = t->line_start = 0;
    t->lines = 0;
}

static void drop_first_line(struct tail *t)
{
    char *newline = memchr(t->bytes, '\n', t->len);
    ensure(newline && (size_t)(newline - t->bytes) < t->line_start);
    size_t n = (size_t)(newline - t->bytes) + 1;
    memmove(t->bytes, t->bytes + n, t->len - n);
    t->len -= n;
    t->line_start -= n;
    t->lines--;
}

static void end_line(struct tail *t, tail_on_line *on_line, void *ctx)
{
    struct str line = str_make(t->bytes + t->line_start, t->len - t->line_start);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (on_line)
        on_line(ctx, line);
    t->bytes[t->len++] = '\n';
    t->line_start = t->len;
    if (++t->lines > TAIL_LINES_MAX)
        drop_first_line(t);
}

void tail_add(struct tail *t, struct str s, tail_on_line *on_line, void *ctx)
{
    while (s.len > 0) {
        const char *newline = memchr(s.ptr, '\n', s.len);
        size_t room = TAIL_LINE_BYTES_MAX - (t->len - t->line_start);
        size_t rest = newline ? (size_t)(newline - s.ptr) : s.len;
        size_t n = rest < room ? rest : room;
        while (t->len + n + 1 > sizeof t->bytes)
            drop_first_line(t);
        memcpy(t->bytes + t->len, s.ptr, n);
        t->len += n;
        bool whole = newline && n == rest;
        if (whole || n == room)
            end_line(t, on_line, ctx);
        n += whole;
        s = str_make(s.ptr + n, s.len - n);
    }
}

void tail_end(struct tail *t, tail_on_line *on_line, void *ctx)
{
    if (t->len > t->line_start)
        end_line(t, on_line, ctx);
}

struct str tail_within(const struct tail *t, size_t bytes_max)
{
    struct str s = tail_str(t);
    while (s.len > bytes_max) {
        const char *newline = memchr(s.ptr, '\n', s.len);
        size_t n = newline ? (size_t)(newline - s.ptr) + 1 : s.len;
        s = str_make(s.ptr + n, s.len - n);
    }
    return s;
}
