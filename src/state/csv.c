/* SPDX-License-Identifier: Apache-2.0 */
#include "state/csv.h"

#include "base/err.h"

static bool needs_quotes(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] == ',' || value.ptr[i] == '"' || value.ptr[i] == '\n' ||
            value.ptr[i] == '\r')
            return true;
    return false;
}

int csv_add(struct buf *out, struct str value, char after)
{
    char *at;
    int rc = buf_reserve(out, csv_bytes_max(value), &at);
    if (rc)
        return rc;
    char *to = at;
    if (!needs_quotes(value)) {
        if (value.len)
            memcpy(to, value.ptr, value.len);
        to += value.len;
    } else {
        *to++ = '"';
        for (size_t i = 0; i < value.len; i++) {
            if (value.ptr[i] == '"')
                *to++ = '"';
            *to++ = value.ptr[i];
        }
        *to++ = '"';
    }
    *to++ = after;
    buf_grew(out, (size_t)(to - at));
    return 0;
}

/* Where the row ends: behind its newline; NULL when it does not. */
static char *row_end(char *bytes, size_t len)
{
    char *newline = memchr(bytes, '\n', len);
    if (!newline)
        return NULL;
    if (!memchr(bytes, '"', (size_t)(newline - bytes)))
        return newline + 1;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '"')
            quoted = !quoted; /* a doubled one does so twice */
        else if (bytes[i] == '\n' && !quoted)
            return bytes + i + 1;
    }
    return NULL;
}

/* The quoted field behind whose quote `*at` stands; moves behind the closing one. The row is known
 * to end, so all quotes in it are in pairs. */
static struct str unquote(char **at, const char *end)
{
    char *from = *at, *to = from, *start = from;
    while (from < end) {
        if (*from == '"' && (from + 1 == end || from[1] != '"'))
            break;
        if (*from == '"')
            from++;
        *to++ = *from++;
    }
    *at = from + 1;
    return str_make(start, (size_t)(to - start));
}

int csv_read(char *bytes, size_t len, struct csv_row *ret_row, size_t *ret_used)
{
    char *next = row_end(bytes, len);
    if (!next)
        return TTG_EAGAIN;
    char *end = next - 1; /* of the content */
    if (end > bytes && end[-1] == '\r')
        end--;
    *ret_used = (size_t)(next - bytes);
    ret_row->count = 0;
    if (end == bytes)
        return 0;
    for (char *at = bytes;; at++) {
        if (ret_row->count == CSV_FIELDS_MAX)
            return TTG_ECORRUPT;
        struct str *field = &ret_row->fields[ret_row->count++];
        if (at < end && *at == '"') {
            at++;
            *field = unquote(&at, end);
        } else {
            char *start = at;
            while (at < end && *at != ',' && *at != '"' && *at != '\r')
                at++;
            *field = str_make(start, (size_t)(at - start));
        }
        bool last = at == end;
        if (!last && (at > end || *at != ','))
            return TTG_ECORRUPT;
        bytes[field->ptr + field->len - bytes] = '\0';
        if (last)
            return 0;
    }
}
