/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/ledger_state.h"

static bool chunk_is(const struct map_node *node, const void *key)
{
    return container_of(node, const struct ledger_chunk, node)->index == *(const uint64_t *)key;
}

struct ledger_chunk *ledger_chunk_find(const struct ledger *l, uint64_t index)
{
    if (index >= l->next)
        return NULL;
    struct map_node *n = map_find(&l->chunks, hash_u64(index), chunk_is, &index);
    return n ? container_of(n, struct ledger_chunk, node) : NULL;
}

int ledger_reserve(struct ledger *l, uint64_t count)
{
    if (count > LEDGER_WINDOW_MAX + LEDGER_TAKE_MAX)
        return TTG_EFULL;
    int rc = map_reserve(&l->chunks);
    if (!rc)
        rc = heap_reserve(&l->timers, l->chunks.count + count);
    while (!rc && l->free_count < count) {
        struct ledger_slab *slab = mem_alloc(sizeof *slab);
        if (!slab)
            return TTG_ENOMEM;
        slab->next = l->slabs;
        l->slabs = slab;
        for (size_t i = 0; i < sizeof slab->chunks / sizeof *slab->chunks; i++)
            list_push_back(&l->free, &slab->chunks[i].link);
        l->free_count += sizeof slab->chunks / sizeof *slab->chunks;
    }
    return rc;
}

struct ledger_chunk *ledger_chunk_new(struct ledger *l, uint64_t index)
{
    struct list *link = list_pop_front(&l->free);
    ensure(link != NULL);
    l->free_count--;
    struct ledger_chunk *c = container_of(link, struct ledger_chunk, link);
    *c = (struct ledger_chunk){.index = index, .state = CHUNK_STATES};
    list_init(&c->link);
    int rc = map_add(&l->chunks, &c->node, hash_u64(index));
    ensure(rc == 0);
    return c;
}

void ledger_chunk_free(struct ledger *l, struct ledger_chunk *c)
{
    ensure(c->state == CHUNK_STATES);
    ledger_reasons_free(c);
    map_remove(&l->chunks, &c->node);
    list_push_front(&l->free, &c->link);
    l->free_count++;
}

void ledger_chunk_leave(struct ledger *l, struct ledger_chunk *c)
{
    if (c->state == CHUNK_STATES)
        return;
    list_remove(&c->link);
    heap_remove(&l->timers, &c->timer);
    l->count[c->state]--;
    if (c->state == CHUNK_LEASED) {
        struct ledger_worker *w = c->worker;
        if (w->held-- == w->slots + 1u)
            l->overloaded--;
        /* Its next take may have come before this: then it was refused, and waits. */
        if (w->held < w->slots)
            l->effects |= LEDGER_WAKE_TAKERS;
    } else {
        ledger_name_free(c->from);
    }
    c->from = NULL;
    c->state = CHUNK_STATES;
}

static void chunk_put(struct ledger *l, struct ledger_chunk *c, enum chunk_state state,
                      uint64_t now_ms)
{
    ensure(c->state == CHUNK_STATES);
    c->state = (uint8_t)state;
    c->since_ms = now_ms;
    l->count[state]++;
}

static void chunk_timer(struct ledger *l, struct ledger_chunk *c, uint64_t due_ms)
{
    int rc = heap_set(&l->timers, &c->timer, due_ms);
    ensure(rc == 0); /* room for all objects was reserved */
}

void ledger_chunk_ready(struct ledger *l, struct ledger_chunk *c, struct ledger_name *from,
                        uint64_t now_ms)
{
    chunk_put(l, c, CHUNK_READY, now_ms);
    c->from = ledger_name_ref(from);
    list_push_back(&l->ready, &c->link);
    l->effects |= LEDGER_WAKE_TAKERS;
}

void ledger_chunk_delay(struct ledger *l, struct ledger_chunk *c, uint64_t due_ms, uint64_t now_ms)
{
    chunk_put(l, c, CHUNK_DELAYED, now_ms);
    c->from = NULL;
    chunk_timer(l, c, due_ms);
}

void ledger_chunk_attach(struct ledger *l, struct ledger_chunk *c, struct ledger_worker *w)
{
    chunk_put(l, c, CHUNK_LEASED, c->since_ms);
    c->worker = w;
    list_push_back(&w->leases, &c->link);
    if (w->held++ == w->slots)
        l->overloaded++;
}

void ledger_chunk_lease(struct ledger *l, struct ledger_chunk *c, struct ledger_worker *w,
                        uint64_t now_ms)
{
    c->epoch = ++l->epoch;
    c->charged = false;
    c->since_ms = now_ms;
    ledger_chunk_attach(l, c, w);
    if (w->foreign)
        chunk_timer(l, c, now_ms + l->spec.stale_ms);
    if (l->ops.on_leased)
        l->ops.on_leased(l->ops.ctx, c->index, w, now_ms);
}

void ledger_chunk_bury(struct ledger *l, struct ledger_chunk *c, bool dropped, uint64_t now_ms)
{
    c->epoch = 0;
    chunk_put(l, c, dropped ? CHUNK_DROPPED : CHUNK_DEAD, now_ms);
    c->from = NULL;
    list_push_back(dropped ? &l->dropped : &l->dead, &c->link);
}

void ledger_chunk_charge(struct ledger *l, struct ledger_chunk *c)
{
    if (c->charged)
        return;
    c->charged = true;
    c->attempts++;
    l->attempts++;
}

void ledger_chunk_return(struct ledger *l, struct ledger_chunk *c, bool charge, bool lost,
                         struct str reason, uint64_t now_ms)
{
    ensure(c->state == CHUNK_LEASED);
    struct ledger_worker *w = c->worker;
    w->pace.ran = 0;
    if (charge) {
        ledger_chunk_charge(l, c);
        ledger_reason_add(c, w->name, reason, now_ms);
    }
    if (lost) {
        l->reclaimed++;
        w->lost++;
    } else {
        l->released++;
    }
    ledger_chunk_leave(l, c);
    if (charge && c->attempts >= l->spec.max_attempts) {
        ledger_chunk_bury(l, c, false, now_ms);
        ledger_event_add(l, LEDGER_EV_DEAD, now_ms, c->index, c->attempts, w->name, NULL, reason);
        if (l->ops.on_dead)
            l->ops.on_dead(l->ops.ctx, c->index, w);
        return;
    }
    ledger_chunk_ready(l, c, lost ? w->name : NULL, now_ms);
    if (l->ops.on_returned)
        l->ops.on_returned(l->ops.ctx, c->index, w);
}

struct ledger_chunk *ledger_chunk_skip_to(struct ledger *l, uint64_t chunk, uint64_t now_ms)
{
    ensure(chunk >= l->next && chunk < l->fed);
    struct ledger_chunk *c = NULL;
    for (uint64_t index = l->next; index <= chunk; index++) {
        l->next = index + 1;
        c = ledger_chunk_new(l, index);
        if (index < chunk)
            ledger_chunk_ready(l, c, NULL, now_ms);
    }
    return c;
}
