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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_both_dialects),
        cmocka_unit_test(says_nothing_in_replay),
        cmocka_unit_test(keeps_the_first_failure),
    };
    return tap_run(tests);
}
