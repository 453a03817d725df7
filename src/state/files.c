/* SPDX-License-Identifier: Apache-2.0 */
/* All files of the directory: whose they are. */
#include "base/log.h"
#include "base/mem.h"
#include "state/own.h"

#include <stdlib.h>

enum { LIST_BYTES_MAX = 1 << 30 };

static const struct disk_ops *ops(const struct state *s)
{
    return s->rows_disk->ops;
}

struct listing {
    struct buf names; /* each with its NUL, without its ending */
    size_t count;
    bool leftovers; /* those instead, whole */
};

static int note_name(void *ctx, const char *name)
{
    struct listing *l = ctx;
    struct str s = str_of(name), ending = STR(NAME_ROWS);
    bool leftover = str_starts(s, STR(NAME_NEW));
    if (l->leftovers != leftover)
        return 0;
    if (!leftover) {
        if (s.len <= ending.len || name[0] == '.' ||
            !str_eq(str_make(s.ptr + s.len - ending.len, ending.len), ending))
            return 0;
        s.len -= ending.len;
    }
    int rc = buf_add_str(&l->names, s);
    if (!rc)
        rc = buf_add_char(&l->names, '\0');
    l->count++;
    return rc;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in order, to be freed; they stand in l->names. */
static int sorted(struct listing *l, char ***ret_names)
{
    char **names = mem_array(l->count + 1, sizeof *names);
    if (!names)
        return TTG_ENOMEM;
    char *at = l->count ? buf_ptr(&l->names) : NULL;
    for (size_t i = 0; i < l->count; i++, at += strlen(at) + 1)
        names[i] = at;
    qsort(names, l->count, sizeof *names, compare);
    *ret_names = names;
    return 0;
}

static int list(struct state *s, struct listing *l, bool leftovers, struct err *e)
{
    *l = (struct listing){.leftovers = leftovers};
    buf_init(&l->names, LIST_BYTES_MAX);
    int rc = ops(s)->list(s->rows_disk, note_name, l);
    if (rc)
        err_set(e, rc, "cannot list %s: %s", s->rows_disk->path, err_text(rc));
    return rc;
}

int files_clean(struct state *s, struct err *e)
{
    struct listing l;
    int rc = list(s, &l, true, e);
    const char *at = l.count ? buf_ptr(&l.names) : NULL;
    for (size_t i = 0; i < l.count && !rc; i++, at += strlen(at) + 1) {
        rc = ops(s)->remove(s->rows_disk, at);
        if (rc)
            err_set(e, rc, "cannot remove %s/%s: %s", s->rows_disk->path, at, err_text(rc));
    }
    buf_done(&l.names);
    return rc;
}

/* The id that was too long for its name. */
static int read_id(struct state *s, const char *name, struct buf *client)
{
    char file_name[NAME_BYTES_MAX + sizeof NAME_ID], *to;
    size_t got, len = strlen(name);
    if (len > NAME_BYTES_MAX)
        return TTG_EPROTO;
    memcpy(file_name, name, len);
    memcpy(file_name + len, NAME_ID, sizeof NAME_ID);
    int file, rc = ops(s)->open(s->rows_disk, file_name, 0, &file);
    if (rc)
        return rc == TTG_ENOENT ? TTG_EPROTO : rc;
    buf_clear(client);
    rc = buf_reserve(client, NAME_CLIENT_BYTES_MAX, &to);
    if (!rc)
        rc = ops(s)->read(s->rows_disk, file, 0, to, NAME_CLIENT_BYTES_MAX, &got);
    if (!rc)
        buf_grew(client, got);
    ops(s)->close(s->rows_disk, file);
    return rc;
}

/* A file under another name than we would give it: written where `a` was not `A`, or by hand. */
static int adopt(struct state *s, const char *name, struct str client, struct err *e)
{
    bool cut;
    int file;
    buf_clear(&s->name);
    int rc = name_add(&s->name, client, s->fold_case, &cut);
    if (rc || str_eq(buf_str(&s->name), str_of(name)))
        return rc;
    char from[NAME_BYTES_MAX + sizeof NAME_ROWS];
    if (cut || strlen(name) > NAME_BYTES_MAX)
        return TTG_EPROTO;
    memcpy(from, name, strlen(name));
    memcpy(from + strlen(name), NAME_ROWS, sizeof NAME_ROWS);
    rc = buf_add_str(&s->name, STR(NAME_ROWS));
    const char *to = rc ? NULL : buf_cstr(&s->name);
    if (!to)
        return TTG_ENOMEM;
    rc = ops(s)->open(s->rows_disk, to, 0, &file);
    if (!rc) {
        ops(s)->close(s->rows_disk, file);
        return err_set(e, TTG_EEXIST, "%s/%s and %s belong to the same client", s->rows_disk->path,
                       from, to);
    }
    return rc == TTG_ENOENT ? ops(s)->rename(s->rows_disk, from, to) : rc;
}

int files_each(struct state *s, int (*on_client)(void *ctx, struct str client), void *ctx,
               struct err *e)
{
    struct listing l;
    struct buf client;
    char **names = NULL;
    buf_init(&client, NAME_CLIENT_BYTES_MAX);
    int rc = list(s, &l, false, e);
    if (!rc && (rc = sorted(&l, &names)))
        err_set(e, rc, "out of memory");
    for (size_t i = 0; i < l.count && !rc; i++) {
        struct err why = {0};
        buf_clear(&client);
        rc = name_read(str_of(names[i]), &client);
        if (rc == TTG_EAGAIN)
            rc = read_id(s, names[i], &client);
        if (!rc)
            rc = adopt(s, names[i], buf_str(&client), &why);
        if (rc == TTG_EPROTO || rc == TTG_EFULL) {
            log_warn("state.file_ignored", kv_str("file", names[i]));
            rc = 0;
            continue;
        }
        if (rc)
            err_set(e, rc, "%s/%s" NAME_ROWS ": %s", s->rows_disk->path, names[i],
                    why.code ? why.text : err_text(rc));
        else
            rc = on_client(ctx, buf_str(&client));
    }
    mem_free(names);
    buf_done(&client);
    buf_done(&l.names);
    return rc;
}
