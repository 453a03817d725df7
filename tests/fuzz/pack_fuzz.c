/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking any bytes stays inside them, and what was read packs to something that reads the same.
 * The first bytes choose what is read: a count, then one byte for each type. */
#include "base/ensure.h"
#include "base/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { READS_MAX = 15 };

static void copy_one(struct unpacker *from, struct packer *to, unsigned type)
{
    switch (type % 5) {
    case 0:
        pack_u64(to, unpack_u64(from));
        break;
    case 1:
        pack_i64(to, unpack_i64(from));
        break;
    case 2:
        pack_f64(to, unpack_f64(from));
        break;
    case 3: {
        struct str s = unpack_str(from);
        ensure(s.len == 0 || (s.ptr + s.len <= from->end));
        pack_str(to, s);
        break;
    }
    default: {
        uint64_t count = unpack_count(from, 1 + type / 5);
        ensure(count <= (uint64_t)(from->end - from->at));
        pack_u64(to, count);
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 + READS_MAX)
        return 0;
    size_t reads = data[0] % (READS_MAX + 1);
    struct buf once, twice;
    buf_init(&once, 4 * size + 1000);
    buf_init(&twice, 4 * size + 1000);
    struct packer p = {&once, 0}, again = {&twice, 0};
    struct unpacker u = unpack_of(str_make(data + 1 + READS_MAX, size - 1 - READS_MAX));
    for (size_t i = 0; i < reads; i++)
        copy_one(&u, &p, data[1 + i] % 4); /* counts have no bytes of their own to guard */
    ensure(p.rc == 0);
    struct unpacker v = unpack_of(buf_str(&once));
    for (size_t i = 0; i < reads; i++)
        copy_one(&v, &again, data[1 + i] % 4);
    ensure(again.rc == 0 && unpack_end(&v) == 0);
    ensure(str_eq(buf_str(&once), buf_str(&twice)));
    for (size_t i = 0; i < reads; i++)
        copy_one(&u, &again, data[1 + i]);
    ensure(u.rc || u.at <= u.end);
    buf_done(&once);
    buf_done(&twice);
    return 0;
}
