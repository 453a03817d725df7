/* SPDX-License-Identifier: Apache-2.0 */
/* 128-bit sums as text, and what the digest of a result covers. */
#include "base/err.h"
#include "base/hash.h"
#include "core/ledger.h"

int ledger_sum_parse(struct str s, __int128 *ret_value)
{
    bool minus = s.len > 0 && s.ptr[0] == '-';
    size_t at = minus;
    if (at == s.len || s.len > 40)
        return TTG_EINVAL;
    __int128 value = 0;
    for (; at < s.len; at++) {
        if (s.ptr[at] < '0' || s.ptr[at] > '9')
            return TTG_EINVAL;
        int digit = s.ptr[at] - '0';
        if (__builtin_mul_overflow(value, (__int128)10, &value) ||
            __builtin_add_overflow(value, (__int128)(minus ? -digit : digit), &value))
            return TTG_ERANGE;
    }
    *ret_value = value;
    return 0;
}

size_t ledger_sum_text(char *out, __int128 value)
{
    if (value >= 0 && value <= INT64_MAX)
        return str_from_u64(out, (uint64_t)value);
    unsigned __int128 rest = value < 0 ? 0 - (unsigned __int128)value : (unsigned __int128)value;
    char digits[40];
    size_t count = 0, at = 0;
    do {
        digits[count++] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        out[at++] = '-';
    while (count > 0)
        out[at++] = digits[--count];
    return at;
}

static size_t text_put(char *out, const char *literal, size_t len)
{
    memcpy(out, literal, len);
    return len;
}
#define TEXT_PUT(out, literal) text_put(out, literal, sizeof(literal) - 1)

size_t ledger_summary_text(char *out, __int128 sum, uint64_t count)
{
    size_t at = TEXT_PUT(out, "{\"sum\":");
    at += ledger_sum_text(out + at, sum);
    at += TEXT_PUT(out + at, ",\"count\":");
    at += str_from_u64(out + at, count);
    return at + TEXT_PUT(out + at, "}");
}

void ledger_result_digest(uint64_t chunk, char kind, struct str text, uint64_t ret_digest[2])
{
    char head[32];
    size_t at = str_from_u64(head, chunk);
    head[at++] = '\0';
    head[at++] = kind;
    head[at++] = '\0';
    for (uint64_t seed = 0; seed < 2; seed++)
        ret_digest[seed] = hash_xxh3_two(head, at, text.ptr, text.len, seed);
}
