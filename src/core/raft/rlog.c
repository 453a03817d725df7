/* SPDX-License-Identifier: Apache-2.0 */
#include "core/raft/rlog.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "core/raft/plant.h"

enum { ENTRY_OVERHEAD_BYTES = 32 }; /* so that empty entries fill a window too */

struct raft_blob *raft_blob_new(struct str bytes)
{
    if (bytes.len > UINT32_MAX)
        return NULL;
    struct raft_blob *b = mem_alloc(sizeof *b + bytes.len);
    if (!b)
        return NULL;
    b->refs = 1;
    b->len = (uint32_t)bytes.len;
    if (bytes.len)
        memcpy(b->bytes, bytes.ptr, bytes.len);
    return b;
}

struct raft_blob *raft_blob_ref(struct raft_blob *b)
{
    if (b)
        b->refs++;
    return b;
}

void raft_blob_unref(struct raft_blob *b)
{
    if (b && --b->refs == 0)
        mem_free(b);
}

void rlog_init(struct raft_log *l, uint64_t base, uint64_t base_term)
{
    *l = (struct raft_log){.base = base, .base_term = base_term, .stable = base};
    l->hole = UINT64_MAX;
}

void rlog_done(struct raft_log *l)
{
    rlog_cut(l, l->base + 1);
    mem_free(l->entries);
    rlog_init(l, 0, 0);
}

int rlog_reserve(struct raft_log *l, size_t n)
{
    if (rlog_has_room(l, n))
        return 0;
    if (l->start >= l->count && l->count + n <= l->cap) {
        /* Half of it is compacted: moving costs less than what was appended since. */
        memcpy(l->entries, l->entries + l->start, l->count * sizeof *l->entries);
        l->start = 0;
        return 0;
    }
    size_t cap = (l->count + n) * 2 + 32;
    struct raft_entry *entries = mem_array(cap, sizeof *entries);
    if (!entries)
        return TTG_ENOMEM;
    if (l->count)
        memcpy(entries, l->entries + l->start, l->count * sizeof *entries);
    mem_free(l->entries);
    l->entries = entries;
    l->cap = cap;
    l->start = 0;
    return 0;
}

struct raft_entry *rlog_at(const struct raft_log *l, uint64_t index)
{
    ensure(index > l->base && index <= rlog_last(l));
    return &l->entries[l->start + (index - l->base - 1)];
}

uint64_t rlog_term(const struct raft_log *l, uint64_t index)
{
    return index == l->base ? l->base_term : rlog_at(l, index)->term;
}

bool rlog_has(const struct raft_log *l, uint64_t index, uint64_t term)
{
    return index >= l->base && index <= rlog_last(l) && rlog_term(l, index) == term;
}

uint64_t rlog_floor(const struct raft_log *l, uint64_t index, uint64_t term)
{
    uint64_t low = l->base, high = index < rlog_last(l) ? index : rlog_last(l);
    while (low < high) {
        uint64_t mid = low + (high - low + 1) / 2;
        if (rlog_at(l, mid)->term <= term)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

static uint64_t total_at(const struct raft_log *l, uint64_t index)
{
    return index <= l->base ? l->base_total : rlog_at(l, index)->total;
}

uint64_t rlog_bytes(const struct raft_log *l, uint64_t from, uint64_t to)
{
    return total_at(l, to) - total_at(l, from);
}

void rlog_append(struct raft_log *l, const struct raft_entry *e, uint64_t seq)
{
    ensure(rlog_has_room(l, 1));
    struct raft_entry *copy = &l->entries[l->start + l->count++];
    *copy = *e;
    raft_blob_ref(copy->data);
    copy->cookie = 0;
    copy->seq = seq;
    copy->total = total_at(l, rlog_last(l) - 1) + ENTRY_OVERHEAD_BYTES;
    copy->total += e->data ? e->data->len : 0;
    if (e->damaged && rlog_last(l) < l->hole)
        l->hole = rlog_last(l);
}

static void find_hole(struct raft_log *l)
{
    l->hole = UINT64_MAX;
    for (size_t i = 0; i < l->count; i++)
        if (l->entries[l->start + i].damaged) {
            l->hole = l->base + 1 + i;
            return;
        }
}

void rlog_fill(struct raft_log *l, uint64_t index, struct raft_blob *data, uint64_t seq)
{
    struct raft_entry *e = rlog_at(l, index);
    ensure(e->damaged);
    e->damaged = false;
    e->data = raft_blob_ref(data);
    e->seq = seq;
    find_hole(l);
}

void rlog_cut(struct raft_log *l, uint64_t index)
{
    ensure(index > l->base);
    while (rlog_last(l) >= index) {
        raft_blob_unref(l->entries[l->start + l->count - 1].data);
        l->count--;
    }
    /* What replaces them is not durable yet, even if the same entry comes again: the disk may
     * hold anything between, until the last write is. */
    if (l->stable >= index && !bent(CUT_KEEPS_STABLE))
        l->stable = index - 1;
    if (l->hole >= index)
        l->hole = UINT64_MAX;
}

void rlog_compact(struct raft_log *l, uint64_t index)
{
    ensure(index >= l->base && index <= rlog_last(l));
    uint64_t term = rlog_term(l, index), total = total_at(l, index);
    for (; l->base < index; l->base++, l->start++, l->count--)
        raft_blob_unref(l->entries[l->start].data);
    l->base_term = term;
    l->base_total = total;
    if (l->hole <= index)
        find_hole(l);
}

void rlog_reset(struct raft_log *l, uint64_t index, uint64_t term)
{
    rlog_cut(l, l->base + 1);
    l->start = 0;
    l->base = index;
    l->base_term = term;
    l->stable = 0;
}

void rlog_stored(struct raft_log *l, uint64_t seq)
{
    if (l->base_seq > seq)
        return;
    if (l->stable < l->base)
        l->stable = l->base;
    while (l->stable < rlog_last(l)) {
        const struct raft_entry *e = rlog_at(l, l->stable + 1);
        if (e->seq > seq || (e->damaged && !bent(DAMAGE_ACK)))
            break;
        l->stable++;
    }
}
