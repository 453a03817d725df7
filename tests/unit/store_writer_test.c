/* SPDX-License-Identifier: Apache-2.0 */
/* Who writes a batch: the owner while the disk is quick and the batch light, else the thread. */
#include "tap.h"

#include "base/list.h"
#include "store/writer.h"
#include "store_rig.h"

#include <poll.h>

enum { ROW = 16, SLOW_NS = 2000000, LIGHT_BYTES = 200, HEAVY_BYTES = 30000 };

/* Each look at the clock moves it on: what lies between two looks took so long. */
struct stepping {
    struct clock clock;
    uint64_t ns, step_ns;
};

static uint64_t step_mono_ns(struct clock *c)
{
    struct stepping *s = container_of(c, struct stepping, clock);
    return s->ns += s->step_ns;
}

struct fixture {
    struct rig rig;
    struct stepping time;
    struct store_writer *w;
    uint64_t last, now_ms;
};

static int no_record(void *ctx, const struct store_record *r)
{
    (void)ctx, (void)r;
    return 0;
}

static void begin(struct fixture *f, enum store_sync sync)
{
    memset(f, 0, sizeof *f);
    rig_init(&f->rig, 1);
    f->rig.o.segment_bytes = 4 << 20;
    f->rig.o.sync = sync;
    f->rig.o.interval_ms = 10;
    f->time = (struct stepping){{step_mono_ns, NULL}, 0, 1000};
    const struct store_recovery recovery = {NULL, NULL, no_record};
    assert_int_equal(store_open(&f->rig.o, &f->rig.store, &f->rig.e), 0);
    assert_int_equal(store_recover(f->rig.store, &recovery, NULL, &f->rig.e), 0);
    assert_int_equal(store_writer_start(f->rig.store, &f->time.clock, &f->w), 0);
}

static void end(struct fixture *f)
{
    store_writer_stop(f->w);
    rig_done(&f->rig);
}

static int poll_once(struct fixture *f)
{
    return store_writer_poll(f->w, f->now_ms, &f->rig.e);
}

static void wait_for_thread(struct fixture *f)
{
    while (store_writer_busy(f->w)) {
        struct pollfd p = {.fd = store_writer_fd(f->w), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_int_equal(poll_once(f), 0);
    }
}

/* Appends one record and says whether the owner wrote it himself; waits if not. */
static bool own(struct fixture *f, size_t bytes)
{
    static const char zeros[HEAVY_BYTES];
    assert_int_equal(store_reserve(f->rig.store, 1, bytes, f->now_ms), 0);
    assert_int_equal(store_append(f->rig.store, 0, 1, str_make(zeros, bytes), &f->last), 0);
    assert_int_equal(poll_once(f), 0);
    bool own = !store_writer_busy(f->w);
    wait_for_thread(f);
    assert_true(store_ack_position(f->rig.store) == f->last);
    return own;
}

static void quick_row(struct fixture *f)
{
    f->time.step_ns = 1000;
    for (int i = 0; i < ROW; i++)
        assert_false(own(f, LIGHT_BYTES));
    assert_true(own(f, LIGHT_BYTES));
}

static void the_owner_writes_while_the_disk_is_quick(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, STORE_SYNC_ALWAYS);
    quick_row(&f);
    assert_int_equal(store_durable_position(f.rig.store), ROW + 1);
    /* A slow one, then the thread until it has proved quick again. */
    f.time.step_ns = SLOW_NS;
    assert_true(own(&f, LIGHT_BYTES));
    assert_int_equal(store_writer_took_ns(f.w), SLOW_NS);
    for (int i = 0; i < 2 * ROW; i++)
        assert_false(own(&f, LIGHT_BYTES));
    assert_int_equal(store_writer_own(f.w), 2);
    quick_row(&f);
    store_writer_yield(f.w);
    quick_row(&f);
    store_writer_urgent(f.w);
    quick_row(&f);
    end(&f);
}

static void the_thread_writes_much_at_once(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, STORE_SYNC_ALWAYS);
    quick_row(&f);
    assert_false(own(&f, HEAVY_BYTES));
    assert_true(own(&f, LIGHT_BYTES));
    /* Half a segment further a new file is made. */
    int others = 0;
    for (int i = 0; i < 5000; i++)
        others += !own(&f, 1000);
    assert_in_range(others, 1, 4);
    end(&f);
}

/* More is worth waiting for only while the owner would write it himself, in one light batch. */
static void the_owner_has_room_for_more(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, STORE_SYNC_ALWAYS);
    static const char zeros[1000];
    assert_int_equal(store_reserve(f.rig.store, 1, 4, 0), 0);
    assert_int_equal(store_append(f.rig.store, 0, 1, STR("slow"), NULL), 0);
    assert_false(store_writer_has_room(f.w)); /* the thread would write it */
    f.time.step_ns = SLOW_NS;
    assert_int_equal(poll_once(&f), 0);
    wait_for_thread(&f);
    quick_row(&f);
    assert_false(store_writer_has_room(f.w)); /* nothing to write */
    int records = 0;
    do {
        assert_int_equal(store_reserve(f.rig.store, 1, sizeof zeros, 0), 0);
        assert_int_equal(store_append(f.rig.store, 0, 1, str_make(zeros, sizeof zeros), &f.last),
                         0);
        records++;
    } while (store_writer_has_room(f.w));
    assert_in_range(records, 2, 16);
    assert_int_equal(poll_once(&f), 0);
    assert_false(store_writer_busy(f.w)); /* light even so */
    assert_true(store_ack_position(f.rig.store) == f.last);
    end(&f);
}

static void the_thread_catches_up_with_an_interval(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, STORE_SYNC_INTERVAL);
    quick_row(&f);
    f.now_ms += 1000;
    assert_false(own(&f, LIGHT_BYTES));
    assert_true(own(&f, LIGHT_BYTES));
    /* What is written and not synced keeps nobody waiting. */
    store_writer_urgent(f.w);
    assert_true(own(&f, LIGHT_BYTES));
    end(&f);
}

static void the_owner_meets_a_failing_disk(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, STORE_SYNC_ALWAYS);
    quick_row(&f);
    assert_int_equal(store_reserve(f.rig.store, 1, 4, 0), 0);
    assert_int_equal(store_append(f.rig.store, 0, 1, STR("gone"), NULL), 0);
    struct sim_disk_faults *faults = sim_disk_faults(f.rig.sim);
    faults->fail_at = sim_disk_steps(f.rig.sim) + 1;
    faults->fail_code = TTG_EIO;
    faults->fail_for_ever = true;
    assert_int_equal(poll_once(&f), TTG_EIO);
    assert_int_equal(store_ack_position(f.rig.store), ROW + 1);
    assert_int_equal(store_reserve(f.rig.store, 1, 4, 0), TTG_EIO);
    end(&f);
}

static void the_owner_meets_a_full_disk(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, STORE_SYNC_ALWAYS);
    quick_row(&f);
    assert_int_equal(store_reserve(f.rig.store, 1, 4, 0), 0);
    assert_int_equal(store_append(f.rig.store, 0, 1, STR("late"), &f.last), 0);
    struct sim_disk_faults *faults = sim_disk_faults(f.rig.sim);
    faults->fail_at = sim_disk_steps(f.rig.sim) + 1;
    faults->fail_code = TTG_ENOSPC;
    assert_int_equal(poll_once(&f), TTG_ENOSPC);
    assert_int_equal(store_ack_position(f.rig.store), ROW + 1);
    assert_int_equal(poll_once(&f), 0); /* not before a while has passed */
    assert_false(store_writer_busy(f.w));
    f.now_ms += 100;
    assert_int_equal(poll_once(&f), 0);
    assert_true(store_writer_busy(f.w)); /* a disk that was full is not quick */
    wait_for_thread(&f);
    assert_true(store_ack_position(f.rig.store) == f.last);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_owner_writes_while_the_disk_is_quick),
        cmocka_unit_test(the_thread_writes_much_at_once),
        cmocka_unit_test(the_owner_has_room_for_more),
        cmocka_unit_test(the_thread_catches_up_with_an_interval),
        cmocka_unit_test(the_owner_meets_a_failing_disk),
        cmocka_unit_test(the_owner_meets_a_full_disk),
    };
    return tap_run(tests);
}
