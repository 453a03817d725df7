/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"
#include "base/mem.h"
#include "core/stream.h"

static struct stream_pending *of_group(const struct tree_node *n)
{
    return n ? container_of(n, struct stream_pending, by_group) : NULL;
}

static struct stream_pending *of_consumer(const struct tree_node *n)
{
    return n ? container_of(n, struct stream_pending, by_consumer) : NULL;
}

static int cmp_group(const struct tree_node *n, const void *key)
{
    return str_cmp(container_of(n, struct stream_group, node)->name, *(const struct str *)key);
}

static int cmp_consumer(const struct tree_node *n, const void *key)
{
    return str_cmp(container_of(n, struct stream_consumer, node)->name, *(const struct str *)key);
}

static int cmp_by_group(const struct tree_node *n, const void *key)
{
    return stream_id_cmp(of_group(n)->id, *(const struct stream_id *)key);
}

static int cmp_by_consumer(const struct tree_node *n, const void *key)
{
    return stream_id_cmp(of_consumer(n)->id, *(const struct stream_id *)key);
}

struct stream_group *stream_group_find(const struct stream *s, struct str name)
{
    struct tree_node *n = tree_find(&s->groups, &name, cmp_group);
    return n ? container_of(n, struct stream_group, node) : NULL;
}

struct stream_group *stream_group_add(struct stream *s, struct str name, struct stream_id last_id,
                                      int64_t entries_read)
{
    struct stream_group *g = mem_zalloc(sizeof *g);
    char *copy = mem_dup(name.ptr, name.len);
    if (!g || !copy) {
        mem_free(g);
        mem_free(copy);
        return NULL;
    }
    g->stream = s;
    g->nobody = (struct stream_consumer){.group = g, .name = STR("")};
    g->name = str_make(copy, name.len);
    g->last_id = last_id;
    g->entries_read = entries_read;
    struct tree_node *there = tree_add(&s->groups, &g->node, &g->name, cmp_group);
    ensure(!there);
    return g;
}

void stream_group_remove(struct stream_group *g)
{
    while (g->consumers.first)
        stream_consumer_remove(container_of(g->consumers.first, struct stream_consumer, node));
    while (g->nobody.pending.first)
        stream_pending_remove(of_consumer(g->nobody.pending.first));
    ensure(g->pending.count == 0);
    tree_remove(&g->stream->groups, &g->node);
    mem_free((char *)(uintptr_t)g->name.ptr);
    mem_free(g);
}

struct stream_consumer *stream_consumer_find(const struct stream_group *g, struct str name)
{
    struct tree_node *n = tree_find(&g->consumers, &name, cmp_consumer);
    return n ? container_of(n, struct stream_consumer, node) : NULL;
}

struct stream_consumer *stream_consumer_add(struct stream_group *g, struct str name,
                                            uint64_t now_ms)
{
    struct stream_consumer *c = mem_zalloc(sizeof *c);
    char *copy = mem_dup(name.ptr, name.len);
    if (!c || !copy) {
        mem_free(c);
        mem_free(copy);
        return NULL;
    }
    c->group = g;
    c->name = str_make(copy, name.len);
    c->seen_ms = now_ms;
    struct tree_node *there = tree_add(&g->consumers, &c->node, &c->name, cmp_consumer);
    ensure(!there);
    return c;
}

void stream_consumer_remove(struct stream_consumer *consumer)
{
    while (consumer->pending.first)
        stream_pending_remove(of_consumer(consumer->pending.first));
    tree_remove(&consumer->group->consumers, &consumer->node);
    mem_free((char *)(uintptr_t)consumer->name.ptr);
    mem_free(consumer);
}

/* Whether an entry at or behind the id was deleted out of the middle. */
static bool tombstone_from(const struct stream *s, struct stream_id id)
{
    if (s->length == 0 || stream_id_zero(s->max_deleted_id))
        return false;
    if (stream_id_cmp(s->first_id, s->max_deleted_id) > 0)
        return false;
    return stream_id_cmp(id, s->max_deleted_id) <= 0;
}

/* How many entries were ever added up to the id, where that can be told: at both ends of the stream
 * and, without deletions, before it. */
static int64_t distance_from_start(const struct stream *s, struct stream_id id)
{
    if (s->entries_added == 0)
        return 0;
    int64_t added = (int64_t)s->entries_added;
    int at_last = stream_id_cmp(id, s->last_id);
    if (at_last == 0 || (s->length == 0 && at_last < 0))
        return added;
    if (at_last > 0)
        return STREAM_READ_UNKNOWN;
    if (!stream_id_zero(s->max_deleted_id) && stream_id_cmp(s->max_deleted_id, s->first_id) >= 0)
        return STREAM_READ_UNKNOWN;
    int at_first = stream_id_cmp(id, s->first_id);
    if (at_first > 0)
        return STREAM_READ_UNKNOWN;
    return added - (int64_t)s->length + (at_first == 0);
}

bool stream_group_lag(const struct stream_group *g, int64_t *ret_lag)
{
    const struct stream *s = g->stream;
    int64_t read = g->entries_read;
    if (s->entries_added == 0) {
        *ret_lag = 0;
        return true;
    }
    if (read == STREAM_READ_UNKNOWN || tombstone_from(s, g->last_id))
        read = distance_from_start(s, g->last_id);
    if (read == STREAM_READ_UNKNOWN)
        return false;
    *ret_lag = (int64_t)(s->entries_added - (uint64_t)read);
    return true;
}

void stream_group_read(struct stream_group *g, struct stream_id id)
{
    const struct stream *s = g->stream;
    if (stream_id_cmp(id, g->last_id) <= 0)
        return;
    if (g->entries_read != STREAM_READ_UNKNOWN && !tombstone_from(s, id))
        g->entries_read = (int64_t)((uint64_t)g->entries_read + 1);
    else if (s->entries_added)
        g->entries_read = distance_from_start(s, id);
    g->last_id = id;
}

struct stream_pending *stream_pending_find(const struct stream_group *g, struct stream_id id)
{
    return of_group(tree_find(&g->pending, &id, cmp_by_group));
}

struct stream_pending *stream_pending_from(const struct stream_group *g,
                                           const struct stream_consumer *consumer,
                                           struct stream_id id)
{
    if (consumer)
        return of_consumer(tree_ceil(&consumer->pending, &id, cmp_by_consumer));
    return of_group(tree_ceil(&g->pending, &id, cmp_by_group));
}

struct stream_pending *stream_pending_next(const struct stream_pending *p, bool in_consumer)
{
    return in_consumer ? of_consumer(tree_next(&p->by_consumer))
                       : of_group(tree_next(&p->by_group));
}

static void note_delivery(struct stream_group *g, uint64_t now_ms)
{
    if (now_ms < g->oldest_ms || g->pending.count == 0)
        g->oldest_ms = now_ms;
}

struct stream_pending *stream_deliver(struct stream_consumer *consumer, struct stream_id id,
                                      uint64_t now_ms)
{
    struct stream_group *g = consumer->group;
    struct stream_pending *last = of_group(g->pending.last), *p = NULL;
    if (last && stream_id_cmp(last->id, id) >= 0)
        p = stream_pending_find(g, id);
    if (p) {
        stream_pending_move(p, consumer, now_ms, 1);
    } else {
        p = mem_alloc(sizeof *p);
        if (!p)
            return NULL;
        *p = (struct stream_pending){
            .id = id, .consumer = consumer, .delivered_ms = now_ms, .deliveries = 1};
        note_delivery(g, now_ms);
        tree_add(&g->pending, &p->by_group, &id, cmp_by_group);
        tree_add(&consumer->pending, &p->by_consumer, &id, cmp_by_consumer);
    }
    stream_group_read(g, id);
    return p;
}

void stream_pending_move(struct stream_pending *p, struct stream_consumer *to, uint64_t now_ms,
                         uint64_t deliveries)
{
    ensure(to->group == p->consumer->group);
    p->delivered_ms = now_ms;
    p->deliveries = deliveries;
    note_delivery(to->group, now_ms);
    if (to == p->consumer)
        return;
    tree_remove(&p->consumer->pending, &p->by_consumer);
    tree_add(&to->pending, &p->by_consumer, &p->id, cmp_by_consumer);
    p->consumer = to;
}

void stream_release(struct stream_pending *p, uint64_t deliveries)
{
    stream_pending_move(p, &p->consumer->group->nobody, 0, deliveries);
}

void stream_pending_remove(struct stream_pending *p)
{
    tree_remove(&p->consumer->group->pending, &p->by_group);
    tree_remove(&p->consumer->pending, &p->by_consumer);
    mem_free(p);
}
