/* SPDX-License-Identifier: Apache-2.0 */
#include "base/suggest.h"

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment: three rows of the usual matrix are enough. */
size_t suggest_distance(struct str a, struct str b)
{
    size_t rows[3][SUGGEST_BYTES_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    if (a.len > SUGGEST_BYTES_MAX || b.len > SUGGEST_BYTES_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = a.ptr[i - 1] == b.ptr[j - 1];
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + !same);
            bool swapped =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (swapped && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
    }
    return row[b.len];
}

void suggest_init(struct suggest *s, struct str wanted)
{
    /* A third of the letters may be wrong; with more it is a guess that only confuses. */
    *s = (struct suggest){wanted, NULL, wanted.len / 3 + 2};
}

void suggest_offer(struct suggest *s, const char *candidate)
{
    if (!candidate)
        return;
    struct str c = str_of(candidate);
    size_t d = suggest_distance(s->wanted, c);
    /* "verb" most likely means "verbose", however much is missing. */
    if (s->wanted.len >= 3 && str_starts(c, s->wanted))
        d = 1;
    if (d < s->distance && d < c.len) {
        s->distance = d;
        s->best = candidate;
    }
}
