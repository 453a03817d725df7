/* SPDX-License-Identifier: Apache-2.0 */
#include "store/walk.h"

#include "base/ensure.h"
#include "base/mem.h"

#include <inttypes.h>

enum { WINDOW_BYTES = 1 << 20 };

/* A part of a file in memory, and a batch taken out of its sectors. */
struct window {
    struct disk *disk;
    int file;
    uint64_t number, size, start;
    size_t len, cap, batch_cap;
    char *bytes, *batch;
};

static int window_open(struct window *w, struct disk *disk, uint64_t number, struct err *e)
{
    char name[STORE_NAME_BYTES];
    file_name_write(name, FILE_SEGMENT, number);
    *w = (struct window){.disk = disk, .number = number};
    int rc = disk->ops->open(disk, name, 0, &w->file);
    if (!rc) {
        rc = disk->ops->size(disk, w->file, &w->size);
        if (rc)
            disk->ops->close(disk, w->file);
    }
    return rc ? err_set(e, rc, "cannot read %s/%s: %s", disk->path, name, err_text(rc)) : 0;
}

static void window_close(struct window *w)
{
    w->disk->ops->close(w->disk, w->file);
    mem_free(w->bytes);
    mem_free(w->batch);
}

static int room(char **at, size_t *cap, size_t need)
{
    if (need <= *cap)
        return 0;
    char *bytes = mem_realloc(*at, need);
    if (!bytes)
        return TTG_ENOMEM;
    *at = bytes;
    *cap = need;
    return 0;
}

/* TTG_ERANGE: the file ends before. */
static int window_get(struct window *w, uint64_t offset, uint64_t len, const char **ret_bytes)
{
    if (offset > w->size || len > w->size - offset)
        return TTG_ERANGE;
    if (offset < w->start || offset + len > w->start + w->len) {
        uint64_t rest = w->size - offset, ahead = rest < WINDOW_BYTES ? rest : WINDOW_BYTES;
        size_t want = (size_t)(len > ahead ? len : ahead);
        int rc = room(&w->bytes, &w->cap, want);
        w->len = 0;
        if (!rc)
            rc = w->disk->ops->read(w->disk, w->file, offset, w->bytes, want, &w->len);
        if (rc)
            return rc;
        w->start = offset;
        if (w->len < len)
            return TTG_ERANGE;
    }
    *ret_bytes = w->bytes + (offset - w->start);
    return 0;
}

/* The batch at `offset`, its records in w->batch. TTG_ECORRUPT: not a whole one. */
static int window_batch(struct window *w, uint64_t offset, uint64_t end,
                        struct batch_head *ret_head)
{
    const char *at;
    int rc = window_get(w, offset, SECTOR_BYTES, &at);
    if (rc)
        return rc;
    if (!sector_is(at, SECTOR_BATCH, w->number, offset / SECTOR_BYTES))
        return TTG_ECORRUPT;
    struct batch_head head;
    rc = batch_head_read(at, &head);
    if (!rc && frame_bytes(head.bytes) > end - offset)
        rc = TTG_ECORRUPT;
    if (!rc)
        rc = window_get(w, offset, frame_bytes(head.bytes), &at);
    if (!rc)
        rc = room(&w->batch, &w->batch_cap, head.bytes);
    if (!rc)
        rc = frame_read(at, &head, w->batch, w->number, offset);
    if (!rc)
        *ret_head = head;
    return rc;
}

static bool wanted(const struct walk *w, const struct store_record *r)
{
    return r->position >= w->from && r->position <= w->until &&
           (!w->group || *w->group == r->group);
}

/* Hands over the records of a good batch. TTG_ECORRUPT when they are not what the head says; then
 * none was handed over. */
static int walk_batch(struct walk *w, const struct window *win, const struct batch_head *head,
                      int *ret_stop)
{
    struct str rest = str_make(win->batch, head->bytes);
    struct store_record r;
    for (uint32_t i = 0; i < head->count; i++)
        if (record_read(&rest, head->first + i, &r))
            return TTG_ECORRUPT;
    if (rest.len > 0)
        return TTG_ECORRUPT;
    rest = str_make(win->batch, head->bytes);
    for (uint32_t i = 0; i < head->count; i++) {
        int rc = record_read(&rest, head->first + i, &r);
        ensure(rc == 0);
        if (wanted(w, &r)) {
            *ret_stop = w->on_record ? w->on_record(w->ctx, &r) : 0;
            if (*ret_stop)
                return 0;
            w->first = w->first ? w->first : r.position;
            w->records++;
        }
        w->last = r.position;
    }
    return 0;
}

/* Looks at everything from `offset` on, where no whole batch with record `expected` begins. */
static int judge_tail(struct walk *w, struct window *win, uint64_t offset, uint64_t end,
                      uint64_t expected)
{
    const char *sector;
    const char *what = NULL;
    uint64_t at = offset, next;
    int rc = 0;
    w->end = w->torn_end = offset;
    for (; !what && at + SECTOR_BYTES <= end; at += SECTOR_BYTES) {
        if (at % WINDOW_BYTES == 0 || at == offset) {
            rc = win->disk->ops->next_data(win->disk, win->file, at, &next);
            if (rc)
                return rc;
            if (next >= end)
                break;
            at = next > at ? next / SECTOR_BYTES * SECTOR_BYTES : at;
        }
        rc = window_get(win, at, SECTOR_BYTES, &sector);
        if (rc)
            return rc;
        enum sector_kind kind = sector_of_log(sector, win->number, at / SECTOR_BYTES);
        struct batch_head head;
        if (kind == SECTOR_UNWRITTEN)
            continue;
        w->torn_end = at + SECTOR_BYTES;
        if (kind == SECTOR_DAMAGED)
            what = "a sector is damaged";
        else if (kind == SECTOR_BATCH && batch_head_read(sector, &head) != 0)
            what = "the head of a batch makes no sense";
        else if (kind == SECTOR_BATCH && head.durable >= expected)
            what = "a batch is damaged that was on disk when a later one was written";
    }
    if (what)
        damage_set(&w->damage, FILE_SEGMENT, win->number, offset, expected, what);
    return 0;
}

/* A torn batch misses a sector. One that is all there and still wrong was not torn. */
static int judge_batch(struct walk *w, struct window *win, uint64_t offset, uint64_t end,
                       uint64_t expected)
{
    struct batch_head head;
    const char *at;
    int rc = window_get(win, offset, SECTOR_BYTES, &at);
    if (rc)
        return rc;
    if (!sector_is(at, SECTOR_BATCH, win->number, offset / SECTOR_BYTES))
        return 0;
    const char *what = NULL;
    if (batch_head_read(at, &head) != 0 || frame_bytes(head.bytes) > end - offset) {
        what = "the head of a batch makes no sense";
    } else if (head.first != expected) {
        what = "a batch has another position than it must have";
    } else {
        bool torn = false;
        for (uint64_t i = offset; !torn && i < offset + frame_bytes(head.bytes);
             i += SECTOR_BYTES) {
            rc = window_get(win, i, SECTOR_BYTES, &at);
            if (rc)
                return rc;
            torn = bytes_are_zero(at, SECTOR_BYTES);
        }
        if (!torn)
            what = "the checksum of a batch is wrong";
    }
    if (what)
        damage_set(&w->damage, FILE_SEGMENT, win->number, offset, expected, what);
    return 0;
}

/* The end of a segment that has a successor: `next_first` is where that one begins. */
static int judge_end(struct walk *w, struct window *win, uint64_t offset, uint64_t end, bool whole,
                     uint64_t next_first)
{
    if (!whole || w->last + 1 != next_first) {
        damage_set(&w->damage, FILE_SEGMENT, win->number, offset, w->last + 1,
                   whole ? "records are missing at the end of the segment" : "a batch is damaged");
        return 0;
    }
    if (!w->thorough)
        return 0;
    int rc = judge_tail(w, win, offset, end, w->last + 1);
    if (!rc && !w->damage.is && w->torn_end > w->end)
        damage_set(&w->damage, FILE_SEGMENT, win->number, w->end, w->last + 1,
                   "there is something in the unused end of the segment");
    w->torn_end = w->end;
    return rc;
}

/* Where the part begins that the process which wrote it had not yet synced. */
struct sureness {
    uint64_t offset, last; /* the records before this offset end with `last` */
};

static void sureness_batch(struct walk *w, struct sureness *next, const struct segment *s,
                           const struct batch_head *head, uint64_t offset)
{
    if (w->last < s->first) /* the head of the segment came with this batch */
        return;
    bool all = head->durable >= w->last;
    if (all || head->durable >= next->last) {
        w->unsure = all ? offset : next->offset;
        *next = (struct sureness){offset, w->last};
    }
}

static int walk_segment(struct walk *w, struct window *win, const struct segment *s,
                        const struct segment *next)
{
    uint64_t offset = SECTOR_BYTES;
    bool whole = true;
    struct sureness sure = {0, s->first - 1};
    w->unsure = 0;
    w->last = s->first - 1;
    w->segment = s->number;
    w->end = w->torn_end = offset;
    while (w->last < w->until && offset + SECTOR_BYTES <= s->capacity) {
        const char *at;
        struct batch_head head;
        int stop = 0;
        int rc = window_get(win, offset, SECTOR_BYTES, &at);
        if (!rc && bytes_are_zero(at, SECTOR_BYTES))
            break;
        if (!rc)
            rc = window_batch(win, offset, s->capacity, &head);
        if (!rc && head.first != w->last + 1)
            rc = TTG_ECORRUPT;
        if (!rc) {
            sureness_batch(w, &sure, s, &head, offset);
            rc = walk_batch(w, win, &head, &stop);
        }
        if (rc == TTG_ECORRUPT)
            whole = false;
        if (rc || stop) {
            if (rc != TTG_ECORRUPT)
                return rc ? rc : stop;
            break;
        }
        offset += frame_bytes(head.bytes);
        w->bytes += frame_bytes(head.bytes);
        w->end = w->torn_end = offset;
    }
    if (w->last >= w->until)
        return 0;
    if (next)
        return judge_end(w, win, offset, s->capacity, whole, next->first);
    int rc = whole ? 0 : judge_batch(w, win, offset, s->capacity, w->last + 1);
    if (!rc && !w->damage.is)
        rc = judge_tail(w, win, offset, s->capacity, w->last + 1);
    return rc;
}

int walk_log(struct walk *w, struct err *e)
{
    size_t i = 0;
    while (i + 1 < w->segment_count && w->segments[i + 1].first <= w->from)
        i++;
    for (; i < w->segment_count && !w->damage.is; i++) {
        const struct segment *s = &w->segments[i];
        if (s->first > w->until)
            break;
        struct window win;
        int rc = window_open(&win, w->disk, s->number, e);
        if (rc)
            return rc;
        rc = walk_segment(w, &win, s, i + 1 < w->segment_count ? s + 1 : NULL);
        window_close(&win);
        if (rc == TTG_ERANGE) {
            damage_set(&w->damage, FILE_SEGMENT, s->number, w->end, w->last + 1,
                       "the file is shorter than it was made");
            return 0;
        }
        if (rc)
            return err_set(e, rc, "reading the log stopped at record %" PRIu64 ": %s", w->last + 1,
                           err_text(rc));
    }
    return 0;
}

int walk_spare(struct walk *w, uint64_t number, struct err *e)
{
    struct window win;
    int rc = window_open(&win, w->disk, number, e);
    if (rc)
        return rc;
    uint64_t end = w->end, torn_end = w->torn_end;
    rc = judge_tail(w, &win, 0, win.size, w->last + 1);
    w->end = end;
    w->torn_end = torn_end;
    window_close(&win);
    return rc ? err_set(e, rc, "reading a prepared segment: %s", err_text(rc)) : 0;
}

int walk_count(struct walk *w, uint64_t number, uint64_t offset, uint64_t *ret_records,
               uint64_t *ret_bytes)
{
    struct window win;
    int rc = window_open(&win, w->disk, number, NULL);
    if (rc)
        return rc;
    uint64_t records = 0, bytes = 0;
    uint64_t at = offset / SECTOR_BYTES * SECTOR_BYTES;
    while (at + SECTOR_BYTES <= win.size) {
        struct batch_head head;
        const char *sector;
        uint64_t len = SECTOR_BYTES;
        rc = window_get(&win, at, SECTOR_BYTES, &sector);
        if (!rc && !bytes_are_zero(sector, SECTOR_BYTES)) {
            bytes += SECTOR_BYTES;
            rc = window_batch(&win, at, win.size, &head);
            if (!rc) {
                records += head.count;
                len = frame_bytes(head.bytes);
                bytes += len - SECTOR_BYTES;
            }
        }
        if (rc && rc != TTG_ECORRUPT)
            break;
        at += len;
    }
    window_close(&win);
    if (rc && rc != TTG_ECORRUPT)
        return rc;
    *ret_records = records;
    *ret_bytes = bytes;
    return 0;
}
