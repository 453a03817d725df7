/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "io/hugeheap.h"

#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 1 << 20, PAGE = 65536 /* and a multiple of any */ };

/* What the child leaves is gone for it alone, and it goes on. */
static void a_child_leaves_the_heap(void **state)
{
    (void)state;
    struct hugeheap h;
    hugeheap_init(&h);
    char *heap = sbrk(BYTES + 2 * PAGE);
    assert_true(heap != (void *)-1);
    memset(heap, 'x', BYTES + 2 * PAGE);
    assert_true(hugeheap_bytes(&h) >= BYTES + 2 * PAGE);
    pid_t child = fork();
    if (child == 0) {
        volatile const char *at = heap;
        bool gone = true;
        hugeheap_leave(&h);
        for (size_t i = PAGE; i < BYTES; i += 4096)
            gone = gone && at[i] == 0;
        _exit(gone ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (size_t i = 0; i < BYTES + 2 * PAGE; i++)
        assert_int_equal(heap[i], 'x');
}

static void leaves_nothing_where_nothing_is(void **state)
{
    (void)state;
    struct hugeheap none = {0}, empty;
    hugeheap_leave(&none);
    assert_int_equal(hugeheap_bytes(&none), 0);
    hugeheap_init(&empty);
    hugeheap_leave(&empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_leaves_the_heap),
        cmocka_unit_test(leaves_nothing_where_nothing_is),
    };
    return tap_run(tests);
}
