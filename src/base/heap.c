/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"

void heap_init(struct heap *h)
{
    *h = (struct heap){0};
}

void heap_done(struct heap *h)
{
    mem_free(h->nodes);
    *h = (struct heap){0};
}

static void heap_put(struct heap *h, size_t at, struct heap_node *n)
{
    h->nodes[at] = n;
    n->position = at;
}

static void heap_sift(struct heap *h, size_t at)
{
    struct heap_node *n = h->nodes[at];
    for (; at > 1 && h->nodes[at / 2]->key > n->key; at /= 2)
        heap_put(h, at, h->nodes[at / 2]);
    for (size_t child; (child = at * 2) <= h->count; at = child) {
        if (child < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (h->nodes[child]->key >= n->key)
            break;
        heap_put(h, at, h->nodes[child]);
    }
    heap_put(h, at, n);
}

int heap_reserve(struct heap *h, size_t count)
{
    if (count < h->cap) /* index 0 is unused */
        return 0;
    size_t cap = h->cap ? h->cap * 2 : 16;
    while (cap <= count)
        cap *= 2;
    struct heap_node **nodes = mem_realloc(h->nodes, cap * sizeof(struct heap_node *));
    if (!nodes)
        return TTG_ENOMEM;
    h->nodes = nodes;
    h->cap = cap;
    return 0;
}

int heap_set(struct heap *h, struct heap_node *n, uint64_t key)
{
    if (!heap_has(n)) {
        int rc = heap_reserve(h, h->count + 1);
        if (rc)
            return rc;
        heap_put(h, ++h->count, n);
    }
    n->key = key;
    heap_sift(h, n->position);
    return 0;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (!heap_has(n))
        return;
    size_t at = n->position;
    ensure(at <= h->count && h->nodes[at] == n);
    struct heap_node *last = h->nodes[h->count--];
    n->position = HEAP_NOWHERE;
    if (last == n)
        return;
    heap_put(h, at, last);
    heap_sift(h, at);
}
