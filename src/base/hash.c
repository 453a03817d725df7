/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <pthread.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint32_t crc_table[256];
static int crc_hardware;
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_setup(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        crc_table[i] = c;
    }
#if defined(__x86_64__)
    crc_hardware = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t hash_crc32c_portable(uint32_t crc, const void *bytes, size_t len)
{
    pthread_once(&crc_once, crc_setup);
    const unsigned char *p = bytes;
    crc = ~crc;
    while (len-- > 0)
        crc = crc_table[(crc ^ *p++) & 255] ^ crc >> 8;
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse(uint32_t crc, const unsigned char *p,
                                                          size_t len)
{
    uint64_t c = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    for (; len > 0; len--)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
    return ~(uint32_t)c;
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *bytes, size_t len)
{
    pthread_once(&crc_once, crc_setup);
#if defined(__x86_64__)
    if (crc_hardware)
        return crc_sse(crc, bytes, len);
#endif
    return hash_crc32c_portable(crc, bytes, len);
}

uint64_t hash_xxh3(const void *bytes, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, len, seed);
}

uint64_t hash_xxh3_two(const void *a, size_t a_len, const void *b, size_t b_len, uint64_t seed)
{
    char small[240]; /* a state of its own costs more than copying a few bytes */
    if (a_len <= sizeof small && b_len <= sizeof small - a_len) {
        memcpy(small, a, a_len);
        if (b_len > 0)
            memcpy(small + a_len, b, b_len);
        return XXH3_64bits_withSeed(small, a_len + b_len, seed);
    }
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset_withSeed(&state, seed);
    XXH3_64bits_update(&state, a, a_len);
    XXH3_64bits_update(&state, b, b_len);
    return XXH3_64bits_digest(&state);
}
