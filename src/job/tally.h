/* SPDX-License-Identifier: Apache-2.0 */
/* tally - counts result lines, and so proves that every chunk has exactly one.
 *
 * It knows nothing of queues, cursors or collectors: it reads lines, from a file or as they go by,
 * and keeps which chunks it saw (as intervals), which ones twice, the sum and the order-free digest
 * of what it read. tally_compare then holds that against what the ledger says. */
#ifndef TTG_JOB_TALLY_H
#define TTG_JOB_TALLY_H

#include "base/buf.h"
#include "base/err.h"

enum { TALLY_LISTED_MAX = 20 }; /* chunks named in a report */

struct tally_interval {
    uint64_t from, to; /* [from, to) */
};

/* Where the job's chunks lie: then each line has to say the parameters of its chunk. */
struct tally_grid {
    int64_t first;
    uint64_t params, chunk_params; /* chunk_params 0: not known */
};

struct tally {
    struct tally_grid grid;
    struct tally_interval *seen; /* sorted, apart */
    size_t count, cap;
    uint64_t lines, chunks, doubled, garbled, misplaced, params;
    uint64_t doubled_chunks[TALLY_LISTED_MAX], garbled_lines[TALLY_LISTED_MAX];
    uint64_t misplaced_chunks[TALLY_LISTED_MAX];
    bool has_sum, sum_overflow;
    __int128 sum;
    uint64_t digest[2];
    struct buf room, output; /* scratch */
};

/* What the ledger says. */
struct tally_truth {
    uint64_t chunks;    /* of the job */
    uint64_t completed; /* UINT64_MAX: unknown, then all chunks */
    bool has_digest;
    uint64_t digest[2];
};

enum tally_verdict { TALLY_PROVEN, TALLY_WRONG };

void tally_init(struct tally *t);
void tally_done(struct tally *t);
/* Forgets all lines, not where the chunks lie. */
void tally_clear(struct tally *t);

/* Whole lines. TTG_ENOMEM. A line that is no result counts as garbled. */
int tally_add(struct tally *t, struct str lines);

/* Whether a line of that chunk was there, and the lowest chunk of which none was. */
bool tally_has(const struct tally *t, uint64_t chunk);
uint64_t tally_first_missing(const struct tally *t);

/* Reads a whole output file, or "-". */
int tally_file(struct tally *t, const char *path, struct err *err);

/* Whether the lines are exactly the job's results, and in words what is wrong: missing, doubled,
 * misplaced and garbled ones by number, as far as they fit. `missing_allowed`: chunks that need no
 * result (dead letters). */
enum tally_verdict tally_compare(const struct tally *t, const struct tally_truth *truth,
                                 struct buf *report);

#endif
