/* SPDX-License-Identifier: Apache-2.0 */
/* state - what the files of src/store share; nobody else includes it. */
#ifndef TTG_STORE_STATE_H
#define TTG_STORE_STATE_H

#include "store/survey.h"
#include "store/walk.h"

enum {
    STORE_ZERO_AHEAD_BYTES = 1 << 16, /* a sync that also brings so many takes twice as long */
    STORE_LIGHT_BATCH_BYTES = 16 << 10,
    STORE_HEAVY_BATCH_BYTES = 256 << 10, /* who leaves its pages to the next one */
    STORE_FRAME_BYTES_MIN = 4096,
    STORE_PIECE_BYTES = 256 << 10,        /* of a batch, with one write */
    STORE_RECORDS_KEPT_BYTES = 512 << 10, /* of memory, however short batches are */
    STORE_SEGMENT_BYTES_MIN = 4096,
    STORE_SMALL_BYTES_MIN = 1 << 20, /* of a segment, where the disk has no room for a whole one */
    STORE_SPARE_RETRY_MS = 100,
    STORE_SNAPSHOTS_KEPT = 2,
    STORE_SNAPSHOT_SHORT_BYTES = 8 << 20, /* synced at its end alone */
    STORE_SNAPSHOT_SYNC_BYTES = 4 << 20,
    NO_FILE = -1,
};

/* A batch carries all that its write needs, so that another thread can do it. */
struct store_batch {
    struct disk *disk;
    struct buf records;
    char *frame; /* room for a piece of its sectors, taken when the records were reserved */
    size_t frame_cap;
    struct batch_head head;
    uint64_t number, offset; /* segment, and where in it */
    uint64_t zero_to;        /* write zeros behind the batch up to here; 0: no */
    uint64_t capacity;       /* of the segment, for its head */
    int file, old_file;      /* old_file: the segment before; to sync when `sync_old`, then close */
    bool new_segment, sync_old, sync;
    uint64_t make_spare; /* number of a segment to prepare; 0: no */
    uint64_t spare_bytes;
    uint64_t taken_ms;
    /* the result */
    int rc, sync_rc, spare_rc, spare_file;
};

struct blob_file {
    uint64_t number, bytes, live;
    uint64_t dead_at; /* log position at which the last blob in it was freed; with live == 0 */
    int file;
    bool dirty, syncing; /* syncing: by the snapshot under way */
};

struct store_snapshot {
    struct store *store;
    struct disk *disk;
    uint64_t position;
    int file, rc;
    uint64_t data_bytes, written, synced; /* the latter two: bytes of the file */
    uint64_t log_bytes;                   /* of the log since the snapshot before */
    struct buf chunk, table;              /* table: the checksums so far */
};

struct store {
    struct store_options o;
    struct disk *disk;
    int lock_file;
    struct survey survey; /* until recovered */
    bool recovered;
    int failed; /* sticky */

    struct segment *segments;
    size_t segment_count, segment_cap;
    int file; /* the newest segment */
    uint64_t offset, zeroed;
    int spare_file;
    struct segment spare; /* number 0: none */
    uint64_t spare_retry_ms;
    bool disk_full;

    struct store_batch batches[2];
    int filling;      /* index */
    uint64_t promise; /* bytes that the records of the filling batch may have */
    bool under_way;   /* the other one is being written */
    bool again;       /* it met a full disk and must be written again */
    uint64_t last, written, durable;
    bool unsynced;
    uint64_t sync_due_ms;

    uint64_t snapshots[STORE_SNAPSHOTS_KEPT]; /* positions, newest first; 0: none */
    uint64_t snapshot_bytes;
    struct store_snapshot *snapshot; /* under way */

    struct blob_file *blobs; /* ascending; the last one is written to */
    size_t blob_count, blob_cap;
    bool blob_new; /* a file was made since the directory was synced */

    struct store_stats stats;
};

/* Takes the room for a segment of *capacity bytes. Where the disk has less, a quarter of what it
 * has (but `bytes_min` at least), so that others and snapshots find some, too. */
int segment_room(struct disk *disk, int file, uint64_t bytes_min, uint64_t *capacity);
/* Prepares a segment: room taken, on disk under its name. */
int segment_make(struct disk *disk, uint64_t number, uint64_t bytes_min, uint64_t *capacity,
                 int *ret_file);
int segments_add(struct store *s, struct segment segment);
/* Sets the sticky failure. */
int store_fail(struct store *s, int rc, struct err *e, const char *what);

/* Forgets the snapshot under way. */
void snapshot_drop(struct store *s);

/* Blobs: the list for a snapshot, and what a start does with it. */
int blobs_pack(const struct store *s, struct buf *out);
int blobs_restore(struct store *s, struct str table, struct err *e);
/* Whether the files that the table names are there, long enough and of our version. */
int blobs_check(struct disk *disk, struct str table, struct err *e);
/* Removes files without a live blob that no kept snapshot refers to. */
void blobs_drop(struct store *s);
/* The replay is over. */
void blobs_recovered(struct store *s);
void blobs_done(struct store *s);

#endif
