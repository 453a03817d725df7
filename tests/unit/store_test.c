/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "store_rig.h"

static void keeps_records_over_a_restart(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 1);
    r.blobs = true;
    assert_int_equal(rig_start(&r), 0);
    for (int life = 0; life < 20; life++) {
        int rc = rig_work(&r, 20);
        if (rc)
            print_message("%s %s\n", r.e.text, r.why);
        assert_int_equal(rc, 0);
        rig_stop(&r);
        sim_disk_restart(r.sim);
        rc = rig_start(&r);
        if (rc)
            print_message("%s %s\n", r.e.text, r.why);
        assert_int_equal(rc, 0);
    }
    struct store_stats stats;
    store_stats(r.store, &stats);
    assert_true(r.appended > 1000);
    assert_int_equal(stats.snapshots, 2);
    assert_true(stats.segments < 40);
    rig_done(&r);
}

static struct rig *rig_of(uint64_t seed)
{
    static struct rig r;
    rig_init(&r, seed);
    return &r;
}

/* The whole workload with the power going at one step: then a start, some more work, a start. The
 * broken promise, or NULL. `ret_ended`: it went through without reaching that step. */
static const char *crash_once(uint64_t seed, uint64_t crash_at, uint64_t again_at,
                              struct sim_disk_faults faults, enum store_sync sync, bool *ret_ended)
{
    struct rig *r = rig_of(seed * 100003 + crash_at * 101 + again_at);
    r->blobs = true;
    r->salt = seed;
    r->o.sync = sync;
    faults.crash_at = crash_at;
    *sim_disk_faults(r->sim) = faults;
    int rc = rig_start(r);
    if (!rc)
        rc = rig_work(r, 25);
    *ret_ended = !sim_disk_crashed(r->sim);
    if (rc && *ret_ended && !r->why[0])
        snprintf(r->why, sizeof r->why, "stopped without a crash: %.120s", r->e.text);
    rig_stop(r);
    sim_disk_faults(r->sim)->crash_at = again_at ? sim_disk_steps(r->sim) + again_at : 0;
    sim_disk_restart(r->sim);
    if (again_at) {
        rc = rig_start(r);
        if (!rc)
            rig_work(r, 3);
        rig_stop(r);
        sim_disk_faults(r->sim)->crash_at = 0;
        sim_disk_restart(r->sim);
    }
    for (int life = 0; life < 2 && !r->why[0]; life++) {
        rc = rig_start(r);
        if (!rc)
            rc = rig_work(r, 4);
        if (rc && !r->why[0])
            snprintf(r->why, sizeof r->why, "cannot go on: %.150s", r->e.text);
        rig_stop(r);
        sim_disk_restart(r->sim);
    }
    static char why[200];
    memcpy(why, r->why, sizeof why);
    rig_done(r);
    return why[0] ? why : NULL;
}

static void survives_a_crash_at_every_step(void **state)
{
    (void)state;
    static const struct {
        struct sim_disk_faults faults;
        enum store_sync sync;
    } cases[] = {
        {{0}, STORE_SYNC_ALWAYS},
        {{.keep_none = true}, STORE_SYNC_ALWAYS},
        {{.keep_all = true}, STORE_SYNC_ALWAYS},
        {{0}, STORE_SYNC_NEVER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool ended = false;
        uint64_t step = 0;
        for (uint64_t seed = 1; seed <= 3; seed++) {
            ended = false;
            for (step = 1; !ended; step++) {
                const char *why = crash_once(seed, step, 0, cases[i].faults, cases[i].sync, &ended);
                if (why)
                    fail_msg("case %zu seed %d step %d: %s", i, (int)seed, (int)step, why);
            }
        }
        print_message("# case %zu: %d steps, 3 seeds\n", i, (int)step - 1);
    }
}

static void survives_a_crash_while_recovering(void **state)
{
    (void)state;
    bool ended = false;
    for (uint64_t step = 1; !ended; step += 3)
        for (uint64_t again = 1; again <= 25 && !ended; again++) {
            const char *why =
                crash_once(4, step, again, (struct sim_disk_faults){0}, STORE_SYNC_ALWAYS, &ended);
            if (why)
                fail_msg("steps %d and %d: %s", (int)step, (int)again, why);
        }
}

/* The proof that the two tests above can fail. */
static void loses_records_on_a_disk_that_does_not_sync(void **state)
{
    (void)state;
    bool ended = false;
    int caught = 0;
    for (uint64_t step = 1; !ended; step++)
        caught += crash_once(1, step, 0, (struct sim_disk_faults){.ignore_sync = true},
                             STORE_SYNC_ALWAYS, &ended) != NULL;
    assert_true(caught > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_records_over_a_restart),
        cmocka_unit_test(survives_a_crash_at_every_step),
        cmocka_unit_test(survives_a_crash_while_recovering),
        cmocka_unit_test(loses_records_on_a_disk_that_does_not_sync),
    };
    return tap_run(tests);
}
