/* SPDX-License-Identifier: Apache-2.0 */
/* tree - elements in order of their key; intrusive, so neither adding nor removing allocates.
 *
 * A treap whose priorities are hashes of the nodes' addresses: balanced without any stored balance,
 * and an element that is already known is removed in O(1) expected. Adding behind the last element
 * is O(1) too, as most of our keys grow. The order depends on the keys alone. */
#ifndef TTG_BASE_TREE_H
#define TTG_BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>

struct tree_node {
    struct tree_node *parent, *left, *right;
};

struct tree {
    struct tree_node *root, *first, *last;
    size_t count;
};

/* Less than, equal to or greater than zero: how the node's key compares with `key`. */
typedef int tree_cmp(const struct tree_node *node, const void *key);

/* A zeroed tree is empty. */
static inline void tree_init(struct tree *t)
{
    *t = (struct tree){0};
}

/* NULL when there is none. */
struct tree_node *tree_find(const struct tree *t, const void *key, tree_cmp *cmp);
/* The first node that is not less than the key. */
struct tree_node *tree_ceil(const struct tree *t, const void *key, tree_cmp *cmp);

/* Adds the node, whose key is `key`. An equal node that is in already stays and is returned. */
struct tree_node *tree_add(struct tree *t, struct tree_node *n, const void *key, tree_cmp *cmp);

/* The node is in the tree. */
void tree_remove(struct tree *t, struct tree_node *n);

/* In order; NULL behind the end. */
struct tree_node *tree_next(const struct tree_node *n);
struct tree_node *tree_prev(const struct tree_node *n);

#endif
