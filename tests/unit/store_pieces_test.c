/* SPDX-License-Identifier: Apache-2.0 */
/* What is long is written in pieces: batches, so that their memory has a limit, and snapshots,
 * which are synced on the way only when they are long. */
#include "tap.h"

#include "store_rig.h"

enum { PIECE_BYTES_MAX = 256 << 10, RECORD_BYTES = 100000, RECORDS = 20, SEGMENT_BYTES = 3 << 20 };

static struct rig r;
static const struct disk_ops *real;
static struct disk_ops counting;
static size_t write_longest;
static int sync_count;

static int count_write(struct disk *d, int file, uint64_t offset, const void *bytes, size_t len)
{
    write_longest = len > write_longest ? len : write_longest;
    return real->write(d, file, offset, bytes, len);
}

static int count_sync(struct disk *d, int file)
{
    sync_count++;
    return real->sync(d, file);
}

static void begin(uint64_t seed)
{
    rig_init(&r, seed);
    r.o.segment_bytes = SEGMENT_BYTES;
    r.o.sync = STORE_SYNC_ALWAYS;
    real = r.o.disk->ops;
    counting = *real;
    counting.write = count_write;
    counting.sync = count_sync;
    r.o.disk->ops = &counting;
    write_longest = 0;
}

static int check_record(void *ctx, const struct store_record *record)
{
    static char expected[RECORD_BYTES];
    uint64_t *count = ctx;
    rig_bytes(expected, RECORD_BYTES, record->position);
    if (record->position != ++*count || record->bytes.len != RECORD_BYTES ||
        memcmp(record->bytes.ptr, expected, RECORD_BYTES) != 0)
        return TTG_ECORRUPT;
    return 0;
}

static uint64_t start(void)
{
    return rig_start_counting(&r, check_record);
}

/* A batch of RECORDS records. */
static int put_many(void)
{
    static char bytes[RECORD_BYTES];
    for (int i = 0; i < RECORDS; i++) {
        rig_bytes(bytes, RECORD_BYTES, store_last_position(r.store) + 1);
        int rc = store_reserve(r.store, 1, RECORD_BYTES, 0);
        if (!rc)
            rc = store_append(r.store, 0, 1, str_make(bytes, RECORD_BYTES), NULL);
        if (rc)
            return rc;
    }
    return rig_batch(&r, 0);
}

/* The second batch finds no room behind the first and brings the head of its segment. */
static void writes_a_batch_piece_by_piece(void **state)
{
    (void)state;
    begin(1);
    assert_int_equal(start(), 0);
    assert_int_equal(put_many(), 0);
    assert_int_equal(put_many(), 0);
    assert_in_range(write_longest, 1, PIECE_BYTES_MAX);
    rig_stop(&r);
    sim_disk_crash(r.sim);
    sim_disk_restart(r.sim);
    assert_int_equal(start(), 2 * RECORDS);
    assert_int_equal(put_many(), 0);
    rig_stop(&r);
    assert_int_equal(start(), 3 * RECORDS);
    rig_done(&r);
}

/* All of a batch or nothing, whatever of its pieces had reached the disk. */
static void a_batch_is_whole_or_not_there(void **state)
{
    (void)state;
    bool ended = false;
    int whole = 0, gone = 0;
    for (uint64_t step = 1; !ended; step++) {
        begin(step);
        assert_int_equal(start(), 0);
        assert_int_equal(put_many(), 0);
        sim_disk_faults(r.sim)->crash_at = sim_disk_steps(r.sim) + step;
        bool acked = put_many() == 0;
        ended = !sim_disk_crashed(r.sim);
        rig_stop(&r);
        sim_disk_faults(r.sim)->crash_at = 0;
        if (!ended)
            sim_disk_restart(r.sim);
        uint64_t count = start();
        if (count != 2 * RECORDS && (acked || count != RECORDS))
            fail_msg("step %d: %d records, %s", (int)step, (int)count, acked ? "acked" : "not");
        whole += count == 2 * RECORDS;
        gone += count == RECORDS;
        assert_int_equal(put_many(), 0);
        rig_done(&r);
    }
    assert_true(whole > 0 && gone > 8);
}

static int snapshot_syncs(size_t megabytes)
{
    static char bytes[1 << 20];
    struct store_snapshot *w;
    assert_int_equal(store_snapshot_begin(r.store, &w, &r.e), 0);
    store_snapshot_forked(w);
    sync_count = 0;
    for (size_t i = 0; i < megabytes; i++)
        assert_int_equal(store_snapshot_write(w, str_make(bytes, sizeof bytes)), 0);
    assert_int_equal(store_snapshot_seal(w), 0);
    int count = sync_count;
    assert_int_equal(store_snapshot_end(w), 0);
    assert_int_equal(store_snapshot_finish(r.store, 0, &r.e), 0);
    return count;
}

/* Its child gives the memory back before it waits for the disk; a long one may not keep the log
 * waiting for all of it at its end. */
static void a_short_snapshot_is_synced_at_its_end(void **state)
{
    (void)state;
    begin(2);
    assert_int_equal(start(), 0);
    assert_int_equal(put_many(), 0);
    assert_int_equal(snapshot_syncs(7), 0);
    assert_int_equal(put_many(), 0);
    assert_in_range(snapshot_syncs(32), 5, 8);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_a_batch_piece_by_piece),
        cmocka_unit_test(a_batch_is_whole_or_not_there),
        cmocka_unit_test(a_short_snapshot_is_synced_at_its_end),
    };
    return tap_run(tests);
}
