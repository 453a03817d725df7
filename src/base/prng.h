/* SPDX-License-Identifier: Apache-2.0 */
/* prng - reproducible random numbers (xoshiro256**, seeded by splitmix64). Not for secrets. */
#ifndef TTG_BASE_PRNG_H
#define TTG_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t s[4];
};

void prng_init(struct prng *p, uint64_t seed);
uint64_t prng_u64(struct prng *p);

/* Even over 0 .. bound-1; bound > 0. */
uint64_t prng_below(struct prng *p, uint64_t bound);

/* Even over [0, 1). */
double prng_unit(struct prng *p);

/* True with the given probability. */
bool prng_chance(struct prng *p, double probability);

#endif
