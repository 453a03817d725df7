/* SPDX-License-Identifier: Apache-2.0 */
/* One client's file: read, written behind, brought to what the log says, compacted. */
#include "base/log.h"
#include "base/mem.h"
#include "state/own.h"

enum { COMPACT_BYTES_MAX = 1 << 30 };

static const struct disk_ops *ops(const struct state *s)
{
    return s->rows_disk->ops;
}

static int complain(struct err *e, int rc, const struct state *s, const char *what,
                    const char *name)
{
    return err_set(e, rc, "%s %s/%s: %s", what, s->rows_disk->path, name, err_text(rc));
}

/* The name lives in s->name until the next call. */
static int file_name(struct state *s, struct str client, const char *ending, const char **ret_name,
                     bool *ret_cut)
{
    bool cut;
    buf_clear(&s->name);
    int rc = name_add(&s->name, client, s->fold_case, &cut);
    if (!rc)
        rc = buf_add_str(&s->name, str_of(ending));
    if (!rc && !(*ret_name = buf_cstr(&s->name)))
        rc = TTG_ENOMEM;
    if (ret_cut)
        *ret_cut = cut;
    return rc;
}

/* ---- reading ---- */

static int take_row(struct state *s, struct client *c, struct str id, const struct csv_row *row)
{
    if (id.len == 0 || id.len > IDS_BYTES_MAX)
        return TTG_ECORRUPT;
    if (ids_has(&c->ids, id)) {
        c->duplicates++;
        return 0;
    }
    int rc = ids_reserve(&c->ids, id.len);
    const struct state_row r = {id, row->fields + 1, row->count - 1, 1};
    if (!rc)
        rc = state_client_apply(s, c, &r);
    if (!rc)
        ids_add(&c->ids, id);
    return rc;
}

/* "~ROWS ID ID[1-9] ...": the values stand for so many rows, of these ids. Behind it some with 0
 * rows: more ids, more values, or both. */
static int take_summary(struct state *s, struct client *c, struct str text,
                        const struct csv_row *row)
{
    struct str list, count = str_cut(text, ' ', &list);
    struct state_row told = {{0}, row->fields + 1, row->count - 1, 0};
    if (str_to_u64(count, &told.rows) || told.rows > INT64_MAX - c->rows ||
        c->rows + told.rows == 0)
        return TTG_ECORRUPT;
    int rc = ids_read(&c->ids, list);
    bool applies = told.rows > 0;
    for (size_t i = 1; i < row->count; i++)
        applies |= row->fields[i].len > 0;
    if (!rc && applies)
        rc = state_client_apply(s, c, &told);
    c->plain_rows = 0;
    return rc;
}

static int take_line(struct state *s, struct client *c, const struct csv_row *row)
{
    if (row->count == 0)
        return 0;
    if (row->count != s->o.column_count)
        return TTG_ECORRUPT;
    struct str id = row->fields[0];
    if (id.len == 0 || id.ptr[0] != STATE_SUMMARY_MARK)
        return take_row(s, c, id, row);
    id = str_make(id.ptr + 1, id.len - 1);
    if (id.len > 0 && id.ptr[0] == STATE_SUMMARY_MARK)
        return take_row(s, c, id, row);
    return take_summary(s, c, id, row);
}

static bool is_header(const struct state *s, const struct csv_row *row)
{
    bool same = row->count == s->o.column_count;
    for (size_t i = 0; i < row->count && same; i++)
        same = str_eq(row->fields[i], s->columns[i]);
    return same;
}

struct reading {
    struct client *c;
    const char *name;
    uint64_t line, good; /* bytes of whole rows so far */
    bool header;
};

/* Takes all whole rows of s->scratch. */
static int take_piece(struct state *s, struct reading *r, struct err *e)
{
    while (buf_len(&s->scratch) > 0) {
        struct csv_row row;
        size_t used;
        int rc = csv_read(buf_ptr(&s->scratch), buf_len(&s->scratch), &row, &used);
        if (rc == TTG_EAGAIN)
            return 0;
        r->line++;
        if (!rc && !r->header && !is_header(s, &row))
            return err_set(e, TTG_EVERSION, "%s/%s has other columns than this worker",
                           s->rows_disk->path, r->name);
        if (!rc && r->header)
            rc = take_line(s, r->c, &row);
        if (rc == TTG_ECORRUPT)
            return err_set(e, rc, "%s/%s, line %llu: this is no row of ours", s->rows_disk->path,
                           r->name, (unsigned long long)r->line);
        if (rc)
            return complain(e, rc, s, "cannot take up", r->name);
        r->header = true;
        r->good += used;
        buf_consume(&s->scratch, used);
    }
    return 0;
}

static int read_all(struct state *s, struct reading *r, int file, struct err *e)
{
    buf_clear(&s->scratch);
    for (uint64_t at = 0;;) {
        char *to;
        size_t got = 0;
        int rc = buf_reserve(&s->scratch, STATE_READ_BYTES, &to);
        if (!rc)
            rc = ops(s)->read(s->rows_disk, file, at, to, STATE_READ_BYTES, &got);
        if (rc)
            return complain(e, rc, s, "cannot read", r->name);
        buf_grew(&s->scratch, got);
        at += got;
        rc = take_piece(s, r, e);
        if (rc || got < STATE_READ_BYTES)
            return rc;
    }
}

/* A last line without its end is what a crash, or a copy of a file that grew, leaves. */
static int cut_torn(struct state *s, const struct reading *r, struct err *e)
{
    int file, rc = ops(s)->open(s->rows_disk, r->name, DISK_WRITE, &file);
    if (rc)
        return complain(e, rc, s, "cannot open", r->name);
    log_warn("state.torn", kv_str("file", r->name), kv_u64("bytes", buf_len(&s->scratch)));
    rc = ops(s)->truncate(s->rows_disk, file, r->good);
    ops(s)->close(s->rows_disk, file);
    s->stats.torn++;
    return rc ? complain(e, rc, s, "cannot cut", r->name) : 0;
}

int file_load(struct state *s, struct client *c, struct err *e)
{
    struct reading r = {.c = c};
    int file, rc = file_name(s, state_client_id(c), NAME_ROWS, &r.name, NULL);
    if (rc)
        return err_set(e, rc, "%s", err_text(rc));
    rc = ops(s)->open(s->rows_disk, r.name, 0, &file);
    if (rc == TTG_ENOENT)
        return rc;
    if (rc)
        return complain(e, rc, s, "cannot open", r.name);
    rc = read_all(s, &r, file, e);
    ops(s)->close(s->rows_disk, file);
    if (!rc && buf_len(&s->scratch) > 0)
        rc = cut_torn(s, &r, e);
    c->file_bytes = r.good;
    return rc;
}

/* ---- writing ---- */

/* Creates the file, and beside it the one that keeps an id which does not fit the name. */
static int create(struct state *s, struct str client, int *ret_file)
{
    const char *name;
    bool cut;
    int file, rc = file_name(s, client, NAME_ID, &name, &cut);
    if (!rc && cut) {
        rc = ops(s)->open(s->rows_disk, name, DISK_WRITE | DISK_CREATE, &file);
        if (!rc) {
            rc = ops(s)->write(s->rows_disk, file, 0, client.ptr, client.len);
            ops(s)->close(s->rows_disk, file);
        }
    }
    if (!rc)
        rc = file_name(s, client, NAME_ROWS, &name, NULL);
    if (!rc)
        rc = ops(s)->open(s->rows_disk, name, DISK_WRITE | DISK_CREATE, ret_file);
    return rc;
}

int file_flush(struct state *s, struct client *c, struct err *e)
{
    if (buf_len(&c->tail) == 0)
        return 0;
    const char *name;
    int file, rc = file_name(s, state_client_id(c), NAME_ROWS, &name, NULL);
    if (!rc)
        rc = ops(s)->open(s->rows_disk, name, DISK_WRITE, &file);
    if (rc == TTG_ENOENT && c->file_bytes > 0)
        return state_failed(s, TTG_ECORRUPT, e, "a file was removed while its worker runs");
    if (rc == TTG_ENOENT)
        rc = create(s, state_client_id(c), &file);
    if (rc)
        return state_failed(s, rc, e, "cannot open a client's file");
    rc = ops(s)->write(s->rows_disk, file, c->file_bytes, buf_ptr(&c->tail), buf_len(&c->tail));
    ops(s)->close(s->rows_disk, file);
    if (rc)
        return state_failed(s, rc, e, "cannot write a client's file");
    c->file_bytes += buf_len(&c->tail);
    buf_done(&c->tail);
    list_remove(&c->dirty);
    state_client_weigh(s, c);
    return 0;
}

int file_restore(struct state *s, struct str client, uint64_t base, struct str rows, struct err *e)
{
    const char *name = "";
    int file, rc = file_name(s, client, NAME_ROWS, &name, NULL);
    if (!rc)
        rc = ops(s)->open(s->rows_disk, name, DISK_WRITE, &file);
    if (rc == TTG_ENOENT && base == 0)
        rc = create(s, client, &file);
    if (rc)
        return complain(e, rc, s, "cannot restore", name);
    uint64_t size = 0;
    rc = ops(s)->size(s->rows_disk, file, &size);
    if (!rc && size < base)
        rc = err_set(e, TTG_ECORRUPT,
                     "%s/%s has %llu bytes, but %llu were synced: put the file back, or remove "
                     "%s to go on with what the files say",
                     s->rows_disk->path, name, (unsigned long long)size, (unsigned long long)base,
                     s->log_disk->path);
    if (!rc && size > base)
        rc = ops(s)->truncate(s->rows_disk, file, base);
    struct str head = base == 0 ? buf_str(&s->header) : STR("");
    if (!rc && head.len)
        rc = ops(s)->write(s->rows_disk, file, 0, head.ptr, head.len);
    if (!rc)
        rc = ops(s)->write(s->rows_disk, file, base + head.len, rows.ptr, rows.len);
    ops(s)->close(s->rows_disk, file);
    return rc == TTG_ECORRUPT || !rc ? rc : complain(e, rc, s, "cannot restore", name);
}

static int remove_one(struct state *s, struct str client, const char *ending, bool *ret_cut,
                      struct err *e)
{
    const char *name;
    int rc = file_name(s, client, ending, &name, ret_cut);
    if (!rc)
        rc = ops(s)->remove(s->rows_disk, name);
    return rc && rc != TTG_ENOENT ? state_failed(s, rc, e, "cannot remove a client's file") : 0;
}

int file_remove(struct state *s, struct str client, struct err *e)
{
    bool cut = false;
    int rc = remove_one(s, client, NAME_ROWS, &cut, e);
    return rc || !cut ? rc : remove_one(s, client, NAME_ID, NULL, e);
}

/* ---- compaction ---- */

/* A summary is some rows: ids go into the first ones, values too, whichever are more. */
struct summary {
    struct state *s;
    struct buf *out;
    uint64_t rows;     /* of the row: all in the first, 0 in those behind */
    struct str values; /* still to be written: s->values.rows */
};

/* What `merge` has put together is a row; its text waits for ids to stand in front of it. */
static int on_merged_row(struct state_values *v)
{
    uint32_t len = 0;
    size_t at = buf_len(&v->rows);
    int rc = buf_add(&v->rows, &len, sizeof len);
    state_values_view(v);
    for (size_t i = 0; i < v->count && !rc; i++)
        rc = csv_add(&v->rows, v->views[i], i + 1 < v->count ? ',' : '\n');
    len = (uint32_t)(buf_len(&v->rows) - at - sizeof len);
    if (!rc)
        memcpy(buf_ptr(&v->rows) + at, &len, sizeof len);
    buf_clear(&v->bytes);
    v->count = 0;
    return rc;
}

static int merge_values(struct state *s, const struct client *c)
{
    struct state_values *v = &s->values;
    state_values_clear(v);
    buf_clear(&v->rows);
    v->on_row = on_merged_row;
    v->row_values = s->o.column_count - 1;
    int rc = s->o.merge(s->o.user, state_client_id(c), c->state, v);
    v->on_row = NULL;
    bool whole = v->count == 0 && (buf_len(&v->rows) > 0 || v->row_values == 0);
    return rc ? rc : whole ? 0 : TTG_EINVAL;
}

static int add_values(struct summary *w)
{
    uint32_t len;
    if (w->values.len == 0) {
        int rc = 0;
        for (size_t i = 2; i < w->s->o.column_count && !rc; i++)
            rc = buf_add_char(w->out, ',');
        return rc || w->s->o.column_count == 1 ? rc : buf_add_char(w->out, '\n');
    }
    memcpy(&len, w->values.ptr, sizeof len);
    int rc = buf_add_str(w->out, str_make(w->values.ptr + sizeof len, len));
    w->values = str_make(w->values.ptr + sizeof len + len, w->values.len - sizeof len - len);
    return rc;
}

static int add_summary(void *ctx, struct str ids)
{
    struct summary *w = ctx;
    struct state *s = w->s;
    buf_clear(&s->row);
    int rc = buf_printf(&s->row, "%c%llu ", STATE_SUMMARY_MARK, (unsigned long long)w->rows);
    if (!rc)
        rc = buf_add_str(&s->row, ids);
    if (!rc)
        rc = csv_add(w->out, buf_str(&s->row), s->o.column_count > 1 ? ',' : '\n');
    if (!rc)
        rc = add_values(w);
    w->rows = 0;
    return rc;
}

static int make_summary(struct state *s, struct client *c, struct buf *out)
{
    struct summary w = {s, out, c->rows, buf_str(&s->values.rows)};
    int rc = buf_add_str(out, buf_str(&s->header));
    if (!rc)
        rc = ids_text(&c->ids, STATE_SUMMARY_IDS_BYTES, add_summary, &w);
    while (!rc && w.values.len > 0)
        rc = add_summary(&w, STR(""));
    return rc;
}

static int write_new(struct state *s, const char *name, const struct buf *content)
{
    int file, rc = ops(s)->open(s->rows_disk, name, DISK_WRITE | DISK_CREATE, &file);
    if (rc)
        return rc;
    rc = ops(s)->write(s->rows_disk, file, 0, buf_ptr(content), buf_len(content));
    if (!rc)
        rc = ops(s)->sync(s->rows_disk, file);
    ops(s)->close(s->rows_disk, file);
    return rc;
}

static int replace(struct state *s, struct client *c, const struct buf *content)
{
    char temporary[32] = NAME_NEW;
    const char *name;
    size_t at = sizeof NAME_NEW - 1;
    temporary[at + str_from_u64(temporary + at, ++s->new_files)] = '\0';
    int rc = write_new(s, temporary, content);
    if (!rc)
        rc = file_name(s, state_client_id(c), NAME_ROWS, &name, NULL);
    if (!rc)
        rc = ops(s)->rename(s->rows_disk, temporary, name);
    if (rc)
        ops(s)->remove(s->rows_disk, temporary);
    return rc;
}

int file_compact(struct state *s, struct client *c, struct err *e)
{
    struct buf out;
    buf_init(&out, COMPACT_BYTES_MAX);
    int rc = merge_values(s, c);
    if (rc) { /* the file does without */
        log_warn("state.merge_failed", kv_s("client", state_client_id(c)),
                 kv_str("why", err_text(rc)));
        c->plain_rows = 0;
        list_remove(&c->bulky);
        return 0;
    }
    if (s->o.ids_max)
        ids_trim(&c->ids, (size_t)s->o.ids_max);
    rc = make_summary(s, c, &out);
    bool smaller = !rc && buf_len(&out) < c->file_bytes;
    if (smaller)
        rc = replace(s, c, &out);
    if (!rc) {
        s->stats.compactions += smaller;
        c->file_bytes = smaller ? buf_len(&out) : c->file_bytes;
        c->plain_rows = 0;
        list_remove(&c->bulky);
    }
    buf_done(&out);
    return rc ? state_failed(s, rc, e, "cannot compact a client's file") : 0;
}
