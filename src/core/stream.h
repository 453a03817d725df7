/* SPDX-License-Identifier: Apache-2.0 */
/* stream - an append-only list of entries with consumer groups, as Redis has them.
 *
 * Entries are packed into blocks of up to a hundred; a block names the fields once and its entries
 * carry only what differs, so an entry costs a few bytes beyond its content. The directory of
 * blocks is sorted by id. An entry deleted in the middle is marked; a block without live entries
 * goes. A stream with `spill` set hands its older blocks to the environment and reads them back
 * when a range touches them.
 *
 * A group remembers what it handed out in pending entries, ordered by id, once for the group and
 * once for the consumer. Everything here is plain mechanism without replies: the X commands and
 * the job ledger both stand on it. Nothing here wakes blocked readers: after adding, the caller
 * calls core_ready with the stream's key. */
#ifndef TTG_CORE_STREAM_H
#define TTG_CORE_STREAM_H

#include "base/list.h"
#include "core/state.h"

struct stream_id {
    uint64_t ms, seq;
};

#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})

static inline int stream_id_cmp(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return (a.seq > b.seq) - (a.seq < b.seq);
}

static inline bool stream_id_zero(struct stream_id id)
{
    return !id.ms && !id.seq;
}

/* The neighbour; false and unchanged at the end of the range. */
bool stream_id_next(struct stream_id *id);
bool stream_id_prev(struct stream_id *id);

struct stream;
struct stream_group;
struct stream_consumer;

/* An entry that was delivered and not yet acknowledged. */
struct stream_pending {
    struct tree_node by_group;
    struct stream_id id; /* here, so that a search touches one cache line of each */
    struct tree_node by_consumer;
    struct stream_consumer *consumer;
    uint64_t delivered_ms;
    uint64_t deliveries;
    void *owner; /* for whoever guards the stream: NULL in entries that others made */
};

struct stream_consumer {
    struct tree_node node; /* in group->consumers, by name */
    struct stream_group *group;
    struct str name; /* owned */
    struct tree pending;
    uint64_t seen_ms;
    void *owner;
};

enum { STREAM_READ_UNKNOWN = -1 };

struct stream_group {
    struct tree_node node; /* in stream->groups, by name */
    struct stream *stream;
    struct str name; /* owned */
    struct stream_id last_id;
    int64_t entries_read; /* or STREAM_READ_UNKNOWN */
    struct tree pending, consumers;
    struct stream_consumer nobody; /* holds what was released; not among the consumers */
    uint64_t oldest_ms;            /* no pending entry was delivered before; a bound, not saved */
    void *owner;
};

/* What the guardian of a stream wants to know about commands of clients. Never called for what the
 * guardian does itself through this header. */
struct stream_hooks {
    /* XREADGROUP, XCLAIM or XAUTOCLAIM has given `p` to its consumer (with NOACK: `p` is NULL). */
    void (*on_deliver)(void *ctx, struct stream *s, struct stream_pending *p, struct stream_id id,
                       uint64_t now_ms);
    /* XACK, XACKDEL, XGROUP DELCONSUMER or a claim of a deleted entry is about to remove `p`. */
    void (*on_ack)(void *ctx, struct stream *s, struct stream_pending *p, uint64_t now_ms);
    /* XADD is about to add: `fields` are pairs of name and value. True: go on. False: the guardian
     * has dealt with it, nothing is added and the client is told `id`. */
    bool (*on_add)(void *ctx, struct stream *s, struct stream_id id, const struct str *fields,
                   size_t pairs, uint64_t now_ms);
    /* XREADGROUP asks for new entries: one that was delivered before and has to be delivered again,
     * before those behind the group's last id. False: none. It is delivered next, with on_deliver.
     */
    bool (*on_read)(void *ctx, const struct stream_group *g, struct stream_id *ret_id);
};

struct stream_block;

struct stream {
    struct stream_block **blocks; /* [at .. at + count), by id */
    size_t at, count, cap;
    uint64_t length, entries_added;
    struct stream_id first_id, last_id, max_deleted_id;
    struct tree groups;
    const struct stream_config *config;
    const struct core_env *env;
    bool spill;               /* older blocks live in env->blob_* */
    struct stream_idmp *idmp; /* NULL: no producer has asked for it */

    /* For the guardian; not saved, it sets them again after a load. With `guard` set, XDEL, XTRIM,
     * XSETID, DEL, RENAME, SET, XGROUP DESTROY and XGROUP SETID answer "ERR GUARD". The text is
     * borrowed and says why and what to do instead. */
    const char *guard;
    const struct stream_hooks *hooks;
    void *hooks_ctx;
};

/* NULL when there is no memory. Use key_stream_open for one with a name. */
struct stream *stream_new(const struct core_env *env, const struct stream_config *config);
void stream_free(struct stream *s);

/* The id that XADD * gives at this time; false when the last possible one is used up. */
bool stream_id_make(const struct stream *s, uint64_t now_ms, struct stream_id *ret_id);

/* Adds an entry. TTG_EINVAL: the id is not greater than the last one, TTG_EFULL: too large,
 * TTG_ENOMEM; in every case the stream is unchanged. */
int stream_append(struct stream *s, struct stream_id id, const struct str *fields, size_t pairs);

/* Removes one entry. TTG_ENOENT when it is not there. With `tombstone` it counts as a deletion that
 * makes a group's lag unknown, as XDEL does; without, like trimming. */
int stream_remove(struct stream *s, struct stream_id id, bool tombstone);

/* Removes all entries below the id; how many in ret_removed (may be NULL). */
int stream_trim_below(struct stream *s, struct stream_id id, uint64_t *ret_removed);

struct stream_trim {
    bool by_id, whole_blocks;
    uint64_t length_max;     /* !by_id */
    struct stream_id id_min; /* by_id */
    uint64_t limit;          /* entries; 0: none */
};
int stream_trim(struct stream *s, const struct stream_trim *t, uint64_t *ret_removed);

/* What XSETID sets: `added` -1 and `deleted` zero leave those as they are. The id is not below the
 * last live entry. */
int stream_setid(struct stream *s, struct stream_id last_id, int64_t added,
                 struct stream_id deleted);

/* 0 when the entry exists, TTG_ENOENT, or that its block cannot be read back. */
int stream_lookup(const struct stream *s, struct stream_id id);
static inline bool stream_has(const struct stream *s, struct stream_id id)
{
    return stream_lookup(s, id) == 0;
}
/* The last entry that is not deleted; STREAM_ID_MIN when there is none. */
struct stream_id stream_last_live(const struct stream *s);

/* To a snapshot and back. Loading fills an empty stream; errors in u->rc. */
void stream_save(const struct stream *s, struct core_saver *out);
void stream_load(struct stream *s, struct unpacker *u);
uint64_t stream_digest(const struct stream *s);
/* What was released, which the above leave out. */
bool stream_has_released(const struct stream *s);
void stream_released_save(const struct stream *s, struct core_saver *out);
void stream_released_load(struct stream *s, struct unpacker *u);

/* Groups and consumers. */
struct stream_group *stream_group_find(const struct stream *s, struct str name);
/* NULL when there is no memory. The name is new. */
struct stream_group *stream_group_add(struct stream *s, struct str name, struct stream_id last_id,
                                      int64_t entries_read);
void stream_group_remove(struct stream_group *g);
struct stream_consumer *stream_consumer_find(const struct stream_group *g, struct str name);
/* NULL when there is no memory. The name is new. */
struct stream_consumer *stream_consumer_add(struct stream_group *g, struct str name,
                                            uint64_t now_ms);
/* With all its pending entries. */
void stream_consumer_remove(struct stream_consumer *consumer);
/* How many entries the group has still to read; false when nobody can know. */
bool stream_group_lag(const struct stream_group *g, int64_t *ret_lag);

/* Gives the entry to the consumer: makes its pending entry with one delivery, or takes over the one
 * that exists, and moves the group's last id and read counter on when the id is beyond. NULL when
 * there is no memory; nothing has changed then. */
struct stream_pending *stream_deliver(struct stream_consumer *consumer, struct stream_id id,
                                      uint64_t now_ms);
/* Only the last part of it, as XREADGROUP NOACK does. */
void stream_group_read(struct stream_group *g, struct stream_id id);
struct stream_pending *stream_pending_find(const struct stream_group *g, struct stream_id id);
/* The first at or behind the id; consumer NULL: of the whole group. */
struct stream_pending *stream_pending_from(const struct stream_group *g,
                                           const struct stream_consumer *consumer,
                                           struct stream_id id);
/* In the same order; NULL at the end. */
struct stream_pending *stream_pending_next(const struct stream_pending *p, bool in_consumer);
/* To another consumer of the same group (or the same one): time and count are set. */
void stream_pending_move(struct stream_pending *p, struct stream_consumer *to, uint64_t now_ms,
                         uint64_t deliveries);
/* Acknowledges: the pending entry is gone. */
void stream_pending_remove(struct stream_pending *p);

/* Takes it from its consumer, for anybody to claim at once. */
void stream_release(struct stream_pending *p, uint64_t deliveries);
static inline bool stream_is_released(const struct stream_pending *p)
{
    return p->consumer == &p->consumer->group->nobody;
}

/* Pending entries that were delivered at least `idle_ms` ago, exist and have no owner: what
 * somebody else may take over. A look at all pending entries, and only when one may be idle. */
bool stream_idle_any(struct stream_group *g, uint64_t now_ms, uint64_t idle_ms);
/* Their ids, the longest idle one first, deleted entries too; to be freed. TTG_ENOMEM. */
int stream_idle_list(struct stream_group *g, uint64_t now_ms, uint64_t idle_ms,
                     struct stream_id **ret_ids, size_t *ret_count);
/* When the next one may become idle: not later than it does. */
uint64_t stream_idle_next_ms(const struct stream_group *g, uint64_t now_ms, uint64_t idle_ms);

/* Walks the entries of a range, deleted ones left out. The stream must not change meanwhile. */
struct stream_iter {
    const struct stream *s;
    struct stream_id from, to;
    bool reverse;
    size_t block; /* index in the directory */
    const char *data, *at, *end;
    struct buf spilled; /* a block that was read back */
    int rc;             /* a block could not be read back */
};

struct stream_entry {
    struct stream_id id;
    size_t pairs;
    bool own_names;
    const char *names, *values; /* where the next ones are */
};

void stream_iter_open(struct stream_iter *it, const struct stream *s, struct stream_id from,
                      struct stream_id to, bool reverse);
bool stream_iter_next(struct stream_iter *it, struct stream_entry *ret_entry);
void stream_iter_close(struct stream_iter *it);
/* Call it `pairs` times at most. Views until the next step of the iterator. */
void stream_entry_field(struct stream_entry *e, struct str *ret_name, struct str *ret_value);

#endif
