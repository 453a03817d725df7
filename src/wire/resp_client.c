/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/resp_client.h"

#include "base/err.h"

/* The line at `at` without its end; *ret_next is behind the end. False when it is not whole. */
static bool line_at(struct str bytes, size_t at, struct str *ret_line, size_t *ret_next)
{
    const char *from = bytes.ptr + at, *end = bytes.ptr + bytes.len;
    const char *lf = at < bytes.len ? memchr(from, '\n', (size_t)(end - from)) : NULL;
    if (!lf)
        return false;
    size_t len = (size_t)(lf - from);
    *ret_next = at + len + 1;
    *ret_line = str_make(from, len > 0 && from[len - 1] == '\r' ? len - 1 : len);
    return true;
}

enum { LINE_BYTES_MAX = 64 * 1024 };

/* What the line opens: *ret_elements values inside it, *ret_bytes of string behind it (-1: none).
 */
static int line_opens(struct str line, uint64_t *ret_elements, int64_t *ret_bytes)
{
    int64_t n;
    *ret_elements = 0;
    *ret_bytes = -1;
    switch (line.len > 0 ? line.ptr[0] : 0) {
    case '+':
    case '-':
    case ',':
    case '(':
    case '_':
    case '#':
        return 0;
    case ':':
        return str_to_i64(str_make(line.ptr + 1, line.len - 1), &n) ? TTG_EPROTO : 0;
    case '$':
    case '=':
        if (str_to_i64(str_make(line.ptr + 1, line.len - 1), &n) || n < -1)
            return TTG_EPROTO;
        *ret_bytes = n;
        return line.ptr[0] == '=' && n < 4 ? TTG_EPROTO : 0;
    case '*':
    case '~':
    case '>':
    case '%':
        if (str_to_i64(str_make(line.ptr + 1, line.len - 1), &n) || n < -1 || n > INT32_MAX)
            return TTG_EPROTO;
        if (n > 0)
            *ret_elements = (uint64_t)n * (line.ptr[0] == '%' ? 2 : 1);
        return 0;
    default:
        return TTG_EPROTO;
    }
}

int resp_scan(struct resp_scan *s, struct str bytes, size_t string_bytes_max, size_t *ret_len)
{
    for (;;) {
        struct str line;
        size_t next;
        uint64_t elements;
        int64_t len;
        if (!line_at(bytes, s->at, &line, &next))
            return bytes.len - s->at > LINE_BYTES_MAX ? TTG_EPROTO : TTG_EAGAIN;
        if (line_opens(line, &elements, &len))
            return TTG_EPROTO;
        if (len >= 0) {
            if ((uint64_t)len > string_bytes_max)
                return TTG_EFULL;
            if (bytes.len - next < (uint64_t)len + 2)
                return TTG_EAGAIN;
            next += (size_t)len + 2;
            if (bytes.ptr[next - 2] != '\r' || bytes.ptr[next - 1] != '\n')
                return TTG_EPROTO;
        }
        s->at = next;
        if (elements > 0) {
            if (s->depth == RESP_DEPTH_MAX)
                return TTG_EFULL;
            s->left[s->depth++] = elements;
            continue;
        }
        while (s->depth > 0 && --s->left[s->depth - 1] == 0)
            s->depth--;
        if (s->depth == 0) {
            *ret_len = s->at;
            *s = (struct resp_scan){0};
            return 0;
        }
    }
}

static struct resp_value value_of_line(struct str line, struct str rest, size_t *ret_taken)
{
    struct str body = str_make(line.ptr + 1, line.len - 1);
    struct resp_value v = {.type = RESP_NULL};
    int64_t n = 0;
    *ret_taken = 0;
    switch (line.ptr[0]) {
    case '+':
        return (struct resp_value){.type = RESP_STATUS, .s = body};
    case '-':
        return (struct resp_value){.type = RESP_ERROR, .s = body};
    case ',':
        return (struct resp_value){.type = RESP_DOUBLE, .s = body};
    case '(':
        return (struct resp_value){.type = RESP_STR, .s = body};
    case '#':
        return (struct resp_value){.type = RESP_BOOL, .number = str_eq(body, STR("t"))};
    case ':':
        str_to_i64(body, &n);
        return (struct resp_value){.type = RESP_INT, .number = n};
    case '$':
    case '=':
        if (str_to_i64(body, &n) || n < 0 || (size_t)n + 2 > rest.len)
            return v;
        *ret_taken = (size_t)n + 2;
        size_t prefix = line.ptr[0] == '=' ? 4 : 0;
        v.type = RESP_STR;
        v.s = str_make(rest.ptr + prefix, (size_t)n - prefix);
        return v;
    case '*':
    case '~':
    case '>':
    case '%':
        if (str_to_i64(body, &n) || n < 0)
            return v;
        v.type = line.ptr[0] == '%' ? RESP_MAP : line.ptr[0] == '>' ? RESP_PUSH : RESP_ARRAY;
        v.count = (size_t)n;
        return v;
    default:
        return v;
    }
}

bool resp_next(struct resp_cursor *c, struct resp_value *ret_value)
{
    struct str bytes = str_make(c->at, (size_t)(c->end - c->at)), line;
    size_t next, taken;
    if (!line_at(bytes, 0, &line, &next) || line.len == 0)
        return false;
    *ret_value = value_of_line(line, str_make(bytes.ptr + next, bytes.len - next), &taken);
    c->at += next + taken;
    return true;
}

void resp_skip(struct resp_cursor *c)
{
    struct resp_value v;
    for (uint64_t left = 1; left > 0 && resp_next(c, &v); left--)
        if (v.type == RESP_ARRAY || v.type == RESP_PUSH || v.type == RESP_MAP)
            left += v.count * (v.type == RESP_MAP ? 2 : 1);
}

bool resp_next_array(struct resp_cursor *c, size_t *ret_count)
{
    struct resp_value v;
    if (!resp_next(c, &v) || (v.type != RESP_ARRAY && v.type != RESP_MAP))
        return false;
    *ret_count = v.count * (v.type == RESP_MAP ? 2 : 1);
    return true;
}

bool resp_next_int(struct resp_cursor *c, int64_t *ret_value)
{
    struct resp_value v;
    if (!resp_next(c, &v))
        return false;
    if (v.type == RESP_STR || v.type == RESP_STATUS)
        return str_to_i64(v.s, ret_value) == 0;
    *ret_value = v.number;
    return v.type == RESP_INT || v.type == RESP_BOOL;
}

bool resp_next_str(struct resp_cursor *c, struct str *ret_value)
{
    struct resp_value v;
    if (!resp_next(c, &v) || (v.type != RESP_STR && v.type != RESP_STATUS))
        return false;
    *ret_value = v.s;
    return true;
}

static int counted(struct buf *b, char mark, size_t count)
{
    char line[24] = {mark};
    size_t n = 1 + str_from_u64(line + 1, count);
    line[n++] = '\r';
    line[n++] = '\n';
    return buf_add(b, line, n);
}

int resp_command(struct buf *b, size_t words)
{
    return counted(b, '*', words);
}

int resp_word(struct buf *b, struct str word)
{
    size_t before = buf_len(b);
    int rc = counted(b, '$', word.len);
    if (!rc)
        rc = buf_add_str(b, word);
    if (!rc)
        rc = buf_add(b, "\r\n", 2);
    if (rc && b->data)
        buf_truncate(b, before);
    return rc;
}

int resp_word_u64(struct buf *b, uint64_t value)
{
    char digits[20];
    return resp_word(b, str_make(digits, str_from_u64(digits, value)));
}

int resp_word_i64(struct buf *b, int64_t value)
{
    char digits[20];
    return resp_word(b, str_make(digits, str_from_i64(digits, value)));
}
