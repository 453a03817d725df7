/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/prng.h"
#include "worker/static_range.h"

static void cuts_like_the_playbook(void **state)
{
    (void)state;
    static const uint64_t expected[][2] = {{0, 3334}, {3334, 3333}, {6667, 3333}};
    for (uint64_t w = 0; w < 3; w++) {
        struct static_range r = static_range(10000, 3, w);
        assert_int_equal(r.first, expected[w][0]);
        assert_int_equal(r.count, expected[w][1]);
    }
}

/* Each part begins where the last one ends, the last one ends at the end, sizes differ by one. */
static void covers_everything_once(void **state)
{
    (void)state;
    static const uint64_t cases[][2] = {
        {1, 1},
        {1, 5},
        {5, 5},
        {4, 5},
        {6, 5},
        {1000, 7},
        {INT64_MAX, 3},
        {(uint64_t)1 << 63, 1000},
        {(uint64_t)1 << 63, 1},
        {3, 4000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t next = 0, most = 0, least = UINT64_MAX;
        for (uint64_t w = 0; w < cases[i][1]; w++) {
            struct static_range r = static_range(cases[i][0], cases[i][1], w);
            assert_true(r.first == next);
            next = r.first + r.count;
            most = r.count > most ? r.count : most;
            least = r.count < least ? r.count : least;
        }
        assert_true(next == cases[i][0]);
        assert_true(most - least <= 1);
    }
}

static void any_two_neighbours_meet(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 1);
    for (int i = 0; i < 10000; i++) {
        uint64_t params = 1 + prng_below(&p, (uint64_t)1 << 63);
        uint64_t workers = 2 + prng_below(&p, UINT32_MAX), w = prng_below(&p, workers - 1);
        struct static_range a = static_range(params, workers, w);
        struct static_range b = static_range(params, workers, w + 1);
        struct static_range last = static_range(params, workers, workers - 1);
        assert_true(a.first + a.count == b.first);
        assert_true(last.first + last.count == params);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_like_the_playbook),
        cmocka_unit_test(covers_everything_once),
        cmocka_unit_test(any_two_neighbours_meet),
    };
    return tap_run(tests);
}
