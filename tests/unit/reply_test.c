/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"
#include "base/mem.h"
#include "core/reply.h"

static void say_all(struct reply *r)
{
    reply_status(r, "OK");
    reply_int(r, -12);
    reply_int(r, INT64_MIN);
    reply_str(r, STR("a\0b"));
    reply_text(r, "");
    reply_null(r);
    reply_null_array(r);
    reply_bool(r, true);
    reply_double(r, 0.5);
    reply_array(r, 3);
    reply_map(r, 12);
    reply_set(r, 2);
    size_t outer = reply_open(r);
    size_t inner = reply_open(r);
    for (int i = 0; i < 12; i++)
        reply_int(r, 7);
    reply_close(r, inner, 12);
    size_t map = reply_open(r);
    reply_close_map(r, map, 0);
    reply_close(r, outer, 2);
    reply_error(r, "ERR bad '%s'\r\n", "x\ny");
}

static void writes_both_dialects(void **state)
{
    (void)state;
#define SEVENS ":7\r\n:7\r\n:7\r\n:7\r\n:7\r\n:7\r\n:7\r\n:7\r\n:7\r\n:7\r\n:7\r\n:7\r\n"
#define START "+OK\r\n:-12\r\n:-9223372036854775808\r\n$3\r\na\0b\r\n$0\r\n\r\n"
    static const struct str want[2] = {
        STR(START "$-1\r\n*-1\r\n:1\r\n$3\r\n0.5\r\n*3\r\n*24\r\n*2\r\n*2\r\n*12\r\n" SEVENS
                  "*0\r\n-ERR bad 'x y'  \r\n"),
        STR(START "_\r\n_\r\n#t\r\n,0.5\r\n*3\r\n%12\r\n~2\r\n*2\r\n*12\r\n" SEVENS
                  "%0\r\n-ERR bad 'x y'  \r\n"),
    };
    for (int dialect = 0; dialect < 2; dialect++) {
        struct buf out;
        buf_init(&out, 10000);
        struct reply r = {.out = &out, .resp3 = dialect};
        say_all(&r);
        assert_int_equal(r.rc, 0);
        assert_true(r.failed);
        assert_true(str_eq(buf_str(&out), want[dialect]));
        buf_done(&out);
    }
}

static void says_nothing_in_replay(void **state)
{
    (void)state;
    struct reply r = {0};
    say_all(&r);
    assert_int_equal(r.rc, 0);
    assert_true(r.failed);
}

static void keeps_the_first_failure(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 150; limit++) {
        struct buf out;
        buf_init(&out, limit);
        struct reply r = {.out = &out};
        say_all(&r);
        assert_int_equal(r.rc, TTG_EFULL);
        buf_done(&out);
    }
    struct buf out;
    buf_init(&out, 10000);
    struct reply r = {.out = &out};
    mem_fail_at(1);
    say_all(&r);
    mem_fail_at(0);
    assert_int_equal(r.rc, TTG_ENOMEM);
    buf_done(&out);
}

static void puts_a_front_before_what_is_there(void **state)
{
    (void)state;
    static const char want[] = "+OK\r\n*2\r\n:7\r\n$5\r\none\n2\r\n:1\r\n";
    for (size_t limit = 0; limit <= 100; limit++) {
        struct buf out;
        buf_init(&out, limit);
        struct reply r = {.out = &out};
        reply_status(&r, "OK");
        size_t mark = buf_len(&out);
        reply_raw(&r, STR("one\n"));
        reply_raw(&r, STR("2"));
        reply_str_end(&r);
        reply_insert(&r, mark, STR("*2\r\n:7\r\n$5\r\n"));
        reply_int(&r, 1);
        assert_true(r.rc == TTG_EFULL || (r.rc == 0 && limit >= sizeof want - 1));
        assert_true(r.rc == 0 || limit < 100);
        if (!r.rc)
            assert_string_equal(buf_cstr(&out), want);
        buf_done(&out);
    }
    struct buf head;
    buf_init(&head, 100);
    struct reply r = {.out = &head}, none = {0};
    reply_str_head(&r, 12345);
    assert_string_equal(buf_cstr(&head), "$12345\r\n");
    buf_done(&head);
    reply_insert(&none, 0, STR("x"));
    assert_int_equal(none.rc, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_both_dialects),
        cmocka_unit_test(says_nothing_in_replay),
        cmocka_unit_test(keeps_the_first_failure),
        cmocka_unit_test(puts_a_front_before_what_is_there),
    };
    return tap_run(tests);
}
