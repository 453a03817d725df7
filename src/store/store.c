/* SPDX-License-Identifier: Apache-2.0 */
#include "store/state.h"

#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

int store_sync_parse(struct str s, struct store_options *o, struct err *e)
{
    struct str rest, word = str_cut(s, ':', &rest);
    uint64_t ms;
    if (str_eq(s, STR("always")))
        o->sync = STORE_SYNC_ALWAYS;
    else if (str_eq(s, STR("never")))
        o->sync = STORE_SYNC_NEVER;
    else if (str_eq(word, STR("interval")) && rest.ptr && !str_to_u64(rest, &ms) && ms > 0 &&
             ms <= 3600000) {
        o->sync = STORE_SYNC_INTERVAL;
        o->interval_ms = ms;
    } else
        return err_set(e, TTG_EUSAGE,
                       "sync must be always, never or interval:MS (1 to 3600000), not \"%.*s\"",
                       (int)(s.len < 40 ? s.len : 40), s.ptr);
    return 0;
}

int store_fail(struct store *s, int rc, struct err *e, const char *what)
{
    if (!s->failed) {
        s->failed = rc;
        log_error("store.failed", kv_str("dir", s->disk->path), kv_str("at", what),
                  kv_str("error", err_name(rc)));
    }
    return err_set(e, rc,
                   "%s: %s failed: %s. What is on disk is unknown now: stop and start again, the "
                   "start reads what is there",
                   s->disk->path, what, err_text(rc));
}

int segments_add(struct store *s, struct segment segment)
{
    if (s->segment_count == s->segment_cap) {
        size_t cap = s->segment_cap ? s->segment_cap * 2 : 16;
        struct segment *at = mem_realloc(s->segments, cap * sizeof *at);
        if (!at)
            return TTG_ENOMEM;
        s->segments = at;
        s->segment_cap = cap;
    }
    s->segments[s->segment_count++] = segment;
    return 0;
}

int segment_room(struct disk *disk, int file, uint64_t bytes_min, uint64_t *capacity)
{
    int rc = disk->ops->allocate(disk, file, *capacity);
    for (uint64_t room = *capacity / 2; rc == TTG_ENOSPC && room >= bytes_min; room /= 2) {
        rc = disk->ops->truncate(disk, file, 0);
        if (!rc)
            rc = disk->ops->allocate(disk, file, room);
        if (rc)
            continue;
        *capacity = (room / 4 > bytes_min ? room / 4 : bytes_min) / SECTOR_BYTES * SECTOR_BYTES;
        return disk->ops->truncate(disk, file, *capacity);
    }
    if (rc == TTG_ENOSPC && *capacity > bytes_min)
        *capacity = bytes_min; /* what was tried last, to tell */
    return rc;
}

/* Under another name until it is whole, so that a short segment is always damage. */
int segment_make(struct disk *disk, uint64_t number, uint64_t bytes_min, uint64_t *capacity,
                 int *ret_file)
{
    char name[STORE_NAME_BYTES];
    file_name_write(name, FILE_SEGMENT, number);
    int file;
    int rc = disk->ops->open(disk, SEGMENT_TMP_NAME, DISK_WRITE | DISK_CREATE, &file);
    if (rc)
        return rc;
    rc = segment_room(disk, file, bytes_min, capacity);
    if (!rc)
        rc = disk->ops->sync(disk, file);
    if (!rc)
        rc = disk->ops->rename(disk, SEGMENT_TMP_NAME, name);
    if (!rc)
        rc = disk->ops->sync_dir(disk);
    if (rc) {
        disk->ops->close(disk, file);
        disk->ops->remove(disk, SEGMENT_TMP_NAME);
        return rc;
    }
    *ret_file = file;
    return 0;
}

static struct store_batch *filling(struct store *s)
{
    return &s->batches[s->filling];
}

static const struct segment *newest(const struct store *s)
{
    return &s->segments[s->segment_count - 1];
}

static uint64_t spare_number(const struct store *s)
{
    return newest(s)->number + 1;
}

/* A spare that does not come is only a worry once the room is needed: 0, TTG_ENOSPC, or failed. */
static int spare_result(struct store *s, int rc, int file, uint64_t capacity, uint64_t now_ms)
{
    if (!rc) {
        s->spare = (struct segment){spare_number(s), 0, capacity};
        s->spare_file = file;
        if (s->disk_full)
            log_info("store.room_again", kv_str("dir", s->disk->path));
        s->disk_full = false;
        s->stats.disk_tight = capacity < s->o.segment_bytes;
        return 0;
    }
    /* Nobody has written to that file yet, but a disk that fails to sync cannot be trusted. */
    if (rc == TTG_EIO)
        return store_fail(s, rc, NULL, "preparing a segment");
    if (!s->disk_full)
        log_error("store.disk_full", kv_str("dir", s->disk->path), kv_u64("bytes_needed", capacity),
                  kv_str("error", err_text(rc)));
    s->disk_full = true;
    s->spare_retry_ms = now_ms + STORE_SPARE_RETRY_MS;
    return TTG_ENOSPC;
}

static uint64_t segment_capacity(const struct store *s, uint64_t frame)
{
    uint64_t need = frame + SECTOR_BYTES;
    return need > s->o.segment_bytes ? need : s->o.segment_bytes;
}

/* Room for a frame that does not fit into the newest segment. */
static int reserve_spare(struct store *s, uint64_t frame, uint64_t now_ms)
{
    if (s->spare.number && s->spare.capacity >= frame + SECTOR_BYTES)
        return 0;
    if (s->disk_full && now_ms < s->spare_retry_ms)
        return TTG_ENOSPC;
    if (s->under_way)
        return TTG_EAGAIN; /* it may bring one, and its segment must be on disk first */
    if (s->unsynced) {
        if (s->disk->ops->sync(s->disk, s->file))
            return store_fail(s, TTG_EIO, NULL, "syncing the log");
        s->durable = s->written;
        s->unsynced = false;
    }
    if (s->spare.number) {
        s->disk->ops->close(s->disk, s->spare_file);
        s->spare.number = 0;
    }
    uint64_t capacity = segment_capacity(s, frame);
    int file = NO_FILE;
    uint64_t least =
        frame + SECTOR_BYTES > STORE_SMALL_BYTES_MIN ? frame + SECTOR_BYTES : STORE_SMALL_BYTES_MIN;
    int rc = segment_make(s->disk, spare_number(s), least, &capacity, &file);
    return spare_result(s, rc, file, capacity, now_ms);
}

int store_reserve(struct store *s, uint32_t records, uint64_t bytes, uint64_t now_ms)
{
    ensure(s->recovered);
    if (s->failed || s->again)
        return s->failed ? s->failed : TTG_ENOSPC;
    struct store_batch *b = filling(s);
    if (bytes > STORE_RECORD_BYTES_MAX || records > STORE_RECORD_BYTES_MAX / RECORD_HEAD_BYTES)
        return TTG_ERANGE;
    uint64_t add = bytes + (uint64_t)records * RECORD_HEAD_BYTES;
    if (add > STORE_RECORD_BYTES_MAX)
        return TTG_ERANGE;
    uint64_t used = buf_len(&b->records);
    if (used > 0 && used + add > s->o.batch_bytes)
        return TTG_EAGAIN;

    uint64_t frame = frame_bytes(used + add);
    char *at;
    int rc = buf_reserve(&b->records, (size_t)add, &at);
    if (rc)
        return TTG_ENOMEM;
    /* One sector more: a batch may have to bring the head of its segment. */
    size_t cap = b->frame_cap;
    while (cap < frame + SECTOR_BYTES && cap < STORE_PIECE_BYTES)
        cap = cap ? cap * 2 : STORE_FRAME_BYTES_MIN;
    if (cap > b->frame_cap) {
        at = mem_realloc(b->frame, cap);
        if (!at)
            return TTG_ENOMEM;
        b->frame = at;
        b->frame_cap = cap;
    }
    rc = frame <= newest(s)->capacity - s->offset ? 0 : reserve_spare(s, frame, now_ms);
    if (!rc)
        s->promise = used + add;
    return rc;
}

int store_append(struct store *s, uint32_t group, uint32_t type, struct str bytes,
                 uint64_t *ret_position)
{
    if (s->failed)
        return s->failed;
    struct store_batch *b = filling(s);
    size_t add = RECORD_HEAD_BYTES + bytes.len;
    ensure(buf_len(&b->records) + add <= s->promise);
    char *at;
    int rc = buf_reserve(&b->records, add, &at);
    ensure(rc == 0);
    record_write(at, s->last + 1, group, type, bytes);
    buf_grew(&b->records, add);
    if (b->head.count++ == 0)
        b->head.first = s->last + 1;
    s->last++;
    s->stats.records_since_snapshot++;
    s->stats.bytes_since_snapshot += add;
    if (ret_position)
        *ret_position = s->last;
    return 0;
}

/* Finds the batch its place; from here on that place is taken. */
static int place(struct store *s, struct store_batch *b)
{
    uint64_t frame = frame_bytes(b->head.bytes);
    b->new_segment = b->sync_old = false;
    b->old_file = NO_FILE;
    if (frame > newest(s)->capacity - s->offset) {
        ensure(s->spare.number && s->spare.capacity >= frame + SECTOR_BYTES);
        int rc =
            segments_add(s, (struct segment){s->spare.number, b->head.first, s->spare.capacity});
        if (rc)
            return rc;
        b->new_segment = true;
        b->sync_old = s->unsynced;
        b->old_file = s->file;
        s->file = s->spare_file;
        s->spare.number = 0;
        s->offset = s->zeroed = SECTOR_BYTES;
    }
    b->file = s->file;
    b->number = newest(s)->number;
    b->capacity = newest(s)->capacity;
    b->offset = s->offset;
    s->offset += frame;
    b->zero_to = 0;
    /* Overwriting zeros is cheaper to sync than filling room that was only allocated. */
    if (s->offset > s->zeroed) {
        uint64_t to = s->offset + STORE_ZERO_AHEAD_BYTES;
        b->zero_to = s->zeroed = to < b->capacity ? to : b->capacity;
    }
    return 0;
}

static bool sync_is_due(const struct store *s, uint64_t now_ms)
{
    return s->o.sync == STORE_SYNC_INTERVAL && s->unsynced && now_ms >= s->sync_due_ms;
}

static struct store_batch *take(struct store *s, uint64_t now_ms, bool force)
{
    if (s->failed || s->under_way)
        return NULL;
    struct store_batch *b = &s->batches[1 - s->filling];
    if (s->again) {
        s->under_way = true;
        return b;
    }
    bool due = sync_is_due(s, now_ms) || (force && s->unsynced);
    b = filling(s);
    if (b->head.count == 0 && !due)
        return NULL;

    b->head.bytes = (uint32_t)buf_len(&b->records);
    b->head.durable = s->durable;
    b->sync = s->o.sync == STORE_SYNC_ALWAYS || due || force;
    b->make_spare = 0;
    b->file = s->file;
    b->old_file = NO_FILE;
    b->new_segment = b->sync_old = false;
    if (b->head.count > 0) {
        if (place(s, b))
            return NULL; /* no memory for the list of segments: the next call tries again */
        bool half = s->offset > b->capacity / 2;
        bool may = !s->disk_full || now_ms >= s->spare_retry_ms;
        if (half && may && !s->spare.number) {
            /* A segment's successor exists only once its own head is on disk. */
            b->make_spare = spare_number(s);
            b->sync = true;
            b->taken_ms = now_ms;
        }
    }
    if (!s->unsynced && b->head.count > 0)
        s->sync_due_ms = now_ms + s->o.interval_ms;
    s->filling = 1 - s->filling;
    s->promise = 0;
    s->under_way = true;
    return b;
}

struct store_batch *store_batch_take(struct store *s, uint64_t now_ms)
{
    ensure(s->recovered);
    return take(s, now_ms, false);
}

uint64_t store_filling_bytes(const struct store *s)
{
    return buf_len(&s->batches[s->filling].records);
}

bool store_batch_is_light(const struct store *s, const struct store_batch *b)
{
    bool catches_up = b->sync && s->o.sync != STORE_SYNC_ALWAYS;
    return !catches_up && !b->make_spare && !b->new_segment &&
           b->head.bytes <= STORE_LIGHT_BATCH_BYTES;
}

static int write_zeros(struct store_batch *b, uint64_t from, uint64_t to)
{
    static const char zeros[65536];
    int rc = 0;
    while (!rc && from < to) {
        size_t len = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        rc = b->disk->ops->write(b->disk, b->file, from, zeros, len);
        from += len;
    }
    return rc;
}

/* Piece by piece: whatever the records take, their sectors take no more memory than a piece. */
static int write_records(struct store_batch *b)
{
    uint64_t offset = b->offset, count = frame_bytes(b->head.bytes) / SECTOR_BYTES;
    size_t len = 0;
    int rc = 0;
    b->head.crc = hash_crc32c(0, buf_ptr(&b->records), b->head.bytes);
    if (b->new_segment) {
        struct segment_head head = {b->number, b->head.first, b->capacity};
        segment_head_write(b->frame, &head);
        offset -= len = SECTOR_BYTES;
    }
    for (uint64_t i = 0, n; i < count && !rc; i += n, len = 0) {
        n = (b->frame_cap - len) / SECTOR_BYTES;
        n = n < count - i ? n : count - i;
        frame_write(b->frame + len, &b->head, buf_ptr(&b->records), b->number, b->offset, i, n);
        len += n * SECTOR_BYTES;
        rc = b->disk->ops->write(b->disk, b->file, offset, b->frame, len);
        offset += len;
    }
    if (!rc && b->zero_to > offset)
        rc = write_zeros(b, offset, b->zero_to);
    return rc;
}

/* A log is written once and read after a crash. New pages for it cost more than all else about a
 * large batch, so that it gets those of the one before. */
static void forget_heavy(const struct store_batch *b)
{
    uint64_t len = frame_bytes(b->head.bytes);
    if (b->head.count > 0 && len >= STORE_HEAVY_BATCH_BYTES && b->disk->ops->forget)
        b->disk->ops->forget(b->disk, b->file, b->offset, len);
}

void store_batch_write(struct store *s, struct store_batch *b)
{
    (void)s;
    b->rc = b->sync_rc = b->spare_rc = 0;
    b->spare_file = NO_FILE;
    /* The older segment first: only the newest one may end torn. */
    if (b->sync_old)
        b->sync_rc = b->disk->ops->sync(b->disk, b->old_file);
    if (!b->sync_rc && b->head.count > 0)
        b->rc = write_records(b);
    if (!b->rc && !b->sync_rc && b->sync)
        b->sync_rc = b->disk->ops->sync(b->disk, b->file);
    if (!b->rc && !b->sync_rc && b->sync)
        forget_heavy(b);
    b->spare_bytes = s->o.segment_bytes;
    if (!b->rc && !b->sync_rc && b->make_spare)
        b->spare_rc = segment_make(b->disk, b->make_spare, STORE_SMALL_BYTES_MIN, &b->spare_bytes,
                                   &b->spare_file);
}

int store_batch_done(struct store *s, struct store_batch *b, struct err *e)
{
    ensure(s->under_way && b == &s->batches[1 - s->filling]);
    s->under_way = false;
    /* Whatever the reason, "disk full" too: what the kernel could not write it forgets. */
    if (b->sync_rc)
        return store_fail(s, TTG_EIO, e, "syncing the log");
    if (b->rc == TTG_ENOSPC) {
        s->again = true;
        s->disk_full = true;
        return err_set(e, TTG_ENOSPC, "%s: the disk is full", s->disk->path);
    }
    if (b->rc)
        return store_fail(s, b->rc, e, "writing the log");
    if (s->again)
        s->again = s->disk_full = false;
    if (b->old_file != NO_FILE)
        s->disk->ops->close(s->disk, b->old_file);
    if (b->head.count > 0) {
        s->written = b->head.first + b->head.count - 1;
        s->stats.batches++;
        s->stats.records += b->head.count;
        s->stats.bytes_written += frame_bytes(b->head.bytes);
        s->unsynced = true;
    }
    if (b->sync) {
        s->durable = s->written;
        s->unsynced = false;
        s->stats.syncs++;
    }
    if (b->make_spare)
        spare_result(s, b->spare_rc, b->spare_file, b->spare_bytes, b->taken_ms);
    b->make_spare = 0;
    b->head = (struct batch_head){0};
    /* A batch that had to wait for a slow disk is many times as long as others. */
    if (b->records.cap > STORE_RECORDS_KEPT_BYTES && buf_len(&b->records) < b->records.cap / 4)
        buf_done(&b->records);
    else
        buf_clear(&b->records);
    return 0;
}

uint64_t store_next_ms(const struct store *s)
{
    bool waits = s->o.sync == STORE_SYNC_INTERVAL && s->unsynced && !s->failed;
    return waits ? s->sync_due_ms : UINT64_MAX;
}

uint64_t store_ack_position(const struct store *s)
{
    return s->o.sync == STORE_SYNC_ALWAYS ? s->durable : s->written;
}

uint64_t store_durable_position(const struct store *s)
{
    return s->durable;
}

uint64_t store_last_position(const struct store *s)
{
    return s->last;
}

int store_flush(struct store *s, struct err *e)
{
    ensure(!s->under_way);
    while (!s->failed && (s->durable < s->last || s->again)) {
        struct store_batch *b = take(s, 0, true);
        if (!b)
            return err_set(e, TTG_ENOMEM, "out of memory");
        store_batch_write(s, b);
        int rc = store_batch_done(s, b, e);
        if (rc)
            return rc;
    }
    return s->failed;
}

int store_read(struct store *s, uint64_t from, const uint32_t *group, store_on_record *on_record,
               void *ctx, struct err *e)
{
    if (s->segments[0].first > from)
        return err_set(e, TTG_ENOENT, "record %" PRIu64 " is behind a snapshot and gone", from);
    if (from > s->written)
        return 0;
    struct walk w = {
        .disk = s->disk,
        .segments = s->segments,
        .segment_count = s->segment_count,
        .from = from,
        .until = s->written,
        .group = group,
        .on_record = on_record,
        .ctx = ctx,
    };
    int rc = walk_log(&w, e);
    return !rc && w.damage.is ? damage_error(&w.damage, s->disk, e) : rc;
}

void store_stats(const struct store *s, struct store_stats *ret)
{
    *ret = s->stats;
    ret->segments = s->segment_count;
    ret->log_bytes = s->spare.number ? s->spare.capacity : 0;
    for (size_t i = 0; i < s->segment_count; i++)
        ret->log_bytes += s->segments[i].capacity;
    for (size_t i = 0; i < STORE_SNAPSHOTS_KEPT; i++)
        ret->snapshots += s->snapshots[i] != 0;
    ret->snapshot_position = s->snapshots[0];
    ret->snapshot_bytes = s->snapshot_bytes;
    ret->blob_files = s->blob_count;
    ret->blob_bytes = ret->blob_live_bytes = 0;
    for (size_t i = 0; i < s->blob_count; i++) {
        ret->blob_bytes += s->blobs[i].bytes;
        ret->blob_live_bytes += s->blobs[i].live;
    }
    ret->disk_full = s->disk_full;
}
