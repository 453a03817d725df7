/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"

#include <pthread.h>
#include <string.h>

static void gives_memory(void **state)
{
    (void)state;
    char *z = mem_zalloc(100), zeros[100] = {0};
    assert_memory_equal(z, zeros, 100);
    z = mem_realloc(z, 200);
    assert_memory_equal(z, zeros, 100);
    mem_free(z);
    void *none = mem_alloc(0), *zero = mem_zalloc(0), *again = mem_realloc(NULL, 0);
    assert_true(none && zero && again);
    mem_free(none);
    mem_free(zero);
    mem_free(again);
    mem_free(NULL);
    char *copy = mem_dup("a\0b", 3);
    assert_memory_equal(copy, "a\0b", 4);
    mem_free(copy);
    copy = mem_dup(NULL, 0);
    assert_string_equal(copy, "");
    mem_free(copy);
    copy = mem_strdup("text");
    assert_string_equal(copy, "text");
    mem_free(copy);
}

static void refuses_overflow(void **state)
{
    (void)state;
    volatile size_t many = SIZE_MAX / 2 + 1; /* volatile: or the compiler warns, rightly */
    assert_null(mem_array(many, 2));
    assert_null(mem_dup("x", SIZE_MAX));
    void *some = mem_array(3, 5);
    assert_non_null(some);
    mem_free(some);
}

static void fails_once_where_told(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 4; n++) {
        mem_fail_at(n);
        void *got[4] = {mem_alloc(1), mem_zalloc(1), mem_realloc(NULL, 1), mem_dup("x", 1)};
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(got[i] == NULL, i + 1 == n);
            mem_free(got[i]);
        }
        assert_true(mem_failed());
    }
    mem_fail_at(0);
    assert_false(mem_failed());
    void *p = mem_alloc(1);
    assert_non_null(p);
    mem_fail_at(1);
    assert_null(mem_realloc(p, 100)); /* and p is still ours */
    mem_fail_at(0);
    mem_free(p);
}

static void *allocate(void *unused)
{
    (void)unused;
    void *p = mem_alloc(1);
    mem_free(p);
    return p ? p : NULL;
}

static void other_threads_are_not_hit(void **state)
{
    (void)state;
    pthread_t thread;
    void *got = NULL;
    mem_fail_at(1);
    assert_int_equal(pthread_create(&thread, NULL, allocate, NULL), 0);
    assert_int_equal(pthread_join(thread, &got), 0);
    assert_non_null(got);
    assert_false(mem_failed());
    mem_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_memory),
        cmocka_unit_test(refuses_overflow),
        cmocka_unit_test(fails_once_where_told),
        cmocka_unit_test(other_threads_are_not_hit),
    };
    return tap_run(tests);
}
