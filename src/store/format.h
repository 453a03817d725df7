/* SPDX-License-Identifier: Apache-2.0 */
/* format - how the files of a store look, byte by byte.
 *
 * Everything that is written in place is made of sectors of 512 bytes, because that is what a disk
 * writes whole or not at all: 508 bytes of content and a checksum that also covers what kind of
 * sector this is, of which file and at which place. Room that was never written is zero, and a
 * sector of zeros is never a valid one. So each sector is *written*, *unwritten* or *damaged*, and
 * a crash leaves only the first two: that is how a torn tail differs from damage.
 *
 *   segment   sector 0: magic, version, number, first position, capacity
 *             then batches, each from a sector of its own:
 *             [magic count bytes crc first durable] records ... zeros up to the sector's end
 *   record    length, crc, group, type (u32 each), bytes; the crc covers the position too
 *   snapshot  head sector | data | a crc for each 64 KiB of data | tail sector
 *             data is the list of blob files, then what the caller wrote
 *   blobs     head sector | bytes ...
 *
 * Integers are little-endian. */
#ifndef TTG_STORE_FORMAT_H
#define TTG_STORE_FORMAT_H

#include "store/store.h"

enum {
    SECTOR_BYTES = 512,
    PIECE_BYTES = SECTOR_BYTES - 4, /* content of a sector */
    FORMAT_VERSION = 1,
    BATCH_HEAD_BYTES = 32,
    RECORD_HEAD_BYTES = 16,
    SNAPSHOT_CHUNK_BYTES = 65536,
};

enum sector_kind {
    SECTOR_UNWRITTEN = 0,
    SECTOR_SEGMENT,
    SECTOR_BATCH, /* the first of a batch: nobody's record bytes can pass for one */
    SECTOR_BODY,
    SECTOR_SNAPSHOT,
    SECTOR_SNAPSHOT_END,
    SECTOR_BLOB,
    SECTOR_DAMAGED,
};

void put_u32(char *at, uint32_t v);
void put_u64(char *at, uint64_t v);
uint32_t get_u32(const char *at);
uint64_t get_u64(const char *at);

/* Fills in the checksum of the sector at `sector`, whose content stands already. */
void sector_seal(char *sector, enum sector_kind kind, uint64_t file, uint64_t index);
bool sector_is(const char *sector, enum sector_kind kind, uint64_t file, uint64_t index);
/* Unwritten, batch, body or damaged. */
enum sector_kind sector_of_log(const char *sector, uint64_t file, uint64_t index);
bool bytes_are_zero(const char *bytes, size_t len);

/* Bytes on disk of a batch with `bytes` bytes of records. */
static inline uint64_t frame_bytes(uint64_t bytes)
{
    return (bytes + BATCH_HEAD_BYTES + PIECE_BYTES - 1) / PIECE_BYTES * SECTOR_BYTES;
}

struct batch_head {
    uint32_t count, bytes, crc;
    uint64_t first;
    uint64_t durable; /* all records up to here were on disk when this was written */
};

/* Sectors [from, from + count) of those that the batch takes, at `out`; the first of all goes to
 * `offset` of segment `file`. `head->crc` is that of the records. */
void frame_write(char *out, const struct batch_head *head, const char *records, uint64_t file,
                 uint64_t offset, uint64_t from, uint64_t count);

/* The head in a valid SECTOR_BATCH. TTG_ECORRUPT when nobody writes such. */
int batch_head_read(const char *sector, struct batch_head *ret_head);

/* The record bytes out of the sectors of a batch to `out` (head->bytes of them). TTG_ECORRUPT when
 * a sector or the sum is wrong. */
int frame_read(const char *in, const struct batch_head *head, char *out, uint64_t file,
               uint64_t offset);

void record_write(char *out, uint64_t position, uint32_t group, uint32_t type, struct str bytes);
/* The record at the front of `rest`, which moves behind it. */
int record_read(struct str *rest, uint64_t position, struct store_record *ret_record);

struct segment_head {
    uint64_t number, first, capacity;
};

void segment_head_write(char *sector, const struct segment_head *h);
/* TTG_ENOENT: unwritten (a spare). TTG_EVERSION, TTG_ECORRUPT. */
int segment_head_read(const char *sector, uint64_t number, struct segment_head *ret_head);

struct snapshot_head {
    uint64_t position, blob_table_bytes;
};

void snapshot_head_write(char *sector, const struct snapshot_head *h);
int snapshot_head_read(const char *sector, uint64_t position, struct snapshot_head *ret_head);
uint32_t snapshot_chunk_crc(uint64_t position, uint64_t index, const char *bytes, size_t len);
void snapshot_tail_write(char *sector, uint64_t position, uint64_t data_bytes, uint32_t table_crc);
/* Checks a whole snapshot file. `ret_table` is the list of blob files, `ret_data` the rest. */
int snapshot_read(struct str file, uint64_t position, struct str *ret_table, struct str *ret_data);

void blob_head_write(char *sector, uint64_t number);
int blob_head_read(const char *sector, uint64_t number);

/* File names. */
enum file_kind { FILE_OTHER, FILE_SEGMENT, FILE_SNAPSHOT, FILE_BLOB, FILE_LEFTOVER };
enum file_kind file_name_read(const char *name, uint64_t *ret_number);
/* `out` has STORE_NAME_BYTES. */
void file_name_write(char *out, enum file_kind kind, uint64_t number);
#define LOCK_NAME "lock"
#define SEGMENT_TMP_NAME "segment.tmp"
#define SNAPSHOT_TMP_NAME "snapshot.tmp"

#endif
