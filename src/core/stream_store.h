/* SPDX-License-Identifier: Apache-2.0 */
/* stream_store - the directory of a stream's blocks, and the way of old blocks out of memory and
 * back. */
#ifndef TTG_CORE_STREAM_STORE_H
#define TTG_CORE_STREAM_STORE_H

#include "core/stream_block.h"

enum { STORE_BLOCK_BYTES_MAX = 1 << 30, STORE_IN_MEMORY = 4, STORE_SPILL_AT_ONCE = 8 };
#define STORE_NONE SIZE_MAX

static inline struct stream_block *store_block(const struct stream *s, size_t i)
{
    return s->blocks[s->at + i];
}

/* The last block that begins at or before the id; STORE_NONE when there is none. */
size_t store_find(const struct stream *s, struct stream_id id);

/* Room for one more block. TTG_ENOMEM. */
int stream_store_reserve(struct stream *s);
/* Adds a block behind the others; the one before it is sealed and older ones may be spilled. */
void store_push(struct stream *s, struct stream_block *b);
/* Removes and frees `n` blocks from index `i` on. */
void store_drop(struct stream *s, size_t i, size_t n);
/* Frees a block and what it has outside. */
void store_block_free(struct stream *s, struct stream_block *b);

/* Reads a spilled block's bytes and checks them. */
int stream_store_read(const struct stream *s, const struct stream_block *b, struct buf *out);
/* Brings a spilled block back into memory to be changed; nothing to do when it is there. */
int store_fetch(struct stream *s, struct stream_block *b);

#endif
