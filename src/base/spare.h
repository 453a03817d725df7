/* SPDX-License-Identifier: Apache-2.0 */
/* spare - large pieces of memory that were in use a moment ago.
 *
 * A piece of a megabyte from the system comes as 256 pages, each filled with zeros when it is
 * touched first, which costs more than to copy something into it. Whoever passes on large results
 * needs such pieces again and again: a few that were given back are kept for the next one. Any
 * thread; what is kept is bounded by SPARE_PIECES * SPARE_BYTES_MAX. */
#ifndef TTG_BASE_SPARE_H
#define TTG_BASE_SPARE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SPARE_PIECES = 8,
    SPARE_BYTES_MIN = 256 << 10,
    SPARE_BYTES_MAX = 2 << 20,
    SPARE_WASTE = 4, /* a piece is at most so many times as large as asked for */
};

/* A piece of mem_alloc with *ret_bytes bytes, at least `bytes`; NULL when none fits. */
void *spare_take(size_t bytes, size_t *ret_bytes);

/* False: it is not kept, the caller frees it. */
bool spare_give(void *piece, size_t bytes);
/* Kept, or else freed. Accepts NULL. */
void spare_free(void *piece, size_t bytes);

/* Frees what is kept. */
void spare_drop(void);

#endif
