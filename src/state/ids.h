/* SPDX-License-Identifier: Apache-2.0 */
/* ids - which messages of a client were counted: a set of byte strings, exact.
 *
 * The ids stand one behind the other in one piece of memory, and a table of places in it finds
 * them: about 12 bytes more than the id itself. No false answers, as a hash alone would give: a
 * message taken for another would be lost.
 *
 * For a summary row the set becomes text: ids that end in consecutive numbers of one width become
 * a range, `CLI1[00000001-00000900]`, the others stand for themselves, with %XX for what would be
 * mistaken. Items are separated by blanks. */
#ifndef TTG_STATE_IDS_H
#define TTG_STATE_IDS_H

#include "base/buf.h"

enum { IDS_BYTES_MAX = 1024 /* of an id */, IDS_COUNT_MAX = 1 << 27 /* of a client */ };

struct ids {
    char *bytes; /* each: length (2 bytes), id */
    size_t used, cap;
    uint64_t *slots; /* upper half: hash, lower half: place + 1; 0: free */
    size_t slot_count, count;
    uint64_t seed;
};

void ids_init(struct ids *s, uint64_t seed);
void ids_done(struct ids *s);
/* Memory it takes. */
size_t ids_memory(const struct ids *s);

bool ids_has(const struct ids *s, struct str id);
/* Room for one more id of this length: ids_add cannot fail then. TTG_ENOMEM, TTG_EFULL. */
int ids_reserve(struct ids *s, size_t len);
/* The id is not in yet. */
void ids_add(struct ids *s, struct str id);

/* Forgets the oldest ids but so many. */
void ids_trim(struct ids *s, size_t keep);

/* Hands over the text of the whole set in pieces of at most `bytes_max` (>= 4 times IDS_BYTES_MAX).
 * A result other than 0 ends it. */
int ids_text(const struct ids *s, size_t bytes_max, int (*on_piece)(void *ctx, struct str text),
             void *ctx);
/* Adds what a text names. TTG_ECORRUPT, TTG_ENOMEM, TTG_EFULL. */
int ids_read(struct ids *s, struct str text);

#endif
