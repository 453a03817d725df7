/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/hash.h"
#include "base/prng.h"

#include <string.h>

/* RFC 3720, B.4, and the check value of the catalogue of CRCs. */
static void crc_gives_the_published_values(void **state)
{
    (void)state;
    unsigned char zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) {
        up[i] = (unsigned char)i;
        down[i] = (unsigned char)(31 - i);
    }
    const struct {
        const void *bytes;
        size_t len;
        uint32_t crc;
    } cases[] = {
        {"", 0, 0},
        {"123456789", 9, 0xe3069283u},
        {zeros, 32, 0x8a9136aau},
        {ones, 32, 0x62a8ab43u},
        {up, 32, 0x46dd794eu},
        {down, 32, 0x113fdb5cu},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(hash_crc32c(0, cases[i].bytes, cases[i].len), cases[i].crc);
        assert_int_equal(hash_crc32c_portable(0, cases[i].bytes, cases[i].len), cases[i].crc);
    }
}

static void crc_is_the_same_with_and_without_the_instruction(void **state)
{
    (void)state;
    char bytes[600];
    struct prng p;
    prng_init(&p, 5);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)prng_u64(&p);
    for (size_t from = 0; from < 16; from++)
        for (size_t len = 0; len + from <= sizeof bytes; len += 1 + len / 16) {
            uint32_t crc = hash_crc32c(0, bytes + from, len);
            assert_int_equal(crc, hash_crc32c_portable(0, bytes + from, len));
            size_t cut = len / 3;
            uint32_t first = hash_crc32c(0, bytes + from, cut);
            assert_int_equal(crc, hash_crc32c(first, bytes + from + cut, len - cut));
            assert_int_equal(crc, hash_crc32c_portable(first, bytes + from + cut, len - cut));
        }
}

static void xxh3_is_the_published_one(void **state)
{
    (void)state;
    assert_true(hash_xxh3("", 0, 0) == 0x2d06800538d394c2u);
    assert_true(hash_xxh3("a", 1, 0) != hash_xxh3("a", 1, 1));
}

static void integers_do_not_collide(void **state)
{
    (void)state;
    enum { SLOTS = 1024 };
    int counts[SLOTS] = {0};
    for (uint64_t i = 0; i < 100 * SLOTS; i++)
        counts[hash_u64(i << 20) % SLOTS]++;
    for (int i = 0; i < SLOTS; i++)
        assert_in_range(counts[i], 40, 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_gives_the_published_values),
        cmocka_unit_test(crc_is_the_same_with_and_without_the_instruction),
        cmocka_unit_test(xxh3_is_the_published_one),
        cmocka_unit_test(integers_do_not_collide),
    };
    return tap_run(tests);
}
