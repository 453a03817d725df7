/* SPDX-License-Identifier: Apache-2.0 */
/* A short run of the raft simulator: seeds that failed once, and some more. `make sim-raft` runs
 * as many as there is time for. */
#include "tap.h"

#include "sim/raft_inner.h"

#include <stdio.h>
#include <stdlib.h>

static void run_seed(struct world *w, uint64_t seed, struct vw_counts *sum)
{
    struct vw_plan plan;
    struct vw_result r;
    vw_plan_of_seed(seed, &plan);
    vw_run(w, &plan, &r);
    vw_counts_add(sum, &r.counts);
    if (r.failed)
        fail_msg("seed %llu: %s; make sim-raft SECONDS=0 SEED=%llu", (unsigned long long)seed,
                 r.what, (unsigned long long)seed);
}

static void past_failures_stay_away(void **state)
{
    (void)state;
    struct world *w = vw_new();
    struct vw_counts sum = {0};
    FILE *f = fopen("tests/seeds/raft", "r");
    char line[1024];
    int seeds = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char *end;
        for (char *at = line; *line != '#' && strtoull(at, &end, 10) > 0; at = end, seeds++)
            run_seed(w, strtoull(at, NULL, 10), &sum);
    }
    fclose(f);
    vw_free(w);
    assert_true(seeds >= 10);
}

static void fresh_seeds_are_clean_and_not_idle(void **state)
{
    (void)state;
    struct world *w = vw_new();
    struct vw_counts sum = {0};
    for (uint64_t seed = 1000001; seed <= 1000500; seed++)
        run_seed(w, seed, &sum);
    vw_free(w);
    assert_true(sum.elections > 1000 && sum.crashes > 1000 && sum.partitions > 50);
    assert_true(sum.snapshots_installed > 50 && sum.member_changes > 500);
    assert_true(sum.repaired_entries > 50 && sum.full_disks > 10 && sum.transfers > 50 &&
                sum.allocations_failed > 50);
    assert_true(sum.writes_done > 3000 && sum.reads_done > 1000);
}

static void the_same_seed_is_the_same_run(void **state)
{
    (void)state;
    struct world *w = vw_new();
    struct vw_plan plan;
    struct vw_result a, b;
    vw_plan_of_seed(77, &plan);
    vw_run(w, &plan, &a);
    vw_run(w, &plan, &b);
    vw_free(w);
    assert_int_equal(a.failed, b.failed);
    assert_int_equal(a.sim_us, b.sim_us);
    assert_memory_equal(&a.counts, &b.counts, sizeof a.counts);
}

static void writes_go_on_soon(void **state)
{
    (void)state;
    struct world *w = vw_new();
    uint64_t us[100];
    vw_measure(w, 1, false, 100, us);
    assert_true(us[50] <= 450000 && us[99] <= 900000);
    vw_measure(w, 1, true, 100, us);
    assert_true(us[99] <= 12000);
    vw_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(past_failures_stay_away),
        cmocka_unit_test(fresh_seeds_are_clean_and_not_idle),
        cmocka_unit_test(the_same_seed_is_the_same_run),
        cmocka_unit_test(writes_go_on_soon),
    };
    return tap_run(tests);
}
