/* SPDX-License-Identifier: Apache-2.0 */
/* merge - what an aggregate knows of one client: values put together, key by key. Pure.
 *
 * sum, count, min and max keep one number for each key; top keeps the N largest values with their
 * keys; collect keeps every value. Whole numbers are exact up to 127 bits; with a fraction anywhere
 * a sum is a double, and then depends on the order in its last digits. What comes out is the same
 * for the same messages in whatever order. */
#ifndef TTG_PIPELINE_MERGE_H
#define TTG_PIPELINE_MERGE_H

#include "base/buf.h"
#include "base/map.h"
#include "pipeline/spec.h"

struct number {
    bool whole;
    __int128 i;
    double f;
};

struct merge_entry {
    struct map_node node; /* sum, count, min, max */
    struct number number;
    size_t key_len, value_len; /* value_len: collect; the text stands behind the key */
    char bytes[];
};

struct merge {
    struct map keys;
    struct merge_entry **list; /* top: the largest first; collect: in no order */
    size_t count, cap;
    size_t bytes; /* of memory, about */
};

void merge_init(struct merge *m);
void merge_done(struct merge *m);

/* `value` is JSON. TTG_EINVAL: a number is expected. TTG_ENOMEM. Nothing has changed then. */
int merge_add(struct merge *m, enum spec_merge how, uint64_t top, struct str key, struct str value);

/* Whether it is a value for this. */
bool merge_takes(enum spec_merge how, struct str value);

/* Hands out what is to be sent: a message for each key in order of the keys, or one with all. A
 * result other than 0 ends it. Nothing for a client without messages. */
int merge_each(struct merge *m, enum spec_merge how,
               int (*each)(void *ctx, struct str key, struct str value), void *ctx);

/* Hands out keys and values that, added to an empty one (to a sum where it counts), make the same
 * as this. TTG_ERANGE: a number is infinite, and JSON has no word for it. */
int merge_rows(const struct merge *m, enum spec_merge how,
               int (*each)(void *ctx, struct str key, struct str value), void *ctx);

#endif
