/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of linearizability, on histories whose answer is known. */
#include "tap.h"

#include "sim/raft_inner.h"

#define OPEN UINT64_MAX
/* The n-th operation of a table, from 1, writes the value n. */
#define W(start, end)                                                                              \
    {                                                                                              \
        .start_us = (start), .end_us = (end), .write = true,                                       \
        .state = (end) == OPEN ? VW_OP_UNKNOWN : VW_OP_DONE                                        \
    }
#define R(start, end, v)                                                                           \
    {                                                                                              \
        .start_us = (start), .end_us = (end), .value = (v), .state = VW_OP_DONE                    \
    }

static void knows_good_from_bad(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool good;
        uint32_t count;
        struct vw_op ops[6];
    } cases[] = {
        {"nothing", true, 0, {{0}}},
        {"the first value", true, 1, {R(1, 2, 0)}},
        {"read after write", true, 2, {W(1, 2), R(3, 4, 1)}},
        {"a stale read", false, 2, {W(1, 2), R(3, 4, 0)}},
        {"a read of the future", false, 2, {R(1, 2, 2), W(3, 4)}},
        {"a read during a write sees either", true, 3, {W(1, 9), R(2, 3, 0), R(4, 5, 1)}},
        {"but not back again", false, 3, {W(1, 9), R(2, 3, 1), R(4, 5, 0)}},
        {"two writes at once, both orders seen",
         false,
         6,
         {W(1, 9), W(1, 9), R(10, 11, 1), R(12, 13, 2), R(14, 15, 1)}},
        {"two writes at once", true, 4, {W(1, 9), W(1, 9), R(10, 11, 1), R(12, 13, 1)}},
        {"an older write comes back", false, 4, {W(1, 2), W(3, 4), R(5, 6, 2), R(7, 8, 1)}},
        {"unknown and never seen", true, 3, {W(1, 2), W(3, OPEN), R(5, 6, 1)}},
        {"unknown and seen late", true, 4, {W(1, 2), W(3, OPEN), R(5, 6, 1), R(7, 8, 2)}},
        {"unknown, seen and gone", false, 4, {W(1, 2), W(3, OPEN), R(5, 6, 2), R(7, 8, 1)}},
        {"a value that nobody wrote", false, 1, {R(1, 2, 1)}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *breach = vw_lin_check(cases[i].ops, cases[i].count, 0, 0);
        if (!breach != cases[i].good)
            fail_msg("%s: %s", cases[i].name, breach ? breach : "accepted");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(knows_good_from_bad)};
    return tap_run(tests);
}
