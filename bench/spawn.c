/* SPDX-License-Identifier: Apache-2.0 */
/* The least that a command costs: posix_spawn and wait, WIDTH at a time, nothing else.
 *
 *     build/release/bench/spawn WIDTH COUNT CMD...
 *
 * Each command gets its number, from 0 on, as its last argument. Prints on standard error
 * microseconds a command, and how many of them this program itself was on a processor. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 100 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void start(char **argv, int argc, int number)
{
    pid_t pid;
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    argv[argc] = text; /* in the place of the NULL; there is one more */
    if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0) {
        perror(argv[0]);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: spawn WIDTH COUNT CMD...\n");
        return 2;
    }
    int width = atoi(argv[1]), count = atoi(argv[2]), started = 0, ended = 0;
    char *command[ARGUMENTS_MAX + 2] = {0};
    if (argc - 3 > ARGUMENTS_MAX)
        return 2;
    for (int i = 3; i < argc; i++)
        command[i - 3] = argv[i];
    double from = seconds();
    while (started < width && started < count) {
        start(command, argc - 3, started++);
    }
    while (ended < started) {
        if (wait(NULL) < 0)
            return 1;
        ended++;
        if (started < count) {
            start(command, argc - 3, started++);
        }
    }
    double wall = seconds() - from;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double own = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
    fprintf(stderr, "%.3f %.3f\n", wall / count * 1e6, own / count * 1e6);
    return 0;
}
