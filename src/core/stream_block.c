/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream_block.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/spare.h"

enum {
    BLOCK_FIRST_BYTES = 256,
    BLOCK_BYTES_MAX = 1 << 30,
    VARINT_BYTES_MAX = 10,
};

static char *put_u64(char *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (char)(value | 0x80);
        value >>= 7;
    }
    *at++ = (char)value;
    return at;
}

static char *put_str(char *at, struct str s)
{
    at = put_u64(at, s.len);
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static size_t u64_bytes(uint64_t value)
{
    size_t n = 1;
    while (value >>= 7)
        n++;
    return n;
}

static uint64_t zigzag(uint64_t difference)
{
    int64_t v = (int64_t)difference;
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t z)
{
    return z >> 1 ^ (0 - (z & 1));
}

static size_t names_bytes(const struct str *fields, size_t pairs)
{
    size_t n = u64_bytes(pairs);
    for (size_t i = 0; i < pairs; i++)
        n += u64_bytes(fields[2 * i].len) + fields[2 * i].len;
    return n;
}

static char *put_names(char *at, const struct str *fields, size_t pairs)
{
    at = put_u64(at, pairs);
    for (size_t i = 0; i < pairs; i++)
        at = put_str(at, fields[2 * i]);
    return at;
}

/* A large piece may be one that was in use before, and larger than *cap. */
static char *data_new(size_t *cap)
{
    char *data = spare_take(*cap, cap);
    return data ? data : mem_alloc(*cap);
}

struct stream_block *block_new(struct stream_id first, const struct str *fields, size_t pairs)
{
    size_t head = names_bytes(fields, pairs), entry = block_entry_bytes_max(fields, pairs);
    size_t cap = head + BLOCK_FIRST_BYTES;
    if (entry > BLOCK_FIRST_BYTES && entry != SIZE_MAX)
        cap = head + entry; /* so that a large one is not moved as it is added */
    ensure(cap <= BLOCK_BYTES_MAX);
    struct stream_block *b = mem_zalloc(sizeof *b);
    char *data = data_new(&cap);
    if (!b || !data) {
        mem_free(b);
        mem_free(data);
        return NULL;
    }
    put_names(data, fields, pairs);
    b->first = b->last = first;
    b->bytes = b->skip = (uint32_t)head;
    b->data = data;
    b->cap = (uint32_t)cap;
    return b;
}

void block_free(struct stream_block *b)
{
    if (b && !b->spilled)
        spare_free(b->data, b->cap);
    mem_free(b);
}

size_t block_entry_bytes_max(const struct str *fields, size_t pairs)
{
    size_t n = VARINT_BYTES_MAX * 6;
    for (size_t i = 0; i < 2 * pairs; i++)
        if (fields[i].len > BLOCK_BYTES_MAX / 4 ||
            (n += fields[i].len + VARINT_BYTES_MAX) > BLOCK_BYTES_MAX / 4)
            return SIZE_MAX;
    return n;
}

static bool same_names(const struct stream_block *b, const struct str *fields, size_t pairs)
{
    uint64_t count, len;
    const char *at = block_u64(b->data, &count);
    if (count != pairs)
        return false;
    for (size_t i = 0; i < pairs; i++, at += len) {
        at = block_u64(at, &len);
        if (!str_eq(str_make(at, len), fields[2 * i]))
            return false;
    }
    return true;
}

static int reserve(struct stream_block *b, size_t len)
{
    size_t need = b->bytes + len, cap = b->cap;
    if (need <= cap)
        return 0;
    while (cap < need)
        cap *= 2;
    char *data = mem_realloc(b->data, cap);
    if (!data)
        return TTG_ENOMEM;
    b->data = data;
    b->cap = (uint32_t)cap;
    return 0;
}

int block_add(struct stream_block *b, struct stream_id id, const struct str *fields, size_t pairs)
{
    ensure(!b->spilled);
    bool own = !same_names(b, fields, pairs);
    uint64_t ms = id.ms - b->first.ms, seq = zigzag(id.seq - b->first.seq);
    size_t size = 1 + u64_bytes(ms) + u64_bytes(seq) + (own ? names_bytes(fields, pairs) : 0);
    for (size_t i = 0; i < pairs; i++)
        size += u64_bytes(fields[2 * i + 1].len) + fields[2 * i + 1].len;
    size_t size_bytes = u64_bytes(size);
    int rc = reserve(b, size + 2 * size_bytes);
    if (rc)
        return rc;
    char *at = put_u64(b->data + b->bytes, size);
    *at++ = own ? ENTRY_OWN_NAMES : 0;
    at = put_u64(at, ms);
    at = put_u64(at, seq);
    if (own)
        at = put_names(at, fields, pairs);
    for (size_t i = 0; i < pairs; i++)
        at = put_str(at, fields[2 * i + 1]);
    for (size_t i = size_bytes; i-- > 0;)
        *at++ = b->data[b->bytes + i];
    b->bytes = (uint32_t)(at - b->data);
    b->last = id;
    b->live++;
    return 0;
}

void block_give(struct stream_block *b)
{
    ensure(!b->spilled);
    spare_free(b->data, b->cap);
    b->data = NULL;
}

void block_seal(struct stream_block *b)
{
    bool spare = b->cap >= SPARE_BYTES_MIN && b->bytes > b->cap / 4 * 3;
    char *data = b->cap > b->bytes && !spare ? mem_realloc(b->data, b->bytes) : NULL;
    if (data) {
        b->data = data;
        b->cap = b->bytes;
    }
}

const char *block_entries(const char *data)
{
    uint64_t count, len;
    const char *at = block_u64(data, &count);
    for (; count > 0; count--, at += len)
        at = block_u64(at, &len);
    return at;
}

void block_parse(const struct stream_block *b, const char *at, struct block_entry *ret_entry)
{
    uint64_t size, ms, seq;
    ret_entry->start = at;
    const char *flags = block_u64(at, &size);
    const char *body = block_u64(block_u64(flags + 1, &ms), &seq);
    ret_entry->flags = flags;
    ret_entry->body = body;
    ret_entry->next = flags + size + (flags - at);
    ret_entry->id = (struct stream_id){b->first.ms + ms, b->first.seq + unzigzag(seq)};
}

const char *block_before(const char *at)
{
    uint64_t size = 0;
    unsigned char byte;
    const char *end = at;
    unsigned shift = 0;
    do {
        byte = (unsigned char)*--at;
        size |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    return at - size - (end - at);
}

void block_mark(struct stream_block *b, const struct block_entry *e)
{
    ensure(!b->spilled);
    b->data[e->flags - b->data] |= ENTRY_DELETED;
    b->live--;
    b->dead++;
    if (b->skip != e->start - b->data)
        return;
    struct block_entry next = *e;
    while (next.next < b->data + b->bytes && (*next.flags & ENTRY_DELETED)) {
        b->skip = (uint32_t)(next.next - b->data);
        block_parse(b, next.next, &next);
    }
}

void block_cut(struct stream_block *b)
{
    ensure(!b->spilled && b->live > 0);
    for (;;) {
        struct block_entry e;
        const char *last = block_before(b->data + b->bytes);
        block_parse(b, last, &e);
        b->last = e.id;
        if (!(*e.flags & ENTRY_DELETED))
            return;
        b->bytes = (uint32_t)(last - b->data);
        b->dead--;
    }
}

/* Like pack's unpacker, but without its copies of the state: a checking cursor. */
static bool check_names(struct unpacker *u, uint64_t *ret_count)
{
    uint64_t count = unpack_count(u, 1);
    for (uint64_t i = 0; i < count && !u->rc; i++)
        unpack_str(u);
    *ret_count = count;
    return !u->rc;
}

static bool check_entry(const struct stream_block *b, struct unpacker *u, uint64_t pairs,
                        struct block_entry *ret_entry)
{
    const char *start = u->at;
    uint64_t size = unpack_u64(u);
    const char *flags = u->at;
    if (u->rc || size < 3 || size > (size_t)(u->end - u->at))
        return false;
    size_t head = (size_t)(flags - start);
    struct unpacker body = {flags + 1, flags + size, 0};
    uint64_t ms = unpack_u64(&body), seq = unpack_u64(&body);
    if (*flags & ~(ENTRY_OWN_NAMES | ENTRY_DELETED) || ms > UINT64_MAX - b->first.ms)
        return false;
    if (*flags & ENTRY_OWN_NAMES && !check_names(&body, &pairs))
        return false;
    for (uint64_t i = 0; i < pairs && !body.rc; i++)
        unpack_str(&body);
    if (unpack_end(&body) || head != u64_bytes(size) || head > (size_t)(u->end - body.end))
        return false;
    for (size_t i = 0; i < head; i++)
        if (body.end[i] != start[head - 1 - i])
            return false;
    u->at = body.end + head;
    /* the plain readers must see the same */
    block_parse(b, start, ret_entry);
    ensure(ret_entry->next == u->at && ret_entry->id.seq == b->first.seq + unzigzag(seq));
    return true;
}

bool block_check(const struct stream_block *b, const char *data, size_t bytes)
{
    struct unpacker u = unpack_of(str_make(data, bytes));
    uint64_t pairs, live = 0, dead = 0;
    if (bytes != b->bytes || !check_names(&u, &pairs))
        return false;
    bool skip_seen = b->skip == bytes;
    struct block_entry e = {0};
    while (u.at < u.end) {
        struct stream_id before = e.id;
        bool deleted_before_skip = (size_t)(u.at - data) < b->skip;
        skip_seen |= (size_t)(u.at - data) == b->skip;
        if (!check_entry(b, &u, pairs, &e))
            return false;
        if (live + dead == 0 ? stream_id_cmp(e.id, b->first) != 0
                             : stream_id_cmp(e.id, before) <= 0)
            return false;
        bool deleted = *e.flags & ENTRY_DELETED;
        if (deleted_before_skip && !deleted)
            return false;
        live += !deleted;
        dead += deleted;
    }
    return skip_seen && live > 0 && live == b->live && dead == b->dead &&
           stream_id_cmp(e.id, b->last) == 0;
}
