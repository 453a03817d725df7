/* SPDX-License-Identifier: Apache-2.0 */
/* map - a chained hash map; nodes are intrusive and keep their hash, keys live in the elements.
 *
 * Growing moves a few chains at each change, so that no single call is long however large the map
 * is. Iteration order is unspecified but the same for the same history: replay depends on it. */
#ifndef TTG_BASE_MAP_H
#define TTG_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *next;
    uint64_t hash;
};

struct map {
    struct map_node **slots, **old_slots;
    size_t slot_count, old_count, old_at; /* old_at: next old chain to move */
    size_t count;
};

typedef bool map_eq(const struct map_node *node, const void *key);

void map_init(struct map *m);
/* Frees the table, not the elements. */
void map_done(struct map *m);

/* Makes the table: map_add cannot fail from then on, as a full table only gets slower. TTG_ENOMEM.
 */
int map_reserve(struct map *m);

/* NULL when there is none. */
struct map_node *map_find(const struct map *m, uint64_t hash, map_eq *eq, const void *key);

/* The caller has made sure that the key is not in yet. TTG_ENOMEM. */
int map_add(struct map *m, struct map_node *n, uint64_t hash);

/* The node is in the map. */
void map_remove(struct map *m, struct map_node *n);

/* Walks all nodes: start with NULL. The map must not change meanwhile, except that the node last
 * returned may be removed after the next one was asked for. */
struct map_node *map_next(const struct map *m, const struct map_node *n);

#endif
