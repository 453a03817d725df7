/* SPDX-License-Identifier: Apache-2.0 */
/* The log: rows and ends, synced together; and how a start brings the files up to it.
 *
 *   ROW      client, offset, row as text: it stands at that offset of the client's file (0: the
 *            file began with it)
 *   END      the client is finished: its file goes, a tombstone stays
 *   FORGET   the tombstone goes, and the file where there is one
 *   SYNCED   all files were on disk: what was logged before is in them
 *
 * Behind SYNCED a snapshot holds the tombstones, and the log before it goes. A start collects, for
 * each client, the rows behind the last SYNCED: its file is cut to the offset of the first of them,
 * whatever a crash left there, and gets them again. */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "state/own.h"

enum { RECORD_ROW = 1, RECORD_END, RECORD_FORGET, RECORD_SYNCED };
enum {
    ROWS_BYTES_MAX = 1 << 30,
    SEGMENT_BYTES_MIN = 256 << 10,
    SEGMENT_BYTES_MAX = 16 << 20,
    SEGMENTS_PER_LOG = 4,
    SNAPSHOT_PIECE_BYTES = 60000,
    SNAPSHOT_VERSION = 1,
};

/* ---- recovery ---- */

/* What the log says of one client's file. */
struct redo {
    struct map_node node;
    struct list link; /* in order of appearance */
    bool has_base, ended;
    uint64_t base;
    struct buf rows;
    size_t len;
    char id[];
};

struct recovery {
    struct state *s;
    struct map map;
    struct list order;
};

static bool is_redo(const struct map_node *node, const void *key)
{
    const struct redo *r = container_of(node, struct redo, node);
    return str_eq(str_make(r->id, r->len), *(const struct str *)key);
}

static int redo_get(struct recovery *all, struct str id, struct redo **ret_redo)
{
    uint64_t hash = hash_xxh3(id.ptr, id.len, all->s->seed);
    struct map_node *node = map_find(&all->map, hash, is_redo, &id);
    if (node) {
        *ret_redo = container_of(node, struct redo, node);
        return 0;
    }
    struct redo *r = mem_zalloc(sizeof *r + id.len);
    if (!r)
        return TTG_ENOMEM;
    buf_init(&r->rows, ROWS_BYTES_MAX);
    r->len = id.len;
    if (id.len)
        memcpy(r->id, id.ptr, id.len);
    if (map_add(&all->map, &r->node, hash)) {
        mem_free(r);
        return TTG_ENOMEM;
    }
    list_push_back(&all->order, &r->link);
    *ret_redo = r;
    return 0;
}

static void redo_clear(struct recovery *all)
{
    list_each(it, &all->order)
    {
        struct redo *r = container_of(it, struct redo, link);
        map_remove(&all->map, &r->node);
        list_remove(&r->link);
        buf_done(&r->rows);
        mem_free(r);
    }
}

static int on_snapshot(void *ctx, uint64_t position, struct str bytes)
{
    struct recovery *all = ctx;
    struct unpacker u = unpack_of(bytes);
    (void)position;
    if (unpack_u64(&u) != SNAPSHOT_VERSION)
        return TTG_EVERSION;
    uint64_t count = unpack_count(&u, 1);
    int rc = 0;
    for (uint64_t i = 0; i < count && !u.rc && !rc; i++)
        rc = tombs_add(&all->s->tombs, unpack_str(&u));
    return rc ? rc : unpack_end(&u);
}

static int redo_row(struct recovery *all, struct str client, struct unpacker *u)
{
    struct redo *r;
    uint64_t offset = unpack_u64(u);
    struct str row = unpack_str(u);
    int rc = unpack_end(u);
    if (!rc)
        rc = redo_get(all, client, &r);
    if (rc)
        return rc;
    if (!r->has_base) {
        r->has_base = true;
        r->base = offset;
    }
    all->s->stats.recovered_rows++;
    return buf_add_str(&r->rows, row);
}

static int redo_end(struct recovery *all, struct str client, bool tomb)
{
    struct redo *r;
    int rc = redo_get(all, client, &r);
    if (rc)
        return rc;
    buf_clear(&r->rows);
    r->has_base = false;
    r->ended = true;
    if (tomb)
        return tombs_add(&all->s->tombs, client);
    tombs_remove(&all->s->tombs, client);
    return 0;
}

static int on_record(void *ctx, const struct store_record *record)
{
    struct recovery *all = ctx;
    struct unpacker u = unpack_of(record->bytes);
    if (record->type == RECORD_SYNCED) {
        redo_clear(all);
        return 0;
    }
    struct str client = unpack_str(&u);
    if (u.rc)
        return u.rc;
    switch (record->type) {
    case RECORD_ROW:
        return redo_row(all, client, &u);
    case RECORD_END:
    case RECORD_FORGET:
        return redo_end(all, client, record->type == RECORD_END);
    default:
        return TTG_EVERSION;
    }
}

static int remove_if_ended(void *ctx, struct str client)
{
    struct state *s = ctx;
    return tombs_has(&s->tombs, client) ? file_remove(s, client, NULL) : 0;
}

/* Of many finished clients few have a file still: those that the crash left. */
static int redo_files(struct recovery *all, struct err *e)
{
    struct state *s = all->s;
    bool look = false;
    int rc = 0;
    list_each(it, &all->order)
    {
        struct redo *r = container_of(it, struct redo, link);
        struct str client = str_make(r->id, r->len);
        if (rc)
            break;
        if (r->has_base)
            rc = file_restore(s, client, r->base, buf_str(&r->rows), e);
        else if (tombs_has(&s->tombs, client))
            look = true;
        else if (r->ended)
            rc = file_remove(s, client, e);
    }
    return rc || !look ? rc : files_each(s, remove_if_ended, s, e);
}

static void store_options_fill(const struct state *s, struct store_options *so)
{
    uint64_t segment = s->o.log_bytes / SEGMENTS_PER_LOG / 4096 * 4096;
    segment = segment < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : segment;
    *so = (struct store_options){.disk = s->log_disk,
                                 .segment_bytes =
                                     segment > SEGMENT_BYTES_MAX ? SEGMENT_BYTES_MAX : segment};
}

/* The store has a file "lock": where "LOCK" finds it, `a` is taken for `A`. */
static bool folds_case(struct disk *d)
{
    int file;
    if (d->ops->open(d, "LOCK", 0, &file))
        return false;
    d->ops->close(d, file);
    return true;
}

int journal_open(struct state *s, struct err *e)
{
    struct recovery all = {.s = s};
    struct store_options so;
    struct store_report report = {0};
    map_init(&all.map);
    list_init(&all.order);
    store_options_fill(s, &so);
    int rc = store_open(&so, &s->store, e);
    if (rc)
        s->store = NULL;
    else
        s->fold_case = folds_case(s->log_disk);
    const struct store_recovery recovery = {&all, on_snapshot, on_record};
    if (!rc)
        rc = store_recover(s->store, &recovery, &report, e);
    if (!rc)
        rc = files_clean(s, e);
    if (!rc)
        rc = redo_files(&all, e);
    if (!rc && report.records > 0)
        log_info("state.recovered", kv_u64("records", report.records),
                 kv_u64("clients", all.map.count), kv_u64("torn_bytes", report.torn_bytes));
    redo_clear(&all);
    map_done(&all.map);
    return rc;
}

/* ---- appending ---- */

int journal_reserve(struct state *s, struct str client, size_t row_bytes, struct err *e)
{
    enum { NUMBERS_BYTES_MAX = 32 };
    uint64_t bytes = client.len + row_bytes + NUMBERS_BYTES_MAX;
    char *at;
    buf_clear(&s->record);
    int rc = buf_reserve(&s->record, (size_t)bytes, &at);
    uint64_t now_ms = clock_mono_ms(s->clock);
    if (!rc)
        rc = store_reserve(s->store, 1, bytes, now_ms);
    if (rc == TTG_EAGAIN) {
        rc = store_flush(s->store, e);
        if (!rc)
            rc = store_reserve(s->store, 1, bytes, now_ms);
    }
    s->stats.disk_full = rc == TTG_ENOSPC;
    return rc ? state_failed(s, rc, e, "no room in the log") : 0;
}

static void append(struct state *s, uint32_t type)
{
    /* Room was reserved: it cannot fail, except in a store that has failed, as the commit says. */
    (void)store_append(s->store, 0, type, buf_str(&s->record), NULL);
}

void journal_row(struct state *s, struct str client, uint64_t offset, struct str row)
{
    struct packer p = {&s->record, 0};
    pack_str(&p, client);
    pack_u64(&p, offset);
    pack_str(&p, row);
    append(s, RECORD_ROW);
}

static void append_client(struct state *s, uint32_t type, struct str client)
{
    struct packer p = {&s->record, 0};
    pack_str(&p, client);
    append(s, type);
}

void journal_end(struct state *s, struct str client)
{
    append_client(s, RECORD_END, client);
}

void journal_forget(struct state *s, struct str client)
{
    append_client(s, RECORD_FORGET, client);
}

uint64_t journal_bytes(const struct state *s)
{
    struct store_stats stats;
    store_stats(s->store, &stats);
    return stats.bytes_since_snapshot;
}

/* ---- cutting ---- */

static int write_tombs(struct state *s, struct store_snapshot *w)
{
    const struct tomb *at = NULL;
    struct str client;
    struct packer p = {&s->scratch, 0};
    buf_clear(&s->scratch);
    pack_u64(&p, SNAPSHOT_VERSION);
    pack_u64(&p, tombs_count(&s->tombs));
    while (!p.rc && tombs_next(&s->tombs, &at, &client)) {
        pack_str(&p, client);
        if (buf_len(&s->scratch) < SNAPSHOT_PIECE_BYTES || p.rc)
            continue;
        p.rc = store_snapshot_write(w, buf_str(&s->scratch));
        buf_clear(&s->scratch);
    }
    return p.rc ? p.rc : store_snapshot_write(w, buf_str(&s->scratch));
}

static int cut(struct state *s, struct err *e)
{
    struct store_snapshot *w;
    int rc = store_snapshot_begin(s->store, &w, e);
    if (rc)
        return rc;
    rc = write_tombs(s, w);
    if (!rc)
        rc = store_snapshot_end(w);
    return store_snapshot_finish(s->store, rc, e);
}

int journal_cut(struct state *s, struct err *e)
{
    int rc = journal_reserve(s, STR(""), 0, e);
    if (rc)
        return rc;
    append(s, RECORD_SYNCED);
    rc = store_flush(s->store, e);
    if (!rc)
        rc = cut(s, e);
    return rc ? state_failed(s, rc, e, "cannot cut the log") : 0;
}
