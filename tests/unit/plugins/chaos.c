/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that kill: tells in a file when a chunk starts and ends, and takes its time between.
 *
 * The argument is MS:PATH. A line is `S|E nanoseconds chunk attempt pid slot`, written by one
 * append, so lines of several processes do not mix and a kill tears none. While there is a file
 * PATH.limit, the chunks from the number in it on wait: so a job is as far as a test wants it. */
#include <ttg/plugin.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct slot {
    long ms;
    int fd;
    char limit[512]; /* name of a file */
};

static int init(uint32_t number, const char *arg, void **ret_state, char *reason)
{
    struct slot *s = malloc(sizeof *s);
    char *path;
    (void)number;
    if (!s)
        return -1;
    s->ms = strtol(arg ? arg : "", &path, 10);
    s->fd = *path == ':' ? open(path + 1, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    if (s->fd < 0) {
        snprintf(reason, 256, "the argument has to be MS:PATH");
        free(s);
        return -1;
    }
    snprintf(s->limit, sizeof s->limit, "%s.limit", path + 1);
    *ret_state = s;
    return 0;
}

static void done(void *state)
{
    struct slot *s = state;
    close(s->fd);
    free(s);
}

static int note(const struct slot *s, const struct ttg_call *call, char what)
{
    struct timespec now;
    char line[128];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int n = snprintf(line, sizeof line, "%c %lld %llu %u %d %u\n", what,
                     (long long)now.tv_sec * 1000000000 + now.tv_nsec,
                     (unsigned long long)call->chunk, call->attempt, (int)getpid(), call->slot);
    return write(s->fd, line, (size_t)n) == n ? 0 : -1;
}

static bool may_run(const struct slot *s, uint64_t chunk)
{
    char text[24] = "";
    int fd = open(s->limit, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n > 0 && chunk < strtoull(text, NULL, 10);
}

/* Each 53rd chunk takes ten times as long as others, so that work is never in step. */
static int run(void *state, struct ttg_call *call)
{
    const struct slot *s = state;
    long ms = call->chunk % 53 == 7 ? s->ms * 10 : s->ms;
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    if (note(s, call, 'S'))
        return TTG_RETRY;
    while (!may_run(s, call->chunk))
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    nanosleep(&pause, NULL);
    for (int64_t i = call->start;; i++) {
        ttg_sum(call, i);
        if (i == call->end)
            break;
    }
    return note(s, call, 'E') ? TTG_RETRY : TTG_DONE;
}

TTG_PLUGIN(.name = "chaos", .run = run, .init = init, .done = done);
