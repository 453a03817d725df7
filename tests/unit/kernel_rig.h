/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_rig - what the kernels' tests share: a loop, a kernel, and one chunk run to its end. */
#ifndef TESTS_KERNEL_RIG_H
#define TESTS_KERNEL_RIG_H

#include "tap.h"

#include "base/buf.h"
#include "base/mem.h"
#include "io/loop.h"
#include "worker/kernel.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct rig {
    struct loop *loop;
    struct kernel *kernel;
    struct kernel_config config;
    struct kernel_result result[4];
    unsigned done[4];
    bool drained;
};

static struct rig rig;

static void rig_on_done(void *ctx, uint32_t slot, const struct kernel_result *r)
{
    assert_ptr_equal(ctx, &rig);
    rig.result[slot] = *r;
    rig.done[slot]++;
}

static void rig_on_drained(void *ctx)
{
    (void)ctx;
    rig.drained = true;
}

__attribute__((unused)) static int rig_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int rig_fds_before;

static int rig_setup(void **state)
{
    (void)state;
    rig = (struct rig){0};
    rig_fds_before = rig_fds();
    kernel_config_init(&rig.config);
    rig.config.on_done = rig_on_done;
    rig.config.ctx = &rig;
    rig.config.worker = "worker-7";
    rig.config.kill_grace_ms = 200;
    return loop_open(&rig.loop, NULL);
}

/* Nothing may be left: no descriptor, no child, no zombie. */
static int rig_teardown(void **state)
{
    (void)state;
    kernel_close(rig.kernel);
    loop_close(rig.loop);
    assert_int_equal(rig_fds(), rig_fds_before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    return 0;
}

__attribute__((unused)) static void rig_open(void)
{
    struct err err = {0};
    int rc = kernel_open(&rig.kernel, rig.loop, &rig.config, &err);
    if (rc)
        fail_msg("kernel_open: %s", err.text);
}

__attribute__((unused)) static void rig_open_command(enum kernel_type type, char *const *argv)
{
    rig.config.type = type;
    rig.config.argv = argv;
    rig_open();
}

static struct kernel_task rig_task(int64_t start, int64_t end)
{
    return (struct kernel_task){
        .chunk = 42, .start = start, .end = end, .attempt = 1, .job = "sweep"};
}

/* True: over at once. */
__attribute__((unused)) static bool rig_start(uint32_t slot, struct kernel_task t)
{
    rig.done[slot] = 0;
    bool over = kernel_start(rig.kernel, slot, &t, &rig.result[slot]);
    rig.done[slot] = over;
    return over;
}

/* Turns until the slot's chunk is over; 20 s at most. */
__attribute__((unused)) static struct kernel_result *rig_wait(uint32_t slot)
{
    uint64_t until_ns = loop_now_ns(rig.loop) + 20000000000u;
    while (!rig.done[slot]) {
        assert_int_equal(loop_turn(rig.loop, 100), 0);
        assert_true(loop_now_ns(rig.loop) < until_ns);
    }
    assert_int_equal(rig.done[slot], 1);
    return &rig.result[slot];
}

__attribute__((unused)) static struct kernel_result *rig_run(int64_t start, int64_t end)
{
    rig_start(0, rig_task(start, end));
    return rig_wait(0);
}

__attribute__((unused)) static void rig_drain(void)
{
    kernel_drain(rig.kernel, rig_on_drained, NULL);
    uint64_t until_ns = loop_now_ns(rig.loop) + 20000000000u;
    while (!rig.drained) {
        assert_int_equal(loop_turn(rig.loop, 100), 0);
        assert_true(loop_now_ns(rig.loop) < until_ns);
    }
}

#define assert_str(s, text)                                                                        \
    do {                                                                                           \
        struct str rig_s_ = (s);                                                                   \
        if (!str_eq(rig_s_, str_of(text)))                                                         \
            fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(rig_s_), text);                             \
    } while (0)
#define assert_has(s, part)                                                                        \
    do {                                                                                           \
        struct str rig_s_ = (s);                                                                   \
        if (!memmem(rig_s_.ptr, rig_s_.len, part, strlen(part)))                                   \
            fail_msg("\"%.*s\" has no \"%s\"", STR_ARG(rig_s_), part);                             \
    } while (0)

/* An argv of literals. */
#define RIG_ARGV(...) ((char **)(uintptr_t)(const char *[]){__VA_ARGS__, NULL})

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

#endif
