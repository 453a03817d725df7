/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tree.h"

#include "base/ensure.h"
#include "base/hash.h"

#include <stdint.h>

static uint64_t priority(const struct tree_node *n)
{
    return hash_u64((uint64_t)(uintptr_t)n);
}

struct tree_node *tree_find(const struct tree *t, const void *key, tree_cmp *cmp)
{
    for (struct tree_node *n = t->root; n;) {
        int c = cmp(n, key);
        if (c == 0)
            return n;
        n = c > 0 ? n->left : n->right;
    }
    return NULL;
}

struct tree_node *tree_ceil(const struct tree *t, const void *key, tree_cmp *cmp)
{
    struct tree_node *best = NULL;
    for (struct tree_node *n = t->root; n;) {
        if (cmp(n, key) >= 0) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

/* `to` takes the place of `n` below n's parent; it may be NULL. */
static void replace(struct tree *t, struct tree_node *n, struct tree_node *to)
{
    struct tree_node *parent = n->parent;
    if (!parent)
        t->root = to;
    else if (parent->left == n)
        parent->left = to;
    else
        parent->right = to;
    if (to)
        to->parent = parent;
}

/* Lifts `n` above its parent; the order stays. */
static void rotate_up(struct tree *t, struct tree_node *n)
{
    struct tree_node *p = n->parent;
    replace(t, p, n);
    struct tree_node *moved;
    if (p->left == n) {
        moved = n->right;
        p->left = moved;
        n->right = p;
    } else {
        moved = n->left;
        p->right = moved;
        n->left = p;
    }
    if (moved)
        moved->parent = p;
    p->parent = n;
}

struct tree_node *tree_add(struct tree *t, struct tree_node *n, const void *key, tree_cmp *cmp)
{
    struct tree_node *parent = NULL, **link = &t->root;
    bool leftmost = true, rightmost = true;
    if (t->last && cmp(t->last, key) < 0) {
        parent = t->last;
        link = &parent->right;
        leftmost = false;
    } else {
        while (*link) {
            parent = *link;
            int c = cmp(parent, key);
            if (c == 0)
                return parent;
            link = c > 0 ? &parent->left : &parent->right;
            if (c > 0)
                rightmost = false;
            else
                leftmost = false;
        }
    }
    *n = (struct tree_node){.parent = parent};
    *link = n;
    if (leftmost)
        t->first = n;
    if (rightmost)
        t->last = n;
    t->count++;
    for (uint64_t mine = priority(n); n->parent && priority(n->parent) < mine;)
        rotate_up(t, n);
    return NULL;
}

void tree_remove(struct tree *t, struct tree_node *n)
{
    ensure(t->count > 0);
    if (t->first == n)
        t->first = tree_next(n);
    if (t->last == n)
        t->last = tree_prev(n);
    while (n->left && n->right)
        rotate_up(t, priority(n->left) > priority(n->right) ? n->left : n->right);
    replace(t, n, n->left ? n->left : n->right);
    *n = (struct tree_node){0};
    t->count--;
}

struct tree_node *tree_next(const struct tree_node *n)
{
    struct tree_node *at = n->right;
    if (at) {
        while (at->left)
            at = at->left;
        return at;
    }
    for (at = n->parent; at && at->right == n; at = at->parent)
        n = at;
    return at;
}

struct tree_node *tree_prev(const struct tree_node *n)
{
    struct tree_node *at = n->left;
    if (at) {
        while (at->right)
            at = at->right;
        return at;
    }
    for (at = n->parent; at && at->left == n; at = at->parent)
        n = at;
    return at;
}
