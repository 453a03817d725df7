/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pid.h"

#include "base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STAT_BYTES = 1024, START_FIELD = 22 };

/* The first bytes of a small file; without a NUL at the end there is one. */
static size_t read_some(const char *path, char *out, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, bytes - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

/* Field 22 of /proc/PID/stat. The name, field 2, may hold anything, so we start behind it. */
static uint64_t start_of(pid_t pid)
{
    char path[64], text[STAT_BYTES];
    uint64_t start = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    read_some(path, text, sizeof text);
    char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
        return 0;
    struct str rest = str_of(at + 2), word = {0};
    for (int field = 3; field <= START_FIELD && rest.ptr; field++)
        word = str_cut(rest, ' ', &rest);
    return str_to_u64(word, &start) ? 0 : start;
}

struct pid_mark pid_mark(pid_t pid)
{
    struct pid_mark m = {.pid = pid, .start = pid > 0 ? start_of(pid) : 0};
    read_some("/proc/sys/kernel/random/boot_id", m.boot, sizeof m.boot);
    return m;
}

bool pid_lives(const struct pid_mark *mark)
{
    struct pid_mark now = pid_mark(mark->pid);
    return now.start > 0 && now.start == mark->start && strcmp(now.boot, mark->boot) == 0;
}

bool pid_signal(const struct pid_mark *mark, int signo, bool group)
{
    /* The descriptor holds on to the process, so that the look counts for what follows. */
    int fd = (int)syscall(SYS_pidfd_open, mark->pid, 0);
    bool done = fd >= 0 && pid_lives(mark);
    if (done && group && getpgid(mark->pid) == mark->pid)
        done = kill(-mark->pid, signo) == 0;
    else if (done)
        done = syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0) == 0;
    if (fd >= 0)
        close(fd);
    return done;
}

size_t pid_children(pid_t pid, pid_t *out, size_t max)
{
    char path[64], text[4096];
    size_t count = 0;
    uint64_t number;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    struct str rest = str_make(text, read_some(path, text, sizeof text));
    while (rest.ptr && count < max) {
        struct str word = str_cut(rest, ' ', &rest);
        if (str_to_u64(word, &number) == 0 && number > 0 && number < INT32_MAX)
            out[count++] = (pid_t)number;
    }
    return count;
}
