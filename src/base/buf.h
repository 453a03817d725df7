/* SPDX-License-Identifier: Apache-2.0 */
/* buf - bytes that grow up to a limit.
 *
 * Reading moves `start`, writing moves `end`; space before `start` is reclaimed when room is
 * needed. A buffer that reached its limit answers TTG_EFULL and is unchanged. Who adds many pieces
 * may look at `failed` once, behind the last of them. */
#ifndef TTG_BASE_BUF_H
#define TTG_BASE_BUF_H

#include "base/str.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;
    size_t start, end, cap; /* one byte more than cap is there, for a NUL */
    size_t bytes_max;
    int failed; /* something did not fit since it was cleared: why; there is a gap */
};

void buf_init(struct buf *b, size_t bytes_max);

/* Frees the memory; `b` is then empty and can be used again. */
void buf_done(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}

static inline char *buf_ptr(const struct buf *b)
{
    return b->data + b->start;
}

/* The content, until the next change of `b`. */
static inline struct str buf_str(const struct buf *b)
{
    return str_make(b->data ? buf_ptr(b) : "", buf_len(b));
}

/* Room for `len` more bytes at `*ret_at`; commit with buf_grew. TTG_EFULL, TTG_ENOMEM. */
int buf_reserve(struct buf *b, size_t len, char **ret_at);
void buf_grew(struct buf *b, size_t len);

int buf_add(struct buf *b, const void *bytes, size_t len);
int buf_add_str(struct buf *b, struct str s);
int buf_add_char(struct buf *b, char c);
int buf_add_u64(struct buf *b, uint64_t value);
int buf_add_i64(struct buf *b, int64_t value);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD each. */
int buf_add_json(struct buf *b, struct str s);
int buf_add_base64(struct buf *b, struct str s);
/* And back, strictly: TTG_EPROTO (and unchanged) when it is no base64. */
int buf_add_unbase64(struct buf *b, struct str s);

/* Empties it, with `room` bytes in front of what comes next. As buf_reserve. */
int buf_clear_behind(struct buf *b, size_t room);
/* Into that room; false, and unchanged, where there is too little. */
bool buf_put_front(struct buf *b, struct str s);

/* Gives memory and content to one that is empty: large bytes are not copied. False, and nothing has
 * changed, when it is not empty or may not have so many. */
bool buf_hand_over(struct buf *from, struct buf *to);

/* Drops bytes at the front. */
void buf_consume(struct buf *b, size_t len);
/* Drops all bytes, keeps the memory. */
void buf_clear(struct buf *b);
/* Cuts the content to `len` bytes, which it has at least. */
void buf_truncate(struct buf *b, size_t len);
/* A NUL behind the content, not counted; NULL when there is no memory. */
const char *buf_cstr(struct buf *b);

#endif
