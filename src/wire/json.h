/* SPDX-License-Identifier: Apache-2.0 */
/* json - looks into a JSON text without copying it.
 *
 * A text is checked once as a whole (RFC 8259, any nesting up to JSON_DEPTH_MAX, UTF-8); after that
 * values are views into it and walking them cannot fail. Numbers stay text until somebody asks for
 * one kind, so that sums past 2^63 lose nothing, which is why this is not jansson. */
#ifndef TTG_WIRE_JSON_H
#define TTG_WIRE_JSON_H

#include "base/buf.h"
#include "base/err.h"

enum { JSON_DEPTH_MAX = 64 };

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    struct str raw; /* as it stands, strings with their quotes */
};

/* Checks a text that holds one value with nothing but blanks around it. TTG_EPROTO with a message
 * that says where. */
int json_parse(struct str text, struct json *ret_value, struct err *err);

/* Walks the members of an object: `*at` starts as json_inside(object). False at the end. */
struct str json_inside(struct json object);
bool json_next(struct str *at, struct json *ret_name, struct json *ret_value);
/* The same for the elements of an array. */
bool json_item(struct str *at, struct json *ret_value);

/* Whether a string (a name, mostly) says exactly this. */
bool json_is(struct json string, struct str text);

/* Adds the content of a string to `out`. A half surrogate becomes U+FFFD. TTG_EINVAL when it is no
 * string, TTG_EFULL, TTG_ENOMEM. */
int json_add_text(struct json string, struct buf *out);

/* TTG_EINVAL when it is no such number (1.0 is no integer), TTG_ERANGE. */
int json_i64(struct json number, int64_t *ret_value);
int json_u64(struct json number, uint64_t *ret_value);
int json_i128(struct json number, __int128 *ret_value);
int json_f64(struct json number, double *ret_value);

#endif
