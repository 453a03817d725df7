/* SPDX-License-Identifier: Apache-2.0 */
/* rlog - the entries that a node holds in memory: (base, last], contiguous, so that messages and
 * writes simply point at them.
 *
 * Room is reserved before a step changes anything; within a step nothing moves and nothing fails.
 * Each entry remembers the write that makes it durable, and the log how far all of them are. */
#ifndef TTG_CORE_RAFT_RLOG_H
#define TTG_CORE_RAFT_RLOG_H

#include "core/raft/raft.h"

#include <stddef.h>

struct raft_log {
    struct raft_entry *entries;
    size_t start, count, cap;           /* entries[start] has index base + 1 */
    uint64_t base, base_term, base_seq; /* base_seq: the write that made the base durable */
    uint64_t base_total;
    uint64_t stable; /* all up to here are sound and durable */
    uint64_t hole;   /* the first damaged entry, UINT64_MAX: none */
};

void rlog_init(struct raft_log *l, uint64_t base, uint64_t base_term);
void rlog_done(struct raft_log *l);

/* Room for n more. TTG_ENOMEM, unchanged. */
int rlog_reserve(struct raft_log *l, size_t n);

static inline uint64_t rlog_last(const struct raft_log *l)
{
    return l->base + l->count;
}

static inline bool rlog_has_room(const struct raft_log *l, size_t n)
{
    return l->start + l->count + n <= l->cap;
}

/* base < index <= last */
struct raft_entry *rlog_at(const struct raft_log *l, uint64_t index);
/* base <= index <= last */
uint64_t rlog_term(const struct raft_log *l, uint64_t index);
/* Whether this very entry is here; false for what is compacted, except the base itself. */
bool rlog_has(const struct raft_log *l, uint64_t index, uint64_t term);
/* The last index up to `index` whose term is at most `term`; the base at the least. */
uint64_t rlog_floor(const struct raft_log *l, uint64_t index, uint64_t term);
uint64_t rlog_bytes(const struct raft_log *l, uint64_t from, uint64_t to); /* of (from, to] */

/* There is room. Takes a reference; nobody waits for the copy yet. */
void rlog_append(struct raft_log *l, const struct raft_entry *e, uint64_t seq);
/* Puts the data back into a damaged entry. */
void rlog_fill(struct raft_log *l, uint64_t index, struct raft_blob *data, uint64_t seq);
/* Drops `index` and all behind. */
void rlog_cut(struct raft_log *l, uint64_t index);
/* Drops all up to `index`, which becomes the base. */
void rlog_compact(struct raft_log *l, uint64_t index);
/* Drops everything; the base is elsewhere. */
void rlog_reset(struct raft_log *l, uint64_t index, uint64_t term);
/* Writes up to `seq` are durable. */
void rlog_stored(struct raft_log *l, uint64_t seq);

#endif
