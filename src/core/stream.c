/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "core/stream_block.h"
#include "core/stream_idmp.h"
#include "core/stream_store.h"

bool stream_id_next(struct stream_id *id)
{
    if (id->seq == UINT64_MAX && id->ms == UINT64_MAX)
        return false;
    if (++id->seq == 0)
        id->ms++;
    return true;
}

bool stream_id_prev(struct stream_id *id)
{
    if (stream_id_zero(*id))
        return false;
    if (id->seq-- == 0)
        id->ms--;
    return true;
}

struct stream *stream_new(const struct core_env *env, const struct stream_config *config)
{
    struct stream *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->env = env;
    s->config = config;
    return s;
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    while (s->groups.first)
        stream_group_remove(container_of(s->groups.first, struct stream_group, node));
    for (size_t i = 0; i < s->count; i++)
        store_block_free(s, store_block(s, i));
    mem_free(s->blocks);
    idmp_free(s->idmp);
    mem_free(s);
}

bool stream_id_make(const struct stream *s, uint64_t now_ms, struct stream_id *ret_id)
{
    struct stream_id id = s->last_id;
    if (now_ms > id.ms)
        id = (struct stream_id){now_ms, 0};
    else if (!stream_id_next(&id))
        return false;
    *ret_id = id;
    return true;
}

/* Whether the entry goes into a block of its own. Counts deleted entries too, as Redis does. */
static bool needs_block(const struct stream *s, const struct str *fields, size_t pairs,
                        size_t bytes_max)
{
    if (s->count == 0)
        return true;
    const struct stream_block *tail = store_block(s, s->count - 1);
    const struct stream_config *config = s->config;
    if (tail->spilled || bytes_max > STORE_BLOCK_BYTES_MAX - tail->bytes)
        return true;
    if (config->node_entries_max && tail->live + (uint64_t)tail->dead >= config->node_entries_max)
        return true;
    if (!config->node_bytes_max)
        return false;
    uint64_t content = tail->bytes;
    for (size_t i = 0; i < 2 * pairs; i++)
        content += fields[i].len;
    return content >= config->node_bytes_max;
}

int stream_append(struct stream *s, struct stream_id id, const struct str *fields, size_t pairs)
{
    if (stream_id_cmp(id, s->last_id) <= 0)
        return TTG_EINVAL;
    size_t bytes_max = block_entry_bytes_max(fields, pairs);
    if (bytes_max == SIZE_MAX)
        return TTG_EFULL;
    struct stream_block *tail;
    int rc = 0;
    if (needs_block(s, fields, pairs, bytes_max)) {
        rc = stream_store_reserve(s);
        tail = rc ? NULL : block_new(id, fields, pairs);
        if (!tail)
            return TTG_ENOMEM;
        rc = block_add(tail, id, fields, pairs);
        if (rc) {
            block_free(tail);
            return rc;
        }
        store_push(s, tail);
    } else {
        rc = block_add(store_block(s, s->count - 1), id, fields, pairs);
        if (rc)
            return rc;
    }
    s->length++;
    s->entries_added++;
    s->last_id = id;
    if (s->length == 1)
        s->first_id = id;
    return 0;
}

/* Sets first_id again after removals. Blocks without live entries are gone, so that the first block
 * has the answer. */
static void find_first(struct stream *s)
{
    struct stream_iter it;
    struct stream_entry e;
    s->first_id = STREAM_ID_MIN;
    if (s->length == 0)
        return;
    stream_iter_open(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, false);
    if (stream_iter_next(&it, &e))
        s->first_id = e.id;
    else
        s->first_id = store_block(s, 0)->first; /* unreadable: the best we know */
    stream_iter_close(&it);
}

/* Finds a live entry in a block that is in memory. */
static bool find_entry(const struct stream_block *b, struct stream_id id, struct block_entry *ret)
{
    const char *at = b->data + b->skip, *end = b->data + b->bytes;
    for (; at < end; at = ret->next) {
        block_parse(b, at, ret);
        int c = stream_id_cmp(ret->id, id);
        if (c >= 0)
            return c == 0 && !(*ret->flags & ENTRY_DELETED);
    }
    return false;
}

int stream_remove(struct stream *s, struct stream_id id, bool tombstone)
{
    size_t i = store_find(s, id);
    struct block_entry e;
    if (i == STORE_NONE)
        return TTG_ENOENT;
    struct stream_block *b = store_block(s, i);
    if (stream_id_cmp(id, b->last) > 0)
        return TTG_ENOENT;
    int rc = b->spilled ? stream_lookup(s, id) : 0; /* not brought back for nothing */
    if (!rc)
        rc = store_fetch(s, b);
    if (rc)
        return rc;
    if (!find_entry(b, id, &e))
        return TTG_ENOENT;
    block_mark(b, &e);
    s->length--;
    if (b->live == 0)
        store_drop(s, i, 1);
    if (tombstone && stream_id_cmp(id, s->max_deleted_id) > 0)
        s->max_deleted_id = id;
    if (s->length == 0 || stream_id_cmp(id, s->first_id) == 0)
        find_first(s);
    return 0;
}

/* How many blocks go as a whole, from the front, and their entries. False: the limit stops it, so
 * that no block is to be opened. */
static bool trim_whole(const struct stream *s, const struct stream_trim *t, size_t *ret_blocks,
                       uint64_t *ret_entries)
{
    size_t i = 0;
    uint64_t gone = 0;
    bool open = true;
    for (; i < s->count; i++) {
        const struct stream_block *b = store_block(s, i);
        uint64_t length = s->length - gone;
        if (!t->by_id && length <= t->length_max) {
            open = false;
            break;
        }
        if (t->limit && gone + b->live > t->limit) {
            open = false;
            break;
        }
        bool whole =
            t->by_id ? stream_id_cmp(b->last, t->id_min) < 0 : length - b->live >= t->length_max;
        if (!whole)
            break;
        gone += b->live;
    }
    *ret_blocks = i;
    *ret_entries = gone;
    return open && i < s->count;
}

/* Marks entries at the front of the first block. */
static uint64_t trim_inside(struct stream *s, struct stream_block *b, const struct stream_trim *t)
{
    uint64_t gone = 0;
    struct block_entry e;
    for (const char *at = b->data + b->skip; at < b->data + b->bytes; at = e.next) {
        block_parse(b, at, &e);
        if (t->by_id ? stream_id_cmp(e.id, t->id_min) >= 0 : s->length <= t->length_max)
            break;
        if (*e.flags & ENTRY_DELETED)
            continue;
        block_mark(b, &e);
        s->length--;
        gone++;
    }
    return gone;
}

int stream_trim(struct stream *s, const struct stream_trim *t, uint64_t *ret_removed)
{
    size_t blocks;
    uint64_t gone;
    bool open = trim_whole(s, t, &blocks, &gone);
    struct stream_block *edge = open && !t->whole_blocks ? store_block(s, blocks) : NULL;
    if (edge && t->by_id && stream_id_cmp(edge->first, t->id_min) >= 0)
        edge = NULL;
    int rc = edge ? store_fetch(s, edge) : 0;
    if (rc)
        return rc;
    store_drop(s, 0, blocks);
    s->length -= gone;
    if (edge) {
        gone += trim_inside(s, edge, t);
        /* all its live entries may lie below the id with a deleted one behind them */
        if (edge->live == 0)
            store_drop(s, 0, 1);
    }
    if (gone > 0)
        find_first(s);
    if (ret_removed)
        *ret_removed = gone;
    return 0;
}

int stream_trim_below(struct stream *s, struct stream_id id, uint64_t *ret_removed)
{
    struct stream_trim t = {.by_id = true, .id_min = id};
    return stream_trim(s, &t, ret_removed);
}

int stream_setid(struct stream *s, struct stream_id last_id, int64_t added,
                 struct stream_id deleted)
{
    struct stream_block *tail = s->count ? store_block(s, s->count - 1) : NULL;
    if (tail && stream_id_cmp(tail->last, last_id) > 0) {
        int rc = store_fetch(s, tail);
        if (rc)
            return rc;
        block_cut(tail); /* new entries may have ids below those of deleted ones */
    }
    s->last_id = last_id;
    if (added != -1)
        s->entries_added = (uint64_t)added;
    if (!stream_id_zero(deleted))
        s->max_deleted_id = deleted;
    return 0;
}

int stream_lookup(const struct stream *s, struct stream_id id)
{
    struct stream_iter it;
    struct stream_entry e;
    stream_iter_open(&it, s, id, id, false);
    bool found = stream_iter_next(&it, &e);
    int rc = it.rc;
    stream_iter_close(&it);
    return rc ? rc : found ? 0 : TTG_ENOENT;
}

struct stream_id stream_last_live(const struct stream *s)
{
    struct stream_iter it;
    struct stream_entry e = {0};
    stream_iter_open(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, true);
    stream_iter_next(&it, &e);
    stream_iter_close(&it);
    return e.id;
}
