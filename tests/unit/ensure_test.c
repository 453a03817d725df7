/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/ring.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char out[100000];

/* Runs `body` in a child; what it wrote to standard error is then in `out`. */
static int in_child(void (*body)(void))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n;
         len < sizeof out - 1 && (n = read(ends[0], out + len, sizeof out - 1 - len)) > 0;)
        len += (size_t)n;
    out[len] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void break_something(void)
{
    log_debug("before.one", kv_u64("n", 1));
    log_debug("before.two");
    int two = 2;
    ensure(two + two == 5);
}

static void stops_and_tells_what_went_before(void **state)
{
    (void)state;
    int status = in_child(break_something);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_ptr_equal(strstr(out, "ensure failed: two + two == 5 at "), out);
    const char *one = strstr(out, "DEBUG before.one n=1\n");
    assert_non_null(one);
    assert_non_null(strstr(one, "DEBUG before.two\n"));
}

static void dump_many(void)
{
    char line[300];
    memset(line, 'x', sizeof line);
    for (int i = 0; i < RING_LINES + 10; i++) {
        int n = snprintf(line, sizeof line, "line %d ", i);
        line[n] = 'x';
        ring_add(line, i % 2 ? (size_t)n : sizeof line);
    }
    ring_dump(STDERR_FILENO);
}

static void keeps_the_last_lines(void **state)
{
    (void)state;
    assert_int_equal(in_child(dump_many), 0);
    assert_ptr_equal(strstr(out, "line 10 x"), out); /* the oldest that is left */
    int count = 0;
    for (char *at = out, *end; (end = strchr(at, '\n')); at = end + 1, count++)
        assert_true(end - at <= RING_LINE_BYTES_MAX);
    assert_int_equal(count, RING_LINES);
    assert_null(strstr(out, "line 9 "));
    assert_non_null(strstr(out, "line 265 \n"));
}

static void dump_empty(void)
{
    ring_dump(STDERR_FILENO);
}

static void holds_when_true(void **state)
{
    (void)state;
    ensure(1 + 1 == 2);
    assert_int_equal(in_child(dump_empty), 0);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_when_true),
        cmocka_unit_test(stops_and_tells_what_went_before),
        cmocka_unit_test(keeps_the_last_lines),
    };
    return tap_run(tests);
}
