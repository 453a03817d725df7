/* SPDX-License-Identifier: Apache-2.0 */
/* pingpong - the least that a task to another process and its result back can cost, one at a time
 * per worker: one process hands out numbers over socket pairs, WORKERS processes send each back.
 *
 *     pingpong WORKERS COUNT      prints {"seconds":, "count":, "total":} */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 1024 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void work(int fd)
{
    uint64_t n;
    while (read(fd, &n, sizeof n) == sizeof n)
        if (write(fd, &n, sizeof n) != sizeof n)
            break;
    _exit(0);
}

static void start_worker(int epoll, int fds[2])
{
    struct epoll_event e = {.events = EPOLLIN};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        exit(1);
    if (fork() == 0) {
        close(fds[0]);
        work(fds[1]);
    }
    close(fds[1]);
    e.data.fd = fds[0];
    epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &e);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int workers = (int)strtol(argv[1], NULL, 10), epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t count = strtoull(argv[2], NULL, 10), sent = 0, done = 0, total = 0, n;
    struct epoll_event events[WORKERS_MAX];
    int fds[WORKERS_MAX][2];
    if (workers < 1 || workers > WORKERS_MAX)
        return 2;
    for (int i = 0; i < workers; i++)
        start_worker(epoll, fds[i]);
    double from = seconds();
    for (int i = 0; i < workers && sent < count; i++, sent++)
        if (write(fds[i][0], &sent, sizeof sent) < 0)
            return 1;
    while (done < count) {
        int ready = epoll_wait(epoll, events, WORKERS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (read(fd, &n, sizeof n) != sizeof n)
                return 1;
            done++;
            total += n;
            if (sent < count && write(fd, &sent, sizeof sent) > 0)
                sent++;
        }
    }
    printf("{\"seconds\": %.6f, \"count\": %llu, \"total\": %llu}\n", seconds() - from,
           (unsigned long long)done, (unsigned long long)total);
    return 0;
}
