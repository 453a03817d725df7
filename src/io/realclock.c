/* SPDX-License-Identifier: Apache-2.0 */
#include "io/realclock.h"

#include <time.h>

static uint64_t real_mono_ns(struct clock *c)
{
    (void)c;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t real_wall_ms(struct clock *c)
{
    (void)c;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct clock *realclock(void)
{
    static struct clock clock = {real_mono_ns, real_wall_ms};
    return &clock;
}
