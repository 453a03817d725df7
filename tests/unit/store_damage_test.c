/* SPDX-License-Identifier: Apache-2.0 */
/* Bits that flip, files that vanish: everything is noticed, and repaired when asked. */
#include "tap.h"

#include "store/format.h"
#include "store_rig.h"

#define FIRST_SEGMENT "log-0000000000000001.seg"

static struct rig base, trial;

/* A store with some history, shut down; `base.state` is what it must give again. */
static void build(int batches, bool snapshots)
{
    rig_init(&base, 7);
    base.o.segment_bytes = 8192;
    assert_int_equal(rig_start(&base), 0);
    for (int i = 0; i < batches; i++) {
        for (int k = 0; k < 3; k++)
            assert_int_equal(rig_append(&base, 0), 0);
        assert_int_equal(rig_batch(&base, 0), 0);
        if (snapshots && i % 7 == 3)
            assert_int_equal(rig_snapshot(&base, 600), 0);
    }
    rig_stop(&base);
    sim_disk_restart(base.sim);
}

/* A copy of the store to break. */
static struct rig *copy(void)
{
    trial = base;
    assert_int_equal(sim_disk_clone(base.sim, &trial.sim), 0);
    trial.o.disk = sim_disk_disk(trial.sim);
    return &trial;
}

struct names {
    char at[64][STORE_NAME_BYTES];
    size_t count;
};

static int add_name(void *ctx, const char *name)
{
    struct names *n = ctx;
    snprintf(n->at[n->count++], STORE_NAME_BYTES, "%.63s", name);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct names list(struct rig *r)
{
    struct names n = {.count = 0};
    assert_int_equal(r->o.disk->ops->list(r->o.disk, add_name, &n), 0);
    qsort(n.at, n.count, STORE_NAME_BYTES, by_name);
    return n;
}

/* The i-th name with that beginning; negative counts from the last. */
static const char *nth(const struct names *n, const char *prefix, int i)
{
    const char *found[64];
    int count = 0;
    for (size_t k = 0; k < n->count; k++)
        if (strncmp(n->at[k], prefix, strlen(prefix)) == 0)
            found[count++] = n->at[k];
    assert_true(i < count && -i <= count);
    return found[i < 0 ? count + i : i];
}

static void same_state(const struct rig *r)
{
    assert_int_equal(r->state.last, base.state.last);
    assert_true(r->state.digest == base.state.digest);
}

/* After a refusal: check says the same, repair makes it start, with a front part of the history. */
static void repairs(struct rig *r, const char *name, uint64_t offset)
{
    struct store_report report;
    struct err e = {0};
    rig_stop(r);
    int rc = store_check(&r->o, &report, &e);
    if (rc != TTG_ECORRUPT || !report.damaged)
        fail_msg("%s byte %d: check says %s", name, (int)offset, err_name(rc));
    uint64_t position = report.damage_position, from = report.snapshot_position;
    rc = store_repair(&r->o, "20260209T100012Z", &report, &e);
    if (rc == TTG_ECORRUPT && from == 0 && offset < 512 && strcmp(name, FIRST_SEGMENT) == 0) {
        assert_non_null(strstr(e.text, "backup"));
        return;
    }
    if (rc)
        fail_msg("%s byte %d: repair says %s", name, (int)offset, e.text);
    r->acked = 0;
    rc = rig_start(r);
    if (rc)
        fail_msg("%s byte %d: after the repair: %s %s", name, (int)offset, r->e.text, r->why);
    uint64_t expected = position - 1 > from ? position - 1 : from;
    assert_int_equal(r->report.last, expected);
    assert_int_equal(report.last, expected);
    assert_int_equal(rig_work(r, 3), 0);
    rig_stop(r);
    assert_int_equal(store_check(&r->o, &report, &e), 0);
    assert_int_equal(rig_start(r), 0);
}

static void flips(const char *name, uint64_t from, uint64_t to, uint64_t stride, bool must_notice)
{
    for (uint64_t at = from; at < to; at += stride) {
        struct rig *r = copy();
        assert_true(sim_disk_flip(r->sim, name, at, (unsigned)(at * 5 + at / 8)));
        int rc = rig_start(r);
        if (r->why[0])
            fail_msg("%s byte %d: %s", name, (int)at, r->why);
        if (rc == 0) {
            same_state(r);
            if (must_notice)
                fail_msg("%s byte %d: not noticed", name, (int)at);
        } else if (rc == TTG_ECORRUPT) {
            assert_non_null(strstr(r->e.text, name));
            assert_non_null(strstr(r->e.text, "--repair"));
            if (at % 3 == 0)
                repairs(r, name, at);
        } else if (rc != TTG_EVERSION) {
            fail_msg("%s byte %d: %s", name, (int)at, r->e.text);
        }
        rig_done(r);
    }
}

static void notices_each_flipped_byte_of_a_log(void **state)
{
    (void)state;
    build(9, false);
    struct names n = list(&base);
    size_t len;
    for (int i = 0; i < 2; i++) {
        const char *name = nth(&n, "log-", i);
        assert_non_null(sim_disk_bytes(base.sim, name, &len));
        flips(name, 0, len, 1, false);
    }
    /* In the newest segment nothing at all may change, not even the unused end. */
    const char *newest = nth(&n, "log-", -1);
    assert_non_null(sim_disk_bytes(base.sim, newest, &len));
    flips(newest, 0, len, 3, true);
    rig_done(&base);
}

static void notices_each_flipped_byte_of_a_snapshot(void **state)
{
    (void)state;
    build(30, true);
    struct names n = list(&base);
    size_t len;
    const char *newest = nth(&n, "snapshot-", -1);
    assert_non_null(sim_disk_bytes(base.sim, newest, &len));
    for (uint64_t at = 0; at < len; at++) {
        struct rig *r = copy();
        assert_true(sim_disk_flip(r->sim, newest, at, (unsigned)at));
        int rc = rig_start(r);
        assert_string_equal(r->why, "");
        if (rc != TTG_EVERSION) {
            /* The older one and the log behind it give the same state. */
            assert_int_equal(rc, 0);
            assert_int_equal(r->report.snapshots_bad, 1);
            same_state(r);
            assert_int_equal(rig_work(r, 2), 0);
            rig_stop(r);
            assert_int_equal(rig_start(r), 0);
            assert_int_equal(r->report.snapshots_bad, 0);
        }
        rig_done(r);
    }
    rig_done(&base);
}

static void refuses_without_a_good_snapshot(void **state)
{
    (void)state;
    build(40, true);
    struct names n = list(&base);
    struct rig *r = copy();
    for (int i = 0; i < 2; i++)
        assert_true(sim_disk_flip(r->sim, nth(&n, "snapshot-", i), 700, 1));
    assert_int_equal(rig_start(r), TTG_ECORRUPT);
    struct store_report report;
    struct names before = list(r);
    assert_int_equal(store_repair(&r->o, "x", &report, &r->e), TTG_ECORRUPT);
    assert_non_null(strstr(r->e.text, "backup"));
    struct names after = list(r);
    assert_memory_equal(&before, &after, sizeof before);
    rig_done(r);
    rig_done(&base);
}

static void notices_missing_files(void **state)
{
    (void)state;
    build(40, false);
    struct names n = list(&base);
    for (int i = 0; i < 3; i++) {
        struct rig *r = copy();
        const char *name = nth(&n, "log-", i);
        assert_true(sim_disk_delete(r->sim, name));
        assert_int_equal(rig_start(r), TTG_ECORRUPT);
        assert_non_null(strstr(r->e.text, name));
        assert_non_null(strstr(r->e.text, "missing"));
        if (i > 0)
            repairs(r, name, 0);
        rig_done(r);
    }
    rig_done(&base);

    build(32, true);
    n = list(&base);
    struct rig *r = copy();
    while (true) {
        struct names left = list(r);
        if (strncmp(left.at[0], "log-", 4) != 0 && strncmp(left.at[1], "log-", 4) != 0)
            break;
        assert_true(sim_disk_delete(r->sim, nth(&left, "log-", 0)));
    }
    assert_int_equal(rig_start(r), TTG_ECORRUPT);
    repairs(r, "all segments", 0);
    rig_done(r);
    rig_done(&base);
}

static void cut_file(struct rig *r, const char *name, size_t len)
{
    size_t full;
    const char *bytes = sim_disk_bytes(r->sim, name, &full);
    assert_true(bytes && len < full);
    char *part = mem_dup(bytes, len);
    assert_true(sim_disk_set(r->sim, name, part, len));
    mem_free(part);
}

static void notices_short_files(void **state)
{
    (void)state;
    build(12, false);
    struct names n = list(&base);
    static const size_t lengths[] = {0, 1, 511, 512, 513, 1024, 3000, 8191};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int k = -1; k <= 0; k++) {
            struct rig *r = copy();
            const char *name = nth(&n, "log-", k);
            cut_file(r, name, lengths[i]);
            int rc = rig_start(r);
            if (rc == 0) { /* the unused end of an older one or of a spare: no harm */
                same_state(r);
            } else {
                assert_int_equal(rc, TTG_ECORRUPT);
                assert_non_null(strstr(r->e.text, name));
                repairs(r, name, lengths[i]);
            }
            rig_done(r);
        }
    rig_done(&base);
}

static void zero_sector(struct rig *r, const char *name, size_t index)
{
    size_t len;
    const char *bytes = sim_disk_bytes(r->sim, name, &len);
    char *copied = mem_dup(bytes, len);
    memset(copied + index * SECTOR_BYTES, 0, SECTOR_BYTES);
    assert_true(sim_disk_set(r->sim, name, copied, len));
    mem_free(copied);
}

/* A whole sector that is gone looks like one that was never written. Unless it is of the last
 * batch, a later one says that it had been on disk; or, without syncs, that it had not. */
static void notices_lost_sectors(void **state)
{
    (void)state;
    static const enum store_sync modes[] = {STORE_SYNC_ALWAYS, STORE_SYNC_NEVER};
    for (int mode = 0; mode < 2; mode++) {
        rig_init(&base, 21);
        base.o.segment_bytes = 65536;
        base.o.sync = modes[mode];
        assert_int_equal(rig_start(&base), 0);
        for (int i = 0; i < 8; i++)
            assert_int_equal(rig_append(&base, 0) || rig_batch(&base, 0), 0);
        rig_stop(&base);
        sim_disk_kill(base.sim);
        size_t len, last_batch = 0, end = 0;
        const char *bytes = sim_disk_bytes(base.sim, FIRST_SEGMENT, &len);
        for (size_t i = 1; i < len / SECTOR_BYTES; i++) {
            enum sector_kind kind = sector_of_log(bytes + i * SECTOR_BYTES, 1, i);
            last_batch = kind == SECTOR_BATCH ? i : last_batch;
            end = kind == SECTOR_UNWRITTEN ? end : i + 1;
        }
        assert_true(end > 8);
        for (size_t i = 1; i < end; i++) {
            struct rig *r = copy();
            r->acked = 0;
            zero_sector(r, FIRST_SEGMENT, i);
            int rc = rig_start(r);
            bool damage = i < last_batch && modes[mode] == STORE_SYNC_ALWAYS;
            assert_int_equal(rc, damage ? TTG_ECORRUPT : 0);
            if (!rc)
                assert_true(r->report.last < base.appended && r->report.records < 8);
            rig_done(r);
        }
        rig_done(&base);
    }
}

static void refuses_an_unknown_version(void **state)
{
    (void)state;
    build(40, true);
    struct names n = list(&base);
    static const char *const kinds[] = {"log-", "snapshot-"};
    for (size_t i = 0; i < 2; i++) {
        struct rig *r = copy();
        assert_true(sim_disk_flip(r->sim, nth(&n, kinds[i], i == 0 ? 0 : -1), 8, 1));
        assert_int_equal(rig_start(r), TTG_EVERSION);
        assert_non_null(strstr(r->e.text, "version"));
        struct store_report report;
        assert_int_equal(store_repair(&r->o, "x", &report, &r->e), TTG_EVERSION);
        rig_done(r);
    }
    rig_done(&base);
}

static void repair_takes_no_odd_stamps(void **state)
{
    (void)state;
    build(2, false);
    struct store_report report;
    static const char *const stamps[] = {"", "a/b", "..", "123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++)
        assert_int_equal(store_repair(&base.o, stamps[i], &report, &base.e), TTG_EINVAL);
    assert_int_equal(store_repair(&base.o, "2026-02", &report, &base.e), 0);
    assert_false(report.damaged);
    rig_done(&base);
}

static void notices_damaged_blobs(void **state)
{
    (void)state;
    rig_init(&base, 11);
    base.blobs = true;
    assert_int_equal(rig_start(&base), 0);
    while (base.state.blob_count < 8)
        assert_int_equal(rig_append(&base, 0) || rig_batch(&base, 0), 0);
    assert_int_equal(rig_snapshot(&base, 0), 0);
    rig_stop(&base);
    sim_disk_restart(base.sim);
    struct names n = list(&base);
    const char *name = nth(&n, "blob-", 0);
    size_t len;
    assert_non_null(sim_disk_bytes(base.sim, name, &len));
    for (uint64_t at = 0; at < len; at += 7) {
        struct rig *r = copy();
        assert_true(sim_disk_flip(r->sim, name, at, 3));
        int rc = rig_start(r);
        if (at < 512)
            assert_true(rc == TTG_ECORRUPT || rc == TTG_EVERSION);
        else if (rc) /* or no blob lies there any more */
            assert_non_null(strstr(r->why, "a blob is not what was written"));
        rig_done(r);
    }
    struct rig *r = copy();
    assert_true(sim_disk_delete(r->sim, name));
    assert_int_equal(rig_start(r), TTG_ECORRUPT);
    assert_non_null(strstr(r->e.text, name));
    rig_done(r);
    rig_done(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notices_each_flipped_byte_of_a_log),
        cmocka_unit_test(notices_each_flipped_byte_of_a_snapshot),
        cmocka_unit_test(refuses_without_a_good_snapshot),
        cmocka_unit_test(notices_missing_files),
        cmocka_unit_test(notices_short_files),
        cmocka_unit_test(notices_lost_sectors),
        cmocka_unit_test(refuses_an_unknown_version),
        cmocka_unit_test(repair_takes_no_odd_stamps),
        cmocka_unit_test(notices_damaged_blobs),
    };
    return tap_run(tests);
}
