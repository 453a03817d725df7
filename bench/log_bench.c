/* SPDX-License-Identifier: Apache-2.0 */
/* log_bench - what the log costs: ways to have room for a write, records a second, and a start.
 *
 * usage: log_bench sync DIR     fdatasync after each write of 512 and 4096 bytes, in files whose
 *                               room was made in different ways; best of rounds, in turn
 *        log_bench log DIR N    N records of 150 bytes, the thread syncing while the next batch
 *                               fills, at most WINDOW records unacknowledged; then open and replay
 */
#include "io/disk.h"
#include "io/realclock.h"
#include "store/writer.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SYNCS = 400,
    ROUNDS = 9,
    FILE_BYTES = 64 << 20,
    AHEAD = 64 << 10,
    PIECE = 1 << 20,
    RECORD_BYTES = 150,
    TURN_MAX = (64 << 10) / RECORD_BYTES
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(int rc, const char *what)
{
    if (!rc)
        return;
    fprintf(stderr, "log_bench: %s: %s\n", what, err_text(rc));
    exit(1);
}

enum room { APPEND, ALLOCATE, ALLOCATE_ZERO_AHEAD, ZERO_FILL, RECYCLE, ROOMS };
static const char *const room_names[] = {"append", "fallocate",
                                         "fallocate, zeros 64 KiB ahead (ours)",
                                         "filled with zeros", "recycled (overwritten before)"};

static void fill(struct disk *d, int file, char *piece, char byte)
{
    memset(piece, byte, PIECE);
    for (uint64_t at = 0; at < FILE_BYTES; at += PIECE)
        check(d->ops->write(d, file, at, piece, PIECE), "write");
}

static void bench_room(struct disk *d, enum room room, size_t len, double *best, double *least_ms)
{
    static char piece[PIECE];
    int file;
    uint64_t zeroed = 0;
    check(d->ops->open(d, "bench.tmp", DISK_WRITE | DISK_CREATE, &file), "create");
    double began = seconds();
    if (room == ALLOCATE || room == ALLOCATE_ZERO_AHEAD)
        check(d->ops->allocate(d, file, FILE_BYTES), "allocate");
    if (room == ZERO_FILL || room == RECYCLE)
        fill(d, file, piece, room == RECYCLE ? 'x' : 0);
    check(d->ops->sync(d, file), "sync");
    double made = seconds() - began;
    memset(piece, 0, PIECE);
    began = seconds();
    for (uint64_t i = 0; i < SYNCS; i++) {
        char bytes[4096];
        uint64_t end = (i + 1) * len;
        memset(bytes, (int)i | 1, sizeof bytes);
        check(d->ops->write(d, file, i * len, bytes, len), "write");
        if (room == ALLOCATE_ZERO_AHEAD && end > zeroed) {
            check(d->ops->write(d, file, end, piece, AHEAD), "write");
            zeroed = end + AHEAD;
        }
        check(d->ops->sync(d, file), "sync");
    }
    double took = seconds() - began;
    if (SYNCS / took > *best)
        *best = SYNCS / took;
    if (*least_ms == 0 || made * 1e3 < *least_ms)
        *least_ms = made * 1e3;
    d->ops->close(d, file);
    d->ops->remove(d, "bench.tmp");
}

static void bench_rooms(struct disk *d, size_t len)
{
    double best[ROOMS] = {0}, made_ms[ROOMS] = {0};
    for (int round = 0; round < ROUNDS; round++)
        for (int room = 0; room < ROOMS; room++)
            bench_room(d, (enum room)room, len, &best[room], &made_ms[room]);
    for (int room = 0; room < ROOMS; room++)
        printf("%-36s %5zu bytes: %6.0f syncs/s, %4.0f ms to make %d MiB\n", room_names[room], len,
               best[room], made_ms[room], FILE_BYTES >> 20);
}

static int count(void *ctx, const struct store_record *r)
{
    *(uint64_t *)ctx += r->bytes.len == RECORD_BYTES;
    return 0;
}

static double open_log(const struct store_options *o, struct store **ret_store, uint64_t *ret_count)
{
    struct err e = {0};
    *ret_count = 0;
    const struct store_recovery recovery = {ret_count, NULL, count};
    double began = seconds();
    if (store_open(o, ret_store, &e) || store_recover(*ret_store, &recovery, NULL, &e)) {
        fprintf(stderr, "log_bench: %s\n", e.text);
        exit(1);
    }
    return seconds() - began;
}

static void wait_for_writer(struct store_writer *w)
{
    struct pollfd p = {.fd = store_writer_fd(w), .events = POLLIN};
    if (store_writer_busy(w))
        poll(&p, 1, -1);
}

static void bench_log(struct disk *d, const char *sync, uint64_t records, uint64_t window)
{
    static const char bytes[RECORD_BYTES] = "a record";
    struct store_options o = {.disk = d};
    struct store *s;
    struct store_writer *w;
    struct err e;
    uint64_t found;
    check(store_sync_parse(str_of(sync), &o, &e), "sync");
    open_log(&o, &s, &found);
    check(store_writer_start(s, realclock(), &w), "thread");
    double began = seconds();
    uint64_t at = 0, turn = window / 2 + 1 < TURN_MAX ? window / 2 + 1 : TURN_MAX;
    while (store_ack_position(s) < records) {
        check(store_writer_poll(w, 0, &e), "write");
        uint64_t acked = store_ack_position(s);
        if (at < records && at - acked < window && store_reserve(s, 1, RECORD_BYTES, 0) == 0) {
            /* As a node: what one turn reads, 64 KiB of a client at most. */
            for (uint64_t i = 0; i < turn && at < records && at - acked < window; i++)
                if (store_reserve(s, 1, RECORD_BYTES, 0) == 0) {
                    check(store_append(s, 0, 0, str_make(bytes, RECORD_BYTES), NULL), "append");
                    at++;
                }
        } else {
            wait_for_writer(w);
        }
    }
    double took = seconds() - began;
    struct store_stats stats;
    store_stats(s, &stats);
    printf("%-12s window %6llu: %8.0f records/s, %6.0f batches/s, %5.1f records a batch\n", sync,
           (unsigned long long)window, (double)records / took, (double)stats.batches / took,
           (double)records / (double)stats.batches);
    store_writer_stop(w);
    check(store_flush(s, &e), "flush");
    store_close(s);
    double again = open_log(&o, &s, &found);
    printf("%-12s open and replay of %llu records: %.3f s\n", sync, (unsigned long long)found,
           again);
    store_close(s);
}

static int remove_log(void *ctx, const char *name)
{
    struct disk *d = ctx;
    if (strncmp(name, "log-", 4) == 0 || strcmp(name, "lock") == 0)
        d->ops->remove(d, name);
    return 0;
}

int main(int argc, char **argv)
{
    struct disk *d;
    struct err e;
    if (argc < 3 || (strcmp(argv[1], "sync") != 0 && strcmp(argv[1], "log") != 0)) {
        fprintf(stderr, "usage: log_bench sync DIR | log_bench log DIR RECORDS\n");
        return 2;
    }
    check(disk_open(argv[2], 1, &d, &e), e.text);
    if (strcmp(argv[1], "sync") == 0) {
        for (int len = 512; len <= 4096; len *= 8)
            bench_rooms(d, (size_t)len);
    } else {
        static const uint64_t windows[] = {1, 50, 1000, 100000};
        uint64_t records = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000000;
        for (int i = 0; i < 6; i++) {
            const char *sync = i < 4 ? "always" : i == 4 ? "interval:100" : "never";
            uint64_t window = windows[i < 4 ? i : 3], n = window < 1000 ? records / 50 : records;
            d->ops->list(d, remove_log, d);
            bench_log(d, sync, n, window);
        }
        d->ops->list(d, remove_log, d);
    }
    disk_free(d);
    return 0;
}
