/* SPDX-License-Identifier: Apache-2.0 */
/* survey - what a store directory holds, and whether it hangs together.
 *
 * Reads names, the snapshot to start from and the head of every segment; changes nothing. Start,
 * check and repair all begin here, so that they cannot disagree. */
#ifndef TTG_STORE_SURVEY_H
#define TTG_STORE_SURVEY_H

#include "store/format.h"

struct segment {
    uint64_t number, first, capacity;
};

struct numbers {
    uint64_t *at;
    size_t count, cap;
};

int numbers_add(struct numbers *n, uint64_t value);
void numbers_done(struct numbers *n);

struct damage {
    bool is;
    char file[STORE_NAME_BYTES];
    uint64_t number;   /* of the segment where the readable log ends */
    uint64_t offset;   /* in it */
    uint64_t position; /* the first record that cannot be trusted */
    char what[160];
};

void damage_set(struct damage *d, enum file_kind kind, uint64_t number, uint64_t offset,
                uint64_t position, const char *what);

/* Fills `e` with what, where and what to do. TTG_ECORRUPT. */
int damage_error(const struct damage *d, const struct disk *disk, struct err *e);

struct survey {
    struct disk *disk;
    struct numbers segment_files, snapshot_files, blob_files; /* ascending */

    /* The snapshot to start from; position 0: none, from the empty state. */
    uint64_t base;
    const char *map;
    size_t map_len;
    struct str blob_table, data;
    size_t snapshots_bad; /* newer ones that are damaged */

    struct segment *segments; /* without a gap, from the one that holds record base + 1 */
    size_t segment_count;
    struct damage ends; /* why the row ends before the newest file does; position not yet known */
    uint64_t spare;     /* number of a prepared file that was never used; 0: none */
};

/* 0 also when there is damage: the walk over the row tells. TTG_EVERSION, TTG_EIO, ... */
int survey_open(struct survey *sv, struct disk *disk, struct err *e);
void survey_done(struct survey *sv);
/* Gives back the snapshot's memory. */
void survey_unmap(struct survey *sv);

#endif
