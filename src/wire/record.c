/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/record.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/pack.h"

static char *number_put(char *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (char)(value | 0x80);
    *at++ = (char)value;
    return at;
}

int record_begin(struct buf *out, enum record_kind kind, uint64_t now_ms, uint64_t client)
{
    char *from;
    int rc = buf_reserve(out, RECORD_HEAD_BYTES_MAX, &from);
    if (rc)
        return rc;
    char *at = number_put(from, (uint64_t)kind);
    at = number_put(at, now_ms);
    at = number_put(at, client);
    buf_grew(out, (size_t)(at - from));
    return 0;
}

size_t record_command_bytes(size_t argc, const struct str *argv)
{
    size_t bytes = RECORD_NUMBER_BYTES_MAX;
    for (size_t i = 0; i < argc; i++)
        bytes += RECORD_NUMBER_BYTES_MAX + argv[i].len;
    return bytes;
}

int record_command(struct buf *out, size_t argc, const struct str *argv)
{
    char *from;
    int rc = buf_reserve(out, record_command_bytes(argc, argv), &from);
    if (rc)
        return rc;
    char *at = number_put(from, argc);
    for (size_t i = 0; i < argc; i++) {
        at = number_put(at, argv[i].len);
        if (argv[i].len > 0)
            memcpy(at, argv[i].ptr, argv[i].len);
        at += argv[i].len;
    }
    buf_grew(out, (size_t)(at - from));
    return 0;
}

int record_open(struct record *r, struct str bytes)
{
    struct unpacker u = unpack_of(bytes);
    uint64_t kind = unpack_u64(&u), now_ms = unpack_u64(&u), client = unpack_u64(&u);
    if (u.rc || kind < RECORD_COMMANDS || kind > RECORD_TICK)
        return TTG_ECORRUPT;
    *r = (struct record){(enum record_kind)kind, now_ms, client,
                         str_make(u.at, (size_t)(u.end - u.at))};
    return r->kind != RECORD_COMMANDS && r->rest.len > 0 ? TTG_ECORRUPT : 0;
}

int record_next(struct record *r, struct str **argv, size_t *cap, size_t *ret_argc)
{
    if (r->rest.len == 0)
        return 0;
    struct unpacker u = unpack_of(r->rest);
    uint64_t count = unpack_count(&u, 1);
    if (u.rc || count == 0)
        return TTG_ECORRUPT;
    if (count > *cap) {
        struct str *grown = mem_realloc(*argv, (size_t)count * sizeof(*grown));
        if (!grown)
            return TTG_ENOMEM;
        *argv = grown;
        *cap = (size_t)count;
    }
    for (size_t i = 0; i < count; i++)
        (*argv)[i] = unpack_str(&u);
    if (u.rc)
        return TTG_ECORRUPT;
    r->rest = str_make(u.at, (size_t)(u.end - u.at));
    *ret_argc = (size_t)count;
    return 1;
}
