/* SPDX-License-Identifier: Apache-2.0 */
/* How chunks go out and come back: take, claim, commit, fail, release. */
#include "base/ensure.h"
#include "base/hash.h"
#include "core/ledger_state.h"

#ifdef LEDGER_PLANTED
unsigned ledger_planted;
#endif

/* What `w` may get now. Its free slots always; beyond them half of its fair share of what is left,
 * less what it holds in advance already. Halving lets the advance die out as the job ends. */
static uint64_t take_credit(const struct ledger *l, const struct ledger_worker *w)
{
    uint64_t left = l->count[CHUNK_READY] + (l->chunk_count - l->next);
    uint64_t parts = 2 * l->slots;
    uint64_t share = left / parts * w->slots + left % parts * w->slots / parts;
    if (w->foreign)
        return share > 1 ? share : 1;
    uint64_t vacant = w->held < w->slots ? w->slots - w->held : 0;
    uint64_t excess = w->held > w->slots ? w->held - w->slots : 0;
    return vacant + (share > excess ? share - excess : 0);
}

static void take_add_run(struct ledger_run *runs, size_t *count, const struct ledger_chunk *c)
{
    struct ledger_run *last = *count ? &runs[*count - 1] : NULL;
    if (last && last->chunk + last->count == c->index && last->attempt == c->attempts + 1 &&
        last->epoch + last->count == c->epoch)
        last->count++;
    else
        runs[(*count)++] = (struct ledger_run){c->index, 1, c->epoch, c->attempts + 1};
}

static struct ledger_chunk *take_ready(struct ledger *l, struct ledger_worker *w, uint64_t now_ms)
{
    struct ledger_chunk *c = container_of(list_first(&l->ready), struct ledger_chunk, link);
    if (c->from) {
        histogram_add(&l->figures.taken_over, (now_ms - c->since_ms) * 1000);
        ledger_event_add(l, LEDGER_EV_RECLAIMED, now_ms, c->index, now_ms - c->since_ms, c->from,
                         w->name, STR(""));
    }
    ledger_chunk_leave(l, c);
    ledger_chunk_lease(l, c, w, now_ms);
    return c;
}

static struct ledger_chunk *take_fresh(struct ledger *l, struct ledger_worker *w, uint64_t now_ms)
{
    struct ledger_chunk *c = ledger_chunk_new(l, l->next++);
    ledger_chunk_lease(l, c, w, now_ms);
    return c;
}

/* The worker with most leases per slot beyond its slots, whose newest lease is old enough. What is
 * newest starts last, so it is least likely to be running. */
static struct ledger_worker *steal_victim(const struct ledger *l, uint64_t now_ms)
{
    struct ledger_worker *best = NULL;
    if (l->overloaded == 0)
        return NULL;
    for (struct list *it = l->live.next; it != &l->live; it = it->next) {
        struct ledger_worker *w = container_of(it, struct ledger_worker, link);
        if (w->foreign || w->held <= w->slots)
            continue;
        struct ledger_chunk *newest = container_of(w->leases.prev, struct ledger_chunk, link);
        if (newest->since_ms + LEDGER_STEAL_MS > now_ms)
            continue;
        if (!best || (w->held - w->slots) * best->slots > (best->held - best->slots) * w->slots)
            best = w;
    }
    return best;
}

static uint64_t take_steal(struct ledger *l, struct ledger_worker *w, uint64_t count,
                           uint64_t now_ms, struct ledger_run *runs, size_t *run_count)
{
    struct ledger_worker *victim = steal_victim(l, now_ms);
    uint64_t vacant = w->held < w->slots ? w->slots - w->held : 0, done = 0;
    if (!victim || victim == w || w->foreign || vacant == 0)
        return 0;
    uint64_t half = (victim->held - victim->slots + 1) / 2;
    count = count < vacant ? count : vacant;
    for (count = count < half ? count : half; done < count; done++) {
        struct ledger_chunk *c = container_of(victim->leases.prev, struct ledger_chunk, link);
        if (c->since_ms + LEDGER_STEAL_MS > now_ms)
            break;
        ledger_chunk_leave(l, c);
        if (l->ops.on_returned)
            l->ops.on_returned(l->ops.ctx, c->index, victim);
        l->stolen++;
        ledger_event_add(l, LEDGER_EV_STOLEN, now_ms, c->index, 0, victim->name, w->name, STR(""));
        ledger_chunk_lease(l, c, w, now_ms);
        take_add_run(runs, run_count, c);
    }
    return done;
}

int ledger_take(struct ledger *l, struct ledger_worker *w, uint64_t client, uint64_t count,
                uint64_t now_ms, struct ledger_run *runs, size_t *ret_count)
{
    *ret_count = 0;
    if (w->client != client && !w->foreign)
        return TTG_ESTALE;
    if (ledger_ended(l))
        return TTG_EDONE;
    if (l->state == LEDGER_PAUSED || count == 0)
        return TTG_EAGAIN;
    count = count < LEDGER_TAKE_MAX ? count : LEDGER_TAKE_MAX;
    uint64_t credit = take_credit(l, w), wanted = count < credit ? count : credit;
    if ((l->epoch + count) >> LEDGER_EPOCH_BITS != l->boot)
        return TTG_EFULL; /* after 10^12 takes; the next boot has new epochs */
    uint64_t fresh = l->fed - l->next;
    int rc = ledger_reserve(l, wanted < fresh ? wanted : fresh);
    if (rc)
        return rc;

    uint64_t taken = 0;
    for (; taken < wanted && l->count[CHUNK_READY] > 0; taken++)
        take_add_run(runs, ret_count, take_ready(l, w, now_ms));
    for (; taken < wanted && l->next < l->fed; taken++)
        take_add_run(runs, ret_count, take_fresh(l, w, now_ms));
    if (taken == 0 && wanted > 0)
        taken = take_steal(l, w, wanted, now_ms, runs, ret_count);
    if (taken == 0)
        return TTG_EAGAIN;
    if (l->started_ms == 0)
        l->started_ms = now_ms;
    if (ledger_takeable(l) == 0)
        l->steal_ms = now_ms + LEDGER_STEAL_MS;
    return 0;
}

int ledger_claim(struct ledger *l, struct ledger_worker *w, uint64_t chunk, uint64_t now_ms)
{
    ensure(w->foreign);
    if (ledger_ended(l))
        return TTG_EDONE;
    if (chunk >= l->fed || (l->epoch + 1) >> LEDGER_EPOCH_BITS != l->boot)
        return TTG_ENOENT;
    struct ledger_chunk *c = ledger_chunk_find(l, chunk);
    if (chunk >= l->next) {
        int rc = ledger_reserve(l, chunk - l->next + 1);
        if (rc)
            return rc;
        c = ledger_chunk_skip_to(l, chunk, now_ms);
    }
    if (!c || c->state == CHUNK_DEAD || c->state == CHUNK_DROPPED || c->state == CHUNK_DELAYED)
        return TTG_ENOENT;
    if (c->state == CHUNK_LEASED && c->worker == w) { /* renewed: the epoch stays */
        c->since_ms = now_ms;
        int rc = heap_set(&l->timers, &c->timer, now_ms + l->spec.stale_ms);
        ensure(rc == 0);
        if (l->ops.on_leased)
            l->ops.on_leased(l->ops.ctx, c->index, w, now_ms);
        return 0;
    }
    if (c->state == CHUNK_LEASED) {
        struct ledger_worker *holder = c->worker;
        if (!holder->foreign)
            return TTG_EBUSY; /* it has presence: its liveness decides, not idle time */
        ledger_chunk_charge(l, c);
        l->reclaimed++;
        holder->lost++;
        histogram_add(&l->figures.taken_over, (now_ms - c->since_ms) * 1000);
        ledger_event_add(l, LEDGER_EV_RECLAIMED, now_ms, c->index, now_ms - c->since_ms,
                         holder->name, w->name, STR(""));
        ledger_chunk_leave(l, c);
        if (l->ops.on_returned)
            l->ops.on_returned(l->ops.ctx, c->index, holder);
    } else {
        ledger_chunk_leave(l, c);
    }
    ledger_chunk_lease(l, c, w, now_ms);
    return 0;
}

/* --- commit --- */

static void commit_sum(struct ledger *l, const struct ledger_result *r)
{
    if (!r->has_sum)
        return;
    l->has_sum = true;
    if (__builtin_add_overflow(l->sum, r->sum, &l->sum))
        l->sum_overflow = true;
}

static void commit_digest(struct ledger *l, const struct ledger_result *r)
{
    char text[LEDGER_SUMMARY_BYTES];
    struct str bytes = r->value;
    if (r->kind == LEDGER_SUM)
        bytes = str_make(text, ledger_summary_text(text, r->sum, ledger_range_count(l, r->chunk)));
    uint64_t digest[2];
    ledger_result_digest(r->chunk, r->kind == LEDGER_OUTPUT ? 'o' : 's', bytes, digest);
    l->digest[0] += digest[0];
    l->digest[1] += digest[1];
}

/* The one atomic step: the result is recorded and the chunk done. `c` is open. */
static void commit_apply(struct ledger *l, struct ledger_chunk *c, struct ledger_worker *by,
                         struct ledger_result *r, uint64_t now_ms)
{
    struct ledger_worker *holder = c->state == CHUNK_LEASED ? c->worker : NULL;
    ledger_chunk_charge(l, c); /* no double count when the lease was lost before */
    r->attempt = c->attempts;
    r->seq = ++l->result_seq;
    r->now_ms = now_ms;
    if (by) {
        by->completed++;
        ledger_pace_add(l, by, r->duration_us, now_ms);
        ledger_worker_remember(by, r->chunk, r->epoch);
    }
    l->params += ledger_range_count(l, c->index);
    commit_sum(l, r);
    commit_digest(l, r);
    ledger_ran_add(l, by ? by->name : NULL, r);
    ledger_chunk_leave(l, c);
    if (LEDGER_PLANT(LEDGER_PLANT_NOT_DONE) && r->seq % 16 == 0)
        ledger_chunk_ready(l, c, NULL, now_ms);
    else
        ledger_chunk_free(l, c);
    l->effects |= LEDGER_WAKE_RESULTS;
    if (l->ops.on_closed)
        l->ops.on_closed(l->ops.ctx, r->chunk, holder);
    if (l->ops.on_result)
        l->ops.on_result(l->ops.ctx, r);
}

static bool commit_value(struct ledger_result *r)
{
    if (r->kind != LEDGER_SUM)
        return r->kind == LEDGER_OUTPUT || r->kind == LEDGER_JSON;
    r->has_sum = true;
    return str_to_i128(r->value, &r->sum) == 0;
}

static bool chunk_open(const struct ledger_chunk *c)
{
    return c && (c->state == CHUNK_LEASED || c->state == CHUNK_READY || c->state == CHUNK_DELAYED);
}

enum ledger_verdict ledger_commit(struct ledger *l, struct str name, uint64_t incarnation,
                                  struct ledger_result *r, uint64_t now_ms)
{
    if (r->chunk >= l->chunk_count || r->epoch == 0 || !commit_value(r))
        return LEDGER_INVALID;
    struct ledger_chunk *c = ledger_chunk_find(l, r->chunk);
    struct ledger_worker *by = ledger_worker(l, name, incarnation);
    bool current = chunk_open(c) && (c->epoch == r->epoch || LEDGER_PLANT(LEDGER_PLANT_EPOCH));
    if (!by || !current)
        by = ledger_worker_any(l, name, incarnation);
    if (current && l->state != LEDGER_CANCELED) {
        r->worker = name;
        commit_apply(l, c, by, r, now_ms);
        ledger_settle(l, now_ms);
        return LEDGER_ACCEPTED;
    }
    if (by && ledger_worker_remembers(by, r->chunk, r->epoch))
        return LEDGER_AGAIN;
    if (l->state == LEDGER_CANCELED)
        return LEDGER_REFUSED;
    l->stale_dropped++;
    return LEDGER_STALE;
}

enum ledger_verdict ledger_commit_foreign(struct ledger *l, struct str name,
                                          struct ledger_result *r, uint64_t now_ms)
{
    if (r->chunk >= l->chunk_count || !commit_value(r))
        return LEDGER_INVALID;
    if (l->state == LEDGER_CANCELED)
        return LEDGER_REFUSED;
    if (r->chunk >= l->fed)
        return LEDGER_INVALID; /* nobody can have it yet */
    struct ledger_chunk *c = ledger_chunk_find(l, r->chunk);
    if (r->chunk >= l->next) {
        if (ledger_reserve(l, r->chunk - l->next + 1))
            return LEDGER_NO_MEMORY;
        c = ledger_chunk_skip_to(l, r->chunk, now_ms);
    }
    if (c && c->state != CHUNK_STATES && !chunk_open(c))
        c = NULL;
    if (!c) {
        l->stale_dropped++;
        return LEDGER_STALE;
    }
    r->worker = name;
    r->epoch = c->epoch;
    if (c->state != CHUNK_LEASED)
        c->charged = false; /* nobody's lease: this work is an attempt of its own */
    commit_apply(l, c, ledger_worker(l, name, 0), r, now_ms);
    ledger_settle(l, now_ms);
    return LEDGER_ACCEPTED;
}

/* --- fail, release --- */

/* min * 2^(attempts-1), at most max, spread by a hash of the epoch so that replay agrees. */
static uint64_t fail_delay_ms(const struct ledger *l, const struct ledger_chunk *c)
{
    const struct ledger_spec *s = &l->spec;
    uint64_t delay = s->retry_min_ms;
    for (uint32_t i = 1; i < c->attempts && delay < s->retry_max_ms; i++)
        delay *= 2;
    delay = delay < s->retry_max_ms ? delay : s->retry_max_ms;
    uint64_t spread = delay * s->retry_jitter / 100;
    return delay - spread + (spread ? hash_u64(c->epoch ^ c->index) % (2 * spread + 1) : 0);
}

static struct ledger_chunk *held_chunk(const struct ledger *l, uint64_t chunk, uint64_t epoch)
{
    struct ledger_chunk *c = ledger_chunk_find(l, chunk);
    return c && c->state == CHUNK_LEASED && c->epoch == epoch ? c : NULL;
}

bool ledger_holds(const struct ledger *l, uint64_t chunk, uint64_t epoch)
{
    return held_chunk(l, chunk, epoch) != NULL;
}

int ledger_fail(struct ledger *l, uint64_t chunk, uint64_t epoch, bool final, struct str reason,
                uint64_t now_ms, enum ledger_fate *ret_fate, uint64_t *ret_retry_ms)
{
    struct ledger_chunk *c = held_chunk(l, chunk, epoch);
    *ret_retry_ms = 0;
    *ret_fate = LEDGER_FAIL_STALE;
    if (!c)
        return 0;
    struct ledger_worker *w = c->worker;
    w->failed++;
    w->pace.ran = 0;
    l->failures++;
    ledger_chunk_charge(l, c);
    ledger_reason_add(c, w->name, reason, now_ms);
    ledger_chunk_leave(l, c);
    if (final || c->attempts >= l->spec.max_attempts) {
        ledger_chunk_bury(l, c, false, now_ms);
        ledger_event_add(l, LEDGER_EV_DEAD, now_ms, chunk, c->attempts, w->name, NULL, reason);
        if (l->ops.on_dead)
            l->ops.on_dead(l->ops.ctx, chunk, w);
        *ret_fate = LEDGER_DEAD;
    } else {
        uint64_t delay = fail_delay_ms(l, c);
        c->epoch = 0;
        ledger_chunk_delay(l, c, now_ms + delay, now_ms);
        ledger_event_add(l, LEDGER_EV_FAILED, now_ms, chunk, delay, w->name, NULL, reason);
        if (l->ops.on_returned)
            l->ops.on_returned(l->ops.ctx, chunk, w);
        *ret_fate = LEDGER_RETRY;
        *ret_retry_ms = now_ms + delay;
    }
    ledger_settle(l, now_ms);
    return 0;
}

bool ledger_release(struct ledger *l, uint64_t chunk, uint64_t epoch, uint64_t now_ms)
{
    struct ledger_chunk *c = held_chunk(l, chunk, epoch);
    if (!c)
        return false;
    c->epoch = 0;
    ledger_chunk_return(l, c, false, false, STR(""), now_ms);
    ledger_settle(l, now_ms);
    return true;
}

uint64_t ledger_release_all(struct ledger *l, struct ledger_worker *w, uint64_t now_ms)
{
    uint64_t count = w->held;
    list_each(it, &w->leases)
    {
        struct ledger_chunk *c = container_of(it, struct ledger_chunk, link);
        c->epoch = 0;
        ledger_chunk_return(l, c, false, false, STR(""), now_ms);
    }
    ledger_settle(l, now_ms);
    return count;
}

bool ledger_ready_first(const struct ledger *l, uint64_t *ret_chunk)
{
    struct list *first = list_first(&l->ready);
    if (!first || l->state != LEDGER_RUNNING)
        return false;
    *ret_chunk = container_of(first, struct ledger_chunk, link)->index;
    return true;
}

bool ledger_release_foreign(struct ledger *l, struct str name, uint64_t chunk, uint64_t now_ms)
{
    struct ledger_chunk *c = ledger_chunk_find(l, chunk);
    struct ledger_worker *w = ledger_worker(l, name, 0);
    if (!w || !c || c->state != CHUNK_LEASED || c->worker != w)
        return false;
    c->epoch = 0;
    ledger_chunk_return(l, c, true, false, STR("acknowledged without a result"), now_ms);
    ledger_settle(l, now_ms);
    return true;
}
