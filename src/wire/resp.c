/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/resp.h"

#include "base/mem.h"

enum { ARGS_FIRST = 16, BULK_BYTES_MIN = 6 /* $0 and two line ends */ };

void resp_request_init(struct resp_request *r)
{
    *r = (struct resp_request){0};
    buf_init(&r->words, RESP_LINE_BYTES_MAX);
}

void resp_request_done(struct resp_request *r)
{
    mem_free(r->argv);
    buf_done(&r->words);
    resp_request_init(r);
}

static int request_room(struct resp_request *r, size_t count)
{
    if (count <= r->cap)
        return 0;
    size_t cap = r->cap ? r->cap : ARGS_FIRST;
    while (cap < count)
        cap *= 2;
    struct str *argv = mem_realloc(r->argv, cap * sizeof(*argv));
    if (!argv)
        return TTG_ENOMEM;
    r->argv = argv;
    r->cap = cap;
    return 0;
}

static int request_add(struct resp_request *r, struct str word)
{
    int rc = request_room(r, r->argc + 1);
    if (!rc)
        r->argv[r->argc++] = word;
    return rc;
}

/* A number and its line end at `*at`. 1 and `*at` behind it; 0 when more is needed. */
static int number_parse(struct str bytes, size_t *at, int64_t *ret_value)
{
    enum { NUMBER_BYTES_MAX = 24 };
    const char *from = bytes.ptr + *at;
    size_t len = bytes.len - *at;
    const char *end = memchr(from, '\r', len < NUMBER_BYTES_MAX ? len : NUMBER_BYTES_MAX);
    if (!end)
        return len < NUMBER_BYTES_MAX ? 0 : TTG_EPROTO;
    if ((size_t)(end - from) + 1 == len)
        return 0;
    if (end[1] != '\n' || str_to_i64(str_make(from, (size_t)(end - from)), ret_value))
        return TTG_EPROTO;
    *at += (size_t)(end - from) + 2;
    return 1;
}

static int bulk_parse(const struct resp_limits *limits, struct str bytes, size_t *at,
                      struct str *ret_word, size_t *ret_needed, struct err *err)
{
    *ret_needed = *at + BULK_BYTES_MIN;
    if (*at == bytes.len)
        return 0;
    char c = bytes.ptr[*at];
    if (c != '$')
        return err_set(err, TTG_EPROTO, "Protocol error: expected '$', got '%c'",
                       c >= ' ' && c <= '~' ? c : '?');
    size_t body = *at + 1;
    int64_t len;
    int rc = number_parse(bytes, &body, &len);
    if (rc < 0 || (rc == 1 && (len < 0 || (uint64_t)len > limits->bulk_bytes_max)))
        return err_set(err, TTG_EPROTO, "Protocol error: invalid bulk length");
    if (rc == 0) {
        *ret_needed = bytes.len + 1 > *ret_needed ? bytes.len + 1 : *ret_needed;
        return 0;
    }
    *ret_needed = body + (size_t)len + 2;
    if (bytes.len < *ret_needed)
        return 0;
    if (bytes.ptr[body + (size_t)len] != '\r' || bytes.ptr[body + (size_t)len + 1] != '\n')
        return err_set(err, TTG_EPROTO, "Protocol error: bulk string without its line end");
    *ret_word = str_make(bytes.ptr + body, (size_t)len);
    *at = *ret_needed;
    return 1;
}

static int multibulk_parse(struct resp_request *r, const struct resp_limits *limits,
                           struct str bytes, size_t *ret_bytes, struct err *err)
{
    size_t at = 1;
    int64_t count;
    int rc = number_parse(bytes, &at, &count);
    if (rc < 0 || (rc == 1 && count > 0 && (uint64_t)count > limits->args_max))
        return err_set(err, TTG_EPROTO, "Protocol error: invalid multibulk length");
    if (rc == 0) {
        *ret_bytes = bytes.len + 1;
        return 0;
    }
    for (int64_t i = 0; i < count; i++) {
        struct str word;
        size_t needed;
        rc = bulk_parse(limits, bytes, &at, &word, &needed, err);
        if (rc == 0)
            *ret_bytes = needed + (size_t)(count - 1 - i) * BULK_BYTES_MIN;
        if (rc <= 0)
            return rc;
        rc = request_add(r, word);
        if (rc)
            return rc;
    }
    *ret_bytes = at;
    return 1;
}

static int line_parse(struct resp_request *r, struct str bytes, size_t *ret_bytes, struct err *err)
{
    const char *end = memchr(bytes.ptr, '\n', bytes.len);
    size_t len = end ? (size_t)(end - bytes.ptr) : bytes.len;
    if (len > RESP_LINE_BYTES_MAX)
        return err_set(err, TTG_EPROTO, "Protocol error: too big inline request");
    *ret_bytes = len + 1;
    if (!end)
        return 0;
    if (len > 0 && bytes.ptr[len - 1] == '\r')
        len--;
    int rc = resp_split(r, str_make(bytes.ptr, len));
    if (rc == TTG_EPROTO)
        err_set(err, rc, "Protocol error: unbalanced quotes in request");
    return rc ? rc : 1;
}

int resp_parse(struct resp_request *r, const struct resp_limits *limits, struct str bytes,
               size_t *ret_bytes, struct err *err)
{
    r->argc = 0;
    if (bytes.len == 0) {
        *ret_bytes = 1;
        return 0;
    }
    int rc = bytes.ptr[0] == '*' ? multibulk_parse(r, limits, bytes, ret_bytes, err)
                                 : line_parse(r, bytes, ret_bytes, err);
    if (rc == TTG_ENOMEM)
        err_set(err, rc, "out of memory");
    return rc;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character at `s[*at]` inside double quotes. */
static char char_unescape(struct str s, size_t *at)
{
    char c = s.ptr[(*at)++];
    if (c != '\\' || *at == s.len)
        return c;
    c = s.ptr[(*at)++];
    if (c == 'x' && s.len - *at >= 2 && hex_digit(s.ptr[*at]) >= 0 &&
        hex_digit(s.ptr[*at + 1]) >= 0) {
        int value = hex_digit(s.ptr[*at]) * 16 + hex_digit(s.ptr[*at + 1]);
        *at += 2;
        return (char)value;
    }
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *found = c ? strchr(from, c) : NULL;
    return found ? to[found - from] : c;
}

/* A word in quotes; `*at` stands behind the opening one. */
static int quoted_parse(struct buf *words, struct str s, size_t *at, char quote)
{
    while (*at < s.len && s.ptr[*at] != quote) {
        char c = s.ptr[*at];
        if (quote == '"') {
            c = char_unescape(s, at);
        } else if (c == '\\' && *at + 1 < s.len && s.ptr[*at + 1] == '\'') {
            c = '\'';
            *at += 2;
        } else {
            ++*at;
        }
        int rc = buf_add_char(words, c);
        if (rc)
            return rc;
    }
    if (*at == s.len)
        return TTG_EPROTO;
    ++*at;
    return *at < s.len && !strchr(" \t\r\n\v\f", s.ptr[*at]) ? TTG_EPROTO : 0;
}

static bool blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int word_parse(struct resp_request *r, struct str s, size_t *at)
{
    size_t from = *at;
    while (*at < s.len && !blank(s.ptr[*at]) && s.ptr[*at] != '"' && s.ptr[*at] != '\'')
        ++*at;
    if (*at == s.len || blank(s.ptr[*at]))
        return request_add(r, str_make(s.ptr + from, *at - from));
    size_t mark = r->words.end;
    int rc = buf_add(&r->words, s.ptr + from, *at - from);
    char quote = s.ptr[(*at)++];
    if (!rc)
        rc = quoted_parse(&r->words, s, at, quote);
    if (rc)
        return rc;
    return request_add(r, str_make(r->words.data + mark, r->words.end - mark));
}

int resp_split(struct resp_request *r, struct str line)
{
    char *room;
    r->argc = 0;
    buf_clear(&r->words);
    /* Words only shrink, so that the buffer never moves under the views into it. */
    int rc = buf_reserve(&r->words, line.len, &room);
    for (size_t at = 0; !rc;) {
        while (at < line.len && blank(line.ptr[at]))
            at++;
        if (at == line.len)
            break;
        rc = word_parse(r, line, &at);
    }
    return rc == TTG_EFULL ? TTG_EPROTO : rc;
}
