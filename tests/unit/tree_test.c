/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/list.h"
#include "base/prng.h"
#include "base/tree.h"

enum { KEYS = 300 };

struct item {
    struct tree_node node;
    int key;
    bool in;
};

static int cmp(const struct tree_node *n, const void *key)
{
    return container_of(n, struct item, node)->key - *(const int *)key;
}

/* Links and order, from both ends, against which items are in. */
static void check(const struct tree *t, const struct item *items)
{
    const struct tree_node *n = t->first, *before = NULL;
    size_t count = 0;
    for (int key = 0; key < KEYS; key++) {
        const struct item *item = &items[key];
        const struct tree_node *found = tree_find(t, &key, cmp);
        assert_ptr_equal(found, item->in ? &item->node : NULL);
        const struct tree_node *ceil = tree_ceil(t, &key, cmp);
        assert_ptr_equal(ceil, n);
        if (!item->in)
            continue;
        assert_ptr_equal(n, &item->node);
        assert_ptr_equal(tree_prev(n), before);
        before = n;
        n = tree_next(n);
        count++;
    }
    assert_null(n);
    assert_ptr_equal(t->last, before);
    assert_int_equal(t->count, count);
}

static void agrees_with_a_table(void **state)
{
    (void)state;
    static struct item items[KEYS];
    struct prng p;
    struct tree t = {0};
    prng_init(&p, 1);
    for (int i = 0; i < KEYS; i++)
        items[i].key = i;
    for (int step = 0; step < 20000; step++) {
        struct item *item = &items[prng_below(&p, KEYS)];
        bool add = prng_chance(&p, step / 5000 % 2 ? 0.3 : 0.7);
        if (add) {
            struct tree_node *there = tree_add(&t, &item->node, &item->key, cmp);
            assert_ptr_equal(there, item->in ? &item->node : NULL);
            item->in = true;
        } else if (item->in) {
            tree_remove(&t, &item->node);
            item->in = false;
        }
        if (step % 50 == 0)
            check(&t, items);
    }
    check(&t, items);
}

static size_t depth(const struct tree_node *n)
{
    if (!n)
        return 0;
    size_t l = depth(n->left), r = depth(n->right);
    return 1 + (l > r ? l : r);
}

static void stays_shallow_when_keys_grow(void **state)
{
    (void)state;
    enum { N = 20000 };
    static struct item items[N];
    struct tree t = {0};
    for (int i = 0; i < N; i++) {
        items[i].key = i;
        assert_null(tree_add(&t, &items[i].node, &items[i].key, cmp));
    }
    assert_in_range(depth(t.root), 15, 80); /* 2 ln N is 20, a list would be N */
    for (int i = 0; i < N - 1; i++)
        tree_remove(&t, &items[i].node);
    assert_ptr_equal(t.first, t.last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_table),
        cmocka_unit_test(stays_shallow_when_keys_grow),
    };
    return tap_run(tests);
}
