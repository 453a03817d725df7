/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"
#include "base/heap.h"
#include "base/mem.h"
#include "base/prng.h"

enum { NODES = 300 };

static uint64_t smallest(const struct heap_node *nodes)
{
    uint64_t min = UINT64_MAX;
    for (int i = 0; i < NODES; i++)
        if (heap_has(&nodes[i]) && nodes[i].key < min)
            min = nodes[i].key;
    return min;
}

/* Random adding, moving and removing against a scan of all nodes. */
static void minimum_is_as_in_a_model(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 1);
    struct heap h;
    heap_init(&h);
    struct heap_node nodes[NODES] = {{0}};
    for (int step = 0; step < 20000; step++) {
        struct heap_node *n = &nodes[prng_below(&p, NODES)];
        if (prng_chance(&p, step % 4000 < 2000 ? 0.3 : 0.7))
            heap_remove(&h, n);
        else
            assert_int_equal(heap_set(&h, n, prng_below(&p, 1000)), 0);
        size_t count = 0;
        for (int i = 0; i < NODES; i++)
            count += heap_has(&nodes[i]);
        assert_int_equal(h.count, count);
        if (h.count == 0)
            assert_null(heap_min(&h));
        else
            assert_true(heap_min(&h)->key == smallest(nodes));
    }
    heap_done(&h);
}

static void takes_out_in_order(void **state)
{
    (void)state;
    struct heap h;
    heap_init(&h);
    struct heap_node nodes[NODES] = {{0}};
    for (uint64_t i = 0; i < NODES; i++)
        assert_int_equal(heap_set(&h, &nodes[i], i * 7919 % 100), 0);
    uint64_t last = 0;
    for (struct heap_node *n; (n = heap_min(&h));) {
        assert_true(n->key >= last);
        last = n->key;
        heap_remove(&h, n);
        heap_remove(&h, n); /* harmless */
        assert_false(heap_has(n));
    }
    heap_done(&h);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    struct heap h;
    heap_init(&h);
    struct heap_node nodes[NODES] = {{0}};
    for (int i = 0; i < NODES; i++) {
        mem_fail_at(1);
        int rc = heap_set(&h, &nodes[i], 1);
        int failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        assert_int_equal(heap_has(&nodes[i]), !failed);
        if (failed)
            assert_int_equal(heap_set(&h, &nodes[i], 1), 0);
    }
    mem_fail_at(1);
    assert_int_equal(heap_set(&h, &nodes[NODES / 2], 0), 0); /* moving needs no memory */
    mem_fail_at(0);
    assert_ptr_equal(heap_min(&h), &nodes[NODES / 2]);
    heap_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minimum_is_as_in_a_model),
        cmocka_unit_test(takes_out_in_order),
        cmocka_unit_test(survives_failed_allocations),
    };
    return tap_run(tests);
}
