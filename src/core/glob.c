/* SPDX-License-Identifier: Apache-2.0 */
#include "core/glob.h"

/* A set from behind its bracket; `*at` moves behind the closing one, which may be missing. */
static bool set_matches(struct str p, size_t *at, unsigned char c)
{
    size_t i = *at;
    bool found = false, negated = i < p.len && p.ptr[i] == '^';
    if (negated)
        i++;
    while (i < p.len && p.ptr[i] != ']') {
        if (p.ptr[i] == '\\' && i + 1 < p.len)
            i++;
        unsigned char low = (unsigned char)p.ptr[i], high = low;
        if (i + 2 < p.len && p.ptr[i + 1] == '-') {
            high = (unsigned char)p.ptr[i + 2];
            i += 2;
        }
        found |= low <= high ? c >= low && c <= high : c >= high && c <= low;
        i++;
    }
    *at = i < p.len ? i + 1 : i;
    return found != negated;
}

/* One character against one element of the pattern, which `*at` moves over. */
static bool one_matches(struct str p, size_t *at, char c)
{
    char want = p.ptr[(*at)++];
    if (want == '?')
        return true;
    if (want == '[')
        return set_matches(p, at, (unsigned char)c);
    if (want == '\\' && *at < p.len)
        want = p.ptr[(*at)++];
    return want == c;
}

bool glob_matches(struct str pattern, struct str name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, star_n = 0;
    while (n < name.len || p < pattern.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = ++p;
            star_n = n;
            continue;
        }
        if (p < pattern.len && n < name.len && one_matches(pattern, &p, name.ptr[n])) {
            n++;
            continue;
        }
        /* the last star takes one character more */
        if (star == SIZE_MAX || star_n >= name.len)
            return false;
        p = star;
        n = ++star_n;
    }
    return true;
}
