/* SPDX-License-Identifier: Apache-2.0 */
/* The model as JSON: docs/monitor.md. Long lists are arrays of numbers, to be short on the wire. */
#include "monitor/model.h"

#include <inttypes.h>

static const char *state_text(enum ledger_state s)
{
    static const char *const texts[] = {"running", "paused", "finished", "canceled"};
    return texts[s];
}

static void field_text(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, str_of(value));
}

static void field_u64(struct buf *out, const char *name, uint64_t value)
{
    buf_printf(out, ",\"%s\":%" PRIu64, name, value);
}

static void field_f64(struct buf *out, const char *name, double value)
{
    buf_printf(out, ",\"%s\":%.6g", name, value);
}

static void jobs(const struct model *m, struct buf *out)
{
    buf_add_str(out, STR(",\"jobs\":["));
    for (size_t i = 0; i < m->job_count; i++) {
        const struct model_job *j = &m->jobs[i];
        buf_add_str(out, i ? STR(",{\"job\":") : STR("{\"job\":"));
        buf_add_json(out, str_of(j->name));
        if (j->named) {
            buf_add_str(out, STR(",\"state\":null"));
        } else {
            field_text(out, "state", state_text(j->state));
            field_u64(out, "chunks", j->chunks);
            field_u64(out, "completed", j->completed);
            field_u64(out, "dead_letters", j->dead);
            field_u64(out, "created_ms", j->created_ms);
        }
        field_u64(out, "workers", j->workers);
        buf_add_char(out, '}');
    }
    buf_printf(out, "],\"follows\":%s", m->follows ? "true" : "false");
    field_text(out, "asked", m->job);
    const struct model_job *elsewhere = model_elsewhere(m);
    if (elsewhere)
        field_text(out, "elsewhere", elsewhere->name);
}

static void job_numbers(const struct model *m, struct buf *out)
{
    const struct ledger_status *s = &m->status;
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"created_ms", s->created_ms},
        {"started_ms", s->started_ms},
        {"finished_ms", s->finished_ms},
        {"chunks", s->chunks},
        {"completed", s->completed},
        {"leased", s->leased},
        {"ready", s->ready},
        {"delayed", s->delayed},
        {"fresh", s->fresh},
        {"unfed", s->unfed},
        {"dead_letters", s->dead},
        {"dropped", s->dropped},
        {"attempts", s->attempts},
        {"failures", s->failures},
        {"reclaimed", s->reclaimed},
        {"stolen", s->stolen},
        {"released", s->released},
        {"redriven", s->redriven},
        {"stale_dropped", s->stale_dropped},
        {"workers", s->workers},
        {"workers_lost", s->workers_lost},
        {"slots", s->slots},
        {"params", s->params},
        {"params_total", m->params_total},
        {"chunk_params", m->chunk_params},
        {"max_attempts", m->max_attempts},
        {"eta_ms", m->eta_ms},
        {"took_p50_us", m->took_p50_us},
        {"took_p95_us", m->took_p95_us},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        field_u64(out, rows[i].name, rows[i].value);
}

static void job(const struct model *m, struct buf *out)
{
    const struct ledger_status *s = &m->status;
    if (!m->known) {
        buf_add_str(out, STR(",\"job\":null"));
        return;
    }
    buf_add_str(out, STR(",\"job\":{\"job\":"));
    buf_add_json(out, str_of(m->job));
    field_text(out, "state", state_text(s->state));
    job_numbers(m, out);
    buf_printf(out, ",\"first_param\":%" PRId64, m->first);
    field_f64(out, "rate", m->rate);
    field_f64(out, "params_rate", m->params_rate);
    if (s->has_sum && !s->sum_overflow) {
        char sum[41];
        /* As text: it may exceed what a reader's numbers hold. */
        buf_printf(out, ",\"sum\":\"%.*s\"", (int)str_from_i128(sum, s->sum), sum);
    }
    field_text(out, "kernel", m->kernel);
    field_text(out, "input", m->input);
    buf_add_char(out, '}');
}

static void workers(const struct model *m, struct buf *out)
{
    buf_add_str(out, STR(",\"workers\":["));
    for (size_t i = 0; i < m->worker_count; i++) {
        const struct model_worker *w = &m->workers[i];
        buf_add_str(out, i ? STR(",{\"worker\":") : STR("{\"worker\":"));
        buf_add_json(out, str_of(w->name));
        field_text(out, "host", w->host);
        field_text(out, "state", model_worker_state_text(w->state));
        field_u64(out, "slots", w->slots);
        field_u64(out, "held", w->held);
        field_u64(out, "completed", w->completed);
        field_u64(out, "failed", w->failed);
        field_u64(out, "lost", w->lost);
        field_u64(out, "joined_ms", w->joined_ms);
        field_u64(out, "gone_ms", w->gone_ms);
        field_u64(out, "lost_at_ms", w->lost_at_ms);
        field_f64(out, "rate", w->rate);
        field_u64(out, "running", w->running);
        field_u64(out, "unacked", w->unacked);
        if (w->running > 0) {
            field_u64(out, "chunk", w->chunk);
            field_u64(out, "attempt", w->attempt);
            field_u64(out, "age_ms", w->age_ms);
        }
        buf_add_char(out, '}');
    }
    /* worker (index), chunk, attempt, from_ms */
    buf_add_str(out, STR("],\"running\":["));
    for (size_t i = 0; i < m->running_count; i++) {
        const struct model_running *r = &m->running[i];
        buf_printf(out, "%s[%zu,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", i ? "," : "", r->worker,
                   r->chunk, r->attempt, r->from_ms);
    }
    buf_add_char(out, ']');
}

static void cells(const struct model *m, struct buf *out)
{
    buf_printf(out, ",\"map\":{\"per_cell\":%" PRIu64 ",\"cells\":[", m->per_cell);
    for (size_t i = 0; i < m->cell_count; i++) {
        const struct queue_cell *c = &m->cells[i];
        buf_printf(out, "%s%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64,
                   i ? "," : "", c->repeat, c->done, c->leased, c->ready, c->delayed, c->dead);
    }
    buf_add_str(out, STR("]}"));
}

/* Those taken after `after_ms`. */
static void points(const struct model *m, uint64_t after_ms, struct buf *out)
{
    const char *comma = "";
    buf_printf(out, ",\"point_period_ms\":%" PRIu64 ",\"points\":[", m->point_period_ms);
    for (size_t i = 0; i < m->point_count; i++) {
        const struct model_point *p = &m->points[i];
        if (p->at_ms <= after_ms)
            continue;
        buf_printf(out,
                   "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                   ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.6g,%.6g]",
                   comma, p->at_ms, p->completed, p->params, p->leased, p->waiting, p->delayed,
                   p->dead, p->failures, p->reclaimed, p->workers, p->rate, p->params_rate);
        comma = ",";
    }
    buf_add_char(out, ']');
}

static void spans(const struct model *m, uint64_t after, struct buf *out)
{
    const char *comma = "";
    uint64_t seq = after + 1 > m->span_first ? after + 1 : m->span_first;
    buf_add_str(out, STR(",\"spans\":["));
    for (; seq <= m->span_seq; seq++) {
        const struct model_span *s = &m->spans[seq % MODEL_SPANS];
        if (s->worker == SIZE_MAX)
            continue;
        buf_printf(out, "%s[%zu,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",\"%s\"]", comma,
                   s->worker, s->chunk, s->attempt, s->from_ms, s->to_ms,
                   model_span_kind_text(s->kind));
        comma = ",";
    }
    buf_add_char(out, ']');
}

static void events(const struct model *m, uint64_t after, struct buf *out)
{
    uint64_t at = m->event_count > MODEL_EVENTS ? m->event_count - MODEL_EVENTS : 0;
    const char *comma = "";
    buf_add_str(out, STR(",\"events\":["));
    for (at = after > at ? after : at; at < m->event_count; at++) {
        const struct model_event *e = &m->events[at % MODEL_EVENTS];
        buf_printf(out, "%s{\"seq\":%" PRIu64 ",\"at_ms\":%" PRIu64 ",\"chunk\":%" PRId64, comma,
                   e->seq, e->at_ms, e->chunk);
        field_text(out, "event", e->event);
        field_text(out, "from", e->from);
        field_text(out, "to", e->to);
        field_u64(out, "value", e->value);
        field_text(out, "text", e->text);
        buf_add_char(out, '}');
        comma = ",";
    }
    buf_add_char(out, ']');
}

static void dead(const struct model *m, struct buf *out)
{
    buf_add_str(out, STR(",\"dead\":["));
    for (size_t i = 0; i < m->dead_count; i++) {
        const struct model_dead *d = &m->dead[i];
        buf_printf(out, "%s{\"chunk\":%" PRIu64, i ? "," : "", d->chunk);
        field_u64(out, "attempts", d->attempts);
        field_u64(out, "dead_ms", d->dead_ms);
        field_text(out, "worker", d->worker);
        field_text(out, "reason", d->reason);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void broker(const struct model *m, struct buf *out)
{
    const struct model_broker *b = &m->broker;
    if (b->source == MODEL_NO_BROKER)
        return;
    buf_add_str(out, b->source == MODEL_MANAGEMENT ? STR(",\"broker\":{\"by\":\"management\"")
                                                   : STR(",\"broker\":{\"by\":\"declare\""));
    field_text(out, "why", b->why);
    field_text(out, "version", b->version);
    field_text(out, "alarms", b->alarms);
    field_u64(out, "nodes", b->nodes);
    field_u64(out, "nodes_running", b->nodes_running);
    buf_add_str(out, STR(",\"queues\":["));
    for (size_t i = 0; i < b->queue_count; i++) {
        const struct model_depth *d = &b->queues[i];
        buf_add_str(out, i ? STR(",{\"queue\":") : STR("{\"queue\":"));
        buf_add_json(out, str_of(d->name));
        field_u64(out, "ready", d->ready);
        field_u64(out, "unacked", d->unacked);
        field_u64(out, "consumers", d->consumers);
        field_f64(out, "in_rate", d->in);
        field_f64(out, "out_rate", d->out);
        buf_add_char(out, '}');
    }
    buf_add_str(out, STR("]}"));
}

int model_json(const struct model *m, struct model_mark *since, struct buf *out)
{
    struct model_mark all = {0}, *from = since ? since : &all;
    if (from->worker_changes != m->worker_changes)
        *from = (struct model_mark){0};
    buf_printf(out, "{\"full\":%s,\"connected\":%s", from->worker_changes ? "false" : "true",
               m->connected ? "true" : "false");
    field_text(out, "link", m->link_text);
    field_u64(out, "now_ms", m->now_ms);
    jobs(m, out);
    job(m, out);
    workers(m, out);
    cells(m, out);
    points(m, from->point_ms, out);
    spans(m, from->span_seq, out);
    events(m, from->event_count, out);
    dead(m, out);
    broker(m, out);
    from->worker_changes = m->worker_changes;
    from->span_seq = m->span_seq;
    from->event_count = m->event_count;
    from->point_ms = m->point_count ? m->points[m->point_count - 1].at_ms : 0;
    buf_add_char(out, '}');
    return out->failed;
}
