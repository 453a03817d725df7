/* SPDX-License-Identifier: Apache-2.0 */
/* str - a view of bytes that somebody else owns, and strict number parsing.
 *
 * Views may hold any bytes, NUL included. Parsing takes the whole view or nothing: no leading
 * blanks, no trailing rest, no silent overflow. */
#ifndef TTG_BASE_STR_H
#define TTG_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

/* For a literal. */
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).ptr

static inline struct str str_of(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

static inline struct str str_make(const void *ptr, size_t len)
{
    return (struct str){ptr, len};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII letters compare equal in either case. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);

/* Like memcmp, a prefix sorts first. */
int str_cmp(struct str a, struct str b);

/* Cuts `s` at the first `separator`: the part before is returned, `*rest` gets the part after it,
 * or an empty view with NULL pointer when there was none. */
struct str str_cut(struct str s, char separator, struct str *rest);

/* Without ASCII blanks at both ends. */
struct str str_trim(struct str s);

/* Decimal only. TTG_EINVAL when it is not a number, TTG_ERANGE when it does not fit. */
int str_to_i64(struct str s, int64_t *ret_value);
int str_to_u64(struct str s, uint64_t *ret_value);

/* Decimal fractions and exponents; never NaN or infinity. */
int str_to_f64(struct str s, double *ret_value);

/* Bytes of the UTF-8 character that `s` (not empty) begins with; 0 when it begins with none. */
size_t str_utf8_len(struct str s);

/* Valid UTF-8: no overlong forms, no surrogates, nothing past U+10FFFF. */
bool str_is_utf8(struct str s);

/* How many bytes at the front are printable ASCII without '"' and '\\', so that they stand in a
 * JSON string as they are. Eight at a time: results may be long. */
size_t str_plain_len(struct str s);

/* Decimal digits of `value` at `out`, no NUL; the length. `out` has room for 20 bytes. */
size_t str_from_u64(char *out, uint64_t value);
/* `out` has room for 20 bytes. */
size_t str_from_i64(char *out, int64_t value);

/* The same for sums: 128 bits. `out` has room for 40 bytes. */
int str_to_i128(struct str s, __int128 *ret_value);
size_t str_from_i128(char *out, __int128 value);

#endif
