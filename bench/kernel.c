/* SPDX-License-Identifier: Apache-2.0 */
/* What a chunk costs in a kernel alone, without queue and commit.
 *
 *     build/release/bench/kernel WIDTH COUNT simulate
 *     build/release/bench/kernel WIDTH COUNT exec CMD...
 *     build/release/bench/kernel WIDTH COUNT coproc CMD...
 *     build/release/bench/kernel WIDTH COUNT plugin LIB.so
 *
 * Each chunk is one parameter. Prints microseconds a chunk, and how many of them this program
 * itself was on a processor. */
#include "worker/kernel.h"
#include "io/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static struct loop *loop;
static struct kernel *kernel;
static uint64_t started, ended, count;

static void check(const struct kernel_result *r)
{
    if (r->status != KERNEL_OK) {
        fprintf(stderr, "chunk failed: %.*s\n", STR_ARG(r->reason));
        exit(1);
    }
    ended++;
}

/* Chunks in this slot until one goes on by itself. */
static void feed(uint32_t slot)
{
    while (started < count) {
        struct kernel_result r;
        int64_t i = (int64_t)started++;
        struct kernel_task t = {
            .chunk = (uint64_t)i, .start = i, .end = i, .attempt = 1, .job = "bench"};
        if (!kernel_start(kernel, slot, &t, &r))
            return;
        check(&r);
    }
}

static void on_done(void *ctx, uint32_t slot, const struct kernel_result *r)
{
    (void)ctx;
    check(r);
    feed(slot);
    if (ended == count)
        loop_stop(loop);
}

static enum kernel_type type_of(const char *name)
{
    static const char *const names[] = {"simulate", "exec", "coproc", "plugin"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum kernel_type)i;
    fprintf(stderr, "no kernel %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: kernel WIDTH COUNT simulate|exec|coproc|plugin [ARG...]\n");
        return 2;
    }
    struct kernel_config c;
    struct err err = {0};
    kernel_config_init(&c);
    c.slots = (uint32_t)atoi(argv[1]);
    count = strtoull(argv[2], NULL, 10);
    c.type = type_of(argv[3]);
    c.argv = argv + 4;
    c.plugin = argv[4];
    c.on_done = on_done;
    if (loop_open(&loop, &err) || kernel_open(&kernel, loop, &c, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    uint64_t from_ns = loop_now_update(loop);
    for (uint32_t slot = 0; slot < c.slots; slot++)
        feed(slot);
    if (ended < count)
        loop_run(loop);
    double wall_us = (double)(loop_now_update(loop) - from_ns) / 1e3;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double own_us = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
                    (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    printf("%.3f %.3f\n", wall_us / (double)count, own_us / (double)count);
    kernel_close(kernel);
    loop_close(loop);
    return 0;
}
