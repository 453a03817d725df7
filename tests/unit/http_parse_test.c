/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"
#include "io/http.h"

static const struct {
    const char *bytes;
    int rc;
    const char *method, *path, *query, *body;
} cases[] = {
    {"", TTG_EAGAIN},
    {"GET / HTTP/1.1\r\n", TTG_EAGAIN},
    {"GET / HTTP/1.1\r\n\r\n", 0, "GET", "/", "", ""},
    {"GET /a?b=c&d HTTP/1.1\r\nHost: x\r\n\r\n", 0, "GET", "/a", "b=c&d", ""},
    {"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET", 0, "POST", "/a", "", "abc"},
    {"POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nab", TTG_EAGAIN},
    {"POST /a HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", TTG_EPROTO},
    {"POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", TTG_EPROTO},
    {"POST /a HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", TTG_ERANGE},
    {"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", TTG_EPROTO},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", TTG_EPROTO},
    {"GET / HTTP/1.1\r\nno colon\r\n\r\n", TTG_EPROTO},
    {"GET a HTTP/1.1\r\n\r\n", TTG_EPROTO},
    {"GET / HTTP/2\r\n\r\n", TTG_EPROTO},
    {"GET /\r\n\r\n", TTG_EPROTO},
    {"\r\n\r\n", TTG_EPROTO},
};

static void requests_are_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_request r;
        size_t len;
        int rc = http_parse(str_of(cases[i].bytes), &r, &len);
        if (rc != cases[i].rc)
            fail_msg("%s: %d", cases[i].bytes, rc);
        if (rc)
            continue;
        assert_true(str_eq(r.method, str_of(cases[i].method)));
        assert_true(str_eq(r.path, str_of(cases[i].path)));
        assert_true(str_eq(r.query, str_of(cases[i].query)));
        assert_true(str_eq(r.body, str_of(cases[i].body)));
    }
    static char big[HTTP_HEAD_BYTES_MAX];
    memset(big, 'a', sizeof big);
    struct http_request r;
    size_t len;
    assert_int_equal(http_parse(str_make(big, sizeof big), &r, &len), TTG_EFULL);
}

static void connections_end_when_asked(void **state)
{
    (void)state;
    struct http_request r;
    size_t len;
    assert_int_equal(http_parse(STR("GET / HTTP/1.1\r\n\r\n"), &r, &len), 0);
    assert_false(r.close || r.takes_gzip || r.head);
    assert_int_equal(
        http_parse(STR("HEAD / HTTP/1.0\r\nAccept-Encoding: br, gzip\r\n\r\n"), &r, &len), 0);
    assert_true(r.close && r.takes_gzip && r.head);
    assert_int_equal(http_parse(STR("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), &r, &len), 0);
    assert_true(r.close);
}

static void parameters_are_decoded(void **state)
{
    (void)state;
    char out[8];
    assert_true(http_param(STR("a=1&job=x%2Dy"), "job", out, sizeof out));
    assert_string_equal(out, "x-y");
    assert_true(http_param(STR("job="), "job", out, sizeof out));
    assert_string_equal(out, "");
    static const char *const bad[] = {"", "jo=1", "job=12345678", "job=%", "job=%g0", "job=%00"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(http_param(str_of(bad[i]), "job", out, sizeof out));
}

static void hosts_are_told_from_names(void **state)
{
    (void)state;
    static const char *const good[] = {"localhost",     "LOCALHOST:80", "127.0.0.1",
                                       "10.0.0.7:8420", "[::1]",        "[fe80::1]:80"};
    static const char *const bad[] = {"",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil.example",
                                      "evil.example:80",
                                      "[::1",
                                      "1.2.3",
                                      "::1"};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(http_host_is_literal(str_of(good[i])));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(http_host_is_literal(str_of(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read_or_refused),
        cmocka_unit_test(connections_end_when_asked),
        cmocka_unit_test(parameters_are_decoded),
        cmocka_unit_test(hosts_are_told_from_names),
    };
    return tap_run(tests);
}
