/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/fold.h"

#include "base/mem.h"

#include <dlfcn.h>
#include <ttg/aggregate.h>

enum { END, KEY, VALUE, IDS_KEPT = 1000000 };
enum { LOG_BYTES_A_ROW = 1024, LOG_BYTES_MIN = 64 << 10, LOG_BYTES_MAX = 64 << 20 };

static const struct str columns[FOLD_COLUMNS] = {STR("msg_id"), STR("end"), STR("key"),
                                                 STR("value")};

int fold_open(struct fold *f, const struct spec_stage *stage, struct err *err)
{
    f->stage = stage;
    return stage->merge == SPEC_LIBRARY ? fold_library_open(f, err) : 0;
}

void fold_close(struct fold *f)
{
    if (f->library && f->library->done)
        f->library->done(f->user);
    if (f->handle)
        dlclose(f->handle);
    f->library = NULL;
    f->handle = NULL;
}

/* --- what the state manager calls --- */

static int held_of(const struct fold *f, void *state, struct held **ret_held)
{
    struct held **at = state;
    if (!*at) {
        *at = mem_zalloc(sizeof **at + (f->library ? f->library->state_bytes : 0));
        if (!*at)
            return TTG_ENOMEM;
        merge_init(&(*at)->merge);
        (*at)->ask_at = f->stage->compact;
    }
    *ret_held = *at;
    return 0;
}

static int add(struct fold *f, struct str client, struct held *h, const struct state_row *row,
               uint64_t rows)
{
    const struct spec_stage *st = f->stage;
    enum spec_merge how = st->merge;
    if (f->library)
        return fold_library_add(f, client, h->theirs, row, rows);
    if (how == SPEC_COMMAND)
        how = SPEC_COLLECT;
    if (how == SPEC_COUNT && row->id.len == 0) /* a summary's value is how many */
        how = SPEC_SUM;
    return merge_add(&h->merge, how, st->top, row->values[KEY], row->values[VALUE]);
}

static int on_apply(void *user, struct str client, void *state, const struct state_row *row)
{
    struct fold *f = user;
    struct held *h;
    bool summary = row->id.len == 0;
    struct str end = row->values[END];
    uint64_t ends = end.len > 0;
    int rc = held_of(f, state, &h);
    if (rc)
        return rc;
    if (summary && ends && (str_to_u64(end, &ends) || ends > row->rows))
        return TTG_EINVAL;
    uint64_t rows = row->rows - ends;
    if (rows > 0 || (summary && row->rows == 0))
        rc = add(f, client, h, row, rows);
    if (!rc) {
        h->ends += ends;
        h->rows += rows;
        f->last = h;
    }
    return rc;
}

static bool on_ready(void *user, struct str client, const void *state)
{
    const struct fold *f = user;
    struct held *const *h = state;
    return *h && (*h)->ends >= (str_eq(client, MESSAGE_ALL) ? f->expected_all : f->expected);
}

struct summary {
    struct state_values *values;
    uint64_t ends; /* to be said in the first row */
    bool any;
};

static int add_row(void *ctx, struct str key, struct str value)
{
    struct summary *s = ctx;
    char digits[20];
    struct str end = str_make(digits, s->ends ? str_from_u64(digits, s->ends) : 0);
    int rc = state_value_add(s->values, end);
    if (!rc)
        rc = state_value_add(s->values, key);
    if (!rc)
        rc = state_value_add(s->values, value);
    s->any = true;
    s->ends = 0;
    return rc;
}

static int on_merge(void *user, struct str client, const void *state, struct state_values *values)
{
    const struct fold *f = user;
    const struct held *h = *(struct held *const *)state;
    struct summary s = {.values = values};
    if (!h)
        return TTG_EINVAL;
    s.ends = h->ends;
    enum spec_merge how = f->stage->merge == SPEC_COMMAND ? SPEC_COLLECT : f->stage->merge;
    int rc = f->library ? fold_library_rows(f, client, h->theirs, add_row, &s)
                        : merge_rows(&h->merge, how, add_row, &s);
    if (!rc && !s.any)
        rc = h->rows == 0 ? add_row(&s, STR(""), STR("")) : TTG_EINVAL;
    return rc;
}

static void on_drop(void *user, void *state)
{
    struct fold *f = user;
    struct held **at = state;
    if (!*at)
        return;
    if (f->library && f->library->drop)
        f->library->drop(f->user, (*at)->theirs);
    merge_done(&(*at)->merge);
    if (f->last == *at)
        f->last = NULL;
    mem_free(*at);
    *at = NULL;
}

static size_t on_memory(void *user, const void *state)
{
    const struct fold *f = user;
    const struct held *h = *(struct held *const *)state;
    if (!h)
        return 0;
    size_t bytes = sizeof *h + h->merge.bytes;
    if (f->library)
        bytes += f->library->state_bytes;
    return f->library && f->library->memory ? bytes + f->library->memory(f->user, h->theirs)
                                            : bytes;
}

/* Whether rows that stand for others are fewer. */
static bool can_merge(const struct fold *f)
{
    return f->library                        ? f->library->merge != NULL
           : f->stage->merge == SPEC_COMMAND ? f->stage->merges
                                             : f->stage->merge != SPEC_COLLECT;
}

void fold_options(struct fold *f, struct state_options *o)
{
    uint64_t log_bytes = f->stage->compact * LOG_BYTES_A_ROW;
    *o = (struct state_options){.columns = columns,
                                .column_count = FOLD_COLUMNS,
                                .state_bytes = sizeof(struct held *),
                                .user = f,
                                .apply = on_apply,
                                .merge = can_merge(f) ? on_merge : NULL,
                                .ready = on_ready,
                                .drop = on_drop,
                                .memory = on_memory,
                                .compact_rows = f->stage->compact,
                                .ids_max = IDS_KEPT};
    o->log_bytes = log_bytes < LOG_BYTES_MIN   ? LOG_BYTES_MIN
                   : log_bytes > LOG_BYTES_MAX ? LOG_BYTES_MAX
                                               : log_bytes;
}

/* --- messages --- */

int fold_values(const struct fold *f, const struct message *m, struct buf *room,
                struct str values[FOLD_VALUES])
{
    values[END] = STR("");
    values[KEY] = m->key;
    values[VALUE] = m->value;
    if (m->end) {
        values[END] = m->path.len > 0 ? m->path : STR("input");
        values[KEY] = values[VALUE] = STR("");
        return 0;
    }
    return f->library && f->library->extract ? fold_library_values(f, m, room, values) : 0;
}

bool fold_takes(const struct fold *f, const struct message *m)
{
    return m->end || f->library || merge_takes(f->stage->merge, m->value);
}

int fold_results(const struct fold *f, struct str client, struct held *h,
                 int (*each)(void *ctx, struct str key, struct str value), void *ctx,
                 struct err *err)
{
    if (h->rows == 0)
        return 0;
    if (f->library)
        return fold_library_results(f, client, h->theirs, each, ctx, err);
    int rc = merge_each(&h->merge, f->stage->merge, each, ctx);
    return rc ? err_set(err, rc, "%s", err_text(rc)) : 0;
}
