/* SPDX-License-Identifier: Apache-2.0 */
/* tomb - clients that are finished and whose late duplicates must not bring them back.
 *
 * A set of ids in order of their end. It has a limit, the oldest make room: a client whose stream
 * has ended for good should be forgotten by its owner long before. */
#ifndef TTG_STATE_TOMB_H
#define TTG_STATE_TOMB_H

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

struct tombs {
    struct map map;
    struct list order; /* oldest first */
    uint64_t max, dropped;
    uint64_t seed;
};

void tombs_init(struct tombs *t, uint64_t max, uint64_t seed);
void tombs_done(struct tombs *t);
static inline uint64_t tombs_count(const struct tombs *t)
{
    return t->map.count;
}

bool tombs_has(const struct tombs *t, struct str client);
/* Adding one that is in is no error. TTG_ENOMEM. */
int tombs_add(struct tombs *t, struct str client);
/* Whether it was in. */
bool tombs_remove(struct tombs *t, struct str client);

/* From the oldest on; start with NULL, it ends with false. */
struct tomb;
bool tombs_next(const struct tombs *t, const struct tomb **at, struct str *ret_client);

#endif
