/* SPDX-License-Identifier: Apache-2.0 */
#include "store/recover.h"
#include "store/state.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

enum { STAMP_BYTES_MAX = 32 };

/* What a cut at the damage loses: readable records behind it, and room that is not empty. */
static int count_lost(const struct survey *sv, const struct damage *d, struct store_report *r)
{
    const struct numbers *files = &sv->segment_files;
    for (size_t i = 0; i < files->count; i++) {
        uint64_t records = 0, bytes = 0;
        if (files->at[i] < d->number)
            continue;
        uint64_t from = files->at[i] == d->number ? d->offset : 0;
        struct walk w = {.disk = sv->disk};
        int rc = walk_count(&w, files->at[i], from, &records, &bytes);
        if (rc && rc != TTG_ENOENT)
            return rc;
        r->lost_records_min += records;
        r->lost_bytes += bytes;
    }
    return 0;
}

/* Reads everything. 0 also when the log is damaged: look at `d`. */
static int examine(struct survey *sv, struct disk *disk, struct store_report *r, struct damage *d,
                   struct err *e)
{
    int rc = survey_open(sv, disk, e);
    if (rc)
        return rc;
    struct walk w = {.from = sv->base + 1, .thorough = true};
    rc = survey_walk(sv, &w, e);
    report_fill(r, sv, &w);
    *d = w.damage;
    if (!rc && d->is)
        rc = count_lost(sv, d, r);
    if (rc)
        survey_done(sv);
    return rc;
}

int store_check(const struct store_options *o, struct store_report *ret, struct err *e)
{
    struct survey sv;
    struct damage d = {0};
    int lock;
    *ret = (struct store_report){0};
    int rc = store_lock(o->disk, &lock, e);
    if (rc)
        return rc;
    rc = examine(&sv, o->disk, ret, &d, e);
    if (!rc) {
        rc = d.is ? damage_error(&d, o->disk, e) : blobs_check(o->disk, sv.blob_table, e);
        survey_done(&sv);
    }
    o->disk->ops->close(o->disk, lock);
    return rc;
}

struct repair {
    struct disk *disk;
    const char *stamp;
    uint64_t segment_bytes;
};

static void aside_name(char *out, const struct repair *r, const char *name)
{
    snprintf(out, STORE_NAME_BYTES + STAMP_BYTES_MAX + 16, "%s.damaged-%s", name, r->stamp);
}

static int put_aside(const struct repair *r, enum file_kind kind, uint64_t number)
{
    char name[STORE_NAME_BYTES], aside[STORE_NAME_BYTES + STAMP_BYTES_MAX + 16];
    file_name_write(name, kind, number);
    aside_name(aside, r, name);
    int rc = r->disk->ops->rename(r->disk, name, aside);
    if (!rc)
        log_warn("store.put_aside", kv_str("dir", r->disk->path), kv_str("file", name),
                 kv_str("kept_as", aside));
    return rc;
}

/* The newest first: after a crash in the middle the rest is still a row without gaps. */
static int segments_aside(const struct repair *r, const struct numbers *files, uint64_t from)
{
    int rc = 0;
    for (size_t i = files->count; i-- > 0 && !rc;)
        if (files->at[i] >= from)
            rc = put_aside(r, FILE_SEGMENT, files->at[i]);
    return rc ? rc : r->disk->ops->sync_dir(r->disk);
}

static int copy_bytes(struct disk *disk, int from, int to, uint64_t bytes)
{
    char piece[16384];
    int rc = 0;
    for (uint64_t at = 0; at < bytes && !rc;) {
        size_t len = bytes - at < sizeof piece ? (size_t)(bytes - at) : sizeof piece, got = 0;
        rc = disk->ops->read(disk, from, at, piece, len, &got);
        if (!rc && got == 0)
            break;
        if (!rc && !bytes_are_zero(piece, got))
            rc = disk->ops->write(disk, to, at, piece, got);
        at += got;
    }
    return rc;
}

/* A new file with the good front of the damaged one; the damaged one stays under its other name. */
static int cut_segment(const struct repair *r, const struct segment *s, uint64_t offset)
{
    struct disk *disk = r->disk;
    char name[STORE_NAME_BYTES];
    int from, to;
    file_name_write(name, FILE_SEGMENT, s->number);
    int rc = disk->ops->open(disk, name, 0, &from);
    if (rc)
        return rc;
    rc = disk->ops->open(disk, SEGMENT_TMP_NAME, DISK_WRITE | DISK_CREATE, &to);
    if (!rc) {
        rc = disk->ops->allocate(disk, to, s->capacity);
        if (!rc)
            rc = copy_bytes(disk, from, to, offset);
        if (!rc)
            rc = disk->ops->sync(disk, to);
        disk->ops->close(disk, to);
    }
    disk->ops->close(disk, from);
    if (!rc)
        rc = put_aside(r, FILE_SEGMENT, s->number);
    if (!rc)
        rc = disk->ops->rename(disk, SEGMENT_TMP_NAME, name);
    return rc ? rc : disk->ops->sync_dir(disk);
}

static const struct segment *segment_of(const struct survey *sv, uint64_t number)
{
    for (size_t i = 0; i < sv->segment_count; i++)
        if (sv->segments[i].number == number)
            return &sv->segments[i];
    return NULL;
}

/* The log restarts behind the snapshot; all of the old one is put aside. Snapshots older than that
 * have no log to go on with any more. */
static int restart_log(const struct repair *r, const struct survey *sv, struct err *e)
{
    const struct numbers *files = &sv->segment_files;
    uint64_t number = files->count > 0 ? files->at[files->count - 1] + 1 : 1;
    int rc = 0, file;
    for (size_t i = 0; i < sv->snapshot_files.count && !rc; i++)
        if (sv->snapshot_files.at[i] != sv->base)
            rc = put_aside(r, FILE_SNAPSHOT, sv->snapshot_files.at[i]);
    if (!rc)
        rc = segments_aside(r, files, 0);
    if (rc)
        return rc;
    uint64_t capacity = r->segment_bytes;
    rc = segment_begin(r->disk, number, sv->base + 1, &capacity, &file, e);
    if (!rc)
        r->disk->ops->close(r->disk, file);
    return rc;
}

static int repair_log(const struct repair *r, const struct survey *sv, const struct damage *d,
                      struct store_report *report, struct err *e)
{
    const struct segment *s = segment_of(sv, d->number);
    uint64_t kept = d->position - 1;
    bool restart = kept < sv->base || sv->segment_count == 0;
    if (restart && sv->base == 0)
        return err_set(e, TTG_ECORRUPT,
                       "%s holds no whole snapshot, and its log does not begin at record 1: there "
                       "is no state to go on from. Nothing was changed; restore a backup",
                       r->disk->path);
    int rc;
    if (restart) {
        rc = restart_log(r, sv, e);
    } else {
        /* Without `s` the damage is a file that is missing or has no head: it goes as a whole. */
        rc = segments_aside(r, &sv->segment_files, s ? d->number + 1 : d->number);
        if (!rc && s)
            rc = cut_segment(r, s, d->offset);
    }
    if (rc)
        return err_set(e, rc, "%s: the repair stopped: %s; run it again", r->disk->path,
                       err_text(rc));
    report->last = kept < sv->base ? sv->base : kept;
    return 0;
}

static bool stamp_is_good(const char *stamp)
{
    size_t len = strlen(stamp);
    for (size_t i = 0; i < len; i++) {
        char c = stamp[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            c != '-')
            return false;
    }
    return len > 0 && len <= STAMP_BYTES_MAX;
}

int store_repair(const struct store_options *o, const char *stamp, struct store_report *ret,
                 struct err *e)
{
    struct survey sv;
    struct damage d = {0};
    int lock;
    *ret = (struct store_report){0};
    if (!stamp_is_good(stamp))
        return err_set(e, TTG_EINVAL, "not a stamp for a file name: \"%.40s\"", stamp);
    int rc = store_lock(o->disk, &lock, e);
    if (rc)
        return rc;
    struct repair r = {o->disk, stamp, o->segment_bytes ? o->segment_bytes : STORE_SEGMENT_BYTES};
    rc = examine(&sv, o->disk, ret, &d, e);
    if (!rc) {
        rc = blobs_check(o->disk, sv.blob_table, e);
        if (!rc && d.is)
            rc = repair_log(&r, &sv, &d, ret, e);
        if (!rc && d.is)
            log_warn("store.repaired", kv_str("dir", o->disk->path), kv_str("file", d.file),
                     kv_u64("cut_at", d.offset), kv_u64("last", ret->last),
                     kv_u64("records_lost_min", ret->lost_records_min),
                     kv_u64("bytes_lost", ret->lost_bytes));
        survey_done(&sv);
    }
    o->disk->ops->close(o->disk, lock);
    return rc;
}
