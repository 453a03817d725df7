/* SPDX-License-Identifier: Apache-2.0 */
/* hash - crc32c guards what is stored, xxh3 spreads keys and digests results. */
#ifndef TTG_BASE_HASH_H
#define TTG_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli). Start with 0; pass the last value to go on over further bytes. */
uint32_t hash_crc32c(uint32_t crc, const void *bytes, size_t len);

/* The same without the processor's instruction: for machines that lack it, and for tests. */
uint32_t hash_crc32c_portable(uint32_t crc, const void *bytes, size_t len);

/* XXH3, 64 bits. */
uint64_t hash_xxh3(const void *bytes, size_t len, uint64_t seed);

/* The same over the bytes of `a` followed by those of `b`. */
uint64_t hash_xxh3_two(const void *a, size_t a_len, const void *b, size_t b_len, uint64_t seed);

/* Mixes an integer key. */
static inline uint64_t hash_u64(uint64_t x)
{
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

#endif
