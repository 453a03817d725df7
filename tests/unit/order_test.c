/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "base/prng.h"
#include "job/order.h"

#include <stdio.h>

enum { LINES = 500 };

static void add(struct order *o, uint64_t chunk, struct buf *out)
{
    char line[64];
    struct err err;
    int n = snprintf(line, sizeof line, "line %llu\n", (unsigned long long)chunk);
    assert_int_equal(order_add(o, chunk, str_make(line, (size_t)n), out, &err), 0);
}

static void check(const struct buf *out, uint64_t from, uint64_t to, uint64_t gap)
{
    struct buf wanted;
    buf_init(&wanted, 1 << 20);
    for (uint64_t c = from; c < to; c++)
        if (c != gap)
            buf_printf(&wanted, "line %llu\n", (unsigned long long)c);
    assert_true(str_eq(buf_str(out), buf_str(&wanted)));
    buf_done(&wanted);
}

static void any_order_in_one_order_out(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 7);
    for (int round = 0; round < 20; round++) {
        struct order *o;
        struct err err;
        struct buf out;
        uint64_t chunks[LINES];
        buf_init(&out, 1 << 20);
        assert_int_equal(order_new(&o, NULL, 0, &err), 0);
        for (uint64_t i = 0; i < LINES; i++) {
            uint64_t at = prng_below(&prng, i + 1);
            chunks[i] = chunks[at];
            chunks[at] = i;
        }
        for (uint64_t i = 0; i < LINES; i++) {
            add(o, chunks[i], &out);
            if (i % 3 == 0)
                add(o, chunks[i], &out); /* a copy is dropped */
        }
        check(&out, 0, LINES, UINT64_MAX);
        assert_int_equal(order_next(o), LINES);
        order_free(o);
        buf_done(&out);
    }
}

static void gaps_come_out_at_the_end(void **state)
{
    (void)state;
    struct order *o;
    struct err err;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(order_new(&o, NULL, 3, &err), 0); /* 0, 1, 2 are out already */
    for (uint64_t c = 10; c-- > 0;)
        if (c != 5)
            add(o, c, &out);
    check(&out, 3, 5, UINT64_MAX);
    assert_int_equal(order_end(o, &out, &err), 0);
    check(&out, 3, 10, 5);
    assert_int_equal(order_next(o), 10);
    order_free(o);
    buf_done(&out);
}

static void needs_a_place(void **state)
{
    (void)state;
    struct order *o;
    struct err err;
    assert_int_not_equal(order_new(&o, "/no/such/directory", 0, &err), 0);
}

/* What could not be taken can be given again. */
static void survives_a_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 60; n++) {
        struct order *o;
        struct err err;
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_int_equal(order_new(&o, NULL, 0, &err), 0);
        mem_fail_at(n);
        for (uint64_t c = 40; c-- > 0;) {
            char line[64];
            int len = snprintf(line, sizeof line, "line %llu\n", (unsigned long long)c);
            int rc = order_add(o, c, str_make(line, (size_t)len), &out, &err);
            if (rc && c == 0)
                break;
            if (rc) {
                mem_fail_at(0);
                add(o, c, &out);
            }
        }
        mem_fail_at(0);
        if (buf_len(&out) > 0 && order_next(o) == 40)
            check(&out, 0, 40, UINT64_MAX);
        order_free(o);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_in_one_order_out),
        cmocka_unit_test(gaps_come_out_at_the_end),
        cmocka_unit_test(needs_a_place),
        cmocka_unit_test(survives_a_lack_of_memory),
    };
    return tap_run(tests);
}
