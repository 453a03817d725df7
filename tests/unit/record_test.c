/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"
#include "base/mem.h"
#include "wire/record.h"

static void round_trip(void **state)
{
    const struct str first[] = {STR("XADD"), STR("s"), STR("*"), STR("f"), STR("")};
    const struct str second[] = {STR("DEL"), STR("a\0b")};
    struct buf b;
    struct record r;
    struct str *argv = NULL;
    size_t cap = 0, argc;
    (void)state;
    buf_init(&b, 4096);
    assert_int_equal(record_begin(&b, RECORD_COMMANDS, UINT64_MAX, 1u << 31), 0);
    assert_int_equal(record_command(&b, 5, first), 0);
    assert_int_equal(record_command(&b, 2, second), 0);
    assert_int_equal(record_open(&r, buf_str(&b)), 0);
    assert_int_equal(r.kind, RECORD_COMMANDS);
    assert_true(r.now_ms == UINT64_MAX && r.client == 1u << 31);
    assert_int_equal(record_next(&r, &argv, &cap, &argc), 1);
    assert_int_equal(argc, 5);
    for (size_t i = 0; i < argc; i++)
        assert_true(str_eq(argv[i], first[i]));
    assert_int_equal(record_next(&r, &argv, &cap, &argc), 1);
    assert_int_equal(argc, 2);
    assert_true(str_eq(argv[1], second[1]));
    assert_int_equal(record_next(&r, &argv, &cap, &argc), 0);
    mem_free(argv);
    buf_done(&b);
}

static void refuses_what_it_has_not_written(void **state)
{
    static const struct {
        struct str bytes;
        int open, next;
    } cases[] = {
        {STR(""), TTG_ECORRUPT, 0},
        {STR("\x01\x05"), TTG_ECORRUPT, 0},
        {STR("\x04\x05\x06"), TTG_ECORRUPT, 0},
        {STR("\x02\x05\x06\x01"), TTG_ECORRUPT, 0},      /* a boot record with words */
        {STR("\x01\x05\x06"), 0, 0},                     /* no command */
        {STR("\x01\x05\x06\x00"), 0, TTG_ECORRUPT},      /* a command without words */
        {STR("\x01\x05\x06\x02\x01x"), 0, TTG_ECORRUPT}, /* one word is missing */
        {STR("\x01\x05\x06\x01\x05x"), 0, TTG_ECORRUPT},
        {STR("\x01\x05\x06\xff\xff\xff\xff\x0f"), 0, TTG_ECORRUPT}, /* a lie about the count */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct record r;
        struct str *argv = NULL;
        size_t cap = 0, argc;
        int rc = record_open(&r, cases[i].bytes);
        assert_int_equal(rc, cases[i].open);
        if (!rc)
            assert_int_equal(record_next(&r, &argv, &cap, &argc), cases[i].next);
        mem_free(argv);
    }
}

static void room_is_enough(void **state)
{
    const struct str words[] = {STR("SET"), STR("key"), STR("value")};
    struct buf b;
    (void)state;
    buf_init(&b, RECORD_HEAD_BYTES_MAX + record_command_bytes(3, words));
    assert_int_equal(record_begin(&b, RECORD_COMMANDS, UINT64_MAX, UINT64_MAX), 0);
    assert_int_equal(record_command(&b, 3, words), 0);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refuses_what_it_has_not_written),
        cmocka_unit_test(room_is_enough),
    };
    return tap_run(tests);
}
