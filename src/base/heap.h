/* SPDX-License-Identifier: Apache-2.0 */
/* heap - the smallest key first; any element can be moved or removed, as it knows its position.
 *
 * For timers. Elements are intrusive; the heap holds an array of pointers to them. */
#ifndef TTG_BASE_HEAP_H
#define TTG_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAP_NOWHERE = 0 };

struct heap_node {
    uint64_t key;
    size_t position; /* from 1; HEAP_NOWHERE when in no heap */
};

struct heap {
    struct heap_node **nodes; /* from index 1 */
    size_t count, cap;
};

void heap_init(struct heap *h);
void heap_done(struct heap *h);

static inline bool heap_has(const struct heap_node *n)
{
    return n->position != HEAP_NOWHERE;
}

/* NULL when empty. */
static inline struct heap_node *heap_min(const struct heap *h)
{
    return h->count ? h->nodes[1] : NULL;
}

/* Room for `count` nodes in all: heap_set then cannot fail up to there. TTG_ENOMEM. */
int heap_reserve(struct heap *h, size_t count);

/* Adds the node, or moves it when it is in the heap already. TTG_ENOMEM only when adding. */
int heap_set(struct heap *h, struct heap_node *n, uint64_t key);

/* Harmless when the node is in no heap. */
void heap_remove(struct heap *h, struct heap_node *n);

#endif
