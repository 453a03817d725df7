/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json.h"

#include "base/ensure.h"

struct scan {
    const char *start, *at, *end;
    unsigned depth;
};

static bool scan_value(struct scan *s, struct json *ret_value);

static void scan_blanks(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool scan_char(struct scan *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool scan_digits(struct scan *s)
{
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from;
}

static bool scan_number(struct scan *s)
{
    scan_char(s, '-');
    if (!scan_char(s, '0') && !scan_digits(s))
        return false;
    if (scan_char(s, '.') && !scan_digits(s))
        return false;
    if (s->at < s->end && (*s->at | 32) == 'e') {
        s->at++;
        if (!scan_char(s, '+'))
            scan_char(s, '-');
        return scan_digits(s);
    }
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool scan_escape(struct scan *s)
{
    if (s->at == s->end)
        return false;
    char c = *s->at++;
    if (c != 'u')
        return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
    for (int i = 0; i < 4; i++, s->at++)
        if (s->at == s->end || hex_digit(*s->at) < 0)
            return false;
    return true;
}

static bool scan_string(struct scan *s)
{
    if (!scan_char(s, '"'))
        return false;
    const char *from = s->at;
    unsigned char high = 0;
    for (;;) {
        s->at += str_plain_len(str_make(s->at, (size_t)(s->end - s->at)));
        if (s->at == s->end || *s->at == '"')
            break;
        char c = *s->at++;
        high |= (unsigned char)c;
        if ((unsigned char)c < 0x20 || (c == '\\' && !scan_escape(s)))
            return false;
    }
    if (high >= 0x80 && !str_is_utf8(str_make(from, (size_t)(s->at - from))))
        return false;
    return scan_char(s, '"');
}

static bool scan_word(struct scan *s, struct str word)
{
    if ((size_t)(s->end - s->at) < word.len || memcmp(s->at, word.ptr, word.len) != 0)
        return false;
    s->at += word.len;
    return true;
}

/* Behind the opening bracket. */
static bool scan_members(struct scan *s, bool named, char close)
{
    struct json ignored;
    scan_blanks(s);
    if (scan_char(s, close))
        return true;
    for (;;) {
        scan_blanks(s);
        if (named && !scan_string(s))
            return false;
        scan_blanks(s);
        if (named && !scan_char(s, ':'))
            return false;
        if (!scan_value(s, &ignored))
            return false;
        scan_blanks(s);
        if (scan_char(s, close))
            return true;
        if (!scan_char(s, ','))
            return false;
    }
}

/* Recursion is bounded by JSON_DEPTH_MAX. */
static bool scan_nested(struct scan *s, bool named, char close)
{
    if (++s->depth > JSON_DEPTH_MAX)
        return false;
    s->at++;
    bool ok = scan_members(s, named, close);
    s->depth--;
    return ok;
}

static bool scan_value(struct scan *s, struct json *ret_value)
{
    scan_blanks(s);
    const char *from = s->at;
    enum json_type type = JSON_NUMBER;
    bool ok = false;
    switch (s->at < s->end ? *s->at : '\0') {
    case '{':
        type = JSON_OBJECT;
        ok = scan_nested(s, true, '}');
        break;
    case '[':
        type = JSON_ARRAY;
        ok = scan_nested(s, false, ']');
        break;
    case '"':
        type = JSON_STRING;
        ok = scan_string(s);
        break;
    case 't':
        type = JSON_BOOL;
        ok = scan_word(s, STR("true"));
        break;
    case 'f':
        type = JSON_BOOL;
        ok = scan_word(s, STR("false"));
        break;
    case 'n':
        type = JSON_NULL;
        ok = scan_word(s, STR("null"));
        break;
    default:
        ok = scan_number(s);
    }
    *ret_value = (struct json){type, str_make(from, (size_t)(s->at - from))};
    return ok;
}

int json_parse(struct str text, struct json *ret_value, struct err *err)
{
    struct scan s = {text.ptr, text.ptr, text.ptr + text.len, 0};
    struct json value;
    if (text.len == 0)
        return err_set(err, TTG_EPROTO, "empty, not JSON");
    bool ok = scan_value(&s, &value);
    if (ok)
        scan_blanks(&s);
    if (!ok || s.at < s.end)
        return err_set(err, TTG_EPROTO, "not JSON: byte %zu is wrong", (size_t)(s.at - s.start));
    *ret_value = value;
    return 0;
}

struct str json_inside(struct json object)
{
    ensure(object.type == JSON_OBJECT || object.type == JSON_ARRAY);
    return str_make(object.raw.ptr + 1, object.raw.len - 2);
}

bool json_next(struct str *at, struct json *ret_name, struct json *ret_value)
{
    struct scan s = {at->ptr, at->ptr, at->ptr + at->len, 0};
    scan_blanks(&s);
    if (scan_char(&s, ','))
        scan_blanks(&s);
    if (s.at == s.end)
        return false;
    bool ok = scan_value(&s, ret_name);
    scan_blanks(&s);
    ok = ok && scan_char(&s, ':') && scan_value(&s, ret_value);
    ensure(ok); /* json_parse has seen it */
    *at = str_make(s.at, (size_t)(s.end - s.at));
    return true;
}

bool json_item(struct str *at, struct json *ret_value)
{
    struct scan s = {at->ptr, at->ptr, at->ptr + at->len, 0};
    scan_blanks(&s);
    if (scan_char(&s, ','))
        scan_blanks(&s);
    if (s.at == s.end)
        return false;
    bool ok = scan_value(&s, ret_value);
    ensure(ok);
    *at = str_make(s.at, (size_t)(s.end - s.at));
    return true;
}

/* ---- values ---- */

/* One of our names: has no escapes when it is written by anybody sane, but may. */
bool json_is(struct json string, struct str text)
{
    if (string.type != JSON_STRING)
        return false;
    struct str inside = str_make(string.raw.ptr + 1, string.raw.len - 2);
    if (!memchr(inside.len ? inside.ptr : "", '\\', inside.len))
        return str_eq(inside, text);
    struct buf b;
    buf_init(&b, string.raw.len);
    bool same = json_add_text(string, &b) == 0 && str_eq(buf_str(&b), text);
    buf_done(&b);
    return same;
}

static int add_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80)
        return buf_add_char(out, (char)c);
    if (c < 0x800)
        return buf_add(out, (char[]){(char)(0xc0 | c >> 6), (char)(0x80 | (c & 63))}, 2);
    if (c < 0x10000)
        return buf_add(
            out,
            (char[]){(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63))},
            3);
    return buf_add(out,
                   (char[]){(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 63)),
                            (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63))},
                   4);
}

/* The four digits at `p`. */
static uint32_t code_unit(const char *p)
{
    uint32_t c = 0;
    for (int i = 0; i < 4; i++)
        c = c << 4 | (uint32_t)hex_digit(p[i]);
    return c;
}

/* `p` is at the u of \uXXXX. Returns how many bytes were used. */
static size_t unescape_unicode(const char *p, const char *end, uint32_t *ret_c)
{
    uint32_t c = code_unit(p + 1);
    *ret_c = c;
    if (c < 0xd800 || c > 0xdfff)
        return 5;
    bool pair = c < 0xdc00 && end - p >= 11 && p[5] == '\\' && p[6] == 'u';
    uint32_t low = pair ? code_unit(p + 7) : 0;
    if (low < 0xdc00 || low > 0xdfff) {
        *ret_c = 0xfffd;
        return 5;
    }
    *ret_c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
    return 11;
}

static int add_escape(const char **at, const char *end, struct buf *out)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    uint32_t c;
    if (**at == 'u') {
        *at += unescape_unicode(*at, end, &c);
        return add_utf8(out, c);
    }
    const char *known = strchr(from, **at);
    char plain = known ? to[known - from] : **at;
    ++*at;
    return buf_add_char(out, plain);
}

int json_add_text(struct json string, struct buf *out)
{
    if (string.type != JSON_STRING)
        return TTG_EINVAL;
    const char *at = string.raw.ptr + 1, *end = string.raw.ptr + string.raw.len - 1;
    size_t before = buf_len(out);
    int rc = 0;
    while (at < end && !rc) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        const char *to = escape ? escape : end;
        rc = buf_add(out, at, (size_t)(to - at));
        at = to;
        if (!rc && escape) {
            at++;
            rc = add_escape(&at, end, out);
        }
    }
    if (rc && out->data)
        buf_truncate(out, before);
    return rc;
}

int json_i64(struct json number, int64_t *ret_value)
{
    return number.type == JSON_NUMBER ? str_to_i64(number.raw, ret_value) : TTG_EINVAL;
}

int json_u64(struct json number, uint64_t *ret_value)
{
    return number.type == JSON_NUMBER ? str_to_u64(number.raw, ret_value) : TTG_EINVAL;
}

int json_i128(struct json number, __int128 *ret_value)
{
    return number.type == JSON_NUMBER ? str_to_i128(number.raw, ret_value) : TTG_EINVAL;
}

int json_f64(struct json number, double *ret_value)
{
    return number.type == JSON_NUMBER ? str_to_f64(number.raw, ret_value) : TTG_EINVAL;
}
