/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

static void grows_to_its_limit(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_add(&b, "12345", 5), 0);
    assert_int_equal(buf_add(&b, "678901", 6), TTG_EFULL);
    assert_true(str_eq(buf_str(&b), STR("12345")));
    buf_consume(&b, 3);
    assert_int_equal(buf_add(&b, "67890123", 8), 0);
    assert_true(str_eq(buf_str(&b), STR("4567890123")));
    buf_done(&b);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct buf b;
        buf_init(&b, 100000);
        mem_fail_at(n);
        int rc = 0;
        for (int i = 0; i < 100 && !rc; i++)
            rc = buf_add(&b, "0123456789abcdef", 16);
        int failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        assert_int_equal(buf_len(&b) % 16, 0);
        buf_done(&b);
        if (!failed)
            break;
    }
}

static void escapes_json(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        {STR(""), "\"\""},
        {STR("plain"), "\"plain\""},
        {STR("a\"b\\c\n\t\r"), "\"a\\\"b\\\\c\\n\\t\\r\""},
        {STR("nul\0del\x7f"), "\"nul\\u0000del\\u007f\""},
        {STR("gr\xc3\xbc"), "\"gr\xc3\xbc\""},
        {STR("bad\xff"), "\"bad\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b;
        buf_init(&b, 1000);
        assert_int_equal(buf_add_json(&b, cases[i].in), 0);
        assert_string_equal(buf_cstr(&b), cases[i].out);
        buf_done(&b);
    }
}

static void encodes_base64(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b;
        buf_init(&b, 1000);
        assert_int_equal(buf_add_base64(&b, str_of(cases[i][0])), 0);
        assert_string_equal(buf_cstr(&b), cases[i][1]);
        buf_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_its_limit),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(escapes_json),
        cmocka_unit_test(encodes_base64),
    };
    return tap_run(tests);
}
