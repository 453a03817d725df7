/* SPDX-License-Identifier: Apache-2.0 */
/* A segment file of any bytes is read, refused or repaired, and never more than that.
 *
 * Raw bytes rarely pass a checksum, so the first byte asks for help: bit 0, the rest are contents
 * of sectors and each gets a valid sum behind its 508 bytes (one that starts like a batch as the
 * head of a batch); bit 1, the sum over the records of each batch is made right as well; bit 2,
 * each record's own; bit 3, the same bytes are the second segment, behind an empty first one. */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sim/disk.h"
#include "store/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CAPACITY = 64 * SECTOR_BYTES, SEALED = 1, SUMMED = 2, RECORDS = 4, SECOND = 8 };

static void fix_records(char *records, uint64_t bytes, uint64_t position)
{
    for (uint64_t at = 0; bytes - at >= RECORD_HEAD_BYTES; position++) {
        uint64_t len = get_u32(records + at), room = bytes - at - RECORD_HEAD_BYTES;
        if (len > room)
            break;
        struct str s = str_make(records + at + RECORD_HEAD_BYTES, (size_t)len);
        record_write(records + at, position, get_u32(records + at + 8), get_u32(records + at + 12),
                     s);
        at += RECORD_HEAD_BYTES + len;
    }
}

/* `content` has `len` bytes of pieces, and zeros behind. Where a batch begins its sum is fixed. */
static void fix_batches(char *content, size_t len, unsigned help)
{
    struct batch_head head;
    for (size_t at = 0; at + PIECE_BYTES <= len; at += PIECE_BYTES) {
        if (batch_head_read(content + at, &head) || head.bytes > len - at - BATCH_HEAD_BYTES)
            continue;
        char *records = content + at + BATCH_HEAD_BYTES;
        if (help & RECORDS)
            fix_records(records, head.bytes, head.first);
        put_u32(content + at + 12, hash_crc32c(0, records, head.bytes));
    }
}

static void fill(char *file, const uint8_t *data, size_t size, unsigned help, uint64_t number)
{
    static char content[CAPACITY];
    segment_head_write(file, &(struct segment_head){number, 1, CAPACITY});
    if (!(help & SEALED)) {
        memcpy(file, data, size < CAPACITY ? size : CAPACITY);
        return;
    }
    size_t pieces = CAPACITY / SECTOR_BYTES - 1, room = pieces * PIECE_BYTES;
    memset(content, 0, sizeof content);
    memcpy(content, data, size < room ? size : room);
    if (help & SUMMED)
        fix_batches(content, room, help);
    for (size_t i = 0; i < pieces; i++) {
        struct batch_head head;
        char *sector = file + (i + 1) * SECTOR_BYTES;
        memcpy(sector, content + i * PIECE_BYTES, PIECE_BYTES);
        if (bytes_are_zero(sector, PIECE_BYTES))
            continue;
        bool begins = batch_head_read(sector, &head) == 0;
        sector_seal(sector, begins ? SECTOR_BATCH : SECTOR_BODY, number, i + 1);
    }
}

static int on_record(void *ctx, const struct store_record *r)
{
    uint64_t *last = ctx;
    ensure(r->position == *last + 1);
    *last = r->position;
    hash_crc32c(0, r->bytes.ptr, r->bytes.len);
    return 0;
}

static int start(const struct store_options *o, uint64_t *ret_last)
{
    struct store *s;
    *ret_last = 0;
    int rc = store_open(o, &s, NULL);
    if (rc)
        return rc;
    const struct store_recovery recovery = {ret_last, NULL, on_record};
    rc = store_recover(s, &recovery, NULL, NULL);
    ensure(rc || store_last_position(s) == *ret_last);
    if (!rc) {
        ensure(store_reserve(s, 1, 3, 0) == 0);
        ensure(store_append(s, 0, 0, STR("abc"), ret_last) == 0);
        ensure(store_flush(s, NULL) == 0);
    }
    store_close(s);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char file[CAPACITY];
    if (size == 0 || size > CAPACITY)
        return 0;
    struct sim_disk *sim;
    ensure(sim_disk_new(1, &sim) == 0);
    uint64_t number = data[0] & SECOND ? 2 : 1;
    char name[STORE_NAME_BYTES];
    memset(file, 0, sizeof file);
    if (number == 2) {
        segment_head_write(file, &(struct segment_head){1, 1, SECTOR_BYTES});
        file_name_write(name, FILE_SEGMENT, 1);
        sim_disk_set(sim, name, file, SECTOR_BYTES);
        memset(file, 0, SECTOR_BYTES);
    }
    fill(file, data + 1, size - 1, data[0], number);
    file_name_write(name, FILE_SEGMENT, number);
    sim_disk_set(sim, name, file, CAPACITY);

    struct store_options o = {.disk = sim_disk_disk(sim), .segment_bytes = CAPACITY};
    struct store_report report, repaired;
    uint64_t last, again;
    int checked = store_check(&o, &report, NULL);
    int rc = start(&o, &last);
    ensure((checked == 0) == (rc == 0));
    if (rc && store_repair(&o, "x", &repaired, NULL) == 0) {
        ensure(start(&o, &last) == 0);
        ensure(last == repaired.last + 1);
    }
    if (!rc)
        ensure(start(&o, &again) == 0 && again == last + 1);
    sim_disk_free(sim);
    return 0;
}
