/* SPDX-License-Identifier: Apache-2.0 */
#include "store/format.h"

#include "base/ensure.h"
#include "base/hash.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>

enum { MAGIC_BYTES = 8, BATCH_MAGIC = 0x42475454, NUMBER_DIGITS = 16 };

static const char segment_magic[MAGIC_BYTES + 1] = "TTG-LOG\n";
static const char snapshot_magic[MAGIC_BYTES + 1] = "TTGSNAP\n";
static const char snapshot_end_magic[MAGIC_BYTES + 1] = "TTGSEND\n";
static const char blob_magic[MAGIC_BYTES + 1] = "TTGBLOB\n";

void put_u32(char *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, sizeof v);
}

void put_u64(char *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof v);
}

uint32_t get_u32(const char *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return le32toh(v);
}

uint64_t get_u64(const char *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return le64toh(v);
}

bool bytes_are_zero(const char *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static uint32_t sector_crc(const char *sector, enum sector_kind kind, uint64_t file, uint64_t index)
{
    char place[24];
    put_u64(place, (uint64_t)kind);
    put_u64(place + 8, file);
    put_u64(place + 16, index);
    uint32_t crc = hash_crc32c(hash_crc32c(0, place, sizeof place), sector, PIECE_BYTES);
    return crc ? crc : 1;
}

void sector_seal(char *sector, enum sector_kind kind, uint64_t file, uint64_t index)
{
    put_u32(sector + PIECE_BYTES, sector_crc(sector, kind, file, index));
}

bool sector_is(const char *sector, enum sector_kind kind, uint64_t file, uint64_t index)
{
    return get_u32(sector + PIECE_BYTES) == sector_crc(sector, kind, file, index);
}

enum sector_kind sector_of_log(const char *sector, uint64_t file, uint64_t index)
{
    if (bytes_are_zero(sector, SECTOR_BYTES))
        return SECTOR_UNWRITTEN;
    if (sector_is(sector, SECTOR_BODY, file, index))
        return SECTOR_BODY;
    return sector_is(sector, SECTOR_BATCH, file, index) ? SECTOR_BATCH : SECTOR_DAMAGED;
}

static void batch_head_write(char *out, const struct batch_head *head)
{
    put_u32(out, BATCH_MAGIC);
    put_u32(out + 4, head->count);
    put_u32(out + 8, head->bytes);
    put_u32(out + 12, head->crc);
    put_u64(out + 16, head->first);
    put_u64(out + 24, head->durable);
}

void frame_write(char *out, const struct batch_head *head, const char *records, uint64_t file,
                 uint64_t offset, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++, out += SECTOR_BYTES) {
        size_t used = i == 0 ? BATCH_HEAD_BYTES : 0;
        size_t at = i == 0 ? 0 : i * PIECE_BYTES - BATCH_HEAD_BYTES;
        size_t len = head->bytes - at < PIECE_BYTES - used ? head->bytes - at : PIECE_BYTES - used;
        if (i == 0)
            batch_head_write(out, head);
        memcpy(out + used, records + at, len);
        memset(out + used + len, 0, PIECE_BYTES - used - len);
        sector_seal(out, i == 0 ? SECTOR_BATCH : SECTOR_BODY, file, offset / SECTOR_BYTES + i);
    }
}

int batch_head_read(const char *sector, struct batch_head *ret_head)
{
    struct batch_head h = {
        .count = get_u32(sector + 4),
        .bytes = get_u32(sector + 8),
        .crc = get_u32(sector + 12),
        .first = get_u64(sector + 16),
        .durable = get_u64(sector + 24),
    };
    if (get_u32(sector) != BATCH_MAGIC || h.count == 0 || h.first == 0 || h.durable >= h.first ||
        h.first > UINT64_MAX - h.count || h.bytes / RECORD_HEAD_BYTES < h.count)
        return TTG_ECORRUPT;
    *ret_head = h;
    return 0;
}

int frame_read(const char *in, const struct batch_head *head, char *out, uint64_t file,
               uint64_t offset)
{
    size_t used = BATCH_HEAD_BYTES, at = 0;
    uint64_t index = offset / SECTOR_BYTES;
    enum sector_kind kind = SECTOR_BATCH;
    do {
        if (!sector_is(in, kind, file, index++))
            return TTG_ECORRUPT;
        size_t len = head->bytes - at < PIECE_BYTES - used ? head->bytes - at : PIECE_BYTES - used;
        memcpy(out + at, in + used, len);
        at += len;
        in += SECTOR_BYTES;
        used = 0;
        kind = SECTOR_BODY;
    } while (at < head->bytes);
    return hash_crc32c(0, out, head->bytes) == head->crc ? 0 : TTG_ECORRUPT;
}

static uint32_t record_crc(uint64_t position, uint32_t group, uint32_t type, struct str bytes)
{
    char head[16];
    put_u64(head, position);
    put_u32(head + 8, group);
    put_u32(head + 12, type);
    return hash_crc32c(hash_crc32c(0, head, sizeof head), bytes.ptr, bytes.len);
}

void record_write(char *out, uint64_t position, uint32_t group, uint32_t type, struct str bytes)
{
    put_u32(out, (uint32_t)bytes.len);
    put_u32(out + 4, record_crc(position, group, type, bytes));
    put_u32(out + 8, group);
    put_u32(out + 12, type);
    if (bytes.len > 0)
        memcpy(out + RECORD_HEAD_BYTES, bytes.ptr, bytes.len);
}

int record_read(struct str *rest, uint64_t position, struct store_record *ret_record)
{
    if (rest->len < RECORD_HEAD_BYTES)
        return TTG_ECORRUPT;
    uint32_t len = get_u32(rest->ptr);
    if (rest->len - RECORD_HEAD_BYTES < len)
        return TTG_ECORRUPT;
    struct store_record r = {
        .position = position,
        .group = get_u32(rest->ptr + 8),
        .type = get_u32(rest->ptr + 12),
        .bytes = str_make(rest->ptr + RECORD_HEAD_BYTES, len),
    };
    if (get_u32(rest->ptr + 4) != record_crc(position, r.group, r.type, r.bytes))
        return TTG_ECORRUPT;
    rest->ptr += RECORD_HEAD_BYTES + len;
    rest->len -= RECORD_HEAD_BYTES + len;
    *ret_record = r;
    return 0;
}

/* A head sector: magic, version, then numbers. */
static void head_write(char *sector, const char *magic, const uint64_t *numbers, size_t count,
                       enum sector_kind kind, uint64_t file)
{
    memset(sector, 0, SECTOR_BYTES);
    memcpy(sector, magic, MAGIC_BYTES);
    put_u32(sector + MAGIC_BYTES, FORMAT_VERSION);
    for (size_t i = 0; i < count; i++)
        put_u64(sector + 16 + 8 * i, numbers[i]);
    sector_seal(sector, kind, file, 0);
}

static int head_read(const char *sector, const char *magic, enum sector_kind kind, uint64_t file)
{
    /* The version first: another one may have another checksum. */
    if (memcmp(sector, magic, MAGIC_BYTES) == 0 && get_u32(sector + MAGIC_BYTES) != FORMAT_VERSION)
        return TTG_EVERSION;
    if (!sector_is(sector, kind, file, 0) || memcmp(sector, magic, MAGIC_BYTES) != 0)
        return TTG_ECORRUPT;
    return 0;
}

void segment_head_write(char *sector, const struct segment_head *h)
{
    const uint64_t numbers[] = {h->number, h->first, h->capacity};
    head_write(sector, segment_magic, numbers, 3, SECTOR_SEGMENT, h->number);
}

int segment_head_read(const char *sector, uint64_t number, struct segment_head *ret_head)
{
    if (bytes_are_zero(sector, SECTOR_BYTES))
        return TTG_ENOENT;
    int rc = head_read(sector, segment_magic, SECTOR_SEGMENT, number);
    if (rc)
        return rc;
    struct segment_head h = {get_u64(sector + 16), get_u64(sector + 24), get_u64(sector + 32)};
    if (h.number != number || h.first == 0 || h.capacity < SECTOR_BYTES ||
        h.capacity % SECTOR_BYTES != 0 || h.capacity > INT64_MAX)
        return TTG_ECORRUPT;
    *ret_head = h;
    return 0;
}

void snapshot_head_write(char *sector, const struct snapshot_head *h)
{
    const uint64_t numbers[] = {h->position, h->blob_table_bytes};
    head_write(sector, snapshot_magic, numbers, 2, SECTOR_SNAPSHOT, h->position);
}

int snapshot_head_read(const char *sector, uint64_t position, struct snapshot_head *ret_head)
{
    int rc = head_read(sector, snapshot_magic, SECTOR_SNAPSHOT, position);
    if (rc)
        return rc;
    struct snapshot_head h = {get_u64(sector + 16), get_u64(sector + 24)};
    if (h.position != position)
        return TTG_ECORRUPT;
    *ret_head = h;
    return 0;
}

uint32_t snapshot_chunk_crc(uint64_t position, uint64_t index, const char *bytes, size_t len)
{
    char place[16];
    put_u64(place, position);
    put_u64(place + 8, index);
    return hash_crc32c(hash_crc32c(0, place, sizeof place), bytes, len);
}

void snapshot_tail_write(char *sector, uint64_t position, uint64_t data_bytes, uint32_t table_crc)
{
    const uint64_t numbers[] = {data_bytes, table_crc};
    head_write(sector, snapshot_end_magic, numbers, 2, SECTOR_SNAPSHOT_END, position);
}

int snapshot_read(struct str file, uint64_t position, struct str *ret_table, struct str *ret_data)
{
    if (file.len < 2 * SECTOR_BYTES)
        return TTG_ECORRUPT;
    struct snapshot_head head;
    int rc = snapshot_head_read(file.ptr, position, &head);
    if (rc)
        return rc;
    const char *tail = file.ptr + file.len - SECTOR_BYTES;
    rc = head_read(tail, snapshot_end_magic, SECTOR_SNAPSHOT_END, position);
    if (rc)
        return rc;
    uint64_t bytes = get_u64(tail + 16), rest = file.len - 2 * SECTOR_BYTES;
    if (bytes > rest || head.blob_table_bytes > bytes)
        return TTG_ECORRUPT;
    uint64_t chunks = bytes / SNAPSHOT_CHUNK_BYTES + (bytes % SNAPSHOT_CHUNK_BYTES != 0);
    const char *data = file.ptr + SECTOR_BYTES, *table = data + bytes;
    if (rest - bytes != 4 * chunks || hash_crc32c(0, table, 4 * chunks) != get_u64(tail + 24))
        return TTG_ECORRUPT;
    for (uint64_t i = 0; i < chunks; i++) {
        uint64_t at = i * SNAPSHOT_CHUNK_BYTES;
        size_t len = bytes - at < SNAPSHOT_CHUNK_BYTES ? bytes - at : SNAPSHOT_CHUNK_BYTES;
        if (snapshot_chunk_crc(position, i, data + at, len) != get_u32(table + 4 * i))
            return TTG_ECORRUPT;
    }
    *ret_table = str_make(data, head.blob_table_bytes);
    *ret_data = str_make(data + head.blob_table_bytes, bytes - head.blob_table_bytes);
    return 0;
}

void blob_head_write(char *sector, uint64_t number)
{
    head_write(sector, blob_magic, &number, 1, SECTOR_BLOB, number);
}

int blob_head_read(const char *sector, uint64_t number)
{
    return head_read(sector, blob_magic, SECTOR_BLOB, number);
}

static const struct {
    const char *prefix, *suffix;
} name_forms[] = {
    [FILE_SEGMENT] = {"log-", ".seg"},
    [FILE_SNAPSHOT] = {"snapshot-", ".snap"},
    [FILE_BLOB] = {"blob-", ".blob"},
};

/* Exactly the names that file_name_write makes: a copy that a person put beside is not ours. */
static bool number_read(struct str s, uint64_t *ret_number)
{
    uint64_t n = 0;
    if (s.len != NUMBER_DIGITS)
        return false;
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s.len; i++) {
        const char *digit = memchr(digits, s.ptr[i], sizeof digits - 1);
        if (!digit)
            return false;
        n = n << 4 | (uint64_t)(digit - digits);
    }
    *ret_number = n;
    return true;
}

enum file_kind file_name_read(const char *name, uint64_t *ret_number)
{
    ensure(name);
    struct str s = str_of(name);
    if (str_eq(s, STR(SEGMENT_TMP_NAME)) || str_eq(s, STR(SNAPSHOT_TMP_NAME)))
        return FILE_LEFTOVER;
    for (enum file_kind k = FILE_SEGMENT; k <= FILE_BLOB; k++) {
        struct str prefix = str_of(name_forms[k].prefix), suffix = str_of(name_forms[k].suffix);
        if (s.len != prefix.len + NUMBER_DIGITS + suffix.len || !str_starts(s, prefix) ||
            !str_eq(str_make(s.ptr + prefix.len + NUMBER_DIGITS, suffix.len), suffix))
            continue;
        return number_read(str_make(s.ptr + prefix.len, NUMBER_DIGITS), ret_number) ? k
                                                                                    : FILE_OTHER;
    }
    return FILE_OTHER;
}

void file_name_write(char *out, enum file_kind kind, uint64_t number)
{
    ensure(kind == FILE_SEGMENT || kind == FILE_SNAPSHOT || kind == FILE_BLOB);
    snprintf(out, STORE_NAME_BYTES, "%s%016" PRIx64 "%s", name_forms[kind].prefix, number,
             name_forms[kind].suffix);
}
