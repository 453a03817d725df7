/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"
#include "wire/resp_client.h"

enum { STRING_BYTES_MAX = 1000 };

static const char nested[] =
    "*3\r\n:42\r\n*2\r\n$3\r\nfoo\r\n$-1\r\n%1\r\n+key\r\n=7\r\ntxt:abc\r\n";

static void scans_in_any_pieces(void **state)
{
    (void)state;
    size_t whole = sizeof nested - 1, len = 0;
    for (size_t cut = 0; cut < whole; cut++) {
        struct resp_scan s = {0};
        assert_int_equal(resp_scan(&s, str_make(nested, cut), STRING_BYTES_MAX, &len), TTG_EAGAIN);
        assert_int_equal(resp_scan(&s, str_make(nested, whole), STRING_BYTES_MAX, &len), 0);
        assert_int_equal(len, whole);
    }
}

static void reads_what_was_written(void **state)
{
    (void)state;
    struct resp_cursor c = resp_cursor_of(str_make(nested, sizeof nested - 1));
    struct resp_value v;
    size_t count;
    int64_t number;
    struct str s;
    assert_true(resp_next_array(&c, &count));
    assert_int_equal(count, 3);
    assert_true(resp_next_int(&c, &number));
    assert_int_equal(number, 42);
    struct resp_cursor here = c;
    resp_skip(&c);
    assert_true(resp_next(&c, &v));
    assert_int_equal(v.type, RESP_MAP);
    assert_true(resp_next_str(&c, &s) && str_eq(s, STR("key")));
    assert_true(resp_next_str(&c, &s) && str_eq(s, STR("abc")));
    assert_false(resp_next(&c, &v));
    assert_true(resp_next_array(&here, &count));
    assert_true(resp_next_str(&here, &s) && str_eq(s, STR("foo")));
    assert_true(resp_next(&here, &v) && v.type == RESP_NULL);
}

static void refuses_what_is_not_the_protocol(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int rc;
    } cases[] = {
        {"hello\r\n", TTG_EPROTO},    {"$x\r\n", TTG_EPROTO},           {"*-2\r\n", TTG_EPROTO},
        {"$3\r\nfoobar", TTG_EPROTO}, {"$1001\r\n", TTG_EFULL},         {":1x\r\n", TTG_EPROTO},
        {"=2\r\nab\r\n", TTG_EPROTO}, {"*99999999999\r\n", TTG_EPROTO}, {"\r\n", TTG_EPROTO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct resp_scan s = {0};
        size_t len;
        assert_int_equal(resp_scan(&s, str_of(cases[i].bytes), STRING_BYTES_MAX, &len),
                         cases[i].rc);
    }
    struct resp_scan s = {0};
    size_t len;
    char deep[RESP_DEPTH_MAX * 4 + 8] = "";
    for (int i = 0; i <= RESP_DEPTH_MAX; i++)
        strcat(deep, "*1\r\n");
    assert_int_equal(resp_scan(&s, str_of(deep), STRING_BYTES_MAX, &len), TTG_EFULL);
}

static void writes_commands(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(resp_command(&b, 3), 0);
    assert_int_equal(resp_word(&b, STR("a\r\nb")), 0);
    assert_int_equal(resp_word_i64(&b, INT64_MIN), 0);
    assert_int_equal(resp_word_u64(&b, 7), 0);
    assert_string_equal(buf_cstr(&b),
                        "*3\r\n$4\r\na\r\nb\r\n$20\r\n-9223372036854775808\r\n$1\r\n7\r\n");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scans_in_any_pieces),
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(refuses_what_is_not_the_protocol),
        cmocka_unit_test(writes_commands),
    };
    return tap_run(tests);
}
