/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/prng.h"

/* The authors' reference program from the state 1, 2, 3, 4. */
static void gives_the_published_numbers(void **state)
{
    (void)state;
    static const uint64_t expected[] = {11520u,
                                        0u,
                                        1509978240u,
                                        1215971899390074240u,
                                        1216172134540287360u,
                                        607988272756665600u,
                                        16172922978634559625u,
                                        8476171486693032832u,
                                        10595114339597558777u,
                                        2904607092377533576u};
    struct prng p = {{1, 2, 3, 4}};
    for (size_t i = 0; i < COUNT(expected); i++)
        assert_true(prng_u64(&p) == expected[i]);
}

/* splitmix64 from 1234567, as published. */
static void seeds_by_splitmix(void **state)
{
    (void)state;
    static const uint64_t expected[4] = {6457827717110365317u, 3203168211198807973u,
                                         9817491932198370423u, 4593380528125082431u};
    struct prng p;
    prng_init(&p, 1234567);
    assert_memory_equal(p.s, expected, sizeof expected);
}

static void stays_below_the_bound(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 3);
    static const uint64_t bounds[] = {1, 2, 3, 10, 1u << 31, (1ull << 63) + 1, UINT64_MAX};
    for (size_t b = 0; b < COUNT(bounds); b++)
        for (int i = 0; i < 1000; i++)
            assert_true(prng_below(&p, bounds[b]) < bounds[b]);
    int counts[10] = {0};
    for (int i = 0; i < 100000; i++)
        counts[prng_below(&p, 10)]++;
    for (int i = 0; i < 10; i++) /* 6 standard deviations, with a fixed seed */
        assert_in_range(counts[i], 10000 - 570, 10000 + 570);
}

static void chances_are_met(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 4);
    int hits = 0;
    for (int i = 0; i < 100000; i++) {
        double unit = prng_unit(&p);
        assert_true(unit >= 0 && unit < 1);
        assert_false(prng_chance(&p, 0));
        assert_true(prng_chance(&p, 1));
        hits += prng_chance(&p, 0.25);
    }
    assert_in_range(hits, 25000 - 830, 25000 + 830);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_published_numbers),
        cmocka_unit_test(seeds_by_splitmix),
        cmocka_unit_test(stays_below_the_bound),
        cmocka_unit_test(chances_are_met),
    };
    return tap_run(tests);
}
