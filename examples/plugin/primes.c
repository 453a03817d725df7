/* SPDX-License-Identifier: Apache-2.0 */
/* primes - a plugin: sums the primes of each chunk.
 *
 *     make -C examples/plugin
 *     ttg run --range 1..1000000 --chunk 10000 --plugin examples/plugin/primes.so
 *
 * The job's sum is then the sum of all primes up to 1,000,000: 37550402023. Copy this directory to
 * start a plugin of your own; <ttg/plugin.h> explains each part. */
#include <stdbool.h>
#include <ttg/plugin.h>

enum { STEPS_BETWEEN_LOOKS = 4096 };

static bool is_prime(int64_t n)
{
    if (n < 2)
        return false;
    for (int64_t d = 2; d <= n / d; d += d == 2 ? 1 : 2)
        if (n % d == 0)
            return false;
    return true;
}

static int run(void *state, struct ttg_call *call)
{
    (void)state;
    ttg_sum(call, 0); /* a chunk without primes has a sum too */
    for (int64_t n = call->start;; n++) {
        if (n % STEPS_BETWEEN_LOOKS == 0 && ttg_stopped(call))
            return TTG_RETRY;
        if (is_prime(n))
            ttg_sum(call, n);
        if (n == call->end) /* not n <= end: end may be the greatest number there is */
            return TTG_DONE;
    }
}

TTG_PLUGIN(.name = "primes", .run = run);
