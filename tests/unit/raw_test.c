/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "job/raw.h"

#define LINE(value) "{\"chunk_id\":\"1\",\"worker_id\":\"w\",\"status\":\"complete\"," value "}\n"

static void values(void **state)
{
    (void)state;
    static const struct {
        struct str lines, raw;
    } cases[] = {
        {STR(""), STR("")},
        {STR(LINE("\"output\":\"a\\nb\"")), STR("a\nb")},
        {STR(LINE("\"output\":\"a\\n\"") LINE("\"output\":\"b\\n\"")), STR("a\nb\n")},
        {STR(LINE("\"output\":\"\"")), STR("")},
        {STR(LINE("\"output_base64\":\"AP8K\"")), STR("\0\xff\n")},
        {STR(LINE("\"result_summary\":{\"sum\":-7,\"count\":2}")), STR("-7\n")},
        {STR(LINE(
             "\"result_summary\":{\"sum\":170141183460469231731687303715884105727,\"count\":2}")),
         STR("170141183460469231731687303715884105727\n")},
        {STR(LINE("\"result_summary\":{\"best\":[1,2]}")), STR("{\"best\":[1,2]}\n")},
    };
    struct buf out, room;
    struct err err;
    buf_init(&out, 1 << 20);
    buf_init(&room, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&out);
        assert_int_equal(raw_add(&out, cases[i].lines, &room, &err), 0);
        if (!str_eq(buf_str(&out), cases[i].raw))
            fail_msg("case %zu: %.*s", i, STR_ARG(buf_str(&out)));
    }
    assert_int_equal(raw_add(&out, STR("{}\n"), &room, &err), TTG_EPROTO);
    assert_int_equal(raw_add(&out, STR(LINE("\"output_base64\":\"?\"")), &room, &err), TTG_EPROTO);
    buf_done(&out);
    buf_done(&room);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct buf out, room;
        struct err err;
        buf_init(&out, 1 << 20);
        buf_init(&room, 1 << 20);
        mem_fail_at(n);
        int rc = raw_add(&out, STR(LINE("\"output\":\"a\\nb\"")), &room, &err);
        int failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        buf_done(&out);
        buf_done(&room);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(survives_failed_allocations),
    };
    return tap_run(tests);
}
