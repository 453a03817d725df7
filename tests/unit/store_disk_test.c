/* SPDX-License-Identifier: Apache-2.0 */
/* The real disk: the same store in a directory, with its thread and with other processes. */
#include "tap.h"

#include "base/mem.h"
#include "io/disk.h"
#include "io/realclock.h"
#include "store/writer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
    char path[64];
    struct disk *disk;
    struct store_options o;
    uint64_t count, bytes;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct err e;
    strcpy(f->path, "/tmp/ttg-store-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    assert_int_equal(disk_open(f->path, 0, &f->disk, &e), 0);
    f->o = (struct store_options){.disk = f->disk, .segment_bytes = 1 << 20};
    *state = f;
    return 0;
}

static int remove_each(void *ctx, const char *name)
{
    struct fixture *f = ctx;
    return f->disk->ops->remove(f->disk, name);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->disk->ops->list(f->disk, remove_each, f), 0);
    assert_int_equal(rmdir(f->path), 0);
    disk_free(f->disk);
    mem_free(f);
    return 0;
}

static int on_record(void *ctx, const struct store_record *r)
{
    struct fixture *f = ctx;
    f->count++;
    f->bytes += r->bytes.len;
    return 0;
}

static struct store *start(struct fixture *f)
{
    struct store *s;
    struct err e = {0};
    f->count = f->bytes = 0;
    const struct store_recovery recovery = {f, NULL, on_record};
    int rc = store_open(&f->o, &s, &e);
    if (!rc)
        rc = store_recover(s, &recovery, NULL, &e);
    if (rc)
        fail_msg("%s", e.text);
    return s;
}

static void append(struct store *s, struct store_writer *w, int count)
{
    char bytes[200] = "x";
    for (int i = 0; i < count; i++) {
        int rc;
        while ((rc = store_reserve(s, 1, sizeof bytes, 0)) == TTG_EAGAIN && w) {
            struct pollfd p = {.fd = store_writer_fd(w), .events = POLLIN};
            assert_int_equal(store_writer_poll(w, 0, NULL), 0);
            if (store_writer_busy(w))
                assert_int_equal(poll(&p, 1, 10000), 1);
        }
        assert_int_equal(rc, 0);
        assert_int_equal(store_append(s, 1, 2, str_make(bytes, sizeof bytes), NULL), 0);
    }
}

static void calls_do_what_they_say(void **state)
{
    struct fixture *f = *state;
    const struct disk_ops *d = f->disk->ops;
    int file, again;
    char bytes[16];
    size_t len;
    uint64_t size;
    assert_int_equal(d->open(f->disk, "a", 0, &file), TTG_ENOENT);
    assert_int_equal(d->open(f->disk, "a", DISK_WRITE | DISK_CREATE, &file), 0);
    assert_int_equal(d->write(f->disk, file, 5, "hello", 5), 0);
    assert_int_equal(d->read(f->disk, file, 3, bytes, sizeof bytes, &len), 0);
    assert_int_equal(len, 7);
    assert_memory_equal(bytes, "\0\0hello", 7);
    assert_int_equal(d->allocate(f->disk, file, 100000), 0);
    assert_int_equal(d->allocate(f->disk, file, 10), 0);
    assert_int_equal(d->size(f->disk, file, &size), 0);
    assert_int_equal(size, 100000);
    assert_int_equal(d->next_data(f->disk, file, 0, &size), 0);
    assert_int_equal(size, 0);
    assert_int_equal(d->next_data(f->disk, file, 100000, &size), 0);
    assert_int_equal(size, 100000);
    assert_int_equal(d->sync(f->disk, file), 0);
    d->forget(f->disk, file, 0, 100000);
    d->forget(f->disk, -1, 0, 1); /* an advice only */
    const char *map;
    assert_int_equal(d->map(f->disk, file, 10, &map), 0);
    assert_memory_equal(map + 5, "hello", 5);
    d->unmap(f->disk, map, 10);
    assert_int_equal(d->truncate(f->disk, file, 7), 0);
    assert_int_equal(d->rename(f->disk, "a", "b"), 0);
    assert_int_equal(d->sync_dir(f->disk), 0);
    assert_int_equal(d->open(f->disk, "b", 0, &again), 0);
    assert_int_equal(d->write(f->disk, again, 0, "x", 1), TTG_EIO); /* not opened for writing */
    assert_int_equal(d->size(f->disk, again, &size), 0);
    assert_int_equal(size, 7);
    d->close(f->disk, again);
    d->close(f->disk, file);
    assert_int_equal(d->remove(f->disk, "a"), TTG_ENOENT);
}

static void makes_directories(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct disk *d;
    struct err e;
    snprintf(path, sizeof path, "%s/a/b", f->path);
    assert_int_equal(disk_open(path, 0, &d, &e), TTG_ENOENT);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(disk_open(path, 1, &d, &e), 0);
    disk_free(d);
    assert_int_equal(disk_open(path, 1, &d, &e), 0);
    disk_free(d);
    assert_int_equal(disk_open("", 1, &d, &e), TTG_EINVAL);
    rmdir(path);
    snprintf(path, sizeof path, "%s/a", f->path);
    rmdir(path);
}

static void a_thread_writes_while_the_owner_appends(void **state)
{
    struct fixture *f = *state;
    struct store *s = start(f);
    struct store_writer *w;
    struct err e;
    assert_int_equal(store_writer_start(s, realclock(), &w), 0);
    uint64_t total = 0;
    while (total < 20000 || store_ack_position(s) < total) {
        if (total < 20000) {
            append(s, w, 50);
            total += 50;
        }
        int rc = store_writer_poll(w, 0, &e);
        assert_int_equal(rc, 0);
        struct pollfd p = {.fd = store_writer_fd(w), .events = POLLIN};
        if (total == 20000 && store_writer_busy(w))
            assert_int_equal(poll(&p, 1, 10000), 1);
    }
    struct store_stats stats;
    store_stats(s, &stats);
    assert_int_equal(stats.records, 20000);
    assert_true(stats.segments > 3);
    assert_true(stats.batches <= 400);
    /* One under way when the thread stops is finished, none is lost. */
    append(s, w, 1);
    assert_int_equal(store_writer_poll(w, 0, &e), 0);
    store_writer_stop(w);
    assert_int_equal(store_durable_position(s), 20001);
    store_close(s);
    s = start(f);
    assert_int_equal(f->count, 20001);
    assert_int_equal(f->bytes, 20001 * 200);
    store_close(s);
}

/* The pages of large batches are given away: what was acknowledged is read back all the same. */
static void large_records_are_on_disk(void **state)
{
    struct fixture *f = *state;
    struct store *s = start(f);
    size_t len = 300001;
    char *bytes = mem_zalloc(len);
    for (int i = 0; i < 5; i++) { /* beside the pages that batches share */
        memset(bytes, 'a' + i, len);
        uint64_t position;
        assert_int_equal(store_reserve(s, 1, len, 0), 0);
        assert_int_equal(store_append(s, 0, 0, str_make(bytes, len), &position), 0);
        assert_int_equal(store_flush(s, NULL), 0);
        assert_int_equal(store_ack_position(s), position);
    }
    mem_free(bytes);
    assert_int_equal(store_read(s, 1, NULL, on_record, f, NULL), 0);
    assert_int_equal(f->bytes, 5 * len);
    store_close(s);
    s = start(f);
    assert_int_equal(f->count, 5);
    assert_int_equal(f->bytes, 5 * len);
    store_close(s);
}

static void a_second_process_is_refused(void **state)
{
    struct fixture *f = *state;
    int ready[2], stop[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(stop), 0);
    pid_t child = fork();
    if (child == 0) {
        char c;
        struct store *s = NULL;
        bool ok = store_open(&f->o, &s, NULL) == 0;
        ok = write(ready[1], ok ? "y" : "n", 1) == 1 && ok;
        close(stop[1]);
        ok = read(stop[0], &c, 1) == 0 && ok;
        _exit(ok ? 0 : 1);
    }
    close(stop[0]);
    char c, pid[32];
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    struct store *s;
    struct store_report report;
    struct err e;
    snprintf(pid, sizeof pid, "process %d", (int)child);
    assert_int_equal(store_open(&f->o, &s, &e), TTG_EBUSY);
    assert_non_null(strstr(e.text, pid));
    assert_int_equal(store_check(&f->o, &report, &e), TTG_EBUSY);
    assert_int_equal(store_repair(&f->o, "x", &report, &e), TTG_EBUSY);
    close(stop[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ready[0]);
    close(ready[1]);
    store_close(start(f));
}

static int held;

static void let_go(int signo)
{
    (void)signo;
    close(held);
}

/* As a killed one whose last sync still runs. Here a signal lets the lock go, so that nobody else
 * has to come to the processor for it while we wait: that of an open file, which keeps out us, too.
 */
static void a_process_about_to_end_is_waited_for(void **state)
{
    struct fixture *f = *state;
    const struct itimerval soon = {.it_value.tv_usec = 100 * 1000};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[80];
    snprintf(path, sizeof path, "%s/lock", f->path);
    held = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(fcntl(held, F_OFD_SETLK, &lock), 0);
    signal(SIGALRM, let_go);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    store_close(start(f));
    signal(SIGALRM, SIG_DFL);
}

static void a_child_writes_a_snapshot(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 4; round++) {
        struct store *s = start(f);
        assert_int_equal(f->count, round < 2 ? 8000 * round : 0);
        append(s, NULL, 8000);
        assert_int_equal(store_flush(s, NULL), 0);
        struct store_snapshot *w;
        struct err e;
        if (round > 0) {
            assert_int_equal(store_snapshot_begin(s, &w, &e), 0);
            assert_int_equal(store_snapshot_begin(s, &w, &e), TTG_EBUSY);
            pid_t child = fork();
            if (child == 0) {
                int rc = 0;
                for (int i = 0; i < 300 && !rc; i++)
                    rc = store_snapshot_write(w, STR("some bytes of a state, and again"));
                int files[2];
                size_t count = 0;
                if (round == 1) /* whole, and in pieces */
                    _exit(rc || store_snapshot_end(w) ? 1 : 0);
                if (!rc)
                    rc = store_snapshot_seal(w);
                if (!rc)
                    rc = store_snapshot_files(w, files, 2, &count);
                for (size_t i = 0; i < count && !rc; i++)
                    rc = disk_sync_file(files[i]);
                _exit(rc || count != 1 ? 1 : 0);
            }
            int status;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_int_equal(store_snapshot_finish(s, status ? TTG_ECHILD : 0, &e), 0);
            struct store_stats stats;
            store_stats(s, &stats);
            assert_int_equal(stats.snapshots, round < 2 ? round : 2);
            assert_int_equal(stats.records_since_snapshot, 0);
            assert_int_equal(stats.bytes_since_snapshot, 0);
        }
        store_close(s);
    }
    /* The log is still there from the older snapshot on, not from the beginning. */
    struct store *s = start(f);
    struct err e;
    assert_int_equal(store_read(s, 1, NULL, on_record, f, &e), TTG_ENOENT);
    assert_int_equal(store_read(s, 24001, NULL, on_record, f, &e), 0);
    assert_int_equal(f->count, 8000);
    uint32_t other = 7;
    assert_int_equal(store_read(s, 24001, &other, on_record, f, &e), 0);
    assert_int_equal(f->count, 8000);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_do_what_they_say, setup, teardown),
        cmocka_unit_test_setup_teardown(makes_directories, setup, teardown),
        cmocka_unit_test_setup_teardown(a_thread_writes_while_the_owner_appends, setup, teardown),
        cmocka_unit_test_setup_teardown(large_records_are_on_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_process_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_process_about_to_end_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_writes_a_snapshot, setup, teardown),
    };
    return tap_run(tests);
}
