/* SPDX-License-Identifier: Apache-2.0 */
/* One request from bytes: pure, and fuzzed. What is doubtful (a header twice, a body of unknown
 * length) is refused. */
#include "io/http.h"

#include <arpa/inet.h>

struct head {
    struct http_request *request;
    uint64_t body_bytes;
    bool has_length, wrong;
};

static bool holds(struct str s, const char *word)
{
    return s.len > 0 && memmem(s.ptr, s.len, word, strlen(word)) != NULL;
}

static void header_line(struct head *h, struct str name, struct str value)
{
    struct http_request *r = h->request;
    const struct {
        const char *name;
        struct str *to;
    } kept[] = {
        {"host", &r->host},     {"authorization", &r->authorization},
        {"origin", &r->origin}, {"content-type", &r->content_type},
        {"x-ttg", &r->ttg},
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (str_eq_nocase(name, str_of(kept[i].name))) {
            h->wrong |= kept[i].to->len > 0; /* given twice: which one counts? */
            *kept[i].to = value;
        }
    if (str_eq_nocase(name, STR("content-length"))) {
        h->wrong |= h->has_length || str_to_u64(value, &h->body_bytes) != 0;
        h->has_length = true;
    } else if (str_eq_nocase(name, STR("transfer-encoding"))) {
        h->wrong = true;
    } else if (str_eq_nocase(name, STR("connection"))) {
        r->close |= holds(value, "lose");
    } else if (str_eq_nocase(name, STR("accept-encoding"))) {
        r->takes_gzip = holds(value, "gzip");
    }
}

/* `text` is everything up to and with the empty line. */
static void head_parse(struct head *h, struct str text)
{
    struct http_request *r = h->request;
    const struct str none = STR("");
    struct str rest = text, words = str_trim(str_cut(rest, '\n', &rest)), query;
    *r = (struct http_request){none, none, none, none, none, none, none, none, none};
    r->method = str_cut(words, ' ', &words);
    r->path = str_cut(words, ' ', &words);
    r->path = str_cut(r->path, '?', &query);
    if (query.ptr)
        r->query = query;
    r->head = str_eq(r->method, STR("HEAD"));
    r->close = !str_eq(words, STR("HTTP/1.1"));
    h->wrong = r->path.len == 0 || r->path.ptr[0] != '/' || !str_starts(words, STR("HTTP/1."));
    while (rest.len > 0) {
        struct str line = str_cut(rest, '\n', &rest), value;
        struct str name = str_cut(line, ':', &value);
        if (value.ptr)
            header_line(h, name, str_trim(value));
        else
            h->wrong |= str_trim(line).len > 0;
    }
}

int http_parse(struct str bytes, struct http_request *ret_request, size_t *ret_len)
{
    struct head h = {.request = ret_request};
    const char *end = bytes.len > 0 ? memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return bytes.len >= HTTP_HEAD_BYTES_MAX ? TTG_EFULL : TTG_EAGAIN;
    size_t len = (size_t)(end - bytes.ptr) + 4;
    head_parse(&h, str_make(bytes.ptr, len));
    if (h.wrong)
        return TTG_EPROTO;
    if (h.body_bytes > HTTP_BODY_BYTES_MAX)
        return TTG_ERANGE;
    if (bytes.len - len < h.body_bytes)
        return TTG_EAGAIN;
    ret_request->body = str_make(bytes.ptr + len, h.body_bytes);
    *ret_len = len + h.body_bytes;
    return 0;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool http_param(struct str query, const char *name, char *out, size_t room)
{
    while (query.len > 0) {
        struct str value, pair = str_cut(query, '&', &query);
        struct str key = str_cut(pair, '=', &value);
        if (!str_eq(key, str_of(name)))
            continue;
        size_t n = 0;
        for (size_t i = 0; i < value.len; i++, n++) {
            if (n + 1 >= room)
                return false;
            out[n] = value.ptr[i];
            if (value.ptr[i] != '%')
                continue;
            if (i + 2 >= value.len || hex(value.ptr[i + 1]) < 0 || hex(value.ptr[i + 2]) < 0)
                return false;
            out[n] = (char)(hex(value.ptr[i + 1]) << 4 | hex(value.ptr[i + 2]));
            if (out[n] == '\0')
                return false;
            i += 2;
        }
        out[n] = '\0';
        return true;
    }
    return false;
}

bool http_host_is_literal(struct str host)
{
    char text[64];
    unsigned char room[16];
    struct str rest;
    if (host.len > 0 && host.ptr[0] == '[') {
        host = str_cut(str_make(host.ptr + 1, host.len - 1), ']', &rest);
        if (!rest.ptr)
            return false;
    } else {
        host = str_cut(host, ':', &rest);
    }
    if (str_eq_nocase(host, STR("localhost")))
        return true;
    if (host.len == 0 || host.len >= sizeof text)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET, text, room) == 1 || inet_pton(AF_INET6, text, room) == 1;
}
