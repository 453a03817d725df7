/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "io/lock.h"
#include "tap.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char path[] = "/tmp/ttg-lock-XXXXXX";

static void one_has_it(void **state)
{
    (void)state;
    int a = open(path, O_RDWR | O_CLOEXEC), b = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(lock_file(a), 0);
    assert_int_equal(lock_file(b), TTG_EBUSY);
    assert_int_equal(lock_file(a), 0); /* whoever has it may ask again */
    close(a);
    assert_int_equal(lock_file(b), 0);
    close(b);
    assert_int_equal(lock_file(-1), TTG_EIO);
}

static void *go_soon(void *arg)
{
    const struct timespec a_while = {.tv_nsec = 100 * 1000000};
    nanosleep(&a_while, NULL);
    close(*(int *)arg);
    return NULL;
}

static void a_holder_about_to_go_is_waited_for(void **state)
{
    (void)state;
    pthread_t thread;
    int a = open(path, O_RDWR | O_CLOEXEC), b = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(lock_file(a), 0);
    assert_int_equal(pthread_create(&thread, NULL, go_soon, &a), 0);
    assert_int_equal(lock_file(b), 0);
    pthread_join(thread, NULL);
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_has_it),
        cmocka_unit_test(a_holder_about_to_go_is_waited_for),
    };
    close(mkstemp(path));
    int code = tap_run(tests);
    unlink(path);
    return code;
}
