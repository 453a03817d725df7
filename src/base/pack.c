/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pack.h"

#include "base/ensure.h"
#include "base/err.h"

void pack_u64(struct packer *p, uint64_t value)
{
    char bytes[10];
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (char)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (char)value;
    if (!p->rc)
        p->rc = buf_add(p->out, bytes, n);
}

void pack_i64(struct packer *p, int64_t value)
{
    pack_u64(p, (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0));
}

void pack_f64(struct packer *p, double value)
{
    if (!p->rc)
        p->rc = buf_add(p->out, &value, sizeof value);
}

void pack_str(struct packer *p, struct str s)
{
    pack_u64(p, s.len);
    if (!p->rc)
        p->rc = buf_add_str(p->out, s);
}

uint64_t unpack_u64(struct unpacker *u)
{
    uint64_t value = 0;
    for (unsigned shift = 0; !u->rc; shift += 7) {
        if (u->at == u->end || shift > 63)
            break;
        unsigned char byte = (unsigned char)*u->at++;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    if (!u->rc)
        u->rc = TTG_ECORRUPT;
    return 0;
}

int64_t unpack_i64(struct unpacker *u)
{
    uint64_t z = unpack_u64(u);
    return (int64_t)(z >> 1 ^ (0 - (z & 1)));
}

double unpack_f64(struct unpacker *u)
{
    double value = 0;
    if (!u->rc && (size_t)(u->end - u->at) < sizeof value)
        u->rc = TTG_ECORRUPT;
    if (u->rc)
        return 0;
    memcpy(&value, u->at, sizeof value);
    u->at += sizeof value;
    return value;
}

struct str unpack_str(struct unpacker *u)
{
    uint64_t len = unpack_u64(u);
    if (!u->rc && len > (size_t)(u->end - u->at))
        u->rc = TTG_ECORRUPT;
    if (u->rc)
        return str_make("", 0);
    struct str s = str_make(u->at, (size_t)len);
    u->at += len;
    return s;
}

uint64_t unpack_count(struct unpacker *u, size_t bytes_min)
{
    ensure(bytes_min > 0);
    uint64_t count = unpack_u64(u);
    if (!u->rc && count > (size_t)(u->end - u->at) / bytes_min)
        u->rc = TTG_ECORRUPT;
    return u->rc ? 0 : count;
}

int unpack_end(struct unpacker *u)
{
    if (!u->rc && u->at != u->end)
        u->rc = TTG_ECORRUPT;
    return u->rc;
}
