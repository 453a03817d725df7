/* SPDX-License-Identifier: Apache-2.0 */
/* store - a log of records that survives every crash, with snapshots to keep it short.
 *
 * Records get consecutive positions from 1. They collect in a filling batch; the batch is written
 * with one write and one sync while the next one fills, so that the cost of a sync is shared by
 * all that arrived meanwhile. Nothing may be answered before `store_ack_position` has reached it.
 *
 * There is one way to start, after a clean stop and after a power cut alike: `store_open` finds the
 * newest good snapshot, `store_recover` hands it over with the records behind it, and cuts a torn
 * tail. Damage that no crash can cause is never skipped: the start fails and says what to do. See
 * docs/decisions/log-format.md for how the two are told apart.
 *
 * Without threads of its own: `store_batch_take` and `store_batch_done` belong to the thread that
 * owns the store, `store_batch_write` blocks and may run in another one. store/writer.h drives them
 * with a thread, the simulator calls them in a row. All other calls belong to the owner. */
#ifndef TTG_STORE_STORE_H
#define TTG_STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "io/disk.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    STORE_SEGMENT_BYTES = 64 << 20,
    STORE_BATCH_BYTES = 4 << 20,
    STORE_BLOB_FILE_BYTES = 64 << 20,
    STORE_RECORD_BYTES_MAX = 1 << 30,
    STORE_NAME_BYTES = 64,
};

enum store_sync {
    STORE_SYNC_ALWAYS,   /* an answer means: on disk */
    STORE_SYNC_INTERVAL, /* an answer means: with the kernel; on disk within the interval */
    STORE_SYNC_NEVER,    /* the kernel writes when it likes */
};

struct store_options {
    struct disk *disk; /* stays the caller's, lives longer than the store */
    enum store_sync sync;
    uint64_t interval_ms;     /* for STORE_SYNC_INTERVAL */
    uint64_t segment_bytes;   /* 0: STORE_SEGMENT_BYTES */
    uint64_t batch_bytes;     /* 0: STORE_BATCH_BYTES; a larger record has a batch of its own */
    uint64_t blob_file_bytes; /* 0: STORE_BLOB_FILE_BYTES */
};

/* "always", "never", "interval:MS" into `o`. TTG_EUSAGE. */
int store_sync_parse(struct str s, struct store_options *o, struct err *e);

struct store_record {
    uint64_t position;
    uint32_t group; /* several replicated logs may share this one */
    uint32_t type;  /* the caller's */
    struct str bytes;
};

/* A result other than 0 ends the replay and is returned. The bytes are valid during the call. */
typedef int store_on_record(void *ctx, const struct store_record *r);

struct store;
struct store_batch;
struct store_snapshot;

/* ---- start ---- */

/* Locks the directory and looks at what is there; an empty directory becomes an empty store.
 * TTG_EBUSY: another process has it (`e` names it). TTG_ECORRUPT, TTG_EVERSION: see `e`. Blobs may
 * be used as soon as it is open. */
int store_open(const struct store_options *o, struct store **ret_store, struct err *e);

struct store_recovery {
    void *ctx;
    /* Called at most once, first. The bytes are valid during the call. */
    int (*on_snapshot)(void *ctx, uint64_t position, struct str bytes);
    store_on_record *on_record;
};

/* What the start found; for the log and for tests. */
struct store_report {
    uint64_t snapshot_position; /* 0: none */
    uint64_t first, last;       /* positions handed over; last is the log's end */
    uint64_t records, log_bytes;
    uint64_t segments, snapshots;
    uint64_t snapshots_bad; /* passed over, as an older one and the log behind it are complete */
    /* A torn tail, cut: never acknowledged under STORE_SYNC_ALWAYS. */
    uint64_t torn_bytes, torn_offset;
    char torn_file[STORE_NAME_BYTES];
    /* Damage (store_check, store_repair): where, and what is lost behind it. */
    bool damaged;
    char damage_file[STORE_NAME_BYTES];
    uint64_t damage_offset, damage_position;
    uint64_t lost_records_min; /* readable records behind the damage, at least */
    uint64_t lost_bytes;
};

/* Exactly once after open, before anything is appended. `ret` may be NULL. */
int store_recover(struct store *s, const struct store_recovery *r, struct store_report *ret,
                  struct err *e);

/* Gives everything back without writing: what is not synced yet is as after a crash. */
void store_close(struct store *s);

/* ---- append ---- */

/* Whether `records` more records of together `bytes` bytes are sure to find memory and disk: ask
 * before executing what they will log; store_append cannot fail then. The promise holds until the
 * next call of this function or store_batch_take.
 * TTG_EAGAIN: the batch is full; take it, or wait for the one under way. TTG_ENOSPC: the disk is
 * full; refuse the command; asking later looks again (at most every 100 ms). TTG_ERANGE: too long
 * for any batch. TTG_ENOMEM. TTG_EIO and the like: the store has failed for good, stop. */
int store_reserve(struct store *s, uint32_t records, uint64_t bytes, uint64_t now_ms);

/* Copies the record into the filling batch. */
int store_append(struct store *s, uint32_t group, uint32_t type, struct str bytes,
                 uint64_t *ret_position);

/* The batch to write now, NULL when there is none or one is under way. With STORE_SYNC_INTERVAL it
 * may be empty: a sync is due. */
struct store_batch *store_batch_take(struct store *s, uint64_t now_ms);

/* Bytes of records appended since the last batch was taken. */
uint64_t store_filling_bytes(const struct store *s);

/* Whether writing it is one short sync: little to write, no file to make, finish or catch up with.
 */
bool store_batch_is_light(const struct store *s, const struct store_batch *b);

/* Writes and syncs. Any thread; touches nothing that the owner's calls touch. */
void store_batch_write(struct store *s, struct store_batch *b);

/* Learns the result. 0: store_ack_position has moved on. TTG_ENOSPC: the disk was full in spite of
 * all; the next take gives the same batch again, wait a little. Anything else: failed for good. */
int store_batch_done(struct store *s, struct store_batch *b, struct err *e);

/* When take should be called although nothing is appended (an interval sync); UINT64_MAX: never. */
uint64_t store_next_ms(const struct store *s);

/* All records up to here may be answered. */
uint64_t store_ack_position(const struct store *s);
/* All records up to here are on disk. */
uint64_t store_durable_position(const struct store *s);
/* The last record appended; 0: none yet. */
uint64_t store_last_position(const struct store *s);

/* Writes and syncs all that was appended, in this thread. No batch may be under way. */
int store_flush(struct store *s, struct err *e);

/* Reads written records from `from` on, of one group or (group NULL) all. TTG_ENOENT when they are
 * behind a snapshot and gone. */
int store_read(struct store *s, uint64_t from, const uint32_t *group, store_on_record *on_record,
               void *ctx, struct err *e);

/* ---- snapshots ---- */

/* Starts a snapshot of the state after the last appended record. One at a time (TTG_EBUSY). The
 * writer is then used by a forked child (or right here, when stalling does not matter):
 *     owner:  store_snapshot_begin; fork
 *     child:  store_snapshot_forked; store_snapshot_write ...; store_snapshot_end; _exit(0 or
 *             failure)
 *     owner:  when the child has ended: store_snapshot_finish
 * The child should die with its parent (PR_SET_PDEATHSIG). */
int store_snapshot_begin(struct store *s, struct store_snapshot **ret_snapshot, struct err *e);
/* In the child, first: gives large batches back, which only their owner needs. */
void store_snapshot_forked(struct store_snapshot *w);
/* `snapshot` is a struct store_snapshot: fits core_save. */
int store_snapshot_write(void *snapshot, struct str bytes);
/* Checksums, and sync of the file and of the blobs it may refer to. */
int store_snapshot_end(struct store_snapshot *w);
/* The same in pieces, for a child that gives its memory back before the syncs, which take most of
 * the time: checksums; then the files that are to be synced, all of them, before the child says
 * that it has reached the end. Those that find no room in `files` are synced here; `max` > 0. The
 * last one is the snapshot's own; a failure to sync one of the others is a TTG_EIO. */
int store_snapshot_seal(struct store_snapshot *w);
int store_snapshot_files(struct store_snapshot *w, int *files, size_t max, size_t *ret_count);

/* `rc`: 0 when the child reached the end, else what it failed with (TTG_EIO is then final for the
 * store too, as the sync error cannot be asked for again; any other code only drops the attempt).
 * Puts the snapshot in place; the two newest are kept, the log and the blobs that only older ones
 * need are removed. Blocks for about a millisecond. */
int store_snapshot_finish(struct store *s, int rc, struct err *e);

/* ---- check and repair: for a store that nobody has open ---- */

/* Reads everything, changes nothing. 0 with `ret` when the store can be opened (a torn tail is no
 * damage); TTG_ECORRUPT with `ret` and `e` when it cannot. */
int store_check(const struct store_options *o, struct store_report *ret, struct err *e);

/* Makes a damaged store usable: keeps each damaged file aside as NAME.damaged-STAMP, cuts the log
 * at the damage. TTG_ECORRUPT when no usable state is left to start from; nothing is changed then.
 * `stamp` is up to 32 letters, digits or dashes, such as 20260209T100012Z. */
int store_repair(const struct store_options *o, const char *stamp, struct store_report *ret,
                 struct err *e);

/* ---- figures ---- */

struct store_stats {
    uint64_t segments, log_bytes; /* log_bytes: room taken on disk */
    uint64_t batches, syncs, records, bytes_written;
    uint64_t snapshots, snapshot_position, snapshot_bytes;
    uint64_t records_since_snapshot, bytes_since_snapshot;
    uint64_t blob_files, blob_bytes, blob_live_bytes;
    bool disk_full;
    bool disk_tight; /* the newest segment had to be a small one: time for a snapshot */
};
void store_stats(const struct store *s, struct store_stats *ret);

#endif
