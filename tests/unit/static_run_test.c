/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "worker/static_run.h"

struct seen {
    struct loop *loop;
    struct static_run *run;
    struct static_totals totals;
    uint64_t chunks, params;
    uint64_t stop_after; /* chunks; 0: never */
    uint64_t refuse_after;
    int rc, ended;
};

static int on_chunk(void *ctx, const struct kernel_task *t, const struct kernel_result *r)
{
    struct seen *s = ctx;
    assert_int_equal(r->status, KERNEL_OK);
    s->chunks++;
    s->params += kernel_task_params(t);
    if (s->stop_after && s->chunks == s->stop_after)
        static_run_stop(s->run, 1000);
    return s->refuse_after && s->chunks >= s->refuse_after ? TTG_ECLOSED : 0;
}

static void on_end(void *ctx, const struct static_totals *totals, int rc)
{
    struct seen *s = ctx;
    s->totals = *totals;
    s->rc = rc;
    s->ended++;
    loop_stop(s->loop);
}

static struct static_config config_of(struct seen *s, uint64_t first, uint64_t count)
{
    struct static_config c = {.first = first,
                              .count = count,
                              .chunk_params = 10,
                              .batch = 500,
                              .max_attempts = 3,
                              .retry_min_ms = 1,
                              .retry_max_ms = 2,
                              .retry_seed = 1,
                              .job = "test",
                              .on_chunk = on_chunk,
                              .on_end = on_end,
                              .ctx = s};
    kernel_config_init(&c.kernel);
    c.kernel.worker = "worker-0";
    return c;
}

static int run(struct seen *s, const struct static_config *c)
{
    struct err e = {0};
    assert_int_equal(loop_open(&s->loop, &e), 0);
    int rc = static_run_start(&s->run, s->loop, c, &e);
    if (!rc)
        assert_int_equal(loop_run(s->loop), 0);
    static_run_close(rc ? NULL : s->run);
    loop_close(s->loop);
    return rc;
}

static void sums_its_range(void **state)
{
    (void)state;
    static const struct {
        uint64_t first, count, chunk, slots;
    } cases[] = {
        {0, 10000, 100, 1},
        {3334, 3333, 100, 3},
        {0, 1, 100, 1},
        {5, 0, 10, 2},
        {7, 10, 3, 4},
        {0, 100000, 1, 2},
        {0, (uint64_t)1 << 63, (uint64_t)1 << 62, 1},
        {INT64_MAX, 1, 1, 1},
        {1, INT64_MAX, INT64_MAX, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen s = {0};
        struct static_config c = config_of(&s, cases[i].first, cases[i].count);
        c.chunk_params = cases[i].chunk;
        c.kernel.slots = (uint32_t)cases[i].slots;
        assert_int_equal(run(&s, &c), 0);
        assert_int_equal(s.ended, 1);
        assert_true(s.totals.params_done == cases[i].count && s.params == cases[i].count);
        assert_int_equal(s.totals.chunks_done, s.totals.chunks);
        assert_int_equal(s.totals.chunks_failed, 0);
        __int128 n = cases[i].count, sum = n * cases[i].first + n * (n - 1) / 2;
        assert_true(s.totals.has_sum && s.totals.sum == sum);
    }
}

static void tries_again_and_gives_up(void **state)
{
    (void)state;
    struct seen s = {0};
    struct static_config c = config_of(&s, 0, 95);
    c.kernel.slots = 4;
    c.kernel.fault_rate = 1;
    c.kernel.fault_seed = 1;
    assert_int_equal(run(&s, &c), 0);
    assert_int_equal(s.totals.chunks_failed, 10);
    assert_int_equal(s.totals.params_failed, 95);
    assert_int_equal(s.totals.attempts, 30);
    assert_int_equal(s.totals.attempts_most, 3);
    assert_int_equal(s.totals.params_done, 0);

    s = (struct seen){0};
    c = config_of(&s, 0, 1000);
    c.max_attempts = 100;
    c.kernel.fault_rate = 0.3;
    c.kernel.fault_seed = 1;
    assert_int_equal(run(&s, &c), 0);
    assert_true(s.totals.sum == 499500);
    assert_true(s.totals.attempts > 100 && s.totals.chunks_done == 100);
}

static void stops_where_it_is_told(void **state)
{
    (void)state;
    struct seen s = {.stop_after = 7};
    struct static_config c = config_of(&s, 0, 1000);
    assert_int_equal(run(&s, &c), 0);
    assert_true(s.totals.stopped);
    assert_int_equal(s.totals.chunks_done, 7);
    assert_int_equal(s.totals.params_done, 70);
    assert_true(s.totals.sum == 69 * 70 / 2);
}

static void ends_when_nobody_takes_results(void **state)
{
    (void)state;
    struct seen s = {.refuse_after = 3};
    struct static_config c = config_of(&s, 0, 1000);
    assert_int_equal(run(&s, &c), 0);
    assert_int_equal(s.rc, TTG_ECLOSED);
    assert_int_equal(s.totals.chunks_done, 3);
}

/* A chunk that sleeps far longer than the drain time is cancelled and does not count. */
static void a_long_chunk_does_not_outlive_the_drain(void **state)
{
    (void)state;
    struct seen s = {0};
    struct err e = {0};
    struct static_config c = config_of(&s, 0, 1000);
    c.kernel.simulate_ms = 100000;
    assert_int_equal(loop_open(&s.loop, &e), 0);
    assert_int_equal(static_run_start(&s.run, s.loop, &c, &e), 0);
    assert_int_equal(loop_turn(s.loop, 0), 0);
    static_run_stop(s.run, 100000);
    static_run_stop(s.run, 5);
    assert_int_equal(loop_run(s.loop), 0);
    static_run_close(s.run);
    loop_close(s.loop);
    assert_int_equal(s.ended, 1);
    assert_true(s.totals.stopped);
    assert_int_equal(s.totals.params_done, 0);
    assert_int_equal(s.totals.params_failed, 0);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct seen s = {0};
        struct err e = {0};
        struct static_config c = config_of(&s, 0, 100);
        assert_int_equal(loop_open(&s.loop, &e), 0);
        mem_fail_at(n);
        int rc = static_run_start(&s.run, s.loop, &c, &e);
        if (!rc)
            rc = loop_run(s.loop);
        int failed = mem_failed();
        mem_fail_at(0);
        static_run_close(s.ended ? s.run : NULL);
        loop_close(s.loop);
        /* Later failures cost at most results: the run itself ends. */
        assert_true(rc == 0 ? s.ended == 1 : rc == TTG_ENOMEM);
        if (!failed) {
            assert_true(s.totals.sum == 4950);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_its_range),
        cmocka_unit_test(tries_again_and_gives_up),
        cmocka_unit_test(stops_where_it_is_told),
        cmocka_unit_test(ends_when_nobody_takes_results),
        cmocka_unit_test(a_long_chunk_does_not_outlive_the_drain),
        cmocka_unit_test(survives_failed_allocations),
    };
    return tap_run(tests);
}
