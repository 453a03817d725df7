/* SPDX-License-Identifier: Apache-2.0 */
/* What people ask: status, one chunk, dead letters, events; and the check of all invariants. */
#include "base/ensure.h"
#include "base/mem.h"
#include "core/ledger_state.h"

#include <stdlib.h>

/* --- names and reasons --- */

struct ledger_name *ledger_name_new(struct str s)
{
    struct ledger_name *n = mem_alloc(sizeof *n + s.len);
    if (!n)
        return NULL;
    n->refs = 1;
    n->len = (uint32_t)s.len;
    if (s.len > 0)
        memcpy(n->bytes, s.ptr, s.len);
    return n;
}

struct ledger_name *ledger_name_ref(struct ledger_name *n)
{
    if (n)
        n->refs++;
    return n;
}

void ledger_name_free(struct ledger_name *n)
{
    if (n && --n->refs == 0)
        mem_free(n);
}

struct str ledger_reason_clip(struct str text)
{
    size_t max = LEDGER_REASON_BYTES_MAX;
    return text.len > max ? str_make(text.ptr + text.len - max, max) : text;
}

/* In no list; NULL: no memory. */
static struct ledger_reason_kept *reason_new(struct str text)
{
    text = ledger_reason_clip(text);
    struct ledger_reason_kept *r = mem_alloc(sizeof *r + text.len);
    if (!r)
        return NULL;
    *r = (struct ledger_reason_kept){.len = (uint32_t)text.len};
    if (text.len > 0)
        memcpy(r->bytes, text.ptr, text.len);
    return r;
}

void ledger_reason_add(struct ledger_chunk *c, struct ledger_name *worker, struct str text,
                       uint64_t now_ms)
{
    struct ledger_reason_kept *r = reason_new(text);
    if (!r)
        return;
    r->older = c->reasons;
    r->at_ms = now_ms;
    r->worker = ledger_name_ref(worker);
    r->attempt = c->attempts;
    c->reasons = r;
    for (size_t i = 1; r && i < LEDGER_REASONS_MAX; i++)
        r = r->older;
    if (r && r->older) {
        ledger_name_free(r->older->worker);
        mem_free(r->older);
        r->older = NULL;
    }
}

void ledger_reasons_free(struct ledger_chunk *c)
{
    for (struct ledger_reason_kept *r = c->reasons, *older; r; r = older) {
        older = r->older;
        ledger_name_free(r->worker);
        mem_free(r);
    }
    c->reasons = NULL;
}

/* Told of this very loss: at that time, of that worker, in those words. */
static bool of_loss(const struct ledger_worker *w, uint64_t at_ms, const struct ledger_name *worker,
                    struct str text)
{
    return at_ms == w->lost_ms && str_eq(ledger_name_str(worker), ledger_name_str(w->name)) &&
           str_eq(text, ledger_name_str(w->why));
}

static void chunk_reason_replace(struct ledger_chunk *c, const struct ledger_worker *w,
                                 struct str text)
{
    for (struct ledger_reason_kept **at = &c->reasons; *at; at = &(*at)->older) {
        struct ledger_reason_kept *old = *at, *r;
        if (!of_loss(w, old->at_ms, old->worker, str_make(old->bytes, old->len)))
            continue;
        r = reason_new(text);
        if (!r)
            return;
        r->older = old->older;
        r->at_ms = old->at_ms;
        r->worker = old->worker;
        r->attempt = old->attempt;
        mem_free(old);
        *at = r;
    }
}

void ledger_reasons_replace(struct ledger *l, const struct ledger_worker *w, struct str text)
{
    for (struct map_node *n = map_next(&l->chunks, NULL); n; n = map_next(&l->chunks, n))
        chunk_reason_replace(container_of(n, struct ledger_chunk, node), w, text);
    for (uint64_t seq = l->event_first; l->event_cap && seq <= l->event_seq; seq++) {
        struct ledger_event_kept *e = &l->events[seq % l->event_cap];
        if ((e->kind != LEDGER_EV_LOST && e->kind != LEDGER_EV_DEAD) ||
            !of_loss(w, e->at_ms, e->from, ledger_name_str(e->text)))
            continue;
        struct ledger_name *told = ledger_name_new(text);
        if (!told)
            return;
        ledger_name_free(e->text);
        e->text = told;
    }
}

/* --- events --- */

const char *ledger_event_name(enum ledger_event_kind kind)
{
    static const char *const names[LEDGER_EV_COUNT] = {
        "job.created",     "worker.joined", "worker.left",  "worker.lost",  "lease.expired",
        "chunk.reclaimed", "chunk.stolen",  "chunk.failed", "chunk.dead",   "chunk.redriven",
        "chunk.dropped",   "job.paused",    "job.resumed",  "job.canceled", "job.finished",
    };
    ensure(kind < LEDGER_EV_COUNT);
    return names[kind];
}

/* A place for the next event; NULL when there is no memory for the first ones. */
static struct ledger_event_kept *event_place(struct ledger *l)
{
    size_t cap = l->event_cap;
    if (l->event_seq + 1 - l->event_first >= cap && cap < LEDGER_EVENTS_MAX) {
        size_t more = cap ? cap * 4 : 16;
        struct ledger_event_kept *ring = mem_zalloc(more * sizeof *ring);
        if (ring) {
            for (uint64_t seq = l->event_first; cap > 0 && seq <= l->event_seq; seq++)
                ring[seq % more] = l->events[seq % cap];
            mem_free(l->events);
            l->events = ring;
            l->event_cap = cap = more;
        }
    }
    l->event_seq++;
    if (cap == 0) {
        l->event_first = l->event_seq + 1;
        return NULL;
    }
    if (l->event_seq - l->event_first >= cap)
        l->event_first = l->event_seq - cap + 1;
    struct ledger_event_kept *e = &l->events[l->event_seq % cap];
    ledger_name_free(e->from);
    ledger_name_free(e->to);
    ledger_name_free(e->text);
    return e;
}

bool ledger_event_restore(struct ledger *l, uint64_t seq, const struct ledger_event_kept *event)
{
    if (l->event_cap == 0)
        l->event_first = seq;
    l->event_seq = seq - 1;
    struct ledger_event_kept *e = event_place(l);
    if (e)
        *e = *event;
    return e != NULL;
}

void ledger_event_add(struct ledger *l, enum ledger_event_kind kind, uint64_t now_ms,
                      uint64_t chunk, uint64_t value, struct ledger_name *from,
                      struct ledger_name *to, struct str text)
{
    struct ledger_event_kept *e = event_place(l);
    if (!e)
        return;
    if (text.len > LEDGER_REASON_BYTES_MAX / 8)
        text = str_make(text.ptr + text.len - LEDGER_REASON_BYTES_MAX / 8,
                        LEDGER_REASON_BYTES_MAX / 8);
    *e = (struct ledger_event_kept){
        .at_ms = now_ms,
        .chunk = chunk,
        .value = value,
        .from = ledger_name_ref(from),
        .to = ledger_name_ref(to),
        .text = text.len ? ledger_name_new(text) : NULL,
        .kind = kind,
    };
}

bool ledger_event_next(const struct ledger *l, uint64_t seq, struct ledger_event *ret_event)
{
    uint64_t at = seq < l->event_first ? l->event_first : seq + 1;
    if (seq >= l->event_seq || at > l->event_seq)
        return false;
    const struct ledger_event_kept *e = &l->events[at % l->event_cap];
    *ret_event = (struct ledger_event){
        .seq = at,
        .at_ms = e->at_ms,
        .kind = e->kind,
        .chunk = e->chunk,
        .value = e->value,
        .from = ledger_name_str(e->from),
        .to = ledger_name_str(e->to),
        .text = ledger_name_str(e->text),
    };
    return true;
}

/* --- status --- */

const struct ledger_spec *ledger_spec(const struct ledger *l)
{
    return &l->spec;
}

static uint64_t completed_count(const struct ledger *l)
{
    return l->next - l->chunks.count;
}

void ledger_status(const struct ledger *l, struct ledger_status *ret_status)
{
    *ret_status = (struct ledger_status){
        .name = ledger_name_str(l->name),
        .state = l->state,
        .created_ms = l->created_ms,
        .started_ms = l->started_ms,
        .finished_ms = l->finished_ms,
        .chunks = l->chunk_count,
        .fed = l->fed,
        .next = l->next,
        .completed = completed_count(l),
        .dead = l->count[CHUNK_DEAD],
        .dropped = l->count[CHUNK_DROPPED],
        .fresh = l->fed - l->next,
        .ready = l->count[CHUNK_READY],
        .delayed = l->count[CHUNK_DELAYED],
        .leased = l->count[CHUNK_LEASED],
        .unfed = l->chunk_count - l->fed,
        .attempts = l->attempts,
        .reclaimed = l->reclaimed,
        .stolen = l->stolen,
        .stale_dropped = l->stale_dropped,
        .failures = l->failures,
        .released = l->released,
        .redriven = l->redriven,
        .workers = l->workers.count,
        .workers_lost = l->workers_lost,
        .slots = l->slots,
        .params = l->params,
        .has_sum = l->has_sum,
        .sum_overflow = l->sum_overflow,
        .sum = l->sum,
        .digest = {l->digest[0], l->digest[1]},
        .result_seq = l->result_seq,
        .result_first = l->result_first,
        .event_seq = l->event_seq,
        .boot = l->boot,
    };
}

void ledger_range(const struct ledger *l, uint64_t chunk, int64_t *ret_first, int64_t *ret_last)
{
    ensure(chunk < l->chunk_count);
    uint64_t from = chunk * l->spec.chunk_params;
    *ret_first = (int64_t)((uint64_t)l->spec.first + from);
    *ret_last = (int64_t)((uint64_t)*ret_first + ledger_range_count(l, chunk) - 1);
}

uint64_t ledger_range_count(const struct ledger *l, uint64_t chunk)
{
    uint64_t left = l->spec.params - chunk * l->spec.chunk_params;
    return left < l->spec.chunk_params ? left : l->spec.chunk_params;
}

static enum ledger_place chunk_place(const struct ledger *l, uint64_t chunk,
                                     const struct ledger_chunk *c)
{
    static const enum ledger_place places[CHUNK_STATES] = {
        [CHUNK_READY] = LEDGER_AT_READY,     [CHUNK_DELAYED] = LEDGER_AT_DELAYED,
        [CHUNK_LEASED] = LEDGER_AT_LEASED,   [CHUNK_DEAD] = LEDGER_AT_DEAD,
        [CHUNK_DROPPED] = LEDGER_AT_DROPPED,
    };
    if (c)
        return places[c->state];
    return chunk >= l->chunk_count ? LEDGER_AT_NONE
           : chunk >= l->fed       ? LEDGER_AT_UNFED
           : chunk >= l->next      ? LEDGER_AT_FRESH
                                   : LEDGER_AT_DONE;
}

void ledger_chunk_info(const struct ledger *l, uint64_t chunk, struct ledger_chunk_info *ret_info)
{
    const struct ledger_chunk *c = ledger_chunk_find(l, chunk);
    *ret_info = (struct ledger_chunk_info){.place = chunk_place(l, chunk, c)};
    if (!c)
        return;
    ret_info->attempts = c->attempts;
    ret_info->epoch = c->epoch;
    ret_info->since_ms = c->since_ms;
    ret_info->due_ms = heap_has(&c->timer) ? c->timer.key : 0;
    ret_info->worker = c->state == CHUNK_LEASED ? c->worker : NULL;
    for (const struct ledger_reason_kept *r = c->reasons; r; r = r->older)
        ret_info->reason_count++;
}

bool ledger_chunk_reason(const struct ledger *l, uint64_t chunk, size_t i,
                         struct ledger_reason *ret_reason)
{
    const struct ledger_chunk *c = ledger_chunk_find(l, chunk);
    size_t count = 0;
    for (const struct ledger_reason_kept *r = c ? c->reasons : NULL; r; r = r->older)
        count++;
    if (i >= count)
        return false;
    const struct ledger_reason_kept *r = c->reasons;
    for (size_t skip = count - 1 - i; r && skip > 0; skip--)
        r = r->older;
    ensure(r);
    *ret_reason = (struct ledger_reason){r->at_ms, r->attempt, ledger_name_str(r->worker),
                                         str_make(r->bytes, r->len)};
    return true;
}

bool ledger_dead_next(const struct ledger *l, uint64_t after, uint64_t *ret_chunk)
{
    const struct list *it = &l->dead;
    if (after != UINT64_MAX) {
        const struct ledger_chunk *c = ledger_chunk_find(l, after);
        if (!c || c->state != CHUNK_DEAD)
            return false;
        it = &c->link;
    }
    if (it->next == &l->dead)
        return false;
    *ret_chunk = container_of(it->next, struct ledger_chunk, link)->index;
    return true;
}

static int index_cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int ledger_done_each(const struct ledger *l, void (*fn)(void *ctx, uint64_t from, uint64_t to),
                     void *ctx)
{
    size_t count = 0;
    uint64_t *open = mem_array(l->chunks.count, sizeof *open), from = 0;
    if (!open)
        return TTG_ENOMEM;
    for (const struct map_node *n = NULL; (n = map_next(&l->chunks, n));)
        open[count++] = container_of(n, const struct ledger_chunk, node)->index;
    qsort(open, count, sizeof *open, index_cmp);
    for (size_t i = 0; i < count; from = open[i++] + 1)
        if (open[i] > from)
            fn(ctx, from, open[i]);
    if (l->next > from)
        fn(ctx, from, l->next);
    mem_free(open);
    return 0;
}

/* --- invariants --- */

static uint64_t check_list(const struct list *head, enum chunk_state state)
{
    uint64_t count = 0;
    for (const struct list *it = head->next; it != head; it = it->next, count++)
        ensure(container_of(it, const struct ledger_chunk, link)->state == state);
    return count;
}

void ledger_check(const struct ledger *l)
{
    ensure(l->next <= l->fed && l->fed <= l->chunk_count);
    ensure(l->chunks.count <= l->next);
    ensure(l->result_seq == completed_count(l));
    ensure(check_list(&l->ready, CHUNK_READY) == l->count[CHUNK_READY]);
    ensure(check_list(&l->dead, CHUNK_DEAD) == l->count[CHUNK_DEAD]);
    ensure(check_list(&l->dropped, CHUNK_DROPPED) == l->count[CHUNK_DROPPED]);
    uint64_t leased = 0, overloaded = 0, slots = 0, timers = 0, objects = 0;
    for (const struct ledger_worker *w = NULL; (w = ledger_worker_next(l, w));) {
        uint64_t held = check_list(&w->leases, CHUNK_LEASED), epoch = 0;
        ensure(held == w->held);
        leased += held;
        slots += w->slots;
        overloaded += held > w->slots;
        timers += w->foreign ? held : 0;
        for (const struct list *it = w->leases.next; it != &w->leases; it = it->next) {
            const struct ledger_chunk *c = container_of(it, const struct ledger_chunk, link);
            ensure(c->worker == w && c->epoch > epoch && c->epoch <= l->epoch);
            ensure(heap_has(&c->timer) == w->foreign);
            epoch = c->epoch;
        }
    }
    ensure(leased == l->count[CHUNK_LEASED]);
    ensure(slots == l->slots && overloaded == l->overloaded);
    ensure(timers + l->count[CHUNK_DELAYED] == l->timers.count);
    for (size_t i = 0; i < CHUNK_STATES; i++)
        objects += l->count[i];
    ensure(objects == l->chunks.count);
    ensure(ledger_ended(l) || ledger_open_count(l) > 0);
    ensure(l->state != LEDGER_FINISHED || (l->fed == l->chunk_count && ledger_open_count(l) == 0));
}
