/* SPDX-License-Identifier: Apache-2.0 */
/* A full disk, a disk that fails, no memory: refused or stopped, never lost. */
#include "tap.h"

#include "store_rig.h"

static struct rig r;

/* Works on through "no room" and "no memory" as a node would: refuses, waits, goes on. */
static int work_through(struct rig *x, int batches)
{
    uint64_t now_ms = 0;
    int rc = 0, patience = 2000;
    for (int i = 0; i < batches && patience > 0; patience--) {
        now_ms += 60;
        rc = x->store ? 0 : rig_start(x);
        if (!rc)
            rc = rig_append(x, now_ms);
        if (x->store && (rc == 0 || rc == TTG_ENOSPC || rc == TTG_EAGAIN)) {
            int written = rig_batch(x, now_ms);
            rc = rc == TTG_EAGAIN ? written : rc ? rc : written;
        }
        if (!rc && i % 9 == 5)
            rc = rig_snapshot(x, 1000);
        if (rc == TTG_ENOSPC || rc == TTG_ENOMEM || rc == TTG_EAGAIN) {
            struct store_stats stats;
            if (x->store)
                store_stats(x->store, &stats);
            continue;
        }
        if (rc)
            return rc;
        i++;
    }
    return patience > 0 ? 0 : TTG_ETIMEOUT;
}

static void verify(struct rig *x, const char *what, uint64_t at)
{
    rig_stop(x);
    *sim_disk_faults(x->sim) = (struct sim_disk_faults){0};
    sim_disk_restart(x->sim);
    int rc = rig_start(x);
    if (!rc)
        rc = rig_work(x, 5);
    if (rc || x->why[0])
        fail_msg("%s %d: %s %s", what, (int)at, x->e.text, x->why);
}

static void goes_on_after_each_call_found_no_room(void **state)
{
    (void)state;
    bool ended = false;
    for (uint64_t step = 1; !ended; step++) {
        rig_init(&r, step);
        r.salt = 5;
        r.blobs = true;
        sim_disk_faults(r.sim)->fail_at = step;
        sim_disk_faults(r.sim)->fail_code = TTG_ENOSPC;
        int rc = work_through(&r, 60);
        /* A sync that fails is final, whatever it says; all else is not. */
        if (rc && rc != TTG_EIO)
            fail_msg("step %d: %s %s", (int)step, r.e.text, r.why);
        ended = sim_disk_steps(r.sim) < step;
        verify(&r, "step", step);
        rig_done(&r);
    }
}

static void refuses_while_full_and_comes_back(void **state)
{
    (void)state;
    rig_init(&r, 3);
    r.o.segment_bytes = 16384;
    sim_disk_faults(r.sim)->room_bytes = 60000;
    assert_int_equal(rig_start(&r), 0);
    uint64_t now_ms = 1;
    int rc = 0;
    for (int i = 0; i < 1000 && !rc; i++) {
        rc = rig_append(&r, now_ms);
        if (!rc)
            rc = rig_batch(&r, now_ms);
    }
    assert_int_equal(rc, TTG_ENOSPC);
    uint64_t last = r.appended;
    assert_true(last > 10);
    struct store_stats stats;
    store_stats(r.store, &stats);
    assert_true(stats.disk_full);
    /* What was promised is on disk, reading goes on, and asking costs nothing for a while. */
    assert_int_equal(r.acked, last);
    uint64_t steps = sim_disk_steps(r.sim);
    for (int i = 0; i < 10; i++)
        assert_int_equal(store_reserve(r.store, 1, 4000, now_ms), TTG_ENOSPC);
    assert_int_equal(sim_disk_steps(r.sim), steps);
    now_ms += 101;
    assert_int_equal(store_reserve(r.store, 1, 4000, now_ms), TTG_ENOSPC);
    assert_true(sim_disk_steps(r.sim) > steps);

    sim_disk_faults(r.sim)->room_bytes = 0;
    assert_int_equal(store_reserve(r.store, 1, 4000, now_ms + 1), TTG_ENOSPC);
    now_ms += 101;
    assert_int_equal(store_reserve(r.store, 1, 4000, now_ms), 0);
    store_stats(r.store, &stats);
    assert_false(stats.disk_full);
    assert_int_equal(rig_work(&r, 10), 0);
    assert_true(r.acked > last);
    verify(&r, "after", 0);
    rig_done(&r);
}

static void what_was_reserved_never_meets_a_full_disk(void **state)
{
    (void)state;
    /* The room goes right behind the promise. */
    for (int n = 1; n < 60; n++) {
        rig_init(&r, 9);
        assert_int_equal(rig_start(&r), 0);
        assert_int_equal(rig_work(&r, n), 0);
        int rc = rig_append(&r, 0);
        assert_int_equal(rc, 0);
        sim_disk_faults(r.sim)->room_bytes = 1;
        assert_int_equal(rig_batch(&r, 0), 0);
        assert_int_equal(r.acked, r.appended);
        rig_done(&r);
    }
}

static void stops_when_the_disk_fails(void **state)
{
    (void)state;
    bool ended = false;
    int stopped = 0;
    for (uint64_t step = 1; !ended; step++) {
        rig_init(&r, step);
        r.salt = 6;
        r.blobs = true;
        sim_disk_faults(r.sim)->fail_at = step;
        sim_disk_faults(r.sim)->fail_code = TTG_EIO;
        int rc = rig_start(&r);
        if (!rc)
            rc = rig_work(&r, 25);
        if (rc == TTG_EIO && r.store && store_reserve(r.store, 1, 1, 0) == TTG_EIO) {
            stopped++;
            /* For good, although the disk would now say yes. */
            struct store_snapshot *w;
            uint64_t steps = sim_disk_steps(r.sim);
            assert_null(store_batch_take(r.store, 0));
            assert_int_equal(store_flush(r.store, NULL), TTG_EIO);
            assert_int_equal(store_append(r.store, 0, 0, STR("x"), NULL), TTG_EIO);
            assert_int_equal(store_snapshot_begin(r.store, &w, NULL), TTG_EIO);
            assert_int_equal(sim_disk_steps(r.sim), steps);
        }
        ended = sim_disk_steps(r.sim) < step;
        sim_disk_faults(r.sim)->fail_at = 0;
        verify(&r, "step", step);
        rig_done(&r);
    }
    assert_true(stopped > 40);
}

/* After a failed sync the kernel takes the pages for clean. The next process can read them, builds
 * on them, and no sync of its own would bring them to disk. */
static void a_restart_writes_again_what_a_failed_sync_left(void **state)
{
    (void)state;
    bool ended = false;
    for (uint64_t step = 1; !ended; step++) {
        rig_init(&r, step);
        r.salt = 8;
        sim_disk_faults(r.sim)->fail_at = step;
        sim_disk_faults(r.sim)->fail_code = TTG_EIO;
        int rc = rig_start(&r);
        if (!rc)
            rig_work(&r, 25);
        ended = sim_disk_steps(r.sim) < step;
        rig_stop(&r);
        sim_disk_kill(r.sim);
        *sim_disk_faults(r.sim) = (struct sim_disk_faults){.keep_none = true};
        rc = rig_start(&r);
        if (!rc)
            rc = rig_work(&r, 2);
        if (rc || r.why[0])
            fail_msg("step %d: %s %s", (int)step, r.e.text, r.why);
        sim_disk_crash(r.sim);
        verify(&r, "step", step);
        rig_done(&r);
    }
}

static int count_record(void *ctx, const struct store_record *record)
{
    (void)record;
    ++*(uint64_t *)ctx;
    return 0;
}

static uint64_t start_counting(void)
{
    return rig_start_counting(&r, count_record);
}

/* However large the batch was, and also the one before when both share a sync. */
static void a_restart_writes_again_a_large_batch(void **state)
{
    enum { RECORDS = 40, RECORD_BYTES = 1 << 20 };
    (void)state;
    for (int first = 0; first <= 1; first++) {
        char *bytes = mem_zalloc(RECORD_BYTES);
        rig_init(&r, 3);
        r.o.segment_bytes = 64 << 20;
        r.o.batch_bytes = 64 << 20;
        r.o.sync = first ? STORE_SYNC_INTERVAL : STORE_SYNC_ALWAYS;
        r.o.interval_ms = 100;
        assert_int_equal(start_counting(), 0);
        uint64_t now_ms = 0;
        for (int i = 0; i < RECORDS; i++) {
            assert_int_equal(store_reserve(r.store, 1, RECORD_BYTES, now_ms), 0);
            assert_int_equal(store_append(r.store, 0, 1, str_make(bytes, RECORD_BYTES), NULL), 0);
            if (first && i == RECORDS / 2) {
                struct store_batch *b = store_batch_take(r.store, now_ms);
                store_batch_write(r.store, b);
                assert_int_equal(store_batch_done(r.store, b, &r.e), 0);
                now_ms += 1000;
            }
        }
        uint64_t bytes_long = store_filling_bytes(r.store);
        struct store_batch *b = store_batch_take(r.store, now_ms);
        uint64_t pieces = bytes_long / 508 * 512 / (256 << 10) + 1; /* then zeros, and the sync */
        sim_disk_faults(r.sim)->fail_at = sim_disk_steps(r.sim) + pieces + 2;
        sim_disk_faults(r.sim)->fail_code = TTG_EIO;
        store_batch_write(r.store, b);
        assert_int_equal(store_batch_done(r.store, b, &r.e), TTG_EIO);
        rig_stop(&r);
        sim_disk_kill(r.sim);
        *sim_disk_faults(r.sim) = (struct sim_disk_faults){.keep_none = true};
        assert_int_equal(start_counting(), RECORDS);
        sim_disk_crash(r.sim);
        rig_stop(&r);
        sim_disk_restart(r.sim);
        assert_int_equal(start_counting(), RECORDS);
        rig_done(&r);
        mem_free(bytes);
    }
}

/* One record and its batch. */
static int put(struct str bytes, uint64_t now_ms)
{
    int rc = store_reserve(r.store, 1, bytes.len, now_ms);
    if (!rc)
        rc = store_append(r.store, 0, 1, bytes, NULL);
    return rc ? rc : rig_batch(&r, now_ms);
}

/* Smaller segments as long as they fit, whole ones again when there is room. */
static void goes_on_in_small_segments(void **state)
{
    enum { RECORD_BYTES = 200000 };
    struct str bytes = {mem_zalloc(RECORD_BYTES), RECORD_BYTES};
    struct store_stats stats;
    (void)state;
    rig_init(&r, 4);
    r.o.segment_bytes = 4 << 20;
    assert_int_equal(start_counting(), 0);
    sim_disk_faults(r.sim)->room_bytes = 7 << 20;
    uint64_t now_ms = 1, count = 0;
    while (!put(bytes, now_ms)) {
        count++;
        store_stats(r.store, &stats);
        assert_true(stats.disk_tight == (stats.log_bytes > 4 << 20));
    }
    store_stats(r.store, &stats);
    assert_true(stats.disk_full && stats.disk_tight);
    assert_int_equal(stats.log_bytes, 7 << 20); /* behind the first one of 2 MiB, one of 1 MiB */
    assert_true(count > 32);
    sim_disk_faults(r.sim)->room_bytes = 0;
    assert_int_equal(put(bytes, now_ms + 101), 0);
    store_stats(r.store, &stats);
    assert_false(stats.disk_tight);
    assert_int_equal(stats.log_bytes, 11 << 20);
    rig_stop(&r);
    assert_int_equal(start_counting(), count + 1);
    rig_done(&r);
    mem_free((void *)bytes.ptr);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        rig_init(&r, 12);
        r.blobs = true;
        mem_fail_at(n);
        int rc = work_through(&r, 40);
        bool failed = mem_failed();
        mem_fail_at(0);
        if (rc && rc != TTG_ENOMEM)
            fail_msg("allocation %d: %s %s", (int)n, r.e.text, r.why);
        verify(&r, "allocation", n);
        rig_done(&r);
        if (!failed)
            break;
    }
}

static void syncs_when_the_interval_is_over(void **state)
{
    (void)state;
    rig_init(&r, 2);
    assert_int_equal(store_sync_parse(STR("interval:50"), &r.o, NULL), 0);
    assert_int_equal(rig_start(&r), 0);
    assert_true(store_next_ms(r.store) == UINT64_MAX);
    assert_int_equal(rig_append(&r, 1000), 0);
    assert_int_equal(store_ack_position(r.store), 0);
    assert_int_equal(rig_batch(&r, 1000), 0);
    assert_int_equal(store_ack_position(r.store), 1);
    assert_int_equal(store_durable_position(r.store), 0);
    assert_int_equal(store_next_ms(r.store), 1050);
    assert_null(store_batch_take(r.store, 1049));
    assert_int_equal(rig_batch(&r, 1050), 0);
    assert_int_equal(store_durable_position(r.store), 1);
    assert_true(store_next_ms(r.store) == UINT64_MAX);
    /* A stop with manners loses nothing. */
    assert_int_equal(rig_append(&r, 1100), 0);
    assert_int_equal(store_flush(r.store, NULL), 0);
    r.acked = 2;
    sim_disk_faults(r.sim)->keep_none = true;
    verify(&r, "interval", 0);
    rig_done(&r);
}

static void parses_sync(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        enum store_sync sync;
    } cases[] = {
        {"always", 0, STORE_SYNC_ALWAYS},
        {"never", 0, STORE_SYNC_NEVER},
        {"interval:1", 0, STORE_SYNC_INTERVAL},
        {"interval:3600000", 0, STORE_SYNC_INTERVAL},
        {"interval:0", TTG_EUSAGE, 0},
        {"interval:3600001", TTG_EUSAGE, 0},
        {"interval", TTG_EUSAGE, 0},
        {"interval:", TTG_EUSAGE, 0},
        {"Always", TTG_EUSAGE, 0},
        {"", TTG_EUSAGE, 0},
        {"never:1", TTG_EUSAGE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_options o = {0};
        assert_int_equal(store_sync_parse(str_of(cases[i].text), &o, NULL), cases[i].rc);
        assert_int_equal(o.sync, cases[i].sync);
    }
}

static void refuses_what_no_batch_can_hold(void **state)
{
    (void)state;
    rig_init(&r, 2);
    r.o.batch_bytes = 1000;
    assert_int_equal(rig_start(&r), 0);
    assert_int_equal(store_reserve(r.store, 1, (uint64_t)STORE_RECORD_BYTES_MAX + 1, 0),
                     TTG_ERANGE);
    assert_int_equal(store_reserve(r.store, UINT32_MAX, 0, 0), TTG_ERANGE);
    assert_int_equal(store_reserve(r.store, 1, UINT64_MAX, 0), TTG_ERANGE);
    /* One record may be larger than a batch and than a segment; a second one then waits. */
    char *big = mem_zalloc(100000);
    assert_int_equal(store_reserve(r.store, 1, 100000, 0), 0);
    assert_int_equal(store_append(r.store, 1, 1, str_make(big, 100000), NULL), 0);
    mem_free(big);
    assert_int_equal(store_reserve(r.store, 1, 1, 0), TTG_EAGAIN);
    assert_int_equal(store_flush(r.store, NULL), 0);
    assert_int_equal(store_reserve(r.store, 1, 1, 0), 0);
    assert_int_equal(store_durable_position(r.store), 1);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_after_each_call_found_no_room),
        cmocka_unit_test(refuses_while_full_and_comes_back),
        cmocka_unit_test(goes_on_in_small_segments),
        cmocka_unit_test(what_was_reserved_never_meets_a_full_disk),
        cmocka_unit_test(stops_when_the_disk_fails),
        cmocka_unit_test(a_restart_writes_again_what_a_failed_sync_left),
        cmocka_unit_test(a_restart_writes_again_a_large_batch),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(syncs_when_the_interval_is_over),
        cmocka_unit_test(parses_sync),
        cmocka_unit_test(refuses_what_no_batch_can_hold),
    };
    return tap_run(tests);
}
