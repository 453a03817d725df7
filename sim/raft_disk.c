/* SPDX-License-Identifier: Apache-2.0 */
/* Disks: one log for all groups of a node, an image of what is durable, and what can go wrong.
 *
 * A crash keeps a random front part of what was not synced yet. Of the entry after it, only the
 * identity may survive (it is kept apart from the data): then nobody can tell a torn write from a
 * lost one, and raft is told "damaged". A flipped bit damages an entry or a snapshot at rest.
 * Damage is dealt out only where the protocol claims to recover: see `may_damage`. */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sim/raft_inner.h"

#include <string.h>

static uint64_t image_last(const struct vw_image *i)
{
    return i->base + i->count;
}

enum vw_copy vw_image_has(const struct vw_image *i, uint64_t index, uint64_t term)
{
    if (index <= i->snap.index && !i->content_damaged)
        return VW_INTACT; /* committed, so it is the same entry */
    if (index <= i->base)
        return VW_DAMAGED;
    if (index > image_last(i))
        return VW_NONE;
    const struct raft_entry *e = &i->entries[index - i->base - 1];
    return e->term != term ? VW_NONE : e->damaged ? VW_DAMAGED : VW_INTACT;
}

bool vw_image_had(const struct vw_image *i, uint64_t index, uint64_t term)
{
    enum vw_copy copy = vw_image_has(i, index, term);
    bool torn = index > i->base && index <= image_last(i) && copy == VW_DAMAGED &&
                i->entries[index - i->base - 1].cookie;
    return copy != VW_NONE && !torn;
}

static void drop_front(struct vw_image *i, uint64_t index)
{
    size_t n = index > i->base ? (size_t)(index - i->base) : 0;
    n = n < i->count ? n : i->count;
    for (size_t k = 0; k < n; k++)
        raft_blob_unref(i->entries[k].data);
    if (n > 0)
        memmove(i->entries, i->entries + n, (i->count - n) * sizeof *i->entries);
    i->count -= n;
    i->base += n;
}

static void drop_back(struct vw_image *i, uint64_t index)
{
    while (i->count > 0 && image_last(i) >= index)
        raft_blob_unref(i->entries[--i->count].data);
}

static void put_entry(struct world *w, struct vw_image *i, const struct vw_record *r, bool damaged)
{
    if (r->index != image_last(i) + 1) {
        vw_fail(w, "an entry is written at %llu behind %llu", (unsigned long long)r->index,
                (unsigned long long)image_last(i));
        return;
    }
    if (i->count == i->cap) {
        i->cap = i->cap * 2 + 64;
        i->entries = mem_realloc(i->entries, i->cap * sizeof *i->entries);
        ensure(i->entries);
    }
    struct raft_entry *e = &i->entries[i->count++];
    *e = r->entry;
    e->damaged = damaged;
    e->cookie = damaged; /* torn: nobody can have been told that it is here */
    if (damaged)
        e->data = NULL;
    raft_blob_ref(e->data);
}

static void set_blob(struct raft_blob **at, struct raft_blob *b)
{
    raft_blob_ref(b);
    raft_blob_unref(*at);
    *at = b;
}

static void put_chunk(struct vw_image *i, const struct vw_record *r)
{
    if (i->part.index != r->snap->index || i->part.digest != r->snap->digest || r->offset == 0) {
        char zero[1024] = {0};
        i->part = *r->snap;
        raft_blob_unref(i->part_content);
        ensure(r->snap->bytes <= sizeof zero);
        i->part_content = raft_blob_new(str_make(zero, r->snap->bytes));
        ensure(i->part_content);
    }
    if (r->offset + r->blob->len > i->part_content->len)
        return;
    memcpy(i->part_content->bytes + r->offset, r->blob->bytes, r->blob->len);
    i->part_bytes = r->offset + r->blob->len;
}

static void apply(struct world *w, struct vw_disk *d, const struct vw_record *r, bool damaged)
{
    struct vw_image *i = &d->images[r->group];
    switch ((enum raft_write_kind)r->kind) {
    case RAFT_WRITE_HARD:
        i->term = r->term;
        i->vote = r->vote;
        break;
    case RAFT_WRITE_CUT:
        drop_back(i, r->index);
        break;
    case RAFT_WRITE_APPEND:
        put_entry(w, i, r, damaged);
        break;
    case RAFT_WRITE_REPAIR:
        if (vw_image_has(i, r->index, r->entry.term) == VW_DAMAGED && r->index > i->base) {
            struct raft_entry *e = &i->entries[r->index - i->base - 1];
            e->damaged = false;
            e->cookie = 0;
            e->data = raft_blob_ref(r->entry.data);
        }
        break;
    case RAFT_WRITE_CHUNK:
        put_chunk(i, r);
        break;
    case RAFT_WRITE_INSTALL:
        if (r->keep)
            drop_front(i, r->snap->index);
        else
            drop_back(i, 0);
        i->base = r->snap->index;
        i->base_term = r->snap->term;
        i->snap = *r->snap;
        set_blob(&i->content, r->blob);
        i->content_damaged = false;
        break;
    case RAFT_WRITE_COMPACT:
        drop_front(i, r->index);
        i->base = r->index;
        i->base_term = r->term;
        i->snap = *r->snap;
        set_blob(&i->content, r->blob);
        i->content_damaged = false;
        break;
    }
}

static void record_done(struct vw_record *r)
{
    raft_blob_unref(r->entry.data);
    raft_blob_unref(r->blob);
    mem_free(r->snap);
}

static struct vw_record *record_new(struct vw_disk *d)
{
    if (d->pending_count == d->pending_cap) {
        d->pending_cap = d->pending_cap * 2 + 64;
        d->pending = mem_realloc(d->pending, d->pending_cap * sizeof *d->pending);
        ensure(d->pending);
    }
    struct vw_record *r = &d->pending[d->pending_count++];
    memset(r, 0, sizeof *r);
    return r;
}

struct raft_blob *vw_disk_part(const struct vw_node *n, uint32_t group)
{
    return n->disk.images[group].part_content;
}

void vw_disk_write(struct world *w, struct vw_node *n, uint32_t group, uint64_t seq,
                   const struct raft_write *write)
{
    bool entries = write->kind == RAFT_WRITE_APPEND || write->kind == RAFT_WRITE_REPAIR;
    (void)w;
    for (uint32_t k = 0; k < (entries ? write->count : 1); k++) {
        struct vw_record *r = record_new(&n->disk);
        r->kind = (uint8_t)write->kind;
        r->group = (uint8_t)group;
        r->seq = seq;
        r->index = write->index + k;
        r->term = write->term;
        r->vote = write->vote;
        r->keep = write->keep;
        r->offset = write->offset;
        if (entries) {
            r->entry = write->entries[k];
            r->entry.cookie = 0;
            raft_blob_ref(r->entry.data);
        }
        if (write->snap) {
            r->snap = mem_alloc(sizeof *r->snap);
            ensure(r->snap);
            *r->snap = *write->snap;
        }
        if (write->kind == RAFT_WRITE_CHUNK)
            r->blob = raft_blob_new(write->bytes);
        if (write->kind == RAFT_WRITE_INSTALL)
            r->blob = raft_blob_ref(vw_disk_part(n, group));
        if (write->kind == RAFT_WRITE_COMPACT)
            r->blob = raft_blob_ref(n->taking[group]);
    }
}

void vw_disk_sync(struct world *w, struct vw_node *n)
{
    struct vw_disk *d = &n->disk;
    if (d->busy || d->pending_count == 0)
        return;
    d->busy = true;
    d->syncing = d->pending_count;
    uint64_t us = w->plan.sync_us / 2 + prng_below(&w->disk, w->plan.sync_us + 1);
    if (w->now < d->slow_until_us)
        us *= 30;
    vw_push(w, w->now + us,
            (struct vw_event){.kind = VW_EV_SYNC, .node = (uint8_t)n->place, .life = n->life});
}

static void drop_pending(struct vw_disk *d, size_t count)
{
    if (count == 0)
        return;
    for (size_t k = 0; k < count; k++)
        record_done(&d->pending[k]);
    d->pending_count -= count;
    memmove(d->pending, d->pending + count, d->pending_count * sizeof *d->pending);
}

void vw_disk_synced(struct world *w, struct vw_node *n)
{
    struct vw_disk *d = &n->disk;
    uint64_t seq[VW_GROUPS_MAX] = {0};
    struct raft_event chunks[VW_GROUPS_MAX] = {0};
    for (size_t k = 0; k < d->syncing; k++) {
        struct vw_record *r = &d->pending[k];
        apply(w, d, r, false);
        seq[r->group] = r->seq;
        if (r->kind == RAFT_WRITE_CHUNK) {
            const struct vw_image *i = &d->images[r->group];
            uint64_t end = r->offset + r->blob->len;
            chunks[r->group] = (struct raft_event){
                .kind = RAFT_EV_SNAP_STORED, .index = r->snap->index, .offset = end};
            if (end == r->snap->bytes)
                chunks[r->group].failed =
                    hash_xxh3(i->part_content->bytes, i->part_content->len, 0) != i->part.digest;
        }
    }
    drop_pending(d, d->syncing);
    d->busy = false;
    d->syncing = 0;
    uint16_t life = n->life;
    for (uint32_t g = 0; g < w->plan.groups; g++) {
        if (seq[g] && n->life == life)
            vw_step(w, n, g, &(struct raft_event){.kind = RAFT_EV_STORED, .seq = seq[g]});
        if (chunks[g].index && n->life == life)
            vw_step(w, n, g, &chunks[g]);
    }
}

/* Damage. */

static bool is_usable(struct world *w, uint64_t id)
{
    uint32_t place = vw_place(id);
    return place > 0 && place <= w->places && w->nodes[place].id == id;
}

/* The configurations that are in force or may come into force: committed, in memory, on disk. */
static bool each_config(struct world *w, uint32_t group, const void *ctx,
                        bool (*good)(struct world *w, const void *ctx, const struct raft_config *c))
{
    if (!good(w, ctx, &w->history[group].config))
        return false;
    for (uint32_t p = 1; p <= w->places; p++) {
        const struct vw_node *n = &w->nodes[p];
        const struct vw_image *i = &n->disk.images[group];
        struct raft_config c = i->snap.config;
        for (size_t k = 0; k < i->count; k++) {
            const struct raft_entry *e = &i->entries[k];
            if (e->kind == RAFT_CONFIG)
                raft_config_parse(str_make(e->data->bytes, e->data->len), &c);
        }
        struct raft_status s = {.config = &c};
        if (!good(w, ctx, &c))
            return false;
        if (n->raft[group])
            raft_status(n->raft[group], &s);
        if (!good(w, ctx, s.config))
            return false;
    }
    return true;
}

static bool all_usable(struct world *w, const void *ctx, const struct raft_config *c)
{
    (void)ctx;
    for (uint32_t i = 0; i < c->count; i++)
        if (!is_usable(w, c->members[i].id))
            return false;
    return true;
}

static bool majority_left(struct world *w, const void *ctx, const struct raft_config *c)
{
    const struct vw_node *n = ctx;
    uint32_t left = 0, voters = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        voters += c->members[i].voter;
        left += c->members[i].voter && is_usable(w, c->members[i].id) && c->members[i].id != n->id;
    }
    return voters == 0 || left >= voters / 2 + 1;
}

static bool has_dead_voter(struct world *w, uint32_t group)
{
    return !each_config(w, group, NULL, all_usable);
}

struct damage {
    const struct vw_node *n;
    uint32_t group;
    uint64_t index, term;
};

/* Recovery is claimed for an entry that is sound on another voter's disk, or that a majority of
 * the voters besides this one has no trace of. */
static bool is_recoverable(struct world *w, const void *ctx, const struct raft_config *c)
{
    const struct damage *d = ctx;
    uint32_t voters = 0, lacking = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct vw_node *other = &w->nodes[vw_place(c->members[i].id)];
        voters += c->members[i].voter;
        if (other == d->n || !c->members[i].voter)
            continue;
        enum vw_copy copy = vw_image_has(&other->disk.images[d->group], d->index, d->term);
        if (copy == VW_INTACT)
            return true;
        lacking += copy == VW_NONE;
    }
    return c->count == 0 || lacking >= voters / 2 + 1;
}

static bool may_damage(struct world *w, const struct vw_node *n, uint32_t group, uint64_t index,
                       uint64_t term)
{
    const struct damage d = {n, group, index, term};
    return !has_dead_voter(w, group) && each_config(w, group, &d, is_recoverable);
}

static bool has_damage(const struct vw_image *i)
{
    for (size_t k = 0; k < i->count; k++)
        if (i->entries[k].damaged)
            return true;
    return i->content_damaged;
}

/* A snapshot is recovered from a voter whose disk is sound and goes as far. */
static bool is_content_recoverable(struct world *w, const void *ctx, const struct raft_config *c)
{
    const struct damage *d = ctx;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct vw_node *other = &w->nodes[vw_place(c->members[i].id)];
        const struct vw_image *image = &other->disk.images[d->group];
        if (other != d->n && c->members[i].voter && !has_damage(image) &&
            vw_image_has(image, d->index, d->term) == VW_INTACT)
            return true;
    }
    return c->count == 0;
}

static bool may_damage_content(struct world *w, const struct vw_node *n, uint32_t group)
{
    const struct raft_snap *s = &n->disk.images[group].snap;
    const struct damage d = {n, group, s->index, s->term};
    return !has_dead_voter(w, group) && each_config(w, group, &d, is_content_recoverable);
}

static size_t tear(struct world *w, struct vw_node *n, size_t from)
{
    struct vw_disk *d = &n->disk;
    for (size_t k = from; k < d->pending_count && k < from + 3; k++) {
        const struct vw_record *r = &d->pending[k];
        if (r->kind != RAFT_WRITE_APPEND || r->entry.kind == RAFT_CONFIG ||
            !prng_chance(&w->disk, 0.7) || !may_damage(w, n, r->group, r->index, r->entry.term))
            return k;
        apply(w, d, r, k == from || prng_chance(&w->disk, 0.5));
        w->result->counts.torn_writes++;
    }
    return from;
}

void vw_disk_stop(struct world *w, struct vw_node *n, enum vw_stop how)
{
    struct vw_disk *d = &n->disk;
    size_t survive = d->pending_count;
    if (how == VW_STOP_CRASH || d->full)
        survive = (size_t)prng_below(&w->disk, d->pending_count + 1);
    for (size_t k = 0; k < survive; k++)
        apply(w, d, &d->pending[k], false);
    if (how == VW_STOP_CRASH && vw_has(w, VW_TORN) && survive < d->pending_count)
        tear(w, n, survive);
    drop_pending(d, d->pending_count);
    d->busy = false;
    d->syncing = 0;
    for (uint32_t g = 0; g < VW_GROUPS_MAX; g++) {
        raft_blob_unref(n->taking[g]);
        n->taking[g] = NULL;
    }
}

void vw_disk_wipe(struct vw_disk *d)
{
    drop_pending(d, d->pending_count);
    for (uint32_t g = 0; g < VW_GROUPS_MAX; g++) {
        struct vw_image *i = &d->images[g];
        drop_back(i, 0);
        raft_blob_unref(i->content);
        raft_blob_unref(i->part_content);
        *i = (struct vw_image){.entries = i->entries, .cap = i->cap};
    }
    d->busy = d->full = false;
    d->slow_until_us = 0;
    d->syncing = 0;
}

bool vw_disk_flip(struct world *w, struct vw_node *n, uint32_t group)
{
    struct vw_image *i = &n->disk.images[group];
    if (i->content && prng_chance(&w->disk, 0.15)) {
        if (i->content_damaged || !may_damage_content(w, n, group))
            return false;
        i->content_damaged = true;
        vw_trace(w, "n%u g%u loses the content of snapshot %llu", n->place, group,
                 (unsigned long long)i->snap.index);
        return true;
    }
    if (i->count == 0)
        return false;
    struct raft_entry *e = &i->entries[prng_below(&w->disk, i->count)];
    uint64_t index = i->base + 1 + (uint64_t)(e - i->entries);
    if (prng_chance(&w->disk, 0.3)) {
        e = &i->entries[i->count - 1];
        index = image_last(i);
    }
    if (e->kind == RAFT_CONFIG || e->damaged || !may_damage(w, n, group, index, e->term))
        return false;
    e->damaged = true;
    raft_blob_unref(e->data);
    e->data = NULL;
    vw_trace(w, "n%u g%u loses entry %llu", n->place, group, (unsigned long long)index);
    return true;
}

/* A wiped node is gone for good under its identity. What is committed must be on another voter's
 * disk then, in one piece, and a majority must be left. */
bool vw_disk_may_wipe(struct world *w, struct vw_node *n)
{
    for (uint32_t g = 0; g < w->plan.groups; g++) {
        const struct vw_history *h = &w->history[g];
        bool covered = h->count == 0;
        if (has_dead_voter(w, g) || !each_config(w, g, n, majority_left))
            return false;
        for (uint32_t p = 1; p <= w->places; p++)
            if (has_damage(&w->nodes[p].disk.images[g]))
                return false;
        for (uint32_t i = 0; i < h->config.count; i++) {
            const struct vw_node *other = &w->nodes[vw_place(h->config.members[i].id)];
            covered |= h->count > 0 && other != n && h->config.members[i].voter &&
                       vw_image_has(&other->disk.images[g], h->count,
                                    h->committed[h->count - 1].term) == VW_INTACT;
        }
        if (!covered)
            return false;
    }
    return true;
}
