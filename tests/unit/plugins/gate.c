/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that do something in the middle of a job: it does not end before they have done it.
 *
 * The argument is MS:PATH. The file holds two int64 in the machine's order: how many chunks may
 * begin, and how many wanted to, which is counted here. Those that may take MS, the others wait. */
#include <ttg/plugin.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct counts {
    _Atomic int64_t allowed, begun;
};

struct gate {
    long ms;
    struct counts *counts;
};

static struct counts *map(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = fd < 0
                   ? MAP_FAILED
                   : mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return at == MAP_FAILED ? NULL : at;
}

static int init(uint32_t number, const char *arg, void **ret_state, char *reason)
{
    struct gate *g = malloc(sizeof *g);
    char *path;
    (void)number;
    if (!g)
        return -1;
    g->ms = strtol(arg ? arg : "", &path, 10);
    g->counts = *path == ':' ? map(path + 1) : NULL;
    if (!g->counts) {
        snprintf(reason, 256, "the argument has to be MS:PATH");
        free(g);
        return -1;
    }
    *ret_state = g;
    return 0;
}

static void done(void *state)
{
    struct gate *g = state;
    munmap(g->counts, sizeof *g->counts);
    free(g);
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static int run(void *state, struct ttg_call *call)
{
    const struct gate *g = state;
    int64_t ticket = atomic_fetch_add(&g->counts->begun, 1);
    while (ticket >= atomic_load(&g->counts->allowed)) {
        if (ttg_stopped(call))
            return TTG_RETRY;
        pause_ms(5);
    }
    pause_ms(g->ms);
    for (int64_t i = call->start;; i++) {
        ttg_sum(call, i);
        if (i == call->end)
            return TTG_DONE;
    }
}

TTG_PLUGIN(.name = "gate", .run = run, .init = init, .done = done);
