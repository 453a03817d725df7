/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/merge.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "wire/json.h"

#include <math.h>
#include <stdlib.h>

enum { VALUES_BYTES_MAX = 1 << 28, ENTRY_COST = 32 /* of memory: table, allocation */ };

void merge_init(struct merge *m)
{
    *m = (struct merge){0};
    map_init(&m->keys);
}

void merge_done(struct merge *m)
{
    for (struct map_node *n; (n = map_next(&m->keys, NULL));) {
        map_remove(&m->keys, n);
        mem_free(container_of(n, struct merge_entry, node));
    }
    map_done(&m->keys);
    for (size_t i = 0; i < m->count; i++)
        mem_free(m->list[i]);
    mem_free(m->list);
    merge_init(m);
}

/* --- numbers --- */

static int number_of(struct str text, struct number *n)
{
    struct json v;
    *n = (struct number){.whole = true};
    if (json_parse(text, &v, NULL) || v.type != JSON_NUMBER)
        return TTG_EINVAL;
    if (json_i128(v, &n->i) == 0)
        return 0;
    n->whole = false;
    return json_f64(v, &n->f) ? TTG_EINVAL : 0;
}

static double as_double(const struct number *n)
{
    return n->whole ? (double)n->i : n->f;
}

static int compare(const struct number *a, const struct number *b)
{
    if (a->whole && b->whole)
        return a->i < b->i ? -1 : a->i > b->i;
    double x = as_double(a), y = as_double(b);
    return x < y ? -1 : x > y;
}

static struct number add(const struct number *a, const struct number *b)
{
    struct number sum = {.whole = true};
    if (a->whole && b->whole && !__builtin_add_overflow(a->i, b->i, &sum.i))
        return sum;
    return (struct number){.f = as_double(a) + as_double(b)};
}

static int add_number(struct buf *out, const struct number *n)
{
    char text[40];
    if (n->whole)
        return buf_add(out, text, str_from_i128(text, n->i));
    return isfinite(n->f) ? buf_printf(out, "%.17g", n->f) : buf_add_str(out, STR("null"));
}

/* --- adding --- */

static struct str key_of(const struct merge_entry *e)
{
    return str_make(e->bytes, e->key_len);
}

static struct str value_of(const struct merge_entry *e)
{
    return str_make(e->bytes + e->key_len, e->value_len);
}

static bool is_key(const struct map_node *n, const void *key)
{
    const struct str *k = key;
    return str_eq(key_of(container_of(n, struct merge_entry, node)), *k);
}

static size_t bytes_of(const struct merge_entry *e)
{
    return sizeof *e + e->key_len + e->value_len + ENTRY_COST;
}

static struct merge_entry *entry_new(struct merge *m, struct str key, struct str value)
{
    struct merge_entry *e = mem_zalloc(sizeof *e + key.len + value.len);
    if (!e)
        return NULL;
    e->key_len = key.len;
    e->value_len = value.len;
    if (key.len > 0)
        memcpy(e->bytes, key.ptr, key.len);
    if (value.len > 0)
        memcpy(e->bytes + key.len, value.ptr, value.len);
    m->bytes += bytes_of(e);
    return e;
}

static void entry_free(struct merge *m, struct merge_entry *e)
{
    if (e)
        m->bytes -= bytes_of(e);
    mem_free(e);
}

static int add_keyed(struct merge *m, enum spec_merge how, struct str key, const struct number *n)
{
    uint64_t hash = hash_xxh3(key.ptr, key.len, 0);
    struct map_node *found = map_find(&m->keys, hash, is_key, &key);
    if (!found) {
        struct merge_entry *e = entry_new(m, key, STR(""));
        if (!e)
            return TTG_ENOMEM;
        e->number = *n;
        int rc = map_add(&m->keys, &e->node, hash);
        if (rc)
            entry_free(m, e);
        return rc;
    }
    struct merge_entry *e = container_of(found, struct merge_entry, node);
    int order = compare(n, &e->number);
    if (how == SPEC_SUM || how == SPEC_COUNT)
        e->number = add(&e->number, n);
    else if (how == SPEC_MIN ? order < 0 : order > 0)
        e->number = *n;
    return 0;
}

static int room_for_one(struct merge *m)
{
    if (m->count < m->cap)
        return 0;
    size_t cap = m->cap ? m->cap * 2 : 16;
    struct merge_entry **more = mem_realloc(m->list, cap * sizeof(struct merge_entry *));
    if (!more)
        return TTG_ENOMEM;
    m->list = more;
    m->cap = cap;
    return 0;
}

/* The largest first; of equal ones the lesser key. */
static bool goes_before(const struct number *n, struct str key, const struct merge_entry *e)
{
    int order = compare(n, &e->number);
    return order > 0 || (order == 0 && str_cmp(key, key_of(e)) < 0);
}

static int add_top(struct merge *m, uint64_t top, struct str key, const struct number *n)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (goes_before(n, key, m->list[mid]))
            high = mid;
        else
            low = mid + 1;
    }
    if (low >= top)
        return 0;
    struct merge_entry *e = entry_new(m, key, STR(""));
    if (!e || room_for_one(m)) {
        entry_free(m, e);
        return TTG_ENOMEM;
    }
    e->number = *n;
    memmove(m->list + low + 1, m->list + low, (m->count - low) * sizeof(struct merge_entry *));
    m->list[low] = e;
    if (++m->count > top)
        entry_free(m, m->list[--m->count]);
    return 0;
}

int merge_add(struct merge *m, enum spec_merge how, uint64_t top, struct str key, struct str value)
{
    struct number n = {.whole = true, .i = 1};
    if (how == SPEC_COLLECT) {
        struct merge_entry *e = entry_new(m, key, value);
        if (!e || room_for_one(m)) {
            entry_free(m, e);
            return TTG_ENOMEM;
        }
        m->list[m->count++] = e;
        return 0;
    }
    int rc = how == SPEC_COUNT ? 0 : number_of(value, &n);
    if (rc)
        return rc;
    return how == SPEC_TOP ? add_top(m, top, key, &n) : add_keyed(m, how, key, &n);
}

bool merge_takes(enum spec_merge how, struct str value)
{
    struct number n;
    bool any = how == SPEC_COUNT || how == SPEC_COLLECT || how == SPEC_COMMAND;
    return any || number_of(value, &n) == 0;
}

/* --- what comes out --- */

static int by_key(const void *a, const void *b)
{
    const struct merge_entry *x = *(struct merge_entry *const *)a,
                             *y = *(struct merge_entry *const *)b;
    int order = str_cmp(key_of(x), key_of(y));
    return order ? order : str_cmp(value_of(x), value_of(y));
}

static int each_key(struct merge *m, int (*each)(void *ctx, struct str key, struct str value),
                    void *ctx)
{
    struct merge_entry **sorted = mem_array(m->keys.count + 1, sizeof(struct merge_entry *));
    struct buf value;
    size_t count = 0;
    int rc = 0;
    if (!sorted)
        return TTG_ENOMEM;
    for (struct map_node *n = NULL; (n = map_next(&m->keys, n));)
        sorted[count++] = container_of(n, struct merge_entry, node);
    qsort(sorted, count, sizeof(struct merge_entry *), by_key);
    buf_init(&value, 64);
    for (size_t i = 0; i < count && !rc; i++) {
        buf_clear(&value);
        rc = add_number(&value, &sorted[i]->number);
        if (!rc)
            rc = each(ctx, key_of(sorted[i]), buf_str(&value));
    }
    buf_done(&value);
    mem_free(sorted);
    return rc;
}

static int add_item(struct buf *out, const struct merge_entry *e, enum spec_merge how, bool first)
{
    int rc = first ? 0 : buf_add_char(out, ',');
    if (!rc)
        rc = buf_add_str(out, STR("{\"key\":"));
    if (!rc)
        rc = buf_add_json(out, key_of(e));
    if (!rc)
        rc = buf_add_str(out, STR(",\"value\":"));
    if (!rc)
        rc = how == SPEC_TOP ? add_number(out, &e->number) : buf_add_str(out, value_of(e));
    return rc ? rc : buf_add_char(out, '}');
}

int merge_each(struct merge *m, enum spec_merge how,
               int (*each)(void *ctx, struct str key, struct str value), void *ctx)
{
    struct buf all;
    if (how != SPEC_TOP && how != SPEC_COLLECT)
        return each_key(m, each, ctx);
    if (m->count == 0)
        return 0;
    if (how == SPEC_COLLECT)
        qsort(m->list, m->count, sizeof(struct merge_entry *), by_key);
    buf_init(&all, VALUES_BYTES_MAX);
    int rc = buf_add_char(&all, '[');
    for (size_t i = 0; i < m->count && !rc; i++)
        rc = add_item(&all, m->list[i], how, i == 0);
    if (!rc)
        rc = buf_add_char(&all, ']');
    if (!rc)
        rc = each(ctx, STR(""), buf_str(&all));
    buf_done(&all);
    return rc;
}

static int each_row(const struct merge_entry *e, enum spec_merge how, struct buf *value,
                    int (*each)(void *ctx, struct str key, struct str value), void *ctx)
{
    if (how == SPEC_COLLECT)
        return each(ctx, key_of(e), value_of(e));
    if (!e->number.whole && !isfinite(e->number.f))
        return TTG_ERANGE;
    buf_clear(value);
    int rc = add_number(value, &e->number);
    return rc ? rc : each(ctx, key_of(e), buf_str(value));
}

int merge_rows(const struct merge *m, enum spec_merge how,
               int (*each)(void *ctx, struct str key, struct str value), void *ctx)
{
    struct buf value;
    int rc = 0;
    buf_init(&value, 64);
    for (struct map_node *n = NULL; !rc && (n = map_next(&m->keys, n));)
        rc = each_row(container_of(n, struct merge_entry, node), how, &value, each, ctx);
    for (size_t i = 0; i < m->count && !rc; i++)
        rc = each_row(m->list[i], how, &value, each, ctx);
    buf_done(&value);
    return rc;
}
