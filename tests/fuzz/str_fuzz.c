/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, UTF-8 and JSON strings from any bytes, against the C library or a second way. */
#include "base/buf.h"
#include "base/ensure.h"
#include "base/err.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return s.len > 0;
}

static void check_numbers(struct str s)
{
    char text[100];
    uint64_t u = 1;
    int64_t i = 1;
    double f;
    int rc = str_to_u64(s, &u), rc_i = str_to_i64(s, &i);
    ensure((rc == TTG_EINVAL) == !all_digits(s));
    ensure(rc != 0 || u > INT64_MAX || (rc_i == 0 && (uint64_t)i == u));
    if (s.len < sizeof text) {
        memcpy(text, s.ptr, s.len);
        text[s.len] = '\0';
        errno = 0;
        uint64_t expected = strtoull(text, NULL, 10);
        ensure(rc == TTG_EINVAL || (rc == TTG_ERANGE) == (errno == ERANGE));
        ensure(rc != 0 || u == expected);
    }
    ensure(rc == TTG_EINVAL || str_to_f64(s, &f) != TTG_ERANGE);
}

/* Every part of a JSON string is plain or an escape, and the whole is UTF-8. */
static void check_json(struct str s)
{
    struct buf b;
    buf_init(&b, 6 * s.len + 2);
    ensure(buf_add_json(&b, s) == 0);
    struct str out = buf_str(&b);
    ensure(str_is_utf8(out) && out.len >= 2);
    ensure(out.ptr[0] == '"' && out.ptr[out.len - 1] == '"');
    for (size_t i = 1; i < out.len - 1; i++) {
        unsigned char c = (unsigned char)out.ptr[i];
        ensure(c >= 0x20 && c != '"');
        if (c == '\\')
            i += out.ptr[i + 1] == 'u' ? 5 : 1;
        ensure(i < out.len - 1);
    }
    bool replaced = memmem(out.ptr, out.len, "\xef\xbf\xbd", 3) != NULL;
    ensure(str_is_utf8(s) || replaced);
    buf_done(&b);
}

/* UTF-16 can say just the same characters, so that the C library's converter knows the answer. */
static void check_utf8(struct str s)
{
    static iconv_t converter = (iconv_t)-1;
    if (converter == (iconv_t)-1)
        converter = iconv_open("UTF-16LE", "UTF-8");
    ensure(converter != (iconv_t)-1);
    char out[4096], *in = (char *)(uintptr_t)s.ptr, *at = out;
    size_t left = s.len, room = sizeof out;
    if (s.len > sizeof out / 2)
        return;
    iconv(converter, NULL, NULL, NULL, NULL);
    bool valid = iconv(converter, &in, &left, &at, &room) != (size_t)-1;
    ensure(str_is_utf8(s) == valid);
}

static void check_views(struct str s)
{
    struct str rest, first = str_cut(s, ',', &rest), trimmed = str_trim(s);
    ensure(rest.ptr ? first.len + 1 + rest.len == s.len : first.len == s.len);
    ensure(!memchr(first.ptr, ',', first.len));
    ensure(str_eq(str_trim(trimmed), trimmed) && trimmed.len <= s.len);
    ensure(str_cmp(s, s) == 0 && str_starts(s, first) && str_eq_nocase(s, s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    check_numbers(s);
    check_json(s);
    check_utf8(s);
    check_views(s);
    return 0;
}
