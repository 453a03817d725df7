/* SPDX-License-Identifier: Apache-2.0 */
/* A stream in a snapshot: its numbers, its blocks (bytes, or where they lie outside), its groups
 * with consumers and pending entries. */
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/stream_store.h"

static void pack_id(struct packer *p, struct stream_id id)
{
    pack_u64(p, id.ms);
    pack_u64(p, id.seq);
}

static struct stream_id unpack_id(struct unpacker *u)
{
    struct stream_id id;
    id.ms = unpack_u64(u);
    id.seq = unpack_u64(u);
    return id;
}

static void save_block(const struct stream_block *b, struct core_saver *out)
{
    pack_id(&out->p, b->first);
    pack_id(&out->p, b->last);
    pack_u64(&out->p, b->live);
    pack_u64(&out->p, b->dead);
    pack_u64(&out->p, b->skip);
    pack_u64(&out->p, b->spilled);
    if (b->spilled) {
        pack_u64(&out->p, b->bytes);
        pack_u64(&out->p, b->ref.file);
        pack_u64(&out->p, b->ref.offset);
        pack_u64(&out->p, b->ref.bytes);
        pack_u64(&out->p, b->ref.crc);
    } else {
        pack_str(&out->p, str_make(b->data, b->bytes));
    }
    core_save_some(out);
}

static void save_pending(const struct stream_consumer *c, struct core_saver *out)
{
    pack_u64(&out->p, c->pending.count);
    for (struct tree_node *n = c->pending.first; n; n = tree_next(n)) {
        const struct stream_pending *p = container_of(n, struct stream_pending, by_consumer);
        pack_id(&out->p, p->id);
        pack_u64(&out->p, p->delivered_ms);
        pack_u64(&out->p, p->deliveries);
        core_save_some(out);
    }
}

static void save_group(const struct stream_group *g, struct core_saver *out)
{
    pack_str(&out->p, g->name);
    pack_id(&out->p, g->last_id);
    pack_i64(&out->p, g->entries_read);
    pack_u64(&out->p, g->consumers.count);
    for (struct tree_node *n = g->consumers.first; n; n = tree_next(n)) {
        const struct stream_consumer *c = container_of(n, struct stream_consumer, node);
        pack_str(&out->p, c->name);
        pack_u64(&out->p, c->seen_ms);
        save_pending(c, out);
    }
}

void stream_save(const struct stream *s, struct core_saver *out)
{
    pack_u64(&out->p, s->spill);
    pack_u64(&out->p, s->entries_added);
    pack_id(&out->p, s->first_id);
    pack_id(&out->p, s->last_id);
    pack_id(&out->p, s->max_deleted_id);
    pack_u64(&out->p, s->count);
    for (size_t i = 0; i < s->count; i++)
        save_block(store_block(s, i), out);
    pack_u64(&out->p, s->groups.count);
    for (struct tree_node *n = s->groups.first; n; n = tree_next(n))
        save_group(container_of(n, struct stream_group, node), out);
}

static uint32_t unpack_u32(struct unpacker *u)
{
    uint64_t value = unpack_u64(u);
    if (value > UINT32_MAX)
        u->rc = TTG_ECORRUPT;
    return u->rc ? 0 : (uint32_t)value;
}

/* What is in memory is checked now, what lies outside when it is read. */
static void load_bytes(struct stream_block *b, struct unpacker *u)
{
    b->spilled = unpack_u64(u) != 0;
    if (b->spilled) {
        b->bytes = unpack_u32(u);
        b->ref.file = unpack_u64(u);
        b->ref.offset = unpack_u64(u);
        b->ref.bytes = unpack_u32(u);
        b->ref.crc = unpack_u32(u);
        if (b->live == 0)
            u->rc = TTG_ECORRUPT;
        return;
    }
    struct str bytes = unpack_str(u);
    b->bytes = b->cap = (uint32_t)bytes.len;
    if (u->rc || bytes.len > STORE_BLOCK_BYTES_MAX || !block_check(b, bytes.ptr, bytes.len)) {
        u->rc = TTG_ECORRUPT;
        return;
    }
    b->data = mem_dup(bytes.ptr, bytes.len);
    if (!b->data)
        u->rc = TTG_ENOMEM;
}

static void load_block(struct stream *s, struct unpacker *u)
{
    struct stream_block *b = mem_zalloc(sizeof *b);
    if (!b || stream_store_reserve(s)) {
        mem_free(b);
        u->rc = TTG_ENOMEM;
        return;
    }
    b->first = unpack_id(u);
    b->last = unpack_id(u);
    b->live = unpack_u32(u);
    b->dead = unpack_u32(u);
    b->skip = unpack_u32(u);
    const struct stream_block *before = s->count ? store_block(s, s->count - 1) : NULL;
    bool order = stream_id_cmp(b->first, b->last) <= 0 &&
                 (!before || stream_id_cmp(before->last, b->first) < 0);
    if (!order)
        u->rc = TTG_ECORRUPT;
    if (!u->rc)
        load_bytes(b, u);
    if (u->rc) {
        block_free(b);
        return;
    }
    s->blocks[s->at + s->count++] = b; /* not store_push: nothing is to be written now */
    s->length += b->live;
}

static void load_pending(struct stream_consumer *c, struct unpacker *u)
{
    struct stream_id id = unpack_id(u);
    uint64_t delivered_ms = unpack_u64(u), deliveries = unpack_u64(u);
    if (!u->rc && stream_pending_find(c->group, id))
        u->rc = TTG_ECORRUPT;
    if (u->rc)
        return;
    struct stream_group *g = c->group;
    struct stream_id last_id = g->last_id;
    int64_t entries_read = g->entries_read;
    struct stream_pending *p = stream_deliver(c, id, delivered_ms);
    if (!p) {
        u->rc = TTG_ENOMEM;
        return;
    }
    p->deliveries = deliveries;
    g->last_id = last_id;
    g->entries_read = entries_read;
}

static void load_group(struct stream *s, struct unpacker *u)
{
    struct str name = unpack_str(u);
    struct stream_id last_id = unpack_id(u);
    int64_t entries_read = unpack_i64(u);
    if (!u->rc && stream_group_find(s, name))
        u->rc = TTG_ECORRUPT;
    if (u->rc)
        return;
    struct stream_group *g = stream_group_add(s, name, last_id, entries_read);
    if (!g) {
        u->rc = TTG_ENOMEM;
        return;
    }
    for (uint64_t left = unpack_count(u, 3); left > 0 && !u->rc; left--) {
        struct str who = unpack_str(u);
        uint64_t seen_ms = unpack_u64(u), count = unpack_count(u, 4);
        if (!u->rc && stream_consumer_find(g, who))
            u->rc = TTG_ECORRUPT;
        struct stream_consumer *c = u->rc ? NULL : stream_consumer_add(g, who, seen_ms);
        if (!c && !u->rc)
            u->rc = TTG_ENOMEM;
        for (; count > 0 && !u->rc; count--)
            load_pending(c, u);
    }
}

bool stream_has_released(const struct stream *s)
{
    for (struct tree_node *n = s->groups.first; n; n = tree_next(n))
        if (container_of(n, struct stream_group, node)->nobody.pending.count > 0)
            return true;
    return false;
}

void stream_released_save(const struct stream *s, struct core_saver *out)
{
    for (struct tree_node *n = s->groups.first; n; n = tree_next(n))
        save_pending(&container_of(n, struct stream_group, node)->nobody, out);
}

void stream_released_load(struct stream *s, struct unpacker *u)
{
    for (struct tree_node *n = s->groups.first; n && !u->rc; n = tree_next(n))
        for (uint64_t left = unpack_count(u, 4); left > 0 && !u->rc; left--)
            load_pending(&container_of(n, struct stream_group, node)->nobody, u);
}

void stream_load(struct stream *s, struct unpacker *u)
{
    s->spill = unpack_u64(u) != 0;
    s->entries_added = unpack_u64(u);
    s->first_id = unpack_id(u);
    s->last_id = unpack_id(u);
    s->max_deleted_id = unpack_id(u);
    for (uint64_t left = unpack_count(u, 8); left > 0 && !u->rc; left--)
        load_block(s, u);
    for (uint64_t left = unpack_count(u, 5); left > 0 && !u->rc; left--)
        load_group(s, u);
    if (u->rc)
        return;
    const struct stream_block *tail = s->count ? store_block(s, s->count - 1) : NULL;
    if (tail && stream_id_cmp(tail->last, s->last_id) > 0)
        u->rc = TTG_ECORRUPT;
}

static uint64_t mix(uint64_t h, uint64_t value)
{
    return hash_u64(h ^ hash_u64(value + 0x9e3779b97f4a7c15u));
}

static uint64_t mix_id(uint64_t h, struct stream_id id)
{
    return mix(mix(h, id.ms), id.seq);
}

static uint64_t mix_str(uint64_t h, struct str s)
{
    return hash_xxh3(s.ptr, s.len, h + s.len);
}

static uint64_t digest_groups(const struct stream *s, uint64_t h)
{
    for (struct tree_node *n = s->groups.first; n; n = tree_next(n)) {
        const struct stream_group *g = container_of(n, struct stream_group, node);
        h = mix(mix_id(mix_str(h, g->name), g->last_id), (uint64_t)g->entries_read);
        for (struct tree_node *m = g->consumers.first; m; m = tree_next(m)) {
            const struct stream_consumer *c = container_of(m, struct stream_consumer, node);
            h = mix(mix_str(h, c->name), c->seen_ms);
        }
        for (struct tree_node *m = g->pending.first; m; m = tree_next(m)) {
            const struct stream_pending *p = container_of(m, struct stream_pending, by_group);
            h = mix_str(mix_id(h, p->id), p->consumer->name);
            h = mix(mix(h, p->delivered_ms), p->deliveries);
        }
    }
    return h;
}

uint64_t stream_digest(const struct stream *s)
{
    uint64_t h = mix(mix(mix(1, s->length), s->entries_added), s->spill);
    h = mix_id(mix_id(mix_id(h, s->first_id), s->last_id), s->max_deleted_id);
    /* where blocks end decides what XTRIM ~ removes */
    for (size_t i = 0; i < s->count; i++) {
        const struct stream_block *b = store_block(s, i);
        h = mix(mix(mix_id(mix_id(h, b->first), b->last), b->live), b->dead);
    }
    struct stream_iter it;
    struct stream_entry e;
    stream_iter_open(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_iter_next(&it, &e)) {
        h = mix_id(h, e.id);
        for (size_t i = 0; i < e.pairs; i++) {
            struct str name, value;
            stream_entry_field(&e, &name, &value);
            h = mix_str(mix_str(h, name), value);
        }
    }
    stream_iter_close(&it);
    return digest_groups(s, h);
}
