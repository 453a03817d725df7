/* SPDX-License-Identifier: Apache-2.0 */
/* walk - reads the log record by record and judges how it ends.
 *
 * Behind the last good batch of the newest segment there may be only what a crash leaves: sectors
 * of a batch that was being written, and unwritten ones. Any damaged sector, or a later batch whose
 * head says that the bad one had been on disk, is damage: that record may have been acknowledged.
 * In older segments everything was synced before the next one began. */
#ifndef TTG_STORE_WALK_H
#define TTG_STORE_WALK_H

#include "store/survey.h"

struct walk {
    struct disk *disk;
    const struct segment *segments;
    size_t segment_count;
    uint64_t from;         /* hand over records from here on */
    uint64_t until;        /* stop behind this one; UINT64_MAX: read to the end and judge it */
    const uint32_t *group; /* NULL: all */
    bool thorough;         /* also look at the unused room of older segments */
    store_on_record *on_record;
    void *ctx;

    /* what was found */
    uint64_t last;           /* the last record read */
    uint64_t first, records; /* handed over */
    uint64_t bytes;          /* read */
    uint64_t segment, end;   /* number of the newest segment read; its good part ends here */
    uint64_t unsure;   /* of it: what lies from here on was not known to be on disk when its last
                          batch was written */
    uint64_t torn_end; /* > end: a torn tail up to here */
    struct damage damage;
};

/* The segments are a row without gaps. 0 also when there is damage: look there; then whatever
 * `on_record` returned, or TTG_EIO, TTG_ENOMEM. */
int walk_log(struct walk *w, struct err *e);

/* A file that was prepared but has no head: it must hold nothing that was acknowledged. */
int walk_spare(struct walk *w, uint64_t number, struct err *e);

/* Readable records in the segment `number` behind `offset`: what a cut there loses at least. */
int walk_count(struct walk *w, uint64_t number, uint64_t offset, uint64_t *ret_records,
               uint64_t *ret_bytes);

#endif
