/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/prng.h"

#include <string.h>

enum { KEYS = 3000 };

struct entry {
    struct map_node node;
    uint64_t key;
    bool in, seen;
};

static bool key_eq(const struct map_node *node, const void *key)
{
    return ((const struct entry *)(const void *)node)->key == *(const uint64_t *)key;
}

static struct entry *entry_of(struct map_node *n)
{
    return n ? container_of(n, struct entry, node) : NULL;
}

static struct entry entries[KEYS];

static void entries_init(void)
{
    memset(entries, 0, sizeof entries);
    for (uint64_t i = 0; i < KEYS; i++)
        entries[i].key = i;
}

/* Walks the map and finds each element that is in exactly once. */
static void check_walk(struct map *m)
{
    size_t count = 0;
    for (struct map_node *n = NULL; (n = map_next(m, n)); count++) {
        assert_true(entry_of(n)->in && !entry_of(n)->seen);
        entry_of(n)->seen = true;
    }
    assert_int_equal(count, m->count);
    for (int i = 0; i < KEYS; i++)
        entries[i].seen = false;
}

static uint64_t good_hash(uint64_t key)
{
    return hash_u64(key);
}

static uint64_t poor_hash(uint64_t key)
{
    return key % 7;
}

/* Random adding and removing against flags, while the table grows under it. */
static void check_model(uint64_t (*hash)(uint64_t key), uint64_t keys, int steps)
{
    struct prng p;
    prng_init(&p, 2);
    struct map m;
    map_init(&m);
    entries_init();
    size_t count = 0;
    for (int step = 0; step < steps; step++) {
        struct entry *e = &entries[prng_below(&p, keys)];
        assert_ptr_equal(entry_of(map_find(&m, hash(e->key), key_eq, &e->key)), e->in ? e : NULL);
        if (e->in)
            map_remove(&m, &e->node);
        else
            assert_int_equal(map_add(&m, &e->node, hash(e->key)), 0);
        e->in = !e->in;
        count += e->in ? 1 : (size_t)-1;
        assert_int_equal(m.count, count);
        if (step % 97 == 0)
            check_walk(&m);
    }
    check_walk(&m);
    map_done(&m);
}

static void behaves_like_a_set(void **state)
{
    (void)state;
    check_model(good_hash, KEYS, 20000);
}

static void survives_a_poor_hash(void **state)
{
    (void)state;
    check_model(poor_hash, 200, 3000);
}

static void walk_may_remove_what_it_passed(void **state)
{
    (void)state;
    for (size_t fill = 1; fill < 200; fill++) {
        struct map m;
        map_init(&m);
        entries_init();
        for (size_t i = 0; i < fill; i++)
            assert_int_equal(map_add(&m, &entries[i].node, hash_u64(entries[i].key)), 0);
        size_t count = 0;
        for (struct map_node *n = map_next(&m, NULL), *next; n; n = next, count++) {
            next = map_next(&m, n);
            map_remove(&m, n);
        }
        assert_int_equal(count, fill);
        assert_int_equal(m.count, 0);
        assert_null(map_next(&m, NULL));
        map_done(&m);
    }
}

static void same_history_same_order(void **state)
{
    (void)state;
    static uint64_t order[KEYS];
    for (int round = 0; round < 2; round++) {
        struct map m;
        map_init(&m);
        entries_init();
        for (int i = 0; i < KEYS; i++)
            assert_int_equal(map_add(&m, &entries[i].node, hash_u64(entries[i].key)), 0);
        for (int i = 0; i < KEYS; i += 3)
            map_remove(&m, &entries[i].node);
        size_t at = 0;
        for (struct map_node *n = NULL; (n = map_next(&m, n)); at++) {
            if (round == 0)
                order[at] = entry_of(n)->key;
            else
                assert_int_equal(order[at], entry_of(n)->key);
        }
        map_done(&m);
    }
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    entries_init();
    assert_null(map_find(&m, 1, key_eq, &entries[0].key));
    assert_null(map_next(&m, NULL));
    mem_fail_at(1);
    assert_int_equal(map_add(&m, &entries[0].node, 1), TTG_ENOMEM);
    mem_fail_at(0);
    for (int i = 0; i < KEYS; i++) { /* the first table stays the only one, and full */
        assert_int_equal(map_add(&m, &entries[i].node, hash_u64(entries[i].key)), 0);
        entries[i].in = true;
        mem_fail_at(1);
    }
    mem_fail_at(0);
    check_walk(&m);
    for (int i = 0; i < KEYS; i++)
        assert_non_null(map_find(&m, hash_u64(entries[i].key), key_eq, &entries[i].key));
    map_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_a_set),
        cmocka_unit_test(survives_a_poor_hash),
        cmocka_unit_test(walk_may_remove_what_it_passed),
        cmocka_unit_test(same_history_same_order),
        cmocka_unit_test(survives_failed_allocations),
    };
    return tap_run(tests);
}
