/* SPDX-License-Identifier: Apache-2.0 */
#include "state/ids.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>

enum { HEAD_BYTES = 2, SLOTS_MIN = 8, DIGITS_MAX = 18, FIRST_BYTES = 128 };

void ids_init(struct ids *s, uint64_t seed)
{
    *s = (struct ids){.seed = seed};
}

void ids_done(struct ids *s)
{
    mem_free(s->bytes);
    mem_free(s->slots);
    ids_init(s, s->seed);
}

size_t ids_memory(const struct ids *s)
{
    return s->cap + s->slot_count * sizeof *s->slots;
}

static struct str id_at(const struct ids *s, size_t place)
{
    uint16_t len;
    memcpy(&len, s->bytes + place, sizeof len);
    return str_make(s->bytes + place + HEAD_BYTES, len);
}

static size_t slot_of(const struct ids *s, uint64_t hash)
{
    return (size_t)hash & (s->slot_count - 1);
}

bool ids_has(const struct ids *s, struct str id)
{
    if (s->count == 0)
        return false;
    uint64_t hash = hash_xxh3(id.ptr, id.len, s->seed);
    for (size_t i = slot_of(s, hash); s->slots[i]; i = (i + 1) & (s->slot_count - 1))
        if (s->slots[i] >> 32 == hash >> 32 &&
            str_eq(id_at(s, (size_t)(uint32_t)s->slots[i] - 1), id))
            return true;
    return false;
}

static void put(struct ids *s, uint64_t hash, size_t place)
{
    size_t i = slot_of(s, hash);
    while (s->slots[i])
        i = (i + 1) & (s->slot_count - 1);
    s->slots[i] = (hash >> 32 << 32) | (uint32_t)(place + 1);
}

static void put_all(struct ids *s)
{
    for (size_t at = 0; at < s->used;) {
        struct str id = id_at(s, at);
        put(s, hash_xxh3(id.ptr, id.len, s->seed), at);
        at += HEAD_BYTES + id.len;
    }
}

static int more_slots(struct ids *s)
{
    size_t count = s->slot_count ? s->slot_count * 2 : SLOTS_MIN;
    uint64_t *slots = mem_zalloc(count * sizeof *slots);
    if (!slots)
        return TTG_ENOMEM;
    mem_free(s->slots);
    s->slots = slots;
    s->slot_count = count;
    put_all(s);
    return 0;
}

int ids_reserve(struct ids *s, size_t len)
{
    ensure(len <= IDS_BYTES_MAX);
    size_t need = s->used + HEAD_BYTES + len;
    if (s->count >= IDS_COUNT_MAX || need >= UINT32_MAX)
        return TTG_EFULL;
    if (need > s->cap) {
        size_t cap = need > FIRST_BYTES ? need + need / 2 : FIRST_BYTES;
        char *bytes = mem_realloc(s->bytes, cap);
        if (!bytes)
            return TTG_ENOMEM;
        s->bytes = bytes;
        s->cap = cap;
    }
    return (s->count + 1) * 4 > s->slot_count * 3 ? more_slots(s) : 0;
}

void ids_add(struct ids *s, struct str id)
{
    uint16_t len = (uint16_t)id.len;
    size_t place = s->used;
    ensure(place + HEAD_BYTES + id.len <= s->cap);
    memcpy(s->bytes + place, &len, sizeof len);
    memcpy(s->bytes + place + HEAD_BYTES, id.ptr, id.len);
    s->used += HEAD_BYTES + id.len;
    s->count++;
    put(s, hash_xxh3(id.ptr, id.len, s->seed), place);
}

void ids_trim(struct ids *s, size_t keep)
{
    size_t from = 0;
    if (s->count <= keep)
        return;
    for (; s->count > keep; s->count--)
        from += HEAD_BYTES + id_at(s, from).len;
    s->used -= from;
    memmove(s->bytes, s->bytes + from, s->used);
    memset(s->slots, 0, s->slot_count * sizeof *s->slots);
    put_all(s);
}

/* ---- as text ---- */

/* An id as what stands before its number, the number, and its width. */
struct numbered {
    struct str prefix;
    uint64_t number;
    size_t width; /* 0: no number */
};

static struct numbered split(struct str id)
{
    struct numbered n = {id, 0, 0};
    while (n.width < DIGITS_MAX && n.prefix.len > 0) {
        char c = n.prefix.ptr[n.prefix.len - 1];
        if (c < '0' || c > '9')
            break;
        n.prefix.len--;
        n.width++;
    }
    if (n.width)
        str_to_u64(str_make(id.ptr + n.prefix.len, n.width), &n.number);
    return n;
}

static int compare(const void *one, const void *other)
{
    const struct numbered *a = one, *b = other;
    int order = str_cmp(a->prefix, b->prefix);
    if (order)
        return order;
    if (a->width != b->width)
        return a->width < b->width ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static bool follows(const struct numbered *a, const struct numbered *b)
{
    return a->width && a->width == b->width && a->number + 1 == b->number &&
           str_eq(a->prefix, b->prefix);
}

static int add_escaped(struct buf *out, struct str s)
{
    int rc = 0;
    for (size_t i = 0; i < s.len && !rc; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == '%' || c == '[' || c == ',' || c == '"' || c == 0x7f)
            rc = buf_printf(out, "%%%02X", c);
        else
            rc = buf_add_char(out, (char)c);
    }
    return rc;
}

static int add_item(struct buf *out, const struct numbered *first, const struct numbered *last)
{
    int rc = buf_len(out) ? buf_add_char(out, ' ') : 0;
    if (!rc)
        rc = add_escaped(out, first->prefix);
    if (!rc && first == last && first->width)
        rc = buf_printf(out, "%0*llu", (int)first->width, (unsigned long long)first->number);
    else if (!rc && first != last)
        rc =
            buf_printf(out, "[%0*llu-%0*llu]", (int)first->width, (unsigned long long)first->number,
                       (int)last->width, (unsigned long long)last->number);
    return rc;
}

int ids_text(const struct ids *s, size_t bytes_max, int (*on_piece)(void *ctx, struct str text),
             void *ctx)
{
    ensure(bytes_max >= 4 * IDS_BYTES_MAX);
    struct numbered *all = mem_array(s->count ? s->count : 1, sizeof *all);
    struct buf out;
    int rc = all ? 0 : TTG_ENOMEM;
    size_t count = 0;
    buf_init(&out, bytes_max);
    for (size_t at = 0; at < s->used && !rc;) {
        struct str id = id_at(s, at);
        all[count++] = split(id);
        at += HEAD_BYTES + id.len;
    }
    if (count)
        qsort(all, count, sizeof *all, compare);
    for (size_t i = 0, last; i < count && !rc; i = last + 1) {
        for (last = i; last + 1 < count && follows(&all[last], &all[last + 1]);)
            last++;
        /* An item is at most 3 times the longest id, and a second number. */
        if (buf_len(&out) + 3 * IDS_BYTES_MAX + 2 * DIGITS_MAX + 4 > bytes_max) {
            rc = on_piece(ctx, buf_str(&out));
            buf_clear(&out);
        }
        if (!rc)
            rc = add_item(&out, &all[i], &all[last]);
    }
    if (!rc && buf_len(&out))
        rc = on_piece(ctx, buf_str(&out));
    buf_done(&out);
    mem_free(all);
    return rc;
}

static int add_checked(struct ids *s, struct str id)
{
    if (id.len == 0 || id.len > IDS_BYTES_MAX)
        return TTG_ECORRUPT;
    if (ids_has(s, id))
        return 0;
    int rc = ids_reserve(s, id.len);
    if (!rc)
        ids_add(s, id);
    return rc;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* `out` has room for 3 * IDS_BYTES_MAX. */
static int unescape(struct str s, char *out, size_t *ret_len)
{
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (len >= IDS_BYTES_MAX)
            return TTG_ECORRUPT;
        if (s.ptr[i] != '%') {
            out[len++] = s.ptr[i];
            continue;
        }
        int high = i + 2 < s.len ? hex(s.ptr[i + 1]) : -1;
        int low = i + 2 < s.len ? hex(s.ptr[i + 2]) : -1;
        if (high < 0 || low < 0)
            return TTG_ECORRUPT;
        out[len++] = (char)(high * 16 + low);
        i += 2;
    }
    *ret_len = len;
    return 0;
}

/* `range` is what stands in the brackets; `id` begins with the prefix. */
static int read_range(struct ids *s, char *id, size_t prefix, struct str range)
{
    struct str last, first = str_cut(range, '-', &last);
    uint64_t from, to;
    if (first.len == 0 || first.len > DIGITS_MAX || last.len != first.len ||
        prefix + first.len > IDS_BYTES_MAX || str_to_u64(first, &from) || str_to_u64(last, &to) ||
        from > to || to - from >= IDS_COUNT_MAX)
        return TTG_ECORRUPT;
    int rc = 0;
    for (uint64_t n = from; n <= to && !rc; n++) {
        uint64_t rest = n;
        for (size_t i = first.len; i-- > 0; rest /= 10)
            id[prefix + i] = (char)('0' + rest % 10);
        rc = add_checked(s, str_make(id, prefix + first.len));
    }
    return rc;
}

int ids_read(struct ids *s, struct str text)
{
    char id[IDS_BYTES_MAX + DIGITS_MAX];
    int rc = 0;
    while (text.len > 0 && !rc) {
        struct str item = str_cut(text, ' ', &text), range = {0};
        struct str prefix = str_cut(item, '[', &range);
        size_t len;
        rc = unescape(prefix, id, &len);
        if (rc)
            return rc;
        if (!range.ptr)
            rc = add_checked(s, str_make(id, len));
        else if (range.len < 2 || range.ptr[range.len - 1] != ']')
            rc = TTG_ECORRUPT;
        else
            rc = read_range(s, id, len, str_make(range.ptr, range.len - 1));
    }
    return rc;
}
