/* SPDX-License-Identifier: Apache-2.0 */
/* nap - a command that takes a while: sleeps $BENCH_NAP_MS and prints its argument.
 *
 * Where workers have no environment of their own (xargs, parallel) their slot says who is slow:
 * $BENCH_SLOT 1 (counted by parallel) or 0 (by xargs) sleeps $BENCH_SLOW times as long. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv)
{
    const char *ms = getenv("BENCH_NAP_MS"), *slot = getenv("BENCH_SLOT"),
               *slow = getenv("BENCH_SLOW_SLOT"), *times = getenv("BENCH_SLOW");
    long sleep_ms = ms ? strtol(ms, NULL, 10) : 10;
    if (slot && slow && times && strtol(slot, NULL, 10) == strtol(slow, NULL, 10))
        sleep_ms *= strtol(times, NULL, 10);
    struct timespec t = {sleep_ms / 1000, sleep_ms % 1000 * 1000000};
    nanosleep(&t, NULL);
    printf("%s\n", argc > 1 ? argv[1] : "");
    return 0;
}
