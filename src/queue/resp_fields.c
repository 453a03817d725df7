/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/resp_fields.h"

void *resp_scratch(struct buf *scratch, size_t count, size_t bytes)
{
    char *at;
    buf_clear(scratch);
    if (buf_reserve(scratch, count * bytes + 16, &at))
        return NULL;
    memset(at, 0, count * bytes);
    return at; /* start is 0 after the clear: aligned as malloc's */
}

bool resp_next_u64(struct resp_cursor *c, uint64_t *ret_value)
{
    struct resp_value v;
    if (!resp_next(c, &v))
        return false;
    if (v.type == RESP_INT && v.number >= 0) {
        *ret_value = (uint64_t)v.number;
        return true;
    }
    return v.type == RESP_STR && str_to_u64(v.s, ret_value) == 0;
}

bool resp_next_u32(struct resp_cursor *c, uint32_t *ret_value)
{
    uint64_t value;
    if (!resp_next_u64(c, &value) || value > UINT32_MAX)
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

bool resp_next_state(struct resp_cursor *c, enum ledger_state *ret_state)
{
    uint64_t value;
    if (!resp_next_u64(c, &value) || value > LEDGER_CANCELED)
        return false;
    *ret_state = (enum ledger_state)value;
    return true;
}

static bool parse_digest(struct str s, uint64_t out[2])
{
    if (s.len != 32)
        return false;
    out[0] = out[1] = 0;
    for (size_t i = 0; i < 32; i++) {
        const char *hex = "0123456789abcdef", *at = memchr(hex, s.ptr[i], 16);
        if (!at)
            return false;
        out[i / 16] = out[i / 16] << 4 | (uint64_t)(at - hex);
    }
    return true;
}

static bool parse_state(struct str s, enum ledger_state *out)
{
    static const char *const names[] = {"running", "paused", "finished", "canceled"};
    for (int i = LEDGER_RUNNING; i <= LEDGER_CANCELED; i++)
        if (str_eq(s, str_of(names[i]))) {
            *out = (enum ledger_state)i;
            return true;
        }
    return false;
}

static bool read_field(struct resp_cursor *c, const struct resp_field *f, void *base)
{
    void *to = (char *)base + f->offset;
    struct str s;
    int64_t n;
    switch (f->type) {
    case F_U64:
        return resp_next_u64(c, to);
    case F_U32:
        return resp_next_u32(c, to);
    case F_I64:
        return resp_next_int(c, to);
    case F_STR:
        return resp_next_str(c, to);
    case F_SUM:
        return resp_next_str(c, &s) && (s.len == 0 || str_to_i128(s, to) == 0);
    case F_BOOL:
        if (!resp_next_int(c, &n))
            return false;
        *(bool *)to = n != 0;
        return true;
    case F_STATE_NAME:
        return resp_next_str(c, &s) && parse_state(s, to);
    case F_DIGEST:
        return resp_next_str(c, &s) && parse_digest(s, to);
    }
    return false;
}

bool resp_read_map(struct resp_cursor *c, const struct resp_field *fields, size_t count, void *base,
                   int (*special)(struct resp_cursor *c, struct str key, void *ctx), void *ctx)
{
    size_t words;
    if (!resp_next_array(c, &words) || words % 2)
        return false;
    for (size_t i = 0; i < words; i += 2) {
        struct str key;
        if (!resp_next_str(c, &key))
            return false;
        size_t k = 0;
        while (k < count && !str_eq(key, str_of(fields[k].key)))
            k++;
        if (k < count) {
            if (!read_field(c, &fields[k], base))
                return false;
            continue;
        }
        int taken = special ? special(c, key, ctx) : 0;
        if (taken < 0)
            return false;
        if (taken == 0)
            resp_skip(c);
    }
    return true;
}

void *resp_read_maps(struct resp_cursor *c, struct buf *scratch, const struct resp_field *fields,
                     size_t field_count, size_t bytes, size_t *ret_count)
{
    size_t count;
    if (!resp_next_array(c, &count))
        return NULL;
    char *elements = resp_scratch(scratch, count, bytes);
    for (size_t i = 0; elements && i < count; i++)
        if (!resp_read_map(c, fields, field_count, elements + i * bytes, NULL, NULL))
            return NULL;
    *ret_count = count;
    return elements;
}

bool resp_read_rows(struct resp_cursor *c, bool texts, size_t words, char *rows, size_t bytes,
                    size_t *ret_count)
{
    size_t count;
    if (!resp_next_array(c, &count) || count % words)
        return false;
    *ret_count = count / words;
    for (size_t i = 0; i < count / words; i++, rows += rows ? bytes : 0) {
        if (texts) {
            struct str text;
            if (!resp_next_str(c, &text))
                return false;
            if (rows)
                *(struct str *)(void *)rows = text;
        }
        for (size_t k = texts; k < words; k++) {
            uint64_t number;
            if (!resp_next_u64(c, &number))
                return false;
            if (rows)
                ((uint64_t *)(void *)(rows + (texts ? sizeof(struct str) : 0)))[k - texts] = number;
        }
    }
    return true;
}
