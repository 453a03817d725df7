/* SPDX-License-Identifier: Apache-2.0 */
#include "state/name.h"

#include "base/err.h"
#include "base/hash.h"

#include <stdio.h>

enum { NAME_KEPT_BYTES = 120, NAME_HASH_DIGITS = 32 };

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_plain(char c)
{
    return is_upper(c) || is_lower(c) || (c >= '0' && c <= '9') ||
           (c && strchr("-_.@+=", c) != NULL);
}

static bool any(struct str s, bool (*is)(char c))
{
    for (size_t i = 0; i < s.len; i++)
        if (is(s.ptr[i]))
            return true;
    return false;
}

static int escape(struct buf *out, struct str client, bool lower_too)
{
    static const char digits[] = "0123456789ABCDEF";
    char *at, *to;
    int rc = buf_reserve(out, client.len * 3, &at);
    if (rc)
        return rc;
    to = at;
    for (size_t i = 0; i < client.len; i++) {
        char c = client.ptr[i];
        if (is_plain(c) && !(c == '.' && i == 0) && !(lower_too && is_lower(c))) {
            *to++ = c;
            continue;
        }
        *to++ = '%';
        *to++ = digits[(unsigned char)c >> 4];
        *to++ = digits[(unsigned char)c & 15];
    }
    buf_grew(out, (size_t)(to - at));
    return 0;
}

/* Behind the last whole character that ends within the first bytes. */
static size_t cut_at(struct str name)
{
    size_t at = NAME_KEPT_BYTES;
    for (size_t back = 1; back <= 2; back++)
        if (name.ptr[at - back] == '%')
            return at - back;
    return at;
}

int name_add(struct buf *out, struct str client, bool fold_case, bool *ret_cut)
{
    size_t before = buf_len(out);
    bool marked = fold_case && any(client, is_lower) && !any(client, is_upper);
    int rc = escape(out, client, fold_case && !marked);
    if (!rc && (marked || client.len == 0))
        rc = buf_add_char(out, '%');
    *ret_cut = false;
    if (!rc && buf_len(out) - before > NAME_BYTES_MAX) {
        struct str name = buf_str(out);
        name = str_make(name.ptr + before, name.len - before);
        buf_truncate(out, before + cut_at(name));
        rc = buf_printf(out, "%%h%016llX%016llX",
                        (unsigned long long)hash_xxh3(client.ptr, client.len, 1),
                        (unsigned long long)hash_xxh3(client.ptr, client.len, 2));
        *ret_cut = true;
    }
    if (rc)
        buf_truncate(out, before);
    return rc;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int name_read(struct str name, struct buf *out)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '%' && i + 1 == name.len)
            return 0; /* the mark at the end */
        if (c == '%' && name.ptr[i + 1] == 'h')
            return name.len - i == 2 + NAME_HASH_DIGITS ? TTG_EAGAIN : TTG_EPROTO;
        if (c == '%') {
            int high = hex(name.ptr[i + 1]), low = i + 2 < name.len ? hex(name.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return TTG_EPROTO;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (!is_plain(c) || (c == '.' && i == 0)) {
            return TTG_EPROTO;
        }
        int rc = buf_add_char(out, c);
        if (rc)
            return rc;
    }
    return name.len ? 0 : TTG_EPROTO;
}
