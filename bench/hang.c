/* SPDX-License-Identifier: Apache-2.0 */
/* hang - a task that never ends: `hang NUMBER FILE` adds a line to FILE, "NUMBER PID PARENT NS"
 * (the monotonic clock), and waits for its death. Tells when and by whom a task was started. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec t;
    char line[128];
    if (argc != 3)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    int n = snprintf(line, sizeof line, "%s %d %d %lld\n", argv[1], (int)getpid(), (int)getppid(),
                     (long long)t.tv_sec * 1000000000 + t.tv_nsec);
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        return 1;
    for (;;)
        pause();
}
