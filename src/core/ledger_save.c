/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger to bytes and back. What can be derived is not written, so it cannot disagree. The timers
 * are written in the order of their heap and come back to the same places: which of two equal
 * times is first does not change by a restart. */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/ledger_state.h"

enum { SAVE_VERSION = 4, SAVE_VERSION_OLDEST = 1 };

/* --- out --- */

static void save_name(struct packer *p, const struct ledger_name *n)
{
    pack_str(p, ledger_name_str(n));
}

static void save_spec(struct packer *p, const struct ledger_spec *s)
{
    pack_i64(p, s->first);
    pack_u64(p, s->params);
    pack_u64(p, s->chunk_params);
    pack_u64(p, s->window);
    pack_u64(p, s->max_attempts);
    pack_u64(p, s->retry_min_ms);
    pack_u64(p, s->retry_max_ms);
    pack_u64(p, s->retry_jitter);
    pack_u64(p, s->stale_ms);
    pack_str(p, s->kernel);
    pack_str(p, s->input);
}

static void save_reasons(struct packer *p, const struct ledger_reason_kept *r)
{
    uint64_t count = 0;
    for (const struct ledger_reason_kept *it = r; it; it = it->older)
        count++;
    pack_u64(p, count);
    for (; r; r = r->older) {
        pack_u64(p, r->at_ms);
        pack_u64(p, r->attempt);
        save_name(p, r->worker);
        pack_str(p, str_make(r->bytes, r->len));
    }
}

static void save_chunk(struct packer *p, const struct ledger_chunk *c, bool all)
{
    pack_u64(p, c->index);
    pack_u64(p, c->epoch);
    pack_u64(p, c->since_ms);
    pack_u64(p, c->attempts);
    pack_u64(p, c->charged);
    if (c->state != CHUNK_LEASED)
        save_name(p, c->from);
    if (all)
        save_reasons(p, c->reasons);
}

static void save_list(struct packer *p, const struct list *head, uint64_t count, bool all)
{
    pack_u64(p, count);
    for (const struct list *it = head->next; it != head; it = it->next)
        save_chunk(p, container_of(it, const struct ledger_chunk, link), all);
}

static void save_worker(struct packer *p, const struct ledger_worker *w, bool all)
{
    save_name(p, w->name);
    pack_u64(p, w->incarnation);
    pack_u64(p, w->client);
    pack_u64(p, w->joined_ms);
    pack_u64(p, w->slots);
    pack_u64(p, (uint64_t)w->foreign | (uint64_t)w->replaced << 1);
    pack_u64(p, w->completed);
    pack_u64(p, w->failed);
    pack_u64(p, w->lost);
    pack_u64(p, w->recent_cap);
    pack_u64(p, w->recent_count);
    for (uint32_t i = 0; i < w->recent_count; i++) {
        uint32_t at = (w->recent_at + w->recent_cap - w->recent_count + i) % w->recent_cap;
        pack_u64(p, w->recent[at].chunk);
        pack_u64(p, w->recent[at].epoch);
    }
    pack_u64(p, w->lost_ms);
    save_name(p, all ? w->why : NULL);
    save_name(p, all ? w->host : NULL);
    pack_u64(p, all ? w->away_from_ms : 0);
    save_list(p, &w->leases, w->held, all);
}

static void save_workers(struct packer *p, const struct list *head, uint64_t count, bool all)
{
    pack_u64(p, count);
    for (const struct list *it = head->next; it != head; it = it->next)
        save_worker(p, container_of(it, const struct ledger_worker, link), all);
}

static void save_timers(struct packer *p, const struct heap *h, bool all)
{
    pack_u64(p, h->count);
    for (size_t i = 1; i <= h->count; i++) {
        const struct ledger_chunk *c = container_of(h->nodes[i], const struct ledger_chunk, timer);
        pack_u64(p, c->timer.key);
        pack_u64(p, c->state == CHUNK_DELAYED);
        if (c->state == CHUNK_DELAYED)
            save_chunk(p, c, all);
        else
            pack_u64(p, c->index);
    }
}

static void save_events(struct packer *p, const struct ledger *l)
{
    pack_u64(p, l->event_cap ? l->event_seq + 1 - l->event_first : 0);
    for (uint64_t seq = l->event_first; l->event_cap && seq <= l->event_seq; seq++) {
        const struct ledger_event_kept *e = &l->events[seq % l->event_cap];
        pack_u64(p, e->at_ms);
        pack_u64(p, e->kind);
        pack_u64(p, e->chunk);
        pack_u64(p, e->value);
        save_name(p, e->from);
        save_name(p, e->to);
        save_name(p, e->text);
    }
}

static void save_counters(struct packer *p, const struct ledger *l)
{
    const uint64_t numbers[] = {
        l->state,         l->created_ms,
        l->started_ms,    l->finished_ms,
        l->boot,          l->epoch,
        l->next,          l->fed,
        l->steal_ms,      l->attempts,
        l->reclaimed,     l->stolen,
        l->failures,      l->released,
        l->redriven,      l->params,
        l->stale_dropped, l->digest[0],
        l->digest[1],     l->result_first,
        l->event_seq,     l->workers_lost,
        l->has_sum,       l->sum_overflow,
        (uint64_t)l->sum, (uint64_t)((unsigned __int128)l->sum >> 64),
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        pack_u64(p, numbers[i]);
}

static void save_state(const struct ledger *l, struct packer *p, bool all)
{
    pack_u64(p, SAVE_VERSION);
    save_name(p, l->name);
    save_spec(p, &l->spec);
    save_counters(p, l);
    save_list(p, &l->ready, l->count[CHUNK_READY], all);
    save_list(p, &l->dead, l->count[CHUNK_DEAD], all);
    save_list(p, &l->dropped, l->count[CHUNK_DROPPED], all);
    save_workers(p, &l->live, l->workers.count, all);
    save_workers(p, &l->gone, l->gone_count, all);
    save_timers(p, &l->timers, all);
    if (all)
        save_events(p, l);
}

void ledger_save(const struct ledger *l, struct packer *p)
{
    save_state(l, p, true);
}

uint64_t ledger_digest(const struct ledger *l)
{
    struct buf b;
    buf_init(&b, SIZE_MAX);
    struct packer p = {&b, 0};
    save_state(l, &p, false);
    ensure(p.rc == 0);
    uint64_t digest = hash_xxh3(buf_ptr(&b), buf_len(&b), 0);
    buf_done(&b);
    return digest;
}

/* --- in --- */

static void load_bad(struct unpacker *u)
{
    if (!u->rc)
        u->rc = TTG_ECORRUPT;
}

static uint64_t load_max(struct unpacker *u, uint64_t max)
{
    uint64_t value = unpack_u64(u);
    if (value > max)
        load_bad(u);
    return u->rc ? 0 : value;
}

static struct ledger_name *load_name(struct unpacker *u)
{
    struct str s = unpack_str(u);
    struct ledger_name *n = s.len && s.len <= LEDGER_TEXT_BYTES_MAX ? ledger_name_new(s) : NULL;
    if (!u->rc && s.len && !n)
        u->rc = s.len > LEDGER_TEXT_BYTES_MAX ? TTG_ECORRUPT : TTG_ENOMEM;
    return n;
}

static struct ledger_spec load_spec(struct unpacker *u)
{
    struct ledger_spec s = {.first = unpack_i64(u)};
    s.params = unpack_u64(u);
    s.chunk_params = unpack_u64(u);
    s.window = (uint32_t)load_max(u, UINT32_MAX);
    s.max_attempts = (uint32_t)load_max(u, UINT32_MAX);
    s.retry_min_ms = (uint32_t)load_max(u, UINT32_MAX);
    s.retry_max_ms = (uint32_t)load_max(u, UINT32_MAX);
    s.retry_jitter = (uint32_t)load_max(u, UINT32_MAX);
    s.stale_ms = (uint32_t)load_max(u, UINT32_MAX);
    s.kernel = unpack_str(u);
    s.input = unpack_str(u);
    if (!u->rc && ledger_spec_check(&s, NULL))
        u->rc = TTG_ECORRUPT;
    return s;
}

static void load_reasons(struct unpacker *u, struct ledger_chunk *c)
{
    struct ledger_reason_kept **at = &c->reasons;
    for (uint64_t count = load_max(u, LEDGER_REASONS_MAX); count > 0 && !u->rc; count--) {
        uint64_t at_ms = unpack_u64(u);
        uint32_t attempt = (uint32_t)load_max(u, UINT32_MAX);
        struct ledger_name *worker = load_name(u);
        struct str text = unpack_str(u);
        struct ledger_reason_kept *r =
            u->rc || text.len > LEDGER_REASON_BYTES_MAX ? NULL : mem_alloc(sizeof *r + text.len);
        if (!r) {
            ledger_name_free(worker);
            load_bad(u);
            return;
        }
        *r = (struct ledger_reason_kept){NULL, at_ms, worker, attempt, (uint32_t)text.len};
        if (text.len > 0)
            memcpy(r->bytes, text.ptr, text.len);
        *at = r;
        at = &r->older;
    }
}

/* An object in no place; `ret_from` has a reference, or is NULL. */
static struct ledger_chunk *load_chunk(struct ledger *l, struct unpacker *u, bool leased,
                                       struct ledger_name **ret_from)
{
    uint64_t index = unpack_u64(u), epoch = unpack_u64(u), since_ms = unpack_u64(u);
    uint32_t attempts = (uint32_t)load_max(u, UINT32_MAX);
    bool charged = load_max(u, 1) != 0;
    if (!u->rc && (index >= l->next || epoch > l->epoch || ledger_chunk_find(l, index)))
        u->rc = TTG_ECORRUPT;
    if (!u->rc)
        u->rc = ledger_reserve(l, 1);
    *ret_from = leased ? NULL : load_name(u);
    if (u->rc) {
        ledger_name_free(*ret_from);
        return NULL;
    }
    struct ledger_chunk *c = ledger_chunk_new(l, index);
    c->epoch = epoch;
    c->since_ms = since_ms;
    c->attempts = attempts;
    c->charged = charged;
    load_reasons(u, c);
    return c;
}

static void load_list(struct ledger *l, struct unpacker *u, enum chunk_state state)
{
    for (uint64_t count = unpack_count(u, 5); count > 0 && !u->rc; count--) {
        struct ledger_name *from;
        struct ledger_chunk *c = load_chunk(l, u, false, &from);
        if (!c)
            return;
        if (state == CHUNK_READY)
            ledger_chunk_ready(l, c, from, c->since_ms);
        else
            ledger_chunk_bury(l, c, state == CHUNK_DROPPED, c->since_ms);
        ledger_name_free(from);
    }
}

static void load_recent(struct unpacker *u, struct ledger_worker *w, uint64_t count)
{
    for (; count > 0 && !u->rc; count--) {
        uint64_t chunk = unpack_u64(u), epoch = unpack_u64(u);
        if (!u->rc)
            ledger_worker_remember(w, chunk, epoch);
    }
}

static void load_leases(struct ledger *l, struct unpacker *u, struct ledger_worker *w)
{
    uint64_t epoch = 0;
    for (uint64_t count = unpack_count(u, 5); count > 0 && !u->rc; count--) {
        struct ledger_name *from;
        struct ledger_chunk *c = load_chunk(l, u, true, &from);
        if (!c)
            return;
        if (c->epoch <= epoch)
            load_bad(u);
        epoch = c->epoch;
        ledger_chunk_attach(l, c, w);
    }
}

static void load_worker(struct ledger *l, struct unpacker *u, uint64_t version, bool gone)
{
    struct str name = unpack_str(u);
    struct ledger_worker seen = {.incarnation = unpack_u64(u)};
    seen.client = unpack_u64(u);
    seen.joined_ms = unpack_u64(u);
    seen.slots = (uint32_t)load_max(u, LEDGER_SLOTS_MAX);
    uint64_t flags = load_max(u, 3);
    seen.completed = unpack_u64(u);
    seen.failed = unpack_u64(u);
    seen.lost = unpack_u64(u);
    uint64_t recent = load_max(u, LEDGER_RECENT_MAX), kept = load_max(u, recent);
    if (!u->rc && (name.len > LEDGER_NAME_BYTES_MAX || seen.slots == 0))
        u->rc = TTG_ECORRUPT;
    if (!gone && !u->rc && ledger_worker_named(l, name))
        u->rc = TTG_ECORRUPT;
    struct ledger_worker *w = u->rc ? NULL : ledger_worker_new(name, (uint32_t)recent);
    if (!w) {
        if (!u->rc)
            u->rc = TTG_ENOMEM;
        return;
    }
    w->incarnation = seen.incarnation;
    w->client = seen.client;
    w->joined_ms = seen.joined_ms;
    w->slots = seen.slots;
    w->foreign = (flags & 1) != 0;
    w->replaced = (flags & 2) != 0;
    w->completed = seen.completed;
    w->failed = seen.failed;
    w->lost = seen.lost;
    w->gone = gone;
    if (gone) {
        list_push_back(&l->gone, &w->link);
        l->gone_count++;
    } else {
        ledger_worker_enter(l, w);
    }
    load_recent(u, w, kept);
    w->lost_ms = version > 1 ? unpack_u64(u) : 0;
    w->why = version > 1 ? load_name(u) : NULL;
    w->host = version > 2 ? load_name(u) : NULL;
    w->away_from_ms = version > 3 ? unpack_u64(u) : 0;
    if (!gone && (w->lost_ms || w->why))
        load_bad(u);
    if (!gone)
        load_leases(l, u, w);
    else if (unpack_u64(u) != 0)
        load_bad(u);
}

static void load_timers(struct ledger *l, struct unpacker *u)
{
    for (uint64_t count = unpack_count(u, 3); count > 0 && !u->rc; count--) {
        uint64_t due_ms = unpack_u64(u);
        if (load_max(u, 1)) {
            struct ledger_name *from;
            struct ledger_chunk *c = load_chunk(l, u, false, &from);
            ledger_name_free(from);
            if (c)
                ledger_chunk_delay(l, c, due_ms, c->since_ms);
            continue;
        }
        struct ledger_chunk *c = ledger_chunk_find(l, unpack_u64(u));
        if (!c || c->state != CHUNK_LEASED || !c->worker->foreign || heap_has(&c->timer))
            load_bad(u);
        if (!u->rc)
            u->rc = heap_set(&l->timers, &c->timer, due_ms);
    }
}

static void load_events(struct ledger *l, struct unpacker *u)
{
    uint64_t count = load_max(u, LEDGER_EVENTS_MAX), last = l->event_seq;
    if (count > last)
        load_bad(u);
    for (uint64_t seq = last + 1 - count; seq <= last && !u->rc; seq++) {
        struct ledger_event_kept e = {.at_ms = unpack_u64(u)};
        e.kind = (enum ledger_event_kind)load_max(u, LEDGER_EV_COUNT - 1);
        e.chunk = unpack_u64(u);
        e.value = unpack_u64(u);
        e.from = load_name(u);
        e.to = load_name(u);
        e.text = load_name(u);
        if (u->rc || !ledger_event_restore(l, seq, &e)) {
            ledger_name_free(e.from);
            ledger_name_free(e.to);
            ledger_name_free(e.text);
        }
    }
    l->event_seq = last;
    if (count == 0)
        l->event_first = last + 1;
}

static void load_counters(struct unpacker *u, struct ledger *l)
{
    l->state = (enum ledger_state)load_max(u, LEDGER_CANCELED);
    uint64_t *const before[] = {
        &l->created_ms,    &l->started_ms, &l->finished_ms, &l->boot,         &l->epoch,
        &l->next,          &l->fed,        &l->steal_ms,    &l->attempts,     &l->reclaimed,
        &l->stolen,        &l->failures,   &l->released,    &l->redriven,     &l->params,
        &l->stale_dropped, &l->digest[0],  &l->digest[1],   &l->result_first, &l->event_seq,
        &l->workers_lost,
    };
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        *before[i] = unpack_u64(u);
    l->has_sum = load_max(u, 1) != 0;
    l->sum_overflow = load_max(u, 1) != 0;
    uint64_t low = unpack_u64(u), high = unpack_u64(u);
    l->sum = (__int128)((unsigned __int128)high << 64 | low);
}

static bool load_consistent(struct ledger *l)
{
    l->result_seq = l->next - l->chunks.count;
    bool open = ledger_open_count(l) > 0 || l->fed < l->chunk_count;
    uint64_t timers = l->count[CHUNK_DELAYED];
    for (const struct ledger_worker *w = NULL; (w = ledger_worker_next(l, w));)
        timers += w->foreign ? w->held : 0;
    return l->chunks.count <= l->next && l->result_first >= 1 &&
           l->result_first <= l->result_seq + 1 && timers == l->timers.count &&
           l->boot < (uint64_t)1 << (63 - LEDGER_EPOCH_BITS) &&
           (open ? l->state != LEDGER_FINISHED : ledger_ended(l)) &&
           (ledger_open_count(l) > 0 || ledger_ended(l));
}

int ledger_load(struct unpacker *u, const struct ledger_ops *ops, struct ledger **ret_ledger)
{
    struct ledger *l;
    uint64_t version = load_max(u, SAVE_VERSION);
    if (version < SAVE_VERSION_OLDEST)
        load_bad(u);
    struct str name = unpack_str(u);
    struct ledger_spec spec = load_spec(u);
    if (!u->rc && (name.len == 0 || name.len > LEDGER_NAME_BYTES_MAX))
        u->rc = TTG_ECORRUPT;
    if (!u->rc)
        u->rc = ledger_alloc(name, &spec, &l);
    if (u->rc)
        return u->rc;
    load_counters(u, l);
    if (!u->rc && (l->next > l->fed || l->fed > l->chunk_count || l->event_seq == UINT64_MAX))
        u->rc = TTG_ECORRUPT;
    load_list(l, u, CHUNK_READY);
    load_list(l, u, CHUNK_DEAD);
    load_list(l, u, CHUNK_DROPPED);
    for (uint64_t count = unpack_count(u, 11); count > 0 && !u->rc; count--)
        load_worker(l, u, version, false);
    for (uint64_t count = load_max(u, LEDGER_GONE_MAX); count > 0 && !u->rc; count--)
        load_worker(l, u, version, true);
    load_timers(l, u);
    load_events(l, u);
    if (!u->rc && !load_consistent(l))
        u->rc = TTG_ECORRUPT;
    if (u->rc) {
        ledger_free(l);
        return u->rc;
    }
    l->effects = 0;
    ledger_set_ops(l, ops);
    *ret_ledger = l;
    return 0;
}
