/* SPDX-License-Identifier: Apache-2.0 */
/* resp_fields - answers into structs, by tables.
 *
 * An answer is a map whose keys a table takes to members of a struct; keys that the table does not
 * have are passed over, so that a newer node may say more. The answer is whole (resp_scan saw to
 * that), its shape and its values are not trusted: false, or NULL, is an answer of unknown form.
 * Arrays are made in the caller's scratch memory, one at a time; texts stay in the answer. */
#ifndef TTG_QUEUE_RESP_FIELDS_H
#define TTG_QUEUE_RESP_FIELDS_H

#include "core/ledger.h"
#include "wire/resp_client.h"

#include <stddef.h>

/* What a value is, and the type of its member. */
enum resp_field_type {
    F_U64,
    F_U32,
    F_I64,
    F_STR,        /* struct str */
    F_SUM,        /* __int128; an empty text leaves it */
    F_BOOL,       /* bool */
    F_DIGEST,     /* uint64_t[2], as 32 hexadecimal digits */
    F_STATE_NAME, /* enum ledger_state */
};

struct resp_field {
    const char *key;
    enum resp_field_type type;
    size_t offset;
};

#define FIELD(type, key, kind, member)                                                             \
    {                                                                                              \
        key, kind, offsetof(type, member)                                                          \
    }
#define COUNT(array) (sizeof(array) / sizeof *(array))

bool resp_next_u64(struct resp_cursor *c, uint64_t *ret_value);
bool resp_next_u32(struct resp_cursor *c, uint32_t *ret_value);
/* As a number. */
bool resp_next_state(struct resp_cursor *c, enum ledger_state *ret_state);

/* `special` may take a key that the table does not have; it then returns 1 (taken), 0 or -1. */
bool resp_read_map(struct resp_cursor *c, const struct resp_field *fields, size_t count, void *base,
                   int (*special)(struct resp_cursor *c, struct str key, void *ctx), void *ctx);

/* Zeroed elements, in place of what was in `scratch`. NULL without memory. */
void *resp_scratch(struct buf *scratch, size_t count, size_t bytes);

/* An array of maps, each into one element of `bytes`. */
void *resp_read_maps(struct resp_cursor *c, struct buf *scratch, const struct resp_field *fields,
                     size_t field_count, size_t bytes, size_t *ret_count);

/* Rows of numbers in one flat array, a text before the numbers of each when `texts`. Counts only
 * when `rows` is NULL; a row is `words` words and takes `bytes` there. */
bool resp_read_rows(struct resp_cursor *c, bool texts, size_t words, char *rows, size_t bytes,
                    size_t *ret_count);

#endif
