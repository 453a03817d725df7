/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/err.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_make(s.ptr, prefix.len), prefix);
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n > 0 ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

struct str str_cut(struct str s, char separator, struct str *rest)
{
    const char *at = s.len > 0 ? memchr(s.ptr, separator, s.len) : NULL;
    if (!at) {
        *rest = (struct str){NULL, 0};
        return s;
    }
    size_t len = (size_t)(at - s.ptr);
    *rest = str_make(at + 1, s.len - len - 1);
    return str_make(s.ptr, len);
}

static bool blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && blank(s.ptr[0]))
        s.ptr++, s.len--;
    while (s.len > 0 && blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

int str_to_u64(struct str s, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (s.len == 0)
        return TTG_EINVAL;
    bool overflow = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return TTG_EINVAL;
        overflow |= __builtin_mul_overflow(value, (uint64_t)10, &value);
        overflow |= __builtin_add_overflow(value, (uint64_t)(s.ptr[i] - '0'), &value);
    }
    if (overflow)
        return TTG_ERANGE;
    *ret_value = value;
    return 0;
}

int str_to_i64(struct str s, int64_t *ret_value)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t magnitude;
    int rc = str_to_u64(negative ? str_make(s.ptr + 1, s.len - 1) : s, &magnitude);
    if (rc)
        return rc;
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (magnitude > limit)
        return TTG_ERANGE;
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return 0;
}

int str_to_f64(struct str s, double *ret_value)
{
    char text[64], *end;
    if (s.len == 0 || s.len >= sizeof text)
        return TTG_EINVAL;
    for (size_t i = 0; i < s.len; i++)
        if (!strchr("0123456789+-.eE", s.ptr[i]) || s.ptr[i] == '\0')
            return TTG_EINVAL;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end)
        return TTG_EINVAL;
    if (!isfinite(value))
        return TTG_ERANGE;
    *ret_value = value;
    return 0;
}

/* Unicode 15, table 3-7: only the second byte has narrower ranges. */
size_t str_utf8_len(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned char lo = 0x80, hi = 0xbf;
    size_t n;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    if (s.len < n || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return n;
}

/* A byte in each of eight. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static uint64_t eight(const char *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Not 0 when one of the eight bytes is less than `limit` (at most 0x80). After "Bit Twiddling
 * Hacks" by S. E. Anderson, as is the next. */
static uint64_t has_less(uint64_t word, uint64_t limit)
{
    return (word - EACH(limit)) & ~word & EACH(0x80);
}

static uint64_t has_byte(uint64_t word, uint64_t byte)
{
    return has_less(word ^ EACH(byte), 1);
}

bool str_is_utf8(struct str s)
{
    for (size_t i = 0, n; i < s.len; i += n) {
        n = sizeof(uint64_t);
        if (s.len - i >= n && !(eight(s.ptr + i) & EACH(0x80)))
            continue;
        if (!(n = str_utf8_len(str_make(s.ptr + i, s.len - i))))
            return false;
    }
    return true;
}

/* Sixteen bytes in one register, where the machine has such; else the compiler takes them apart. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));
typedef uint64_t words2 __attribute__((vector_size(16)));

/* Not 0 in the place of each byte that is not plain. */
static bytes16 not_plain(const char *from)
{
    bytes16 v;
    memcpy(&v, from, sizeof v);
    return (bytes16)((v - 0x20 >= 0x7f - 0x20) | (v == '"') | (v == '\\'));
}

/* How many bytes at the front are plain, in pieces of 64. */
static size_t plain_pieces(struct str s)
{
    enum { PIECE_BYTES = 64 };
    size_t n = s.len / PIECE_BYTES;
    for (size_t i = 0; i < n; i++) {
        const char *at = s.ptr + i * PIECE_BYTES;
        words2 found =
            (words2)(not_plain(at) | not_plain(at + 16) | not_plain(at + 32) | not_plain(at + 48));
        if (found[0] | found[1])
            return i * PIECE_BYTES;
    }
    return n * PIECE_BYTES;
}

static bool is_plain(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

size_t str_plain_len(struct str s)
{
    size_t i = plain_pieces(s);
    for (; s.len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word = eight(s.ptr + i);
        if (word & EACH(0x80) || has_less(word, 0x20) || has_byte(word, '"') ||
            has_byte(word, '\\') || has_byte(word, 0x7f))
            break;
    }
    while (i < s.len && is_plain(s.ptr[i]))
        i++;
    return i;
}

size_t str_from_u64(char *out, uint64_t value)
{
    char reversed[20];
    size_t n = 0;
    do
        reversed[n++] = (char)('0' + value % 10);
    while (value /= 10);
    for (size_t i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

size_t str_from_i64(char *out, int64_t value)
{
    if (value >= 0)
        return str_from_u64(out, (uint64_t)value);
    out[0] = '-';
    return 1 + str_from_u64(out + 1, 0 - (uint64_t)value);
}

int str_to_i128(struct str s, __int128 *ret_value)
{
    bool negative = s.len > 0 && s.ptr[0] == '-', overflow = false;
    __int128 value = 0;
    if (s.len == (size_t)negative)
        return TTG_EINVAL;
    for (size_t i = negative; i < s.len; i++) {
        int digit = s.ptr[i] - '0';
        if (digit < 0 || digit > 9)
            return TTG_EINVAL;
        overflow |= __builtin_mul_overflow(value, (__int128)10, &value);
        overflow |= __builtin_add_overflow(value, (__int128)(negative ? -digit : digit), &value);
    }
    if (overflow)
        return TTG_ERANGE;
    *ret_value = value;
    return 0;
}

size_t str_from_i128(char *out, __int128 value)
{
    if (value >= 0 && value <= INT64_MAX) /* 64 bits divide ten times as fast */
        return str_from_u64(out, (uint64_t)value);
    unsigned __int128 rest = value < 0 ? 0 - (unsigned __int128)value : (unsigned __int128)value;
    char reversed[40];
    size_t n = 0, at = 0;
    do
        reversed[n++] = (char)('0' + (int)(rest % 10));
    while (rest /= 10);
    if (value < 0)
        out[at++] = '-';
    while (n > 0)
        out[at++] = reversed[--n];
    return at;
}
