/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/random.h"
#include "io/realclock.h"
#include "state/own.h"

#include <stdio.h>

enum {
    MEMORY_BYTES = 256 << 20,
    TOMBS_MAX = 1000000,
    LOG_BYTES = 64 << 20,
    COMPACT_ROWS = 10000,
    STATE_BYTES_MAX = 64 << 20,
    SCRATCH_BYTES_MAX = 16 << 20,
    CUT_AGAIN_MS = 1000,
};
#define LOG_DIR ".ttg"

int state_failed(struct state *s, int rc, struct err *e, const char *what)
{
    bool passes = rc == TTG_ENOSPC || rc == TTG_ENOMEM || rc == TTG_EFULL || rc == TTG_ERANGE;
    if (rc == TTG_ENOSPC)
        s->stats.disk_full = true;
    if (!passes && !s->failed) {
        s->failed = rc;
        log_error("state.failed", kv_str("dir", s->rows_disk->path), kv_str("what", what),
                  kv_str("why", err_text(rc)));
    }
    if (e && e->code != rc)
        err_set(e, rc, "%s in %s: %s", what, s->rows_disk->path, err_text(rc));
    return rc;
}

/* ---- open and close ---- */

static int check_options(const struct state_options *o, struct err *e)
{
    if (o->column_count == 0 || o->column_count > STATE_COLUMNS_MAX)
        return err_set(e, TTG_EINVAL, "1 to %d columns, the first one for the message's id",
                       STATE_COLUMNS_MAX);
    for (size_t i = 0; i < o->column_count; i++)
        if (o->columns[i].len == 0 || o->columns[i].len > IDS_BYTES_MAX)
            return err_set(e, TTG_EINVAL, "a column has an empty or very long name");
    if (o->state_bytes > STATE_BYTES_MAX)
        return err_set(e, TTG_EINVAL, "a client's state takes at most %d bytes", STATE_BYTES_MAX);
    return 0;
}

static void set_defaults(struct state_options *o)
{
    o->memory_bytes = o->memory_bytes ? o->memory_bytes : MEMORY_BYTES;
    o->tombs_max = o->tombs_max ? o->tombs_max : TOMBS_MAX;
    o->log_bytes = o->log_bytes ? o->log_bytes : LOG_BYTES;
    o->compact_rows = o->compact_rows ? o->compact_rows : COMPACT_ROWS;
}

static void init(struct state *s, const struct state_options *o)
{
    s->o = *o;
    set_defaults(&s->o);
    s->seed = random_u64();
    s->clock = o->clock ? o->clock : realclock();
    s->rows_disk = o->disk_rows;
    s->log_disk = o->disk_log;
    s->own_disks = !o->disk_rows;
    map_init(&s->clients);
    map_init(&s->readies);
    list_init(&s->lru);
    list_init(&s->dirty);
    list_init(&s->bulky);
    list_init(&s->ready);
    list_init(&s->removals);
    tombs_init(&s->tombs, s->o.tombs_max, s->seed);
    buf_init(&s->header, SCRATCH_BYTES_MAX);
    buf_init(&s->row, SCRATCH_BYTES_MAX);
    buf_init(&s->record, SCRATCH_BYTES_MAX);
    buf_init(&s->name, SCRATCH_BYTES_MAX);
    buf_init(&s->told, SCRATCH_BYTES_MAX);
    buf_init(&s->scratch, SCRATCH_BYTES_MAX);
    buf_init(&s->values.bytes, STATE_ROW_BYTES_MAX);
    buf_init(&s->values.rows, STATE_SUMMARY_BYTES_MAX);
}

/* The names of the columns are copied; the header is made of them. */
static int copy_columns(struct state *s)
{
    size_t bytes = 0, count = s->o.column_count;
    for (size_t i = 0; i < count; i++)
        bytes += s->o.columns[i].len;
    char *at = s->column_text = mem_alloc(bytes);
    if (!at)
        return TTG_ENOMEM;
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++) {
        struct str name = s->o.columns[i];
        memcpy(at, name.ptr, name.len);
        s->columns[i] = str_make(at, name.len);
        at += name.len;
        rc = csv_add(&s->header, s->columns[i], i + 1 < count ? ',' : '\n');
    }
    s->o.columns = s->columns;
    return rc;
}

static int open_disks(struct state *s, const char *dir, struct err *e)
{
    struct str parts[] = {str_of(dir), STR("/" LOG_DIR)};
    buf_clear(&s->name);
    int rc = buf_add_str(&s->name, parts[0]);
    if (!rc)
        rc = buf_add_str(&s->name, parts[1]);
    const char *log_dir = rc ? NULL : buf_cstr(&s->name);
    if (!log_dir)
        return err_set(e, TTG_ENOMEM, "out of memory");
    rc = disk_open(dir, 1, &s->rows_disk, e);
    return rc ? rc : disk_open(log_dir, 1, &s->log_disk, e);
}

static void done(struct state *s)
{
    list_each(it, &s->lru) state_client_free(s, container_of(it, struct client, lru));
    list_each(it, &s->ready)
    {
        struct ready *r = container_of(it, struct ready, link);
        state_ready_forget(s, str_make(r->id, r->len));
    }
    for (struct map_node *n; (n = map_next(&s->readies, NULL));) {
        struct ready *r = container_of(n, struct ready, node);
        state_ready_forget(s, str_make(r->id, r->len));
    }
    list_each(it, &s->removals) mem_free(container_of(it, struct removal, link));
    map_done(&s->clients);
    map_done(&s->readies);
    tombs_done(&s->tombs);
    store_close(s->store);
    if (s->own_disks) {
        disk_free(s->rows_disk);
        disk_free(s->log_disk);
    }
    buf_done(&s->header);
    buf_done(&s->row);
    buf_done(&s->record);
    buf_done(&s->name);
    buf_done(&s->scratch);
    buf_done(&s->told);
    buf_done(&s->values.bytes);
    buf_done(&s->values.rows);
    mem_free(s->column_text);
    mem_free(s);
}

int state_open(const char *dir, const struct state_options *o, struct state **ret_state,
               struct err *e)
{
    int rc = check_options(o, e);
    if (rc)
        return rc;
    struct state *s = mem_zalloc(sizeof *s);
    if (!s)
        return err_set(e, TTG_ENOMEM, "out of memory");
    init(s, o);
    rc = copy_columns(s);
    if (rc)
        err_set(e, rc, "%s", err_text(rc));
    if (!rc && s->own_disks)
        rc = open_disks(s, dir, e);
    if (!rc)
        rc = journal_open(s, e);
    if (rc) {
        done(s);
        return rc;
    }
    *ret_state = s;
    return 0;
}

void state_close(struct state *s)
{
    if (!s)
        return;
    if (!s->failed && journal_bytes(s) > 0)
        (void)state_checkpoint(s, NULL);
    done(s);
}

/* ---- rebuild ---- */

struct rebuild {
    struct state *s;
    state_on_client *on_client;
    void *ctx;
    struct err *e;
};

static int rebuild_one(void *ctx, struct str id)
{
    struct rebuild *r = ctx;
    struct state *s = r->s;
    struct client *c;
    if (tombs_has(&s->tombs, id)) /* a removal that a power cut has undone */
        return file_remove(s, id, r->e);
    int rc = state_client_get(s, id, &c, r->e);
    if (rc || c->rows == 0)
        return rc;
    return r->on_client ? r->on_client(r->ctx, state_client_id(c), c->state, c->rows, c->duplicates)
                        : 0;
}

int state_rebuild(struct state *s, state_on_client *on_client, void *ctx, struct err *e)
{
    struct err inner = {0};
    struct rebuild r = {s, on_client, ctx, &inner};
    if (s->failed)
        return err_set(e, s->failed, "the state in %s has failed", s->rows_disk->path);
    int rc = files_each(s, rebuild_one, &r, e);
    if (rc && inner.code)
        err_set(e, rc, "%s", inner.text);
    return rc;
}

/* ---- commit ---- */

/* Files of clients whose end is on disk. */
static int remove_ended(struct state *s, struct err *e)
{
    uint64_t durable = store_durable_position(s->store);
    list_each(it, &s->removals)
    {
        struct removal *r = container_of(it, struct removal, link);
        if (r->position > durable)
            break;
        int rc = file_remove(s, str_make(r->id, r->len), e);
        if (rc)
            return rc;
        list_remove(&r->link);
        mem_free(r);
    }
    return 0;
}

static int flush_files(struct state *s, size_t most, struct err *e)
{
    list_each(it, &s->dirty)
    {
        if (most-- == 0)
            break;
        int rc = file_flush(s, container_of(it, struct client, dirty), e);
        if (rc)
            return rc;
    }
    return 0;
}

int state_commit(struct state *s, struct err *e)
{
    if (s->failed)
        return err_set(e, s->failed, "the state in %s has failed", s->rows_disk->path);
    bool idle = store_durable_position(s->store) == store_last_position(s->store);
    int rc = store_flush(s->store, e);
    if (rc)
        return state_failed(s, rc, e, "cannot write the log");
    s->stats.commits++;
    s->stats.disk_full = false;
    /* All is safe; what follows may wait for room. */
    rc = remove_ended(s, e);
    if (!rc)
        rc = flush_files(s, idle ? SIZE_MAX : STATE_FLUSHES_PER_COMMIT, e);
    if (!rc)
        rc = state_clients_evict(s, NULL, e);
    if (!rc && journal_bytes(s) > s->o.log_bytes)
        rc = state_cut_log(s, e);
    return s->failed ? rc : 0;
}

int state_cut_log(struct state *s, struct err *e)
{
    if (clock_mono_ms(s->clock) < s->cut_again_ms)
        return 0;
    int rc = state_checkpoint(s, e);
    s->cut_again_ms = rc ? clock_mono_ms(s->clock) + CUT_AGAIN_MS : 0;
    return rc;
}

int state_checkpoint(struct state *s, struct err *e)
{
    if (s->failed)
        return err_set(e, s->failed, "the state in %s has failed", s->rows_disk->path);
    struct disk *d = s->rows_disk;
    int rc = store_flush(s->store, e);
    if (rc)
        return state_failed(s, rc, e, "cannot write the log");
    rc = remove_ended(s, e);
    if (!rc)
        rc = flush_files(s, SIZE_MAX, e);
    if (rc)
        return rc;
    rc = d->ops->sync_all(d);
    if (rc)
        return state_failed(s, rc, e, "cannot sync the clients' files");
    rc = journal_cut(s, e);
    if (rc)
        return rc;
    s->stats.checkpoints++;
    if (list_empty(&s->bulky))
        return 0;
    list_each(it, &s->bulky)
    {
        rc = file_compact(s, container_of(it, struct client, bulky), e);
        if (rc)
            break;
    }
    /* No row may be logged at a place in a new file while a crash could bring the old one back. */
    int rc_dir = d->ops->sync_dir(d);
    if (rc_dir && !s->failed)
        state_failed(s, rc_dir == TTG_ENOSPC ? TTG_EIO : rc_dir, e, "cannot sync the directory");
    return s->failed ? s->failed : rc;
}

/* ---- clients ---- */

int state_get(struct state *s, struct str client, void **ret_state, uint64_t *ret_rows,
              struct err *e)
{
    struct client *c;
    if (s->failed)
        return err_set(e, s->failed, "the state in %s has failed", s->rows_disk->path);
    if (client.len > NAME_CLIENT_BYTES_MAX)
        return err_set(e, TTG_EINVAL, "the client's id is too long");
    if (tombs_has(&s->tombs, client))
        return err_set(e, TTG_EDONE, "the client is finished");
    int rc = state_client_get(s, client, &c, e);
    if (rc)
        return rc;
    if (c->rows == 0) {
        state_client_free(s, c);
        return err_set(e, TTG_ENOENT, "the client has no rows");
    }
    *ret_state = c->state;
    if (ret_rows)
        *ret_rows = c->rows;
    return 0;
}

int state_ready_next(struct state *s, struct str *ret_client)
{
    struct list *first = list_first(&s->ready);
    struct ready *r = first ? container_of(first, struct ready, link) : NULL;
    if (!r || r->position > store_durable_position(s->store))
        return TTG_EDONE;
    /* A copy: the user may finish the client and still speak of it. */
    buf_clear(&s->told);
    if (buf_add_str(&s->told, str_make(r->id, r->len)) || !buf_cstr(&s->told))
        return TTG_ENOMEM;
    list_remove(&r->link);
    *ret_client = buf_str(&s->told);
    return 0;
}

/* The client leaves memory; its file is to go once the log's last record is durable. */
static void leave(struct state *s, struct str id, struct removal *r)
{
    struct client *c = state_client_find(s, id);
    r->position = store_last_position(s->store);
    list_push_back(&s->removals, &r->link);
    state_ready_forget(s, id);
    if (c)
        state_client_free(s, c);
}

static int end_client(struct state *s, struct str id, bool forget, struct err *e)
{
    struct removal *r = mem_alloc(sizeof *r + id.len);
    if (!r)
        return err_set(e, TTG_ENOMEM, "out of memory");
    list_init(&r->link);
    r->len = id.len;
    if (id.len)
        memcpy(r->id, id.ptr, id.len);
    int rc = journal_reserve(s, id, 0, e);
    if (!rc && !forget && (rc = tombs_add(&s->tombs, id)))
        err_set(e, rc, "%s", err_text(rc));
    if (rc) {
        mem_free(r);
        return rc;
    }
    if (forget) {
        tombs_remove(&s->tombs, id);
        journal_forget(s, id);
    } else {
        journal_end(s, id);
    }
    /* `id` may be the one of what is freed now. */
    leave(s, str_make(r->id, r->len), r);
    return 0;
}

int state_finish(struct state *s, struct str client, struct err *e)
{
    if (s->failed)
        return err_set(e, s->failed, "the state in %s has failed", s->rows_disk->path);
    if (client.len > NAME_CLIENT_BYTES_MAX)
        return err_set(e, TTG_EINVAL, "the client's id is too long");
    return tombs_has(&s->tombs, client) ? 0 : end_client(s, client, false, e);
}

int state_forget(struct state *s, struct str client, struct err *e)
{
    if (s->failed)
        return err_set(e, s->failed, "the state in %s has failed", s->rows_disk->path);
    if (client.len > NAME_CLIENT_BYTES_MAX)
        return err_set(e, TTG_EINVAL, "the client's id is too long");
    /* A client of that name may begin anew at once, with a file that nobody is to remove. */
    int rc = end_client(s, client, true, e);
    if (!rc)
        rc = state_commit(s, e);
    return rc ? rc : remove_ended(s, e);
}

void state_stats(const struct state *s, struct state_stats *ret)
{
    struct store_stats store;
    store_stats(s->store, &store);
    *ret = s->stats;
    ret->syncs = store.syncs;
    ret->clients_in_memory = s->clients.count;
    ret->memory_bytes = s->memory;
    ret->tombs = tombs_count(&s->tombs);
    ret->tombs_dropped = s->tombs.dropped;
}

void state_result_id(struct str client, struct str content, char *out)
{
    snprintf(out, STATE_RESULT_ID_BYTES, "%016llx%016llx",
             (unsigned long long)hash_xxh3_two(client.ptr, client.len, content.ptr, content.len,
                                               hash_u64(client.len + 1)),
             (unsigned long long)hash_xxh3_two(client.ptr, client.len, content.ptr, content.len,
                                               hash_u64(client.len + 1) + 1));
}
