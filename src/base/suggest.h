/* SPDX-License-Identifier: Apache-2.0 */
/* suggest - "did you mean ...?" for a mistyped name. */
#ifndef TTG_BASE_SUGGEST_H
#define TTG_BASE_SUGGEST_H

#include "base/str.h"

enum { SUGGEST_BYTES_MAX = 40 };

/* Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`; SIZE_MAX when
 * one of them is longer than SUGGEST_BYTES_MAX. */
size_t suggest_distance(struct str a, struct str b);

/* Offer each candidate, then look at `best`: NULL when nothing is near enough to be meant. */
struct suggest {
    struct str wanted;
    const char *best;
    size_t distance;
};

void suggest_init(struct suggest *s, struct str wanted);
void suggest_offer(struct suggest *s, const char *candidate);

#endif
