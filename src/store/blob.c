/* SPDX-License-Identifier: Apache-2.0 */
#include "store/blob.h"

#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "store/state.h"

static int blob_error(const struct disk *disk, uint64_t number, int rc, const char *what,
                      struct err *e)
{
    char name[STORE_NAME_BYTES];
    file_name_write(name, FILE_BLOB, number);
    return err_set(e, rc, "%s/%s: %s", disk->path, name, what);
}

static int blob_add(struct store *s, struct blob_file f)
{
    if (s->blob_count == s->blob_cap) {
        size_t cap = s->blob_cap ? s->blob_cap * 2 : 8;
        struct blob_file *at = mem_realloc(s->blobs, cap * sizeof *at);
        if (!at)
            return TTG_ENOMEM;
        s->blobs = at;
        s->blob_cap = cap;
    }
    s->blobs[s->blob_count++] = f;
    return 0;
}

static struct blob_file *blob_find(struct store *s, uint64_t number)
{
    size_t low = 0, high = s->blob_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->blobs[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->blob_count && s->blobs[low].number == number ? &s->blobs[low] : NULL;
}

static int blob_file_new(struct store *s)
{
    ensure(s->blobs || s->blob_count == 0);
    uint64_t number = s->blob_count ? s->blobs[s->blob_count - 1].number + 1 : 1;
    char name[STORE_NAME_BYTES], sector[SECTOR_BYTES];
    file_name_write(name, FILE_BLOB, number);
    blob_head_write(sector, number);
    struct blob_file f = {.number = number, .bytes = SECTOR_BYTES, .dirty = true};
    int rc = s->disk->ops->open(s->disk, name, DISK_WRITE | DISK_CREATE, &f.file);
    if (rc)
        return rc;
    s->blob_new = true;
    rc = s->disk->ops->write(s->disk, f.file, 0, sector, sizeof sector);
    if (!rc)
        rc = blob_add(s, f);
    if (rc) {
        s->disk->ops->close(s->disk, f.file);
        s->disk->ops->remove(s->disk, name);
    }
    return rc;
}

/* The place is part of the checksum: bytes of another blob do not pass. */
static uint32_t blob_crc(struct blob_ref ref, struct str bytes)
{
    char place[16];
    put_u64(place, ref.file);
    put_u64(place + 8, ref.offset);
    return hash_crc32c(hash_crc32c(0, place, sizeof place), bytes.ptr, bytes.len);
}

int store_blob_write(void *ctx, struct str bytes, struct blob_ref *ret_ref)
{
    struct store *s = ctx;
    if (s->failed)
        return s->failed;
    if (bytes.len == 0 || bytes.len > STORE_RECORD_BYTES_MAX)
        return TTG_EINVAL;
    struct blob_file *f = s->blob_count ? &s->blobs[s->blob_count - 1] : NULL;
    if (!f || (f->bytes > SECTOR_BYTES && f->bytes + bytes.len > s->o.blob_file_bytes)) {
        int rc = blob_file_new(s);
        if (rc)
            return rc;
        blobs_drop(s);
        f = &s->blobs[s->blob_count - 1];
    }
    int rc = s->disk->ops->write(s->disk, f->file, f->bytes, bytes.ptr, bytes.len);
    if (rc)
        return rc;
    struct blob_ref ref = {.file = f->number, .offset = f->bytes, .bytes = (uint32_t)bytes.len};
    ref.crc = blob_crc(ref, bytes);
    f->bytes += bytes.len;
    f->live += bytes.len;
    f->dirty = true;
    *ret_ref = ref;
    return 0;
}

int store_blob_read(void *ctx, struct blob_ref ref, struct buf *out)
{
    struct store *s = ctx;
    const struct blob_file *f = blob_find(s, ref.file);
    if (!f || ref.offset < SECTOR_BYTES || ref.offset > f->bytes ||
        ref.bytes > f->bytes - ref.offset)
        return TTG_ECORRUPT;
    char *at;
    size_t len;
    int rc = buf_reserve(out, ref.bytes, &at);
    if (!rc)
        rc = s->disk->ops->read(s->disk, f->file, ref.offset, at, ref.bytes, &len);
    if (rc)
        return rc;
    if (len != ref.bytes || blob_crc(ref, str_make(at, len)) != ref.crc)
        return TTG_ECORRUPT;
    buf_grew(out, len);
    return 0;
}

void store_blob_free(void *ctx, struct blob_ref ref)
{
    struct store *s = ctx;
    struct blob_file *f = blob_find(s, ref.file);
    if (!f)
        return;
    ensure(f->live >= ref.bytes);
    f->live -= ref.bytes;
    if (f->live > 0)
        return;
    /* A snapshot after the record being executed does not refer to it. In replay that record's
     * position is not known here: taken for the last one, once that is known. */
    f->dead_at = s->recovered ? s->last + 1 : UINT64_MAX;
    blobs_drop(s);
}

void blobs_recovered(struct store *s)
{
    for (size_t i = 0; i < s->blob_count; i++)
        if (s->blobs[i].live == 0 && s->blobs[i].dead_at == UINT64_MAX)
            s->blobs[i].dead_at = s->last + 1;
    blobs_drop(s);
}

void blobs_drop(struct store *s)
{
    if (!s->recovered)
        return;
    uint64_t oldest = s->snapshot ? s->snapshot->position : UINT64_MAX;
    for (size_t i = 0; i < STORE_SNAPSHOTS_KEPT; i++)
        if (s->snapshots[i] && s->snapshots[i] < oldest)
            oldest = s->snapshots[i];
    size_t kept = 0;
    for (size_t i = 0; i < s->blob_count; i++) {
        struct blob_file *f = &s->blobs[i];
        bool last = i + 1 == s->blob_count;
        if (last || f->live > 0 || f->dead_at > oldest) {
            s->blobs[kept++] = *f;
            continue;
        }
        char name[STORE_NAME_BYTES];
        file_name_write(name, FILE_BLOB, f->number);
        s->disk->ops->close(s->disk, f->file);
        int rc = s->disk->ops->remove(s->disk, name);
        if (rc)
            log_warn("store.remove_failed", kv_str("dir", s->disk->path), kv_str("file", name),
                     kv_str("error", err_text(rc)));
    }
    s->blob_count = kept;
}

int blobs_pack(const struct store *s, struct buf *out)
{
    struct packer p = {.out = out};
    pack_u64(&p, s->blob_count);
    for (size_t i = 0; i < s->blob_count; i++) {
        pack_u64(&p, s->blobs[i].number);
        pack_u64(&p, s->blobs[i].bytes);
        pack_u64(&p, s->blobs[i].live);
    }
    return p.rc;
}

/* Opens one file of the list as it has to be. TTG_ENOENT: gone, as nothing in it was needed. */
static int blob_open(struct disk *disk, struct blob_file *f, unsigned flags, struct err *e)
{
    char name[STORE_NAME_BYTES], sector[SECTOR_BYTES];
    file_name_write(name, FILE_BLOB, f->number);
    int rc = disk->ops->open(disk, name, flags, &f->file);
    if (rc == TTG_ENOENT && f->live == 0)
        return rc;
    if (rc == TTG_ENOENT)
        return blob_error(disk, f->number, TTG_ECORRUPT,
                          "the file is missing, and the snapshot refers to it: restore a backup",
                          e);
    if (rc)
        return blob_error(disk, f->number, rc, err_text(rc), e);
    size_t len = 0;
    uint64_t size = 0;
    rc = disk->ops->read(disk, f->file, 0, sector, sizeof sector, &len);
    if (!rc)
        rc = disk->ops->size(disk, f->file, &size);
    if (!rc)
        rc = len < sizeof sector ? TTG_ECORRUPT : blob_head_read(sector, f->number);
    if (!rc && size < f->bytes)
        rc = TTG_ECORRUPT;
    if (!rc)
        return 0;
    disk->ops->close(disk, f->file);
    return blob_error(disk, f->number, rc,
                      rc == TTG_ECORRUPT ? "the file is damaged or too short, and the snapshot "
                                           "refers to it: restore a backup"
                                         : err_text(rc),
                      e);
}

static struct blob_file blob_unpack(struct unpacker *u)
{
    struct blob_file f = {.file = NO_FILE};
    f.number = unpack_u64(u);
    f.bytes = unpack_u64(u);
    f.live = unpack_u64(u);
    return f;
}

int blobs_check(struct disk *disk, struct str table, struct err *e)
{
    if (table.len == 0)
        return 0;
    struct unpacker u = unpack_of(table);
    uint64_t before = 0;
    for (uint64_t n = unpack_count(&u, 3); n > 0; n--) {
        struct blob_file f = blob_unpack(&u);
        if (u.rc || f.number <= before || f.bytes < SECTOR_BYTES || f.bytes > INT64_MAX ||
            f.live > f.bytes)
            return err_set(e, TTG_ECORRUPT, "%s: the snapshot's list of blob files makes no sense",
                           disk->path);
        before = f.number;
        int rc = blob_open(disk, &f, 0, e);
        if (rc && rc != TTG_ENOENT)
            return rc;
        if (!rc)
            disk->ops->close(disk, f.file);
    }
    return unpack_end(&u);
}

static int remove_unlisted(struct store *s, struct err *e)
{
    const struct numbers *files = &s->survey.blob_files;
    for (size_t i = 0; i < files->count; i++) {
        char name[STORE_NAME_BYTES];
        if (blob_find(s, files->at[i]))
            continue;
        file_name_write(name, FILE_BLOB, files->at[i]);
        int rc = s->disk->ops->remove(s->disk, name);
        if (rc)
            return blob_error(s->disk, files->at[i], rc, err_text(rc), e);
    }
    return 0;
}

int blobs_restore(struct store *s, struct str table, struct err *e)
{
    struct unpacker u = unpack_of(table.len ? table : STR(""));
    uint64_t count = table.len ? unpack_count(&u, 3) : 0;
    for (; count > 0; count--) {
        struct blob_file f = blob_unpack(&u);
        f.dead_at = f.live ? 0 : s->survey.base;
        int rc = blob_open(s->disk, &f, DISK_WRITE, e);
        if (rc == TTG_ENOENT)
            continue;
        if (rc)
            return rc;
        rc = s->disk->ops->truncate(s->disk, f.file, f.bytes);
        if (!rc)
            rc = blob_add(s, f);
        if (rc) {
            s->disk->ops->close(s->disk, f.file);
            return blob_error(s->disk, f.number, rc, err_text(rc), e);
        }
    }
    return remove_unlisted(s, e);
}

void blobs_done(struct store *s)
{
    for (size_t i = 0; i < s->blob_count; i++)
        s->disk->ops->close(s->disk, s->blobs[i].file);
    mem_free(s->blobs);
    s->blobs = NULL;
    s->blob_count = 0;
}
