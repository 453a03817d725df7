/* SPDX-License-Identifier: Apache-2.0 */
/* The power goes, the process dies, the disk is full or has errors, memory runs out: at each step
 * in turn. What was committed is there, nothing counts twice, and nothing is there that was not
 * sent. */
#include "tap.h"

#include "state_rig.h"

enum { CLIENTS = 4, MESSAGES = 12, WORK_LOG_BYTES = 1200 };

static struct rig r;

/* What the world outside knows. */
struct world {
    uint64_t acked[CLIENTS];   /* messages up to here were committed */
    uint64_t results[CLIENTS]; /* sums that went out, each time */
    int result_count[CLIENTS];
    bool finished[CLIENTS]; /* finish was committed, or the client is known to be finished */
    bool wrong;
};

static const char *name_of(int c)
{
    static const char *const names[CLIENTS] = {"CLI1", "a/b", "CLI2", "x"};
    return names[c];
}

static void on_ready(struct world *w, struct str client)
{
    for (int c = 0; c < CLIENTS; c++) {
        if (!str_eq(client, str_of(name_of(c))))
            continue;
        int rc;
        uint64_t sum = rig_sum(&r, name_of(c), &rc).sum;
        if (rc)
            continue;
        w->wrong |= w->results[c] && w->results[c] != sum;
        w->results[c] = sum;
        w->result_count[c]++;
        if (!state_finish(r.state, client, &r.e) && !state_commit(r.state, &r.e))
            w->finished[c] = true;
    }
}

/* One life: goes on where the last one's acknowledgements ended, as a queue would. */
static int live(struct world *w)
{
    struct str client;
    int rc = rig_open(&r);
    if (!rc)
        rc = state_rebuild(r.state, NULL, NULL, &r.e);
    for (uint64_t n = 1; n <= MESSAGES && !rc; n++) {
        for (int c = 0; c < CLIENTS && !rc; c++) {
            enum state_outcome outcome;
            if (n <= w->acked[c])
                continue;
            rc = rig_send(&r, name_of(c), n, &outcome);
            if (!rc && outcome == STATE_FINISHED)
                w->finished[c] = true;
        }
        if (!rc)
            rc = state_commit(r.state, &r.e);
        for (int c = 0; c < CLIENTS && !rc; c++)
            if (n < MESSAGES) /* the last one waits for the result */
                w->acked[c] = w->acked[c] < n ? n : w->acked[c];
        if (!rc && n % 5 == 0)
            rc = state_checkpoint(r.state, &r.e);
        clock_virtual_advance_ms(&r.clock, 500);
    }
    while (!rc && r.state && !state_ready_next(r.state, &client))
        on_ready(w, client);
    return rc;
}

static void check_end(const struct world *w, const char *what, uint64_t at)
{
    for (int c = 0; c < CLIENTS; c++) {
        if (w->wrong || !w->finished[c] || w->results[c] != MESSAGES * (MESSAGES + 1) / 2)
            fail_msg("%s %d: %s has %d, sent %d times, %s", what, (int)at, name_of(c),
                     (int)w->results[c], w->result_count[c], r.e.text);
        enum state_outcome outcome;
        assert_int_equal(rig_send(&r, name_of(c), 3, &outcome), 0);
        assert_int_equal(outcome, STATE_FINISHED);
    }
    assert_string_equal(rig_file(&r, "CLI1.csv"), "");
    assert_string_equal(rig_file(&r, "a%2Fb.csv"), "");
}

static void prepare(uint64_t seed)
{
    rig_init(&r, seed);
    r.expected = MESSAGES;
    r.o.log_bytes = WORK_LOG_BYTES;
    r.o.compact_rows = 4;
    r.pieces = 1 + seed % 3;
    r.o.clients_max = 3;
}

static bool all_finished(const struct world *w)
{
    bool all = true;
    for (int c = 0; c < CLIENTS; c++)
        all = all && w->finished[c];
    return all;
}

/* The first life met a fault; more of them without one. */
static void go_on(struct world *w, int rc)
{
    for (int lives = 0; lives < 3 && (rc || !all_finished(w)); lives++) {
        rig_kill(&r);
        sim_disk_restart(r.rows);
        sim_disk_restart(r.log);
        rc = live(w);
    }
    if (rc)
        fail_msg("%s", r.e.text);
}

/* `rows`: which of the two disks meets the fault. */
static void fault_at_each_step(bool rows, bool crash, bool keep_none, int fail_code)
{
    bool ended = false;
    for (uint64_t step = 1; !ended; step++) {
        struct world w = {0};
        prepare(step);
        struct sim_disk *d = rows ? r.rows : r.log;
        struct sim_disk_faults *f = sim_disk_faults(d);
        f->crash_at = crash ? step : 0;
        f->fail_at = crash ? 0 : step;
        f->fail_code = fail_code;
        sim_disk_faults(r.rows)->keep_none = sim_disk_faults(r.log)->keep_none = keep_none;
        int rc = live(&w);
        ended = sim_disk_steps(d) < step;
        f->crash_at = f->fail_at = 0;
        go_on(&w, rc);
        check_end(&w, "step", step);
        rig_done(&r);
    }
}

static void power_cut_at_each_step(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        fault_at_each_step(i % 2, true, i / 2, 0);
}

static void error_at_each_step(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        fault_at_each_step(i % 2, false, i / 2, i < 2 ? TTG_EIO : TTG_ENOSPC);
}

/* Takes no more, says why, and goes on in the same life when there is room. */
static void full_for_a_while(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bool rows = i % 2, commits = i / 2; /* who has nothing new to commit asks once more only */
        prepare(7);
        r.expected = 0;
        r.o.log_bytes = 2000;
        assert_int_equal(rig_open(&r), 0);
        struct sim_disk_faults *f = sim_disk_faults(rows ? r.rows : r.log);
        enum state_outcome outcome;
        uint64_t n = 0;
        f->room_bytes = rows ? 1000 : 2 << 20;
        int rc = 0;
        while (!rc && n < 1000000) {
            rc = rig_send(&r, "CLI1", ++n, &outcome);
            if (!rc && n % 10 == 0)
                rc = state_commit(r.state, &r.e);
            clock_virtual_advance_ms(&r.clock, 10);
            if (!rows && n == 2000) /* nor can the log be cut */
                f->room_bytes = 1;
        }
        assert_int_equal(rc, TTG_ENOSPC);
        assert_true(strlen(r.e.text) > 0);
        struct state_stats stats;
        state_stats(r.state, &stats);
        assert_true(stats.disk_full);
        for (int tries = 0; tries < 5; tries++) {
            assert_int_equal(rig_send(&r, "CLI1", n, &outcome), TTG_ENOSPC);
            clock_virtual_advance_ms(&r.clock, 100);
        }
        uint64_t taken = n - 1;
        f->room_bytes = 0;
        for (int tries = 0; tries < 100; tries++) {
            clock_virtual_advance_ms(&r.clock, 100);
            rc = commits ? state_commit(r.state, &r.e) : 0;
            if (!rc)
                rc = rig_send(&r, "CLI1", n, &outcome);
            if (!rc)
                break;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(outcome, STATE_NEW);
        assert_int_equal(state_commit(r.state, &r.e), 0);
        rig_kill(&r);
        sim_disk_restart(r.rows);
        sim_disk_restart(r.log);
        assert_int_equal(rig_open(&r), 0);
        assert_int_equal(rig_sum(&r, "CLI1", NULL).count, taken + 1);
        assert_int_equal(rig_sum(&r, "CLI1", NULL).sum, (taken + 1) * (taken + 2) / 2);
        rig_done(&r);
    }
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    bool ended = false;
    for (size_t n = 1; !ended; n++) {
        struct world w = {0};
        prepare(n);
        mem_fail_at(n);
        int rc = live(&w);
        ended = !mem_failed();
        mem_fail_at(0);
        assert_true(!rc || rc == TTG_ENOMEM);
        go_on(&w, rc);
        check_end(&w, "allocation", n);
        rig_done(&r);
    }
}

/* A lying disk loses what was acknowledged: the tests above can fail. */
static void a_lying_disk_is_noticed(void **state)
{
    (void)state;
    struct world w = {0};
    prepare(3);
    r.expected = 0;
    sim_disk_faults(r.log)->ignore_sync = true;
    sim_disk_faults(r.log)->keep_none = sim_disk_faults(r.rows)->keep_none = true;
    assert_int_equal(live(&w), 0);
    rig_kill(&r);
    sim_disk_restart(r.rows);
    sim_disk_restart(r.log);
    int rc = rig_open(&r);
    assert_true(rc || rig_sum(&r, "CLI1", NULL).count < MESSAGES);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_cut_at_each_step),  cmocka_unit_test(error_at_each_step),
        cmocka_unit_test(full_for_a_while),        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(a_lying_disk_is_noticed),
    };
    return tap_run(tests);
}
