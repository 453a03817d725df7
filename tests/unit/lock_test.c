/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "io/lock.h"
#include "tap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
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

static int held;

static void let_go(int signo)
{
    (void)signo;
    close(held);
}

/* By a signal: nobody else has to come to the processor for it while we wait. */
static void a_holder_about_to_go_is_waited_for(void **state)
{
    (void)state;
    const struct itimerval soon = {.it_value.tv_usec = 100 * 1000};
    int b = open(path, O_RDWR | O_CLOEXEC);
    held = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(lock_file(held), 0);
    signal(SIGALRM, let_go);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    assert_int_equal(lock_file(b), 0);
    signal(SIGALRM, SIG_DFL);
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
