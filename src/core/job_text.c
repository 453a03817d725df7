/* SPDX-License-Identifier: Apache-2.0 */
/* Results as lines of output, and the little JSON that foreign results bring. */
#include "core/job.h"

size_t job_chunk_text(char *out, uint64_t chunk)
{
    char digits[20];
    size_t len = str_from_u64(digits, chunk), at = 0;
    while (at + len < 5)
        out[at++] = '0';
    memcpy(out + at, digits, len);
    return at + len;
}

size_t job_seconds_text(char *out, uint64_t us)
{
    size_t at = str_from_u64(out, us / 1000000);
    uint64_t rest = us % 1000000;
    if (rest == 0)
        return at;
    out[at++] = '.';
    for (; rest > 0; rest = rest * 10 % 1000000)
        out[at++] = (char)('0' + rest / 100000);
    return at;
}

/* These stand in the line as they are; everything else is a string. */
static bool field_is_raw(struct str name)
{
    switch (name.len) {
    case 7:
        return str_eq(name, STR("attempt"));
    case 9:
        return str_eq(name, STR("end_param"));
    case 11:
        return str_eq(name, STR("start_param"));
    case 14:
        return str_eq(name, STR("result_summary"));
    case 16:
        return str_eq(name, STR("params_processed")) || str_eq(name, STR("duration_seconds"));
    default:
        return false;
    }
}

/* Most strings here need no escape, and then no walk of their own. */
static int add_string(struct buf *out, struct str s)
{
    char *at;
    bool plain = s.len <= 64;
    for (size_t i = 0; plain && i < s.len; i++)
        plain = s.ptr[i] >= ' ' && s.ptr[i] < 0x7f && s.ptr[i] != '"' && s.ptr[i] != '\\';
    if (!plain)
        return buf_add_json(out, s);
    int rc = buf_reserve(out, s.len + 2, &at);
    if (rc)
        return rc;
    at[0] = '"';
    if (s.len > 0)
        memcpy(at + 1, s.ptr, s.len);
    at[s.len + 1] = '"';
    buf_grew(out, s.len + 2);
    return 0;
}

int job_result_line(struct buf *out, struct stream_entry *e)
{
    size_t before = buf_len(out);
    int rc = 0;
    for (size_t i = 0; i < e->pairs && !rc; i++) {
        struct str name, value;
        stream_entry_field(e, &name, &value);
        rc = buf_add_char(out, i ? ',' : '{');
        if (!rc)
            rc = add_string(out, name);
        if (!rc)
            rc = buf_add_char(out, ':');
        if (!rc)
            rc = field_is_raw(name) ? buf_add_str(out, value) : add_string(out, value);
    }
    if (!rc)
        rc = buf_add(out, "}\n", 2);
    if (rc)
        buf_truncate(out, before);
    return rc;
}

/* --- JSON --- */

enum { JSON_DEPTH_MAX = 32 };

struct json_at {
    const char *at, *end;
    bool has_sum;
    __int128 sum;
};

static void json_blank(struct json_at *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
        j->at++;
}

static bool json_char(struct json_at *j, char ch)
{
    json_blank(j);
    if (j->at == j->end || *j->at != ch)
        return false;
    j->at++;
    return true;
}

static bool json_string(struct json_at *j, struct str *ret_inside)
{
    if (!json_char(j, '"'))
        return false;
    const char *start = j->at;
    for (; j->at < j->end && *j->at != '"'; j->at++) {
        if ((unsigned char)*j->at < ' ')
            return false;
        if (*j->at != '\\')
            continue;
        if (++j->at == j->end || !strchr("\"\\/bfnrtu", *j->at) || !*j->at)
            return false;
        for (int i = 0; *j->at == 'u' && i < 4; i++)
            if (j->end - j->at < 5 || !strchr("0123456789abcdefABCDEF", j->at[i + 1]) ||
                !j->at[i + 1])
                return false;
    }
    if (j->at == j->end)
        return false;
    *ret_inside = str_make(start, (size_t)(j->at++ - start));
    return true;
}

static size_t json_digits(struct json_at *j)
{
    const char *start = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
        j->at++;
    return (size_t)(j->at - start);
}

static bool json_number(struct json_at *j)
{
    if (j->at < j->end && *j->at == '-')
        j->at++;
    bool zero = j->at < j->end && *j->at == '0';
    size_t whole = json_digits(j);
    if (whole == 0 || (zero && whole > 1))
        return false;
    if (j->at < j->end && *j->at == '.') {
        j->at++;
        if (json_digits(j) == 0)
            return false;
    }
    if (j->at < j->end && (*j->at == 'e' || *j->at == 'E')) {
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
            j->at++;
        return json_digits(j) > 0;
    }
    return true;
}

static bool json_value(struct json_at *j, int depth);

static bool json_members(struct json_at *j, int depth, char close, bool named)
{
    if (json_char(j, close))
        return true;
    do {
        struct str name = STR("");
        if (named && !(json_string(j, &name) && json_char(j, ':')))
            return false;
        json_blank(j);
        const char *start = j->at;
        if (!json_value(j, depth + 1))
            return false;
        __int128 sum;
        if (depth == 0 && str_eq(name, STR("sum")) &&
            str_to_i128(str_make(start, (size_t)(j->at - start)), &sum) == 0) {
            j->has_sum = true;
            j->sum = sum;
        }
    } while (json_char(j, ','));
    return json_char(j, close);
}

static bool json_word(struct json_at *j, struct str word)
{
    if ((size_t)(j->end - j->at) < word.len || memcmp(j->at, word.ptr, word.len) != 0)
        return false;
    j->at += word.len;
    return true;
}

static bool json_value(struct json_at *j, int depth)
{
    struct str inside;
    json_blank(j);
    if (depth > JSON_DEPTH_MAX || j->at == j->end)
        return false;
    switch (*j->at) {
    case '{':
        j->at++;
        return json_members(j, depth, '}', true);
    case '[':
        j->at++;
        return json_members(j, depth, ']', false);
    case '"':
        return json_string(j, &inside);
    case 't':
        return json_word(j, STR("true"));
    case 'f':
        return json_word(j, STR("false"));
    case 'n':
        return json_word(j, STR("null"));
    default:
        return json_number(j);
    }
}

bool job_json_valid(struct str text, bool *ret_has_sum, __int128 *ret_sum)
{
    struct json_at j = {.at = text.ptr, .end = text.ptr + text.len};
    bool object = text.len > 0 && *text.ptr == '{';
    /* A line of output stays one line. */
    if (!str_is_utf8(text) || memchr(text.ptr, '\n', text.len) ||
        memchr(text.ptr, '\r', text.len) || !json_value(&j, 0))
        return false;
    json_blank(&j);
    if (j.at != j.end)
        return false;
    *ret_has_sum = object && j.has_sum;
    *ret_sum = *ret_has_sum ? j.sum : 0;
    return true;
}
