/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/pack.h"

#include <math.h>
#include <string.h>

static const uint64_t numbers[] = {0,         1,          0x7f,           0x80,
                                   0x3fff,    0x4000,     UINT32_MAX,     (uint64_t)UINT32_MAX + 1,
                                   INT64_MAX, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};
static const int64_t signeds[] = {0, -1, 1, 63, 64, -64, -65, INT64_MAX, INT64_MIN};
static const double doubles[] = {0, -0.0, 1.5, -1e300, 5e-324, INFINITY};

static int pack_all(struct buf *b)
{
    struct packer p = {b, 0};
    for (size_t i = 0; i < COUNT(numbers); i++)
        pack_u64(&p, numbers[i]);
    for (size_t i = 0; i < COUNT(signeds); i++)
        pack_i64(&p, signeds[i]);
    for (size_t i = 0; i < COUNT(doubles); i++)
        pack_f64(&p, doubles[i]);
    pack_str(&p, STR("some\0bytes"));
    pack_str(&p, STR(""));
    return p.rc;
}

/* Takes apart what pack_all wrote; compares only as long as there is no error. */
static int unpack_all(struct str bytes)
{
    struct unpacker u = unpack_of(bytes);
    for (size_t i = 0; i < COUNT(numbers); i++)
        if (unpack_u64(&u) != numbers[i])
            assert_int_equal(u.rc, TTG_ECORRUPT);
    for (size_t i = 0; i < COUNT(signeds); i++)
        if (unpack_i64(&u) != signeds[i])
            assert_int_equal(u.rc, TTG_ECORRUPT);
    for (size_t i = 0; i < COUNT(doubles); i++) {
        double d = unpack_f64(&u);
        if (memcmp(&d, &doubles[i], sizeof d) != 0)
            assert_int_equal(u.rc, TTG_ECORRUPT);
    }
    if (!str_eq(unpack_str(&u), STR("some\0bytes")))
        assert_int_equal(u.rc, TTG_ECORRUPT);
    assert_int_equal(unpack_str(&u).len, 0);
    return unpack_end(&u);
}

static void comes_back_as_it_was(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(pack_all(&b), 0);
    assert_int_equal(unpack_all(buf_str(&b)), 0);
    for (size_t len = 0; len < buf_len(&b); len++) {
        char *exact = mem_alloc(len); /* so that the sanitizer sees each byte too far */
        memcpy(exact, buf_ptr(&b), len);
        assert_int_equal(unpack_all(str_make(exact, len)), TTG_ECORRUPT);
        mem_free(exact);
    }
    assert_int_equal(buf_add_char(&b, 0), 0);
    assert_int_equal(unpack_all(buf_str(&b)), TTG_ECORRUPT); /* bytes are left */
    buf_done(&b);
}

static void refuses_damage(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        uint64_t value;
        int rc;
    } cases[] = {
        {STR("\x05"), 5, 0},
        {STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), UINT64_MAX, 0},
        {STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), 0, TTG_ECORRUPT}, /* 65 bits */
        {STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01"), 0, TTG_ECORRUPT},
        {STR("\x80"), 0, TTG_ECORRUPT},
        {STR(""), 0, TTG_ECORRUPT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct unpacker u = unpack_of(cases[i].bytes);
        assert_true(unpack_u64(&u) == cases[i].value);
        assert_int_equal(u.rc, cases[i].rc);
    }
    struct unpacker u = unpack_of(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01xyz"));
    assert_int_equal(unpack_str(&u).len, 0);
    assert_int_equal(u.rc, TTG_ECORRUPT);
    u = unpack_of(STR("\x03xy"));
    assert_int_equal(unpack_str(&u).len, 0);
    assert_int_equal(unpack_u64(&u), 0); /* and nothing after an error */
    assert_int_equal(unpack_end(&u), TTG_ECORRUPT);
}

static void counts_must_be_believable(void **state)
{
    (void)state;
    struct unpacker u = unpack_of(STR("\x03"
                                      "123456"));
    assert_int_equal(unpack_count(&u, 2), 3);
    u = unpack_of(STR("\x04"
                      "123456"));
    assert_int_equal(unpack_count(&u, 2), 0);
    assert_int_equal(u.rc, TTG_ECORRUPT);
    u = unpack_of(STR(""));
    assert_int_equal(unpack_count(&u, 1), 0);
    assert_int_equal(u.rc, TTG_ECORRUPT);
}

static void keeps_the_first_error(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 20);
    assert_int_equal(pack_all(&b), TTG_EFULL);
    size_t len = buf_len(&b);
    struct packer p = {&b, TTG_EIO};
    pack_u64(&p, 1);
    pack_f64(&p, 1);
    pack_str(&p, STR("x"));
    assert_int_equal(p.rc, TTG_EIO);
    assert_int_equal(buf_len(&b), len);
    buf_done(&b);
    buf_init(&b, 10000);
    mem_fail_at(1);
    assert_int_equal(pack_all(&b), TTG_ENOMEM);
    mem_fail_at(0);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(refuses_damage),
        cmocka_unit_test(counts_must_be_believable),
        cmocka_unit_test(keeps_the_first_error),
    };
    return tap_run(tests);
}
