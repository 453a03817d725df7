/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"
#include "base/str.h"

static void compares(void **state)
{
    (void)state;
    static const struct {
        struct str a, b;
        int cmp;
        bool nocase;
    } cases[] = {
        {STR(""), STR(""), 0, true},           {{NULL, 0}, STR(""), 0, true},
        {STR("a"), STR("b"), -1, false},       {STR("ab"), STR("a"), 1, false},
        {STR("aB"), STR("Ab"), 1, true},       {STR("a\0b"), STR("a\0b"), 0, true},
        {STR("a\0b"), STR("a\0c"), -1, false}, {STR("\xff"), STR("a"), 1, false},
        {STR("@"), STR("`"), -1, false},       {STR("["), STR("{"), -1, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str a = cases[i].a, b = cases[i].b;
        int c = str_cmp(a, b);
        assert_int_equal((c > 0) - (c < 0), cases[i].cmp);
        assert_int_equal(str_eq(a, b), cases[i].cmp == 0);
        assert_int_equal(str_eq_nocase(a, b), cases[i].nocase);
    }
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_false(str_starts(STR("xbc"), STR("ab")));
    assert_true(str_eq(str_of(NULL), STR("")));
}

static void cuts_and_trims(void **state)
{
    (void)state;
    struct str rest;
    assert_true(str_eq(str_cut(STR("a=b=c"), '=', &rest), STR("a")));
    assert_true(str_eq(rest, STR("b=c")));
    assert_true(str_eq(str_cut(STR("a="), '=', &rest), STR("a")));
    assert_true(rest.ptr && rest.len == 0);
    assert_true(str_eq(str_cut(STR("abc"), '=', &rest), STR("abc")));
    assert_null(rest.ptr);
    assert_int_equal(str_cut(str_of(NULL), '=', &rest).len, 0);
    assert_null(rest.ptr);
    assert_true(str_eq(str_trim(STR(" \t\r\n\v\fa b ")), STR("a b")));
    assert_true(str_eq(str_trim(STR("  ")), STR("")));
    assert_true(str_eq(str_trim(STR("x")), STR("x")));
}

static void reads_unsigned(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        int rc;
        uint64_t value;
    } cases[] = {
        {STR("0"), 0, 0},
        {STR("007"), 0, 7},
        {STR("18446744073709551615"), 0, UINT64_MAX},
        {STR("18446744073709551616"), TTG_ERANGE, 0},
        {STR("18446744073709551620"), TTG_ERANGE, 0},
        {STR("99999999999999999999999"), TTG_ERANGE, 0},
        {STR("99999999999999999999999x"), TTG_EINVAL, 0},
        {STR(""), TTG_EINVAL, 0},
        {STR("-1"), TTG_EINVAL, 0},
        {STR("+1"), TTG_EINVAL, 0},
        {STR(" 1"), TTG_EINVAL, 0},
        {STR("1 "), TTG_EINVAL, 0},
        {STR("1\0"), TTG_EINVAL, 0},
        {STR("0x1"), TTG_EINVAL, 0},
        {STR("1e3"), TTG_EINVAL, 0},
        {STR("\xd9\xa1"), TTG_EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t value = 4711;
        assert_int_equal(str_to_u64(cases[i].text, &value), cases[i].rc);
        assert_true(value == (cases[i].rc ? 4711 : cases[i].value));
    }
}

static void reads_signed(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        int rc;
        int64_t value;
    } cases[] = {
        {STR("0"), 0, 0},
        {STR("-0"), 0, 0},
        {STR("-1"), 0, -1},
        {STR("9223372036854775807"), 0, INT64_MAX},
        {STR("9223372036854775808"), TTG_ERANGE, 0},
        {STR("-9223372036854775808"), 0, INT64_MIN},
        {STR("-9223372036854775809"), TTG_ERANGE, 0},
        {STR("-99999999999999999999"), TTG_ERANGE, 0},
        {STR(""), TTG_EINVAL, 0},
        {STR("-"), TTG_EINVAL, 0},
        {STR("--1"), TTG_EINVAL, 0},
        {STR("- 1"), TTG_EINVAL, 0},
        {STR("1-"), TTG_EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = 4711;
        assert_int_equal(str_to_i64(cases[i].text, &value), cases[i].rc);
        assert_true(value == (cases[i].rc ? 4711 : cases[i].value));
    }
}

static void reads_fractions(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        int rc;
        double value;
    } cases[] = {
        {STR("0.5"), 0, 0.5},
        {STR("-2"), 0, -2},
        {STR("1e3"), 0, 1000},
        {STR("1E-3"), 0, 0.001},
        {STR(".25"), 0, 0.25},
        {STR("1e-999"), 0, 0},
        {STR("1e999"), TTG_ERANGE, 0},
        {STR(""), TTG_EINVAL, 0},
        {STR("."), TTG_EINVAL, 0},
        {STR("e"), TTG_EINVAL, 0},
        {STR("1e"), TTG_EINVAL, 0},
        {STR("nan"), TTG_EINVAL, 0},
        {STR("inf"), TTG_EINVAL, 0},
        {STR("0x10"), TTG_EINVAL, 0},
        {STR(" 1"), TTG_EINVAL, 0},
        {STR("1 "), TTG_EINVAL, 0},
        {STR("1\0002"), TTG_EINVAL, 0},
        {STR("1.2.3"), TTG_EINVAL, 0},
        {STR("0000000000000000000000000000000000000000000000000000000000000001"), TTG_EINVAL, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        double value = 4711;
        assert_int_equal(str_to_f64(cases[i].text, &value), cases[i].rc);
        assert_true(value == (cases[i].rc ? 4711 : cases[i].value));
    }
}

static void writes_numbers(void **state)
{
    (void)state;
    static const int64_t values[] = {0, 1, 9, 10, -1, -10, INT64_MAX, INT64_MIN};
    char out[20];
    for (size_t i = 0; i < COUNT(values); i++) {
        int64_t back;
        size_t len = str_from_i64(out, values[i]);
        assert_true(len <= sizeof out);
        assert_int_equal(str_to_i64(str_make(out, len), &back), 0);
        assert_true(back == values[i]);
    }
    assert_true(str_eq(str_make(out, str_from_u64(out, UINT64_MAX)), STR("18446744073709551615")));
}

static void knows_sums(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        int rc;
    } cases[] = {
        {STR("0"), 0},
        {STR("-1"), 0},
        {STR("9223372036854775808"), 0},
        {STR("170141183460469231731687303715884105727"), 0},
        {STR("-170141183460469231731687303715884105728"), 0},
        {STR("170141183460469231731687303715884105728"), TTG_ERANGE},
        {STR("-170141183460469231731687303715884105729"), TTG_ERANGE},
        {STR("9999999999999999999999999999999999999999999"), TTG_ERANGE},
        {STR(""), TTG_EINVAL},
        {STR("-"), TTG_EINVAL},
        {STR("+1"), TTG_EINVAL},
        {STR("1x"), TTG_EINVAL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[40];
        __int128 value;
        assert_int_equal(str_to_i128(cases[i].text, &value), cases[i].rc);
        if (!cases[i].rc)
            assert_true(str_eq(str_make(out, str_from_i128(out, value)), cases[i].text));
    }
}

static void knows_utf8(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        bool valid;
    } cases[] = {
        {STR(""), true},
        {STR("plain\0\x7f"), true},
        {STR("\xc2\x80\xdf\xbf"), true},
        {STR("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), true},
        {STR("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), true},
        {STR("\x80"), false},             /* a continuation alone */
        {STR("\xc0\x80"), false},         /* overlong */
        {STR("\xc1\xbf"), false},         /* overlong */
        {STR("\xe0\x9f\xbf"), false},     /* overlong */
        {STR("\xf0\x8f\xbf\xbf"), false}, /* overlong */
        {STR("\xed\xa0\x80"), false},     /* surrogate */
        {STR("\xf4\x90\x80\x80"), false}, /* past the end */
        {STR("\xf5\x80\x80\x80"), false},
        {STR("\xff"), false},
        {STR("\xc2"), false}, /* cut off */
        {STR("\xe2\x82"), false},
        {STR("\xf0\x90\x80"), false},
        {STR("\xe2\x82x"), false},
        {STR("\xf0\x90\x80x"), false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(str_is_utf8(cases[i].text), cases[i].valid);
}

/* All characters, encoded by the definition, and nothing in between. */
static void knows_each_character(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x112000; c++) {
        char b[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n; i-- > 1;)
            b[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
        static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
        b[0] = (char)(lead[n] | c >> 6 * (n - 1));
        bool valid = c < 0x110000 && !(c >= 0xd800 && c < 0xe000);
        assert_int_equal(str_utf8_len(str_make(b, n)), valid ? n : 0);
    }
}

/* Each byte at each place of texts of many lengths: behind whole words and pieces, in them, before
 * them. */
static void finds_what_json_has_to_escape(void **state)
{
    (void)state;
    char text[200];
    for (size_t len = 0; len <= sizeof text; len += len < 40 ? 1 : 10)
        for (size_t at = 0; at < len; at++)
            for (int c = -128; c < 128; c++) {
                bool plain = c >= ' ' && c < 0x7f && c != '"' && c != '\\';
                for (size_t i = 0; i < sizeof text; i++)
                    text[i] = " !#[]~a0"[i % 8]; /* neighbours of what is looked for */
                text[at] = (char)c;
                assert_int_equal(str_plain_len(str_make(text, len)), plain ? len : at);
                bool ascii = c >= 0;
                assert_int_equal(str_is_utf8(str_make(text, len)), ascii);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(cuts_and_trims),
        cmocka_unit_test(reads_unsigned),
        cmocka_unit_test(reads_signed),
        cmocka_unit_test(reads_fractions),
        cmocka_unit_test(writes_numbers),
        cmocka_unit_test(knows_sums),
        cmocka_unit_test(knows_utf8),
        cmocka_unit_test(knows_each_character),
        cmocka_unit_test(finds_what_json_has_to_escape),
    };
    return tap_run(tests);
}
