/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"

enum { MAP_SLOTS_MIN = 8, MAP_MOVES = 4 };

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_done(struct map *m)
{
    mem_free(m->slots);
    mem_free(m->old_slots);
    map_init(m);
}

static void map_move_some(struct map *m, size_t chains)
{
    while (m->old_slots && chains-- > 0) {
        for (struct map_node *n = m->old_slots[m->old_at], *next; n; n = next) {
            next = n->next;
            struct map_node **slot = &m->slots[n->hash & (m->slot_count - 1)];
            n->next = *slot;
            *slot = n;
        }
        m->old_slots[m->old_at] = NULL;
        if (++m->old_at == m->old_count) {
            mem_free(m->old_slots);
            m->old_slots = NULL;
            m->old_count = m->old_at = 0;
        }
    }
}

static int map_resize(struct map *m, size_t slot_count)
{
    struct map_node **slots = mem_zalloc(slot_count * sizeof(struct map_node *));
    if (!slots)
        return TTG_ENOMEM;
    map_move_some(m, m->old_count);
    if (m->slots) {
        m->old_slots = m->slots;
        m->old_count = m->slot_count;
        m->old_at = 0;
    }
    m->slots = slots;
    m->slot_count = slot_count;
    return 0;
}

int map_reserve(struct map *m)
{
    return m->slots ? 0 : map_resize(m, MAP_SLOTS_MIN);
}

static struct map_node **map_slot(const struct map *m, uint64_t hash)
{
    if (m->old_slots) {
        size_t at = hash & (m->old_count - 1);
        if (at >= m->old_at)
            return &m->old_slots[at];
    }
    return &m->slots[hash & (m->slot_count - 1)];
}

struct map_node *map_find(const struct map *m, uint64_t hash, map_eq *eq, const void *key)
{
    if (!m->slots)
        return NULL;
    for (struct map_node *n = *map_slot(m, hash); n; n = n->next)
        if (n->hash == hash && eq(n, key))
            return n;
    return NULL;
}

int map_add(struct map *m, struct map_node *n, uint64_t hash)
{
    if (m->count >= m->slot_count) {
        int rc = map_resize(m, m->slot_count ? m->slot_count * 2 : MAP_SLOTS_MIN);
        if (rc && !m->slots)
            return rc; /* a full table still works, only slower */
    }
    map_move_some(m, MAP_MOVES);
    struct map_node **slot = map_slot(m, hash);
    n->hash = hash;
    n->next = *slot;
    *slot = n;
    m->count++;
    return 0;
}

void map_remove(struct map *m, struct map_node *n)
{
    struct map_node **at = map_slot(m, n->hash);
    while (*at && *at != n)
        at = &(*at)->next;
    ensure(*at == n);
    *at = n->next;
    n->next = NULL;
    m->count--;
}

struct map_node *map_next(const struct map *m, const struct map_node *n)
{
    if (n && n->next)
        return n->next;
    size_t total = m->old_count + m->slot_count, at = 0;
    if (n) {
        struct map_node **slot = map_slot(m, n->hash);
        bool old = m->old_slots && slot >= m->old_slots && slot < m->old_slots + m->old_count;
        at = (old ? (size_t)(slot - m->old_slots) : m->old_count + (size_t)(slot - m->slots)) + 1;
    }
    for (; at < total; at++) {
        struct map_node *first = at < m->old_count ? m->old_slots[at] : m->slots[at - m->old_count];
        if (first)
            return first;
    }
    return NULL;
}
