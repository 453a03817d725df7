/* SPDX-License-Identifier: Apache-2.0 */
/* simulate - a computation that everybody can check: sleeps, then sums the parameters exactly. */
#include "worker/kernel_impl.h"

struct simulate_slot {
    struct kernel_slot base;
    struct loop_timer timer;
};

static struct simulate_slot *simulate_slot(struct kernel_slot *s)
{
    return container_of(s, struct simulate_slot, base);
}

static void compute(struct kernel_slot *s)
{
    /* At most 2^64 parameters, and |start + end| <= 2^64 with equality only for ranges of one: the
     * product stays below 2^127. */
    __int128 count = (__int128)s->task.end - s->task.start + 1;
    s->result.has_sum = true;
    s->result.sum = count * ((__int128)s->task.start + s->task.end) / 2;
}

static void on_slept(struct loop_timer *t)
{
    struct simulate_slot *ss = container_of(t, struct simulate_slot, timer);
    compute(&ss->base);
    kernel_finish(&ss->base);
}

static int simulate_open(struct kernel *k, struct err *err)
{
    (void)err;
    for (uint32_t i = 0; i < k->config.slots; i++)
        loop_timer_init(&simulate_slot(kernel_slot(k, i))->timer, k->loop, on_slept);
    return 0;
}

static bool simulate_start(struct kernel_slot *s)
{
    double params = (double)((__int128)s->task.end - s->task.start + 1);
    double sleep_ns = params * s->k->config.simulate_ms * 1e6;
    if (sleep_ns < 1) {
        compute(s);
        return true;
    }
    uint64_t until_ns = UINT64_MAX;
    if (sleep_ns < 1e19)
        until_ns = s->started_ns + (uint64_t)sleep_ns;
    if (until_ns < s->started_ns)
        until_ns = UINT64_MAX;
    if (loop_timer_at_ns(&simulate_slot(s)->timer, until_ns) == 0)
        return false;
    kernel_failed(s, KERNEL_FAILED, "out of memory");
    return true;
}

static void simulate_stop(struct kernel_slot *s)
{
    int rc = loop_timer_at_ns(&simulate_slot(s)->timer, 0); /* it is set: only moves */
    (void)rc;
}

static void simulate_close(struct kernel *k)
{
    for (uint32_t i = 0; i < k->config.slots; i++)
        loop_timer_stop(&simulate_slot(kernel_slot(k, i))->timer);
}

const struct kernel_ops simulate_ops = {
    .name = "simulate",
    .slot_bytes = sizeof(struct simulate_slot),
    .open = simulate_open,
    .start = simulate_start,
    .stop = simulate_stop,
    .close = simulate_close,
};
