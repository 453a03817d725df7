/* SPDX-License-Identifier: Apache-2.0 */
#include "store/survey.h"

#include "base/ensure.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int numbers_add(struct numbers *n, uint64_t value)
{
    if (n->count == n->cap) {
        size_t cap = n->cap ? n->cap * 2 : 16;
        uint64_t *at = mem_realloc(n->at, cap * sizeof *at);
        if (!at)
            return TTG_ENOMEM;
        n->at = at;
        n->cap = cap;
    }
    n->at[n->count++] = value;
    return 0;
}

void numbers_done(struct numbers *n)
{
    mem_free(n->at);
    *n = (struct numbers){0};
}

static int numbers_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void damage_set(struct damage *d, enum file_kind kind, uint64_t number, uint64_t offset,
                uint64_t position, const char *what)
{
    *d = (struct damage){.is = true, .number = number, .offset = offset, .position = position};
    file_name_write(d->file, kind, number);
    snprintf(d->what, sizeof d->what, "%s", what);
}

int damage_error(const struct damage *d, const struct disk *disk, struct err *e)
{
    return err_set(
        e, TTG_ECORRUPT,
        "%s/%s: %s (at byte %" PRIu64 ", record %" PRIu64
        "). No crash does this, so nothing was skipped and nothing was changed. `ttg "
        "node --data DIR --check` shows what is affected; restore a backup, or `--repair` "
        "keeps the damaged files aside and goes on without what they held",
        disk->path, d->file, d->what, d->offset, d->position);
}

static int survey_name(void *ctx, const char *name)
{
    struct survey *sv = ctx;
    uint64_t number;
    switch (file_name_read(name, &number)) {
    case FILE_SEGMENT:
        return numbers_add(&sv->segment_files, number);
    case FILE_SNAPSHOT:
        return numbers_add(&sv->snapshot_files, number);
    case FILE_BLOB:
        return numbers_add(&sv->blob_files, number);
    case FILE_LEFTOVER:
    case FILE_OTHER:
        break;
    }
    return 0;
}

static int survey_list(struct survey *sv, struct err *e)
{
    int rc = sv->disk->ops->list(sv->disk, survey_name, sv);
    if (rc)
        return err_set(e, rc, "cannot read directory %s: %s", sv->disk->path, err_text(rc));
    struct numbers *all[] = {&sv->segment_files, &sv->snapshot_files, &sv->blob_files};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->count > 1)
            qsort(all[i]->at, all[i]->count, sizeof *all[i]->at, numbers_order);
    return 0;
}

static int file_error(const struct survey *sv, const char *name, int rc, struct err *e)
{
    if (rc == TTG_EVERSION)
        return err_set(e, rc,
                       "%s/%s has a format that this program does not know (it knows version %d): "
                       "use the version of ttg that wrote it, or a newer one",
                       sv->disk->path, name, FORMAT_VERSION);
    return err_set(e, rc, "%s/%s: %s", sv->disk->path, name, err_text(rc));
}

/* TTG_ECORRUPT: take an older one. */
static int survey_snapshot(struct survey *sv, uint64_t position, struct err *e)
{
    struct disk *disk = sv->disk;
    char name[STORE_NAME_BYTES];
    file_name_write(name, FILE_SNAPSHOT, position);
    int file;
    int rc = disk->ops->open(disk, name, 0, &file);
    if (rc)
        return file_error(sv, name, rc, e);
    uint64_t bytes;
    rc = disk->ops->size(disk, file, &bytes);
    if (!rc && bytes < 2 * SECTOR_BYTES)
        rc = TTG_ECORRUPT;
    const char *map = NULL;
    if (!rc)
        rc = disk->ops->map(disk, file, (size_t)bytes, &map);
    disk->ops->close(disk, file);
    if (!rc)
        rc = snapshot_read(str_make(map, (size_t)bytes), position, &sv->blob_table, &sv->data);
    if (rc) {
        if (map)
            disk->ops->unmap(disk, map, (size_t)bytes);
        return file_error(sv, name, rc, e);
    }
    sv->base = position;
    sv->map = map;
    sv->map_len = (size_t)bytes;
    return 0;
}

static int survey_snapshots(struct survey *sv, struct err *e)
{
    for (size_t i = sv->snapshot_files.count; i-- > 0;) {
        int rc = survey_snapshot(sv, sv->snapshot_files.at[i], e);
        if (rc != TTG_ECORRUPT)
            return rc;
        sv->snapshots_bad++;
    }
    return 0;
}

void survey_unmap(struct survey *sv)
{
    if (sv->map)
        sv->disk->ops->unmap(sv->disk, sv->map, sv->map_len);
    sv->map = NULL;
}

/* Reads one head and adds the segment to the row, or says what ends the row. An unwritten one that
 * is the newest is a spare. */
static int survey_segment(struct survey *sv, uint64_t number, bool newest, struct err *e)
{
    ensure(sv->segments);
    struct disk *disk = sv->disk;
    char name[STORE_NAME_BYTES], sector[SECTOR_BYTES];
    file_name_write(name, FILE_SEGMENT, number);
    int file;
    int rc = disk->ops->open(disk, name, 0, &file);
    if (rc)
        return file_error(sv, name, rc, e);
    size_t len = 0;
    rc = disk->ops->read(disk, file, 0, sector, sizeof sector, &len);
    disk->ops->close(disk, file);
    if (rc)
        return file_error(sv, name, rc, e);

    struct segment_head head;
    const struct segment *before = sv->segment_count ? &sv->segments[sv->segment_count - 1] : NULL;
    rc = len < sizeof sector ? TTG_ECORRUPT : segment_head_read(sector, number, &head);
    if (rc == TTG_EVERSION)
        return file_error(sv, name, rc, e);
    if (rc == TTG_ENOENT && newest)
        sv->spare = number;
    else if (rc)
        damage_set(&sv->ends, FILE_SEGMENT, number, 0, 0, "the head of the segment is damaged");
    else if (before && head.first < before->first)
        damage_set(&sv->ends, FILE_SEGMENT, number, 0, 0,
                   "the segment begins before the one in front of it");
    else
        sv->segments[sv->segment_count++] = (struct segment){number, head.first, head.capacity};
    return 0;
}

/* The row of numbers without a gap that ends in front of index `end`. */
static int survey_row(struct survey *sv, size_t end, size_t *ret_begin, struct err *e)
{
    const struct numbers *files = &sv->segment_files;
    size_t begin = end > 0 ? end - 1 : 0;
    while (begin > 0 && files->at[begin - 1] == files->at[begin] - 1)
        begin--;
    sv->segment_count = 0;
    for (size_t i = begin; i < end && !sv->ends.is; i++) {
        int rc = survey_segment(sv, files->at[i], i + 1 == files->count, e);
        if (rc)
            return rc;
    }
    *ret_begin = begin;
    return 0;
}

static bool reaches_base(const struct survey *sv)
{
    return sv->segment_count > 0 && sv->segments[0].first <= sv->base + 1;
}

/* The log has to go on from the snapshot. Where a file is missing in between, the row in front of
 * it is what can be read; older leftovers behind the snapshot do not matter. */
static int survey_segments(struct survey *sv, struct err *e)
{
    const struct numbers *files = &sv->segment_files;
    size_t begin = 0;
    sv->segments = mem_array(files->count + 1, sizeof *sv->segments);
    if (!sv->segments)
        return err_set(e, TTG_ENOMEM, "out of memory");
    int rc = survey_row(sv, files->count, &begin, e);
    while (!rc && !reaches_base(sv) && begin > 0) {
        uint64_t missing = files->at[begin] - 1;
        sv->ends = (struct damage){0};
        rc = survey_row(sv, begin, &begin, e);
        sv->spare = 0;
        if (!rc && !sv->ends.is)
            damage_set(&sv->ends, FILE_SEGMENT, missing, 0, 0, "the file is missing");
    }
    if (rc || reaches_base(sv))
        return rc;
    bool new_store = files->count == 0 && sv->base == 0 && sv->snapshots_bad == 0;
    if (!sv->ends.is && !new_store)
        damage_set(&sv->ends, FILE_SEGMENT, sv->segment_count ? sv->segments[0].number - 1 : 1, 0,
                   0,
                   sv->snapshots_bad > 0
                       ? "the file is missing, and the snapshot that made it needless is damaged"
                       : "the file is missing");
    sv->segment_count = 0;
    return 0;
}

int survey_open(struct survey *sv, struct disk *disk, struct err *e)
{
    *sv = (struct survey){.disk = disk};
    int rc = survey_list(sv, e);
    if (!rc)
        rc = survey_snapshots(sv, e);
    if (!rc)
        rc = survey_segments(sv, e);
    if (rc)
        survey_done(sv);
    return rc;
}

void survey_done(struct survey *sv)
{
    survey_unmap(sv);
    numbers_done(&sv->segment_files);
    numbers_done(&sv->snapshot_files);
    numbers_done(&sv->blob_files);
    mem_free(sv->segments);
    sv->segments = NULL;
    sv->segment_count = 0;
}
