/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/model.h"

#include "base/mem.h"
#include "monitor/model_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { RATE_MS = 5000, RATE_MS_MIN = 400, POINT_PERIOD_MS = 500 };

static void text_copy(char *to, size_t room, struct str from)
{
    size_t len = from.len < room - 1 ? from.len : room - 1;
    while (len < from.len && len > 0 && ((unsigned char)from.ptr[len] & 0xc0) == 0x80)
        len--; /* not through the middle of a character */
    if (len > 0)
        memcpy(to, from.ptr, len);
    to[len] = '\0';
}

struct model *model_new(void)
{
    struct model *m = mem_zalloc(sizeof *m);
    if (m)
        model_show(m, STR(""));
    return m;
}

void model_free(struct model *m)
{
    mem_free(m);
}

/* All that belongs to the job in view. */
static void forget(struct model *m)
{
    m->known = false;
    m->status = (struct ledger_status){0};
    m->kernel[0] = m->input[0] = '\0';
    m->rate = m->params_rate = 0;
    m->eta_ms = m->took_p50_us = m->took_p95_us = 0;
    m->worker_count = m->running_count = m->cell_count = m->point_count = m->dead_count = 0;
    m->worker_changes++;
    m->per_cell = 1;
    m->point_period_ms = POINT_PERIOD_MS;
    m->span_first = m->span_seq + 1;
    m->event_count = m->event_seq = m->ran_until_ms = 0;
    m->broker = (struct model_broker){.source = MODEL_NO_BROKER};
}

void model_show(struct model *m, struct str job)
{
    text_copy(m->job, sizeof m->job, job);
    forget(m);
}

void model_link(struct model *m, bool connected, const char *text)
{
    m->connected = connected;
    text_copy(m->link_text, sizeof m->link_text, str_of(text ? text : ""));
}

void model_jobs(struct model *m, const struct queue_list *list)
{
    m->job_count = list->count < MODEL_JOBS ? list->count : MODEL_JOBS;
    for (size_t i = 0; i < m->job_count; i++) {
        /* In order of creation: the newest count. */
        const struct queue_job_info *from = &list->jobs[list->count - m->job_count + i];
        struct model_job *to = &m->jobs[i];
        text_copy(to->name, sizeof to->name, from->job);
        to->state = from->state;
        to->chunks = from->chunks;
        to->completed = from->completed;
        to->dead = from->dead;
        to->workers = from->workers;
        to->created_ms = from->created_ms;
    }
}

static int job_cmp(const void *a, const void *b)
{
    const struct model_job *x = a, *y = b;
    return strcmp(x->name, y->name);
}

void model_jobs_named(struct model *m, struct model_job *jobs, size_t count)
{
    m->job_count = count < MODEL_JOBS ? count : MODEL_JOBS;
    qsort(jobs, count, sizeof *jobs, job_cmp);
    if (count > 0)
        memcpy(m->jobs, jobs, m->job_count * sizeof *jobs);
}

const struct model_job *model_newest(const struct model *m)
{
    const struct model_job *best = NULL;
    for (size_t i = 0; i < m->job_count; i++) {
        const struct model_job *j = &m->jobs[i];
        bool runs = j->state <= LEDGER_PAUSED;
        bool best_runs = best && best->state <= LEDGER_PAUSED;
        if (!best || runs > best_runs || (runs == best_runs && j->created_ms >= best->created_ms))
            best = j;
    }
    return best;
}

const struct model_job *model_elsewhere(const struct model *m)
{
    const struct model_job *works = NULL, *other = NULL;
    size_t working = 0, others = 0;
    bool listed = false, ended = m->known && m->status.state >= LEDGER_FINISHED;
    for (size_t i = 0; i < m->job_count; i++) {
        const struct model_job *j = &m->jobs[i];
        if (strcmp(j->name, m->job) == 0) {
            listed = true;
            continue;
        }
        others++;
        other = j;
        working += j->workers > 0;
        works = j->workers > 0 ? j : works;
    }
    if (!m->follows || m->broker.source == MODEL_NO_BROKER || (!ended && (m->known || listed)))
        return NULL;
    return working == 1 ? works : others == 1 && !m->known ? other : NULL;
}

/* --- how it went --- */

static struct model_point point_of(const struct model *m)
{
    const struct ledger_status *s = &m->status;
    return (struct model_point){.at_ms = m->now_ms,
                                .completed = s->completed,
                                .params = s->params,
                                .leased = s->leased,
                                .waiting = s->ready + s->fresh + s->unfed,
                                .delayed = s->delayed,
                                .dead = s->dead + s->dropped,
                                .failures = s->failures,
                                .reclaimed = s->reclaimed,
                                .workers = s->workers};
}

static double per_second(uint64_t from, uint64_t to, uint64_t ms)
{
    return to > from && ms > 0 ? (double)(to - from) * 1000 / (double)ms : 0;
}

static void point_rates(struct model_point *p, const struct model_point *before)
{
    p->rate = per_second(before->completed, p->completed, p->at_ms - before->at_ms);
    p->params_rate = per_second(before->params, p->params, p->at_ms - before->at_ms);
}

/* Every other one goes, and the time between them doubles: the whole job stays in view. */
static void points_thin(struct model *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->point_count; i += 2, kept++) {
        m->points[kept] = m->points[i];
        if (kept > 0)
            point_rates(&m->points[kept], &m->points[kept - 1]);
    }
    m->point_count = kept;
    m->point_period_ms *= 2;
}

static void point_add(struct model *m)
{
    struct model_point p = point_of(m);
    const struct model_point *last = m->point_count ? &m->points[m->point_count - 1] : NULL;
    if (last && p.at_ms < last->at_ms + m->point_period_ms)
        return;
    if (m->point_count == MODEL_POINTS)
        points_thin(m);
    uint64_t started_ms = m->status.started_ms;
    if (m->point_count == 0 && started_ms > 0 && started_ms < p.at_ms)
        m->points[m->point_count++] = (struct model_point){.at_ms = started_ms};
    if (m->point_count > 0)
        point_rates(&p, &m->points[m->point_count - 1]);
    m->points[m->point_count++] = p;
}

/* Over the last seconds, so that a number for people does not jump. */
static void rates(struct model *m)
{
    struct model_point now = point_of(m);
    const struct model_point *from = NULL;
    for (size_t i = m->point_count; i-- > 0;) {
        from = &m->points[i];
        if (from->at_ms + RATE_MS <= now.at_ms)
            break;
    }
    m->rate = m->params_rate = 0;
    m->eta_ms = 0;
    if (!from || m->status.state > LEDGER_PAUSED || now.at_ms < from->at_ms + RATE_MS_MIN)
        return;
    point_rates(&now, from);
    m->rate = now.rate;
    m->params_rate = now.params_rate;
    uint64_t left = m->status.chunks - m->status.completed - m->status.dead - m->status.dropped;
    if (m->rate > 0 && left > 0 && m->status.state == LEDGER_RUNNING)
        m->eta_ms = (uint64_t)fmin((double)left / m->rate * 1000, 1e15);
}

void model_status(struct model *m, const struct queue_status *s)
{
    if (m->known && s->status.created_ms != m->status.created_ms)
        forget(m);
    if (m->status.boot != s->status.boot) /* a node forgets who ran what */
        m->ran_partial = true;
    m->known = true;
    m->status = s->status;
    m->status.name = STR("");
    m->first = s->first;
    m->params_total = s->params_total;
    m->chunk_params = s->chunk_params;
    m->max_attempts = s->max_attempts;
    if (s->now_ms > m->now_ms)
        m->now_ms = s->now_ms;
    text_copy(m->kernel, sizeof m->kernel, s->kernel);
    text_copy(m->input, sizeof m->input, s->input);
    point_add(m);
    rates(m);
}

/* --- lists --- */

void model_events(struct model *m, const struct queue_events *e)
{
    for (size_t i = 0; i < e->event_count; i++) {
        const struct queue_event *from = &e->events[i];
        if (from->seq <= m->event_seq)
            continue;
        struct model_event *to = &m->events[m->event_count++ % MODEL_EVENTS];
        *to = (struct model_event){
            .seq = from->seq, .at_ms = from->at_ms, .value = from->value, .chunk = from->chunk};
        text_copy(to->event, sizeof to->event, from->event);
        text_copy(to->from, sizeof to->from, from->from);
        text_copy(to->to, sizeof to->to, from->to);
        text_copy(to->text, sizeof to->text, from->text);
        m->event_seq = from->seq;
        run_event(m, to);
    }
}

void model_dead(struct model *m, const struct queue_dead_list *d)
{
    m->dead_count = d->dead_count < MODEL_DEAD ? d->dead_count : MODEL_DEAD;
    for (size_t i = 0; i < m->dead_count; i++) {
        const struct queue_dead *from = &d->dead[i];
        m->dead[i] = (struct model_dead){
            .chunk = from->chunk, .dead_ms = from->dead_ms, .attempts = from->attempts};
        text_copy(m->dead[i].worker, sizeof m->dead[i].worker, from->worker);
        text_copy(m->dead[i].reason, sizeof m->dead[i].reason, from->reason);
    }
}

/* --- the broker --- */

void model_depths(struct model *m, const struct queue_depths *d, const char *why)
{
    struct model_broker b = {.source = MODEL_DECLARED};
    text_copy(b.why, sizeof b.why, str_of(why));
    for (size_t i = 0; i < d->count; i++) {
        struct model_depth *to = &b.queues[b.queue_count++];
        text_copy(to->name, sizeof to->name, str_of(d->depths[i].name));
        to->ready = d->depths[i].ready;
        to->consumers = d->depths[i].consumers;
    }
    m->broker = b;
}

void model_broker(struct model *m, const struct model_broker *b)
{
    m->broker = *b;
}

void model_place(struct model *m, struct str worker, struct str host, uint64_t unacked)
{
    for (size_t i = 0; i < m->worker_count; i++) {
        struct model_worker *w = &m->workers[i];
        if (!str_eq(str_of(w->name), worker))
            continue;
        text_copy(w->host, sizeof w->host, host);
        w->unacked = unacked;
    }
}

void model_settle(struct model *m)
{
    run_settle(m);
    m->rounds++;
}

const struct model_event *model_event_back(const struct model *m, size_t i)
{
    if (i >= m->event_count || i >= MODEL_EVENTS)
        return NULL;
    return &m->events[(m->event_count - 1 - i) % MODEL_EVENTS];
}

const struct model_span *model_span_back(const struct model *m, size_t i)
{
    if (m->span_seq < i || m->span_seq - i < m->span_first || i >= MODEL_SPANS)
        return NULL;
    return &m->spans[(m->span_seq - i) % MODEL_SPANS];
}

const char *model_worker_state_text(enum model_worker_state s)
{
    static const char *const texts[] = {"idle", "busy", "straggling", "left", "lost"};
    return texts[s];
}

const char *model_span_kind_text(enum model_span_kind k)
{
    static const char *const texts[] = {"ran", "failed", "taken_away", "given_back"};
    return texts[k];
}
