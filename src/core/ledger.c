/* SPDX-License-Identifier: Apache-2.0 */
/* The job as a whole: spec, window, pause and end, dead letters, time. */
#include "core/ledger.h"

#include "base/ensure.h"
#include "base/mem.h"
#include "core/ledger_state.h"

int ledger_spec_check(const struct ledger_spec *s, struct err *err)
{
    if (s->params > (uint64_t)1 << 63)
        return err_set(err, TTG_EINVAL, "a job has at most 2^63 parameters");
    if (s->params > 0 && s->params - 1 > (uint64_t)INT64_MAX - (uint64_t)s->first)
        return err_set(err, TTG_EINVAL, "the last parameter exceeds 2^63-1");
    if (s->chunk_params == 0 || s->chunk_params > INT64_MAX)
        return err_set(err, TTG_EINVAL, "a chunk has 1 to 2^63-1 parameters");
    if (s->window == 0 || s->window > LEDGER_WINDOW_MAX)
        return err_set(err, TTG_EINVAL, "the window is 1 to %d chunks", LEDGER_WINDOW_MAX);
    if (s->max_attempts == 0 || s->max_attempts > 1000000)
        return err_set(err, TTG_EINVAL, "attempts are limited to 1 to 1000000");
    if (s->retry_min_ms > s->retry_max_ms || s->retry_max_ms > 86400000 || s->retry_jitter > 100)
        return err_set(err, TTG_EINVAL,
                       "retry delays: min <= max <= a day, jitter up to 100 percent");
    if (s->stale_ms == 0)
        return err_set(err, TTG_EINVAL, "a lease lasts at least 1 ms");
    if (s->kernel.len > LEDGER_TEXT_BYTES_MAX || s->input.len > LEDGER_TEXT_BYTES_MAX)
        return err_set(err, TTG_EINVAL, "kernel and input take up to %d bytes each",
                       LEDGER_TEXT_BYTES_MAX);
    return 0;
}

static uint64_t spec_chunks(const struct ledger_spec *s)
{
    return s->params / s->chunk_params + (s->params % s->chunk_params != 0);
}

/* The state of a job on which nothing has happened; the texts of `spec` are taken over. */
static void ledger_init(struct ledger *l)
{
    map_init(&l->chunks);
    map_init(&l->workers);
    heap_init(&l->timers);
    list_init(&l->ready);
    list_init(&l->dead);
    list_init(&l->dropped);
    list_init(&l->free);
    list_init(&l->live);
    list_init(&l->gone);
    l->chunk_count = spec_chunks(&l->spec);
    l->result_first = 1;
    l->event_first = 1;
}

int ledger_alloc(struct str name, const struct ledger_spec *spec, struct ledger **ret_ledger)
{
    struct ledger *l = mem_zalloc(sizeof *l);
    if (!l)
        return TTG_ENOMEM;
    l->spec = *spec;
    ledger_init(l);
    l->spec.kernel.ptr = mem_dup(spec->kernel.ptr, spec->kernel.len);
    l->spec.input.ptr = mem_dup(spec->input.ptr, spec->input.len);
    l->name = ledger_name_new(name);
    if (!l->spec.kernel.ptr || !l->spec.input.ptr || !l->name || map_reserve(&l->chunks) ||
        map_reserve(&l->workers)) {
        ledger_free(l);
        return TTG_ENOMEM;
    }
    *ret_ledger = l;
    return 0;
}

int ledger_new(struct str name, const struct ledger_spec *spec, uint64_t boot, uint64_t now_ms,
               const struct ledger_ops *ops, struct ledger **ret_ledger)
{
    ensure(ledger_spec_check(spec, NULL) == 0);
    struct ledger *l;
    int rc = ledger_alloc(name, spec, &l);
    if (rc)
        return rc;
    ledger_set_ops(l, ops);
    l->created_ms = now_ms;
    l->boot = boot;
    l->epoch = boot << LEDGER_EPOCH_BITS;
    ledger_event_add(l, LEDGER_EV_CREATED, now_ms, UINT64_MAX, 0, NULL, NULL, STR(""));
    *ret_ledger = l; /* `ops` may want it */
    ledger_settle(l, now_ms);
    return 0;
}

static void free_workers(struct list *workers)
{
    for (struct list *it; (it = list_pop_front(workers));)
        ledger_worker_free(container_of(it, struct ledger_worker, link));
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    for (struct map_node *n = map_next(&l->chunks, NULL), *next; n; n = next) {
        next = map_next(&l->chunks, n);
        struct ledger_chunk *c = container_of(n, struct ledger_chunk, node);
        ledger_reasons_free(c);
        if (c->state != CHUNK_LEASED)
            ledger_name_free(c->from);
    }
    for (struct ledger_slab *slab = l->slabs, *next; slab; slab = next) {
        next = slab->next;
        mem_free(slab);
    }
    free_workers(&l->live);
    free_workers(&l->gone);
    for (size_t i = 0; i < l->event_cap; i++) {
        ledger_name_free(l->events[i].from);
        ledger_name_free(l->events[i].to);
        ledger_name_free(l->events[i].text);
    }
    mem_free(l->events);
    ledger_ran_free(l);
    map_done(&l->chunks);
    map_done(&l->workers);
    heap_done(&l->timers);
    mem_free((void *)l->spec.kernel.ptr);
    mem_free((void *)l->spec.input.ptr);
    ledger_name_free(l->name);
    mem_free(l);
}

void ledger_set_ops(struct ledger *l, const struct ledger_ops *ops)
{
    l->ops = ops ? *ops : (struct ledger_ops){0};
}

int ledger_same(const struct ledger *l, const struct ledger_spec *spec, struct err *err)
{
    const struct ledger_spec *have = &l->spec;
    const char *differs = have->first != spec->first                 ? "first parameter"
                          : have->params != spec->params             ? "number of parameters"
                          : have->chunk_params != spec->chunk_params ? "chunk size"
                          : have->max_attempts != spec->max_attempts ? "maximum of attempts"
                          : have->retry_min_ms != spec->retry_min_ms ||
                                  have->retry_max_ms != spec->retry_max_ms ||
                                  have->retry_jitter != spec->retry_jitter
                              ? "retry delay"
                          : have->stale_ms != spec->stale_ms    ? "lease of plain consumers"
                          : !str_eq(have->kernel, spec->kernel) ? "command or kernel"
                          : !str_eq(have->input, spec->input)   ? "input"
                                                                : NULL;
    struct str name = ledger_name_str(l->name);
    if (differs)
        return err_set(err, TTG_EEXIST, "job %.*s exists with another %s", STR_ARG(name), differs);
    if (ledger_ended(l))
        return err_set(
            err, TTG_EDONE,
            "job %.*s has %s already; `ttg cancel --forget` removes it, or choose another "
            "name",
            STR_ARG(name), l->state == LEDGER_FINISHED ? "finished" : "been canceled");
    return 0;
}

/* --- window and end --- */

static void settle_feed(struct ledger *l)
{
    uint64_t open = ledger_open_count(l);
    if (l->state == LEDGER_CANCELED || open >= l->spec.window || l->fed == l->chunk_count)
        return;
    uint64_t room = l->spec.window - open, left = l->chunk_count - l->fed;
    uint64_t count = room < left ? room : left, first = l->fed;
    l->fed += count;
    l->effects |= LEDGER_WAKE_TAKERS;
    if (l->ops.on_fed)
        l->ops.on_fed(l->ops.ctx, first, count);
}

void ledger_settle(struct ledger *l, uint64_t now_ms)
{
    settle_feed(l);
    if (ledger_ended(l) || l->fed < l->chunk_count || ledger_open_count(l) > 0)
        return;
    l->state = LEDGER_FINISHED;
    l->finished_ms = now_ms;
    l->effects |= LEDGER_WAKE_TAKERS | LEDGER_WAKE_RESULTS;
    ledger_event_add(l, LEDGER_EV_FINISHED, now_ms, UINT64_MAX,
                     l->count[CHUNK_DEAD] + l->count[CHUNK_DROPPED], NULL, NULL, STR(""));
}

unsigned ledger_effects(struct ledger *l)
{
    unsigned effects = l->effects;
    l->effects = 0;
    return effects;
}

static int job_move(struct ledger *l, enum ledger_state to, enum ledger_event_kind event,
                    uint64_t now_ms)
{
    if (l->state == to)
        return 0;
    if (ledger_ended(l))
        return TTG_EDONE;
    l->state = to;
    l->effects |= LEDGER_WAKE_TAKERS | LEDGER_WAKE_RESULTS;
    ledger_event_add(l, event, now_ms, UINT64_MAX, 0, NULL, NULL, STR(""));
    return 0;
}

int ledger_pause(struct ledger *l, uint64_t now_ms)
{
    return job_move(l, LEDGER_PAUSED, LEDGER_EV_PAUSED, now_ms);
}

int ledger_resume(struct ledger *l, uint64_t now_ms)
{
    return job_move(l, LEDGER_RUNNING, LEDGER_EV_RESUMED, now_ms);
}

int ledger_cancel(struct ledger *l, uint64_t now_ms)
{
    if (l->state == LEDGER_CANCELED)
        return 0;
    int rc = job_move(l, LEDGER_CANCELED, LEDGER_EV_CANCELED, now_ms);
    if (!rc)
        l->finished_ms = now_ms;
    return rc;
}

/* --- dead letters --- */

bool ledger_redrive(struct ledger *l, uint64_t chunk, uint64_t now_ms)
{
    struct ledger_chunk *c = ledger_chunk_find(l, chunk);
    if (!c || c->state != CHUNK_DEAD || l->state == LEDGER_CANCELED)
        return false;
    ledger_chunk_leave(l, c);
    c->attempts = 0;
    c->charged = false;
    l->redriven++;
    if (l->state == LEDGER_FINISHED) {
        l->state = LEDGER_RUNNING;
        l->finished_ms = 0;
    }
    ledger_chunk_ready(l, c, NULL, now_ms);
    ledger_event_add(l, LEDGER_EV_REDRIVEN, now_ms, chunk, 0, NULL, NULL, STR(""));
    return true;
}

uint64_t ledger_redrive_all(struct ledger *l, uint64_t now_ms)
{
    uint64_t count = 0;
    list_each(it, &l->dead)
    {
        count += ledger_redrive(l, container_of(it, struct ledger_chunk, link)->index, now_ms);
    }
    return count;
}

bool ledger_drop(struct ledger *l, uint64_t chunk, uint64_t now_ms)
{
    struct ledger_chunk *c = ledger_chunk_find(l, chunk);
    if (!c || c->state != CHUNK_DEAD)
        return false;
    ledger_chunk_leave(l, c);
    ledger_reasons_free(c);
    ledger_chunk_bury(l, c, true, now_ms);
    ledger_event_add(l, LEDGER_EV_DROPPED, now_ms, chunk, 0, NULL, NULL, STR(""));
    if (l->ops.on_closed)
        l->ops.on_closed(l->ops.ctx, chunk, NULL);
    return true;
}

uint64_t ledger_trim(struct ledger *l, uint64_t seq)
{
    uint64_t most = l->result_seq > LEDGER_RESULTS_KEPT ? l->result_seq - LEDGER_RESULTS_KEPT : 0;
    uint64_t upto = seq < most ? seq : most;
    if (upto + 1 > l->result_first)
        l->result_first = upto + 1;
    return l->result_first;
}

/* --- time --- */

void ledger_boot(struct ledger *l, uint64_t boot, uint64_t now_ms, uint64_t served_ms)
{
    ensure(boot > l->boot);
    l->boot = boot;
    l->epoch = boot << LEDGER_EPOCH_BITS;
    l->figures = (struct ledger_figures){0}; /* what was replayed happened before */
    list_each(worker, &l->live)
    {
        struct ledger_worker *w = container_of(worker, struct ledger_worker, link);
        if (w->client)
            w->away_from_ms = served_ms;
        w->client = 0; /* its connection is gone: it has to join before it takes */
        if (!w->foreign)
            continue;
        list_each(it, &w->leases)
        {
            struct ledger_chunk *c = container_of(it, struct ledger_chunk, link);
            int rc = heap_set(&l->timers, &c->timer, now_ms + l->spec.stale_ms);
            ensure(rc == 0);
        }
    }
}

/* Whether idle workers could get something by asking again that nothing else would tell them of. */
static bool steal_possible(const struct ledger *l)
{
    return l->state == LEDGER_RUNNING && l->overloaded > 0 && ledger_takeable(l) == 0;
}

uint64_t ledger_next_ms(const struct ledger *l)
{
    if (ledger_ended(l))
        return UINT64_MAX;
    const struct heap_node *first = heap_min(&l->timers);
    uint64_t next = first ? first->key : UINT64_MAX;
    return steal_possible(l) && l->steal_ms < next ? l->steal_ms : next;
}

void ledger_tick(struct ledger *l, uint64_t now_ms)
{
    if (ledger_ended(l))
        return;
    for (struct heap_node *n; (n = heap_min(&l->timers)) && n->key <= now_ms;) {
        struct ledger_chunk *c = container_of(n, struct ledger_chunk, timer);
        if (c->state == CHUNK_LEASED) {
            /* Nobody can tell whether a consumer without presence has started it: it has. */
            ledger_event_add(l, LEDGER_EV_EXPIRED, now_ms, c->index, now_ms - c->since_ms,
                             c->worker->name, NULL, STR(""));
            ledger_chunk_return(l, c, true, true, STR("the lease expired"), now_ms);
        } else {
            ledger_chunk_leave(l, c);
            ledger_chunk_ready(l, c, NULL, now_ms);
        }
    }
    if (steal_possible(l) && l->steal_ms <= now_ms) {
        l->effects |= LEDGER_WAKE_TAKERS;
        l->steal_ms = now_ms + 1000;
    }
    ledger_settle(l, now_ms);
}
