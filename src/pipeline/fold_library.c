/* SPDX-License-Identifier: Apache-2.0 */
/* fold_library - an aggregate that is a library of the user's. */
#include "pipeline/fold.h"

#include "base/list.h"
#include "wire/json.h"

#include <dlfcn.h>
#include <stdio.h>
#include <ttg/aggregate.h>

enum { REASON_BYTES = 256, STATE_BYTES_MAX = 1 << 20 };

static struct ttg_bytes bytes_of(struct str s)
{
    return (struct ttg_bytes){s.len > 0 ? s.ptr : "", s.len};
}

/* --- loading --- */

static int check(const struct ttg_aggregate *a, const char *path, struct err *err)
{
    if (a->abi != TTG_AGGREGATE_ABI)
        return err_set(err, TTG_EVERSION,
                       "%s speaks interface version %u, this ttg %d: compile it again with this "
                       "version's <ttg/aggregate.h>",
                       path, a->abi, TTG_AGGREGATE_ABI);
    if (a->size < sizeof *a)
        return err_set(err, TTG_EVERSION,
                       "%s: its struct ttg_aggregate is too small (%u bytes): compile it again",
                       path, a->size);
    if (!a->rebuild || !a->result)
        return err_set(err, TTG_EVERSION, "%s has no function `%s`", path,
                       a->rebuild ? "result" : "rebuild");
    if (a->state_bytes > STATE_BYTES_MAX)
        return err_set(err, TTG_EVERSION, "%s: a client's state takes at most %d bytes", path,
                       STATE_BYTES_MAX);
    return 0;
}

int fold_library_open(struct fold *f, struct err *err)
{
    const char *path = f->stage->path;
    char reason[REASON_BYTES] = "";
    f->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!f->handle)
        return err_set(err, TTG_EUSAGE, "cannot load the aggregate: %s", dlerror());
    const struct ttg_aggregate *a = dlsym(f->handle, "ttg_aggregate");
    if (!a)
        return err_set(err, TTG_EUSAGE,
                       "%s is no aggregate: it exports no ttg_aggregate; see TTG_AGGREGATE in "
                       "<ttg/aggregate.h>",
                       path);
    int rc = check(a, path, err);
    if (!rc && a->init && a->init(f->stage->argument ? f->stage->argument : "", &f->user, reason)) {
        reason[REASON_BYTES - 1] = '\0';
        rc = err_set(err, TTG_EUSAGE, "%s does not start: %s", path,
                     reason[0] ? reason : "its init failed");
    }
    if (!rc)
        f->library = a;
    return rc;
}

/* --- what it puts --- */

struct put {
    struct ttg_rows rows;
    int (*each)(void *ctx, struct str key, struct str value);
    void *ctx;
    bool json; /* values have to be */
    int rc;
};

static int on_put(struct ttg_rows *rows, struct ttg_bytes key, struct ttg_bytes value)
{
    struct put *p = container_of(rows, struct put, rows);
    struct json v;
    struct str text = str_make(value.ptr, value.len);
    if (!p->rc && key.len > MESSAGE_TEXT_BYTES_MAX)
        p->rc = TTG_ERANGE;
    if (!p->rc && p->json && json_parse(text, &v, NULL))
        p->rc = TTG_EPROTO;
    if (!p->rc)
        p->rc = p->each(p->ctx, str_make(key.ptr, key.len), text);
    return p->rc;
}

int fold_library_add(const struct fold *f, struct str client, void *theirs,
                     const struct state_row *row, uint64_t rows)
{
    const struct ttg_kept kept = {bytes_of(row->id), bytes_of(row->values[1]),
                                  bytes_of(row->values[2]), rows};
    return f->library->rebuild(f->user, bytes_of(client), theirs, &kept) ? TTG_EINVAL : 0;
}

int fold_library_rows(const struct fold *f, struct str client, const void *theirs,
                      int (*each)(void *ctx, struct str key, struct str value), void *ctx)
{
    struct put p = {.rows = {on_put}, .each = each, .ctx = ctx};
    int rc = f->library->merge(f->user, bytes_of(client), theirs, &p.rows);
    return p.rc ? p.rc : rc ? TTG_EINVAL : 0;
}

struct extracted {
    struct buf *room;
    size_t count, key_len;
};

static int on_extracted(void *ctx, struct str key, struct str value)
{
    struct extracted *x = ctx;
    if (x->count++ > 0)
        return TTG_EINVAL;
    x->key_len = key.len;
    int rc = buf_add_str(x->room, key);
    return rc ? rc : buf_add_str(x->room, value);
}

int fold_library_values(const struct fold *f, const struct message *m, struct buf *room,
                        struct str values[FOLD_VALUES])
{
    struct extracted x = {.room = room};
    struct put p = {.rows = {on_put}, .each = on_extracted, .ctx = &x};
    const struct ttg_kept message = {bytes_of(m->id), bytes_of(m->key), bytes_of(m->value), 1};
    buf_clear(room);
    int rc = f->library->extract(f->user, bytes_of(m->client), &message, &p.rows);
    if (p.rc == TTG_ENOMEM)
        return p.rc;
    if (p.rc || rc || x.count != 1)
        return TTG_EINVAL;
    struct str all = buf_str(room);
    values[1] = str_make(all.ptr, x.key_len);
    values[2] = str_make(all.ptr + x.key_len, all.len - x.key_len);
    return 0;
}

int fold_library_results(const struct fold *f, struct str client, const void *theirs,
                         int (*each)(void *ctx, struct str key, struct str value), void *ctx,
                         struct err *err)
{
    struct put p = {.rows = {on_put}, .each = each, .ctx = ctx, .json = true};
    int rc = f->library->result(f->user, bytes_of(client), theirs, &p.rows);
    if (p.rc == TTG_EPROTO)
        return err_set(err, TTG_EUSAGE, "%s: a result of client %.*s is not JSON", f->stage->path,
                       (int)(client.len < 80 ? client.len : 80), client.ptr);
    if (p.rc)
        return err_set(err, p.rc, "%s: %s", f->stage->path, err_text(p.rc));
    return rc ? err_set(err, TTG_EUSAGE, "%s: no result of client %.*s: it answered %d",
                        f->stage->path, (int)(client.len < 80 ? client.len : 80), client.ptr, rc)
              : 0;
}
