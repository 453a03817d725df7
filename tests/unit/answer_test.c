/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "wire/answer.h"

static void takes_answers(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum answer_kind kind;
        const char *text;
        __int128 sum;
        bool permanent;
    } cases[] = {
        {"{\"result\":\"plain\"}", ANSWER_RESULT, "plain", 0, false},
        {" { \"result\" : \"a\\nb\" } ", ANSWER_RESULT, "a\nb", 0, false},
        {"{\"result\":{\"a\":[1,2.50]}}", ANSWER_RESULT, "{\"a\":[1,2.50]}", 0, false},
        {"{\"result\":null,\"more\":1}", ANSWER_RESULT, "null", 0, false},
        {"{\"result\":3.5,\"chunk_id\":\"00042\"}", ANSWER_RESULT, "3.5", 0, false},
        {"{\"sum\":12}", ANSWER_SUM, "", 12, false},
        {"{\"sum\":-9223372036854775808,\"count\":3}", ANSWER_SUM, "", INT64_MIN, false},
        {"{\"sum\":\"18446744073709551616\"}", ANSWER_SUM, "", (__int128)1 << 64, false},
        {"{\"error\":\"disk full\"}", ANSWER_ERROR, "disk full", 0, false},
        {"{\"error\":\"bad\",\"permanent\":true}", ANSWER_ERROR, "bad", 0, true},
        {"{\"error\":\"\",\"permanent\":false}", ANSWER_ERROR, "", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a;
        struct buf text;
        buf_init(&text, 1000);
        assert_int_equal(answer_parse(str_of(cases[i].line), STR("00042"), &a, &text, NULL), 0);
        assert_int_equal(a.kind, cases[i].kind);
        assert_true(a.sum == cases[i].sum);
        assert_int_equal(a.permanent, cases[i].permanent);
        assert_string_equal(buf_cstr(&text), cases[i].text);
        buf_done(&text);
    }
}

static void refuses_what_is_none(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "hello",
        "{}",
        "[]",
        "{\"result\":",
        "{\"result\":1} x",
        "{\"result\":1,\"sum\":1}",
        "{\"result\":1,\"result\":2}",
        "{\"result\":1,\"error\":\"x\"}",
        "{\"sum\":1.5}",
        "{\"sum\":\"x\"}",
        "{\"sum\":\"\"}",
        "{\"sum\":true}",
        "{\"sum\":\"340282366920938463463374607431768211456\"}",
        "{\"error\":1}",
        "{\"error\":\"x\",\"permanent\":1}",
        "{\"result\":1,\"chunk_id\":\"00041\"}",
        "{\"result\":1,\"chunk_id\":42}",
        "{\"result\":\"\xff\"}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a;
        struct buf text;
        struct err err = {0};
        buf_init(&text, 1000);
        int rc = answer_parse(str_of(cases[i]), STR("00042"), &a, &text, &err);
        if (rc != TTG_EPROTO)
            fail_msg("%s: %d", cases[i], rc);
        assert_true(err.text[0] != '\0');
        buf_done(&text);
    }
}

static void tells_a_full_buffer_and_lost_memory_apart(void **state)
{
    (void)state;
    struct answer a;
    struct buf text;
    buf_init(&text, 3);
    assert_int_equal(answer_parse(STR("{\"result\":\"1234\"}"), STR("0"), &a, &text, NULL),
                     TTG_EFULL);
    buf_done(&text);
    buf_init(&text, 1000);
    mem_fail_at(1);
    assert_int_equal(answer_parse(STR("{\"result\":\"1234\"}"), STR("0"), &a, &text, NULL),
                     TTG_ENOMEM);
    mem_fail_at(0);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_answers),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(tells_a_full_buffer_and_lost_memory_apart),
    };
    return tap_run(tests);
}
