/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/prng.h"

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
        {STR("\xff\xc3\xbc\xe2\x82"), "\"\xef\xbf\xbd\xc3\xbc\xef\xbf\xbd\xef\xbf\xbd\""},
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
        buf_clear(&b);
        assert_int_equal(buf_add_unbase64(&b, str_of(cases[i][1])), 0);
        assert_true(str_eq(buf_str(&b), str_of(cases[i][0])));
        buf_clear(&b);
        assert_int_equal(buf_add_base64(&b, str_of(cases[i][0])), 0);
        assert_string_equal(buf_cstr(&b), cases[i][1]);
        buf_done(&b);
    }
}

static void prints_up_to_the_last_byte(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    assert_int_equal(buf_printf(&b, "%s-%d", "ab", 42), 0);
    assert_int_equal(buf_printf(&b, "%d", 1234), TTG_EFULL);
    assert_int_equal(buf_printf(&b, "%d", 123), 0);
    assert_int_equal(buf_add_char(&b, 'x'), TTG_EFULL);
    assert_string_equal(buf_cstr(&b), "ab-42123");
    assert_int_equal(buf_add_json(&b, STR("x")), TTG_EFULL);
    assert_int_equal(buf_add_base64(&b, STR("x")), TTG_EFULL);
    assert_int_equal(buf_len(&b), 8);
    buf_truncate(&b, 2);
    assert_int_equal(buf_add_json(&b, STR("12345")), TTG_EFULL);
    assert_string_equal(buf_cstr(&b), "ab"); /* all or nothing */
    buf_clear(&b);
    assert_int_equal(buf_add_u64(&b, 12345678), 0);
    buf_clear(&b);
    assert_int_equal(buf_add_i64(&b, -1234567), 0);
    assert_int_equal(buf_add(&b, NULL, SIZE_MAX), TTG_EFULL);
    buf_done(&b);
    assert_true(str_eq(buf_str(&b), STR("")));
    assert_string_equal(buf_cstr(&b), "");
    buf_done(&b);
    assert_int_equal(b.failed, 0);
    mem_fail_at(1);
    assert_null(buf_cstr(&b));
    assert_int_equal(b.failed, TTG_ENOMEM); /* it says so until it is cleared */
    assert_int_equal(buf_add_char(&b, 'x'), 0);
    assert_int_equal(b.failed, TTG_ENOMEM);
    buf_clear(&b);
    assert_int_equal(b.failed, 0);
    buf_done(&b);
    mem_fail_at(1);
    assert_int_equal(buf_printf(&b, "x"), TTG_ENOMEM);
    mem_fail_at(0);
    buf_done(&b);
}

/* A queue of bytes: what comes out is what went in, and memory stays near what is in it. */
static void slides_instead_of_growing(void **state)
{
    (void)state;
    struct buf b;
    struct prng p;
    unsigned char in = 0, out = 0;
    buf_init(&b, 1 << 20);
    prng_init(&p, 6);
    for (int step = 0; step < 20000; step++) {
        char *at;
        size_t len = (size_t)prng_below(&p, 300);
        assert_int_equal(buf_reserve(&b, len, &at), 0);
        for (size_t i = 0; i < len; i++)
            at[i] = (char)in++;
        buf_grew(&b, len);
        size_t back = buf_len(&b) > 1000 ? buf_len(&b) - 10 : prng_below(&p, buf_len(&b) + 1);
        for (size_t i = 0; i < back; i++)
            assert_int_equal((unsigned char)buf_ptr(&b)[i], out++);
        buf_consume(&b, back);
        assert_true(b.cap < 8192);
    }
    buf_done(&b);
}

static void hands_over_and_puts_in_front(void **state)
{
    (void)state;
    struct buf from, to;
    buf_init(&from, 1000);
    buf_init(&to, 100);
    assert_int_equal(buf_clear_behind(&from, 8), 0);
    assert_int_equal(buf_len(&from), 0);
    assert_int_equal(buf_add_str(&from, STR("words")), 0);
    assert_false(buf_put_front(&from, STR("123456789")));
    assert_true(buf_put_front(&from, STR("some ")));
    assert_false(buf_put_front(&from, STR("1234"))); /* three are left */
    assert_true(str_eq(buf_str(&from), STR("some words")));
    assert_int_equal(buf_add_char(&to, 'x'), 0);
    assert_false(buf_hand_over(&from, &to)); /* it has something */
    buf_clear(&to);
    assert_true(buf_hand_over(&from, &to));
    assert_true(str_eq(buf_str(&to), STR("some words")));
    assert_int_equal(to.bytes_max, 100);
    assert_int_equal(from.bytes_max, 1000);
    assert_int_equal(buf_len(&from), 0);
    for (int i = 0; i < 101; i++)
        assert_int_equal(buf_add_char(&from, 'y'), 0);
    buf_clear(&to);
    assert_false(buf_hand_over(&from, &to)); /* more than it may have */
    assert_int_equal(buf_len(&from), 101);
    buf_done(&from);
    buf_done(&to);
    mem_fail_at(1);
    assert_int_equal(buf_clear_behind(&from, 8), TTG_ENOMEM);
    mem_fail_at(0);
    assert_int_equal(buf_add_char(&from, 'y'), 0);
    assert_false(buf_put_front(&from, STR("z")));
    buf_done(&from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_its_limit),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(escapes_json),
        cmocka_unit_test(encodes_base64),
        cmocka_unit_test(prints_up_to_the_last_byte),
        cmocka_unit_test(slides_instead_of_growing),
        cmocka_unit_test(hands_over_and_puts_in_front),
    };
    return tap_run(tests);
}
