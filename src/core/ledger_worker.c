/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/ledger_state.h"

#include <stdlib.h>

static bool worker_is(const struct map_node *node, const void *key)
{
    const struct ledger_worker *w = container_of(node, const struct ledger_worker, node);
    return str_eq(ledger_name_str(w->name), *(const struct str *)key);
}

struct ledger_worker *ledger_worker_named(const struct ledger *l, struct str name)
{
    struct map_node *n = map_find(&l->workers, hash_xxh3(name.ptr, name.len, 0), worker_is, &name);
    return n ? container_of(n, struct ledger_worker, node) : NULL;
}

struct ledger_worker *ledger_worker(const struct ledger *l, struct str name, uint64_t incarnation)
{
    struct ledger_worker *w = ledger_worker_named(l, name);
    return w && w->incarnation == incarnation ? w : NULL;
}

struct ledger_worker *ledger_worker_any(const struct ledger *l, struct str name,
                                        uint64_t incarnation)
{
    struct ledger_worker *live = ledger_worker(l, name, incarnation);
    if (live)
        return live;
    for (struct list *it = l->gone.next; it != &l->gone; it = it->next) {
        struct ledger_worker *w = container_of(it, struct ledger_worker, link);
        if (w->incarnation == incarnation && str_eq(ledger_name_str(w->name), name))
            return w;
    }
    return NULL;
}

struct ledger_worker *ledger_worker_next(const struct ledger *l, const struct ledger_worker *w)
{
    struct list *it = w ? w->link.next : l->live.next;
    return it == &l->live ? NULL : container_of(it, struct ledger_worker, link);
}

void ledger_worker_info(const struct ledger_worker *w, struct ledger_worker_info *ret_info)
{
    *ret_info = (struct ledger_worker_info){
        .name = ledger_name_str(w->name),
        .host = w->host ? ledger_name_str(w->host) : STR(""),
        .incarnation = w->incarnation,
        .client = w->client,
        .joined_ms = w->joined_ms,
        .away_from_ms = w->away_from_ms,
        .slots = w->slots,
        .foreign = w->foreign,
        .held = w->held,
        .completed = w->completed,
        .failed = w->failed,
        .lost = w->lost,
    };
}

int ledger_worker_set_host(struct ledger_worker *w, struct str host)
{
    struct ledger_name *name = NULL;
    if (w->host ? str_eq(ledger_name_str(w->host), host) : host.len == 0)
        return 0;
    if (host.len > 0 && !(name = ledger_name_new(host)))
        return TTG_ENOMEM;
    ledger_name_free(w->host);
    w->host = name;
    return 0;
}

void ledger_worker_set_owner(struct ledger_worker *w, void *owner)
{
    w->owner = owner;
}

void *ledger_worker_owner(const struct ledger_worker *w)
{
    return w->owner;
}

struct ledger_worker *ledger_worker_new(struct str name, uint32_t recent)
{
    struct ledger_worker *w = mem_zalloc(sizeof *w);
    if (!w)
        return NULL;
    list_init(&w->link);
    list_init(&w->leases);
    w->name = ledger_name_new(name);
    w->recent_cap = recent;
    if (recent > 0)
        w->recent = mem_array(recent, sizeof *w->recent);
    if (!w->name || (recent > 0 && !w->recent)) {
        ledger_worker_free(w);
        return NULL;
    }
    return w;
}

void ledger_worker_free(struct ledger_worker *w)
{
    if (!w)
        return;
    ledger_name_free(w->name);
    ledger_name_free(w->host);
    ledger_name_free(w->why);
    mem_free(w->recent);
    mem_free(w);
}

/* Keeps the remembered commits where they fit. */
static int worker_resize_recent(struct ledger_worker *w, uint32_t recent)
{
    if (recent <= w->recent_cap)
        return 0;
    struct ledger_held *ring = mem_array(recent, sizeof *ring);
    if (!ring)
        return TTG_ENOMEM;
    for (uint32_t i = 0; i < w->recent_count; i++)
        ring[i] = w->recent[(w->recent_at + w->recent_cap - w->recent_count + i) % w->recent_cap];
    mem_free(w->recent);
    w->recent = ring;
    w->recent_cap = recent;
    w->recent_at = w->recent_count % recent;
    return 0;
}

bool ledger_worker_remembers(const struct ledger_worker *w, uint64_t chunk, uint64_t epoch)
{
    for (uint32_t i = 0; i < w->recent_count && !LEDGER_PLANT(LEDGER_PLANT_NO_MEMORY); i++)
        if (w->recent[i].chunk == chunk && w->recent[i].epoch == epoch)
            return true;
    return false;
}

void ledger_worker_remember(struct ledger_worker *w, uint64_t chunk, uint64_t epoch)
{
    if (w->recent_cap == 0)
        return;
    w->recent[w->recent_at] = (struct ledger_held){chunk, epoch};
    w->recent_at = w->recent_at + 1 == w->recent_cap ? 0 : w->recent_at + 1;
    if (w->recent_count < w->recent_cap)
        w->recent_count++;
}

void ledger_worker_enter(struct ledger *l, struct ledger_worker *w)
{
    struct str name = ledger_name_str(w->name);
    int rc = map_add(&l->workers, &w->node, hash_xxh3(name.ptr, name.len, 0));
    ensure(rc == 0);
    list_push_back(&l->live, &w->link);
    l->slots += w->slots;
}

static void worker_go(struct ledger *l, struct ledger_worker *w)
{
    ensure(w->held == 0);
    map_remove(&l->workers, &w->node);
    list_remove(&w->link);
    l->slots -= w->slots;
    w->client = 0;
    if (l->ops.on_gone)
        l->ops.on_gone(l->ops.ctx, w);
    w->gone = true;
    list_push_back(&l->gone, &w->link);
    if (++l->gone_count > LEDGER_GONE_MAX) {
        ledger_worker_free(container_of(list_pop_front(&l->gone), struct ledger_worker, link));
        l->gone_count--;
    }
}

uint64_t ledger_leave(struct ledger *l, struct ledger_worker *w, uint64_t now_ms)
{
    uint64_t count = w->held;
    list_each(it, &w->leases)
    {
        struct ledger_chunk *c = container_of(it, struct ledger_chunk, link);
        c->epoch = 0;
        ledger_chunk_return(l, c, false, false, STR(""), now_ms);
    }
    ledger_event_add(l, LEDGER_EV_LEFT, now_ms, UINT64_MAX, count, w->name, NULL, STR(""));
    worker_go(l, w);
    ledger_settle(l, now_ms);
    return count;
}

uint64_t ledger_lost(struct ledger *l, struct ledger_worker *w, struct str reason, uint64_t now_ms)
{
    uint64_t count = w->held, at = 0;
    reason = ledger_reason_clip(reason);
    ledger_event_add(l, LEDGER_EV_LOST, now_ms, UINT64_MAX, count, w->name, NULL, reason);
    list_each(it, &w->leases)
    {
        struct ledger_chunk *c = container_of(it, struct ledger_chunk, link);
        /* Leases are in take order and a worker starts them in that order, so behind the first
         * `slots` nothing has started: those pay no attempt. */
        ledger_chunk_return(l, c, at++ < w->slots, true, reason, now_ms);
        if (LEDGER_PLANT(LEDGER_PLANT_FORGET) && c->state == CHUNK_READY)
            list_remove(&c->link);
    }
    l->workers_lost++;
    w->lost_ms = now_ms;
    w->why = ledger_name_new(reason);
    worker_go(l, w);
    ledger_settle(l, now_ms);
    return count;
}

bool ledger_lost_reason(struct ledger *l, struct str name, uint64_t incarnation, struct str reason)
{
    struct ledger_worker *w = ledger_worker_any(l, name, incarnation);
    if (!w || !w->gone || w->lost_ms == 0)
        return false;
    reason = ledger_reason_clip(reason);
    struct ledger_name *why = ledger_name_new(reason);
    if (!w->why || !why || str_eq(ledger_name_str(w->why), reason)) {
        ledger_name_free(why);
        return true;
    }
    ledger_reasons_replace(l, w, reason);
    ledger_name_free(w->why);
    w->why = why;
    return true;
}

/* --- joining --- */

static int held_cmp(const void *a, const void *b)
{
    const struct ledger_held *x = a, *y = b;
    return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

static bool held_has(const struct ledger_held *sorted, size_t count, uint64_t chunk, uint64_t epoch)
{
    size_t from = 0, to = count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (sorted[middle].chunk < chunk)
            from = middle + 1;
        else
            to = middle;
    }
    for (; from < count && sorted[from].chunk == chunk; from++)
        if (sorted[from].epoch == epoch)
            return true;
    return false;
}

/* Leases that the worker does not know of: their grant got lost on the way. */
static void join_return_unknown(struct ledger *l, struct ledger_worker *w,
                                const struct ledger_held *sorted, size_t count, uint64_t now_ms)
{
    list_each(it, &w->leases)
    {
        struct ledger_chunk *c = container_of(it, struct ledger_chunk, link);
        if (!held_has(sorted, count, c->index, c->epoch))
            ledger_chunk_return(l, c, false, false, STR(""), now_ms);
    }
}

/* Its holder was found lost, or too slow to start it, and somebody else got it; then the node died
 * and forgot that. The newer lease goes on. */
static void join_supersede(struct ledger *l, struct ledger_chunk *c, uint64_t now_ms)
{
    bool started = false; /* as when a worker is lost: the oldest of its leases have */
    uint32_t slots = c->worker->slots;
    list_each(it, &c->worker->leases)
    {
        if (slots-- == 0 || started)
            break;
        started = container_of(it, struct ledger_chunk, link) == c;
    }
    ledger_chunk_return(l, c, started, started, STR("went to another worker before the restart"),
                        now_ms);
}

/* What the worker holds and the ledger can still give it. */
static void join_adopt(struct ledger *l, struct ledger_worker *w, struct ledger_held *h,
                       uint64_t now_ms)
{
    struct ledger_chunk *c = ledger_chunk_find(l, h->chunk);
    if (c && c->state == CHUNK_LEASED && c->worker == w && c->epoch == h->epoch)
        return;
    if (ledger_worker_remembers(w, h->chunk, h->epoch))
        return; /* committed, and the answer got lost: repeating it will say so */
    bool fresh = h->chunk >= l->next && h->chunk < l->fed;
    uint64_t epoch = h->epoch;
    h->epoch = 0;
    if (c && c->state == CHUNK_LEASED && c->epoch < epoch && epoch >> LEDGER_EPOCH_BITS < l->boot)
        join_supersede(l, c, now_ms);
    /* Not if somebody else has had it since: that lease is superseded, as a commit would be. */
    bool back = c && c->state == CHUNK_READY && c->epoch <= epoch;
    if (l->state == LEDGER_CANCELED || !(fresh || back))
        return;
    if ((l->epoch + 1) >> LEDGER_EPOCH_BITS != l->boot)
        return;
    if (fresh) {
        /* A take that was answered but not on disk when the node died. */
        if (ledger_reserve(l, h->chunk - l->next + 1))
            return;
        c = ledger_chunk_skip_to(l, h->chunk, now_ms);
    }
    ledger_chunk_leave(l, c);
    ledger_chunk_lease(l, c, w, now_ms);
    h->epoch = c->epoch;
}

static int join_find(struct ledger *l, struct str name, uint64_t incarnation, uint32_t recent,
                     uint64_t now_ms, struct ledger_worker **ret_worker, bool *ret_new)
{
    struct ledger_worker *w = ledger_worker_named(l, name),
                         *known = ledger_worker_any(l, name, incarnation);
    int rc = map_reserve(&l->workers);
    if (rc)
        return rc;
    if (known && known->replaced)
        return TTG_ESTALE;
    if (known) {
        rc = worker_resize_recent(known, recent);
        if (rc)
            return rc;
    } else {
        known = ledger_worker_new(name, recent);
        if (!known)
            return TTG_ENOMEM;
        known->incarnation = incarnation;
    }
    *ret_new = known != w;
    if (known->gone) { /* it is back */
        known->gone = false;
        known->lost_ms = 0;
        ledger_name_free(known->why);
        known->why = NULL;
        list_remove(&known->link);
        l->gone_count--;
    }
    if (w && w != known) {
        w->replaced = true;
        if (w->foreign)
            ledger_leave(l, w, now_ms);
        else
            ledger_lost(l, w, STR("replaced by a new incarnation"), now_ms);
    }
    *ret_worker = known;
    return 0;
}

int ledger_join(struct ledger *l, struct str name, uint64_t incarnation, uint64_t client,
                uint32_t slots, uint32_t recent, struct ledger_held *held, size_t held_count,
                uint64_t now_ms, struct ledger_worker **ret_worker)
{
    ensure(slots > 0 && slots <= LEDGER_SLOTS_MAX && recent <= LEDGER_RECENT_MAX);
    ensure(name.len > 0 && name.len <= LEDGER_NAME_BYTES_MAX && incarnation > 0);
    struct ledger_held *sorted = mem_array(held_count, sizeof *sorted);
    if (!sorted)
        return TTG_ENOMEM;
    struct ledger_worker *w = NULL;
    bool is_new = false;
    /* The room for chunks that may be adopted, before anything changes. */
    uint64_t room = held_count;
    for (size_t i = 0; i < held_count; i++)
        if (held[i].chunk >= l->next && held[i].chunk < l->fed &&
            held[i].chunk - l->next + 1 + held_count > room)
            room = held[i].chunk - l->next + 1 + held_count;
    int rc = held_count ? ledger_reserve(l, room) : 0;
    if (!rc)
        rc = join_find(l, name, incarnation, recent, now_ms, &w, &is_new);
    if (rc)
        goto out;
    if (held_count > 0)
        memcpy(sorted, held, held_count * sizeof *sorted);
    qsort(sorted, held_count, sizeof *sorted, held_cmp);

    if (is_new) {
        w->slots = slots;
        w->joined_ms = now_ms;
        ledger_worker_enter(l, w);
        ledger_event_add(l, LEDGER_EV_JOINED, now_ms, UINT64_MAX, slots, w->name, NULL, STR(""));
        if (l->ops.on_joined)
            l->ops.on_joined(l->ops.ctx, w);
    } else {
        l->overloaded -= w->held > w->slots;
        l->slots += slots;
        l->slots -= w->slots;
        w->slots = slots;
        l->overloaded += w->held > w->slots;
    }
    w->client = client;
    join_return_unknown(l, w, sorted, held_count, now_ms);
    for (size_t i = 0; i < held_count; i++)
        join_adopt(l, w, &held[i], now_ms);
    ledger_settle(l, now_ms);
    *ret_worker = w;
out:
    mem_free(sorted);
    return rc;
}

int ledger_join_foreign(struct ledger *l, struct str name, uint64_t now_ms,
                        struct ledger_worker **ret_worker)
{
    ensure(name.len <= LEDGER_NAME_BYTES_MAX);
    struct ledger_worker *w = ledger_worker_named(l, name);
    if (w && !w->foreign)
        return TTG_EEXIST;
    if (!w) {
        int rc = map_reserve(&l->workers);
        if (rc)
            return rc;
        w = ledger_worker_new(name, 0);
        if (!w)
            return TTG_ENOMEM;
        w->foreign = true;
        w->slots = 1;
        w->joined_ms = now_ms;
        ledger_worker_enter(l, w);
        ledger_event_add(l, LEDGER_EV_JOINED, now_ms, UINT64_MAX, 1, w->name, NULL, STR(""));
        if (l->ops.on_joined)
            l->ops.on_joined(l->ops.ctx, w);
    }
    *ret_worker = w;
    return 0;
}
