/* SPDX-License-Identifier: Apache-2.0 */
/* backlog - chunks that were taken and have not started, in the order they were taken.
 *
 * Kept as runs of neighbouring chunks, so that a thousand prefetched chunks are one element. */
#ifndef TTG_WORKER_BACKLOG_H
#define TTG_WORKER_BACKLOG_H

#include "core/ledger.h"

struct backlog_run {
    struct ledger_run run;
    uint64_t taken_ms;
};

struct backlog {
    struct backlog_run *runs; /* ring */
    size_t first, count, cap;
    uint64_t chunks;
};

void backlog_init(struct backlog *b);
void backlog_done(struct backlog *b);
void backlog_clear(struct backlog *b);

/* TTG_ENOMEM. */
int backlog_push(struct backlog *b, const struct ledger_run *run, uint64_t now_ms);

/* The oldest chunk, as a run of one. False when empty. */
bool backlog_pop(struct backlog *b, struct ledger_run *ret_chunk);

/* Takes one lease out, wherever it is. False: not there, or there is no memory to split a run. */
bool backlog_remove(struct backlog *b, uint64_t chunk, uint64_t epoch);

/* Gives a lease its new epoch. False as above. */
bool backlog_renew(struct backlog *b, struct ledger_held old, uint64_t epoch);

/* When the oldest chunk was taken; UINT64_MAX when empty. */
uint64_t backlog_oldest_ms(const struct backlog *b);

/* Up to `max` chunks, oldest first; returns how many. */
size_t backlog_list(const struct backlog *b, struct ledger_held *out, size_t max);

#endif
