/* SPDX-License-Identifier: Apache-2.0 */
#include "base/prng.h"

#include "base/ensure.h"

void prng_init(struct prng *p, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        p->s[i] = z ^ z >> 31;
    }
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t prng_u64(struct prng *p)
{
    uint64_t *s = p->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *p, uint64_t bound)
{
    ensure(bound > 0);
    /* Lemire 2019: the high half of a product; the few uneven low values are drawn again. */
    __uint128_t m = (__uint128_t)prng_u64(p) * bound;
    if ((uint64_t)m < bound)
        for (uint64_t floor = (0 - bound) % bound; (uint64_t)m < floor;)
            m = (__uint128_t)prng_u64(p) * bound;
    return (uint64_t)(m >> 64);
}

double prng_unit(struct prng *p)
{
    return (double)(prng_u64(p) >> 11) * 0x1p-53;
}

bool prng_chance(struct prng *p, double probability)
{
    return prng_unit(p) < probability;
}
