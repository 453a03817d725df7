/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/spare.h"

#include <stdio.h>

enum { BUF_FIRST_BYTES = 256 };

void buf_init(struct buf *b, size_t bytes_max)
{
    *b = (struct buf){.bytes_max = bytes_max};
}

void buf_done(struct buf *b)
{
    spare_free(b->data, b->cap + 1);
    *b = (struct buf){.bytes_max = b->bytes_max};
}

/* Into a large piece that was in use before, where there is one. */
static bool buf_move_to_spare(struct buf *b, size_t bytes)
{
    size_t room, used = buf_len(b);
    char *data = spare_take(bytes, &room);
    if (!data)
        return false;
    if (used > 0)
        memcpy(data, buf_ptr(b), used);
    spare_free(b->data, b->cap + 1);
    b->end -= b->start;
    b->start = 0;
    b->data = data;
    b->cap = room - 1;
    return true;
}

static int buf_grow(struct buf *b, size_t len)
{
    size_t used = buf_len(b);
    if (len > b->bytes_max || used > b->bytes_max - len)
        return b->failed = TTG_EFULL;
    /* Sliding down pays only when it frees at least half, so that it is O(1) a byte. */
    if (b->data && b->start > 0 && b->start >= b->cap / 2 && b->cap - used >= len) {
        memmove(b->data, b->data + b->start, used);
        b->start = 0;
        b->end = used;
        return 0;
    }
    size_t need = b->end + len + 1, bytes = b->data ? b->cap + 1 : BUF_FIRST_BYTES;
    if (need <= len)
        return b->failed = TTG_ENOMEM;
    while (bytes < need)
        bytes = bytes > SIZE_MAX / 2 ? need : bytes * 2;
    if (bytes >= SPARE_BYTES_MIN && buf_move_to_spare(b, bytes))
        return 0;
    char *data = mem_realloc(b->data, bytes);
    if (!data)
        return b->failed = TTG_ENOMEM;
    b->data = data;
    b->cap = bytes - 1;
    return 0;
}

int buf_reserve(struct buf *b, size_t len, char **ret_at)
{
    if (b->cap - b->end < len || buf_len(b) + len > b->bytes_max || !b->data) {
        int rc = buf_grow(b, len);
        if (rc)
            return rc;
    }
    *ret_at = b->data + b->end;
    return 0;
}

void buf_grew(struct buf *b, size_t len)
{
    ensure(len <= b->cap - b->end);
    b->end += len;
}

int buf_add(struct buf *b, const void *bytes, size_t len)
{
    char *at;
    int rc = buf_reserve(b, len, &at);
    if (rc)
        return rc;
    if (len > 0)
        memcpy(at, bytes, len);
    b->end += len;
    return 0;
}

int buf_add_str(struct buf *b, struct str s)
{
    return buf_add(b, s.ptr, s.len);
}

int buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

int buf_add_u64(struct buf *b, uint64_t value)
{
    char digits[20];
    return buf_add(b, digits, str_from_u64(digits, value));
}

int buf_add_i64(struct buf *b, int64_t value)
{
    char digits[20];
    return buf_add(b, digits, str_from_i64(digits, value));
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    int rc = TTG_EINVAL;
    if (n >= 0) {
        char *at;
        rc = buf_reserve(b, (size_t)n, &at);
        if (!rc) {
            vsnprintf(at, (size_t)n + 1, format, again);
            b->end += (size_t)n;
        }
    }
    va_end(again);
    return rc;
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = buf_vprintf(b, format, args);
    va_end(args);
    return rc;
}

static int buf_add_json_char(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"':
        return buf_add(b, "\\\"", 2);
    case '\\':
        return buf_add(b, "\\\\", 2);
    case '\n':
        return buf_add(b, "\\n", 2);
    case '\r':
        return buf_add(b, "\\r", 2);
    case '\t':
        return buf_add(b, "\\t", 2);
    default:
        return buf_add(b, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    }
}

int buf_add_json(struct buf *b, struct str s)
{
    size_t before = buf_len(b);
    int rc = buf_add_char(b, '"');
    size_t from = 0, i = 0;
    if (s.len == 0)
        s.ptr = ""; /* NULL + 0 is undefined, says the standard */
    while (!rc) {
        i += str_plain_len(str_make(s.ptr + i, s.len - i));
        if (i == s.len)
            break;
        unsigned char c = (unsigned char)s.ptr[i];
        size_t n = c < 0x80 ? 0 : str_utf8_len(str_make(s.ptr + i, s.len - i));
        if (n > 0) {
            i += n;
            continue;
        }
        rc = buf_add(b, s.ptr + from, i - from);
        if (!rc)
            rc = c < 0x80 ? buf_add_json_char(b, c) : buf_add(b, "\xef\xbf\xbd", 3);
        from = ++i;
    }
    if (!rc)
        rc = buf_add(b, s.ptr + from, i - from);
    if (!rc)
        rc = buf_add_char(b, '"');
    if (rc && b->data)
        buf_truncate(b, before);
    return rc;
}

int buf_add_base64(struct buf *b, struct str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out;
    size_t len = (s.len + 2) / 3 * 4;
    int rc = buf_reserve(b, len, &out);
    if (rc)
        return rc;
    const unsigned char *p = (const unsigned char *)s.ptr;
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        unsigned v = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                     (left > 2 ? p[i + 2] : 0);
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[v & 63] : '=';
    }
    b->end += len;
    return 0;
}

static int base64_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

int buf_add_unbase64(struct buf *b, struct str s)
{
    char *out;
    size_t len = 0;
    if (s.len % 4)
        return TTG_EPROTO;
    int rc = buf_reserve(b, s.len / 4 * 3, &out);
    if (rc)
        return rc;
    for (size_t i = 0; i < s.len; i += 4) {
        unsigned v = 0, pad = 0;
        for (size_t k = 0; k < 4; k++) {
            char c = s.ptr[i + k];
            int d = c == '=' && i + 4 == s.len && k >= 2 ? 0 : base64_value(c);
            if (d < 0 || (pad > 0 && c != '='))
                return TTG_EPROTO;
            pad += c == '=';
            v = v << 6 | (unsigned)d;
        }
        for (unsigned k = 0; k < 3 - pad; k++)
            out[len++] = (char)(v >> (16 - 8 * k));
    }
    buf_grew(b, len);
    return 0;
}

int buf_clear_behind(struct buf *b, size_t room)
{
    char *at;
    buf_clear(b);
    int rc = buf_reserve(b, room, &at);
    if (!rc)
        b->start = b->end = room;
    return rc;
}

bool buf_put_front(struct buf *b, struct str s)
{
    if (s.len > b->start)
        return false;
    b->start -= s.len;
    memcpy(buf_ptr(b), s.ptr, s.len);
    return true;
}

bool buf_hand_over(struct buf *from, struct buf *to)
{
    if (buf_len(to) > 0 || buf_len(from) > to->bytes_max)
        return false;
    buf_done(to);
    to->data = from->data;
    to->start = from->start;
    to->end = from->end;
    to->cap = from->cap;
    *from = (struct buf){.bytes_max = from->bytes_max};
    return true;
}

void buf_consume(struct buf *b, size_t len)
{
    ensure(len <= buf_len(b));
    b->start += len;
    if (b->start == b->end)
        b->start = b->end = 0;
}

void buf_clear(struct buf *b)
{
    b->start = b->end = 0;
    b->failed = 0;
}

void buf_truncate(struct buf *b, size_t len)
{
    ensure(len <= buf_len(b));
    b->end = b->start + len;
}

const char *buf_cstr(struct buf *b)
{
    char *at;
    if (buf_reserve(b, 0, &at))
        return NULL;
    *at = '\0';
    return buf_ptr(b);
}
