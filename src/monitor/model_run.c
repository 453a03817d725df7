/* SPDX-License-Identifier: Apache-2.0 */
/* Workers, what they run, and spans: stretches of time in which one of them ran a chunk. A span
 * comes from a result (exact), or from a lease that was seen and ended in another way. */
#include "monitor/model_run.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    STRAGGLE_US_MIN = 2000000,
    STRAGGLE_TIMES = 4,
    SAMPLES = 512,
    RATE_MS = 3000,
    RATE_FIRST_MS = 500, /* something soon: many a job is over before */
    UNSEEN_MS_MAX = 60000
};

/* --- lanes --- */

static size_t lane_find(const struct model *m, struct str name)
{
    if (name.len > MODEL_NAME_BYTES - 1)
        name.len = MODEL_NAME_BYTES - 1;
    for (size_t i = 0; i < m->worker_count; i++) {
        const char *known = m->workers[i].name;
        if (strncmp(known, name.ptr, name.len) == 0 && known[name.len] == '\0')
            return i;
    }
    return SIZE_MAX;
}

/* Without room for more: the lane of who has been gone longest is given away. */
static size_t lane_free(struct model *m)
{
    size_t best = SIZE_MAX;
    if (m->worker_count < MODEL_WORKERS)
        return m->worker_count++;
    for (size_t i = 0; i < MODEL_WORKERS; i++)
        if (!m->workers[i].seen &&
            (best == SIZE_MAX || m->workers[i].gone_ms < m->workers[best].gone_ms))
            best = i;
    if (best == SIZE_MAX)
        return SIZE_MAX;
    m->worker_changes++;
    size_t kept = 0;
    for (size_t i = 0; i < m->running_count; i++)
        if (m->running[i].worker != best)
            m->running[kept++] = m->running[i];
    m->running_count = kept;
    for (uint64_t seq = m->span_first; seq <= m->span_seq; seq++)
        if (m->spans[seq % MODEL_SPANS].worker == best)
            m->spans[seq % MODEL_SPANS].worker = SIZE_MAX;
    return best;
}

/* "worker-HOST-1a2b3": the name that a worker gives itself. */
static void host_of(struct model_worker *w)
{
    size_t len = strlen(w->name);
    if (strncmp(w->name, "worker-", 7) != 0 || len < 14 || w->name[len - 6] != '-' ||
        strspn(w->name + len - 5, "0123456789abcdef") != 5)
        return;
    memcpy(w->host, w->name + 7, len - 13);
    w->host[len - 13] = '\0';
}

static size_t lane(struct model *m, struct str name)
{
    size_t i = lane_find(m, name);
    if (i != SIZE_MAX || (i = lane_free(m)) == SIZE_MAX)
        return i;
    m->workers[i] = (struct model_worker){.state = MODEL_LEFT, .gone_ms = m->now_ms};
    if (name.len > MODEL_NAME_BYTES - 1)
        name.len = MODEL_NAME_BYTES - 1;
    snprintf(m->workers[i].name, MODEL_NAME_BYTES, "%.*s", STR_ARG(name));
    host_of(&m->workers[i]);
    return i;
}

static void worker_rate(const struct model *m, struct model_worker *w)
{
    if (w->completed < w->rate_completed || w->rate_ms == 0) {
        w->rate_completed = w->completed;
        w->rate_ms = m->now_ms;
        w->rate = 0;
        w->rate_is_first = true;
        return;
    }
    uint64_t ms = m->now_ms - w->rate_ms;
    if (ms < RATE_MS && !(w->rate_is_first && ms >= RATE_FIRST_MS))
        return;
    w->rate = (double)(w->completed - w->rate_completed) * 1000 / (double)ms;
    if (ms >= RATE_MS) {
        w->rate_completed = w->completed;
        w->rate_ms = m->now_ms;
        w->rate_is_first = false;
    }
}

void model_workers(struct model *m, const struct queue_workers *list)
{
    for (size_t i = 0; i < m->worker_count; i++)
        m->workers[i].seen = false;
    for (size_t i = 0; i < list->count; i++) {
        const struct ledger_worker_info *from = &list->workers[i];
        size_t at = lane(m, from->name);
        if (at == SIZE_MAX)
            continue;
        struct model_worker *w = &m->workers[at];
        w->seen = true;
        w->gone_ms = 0;
        if (from->host.len > 0)
            snprintf(w->host, sizeof w->host, "%.*s",
                     (int)(from->host.len < sizeof w->host ? from->host.len : sizeof w->host - 1),
                     from->host.ptr);
        w->foreign = from->foreign;
        w->slots = from->slots ? from->slots : 1;
        w->incarnation = from->incarnation;
        w->held = from->held;
        w->completed = from->completed;
        w->failed = from->failed;
        w->lost = from->lost;
        w->joined_ms = from->joined_ms;
        worker_rate(m, w);
    }
}

/* --- spans --- */

static void span_add(struct model *m, size_t worker, uint64_t chunk, uint64_t attempt,
                     uint64_t from_ms, uint64_t to_ms, enum model_span_kind kind)
{
    m->span_seq++;
    if (m->span_seq - m->span_first >= MODEL_SPANS)
        m->span_first = m->span_seq - MODEL_SPANS + 1;
    m->spans[m->span_seq % MODEL_SPANS] =
        (struct model_span){m->span_seq,
                            worker,
                            chunk,
                            attempt,
                            from_ms < to_ms ? from_ms : to_ms,
                            to_ms,
                            from_ms < to_ms ? (to_ms - from_ms) * 1000 : 0,
                            kind};
    if (worker != SIZE_MAX && m->workers[worker].ended_ms < to_ms)
        m->workers[worker].ended_ms = to_ms;
}

static struct model_running *running_find(struct model *m, size_t worker, uint64_t chunk)
{
    for (size_t i = 0; i < m->running_count; i++)
        if (m->running[i].worker == worker && m->running[i].chunk == chunk)
            return &m->running[i];
    return NULL;
}

static void running_drop(struct model *m, struct model_running *r)
{
    *r = m->running[--m->running_count];
}

/* A failure of a chunk that was never seen running: it began when the one before had ended. */
static void unseen_end(struct model *m, size_t worker, uint64_t chunk, uint64_t at_ms)
{
    const struct model_span *s;
    uint64_t from_ms = m->workers[worker].joined_ms;
    for (size_t i = 0; (s = model_span_back(m, i)) && i < MODEL_RAN_MAX; i++) {
        if (s->worker == worker && s->chunk == chunk && s->to_ms == at_ms)
            return; /* told of twice: failed, and given up */
        if (s->worker == worker && s->to_ms <= at_ms && s->to_ms > from_ms)
            from_ms = s->to_ms;
    }
    if (m->workers[worker].slots > 1 || from_ms > at_ms || at_ms - from_ms > UNSEEN_MS_MAX)
        from_ms = at_ms;
    span_add(m, worker, chunk, 1, from_ms, at_ms, MODEL_FAILED);
}

/* Ends what the worker runs: one chunk, or all of them with chunk -1. */
static void running_end(struct model *m, size_t worker, int64_t chunk, uint64_t at_ms,
                        enum model_span_kind kind)
{
    bool found = false;
    for (size_t i = m->running_count; i-- > 0;) {
        struct model_running *r = &m->running[i];
        if (r->worker != worker || (chunk >= 0 && r->chunk != (uint64_t)chunk) ||
            r->from_ms > at_ms)
            continue;
        span_add(m, worker, r->chunk, r->attempt, r->from_ms, at_ms, kind);
        running_drop(m, r);
        found = true;
    }
    if (!found && kind == MODEL_FAILED && chunk >= 0)
        unseen_end(m, worker, (uint64_t)chunk, at_ms);
}

/* A result of the round before, which comes again because it shares the millisecond. */
static bool ran_known(const struct model *m, const struct queue_ran *ran)
{
    if (ran->end_ms > m->ran_until_ms)
        return false;
    const struct model_span *s;
    for (size_t i = 0; (s = model_span_back(m, i)) && i < MODEL_RAN_MAX; i++)
        if (s->kind == MODEL_RAN && s->chunk == ran->chunk)
            return true;
    return false;
}

static void ran_add(struct model *m, const struct queue_ran *ran)
{
    uint64_t took_ms = (ran->duration_us + 999) / 1000;
    size_t worker = lane(m, ran->worker);
    if (ran_known(m, ran))
        return;
    struct model_running *r = running_find(m, worker, ran->chunk);
    if (r)
        running_drop(m, r);
    span_add(m, worker, ran->chunk, ran->attempt, ran->end_ms > took_ms ? ran->end_ms - took_ms : 0,
             ran->end_ms, MODEL_RAN);
    m->spans[m->span_seq % MODEL_SPANS].took_us = ran->duration_us;
}

/* --- leases --- */

static void lease_seen(struct model *m, const struct queue_map_lease *l)
{
    size_t worker = lane(m, l->worker);
    if (worker == SIZE_MAX)
        return;
    struct model_worker *w = &m->workers[worker];
    if (w->running >= (w->slots ? w->slots : 1))
        return; /* only taken in advance */
    w->running++;
    struct model_running *r = running_find(m, worker, l->chunk);
    if (r && r->epoch == l->epoch) {
        r->seen = true;
        return;
    }
    if (!r && m->running_count == MODEL_RUNNING)
        return;
    r = r ? r : &m->running[m->running_count++];
    /* One slot: it began when the chunk before had ended. */
    uint64_t from_ms = l->since_ms;
    if (w->slots <= 1 && w->ended_ms > from_ms)
        from_ms = w->ended_ms;
    *r = (struct model_running){worker, l->chunk, l->epoch, l->attempt, from_ms, true};
}

void model_map(struct model *m, const struct queue_map *map)
{
    if (map->now_ms > m->now_ms)
        m->now_ms = map->now_ms;
    m->per_cell = map->per_cell;
    m->cell_count = map->cell_count < MODEL_CELLS ? map->cell_count : MODEL_CELLS;
    if (m->cell_count > 0)
        memcpy(m->cells, map->cells, m->cell_count * sizeof *m->cells);
    for (size_t i = map->ran_count; i-- > 0;)
        ran_add(m, &map->ran[i]);
    m->ran_partial |= map->ran_count >= map->ran_max;
    if (map->ran_count > 0)
        m->ran_until_ms = map->ran[0].end_ms;
    for (size_t i = 0; i < m->running_count; i++)
        m->running[i].seen = false;
    for (size_t i = 0; i < m->worker_count; i++)
        m->workers[i].running = 0;
    for (size_t i = 0; i < map->lease_count; i++)
        lease_seen(m, &map->leases[i]);
}

/* --- what happened --- */

void run_event(struct model *m, const struct model_event *e)
{
    static const struct {
        const char *event;
        enum model_span_kind kind;
    } ends[] = {
        {"worker.lost", MODEL_TAKEN_AWAY},  {"lease.expired", MODEL_TAKEN_AWAY},
        {"chunk.stolen", MODEL_GIVEN_BACK}, {"chunk.failed", MODEL_FAILED},
        {"chunk.dead", MODEL_FAILED},
    };
    if (strncmp(e->event, "worker.", 7) == 0 && e->from[0]) {
        size_t at = lane(m, str_of(e->from));
        struct model_worker *w = at == SIZE_MAX ? NULL : &m->workers[at];
        if (w && strcmp(e->event, "worker.lost") == 0)
            w->lost_at_ms = e->at_ms;
        if (w && !w->seen) /* who went before we looked */
            w->gone_ms = e->at_ms;
    }
    size_t from = lane_find(m, str_of(e->from));
    for (size_t i = 0; from != SIZE_MAX && i < sizeof ends / sizeof *ends; i++)
        if (strcmp(e->event, ends[i].event) == 0)
            running_end(m, from, e->chunk, e->at_ms, ends[i].kind);
}

/* --- the end of a round --- */

static int number_cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void took(struct model *m)
{
    uint64_t samples[SAMPLES];
    size_t count = 0;
    const struct model_span *s;
    for (size_t i = 0; count < SAMPLES && (s = model_span_back(m, i)); i++)
        if (s->kind == MODEL_RAN)
            samples[count++] = s->took_us;
    if (count == 0)
        return;
    qsort(samples, count, sizeof *samples, number_cmp);
    m->took_p50_us = samples[count / 2];
    m->took_p95_us = samples[count * 95 / 100];
}

static void worker_state(struct model *m, struct model_worker *w)
{
    if (!w->seen) {
        w->held = w->running = 0;
        w->rate = 0;
        if (w->gone_ms == 0)
            w->gone_ms = w->lost_at_ms > w->joined_ms ? w->lost_at_ms : m->now_ms;
        w->state = w->lost_at_ms > 0 && w->lost_at_ms >= w->joined_ms ? MODEL_LOST : MODEL_LEFT;
        return;
    }
    if (m->unlisted && m->status.state >= LEDGER_FINISHED) {
        w->state = MODEL_LEFT;
        w->rate = 0;
        w->gone_ms = m->status.finished_ms ? m->status.finished_ms : m->now_ms;
        return;
    }
    uint64_t limit_us = STRAGGLE_TIMES * m->took_p95_us;
    limit_us = limit_us > STRAGGLE_US_MIN ? limit_us : STRAGGLE_US_MIN;
    bool holds = w->running > 0 || w->held > 0 || w->unacked > 0;
    if (!holds && m->status.state != LEDGER_RUNNING)
        w->rate = 0;
    /* Between two chunks, or where only the broker knows who holds what, the rate tells. */
    w->state = !holds && w->rate <= 0                              ? MODEL_IDLE
               : m->took_p95_us > 0 && w->age_ms > limit_us / 1000 ? MODEL_STRAGGLING
                                                                   : MODEL_BUSY;
}

void run_settle(struct model *m)
{
    if (m->unlisted && m->status.state >= LEDGER_FINISHED)
        m->status.workers = m->status.slots = 0;
    took(m);
    /* Results are told of at once; what has vanished without one was given back. */
    for (size_t i = m->running_count; i-- > 0;) {
        struct model_running *r = &m->running[i];
        if (r->seen)
            continue;
        if (!m->ran_partial)
            span_add(m, r->worker, r->chunk, r->attempt, r->from_ms, m->now_ms, MODEL_GIVEN_BACK);
        running_drop(m, r);
    }
    m->ran_partial = false;
    for (size_t i = 0; i < m->worker_count; i++) {
        m->workers[i].running = 0;
        m->workers[i].age_ms = 0;
    }
    for (size_t i = 0; i < m->running_count; i++) {
        const struct model_running *r = &m->running[i];
        struct model_worker *w = &m->workers[r->worker];
        uint64_t age_ms = m->now_ms > r->from_ms ? m->now_ms - r->from_ms : 0;
        if (w->running++ == 0 || age_ms > w->age_ms) {
            w->age_ms = age_ms;
            w->chunk = r->chunk;
            w->attempt = r->attempt;
        }
    }
    for (size_t i = 0; i < m->worker_count; i++)
        worker_state(m, &m->workers[i]);
}
