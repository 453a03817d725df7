/* SPDX-License-Identifier: Apache-2.0 */
/* csv - rows of RFC 4180, written plainly and read strictly.
 *
 * A row ends with a newline, so a row that a crash has torn is one without: the reader says where
 * the last whole row ends. Fields are quoted only where they must be. Lines that end in CR LF are
 * read too. The reader works on a piece of a file at a time and unquotes in place. */
#ifndef TTG_STATE_CSV_H
#define TTG_STATE_CSV_H

#include "base/buf.h"

enum { CSV_FIELDS_MAX = 64 };

/* Adds a field, quoted where needed, and `after`: a comma or a newline. */
int csv_add(struct buf *out, struct str value, char after);
/* Bytes that csv_add adds at most. */
static inline size_t csv_bytes_max(struct str value)
{
    return value.len * 2 + 3;
}

struct csv_row {
    size_t count;
    struct str fields[CSV_FIELDS_MAX];
};

/* Reads the row at the front of `bytes` (of `len`). *ret_used: how long it is, with its newline.
 * TTG_EAGAIN: it does not end within `bytes` (nothing was changed). TTG_ECORRUPT: this is no row.
 * A blank line is a row of no fields. The fields lie in `bytes`, of which quotes are removed; each
 * has a NUL behind it. */
int csv_read(char *bytes, size_t len, struct csv_row *ret_row, size_t *ret_used);

#endif
