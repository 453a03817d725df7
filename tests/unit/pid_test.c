/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pid.h"

#include "cmd/leftover.h"
#include "cmd/state_dir.h"
#include "tap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that does nothing until it is killed; leads a group of its own. */
static pid_t sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    assert_true(pid > 0);
    setpgid(pid, pid);
    return pid;
}

static void test_of_a_living_process(void **state)
{
    (void)state;
    struct pid_mark m = pid_mark(getpid());
    assert_true(m.start > 0);
    assert_int_equal(strlen(m.boot), PID_BOOT_BYTES - 1);
    assert_true(pid_lives(&m));
    m.start++;
    assert_false(pid_lives(&m)); /* the number was used again */
    assert_false(pid_signal(&m, SIGKILL, false));
    m.start--;
    m.boot[0] = m.boot[0] == '0' ? '1' : '0';
    assert_false(pid_lives(&m)); /* the machine was started again */
    assert_false(pid_signal(&m, SIGKILL, false));
}

static void test_of_a_dead_process(void **state)
{
    (void)state;
    pid_t pid = sleeper(), children[64];
    struct pid_mark m = pid_mark(pid);
    assert_true(pid_lives(&m));
    bool found = false;
    for (size_t n = pid_children(getpid(), children, 64); n > 0; n--)
        found = found || children[n - 1] == pid;
    assert_true(found);
    assert_true(pid_signal(&m, SIGKILL, true));
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(pid_lives(&m)); /* a zombie is gone */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(pid_lives(&m));
    assert_int_equal(pid_mark(pid).start, 0);
    assert_int_equal(pid_mark(0).start, 0);
    assert_int_equal(pid_mark(-1).start, 0);
}

static void test_notes(void **state)
{
    (void)state;
    char dir[] = "/tmp/ttg-leftover-XXXXXX", path[64];
    struct leftover found[LEFTOVER_MAX];
    struct err err;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(leftover_read(dir, found), 0);
    pid_t pid = sleeper();
    assert_int_equal(leftover_note(dir, pid, "server", &err), 0);
    assert_int_equal(leftover_note(dir, getpid(), "self", &err), 0);
    snprintf(path, sizeof path, "%s/processes", dir);
    int fd = open(path, O_WRONLY | O_APPEND);
    static const char junk[] = "\n1\n-1 2 x\n99999999999 1 1 y\n \xff\n1 1 notaboot z";
    assert_int_equal(write(fd, junk, sizeof junk - 1), sizeof junk - 1);
    close(fd);
    assert_int_equal(leftover_read(dir, found), 2);
    assert_string_equal(found[0].name, "server");
    assert_int_equal(found[0].mark.pid, pid);
    assert_string_equal(found[1].name, "self");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(leftover_read(dir, found), 1);
    assert_true(state_dir_remove(dir));
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_not_equal(leftover_note(dir, getpid(), "self", &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_a_living_process),
        cmocka_unit_test(test_of_a_dead_process),
        cmocka_unit_test(test_notes),
    };
    return tap_run(tests);
}
