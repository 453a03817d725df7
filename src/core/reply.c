/* SPDX-License-Identifier: Apache-2.0 */
#include "core/reply.h"

#include <stdio.h>

enum { ERROR_BYTES_MAX = 1024, HEADER_BYTES_MAX = 24 };

static void add(struct reply *r, const char *bytes, size_t len)
{
    if (r->out && !r->rc)
        r->rc = buf_add(r->out, bytes, len);
}

/* A type byte, a number and a line end, in one go. */
static void header(struct reply *r, char type, int64_t number)
{
    char *at;
    if (!r->out || r->rc)
        return;
    r->rc = buf_reserve(r->out, HEADER_BYTES_MAX, &at);
    if (r->rc)
        return;
    size_t n = 0;
    at[n++] = type;
    if (number >= 0 && number < 10)
        at[n++] = (char)('0' + number);
    else
        n += str_from_i64(at + n, number);
    at[n++] = '\r';
    at[n++] = '\n';
    buf_grew(r->out, n);
}

void reply_raw(struct reply *r, struct str encoded)
{
    add(r, encoded.ptr, encoded.len);
}

void reply_status(struct reply *r, const char *text)
{
    add(r, "+", 1);
    add(r, text, strlen(text));
    add(r, "\r\n", 2);
}

void reply_error(struct reply *r, const char *format, ...)
{
    r->failed = true;
    if (!r->out || r->rc)
        return;
    char text[ERROR_BYTES_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    add(r, "-", 1);
    add(r, text, len);
    add(r, "\r\n", 2);
}

void reply_int(struct reply *r, int64_t value)
{
    header(r, ':', value);
}

void reply_str(struct reply *r, struct str s)
{
    char *at;
    if (!r->out || r->rc)
        return;
    r->rc = buf_reserve(r->out, s.len + HEADER_BYTES_MAX + 2, &at);
    if (r->rc)
        return;
    size_t n = 0;
    at[n++] = '$';
    n += str_from_u64(at + n, s.len);
    at[n++] = '\r';
    at[n++] = '\n';
    if (s.len > 0)
        memcpy(at + n, s.ptr, s.len);
    n += s.len;
    at[n++] = '\r';
    at[n++] = '\n';
    buf_grew(r->out, n);
}

void reply_str_head(struct reply *r, size_t len)
{
    header(r, '$', (int64_t)len);
}

void reply_str_end(struct reply *r)
{
    add(r, "\r\n", 2);
}

void reply_insert(struct reply *r, size_t mark, struct str encoded)
{
    char *at;
    if (!r->out || r->rc || encoded.len == 0)
        return;
    size_t behind = buf_len(r->out) - mark;
    r->rc = buf_reserve(r->out, encoded.len, &at);
    if (r->rc)
        return;
    at = buf_ptr(r->out) + mark;
    memmove(at + encoded.len, at, behind);
    memcpy(at, encoded.ptr, encoded.len);
    buf_grew(r->out, encoded.len);
}

void reply_text(struct reply *r, const char *text)
{
    reply_str(r, str_of(text));
}

void reply_double(struct reply *r, double value)
{
    char text[40];
    int n = snprintf(text, sizeof text, "%.17g", value);
    struct str s = str_make(text, n > 0 ? (size_t)n : 0);
    if (!r->resp3) {
        reply_str(r, s);
        return;
    }
    add(r, ",", 1);
    add(r, s.ptr, s.len);
    add(r, "\r\n", 2);
}

void reply_bool(struct reply *r, bool value)
{
    if (r->resp3)
        add(r, value ? "#t\r\n" : "#f\r\n", 4);
    else
        reply_int(r, value);
}

void reply_null(struct reply *r)
{
    if (r->resp3)
        add(r, "_\r\n", 3);
    else
        add(r, "$-1\r\n", 5);
}

void reply_null_array(struct reply *r)
{
    if (r->resp3)
        add(r, "_\r\n", 3);
    else
        add(r, "*-1\r\n", 5);
}

void reply_array(struct reply *r, size_t count)
{
    header(r, '*', (int64_t)count);
}

void reply_map(struct reply *r, size_t pairs)
{
    if (r->resp3)
        header(r, '%', (int64_t)pairs);
    else
        header(r, '*', (int64_t)pairs * 2);
}

void reply_set(struct reply *r, size_t count)
{
    header(r, r->resp3 ? '~' : '*', (int64_t)count);
}

size_t reply_open(struct reply *r)
{
    if (!r->out || r->rc)
        return 0;
    size_t mark = buf_len(r->out);
    header(r, '*', 0); /* room for one digit: short answers need no move */
    return mark;
}

void reply_close(struct reply *r, size_t mark, size_t count)
{
    if (!r->out || r->rc)
        return;
    char digits[20];
    size_t n = str_from_u64(digits, count), body = buf_len(r->out) - mark - 2;
    if (n > 1) {
        char *at;
        r->rc = buf_reserve(r->out, n - 1, &at);
        if (r->rc)
            return;
        char *digit = buf_ptr(r->out) + mark + 1;
        memmove(digit + n, digit + 1, body);
        buf_grew(r->out, n - 1);
    }
    memcpy(buf_ptr(r->out) + mark + 1, digits, n);
}

void reply_close_map(struct reply *r, size_t mark, size_t pairs)
{
    reply_close(r, mark, pairs);
    if (r->out && !r->rc && r->resp3)
        buf_ptr(r->out)[mark] = '%';
}
