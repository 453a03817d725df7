/* SPDX-License-Identifier: Apache-2.0 */
/* pack - values to bytes and back, for records and snapshots.
 *
 * Numbers are LEB128 varints, strings carry their length. Both sides keep the first error and do
 * nothing after it, so that a long sequence is checked once at its end. Unpacking trusts nothing:
 * what would reach past the end is TTG_ECORRUPT. */
#ifndef TTG_BASE_PACK_H
#define TTG_BASE_PACK_H

#include "base/buf.h"

struct packer {
    struct buf *out;
    int rc;
};

void pack_u64(struct packer *p, uint64_t value);
void pack_i64(struct packer *p, int64_t value); /* zigzag */
void pack_f64(struct packer *p, double value);
void pack_str(struct packer *p, struct str s);

struct unpacker {
    const char *at, *end;
    int rc; /* 0 or TTG_ECORRUPT */
};

static inline struct unpacker unpack_of(struct str s)
{
    return (struct unpacker){s.ptr, s.ptr + s.len, 0};
}

/* 0 and empty after an error. Strings are views into the input. */
uint64_t unpack_u64(struct unpacker *u);
int64_t unpack_i64(struct unpacker *u);
double unpack_f64(struct unpacker *u);
struct str unpack_str(struct unpacker *u);

/* A count of elements that take at least `bytes_min` (> 0) each: refused when the rest of the input
 * cannot hold them, so that nobody allocates for a lie. */
uint64_t unpack_count(struct unpacker *u, size_t bytes_min);

/* Error, or TTG_ECORRUPT when bytes are left. */
int unpack_end(struct unpacker *u);

#endif
