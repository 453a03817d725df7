/* SPDX-License-Identifier: Apache-2.0 */
#include "store/state.h"

#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>

static int snapshot_error(const struct store *s, int rc, struct err *e)
{
    return err_set(e, rc, "cannot write a snapshot in %s: %s", s->disk->path, err_text(rc));
}

void snapshot_drop(struct store *s)
{
    struct store_snapshot *w = s->snapshot;
    if (!w)
        return;
    s->disk->ops->close(s->disk, w->file);
    buf_done(&w->chunk);
    buf_done(&w->table);
    mem_free(w);
    s->snapshot = NULL;
}

int store_snapshot_begin(struct store *s, struct store_snapshot **ret_snapshot, struct err *e)
{
    ensure(s->recovered);
    if (s->failed)
        return err_set(e, s->failed, "%s has failed", s->disk->path);
    if (s->snapshot)
        return err_set(e, TTG_EBUSY, "a snapshot is being written already");
    if (s->last == s->snapshots[0])
        return err_set(e, TTG_EDONE, "nothing has changed since the last snapshot");
    struct store_snapshot *w = mem_zalloc(sizeof *w);
    if (!w)
        return snapshot_error(s, TTG_ENOMEM, e);
    *w = (struct store_snapshot){.store = s,
                                 .disk = s->disk,
                                 .position = s->last,
                                 .log_bytes = s->stats.bytes_since_snapshot,
                                 .file = NO_FILE};
    buf_init(&w->chunk, SNAPSHOT_CHUNK_BYTES);
    buf_init(&w->table, STORE_RECORD_BYTES_MAX);
    struct buf blobs;
    buf_init(&blobs, STORE_RECORD_BYTES_MAX);
    char *at, sector[SECTOR_BYTES];
    int rc = s->disk->ops->open(s->disk, SNAPSHOT_TMP_NAME, DISK_WRITE | DISK_CREATE, &w->file);
    if (!rc)
        rc = buf_reserve(&w->chunk, SNAPSHOT_CHUNK_BYTES, &at);
    if (!rc)
        rc = blobs_pack(s, &blobs);
    if (!rc) {
        snapshot_head_write(sector, &(struct snapshot_head){s->last, buf_len(&blobs)});
        rc = s->disk->ops->write(s->disk, w->file, 0, sector, sizeof sector);
        w->written = sizeof sector;
    }
    if (!rc)
        rc = store_snapshot_write(w, buf_str(&blobs));
    buf_done(&blobs);
    if (rc) {
        if (w->file != NO_FILE)
            s->disk->ops->close(s->disk, w->file);
        buf_done(&w->chunk);
        mem_free(w);
        return snapshot_error(s, rc, e);
    }
    for (size_t i = 0; i < s->blob_count; i++) {
        s->blobs[i].syncing = s->blobs[i].dirty;
        s->blobs[i].dirty = false;
    }
    s->snapshot = *ret_snapshot = w;
    return 0;
}

void store_snapshot_forked(struct store_snapshot *w)
{
    for (int i = 0; i < 2; i++) {
        struct store_batch *b = &w->store->batches[i];
        if (b->records.cap >= MEM_LARGE_BYTES)
            buf_done(&b->records);
    }
}

static int chunk_write(struct store_snapshot *w)
{
    uint64_t index = buf_len(&w->table) / 4;
    char crc[4];
    put_u32(crc, snapshot_chunk_crc(w->position, index, buf_ptr(&w->chunk), buf_len(&w->chunk)));
    int rc = buf_add(&w->table, crc, sizeof crc);
    if (!rc)
        rc = w->disk->ops->write(w->disk, w->file, w->written, buf_ptr(&w->chunk),
                                 buf_len(&w->chunk));
    w->written += buf_len(&w->chunk);
    w->data_bytes += buf_len(&w->chunk);
    buf_clear(&w->chunk);
    /* All at the end would keep the disk busy, and the log waiting, for a good while. Who writes a
     * short one gives its memory back before the end, and should not wait for the disk sooner. */
    if (!rc && w->written >= STORE_SNAPSHOT_SHORT_BYTES &&
        w->written - w->synced >= STORE_SNAPSHOT_SYNC_BYTES) {
        rc = w->disk->ops->sync(w->disk, w->file);
        w->synced = w->written;
    }
    return rc;
}

int store_snapshot_write(void *snapshot, struct str bytes)
{
    struct store_snapshot *w = snapshot;
    while (!w->rc && bytes.len > 0) {
        size_t room = SNAPSHOT_CHUNK_BYTES - buf_len(&w->chunk);
        size_t len = bytes.len < room ? bytes.len : room;
        w->rc = buf_add(&w->chunk, bytes.ptr, len);
        bytes = str_make(bytes.ptr + len, bytes.len - len);
        if (!w->rc && buf_len(&w->chunk) == SNAPSHOT_CHUNK_BYTES)
            w->rc = chunk_write(w);
    }
    return w->rc;
}

int store_snapshot_seal(struct store_snapshot *w)
{
    char sector[SECTOR_BYTES];
    if (!w->rc && buf_len(&w->chunk) > 0)
        w->rc = chunk_write(w);
    struct str table = buf_str(&w->table);
    if (!w->rc)
        w->rc = w->disk->ops->write(w->disk, w->file, w->written, table.ptr, table.len);
    snapshot_tail_write(sector, w->position, w->data_bytes, hash_crc32c(0, table.ptr, table.len));
    if (!w->rc)
        w->rc =
            w->disk->ops->write(w->disk, w->file, w->written + table.len, sector, sizeof sector);
    return w->rc;
}

/* A failed sync of a blob is final for the store, whatever the reason: a later one would not know
 * of the lost bytes. */
static int sync_blob(struct store_snapshot *w, int file)
{
    return w->disk->ops->sync(w->disk, file) ? TTG_EIO : 0;
}

int store_snapshot_files(struct store_snapshot *w, int *files, size_t max, size_t *ret_count)
{
    const struct store *s = w->store;
    size_t n = 0;
    ensure(max > 0);
    for (size_t i = 0; i < s->blob_count && !w->rc; i++) {
        if (!s->blobs[i].syncing)
            continue;
        if (n + 1 < max)
            files[n++] = s->blobs[i].file;
        else
            w->rc = sync_blob(w, s->blobs[i].file);
    }
    files[n++] = w->file;
    *ret_count = n;
    return w->rc;
}

int store_snapshot_end(struct store_snapshot *w)
{
    size_t count;
    int file, rc = store_snapshot_seal(w);
    if (!rc)
        rc = store_snapshot_files(w, &file, 1, &count);
    if (!rc)
        rc = w->rc = w->disk->ops->sync(w->disk, file);
    return rc;
}

/* The log must be on disk as far as the snapshot: a start takes a shorter one for damage. */
static int sync_log(struct store *s)
{
    const struct store_snapshot *w = s->snapshot;
    if (s->durable >= w->position)
        return 0;
    if (s->written < w->position)
        return TTG_EAGAIN;
    const struct store_batch *b = &s->batches[1 - s->filling];
    uint64_t written = s->written;
    int rc = 0;
    if (s->under_way && b->old_file != NO_FILE)
        rc = s->disk->ops->sync(s->disk, b->old_file);
    if (!rc)
        rc = s->disk->ops->sync(s->disk, s->file);
    rc = rc ? TTG_EIO : 0;
    if (!rc && written > s->durable)
        s->durable = written;
    return rc;
}

static void remove_file(struct store *s, enum file_kind kind, uint64_t number)
{
    char name[STORE_NAME_BYTES];
    file_name_write(name, kind, number);
    int rc = s->disk->ops->remove(s->disk, name);
    if (rc)
        log_warn("store.remove_failed", kv_str("dir", s->disk->path), kv_str("file", name),
                 kv_str("error", err_text(rc)));
}

/* The oldest segment first, so that what is left is always a row without gaps. */
static void drop_old(struct store *s, uint64_t dropped_snapshot)
{
    if (dropped_snapshot)
        remove_file(s, FILE_SNAPSHOT, dropped_snapshot);
    uint64_t oldest = s->snapshots[STORE_SNAPSHOTS_KEPT - 1];
    size_t n = 0;
    while (n + 1 < s->segment_count && s->segments[n + 1].first <= oldest + 1)
        remove_file(s, FILE_SEGMENT, s->segments[n++].number);
    s->segment_count -= n;
    memmove(s->segments, s->segments + n, s->segment_count * sizeof *s->segments);
    blobs_drop(s);
}

static int put_in_place(struct store *s, uint64_t *ret_bytes)
{
    const struct store_snapshot *w = s->snapshot;
    char name[STORE_NAME_BYTES];
    file_name_write(name, FILE_SNAPSHOT, w->position);
    int rc = s->disk->ops->sync(s->disk, w->file);
    if (!rc)
        rc = s->disk->ops->size(s->disk, w->file, ret_bytes);
    /* The blobs' names before the name of what refers to them. */
    if (!rc && s->blob_new)
        rc = s->disk->ops->sync_dir(s->disk);
    if (!rc) {
        s->blob_new = false;
        rc = s->disk->ops->rename(s->disk, SNAPSHOT_TMP_NAME, name);
    }
    return rc ? rc : s->disk->ops->sync_dir(s->disk);
}

static int snapshot_failed(struct store *s, int rc, struct err *e)
{
    for (size_t i = 0; i < s->blob_count; i++)
        s->blobs[i].dirty |= s->blobs[i].syncing;
    snapshot_drop(s);
    s->disk->ops->remove(s->disk, SNAPSHOT_TMP_NAME);
    if (rc == TTG_EIO)
        return store_fail(s, rc, e, "writing a snapshot");
    log_warn("store.snapshot_failed", kv_str("dir", s->disk->path), kv_str("error", err_text(rc)));
    return snapshot_error(s, rc, e);
}

int store_snapshot_finish(struct store *s, int rc, struct err *e)
{
    ensure(s->snapshot);
    uint64_t bytes = 0, position = s->snapshot->position;
    if (s->failed)
        rc = s->failed;
    if (!rc)
        rc = sync_log(s);
    if (rc == TTG_EAGAIN)
        return err_set(e, rc, "the log is not yet written up to the snapshot");
    if (!rc)
        rc = put_in_place(s, &bytes);
    if (rc)
        return snapshot_failed(s, rc, e);

    uint64_t dropped = s->snapshots[STORE_SNAPSHOTS_KEPT - 1];
    for (size_t i = STORE_SNAPSHOTS_KEPT - 1; i > 0; i--)
        s->snapshots[i] = s->snapshots[i - 1];
    s->snapshots[0] = position;
    s->snapshot_bytes = bytes;
    s->stats.records_since_snapshot = s->last - position;
    s->stats.bytes_since_snapshot -= s->snapshot->log_bytes;
    snapshot_drop(s);
    drop_old(s, dropped);
    log_info("store.snapshot", kv_u64("position", position), kv_u64("bytes", bytes),
             kv_u64("segments", s->segment_count));
    return 0;
}
