/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "wire/json.h"

#include <math.h>

static void refuses_what_is_not_json(void **state)
{
    (void)state;
    static const struct str bad[] = {
        STR(""),
        STR(" "),
        STR("{"),
        STR("}"),
        STR("{}x"),
        STR("[1,]"),
        STR("{\"a\"}"),
        STR("{\"a\":}"),
        STR("{\"a\":1,}"),
        STR("{a:1}"),
        STR("{1:2}"),
        STR("[1 2]"),
        STR("nul"),
        STR("truex"),
        STR("01"),
        STR("-"),
        STR("1."),
        STR(".5"),
        STR("1e"),
        STR("+1"),
        STR("NaN"),
        STR("Infinity"),
        STR("\""),
        STR("\"\\"),
        STR("\"\\x\""),
        STR("\"\\u12g4\""),
        STR("\"\\u12"),
        STR("\"a\nb\""),
        STR("\"\xff\""),
        STR("\"a\0b\""),
        STR("\"\\\0\""),
        STR("'a'"),
        STR("[1]]"),
        STR("1 2"),
        STR("{\"a\":1 \"b\":2}"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct json v;
        struct err e = {0};
        if (json_parse(bad[i], &v, &e) != TTG_EPROTO)
            fail_msg("accepted: %.*s", STR_ARG(bad[i]));
        assert_true(strstr(e.text, "not JSON"));
    }
}

static void takes_what_is_json(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        enum json_type type;
    } good[] = {
        {STR("null"), JSON_NULL},       {STR(" true\n"), JSON_BOOL},
        {STR("false"), JSON_BOOL},      {STR("0"), JSON_NUMBER},
        {STR("-0.5e+10"), JSON_NUMBER}, {STR("1E5"), JSON_NUMBER},
        {STR("\"\""), JSON_STRING},     {STR("\"\\u00e9\\\\\""), JSON_STRING},
        {STR("[]"), JSON_ARRAY},        {STR("[ 1 , [] , {} ]"), JSON_ARRAY},
        {STR("{ }"), JSON_OBJECT},      {STR("{\"a\" : {\"b\":[]}, \"a\":1}"), JSON_OBJECT},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct json v;
        assert_int_equal(json_parse(good[i].text, &v, NULL), 0);
        assert_int_equal(v.type, good[i].type);
    }
}

static void limits_nesting(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 2];
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        struct json v;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(json_parse(str_make(text, 2 * depth), &v, NULL),
                         depth > JSON_DEPTH_MAX ? TTG_EPROTO : 0);
    }
}

static void walks_members(void **state)
{
    (void)state;
    struct json root, name, value;
    assert_int_equal(
        json_parse(STR(" {\"a\" : 1 , \"\\u0062\":\"x\",\"c\":{\"d\":2}} "), &root, NULL), 0);
    struct str at = json_inside(root);
    assert_true(json_next(&at, &name, &value) && json_is(name, STR("a")));
    assert_true(str_eq(value.raw, STR("1")));
    assert_true(json_next(&at, &name, &value) && json_is(name, STR("b")));
    assert_true(json_is(value, STR("x")));
    assert_true(json_next(&at, &name, &value) && json_is(name, STR("c")));
    assert_true(str_eq(value.raw, STR("{\"d\":2}")));
    assert_false(json_is(value, STR("d")));
    assert_false(json_next(&at, &name, &value));
    assert_int_equal(json_parse(STR("{}"), &root, NULL), 0);
    at = json_inside(root);
    assert_false(json_next(&at, &name, &value));
}

static void decodes_strings(void **state)
{
    (void)state;
    static const struct {
        struct str in, out;
    } cases[] = {
        {STR("\"\""), STR("")},
        {STR("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\""), STR("a\"\\/\b\f\n\r\tz")},
        {STR("\"\\u0041\\u00e9\\u20ac\""), STR("A\xc3\xa9\xe2\x82\xac")},
        {STR("\"\\ud83d\\ude00!\""), STR("\xf0\x9f\x98\x80!")},
        {STR("\"\\ud83d\""), STR("\xef\xbf\xbd")},
        {STR("\"\\ud83dx\""), STR("\xef\xbf\xbdx")},
        {STR("\"\\ud83d\\u0041\""), STR("\xef\xbf\xbd"
                                        "A")},
        {STR("\"\\ude00\""), STR("\xef\xbf\xbd")},
        {STR("\"\\u0000\""), STR("\0")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json v;
        struct buf b;
        buf_init(&b, 1000);
        assert_int_equal(json_parse(cases[i].in, &v, NULL), 0);
        assert_int_equal(json_add_text(v, &b), 0);
        assert_true(str_eq(buf_str(&b), cases[i].out));
        assert_true(json_is(v, cases[i].out));
        buf_done(&b);
    }
    struct json number;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(json_parse(STR("1"), &number, NULL), 0);
    assert_int_equal(json_add_text(number, &b), TTG_EINVAL);
    buf_done(&b);
}

static void keeps_numbers_exact(void **state)
{
    (void)state;
    struct json v, s;
    int64_t i;
    uint64_t u;
    __int128 big;
    double f;
    assert_int_equal(json_parse(STR("85070591730234615847396907784232501249"), &v, NULL), 0);
    assert_int_equal(json_i64(v, &i), TTG_ERANGE);
    assert_int_equal(json_i128(v, &big), 0);
    assert_true(big == (__int128)INT64_MAX * INT64_MAX);
    assert_int_equal(json_parse(STR("-5"), &v, NULL), 0);
    assert_int_equal(json_i64(v, &i), 0);
    assert_int_equal(i, -5);
    assert_int_equal(json_u64(v, &u), TTG_EINVAL);
    assert_int_equal(json_parse(STR("1.5e1"), &v, NULL), 0);
    assert_int_equal(json_i64(v, &i), TTG_EINVAL);
    assert_int_equal(json_f64(v, &f), 0);
    assert_true(fabs(f - 15) < 1e-9);
    assert_int_equal(json_parse(STR("\"5\""), &s, NULL), 0);
    assert_int_equal(json_i64(s, &i), TTG_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_not_json), cmocka_unit_test(takes_what_is_json),
        cmocka_unit_test(limits_nesting),           cmocka_unit_test(walks_members),
        cmocka_unit_test(decodes_strings),          cmocka_unit_test(keeps_numbers_exact),
    };
    return tap_run(tests);
}
