/* SPDX-License-Identifier: Apache-2.0 */
#include "store/state.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/recover.h"

#include <inttypes.h>
#include <stdio.h>

int store_lock(struct disk *disk, int *ret_file, struct err *e)
{
    uint64_t holder = 0;
    int rc = disk->ops->lock(disk, LOCK_NAME, ret_file, &holder);
    if (rc == TTG_EBUSY && holder)
        return err_set(e, rc, "%s is in use by process %" PRIu64 ": stop that one first",
                       disk->path, holder);
    if (rc == TTG_EBUSY)
        return err_set(e, rc, "%s is in use by another process: stop that one first", disk->path);
    return rc ? err_set(e, rc, "cannot lock %s/%s: %s", disk->path, LOCK_NAME, err_text(rc)) : 0;
}

static int remove_leftover(void *ctx, const char *name)
{
    struct disk *disk = ctx;
    uint64_t number;
    /* Only a waste of room: a failure is none of ours. */
    if (file_name_read(name, &number) == FILE_LEFTOVER)
        disk->ops->remove(disk, name);
    return 0;
}

/* A new log, or one that goes on behind a snapshot after a repair. */
int segment_begin(struct disk *disk, uint64_t number, uint64_t first, uint64_t *capacity,
                  int *ret_file, struct err *e)
{
    char sector[SECTOR_BYTES];
    int file;
    int rc = disk->ops->open(disk, SEGMENT_TMP_NAME, DISK_WRITE | DISK_CREATE, &file);
    if (rc)
        return err_set(e, rc, "cannot create a file in %s: %s", disk->path, err_text(rc));
    rc = segment_room(disk, file, STORE_SMALL_BYTES_MIN, capacity);
    const struct segment_head head = {number, first, *capacity};
    segment_head_write(sector, &head);
    if (!rc)
        rc = disk->ops->write(disk, file, 0, sector, sizeof sector);
    if (!rc)
        rc = disk->ops->sync(disk, file);
    char name[STORE_NAME_BYTES];
    file_name_write(name, FILE_SEGMENT, number);
    if (!rc)
        rc = disk->ops->rename(disk, SEGMENT_TMP_NAME, name);
    if (!rc)
        rc = disk->ops->sync_dir(disk);
    if (rc) {
        disk->ops->close(disk, file);
        disk->ops->remove(disk, SEGMENT_TMP_NAME);
        return err_set(e, rc, "cannot create %s/%s of %" PRIu64 " bytes: %s", disk->path, name,
                       *capacity, err_text(rc));
    }
    *ret_file = file;
    return 0;
}

static int first_segment(struct store *s, struct err *e)
{
    uint64_t capacity = s->o.segment_bytes;
    int rc = segment_begin(s->disk, 1, 1, &capacity, &s->file, e);
    if (!rc)
        rc = segments_add(s, (struct segment){1, 1, capacity});
    s->stats.disk_tight = capacity < s->o.segment_bytes;
    s->offset = s->zeroed = SECTOR_BYTES;
    return rc;
}

/* Newer snapshots that are damaged are put aside: the log goes on from the older one, and what they
 * refer to is about to be overwritten. */
static int put_bad_aside(struct store *s, struct err *e)
{
    struct survey *sv = &s->survey;
    for (size_t i = 0; i < sv->snapshots_bad; i++) {
        char name[STORE_NAME_BYTES], aside[STORE_NAME_BYTES + 16];
        file_name_write(name, FILE_SNAPSHOT, sv->snapshot_files.at[sv->snapshot_files.count - 1]);
        snprintf(aside, sizeof aside, "%s.damaged", name);
        log_warn("store.snapshot_damaged", kv_str("dir", s->disk->path), kv_str("file", name),
                 kv_str("kept_as", aside), kv_u64("started_from", sv->base));
        int rc = s->disk->ops->rename(s->disk, name, aside);
        if (rc)
            return err_set(e, rc, "cannot rename %s/%s: %s", s->disk->path, name, err_text(rc));
        sv->snapshot_files.count--;
    }
    int rc = sv->snapshots_bad > 0 ? s->disk->ops->sync_dir(s->disk) : 0;
    return rc ? err_set(e, rc, "cannot sync %s: %s", s->disk->path, err_text(rc)) : 0;
}

static int store_begin(struct store *s, struct err *e)
{
    struct survey *sv = &s->survey;
    int rc = s->disk->ops->list(s->disk, remove_leftover, s->disk);
    if (!rc)
        rc = survey_open(sv, s->disk, e);
    else
        err_set(e, rc, "cannot read directory %s: %s", s->disk->path, err_text(rc));
    if (!rc)
        rc = blobs_check(s->disk, sv->blob_table, e);
    /* Where something is wrong already, be sure that the start will work before changing a file. */
    struct walk w = {.from = sv->base + 1};
    if (!rc && (sv->ends.is || sv->snapshots_bad > 0))
        rc = survey_walk(sv, &w, e);
    if (!rc && w.damage.is)
        rc = damage_error(&w.damage, s->disk, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < sv->segment_count && !rc; i++)
        rc = segments_add(s, sv->segments[i]);
    if (rc)
        return err_set(e, rc, "out of memory");
    rc = put_bad_aside(s, e);
    if (!rc)
        rc = blobs_restore(s, sv->blob_table, e);
    size_t count = sv->snapshot_files.count;
    for (size_t i = 0; i < STORE_SNAPSHOTS_KEPT && i < count; i++)
        s->snapshots[i] = sv->snapshot_files.at[count - 1 - i];
    s->snapshot_bytes = sv->map_len;
    return rc;
}

int store_open(const struct store_options *o, struct store **ret_store, struct err *e)
{
    struct store *s = mem_zalloc(sizeof *s);
    if (!s)
        return err_set(e, TTG_ENOMEM, "out of memory");
    s->o = *o;
    s->disk = o->disk;
    if (!s->o.segment_bytes)
        s->o.segment_bytes = STORE_SEGMENT_BYTES;
    if (s->o.segment_bytes < STORE_SEGMENT_BYTES_MIN)
        s->o.segment_bytes = STORE_SEGMENT_BYTES_MIN;
    s->o.segment_bytes = s->o.segment_bytes / SECTOR_BYTES * SECTOR_BYTES;
    if (!s->o.batch_bytes)
        s->o.batch_bytes = STORE_BATCH_BYTES;
    if (!s->o.blob_file_bytes)
        s->o.blob_file_bytes = STORE_BLOB_FILE_BYTES;
    s->lock_file = s->file = s->spare_file = NO_FILE;
    for (int i = 0; i < 2; i++) {
        s->batches[i].disk = s->disk;
        s->batches[i].old_file = s->batches[i].spare_file = NO_FILE;
        buf_init(&s->batches[i].records, STORE_RECORD_BYTES_MAX);
    }
    int rc = store_lock(s->disk, &s->lock_file, e);
    if (!rc)
        rc = store_begin(s, e);
    if (rc) {
        store_close(s);
        return rc;
    }
    *ret_store = s;
    return 0;
}

/* Makes the torn tail unwritten again, on disk, before anything new is written over a part of it.
 */
static int cut_tail(struct store *s, uint64_t from, uint64_t to)
{
    static const char zeros[65536];
    int rc = 0;
    for (uint64_t at = from; !rc && at < to;) {
        size_t len = to - at < sizeof zeros ? (size_t)(to - at) : sizeof zeros;
        rc = s->disk->ops->write(s->disk, s->file, at, zeros, len);
        at += len;
    }
    return rc ? rc : s->disk->ops->sync(s->disk, s->file);
}

/* Writes once more what the last process had not known to be on disk. If it ended because a sync
 * had failed, what it wrote can be read but counts as clean: no later sync would bring it to disk,
 * and a power cut would take away what this start has built on. */
static int rewrite_tail(struct store *s, uint64_t at, uint64_t end)
{
    enum { ONCE_BYTES = 1 << 16 };
    char *bytes = mem_alloc(ONCE_BYTES);
    int rc = bytes ? 0 : TTG_ENOMEM;
    for (size_t len; !rc && at < end; at += len) {
        len = end - at < ONCE_BYTES ? (size_t)(end - at) : ONCE_BYTES;
        rc = s->disk->ops->read(s->disk, s->file, at, bytes, len, &len);
        if (!rc && len == 0)
            rc = TTG_EIO; /* it was there a moment ago */
        if (!rc)
            rc = s->disk->ops->write(s->disk, s->file, at, bytes, len);
    }
    mem_free(bytes);
    return rc;
}

/* Opens the newest segment for writing behind `w->end`. */
static int open_end(struct store *s, const struct walk *w, struct err *e)
{
    char name[STORE_NAME_BYTES];
    int rc = 0;
    if (s->survey.spare) {
        /* Prepared and perhaps half written: made anew when it is needed. */
        file_name_write(name, FILE_SEGMENT, s->survey.spare);
        rc = s->disk->ops->remove(s->disk, name);
        if (!rc)
            rc = s->disk->ops->sync_dir(s->disk);
        if (rc)
            return err_set(e, rc, "cannot remove %s/%s: %s", s->disk->path, name, err_text(rc));
    }
    if (s->segment_count == 0)
        return first_segment(s, e);
    file_name_write(name, FILE_SEGMENT, s->segments[s->segment_count - 1].number);
    rc = s->disk->ops->open(s->disk, name, DISK_WRITE, &s->file);
    /* Under interval and never the end may be readable and still only with the kernel. */
    if (!rc)
        rc = s->disk->ops->sync_dir(s->disk); /* that of the last process may have failed */
    if (!rc)
        rc = rewrite_tail(s, w->unsure, w->end);
    if (!rc)
        rc = cut_tail(s, w->end, w->torn_end);
    if (rc)
        return err_set(e, rc, "cannot write %s/%s: %s", s->disk->path, name, err_text(rc));
    s->offset = s->zeroed = w->end;
    return 0;
}

void report_fill(struct store_report *r, const struct survey *sv, const struct walk *w)
{
    *r = (struct store_report){
        .snapshot_position = sv->base,
        .first = w->first,
        .last = w->last > sv->base ? w->last : sv->base,
        .records = w->records,
        .log_bytes = w->bytes,
        .segments = sv->segment_count,
        .snapshots = sv->snapshot_files.count,
        .snapshots_bad = sv->snapshots_bad,
    };
    if (w->torn_end > w->end) {
        r->torn_bytes = w->torn_end - w->end;
        r->torn_offset = w->end;
        file_name_write(r->torn_file, FILE_SEGMENT, w->segment);
    }
    if (w->damage.is) {
        r->damaged = true;
        memcpy(r->damage_file, w->damage.file, sizeof r->damage_file);
        r->damage_offset = w->damage.offset;
        r->damage_position = w->damage.position;
    }
}

int survey_walk(const struct survey *sv, struct walk *w, struct err *e)
{
    w->disk = sv->disk;
    w->segments = sv->segments;
    w->segment_count = sv->segment_count;
    w->until = UINT64_MAX;
    int rc = walk_log(w, e);
    if (!rc && !w->damage.is && sv->ends.is) {
        w->damage = sv->ends;
        w->damage.position = sv->segment_count > 0 ? w->last + 1 : sv->base + 1;
    }
    if (!rc && !w->damage.is && sv->spare)
        rc = walk_spare(w, sv->spare, e);
    /* A snapshot is put in place only when the log is on disk up to it. */
    if (!rc && !w->damage.is && w->last < sv->base)
        damage_set(&w->damage, FILE_SEGMENT, w->segment, w->end, w->last + 1,
                   "the log ends before the snapshot that was made of it");
    return rc;
}

int store_recover(struct store *s, const struct store_recovery *r, struct store_report *ret,
                  struct err *e)
{
    ensure(!s->recovered && !s->failed);
    struct survey *sv = &s->survey;
    int rc = 0;
    if (sv->base && r->on_snapshot) {
        rc = r->on_snapshot(r->ctx, sv->base, sv->data);
        if (rc)
            return err_set(e, rc, "%s: the snapshot at record %" PRIu64 " cannot be loaded: %s",
                           s->disk->path, sv->base, err_text(rc));
    }
    survey_unmap(sv);
    struct walk w = {.from = sv->base + 1, .on_record = r->on_record, .ctx = r->ctx};
    rc = survey_walk(sv, &w, e);
    if (!rc && w.damage.is)
        rc = damage_error(&w.damage, s->disk, e);
    if (!rc)
        rc = open_end(s, &w, e);
    if (rc)
        return rc;
    struct store_report report;
    report_fill(&report, sv, &w);
    if (report.torn_bytes > 0)
        log_warn("store.torn_tail_cut", kv_str("dir", s->disk->path),
                 kv_str("file", report.torn_file), kv_u64("offset", report.torn_offset),
                 kv_u64("bytes", report.torn_bytes), kv_u64("last", report.last));
    s->last = s->written = s->durable = report.last;
    s->stats.records_since_snapshot = report.last - sv->base;
    s->stats.bytes_since_snapshot = w.bytes;
    if (ret)
        *ret = report;
    survey_done(sv);
    s->recovered = true;
    blobs_recovered(s);
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    struct disk *disk = s->disk;
    for (int i = 0; i < 2; i++) {
        struct store_batch *b = &s->batches[i];
        if (b->head.count > 0 && b->old_file != NO_FILE)
            disk->ops->close(disk, b->old_file);
        buf_done(&b->records);
        mem_free(b->frame);
    }
    snapshot_drop(s);
    blobs_done(s);
    survey_done(&s->survey);
    int files[] = {s->file, s->spare.number ? s->spare_file : NO_FILE, s->lock_file};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] != NO_FILE)
            disk->ops->close(disk, files[i]);
    mem_free(s->segments);
    mem_free(s);
}
