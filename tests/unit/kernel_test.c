/* SPDX-License-Identifier: Apache-2.0 */
/* simulate, and what all kernels share */
#include "kernel_rig.h"

static void sums_exactly_and_at_once(void **state)
{
    (void)state;
    static const struct {
        int64_t start, end;
        __int128 sum;
        uint64_t params;
    } cases[] = {
        {0, 9999, 49995000, 10000},
        {5, 5, 5, 1},
        {-3, 3, 0, 7},
        {-10, -1, -55, 10},
        {INT64_MAX, INT64_MAX, INT64_MAX, 1},
        {0, INT64_MAX, (__int128)INT64_MAX * ((__int128)1 << 62), (uint64_t)1 << 63},
        {INT64_MIN, INT64_MAX, -((__int128)1 << 63), 0}, /* 2^64 parameters */
    };
    rig_open();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(rig_start(0, rig_task(cases[i].start, cases[i].end)));
        assert_int_equal(rig.result[0].status, KERNEL_OK);
        assert_true(rig.result[0].has_sum);
        assert_true(rig.result[0].sum == cases[i].sum);
        assert_true(rig.result[0].params == cases[i].params);
    }
    assert_int_equal(kernel_busy(rig.kernel), 0);
}

static void sleeps_per_parameter(void **state)
{
    (void)state;
    rig.config.simulate_ms = 0.25;
    rig_open();
    assert_false(rig_start(0, rig_task(0, 19)));
    assert_int_equal(kernel_busy(rig.kernel), 1);
    rig_wait(0);
    assert_true(rig.result[0].duration_ns >= 5000000);
    assert_true(rig.result[0].sum == 190);
}

static void cancel_wakes_a_sleeper(void **state)
{
    (void)state;
    rig.config.simulate_ms = 1e12;
    rig.config.slots = 2;
    rig_open();
    kernel_cancel(rig.kernel, 0); /* idle: harmless */
    rig_start(0, rig_task(INT64_MIN, INT64_MAX));
    rig_start(1, rig_task(0, 1));
    kernel_cancel(rig.kernel, 0);
    kernel_cancel(rig.kernel, 0);
    assert_int_equal(rig.done[0], 0);
    assert_int_equal(rig_wait(0)->status, KERNEL_CANCELED);
    assert_int_equal(kernel_busy(rig.kernel), 1); /* the other goes down with the kernel */
}

static void time_limit_ends_a_sleeper(void **state)
{
    (void)state;
    rig.config.simulate_ms = 1000;
    rig.config.timeout_ms = 20;
    rig_open();
    rig_start(0, rig_task(0, 99));
    assert_int_equal(rig_wait(0)->status, KERNEL_TIMEOUT);
    assert_str(rig.result[0].reason, "over the time limit of 0.02 s");
}

static unsigned faults(uint64_t seed, uint32_t attempt)
{
    unsigned n = 0;
    rig.config.fault_rate = 0.25;
    rig.config.fault_seed = seed;
    rig_open();
    for (uint64_t chunk = 0; chunk < 4000; chunk++) {
        struct kernel_task t = rig_task(0, 9);
        t.chunk = chunk;
        t.attempt = attempt;
        assert_true(rig_start(0, t));
        n += rig.result[0].status == KERNEL_FAILED;
        if (rig.result[0].status == KERNEL_FAILED)
            assert_has(rig.result[0].reason, "simulated fault");
    }
    kernel_close(rig.kernel);
    rig.kernel = NULL;
    return n;
}

static void faults_come_at_their_rate_and_repeat(void **state)
{
    (void)state;
    unsigned first = faults(1, 1);
    assert_in_range(first, 850, 1150);
    assert_int_equal(faults(1, 1), first);
    assert_int_not_equal(faults(2, 1), first);
}

static void drain_waits_for_the_running(void **state)
{
    (void)state;
    rig.config.simulate_ms = 5;
    rig.config.slots = 2;
    rig_open();
    rig_start(0, rig_task(0, 1));
    rig_drain();
    assert_int_equal(rig.done[0], 1);
    assert_int_equal(rig.result[0].status, KERNEL_OK);
    assert_true(rig_start(1, rig_task(0, 1)));
    assert_int_equal(rig.result[1].status, KERNEL_CANCELED);
}

static void refuses_bad_settings(void **state)
{
    (void)state;
    struct kernel_config good = rig.config;
    struct err err;
    struct kernel *k = NULL;
    for (int i = 0; i < 6; i++) {
        struct kernel_config c = good;
        if (i == 0)
            c.slots = 0;
        if (i == 1)
            c.slots = KERNEL_SLOTS_MAX + 1;
        if (i == 2)
            c.fault_rate = 1.5;
        if (i == 3)
            c.fault_rate = -0.1;
        if (i == 4)
            c.simulate_ms = 0.0 / 0.0;
        if (i == 5)
            c.simulate_ms = -1;
        assert_int_equal(kernel_open(&k, rig.loop, &c, &err), TTG_EUSAGE);
        assert_true(err.text[0] != '\0');
    }
}

static void describes_itself(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    struct kernel_config c = rig.config;
    c.simulate_ms = 0.1;
    assert_int_equal(kernel_describe(&c, &b), 0);
    assert_str(buf_str(&b), "simulate 0.1 ms");
    buf_clear(&b);
    c.type = KERNEL_COPROC;
    c.argv = RIG_ARGV("python3", "x.py");
    assert_int_equal(kernel_describe(&c, &b), 0);
    assert_str(buf_str(&b), "coproc python3 x.py");
    buf_clear(&b);
    c.type = KERNEL_PLUGIN;
    c.plugin = "./a.so";
    c.plugin_arg = "7";
    assert_int_equal(kernel_describe(&c, &b), 0);
    assert_str(buf_str(&b), "plugin ./a.so 7");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(sums_exactly_and_at_once),
        RIG_TEST(sleeps_per_parameter),
        RIG_TEST(cancel_wakes_a_sleeper),
        RIG_TEST(time_limit_ends_a_sleeper),
        RIG_TEST(faults_come_at_their_rate_and_repeat),
        RIG_TEST(drain_waits_for_the_running),
        RIG_TEST(refuses_bad_settings),
        RIG_TEST(describes_itself),
    };
    return tap_run(tests);
}
