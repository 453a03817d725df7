/* SPDX-License-Identifier: Apache-2.0 */
/* How long somebody waits for a delivery before another connection may bring it. */
#include "queue/amqp_astray.h"
#include "tap.h"

enum { STEP_MS = 50 };

struct waiter {
    struct amqp_astray astray;
    struct prng prng;
    uint64_t now_ms;
};

static struct waiter begin(uint64_t seed)
{
    struct waiter w = {.now_ms = 12345};
    prng_init(&w.prng, seed);
    return w;
}

static bool look(struct waiter *w, bool waits)
{
    struct err err;
    w->now_ms += STEP_MS;
    return amqp_astray_look(&w->astray, &w->prng, waits, w->now_ms, &err);
}

/* Until it takes another connection. */
static uint64_t waited(struct waiter *w)
{
    uint64_t began_ms = w->now_ms;
    while (!look(w, true))
        assert_true(w->now_ms - began_ms < 1000000);
    return w->now_ms - began_ms;
}

static void waits_double(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct waiter w = begin(seed);
        uint64_t first = waited(&w), second = waited(&w), third = waited(&w);
        assert_in_range(first, 10000, 20000 + 2 * STEP_MS);
        assert_in_range(second, 2 * first - 4 * STEP_MS, 2 * first + 4 * STEP_MS);
        assert_in_range(third, 4 * first - 8 * STEP_MS, 4 * first + 8 * STEP_MS);
    }
}

static void not_all_at_once(void **state)
{
    uint64_t low = UINT64_MAX, high = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct waiter w = begin(seed);
        uint64_t ms = waited(&w);
        low = ms < low ? ms : low;
        high = ms > high ? ms : high;
    }
    assert_true(low < 12000 && high > 18000);
}

static void what_comes_or_is_at_hand_begins_it_anew(void **state)
{
    struct waiter w = begin(7);
    (void)state;
    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < 9000 / STEP_MS; k++)
            assert_false(look(&w, true));
        if (i % 2)
            amqp_astray_came(&w.astray);
        else
            assert_false(look(&w, false));
    }
}

/* A job with pauses is not cut in each of them. */
static void pauses_are_learnt(void **state)
{
    struct waiter w = begin(7);
    int cuts = 0;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < 60000 / STEP_MS; k++)
            cuts += look(&w, true);
        amqp_astray_came(&w.astray);
    }
    assert_in_range(cuts, 1, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double),
        cmocka_unit_test(not_all_at_once),
        cmocka_unit_test(what_comes_or_is_at_hand_begins_it_anew),
        cmocka_unit_test(pauses_are_learnt),
    };
    return tap_run(tests);
}
