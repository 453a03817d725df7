/* SPDX-License-Identifier: Apache-2.0 */
/* stream_block - how entries are packed.
 *
 * A block opens with the field names of its first entry: count, then each with its length. Entries
 * follow, oldest first:
 *
 *     size | flags | ms - first.ms | seq - first.seq | [count, names] | values | size, backwards
 *
 * Numbers are varints, the difference of the sequence numbers with a sign. Names are left out where
 * they equal those of the block. The size counts from the flags to the last value; its second copy
 * is written with its bytes reversed, so that a block can be walked from either end. Deleting sets
 * a flag; nothing moves. */
#ifndef TTG_CORE_STREAM_BLOCK_H
#define TTG_CORE_STREAM_BLOCK_H

#include "core/stream.h"

enum { ENTRY_OWN_NAMES = 1, ENTRY_DELETED = 2 };

struct stream_block {
    struct stream_id first, last; /* of the entries ever added, deleted ones too */
    uint32_t live, dead, bytes;
    uint32_t skip; /* where the first entry lies that may be live */
    bool spilled;
    union {
        struct {
            char *data;
            uint32_t cap;
        };
        struct blob_ref ref;
    };
};

/* A parsed entry. */
struct block_entry {
    struct stream_id id;
    const char *flags, *body, *next; /* body: names or values */
    const char *start;
};

static inline const char *block_u64(const char *at, uint64_t *ret_value)
{
    uint64_t byte = (unsigned char)*at++, value = byte & 0x7f;
    for (unsigned shift = 7; byte & 0x80; shift += 7) {
        byte = (unsigned char)*at++;
        value |= (byte & 0x7f) << shift;
    }
    *ret_value = value;
    return at;
}

/* NULL when there is no memory. */
struct stream_block *block_new(struct stream_id first, const struct str *fields, size_t pairs);
/* Its memory only; who has spilled it frees the blob. */
void block_free(struct stream_block *b);

/* Upper bound of what an entry takes; SIZE_MAX when it is too large to be stored at all. */
size_t block_entry_bytes_max(const struct str *fields, size_t pairs);

/* Behind the last entry; the block is in memory. TTG_ENOMEM. */
int block_add(struct stream_block *b, struct stream_id id, const struct str *fields, size_t pairs);

/* Gives back its bytes, which lie elsewhere now. */
void block_give(struct stream_block *b);

/* Gives back memory that nobody will fill. */
void block_seal(struct stream_block *b);

/* Where the entries begin. */
const char *block_entries(const char *data);
/* Parses the entry at `at`. */
void block_parse(const struct stream_block *b, const char *at, struct block_entry *ret_entry);
/* The start of the entry that ends at `at`. */
const char *block_before(const char *at);

/* Marks the entry as deleted; the block is in memory. */
void block_mark(struct stream_block *b, const struct block_entry *e);

/* Takes deleted entries off the end; the block is in memory and has a live one. */
void block_cut(struct stream_block *b);

/* Whether these bytes are a block with just these ids and counts: for what comes from a file. */
bool block_check(const struct stream_block *b, const char *data, size_t bytes);

#endif
