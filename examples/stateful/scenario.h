/* SPDX-License-Identifier: Apache-2.0 */
/* What the three programs of the scenario agree on. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <stdio.h>
#include <stdlib.h>

#define QUEUE_1_2 "queue-1-2"
#define QUEUE_2_3 "queue-2-3"

/* Chunk `n` of a client carries the value 10 n, so that all of them sum to: */
static inline long long expected_sum(long long chunks)
{
    return 10 * chunks * (chunks + 1) / 2;
}

static inline const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && value[0] ? value : otherwise;
}

static inline long long setting_number(const char *name, long long otherwise)
{
    const char *value = getenv(name);
    return value && value[0] ? atoll(value) : otherwise;
}

/* A path of a Unix socket, or HOST:PORT. */
static inline const char *queue_address(void)
{
    return setting("QUEUE_ADDRESS", "run/queue.sock");
}

/* A line of the log is out at once. */
#define SAY(...) (printf(__VA_ARGS__), putchar('\n'), fflush(stdout))

#endif
