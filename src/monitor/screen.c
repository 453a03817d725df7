/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/screen.h"

#include "base/clock.h"
#include "monitor/screen_state.h"

#include <stdio.h>
#include <string.h>

enum { STALE_MS = 3000 }; /* older than that is said */

/* --- the top --- */

static void draw_title(struct screen *s)
{
    char at[CLOCK_TEXT_BYTES], right[64], span[SPAN_BYTES];
    const struct model *m = s->m;
    if (!screen_fits(s, 1))
        return;
    clock_text(at, m->now_ms);
    bool stale = m->rounds > 0 && s->v->since_round_ms > STALE_MS;
    snprintf(right, sizeof right, "%.8s%s", m->rounds > 0 && m->now_ms > 0 ? at + 11 : "",
             !m->connected ? "" : "  connected");
    line_put(&s->line, INK_BOLD, "ttg monitor");
    line_put(&s->line, INK_PLAIN, "  ");
    line_foreign(&s->line, INK_PLAIN, str_of(s->v->place), s->width > 40 ? s->width - 34 : 20);
    if (m->connected && !stale)
        line_right(&s->line, INK_GREEN, right);
    screen_next(s);
    if (m->connected && !stale)
        return;
    if (!screen_fits(s, 1))
        return;
    if (m->connected)
        line_put(&s->line, INK_RED, "no answer for %s", span_text(span, s->v->since_round_ms));
    else
        line_put(&s->line, INK_RED, "not connected");
    line_put(&s->line, INK_PLAIN, "; it is tried again%s",
             m->rounds > 0 ? "; below is what was known before" : "");
    if (!m->connected && m->link_text[0]) {
        line_put(&s->line, INK_PLAIN, ": ");
        line_foreign(&s->line, INK_PLAIN, str_of(m->link_text), s->width);
    }
    screen_next(s);
}

static const char *state_of(const struct model *m, enum screen_ink *ret_ink)
{
    const struct ledger_status *st = &m->status;
    *ret_ink = INK_GREEN;
    switch (st->state) {
    case LEDGER_PAUSED:
        *ret_ink = INK_YELLOW;
        return st->leased > 0 ? "PAUSED, draining" : "PAUSED, drained";
    case LEDGER_FINISHED:
        *ret_ink = st->completed < st->chunks ? INK_RED : INK_GREEN;
        return st->completed < st->chunks ? "ended, not complete" : "complete";
    case LEDGER_CANCELED:
        *ret_ink = INK_RED;
        return "canceled";
    default:
        return st->workers == 0 ? "running, no workers" : "running";
    }
}

static void draw_bar(struct screen_line *l, double part, unsigned columns)
{
    unsigned full = (unsigned)(part * columns);
    for (unsigned i = 0; i < columns; i++)
        line_put(l, i < full ? INK_GREEN : INK_DIM, "%s",
                 i < full ? (l->utf8 ? "█" : "#") : (l->utf8 ? "░" : "."));
}

static void draw_job(struct screen *s)
{
    const struct model *m = s->m;
    const struct ledger_status *st = &m->status;
    struct screen_line *l = &s->line;
    char a[SPAN_BYTES], b[SPAN_BYTES], right[64], tail[64];
    enum screen_ink ink;
    if (!screen_fits(s, 1))
        return;
    const char *state = state_of(m, &ink);
    line_put(l, INK_DIM, "job  ");
    line_foreign(l, INK_BOLD, str_of(m->job), SCREEN_NAME_COLUMNS);
    line_put(l, INK_PLAIN, "  ");
    line_put(l, st->workers == 0 && st->state == LEDGER_RUNNING ? INK_YELLOW : ink, "%s", state);
    line_put(l, INK_PLAIN, "  ");
    double part = st->chunks ? (double)st->completed / (double)st->chunks : 1;
    double percent = st->completed == st->chunks ? 100.0 : part * 100 > 99.9 ? 99.9 : part * 100;
    int n = snprintf(tail, sizeof tail, "  %s of %s", count_text(a, st->completed),
                     count_text(b, st->chunks));
    unsigned rest = line_room(l), needed = (unsigned)n + 8 + (m->job_count > 1 ? 11 : 0);
    if (rest > needed + 4)
        draw_bar(l, part, rest - needed > 40 ? 40 : rest - needed);
    line_put(l, INK_BOLD, " %5.1f %%", percent);
    line_put(l, INK_PLAIN, "%s", tail);
    if (m->job_count > 1) {
        snprintf(right, sizeof right, "%zu jobs", m->job_count);
        line_right(l, INK_DIM, right);
    }
    screen_next(s);
}

/* The newest points, each column the mean of those that fall into it. */
static size_t rate_columns(const struct model *m, double *out, size_t columns)
{
    size_t n = m->point_count > 1 ? m->point_count - 1 : 0, from = 1;
    if (n > columns && n < 2 * columns) { /* the newest part, undistorted */
        from += n - columns;
        n = columns;
    }
    size_t count = n < columns ? n : columns;
    for (size_t c = 0; c < count; c++) {
        size_t first = from + c * n / count, last = from + (c + 1) * n / count;
        double sum = 0;
        for (size_t i = first; i < last; i++)
            sum += m->points[i].rate;
        out[c] = last > first ? sum / (double)(last - first) : 0;
    }
    return count;
}

/* Of late; of an ended job, over all its time. */
static double rate_of(const struct model *m)
{
    const struct ledger_status *st = &m->status;
    bool ended = st->state == LEDGER_FINISHED && st->finished_ms > st->started_ms && st->started_ms;
    return ended ? (double)st->completed * 1000 / (double)(st->finished_ms - st->started_ms)
                 : m->rate;
}

static void draw_rate(struct screen *s)
{
    const struct model *m = s->m;
    struct screen_line *l = &s->line;
    double columns[SCREEN_WIDTH_MAX];
    char a[SPAN_BYTES], b[SPAN_BYTES], right[128] = "";
    if (!screen_fits(s, 1))
        return;
    line_put(l, INK_DIM, "rate ");
    line_put(l, INK_BOLD, "%s", rate_text(a, rate_of(m)));
    line_put(l, INK_PLAIN, "/s  ");
    size_t len = 0;
    if (m->eta_ms > 0)
        len += (size_t)snprintf(right, sizeof right, "  %s left", span_text(a, m->eta_ms));
    if (m->took_p50_us > 0 && s->width >= 60)
        snprintf(right + len, sizeof right - len, "  chunk %s, 95%% %s",
                 span_text(a, m->took_p50_us / 1000), span_text(b, m->took_p95_us / 1000));
    unsigned tail = (unsigned)strlen(right), room = line_room(l);
    if (room > tail + 4) {
        size_t n = rate_columns(m, columns, room - tail);
        line_spark(l, INK_CYAN, columns, n);
    }
    line_right(l, INK_PLAIN, right[0] ? right : "");
    screen_next(s);
}

static void put_figure(struct screen_line *l, enum screen_ink ink, const char *name, uint64_t n,
                       bool always)
{
    char a[SPAN_BYTES];
    if (n == 0 && !always)
        return;
    line_put(l, ink, "  %s", count_text(a, n));
    line_put(l, INK_DIM, " %s", name);
}

static void draw_chunks(struct screen *s)
{
    const struct ledger_status *st = &s->m->status;
    struct screen_line *l = &s->line;
    if (!screen_fits(s, 1))
        return;
    line_put(l, INK_DIM, "now ");
    put_figure(l, INK_CYAN, st->leased == 1 ? "lease" : "leases", st->leased, true);
    put_figure(l, INK_PLAIN, "waiting", st->ready + st->fresh + st->unfed, true);
    put_figure(l, INK_YELLOW, "to be retried", st->delayed, false);
    put_figure(l, INK_RED, "dead", st->dead + st->dropped, false);
    put_figure(l, INK_PLAIN, st->workers == 1 ? "worker" : "workers", st->workers, true);
    put_figure(l, INK_RED, st->workers_lost == 1 ? "loss" : "losses", st->workers_lost, false);
    screen_next(s);
}

/* The newest one stays in sight, however many events come behind it. */
static void put_last_takeover(struct screen *s)
{
    struct screen_line *l = &s->line;
    char t[SPAN_BYTES];
    const struct model_event *e;
    size_t i = 0;
    while ((e = model_event_back(s->m, i)) && strcmp(e->event, "chunk.reclaimed") != 0)
        i++;
    if (!e || line_room(l) < 20)
        return;
    line_put(l, INK_PLAIN, " (%05lld ", (long long)e->chunk);
    line_foreign(l, INK_RED, str_of(e->from), SCREEN_NAME_COLUMNS);
    line_put(l, INK_PLAIN, !e->from[0] ? "by " : l->utf8 ? " → " : " -> ");
    line_foreign(l, INK_GREEN, str_of(e->to), SCREEN_NAME_COLUMNS);
    line_put(l, INK_PLAIN, e->from[0] ? " %s)" : ")", span_text(t, e->value));
}

static void draw_trouble(struct screen *s)
{
    const struct ledger_status *st = &s->m->status;
    struct screen_line *l = &s->line;
    if (!screen_fits(s, 1))
        return;
    line_put(l, INK_DIM, "tried");
    put_figure(l, INK_PLAIN, st->attempts == 1 ? "attempt" : "attempts", st->attempts, true);
    put_figure(l, INK_GREEN, "taken over", st->reclaimed, false);
    put_last_takeover(s);
    put_figure(l, INK_YELLOW, "failed", st->failures, false);
    put_figure(l, INK_PLAIN, "late results dropped", st->stale_dropped, false);
    put_figure(l, INK_PLAIN, "redriven", st->redriven, false);
    screen_next(s);
}

/* "ttg.sweep.tasks.retry" is called "tasks.retry" here: the job is known. */
static struct str short_name(const char *queue)
{
    const char *tasks = strstr(queue, ".tasks"), *results = strstr(queue, ".results");
    return str_of(tasks ? tasks + 1 : results ? results + 1 : queue);
}

static void draw_broker(struct screen *s)
{
    const struct model_broker *b = &s->m->broker;
    struct screen_line *l = &s->line;
    char t[SPAN_BYTES];
    if (b->source == MODEL_NO_BROKER || !screen_fits(s, 1))
        return;
    line_put(l, INK_DIM, "queue");
    for (size_t i = 0; i < b->queue_count; i++) {
        const struct model_depth *d = &b->queues[i];
        struct str name = short_name(d->name);
        bool tasks = str_eq(name, STR("tasks"));
        if (!tasks && d->ready + d->unacked == 0)
            continue;
        line_put(l, INK_PLAIN, "  %s", count_text(t, d->ready));
        line_put(l, INK_DIM, " in ");
        line_foreign(l, INK_DIM, name, SCREEN_NAME_COLUMNS);
        if (d->unacked > 0)
            line_put(l, INK_CYAN, " +%s out", count_text(t, d->unacked));
        if (tasks)
            line_put(l, INK_PLAIN, ", %s", count_text(t, d->consumers));
        if (tasks)
            line_put(l, INK_DIM, d->consumers == 1 ? " consumer" : " consumers");
    }
    if (b->alarms[0]) {
        line_put(l, INK_RED, "  ALARM ");
        line_foreign(l, INK_RED, str_of(b->alarms), MODEL_TEXT_BYTES);
    } else if (b->nodes_running < b->nodes) {
        line_put(l, INK_RED, "  %llu of %llu nodes", (number)b->nodes_running, (number)b->nodes);
    }
    screen_next(s);
}

/* --- events --- */

static bool is(const struct model_event *e, const char *name)
{
    return str_eq(str_of(e->event), str_of(name));
}

static void put_chunk(struct screen_line *l, const struct model_event *e)
{
    line_put(l, INK_PLAIN, "chunk ");
    line_put(l, INK_BOLD, "%05lld", (long long)e->chunk);
}

static void put_reason(struct screen_line *l, const struct model_event *e)
{
    if (!e->text[0])
        return;
    line_put(l, INK_PLAIN, ": ");
    line_foreign(l, INK_PLAIN, str_of(e->text), line_room(l));
}

/* On RabbitMQ the result tells it: of whom, and since when, nobody saw. */
static void put_moved(struct screen_line *l, const struct model_event *e, bool reclaimed)
{
    char t[SPAN_BYTES];
    put_chunk(l, e);
    line_put(l, reclaimed ? INK_GREEN : INK_PLAIN, reclaimed ? " taken over" : " moved");
    line_put(l, INK_PLAIN, e->from[0] ? ": " : " by ");
    line_foreign(l, INK_PLAIN, str_of(e->from), SCREEN_NAME_COLUMNS);
    if (e->from[0])
        line_put(l, INK_PLAIN, l->utf8 ? " → " : " -> ");
    line_foreign(l, INK_BOLD, str_of(e->to), SCREEN_NAME_COLUMNS);
    if (reclaimed && e->from[0])
        line_put(l, INK_PLAIN, ", %s after the loss", span_text(t, e->value));
}

static void put_worker_event(struct screen_line *l, const struct model_event *e)
{
    bool lost = is(e, "worker.lost");
    line_foreign(l, INK_BOLD, str_of(e->from), SCREEN_NAME_COLUMNS);
    if (lost) {
        line_put(l, INK_RED, " is lost");
        put_reason(l, e);
        line_put(l, INK_PLAIN, "; %llu lease%s free again", (number)e->value,
                 e->value == 1 ? "" : "s");
    } else if (is(e, "worker.joined")) {
        line_put(l, INK_PLAIN, " joined");
    } else {
        line_put(l, INK_PLAIN, " left");
    }
}

static void put_plain_event(struct screen_line *l, const struct model_event *e)
{
    static const struct {
        const char *event, *text;
    } rows[] = {
        {"job.created", "the job was created"},    {"job.paused", "the job was paused"},
        {"job.resumed", "the job goes on"},        {"job.canceled", "the job was canceled"},
        {"chunk.redriven", "gets fresh attempts"}, {"chunk.dropped", "was dropped"},
        {"job.finished", "the job is finished"},
    };
    const char *text = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (is(e, rows[i].event))
            text = rows[i].text;
    if (e->chunk >= 0)
        put_chunk(l, e);
    line_put(l, INK_PLAIN, e->chunk >= 0 ? " %s" : "%s", text ? text : "");
    if (!text)
        line_foreign(l, INK_PLAIN, str_of(e->event), 32);
    if (is(e, "job.finished") && e->value > 0)
        line_put(l, INK_RED, " with %llu dead letter%s", (number)e->value,
                 e->value == 1 ? "" : "s");
    put_reason(l, e);
}

static void put_event(struct screen_line *l, const struct model_event *e)
{
    char t[SPAN_BYTES];
    if (str_starts(str_of(e->event), STR("worker."))) {
        put_worker_event(l, e);
    } else if (is(e, "chunk.reclaimed") || is(e, "chunk.stolen")) {
        put_moved(l, e, is(e, "chunk.reclaimed"));
    } else if (is(e, "chunk.failed")) {
        put_chunk(l, e);
        line_put(l, INK_YELLOW, " failed");
        line_put(l, INK_PLAIN, " at ");
        line_foreign(l, INK_PLAIN, str_of(e->from), SCREEN_NAME_COLUMNS);
        if (e->value > 0) /* on RabbitMQ nobody says so */
            line_put(l, INK_PLAIN, ", again in %s", span_text(t, e->value));
        put_reason(l, e);
    } else if (is(e, "chunk.dead")) {
        put_chunk(l, e);
        line_put(l, INK_RED, " given up");
        line_put(l, INK_PLAIN, " after %llu attempt%s", (number)e->value, e->value == 1 ? "" : "s");
        put_reason(l, e);
    } else if (is(e, "lease.expired")) {
        put_chunk(l, e);
        line_put(l, INK_YELLOW, ": the lease of ");
        line_foreign(l, INK_YELLOW, str_of(e->from), SCREEN_NAME_COLUMNS);
        line_put(l, INK_YELLOW, " ran out");
    } else {
        put_plain_event(l, e);
    }
}

static void draw_events(struct screen *s, unsigned rows)
{
    struct screen_line *l = &s->line;
    char at[CLOCK_TEXT_BYTES];
    if (rows < 2 || !model_event_back(s->m, 0))
        return;
    line_put(l, INK_BOLD, "EVENTS");
    line_put(l, INK_DIM, " newest first");
    screen_next(s);
    for (size_t i = 0; i + 1 < rows; i++) {
        const struct model_event *e = model_event_back(s->m, i);
        if (!e)
            break;
        clock_text(at, e->at_ms);
        line_put(l, INK_DIM, "  %.8s ", at + 11);
        put_event(l, e);
        screen_next(s);
    }
}

static void draw_dead(struct screen *s, unsigned rows)
{
    const struct model *m = s->m;
    struct screen_line *l = &s->line;
    char a[SPAN_BYTES];
    if (rows < 2)
        return;
    line_put(l, INK_RED, "DEAD LETTERS");
    line_put(l, INK_DIM, " %s%s", count_text(a, m->status.dead),
             s->v->keys ? ", r gives them fresh attempts" : "");
    screen_next(s);
    for (size_t i = 0; i < m->dead_count && i + 1 < rows; i++) {
        const struct model_dead *d = &m->dead[i];
        line_put(l, INK_PLAIN, "  chunk ");
        line_put(l, INK_BOLD, "%05llu", (number)d->chunk);
        line_put(l, INK_PLAIN, "  %u attempt%s  ", d->attempts, d->attempts == 1 ? "" : "s");
        line_foreign(l, INK_PLAIN, str_of(d->worker), SCREEN_NAME_COLUMNS);
        line_put(l, INK_PLAIN, "  ");
        line_foreign(l, INK_PLAIN, str_of(d->reason), line_room(l));
        screen_next(s);
    }
}

/* --- the whole --- */

static void draw_keys(struct screen *s)
{
    struct screen_line *l = &s->line;
    bool paused = s->m->status.state == LEDGER_PAUSED;
    if (s->v->question) {
        line_put(l, INK_BAR, " %s [y/n] ", s->v->question);
    } else if (s->v->message && s->v->message[0]) {
        line_put(l, INK_BOLD, " ");
        line_foreign(l, INK_BOLD, str_of(s->v->message), line_room(l));
    } else if (s->v->keys) {
        line_put(l, INK_DIM, " q quit  p %s  d drain  r redrive  %s j/k job  ? help",
                 paused ? "go on" : "pause", l->utf8 ? "↑↓ workers " : "");
    }
}

static void draw_help(struct screen *s)
{
    static const char *const lines[] = {
        "",
        "  q, Ctrl-C   leave; the job goes on",
        "  p           pause the job: running chunks end, no new one starts; again: go on",
        "  d           drain: pause, and see here when nothing runs any more (asks first)",
        "  r           give all dead letters fresh attempts (asks first)",
        "  j, k        the next job, the one before;  g: always the newest",
        "  up, down    scroll the workers",
        "  ?           this page; any key leaves it",
        "",
        "  map: one character for one or more chunks, in order",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines && screen_fits(s, 2); i++) {
        line_put(&s->line, INK_PLAIN, "%s", lines[i]);
        screen_next(s);
    }
    if (!screen_fits(s, 2))
        return;
    line_put(&s->line, INK_PLAIN,
             s->v->utf8 ? "       █ done  ▄ partly  ▒ at work  ! again  x dead  · not yet"
                        : "       # done  + partly  o at work  ! again  x dead  . not yet");
    screen_next(s);
}

/* Rows for the three lists: each gets what it needs, and who needs more shares the rest. */
static void draw_lists(struct screen *s)
{
    const struct model *m = s->m;
    unsigned keys = s->v->keys || s->v->question || (s->v->message && s->v->message[0]) ? 1 : 0;
    unsigned rest = s->height > s->used + keys ? s->height - s->used - keys : 0;
    unsigned map = rest >= 36 ? SCREEN_MAP_ROWS : rest >= 8 ? 1 : 0, dead = 0;
    if (m->status.chunks <= (uint64_t)(s->width > 6 ? s->width - 6 : 1))
        map = map ? 1 : 0;
    unsigned before = s->used;
    screen_map(s, map);
    rest -= s->used - before;
    if (m->dead_count > 0 && rest >= 5) {
        unsigned most = rest / 4 > 2 ? rest / 4 : 2;
        dead = m->dead_count + 1 < most ? (unsigned)m->dead_count + 1 : most;
        rest -= dead;
    }
    unsigned workers = m->worker_count > 0 ? (unsigned)m->worker_count + 1 : 0;
    unsigned events = m->event_count < MODEL_EVENTS ? (unsigned)m->event_count + 1 : MODEL_EVENTS;
    if (workers + events > rest) {
        unsigned half = rest / 2;
        if (events <= half)
            workers = rest - events;
        else
            workers = workers < rest - half ? workers : rest - half;
    }
    screen_workers(s, workers);
    events = rest > workers ? rest - workers : 0;
    draw_events(s, events);
    draw_dead(s, dead);
}

static void draw_nothing(struct screen *s)
{
    const struct model *m = s->m;
    if (!screen_fits(s, 1))
        return;
    if (!m->connected)
        return;
    if (m->job[0]) {
        line_put(&s->line, INK_PLAIN, "waiting for job ");
        line_foreign(&s->line, INK_BOLD, str_of(m->job), SCREEN_NAME_COLUMNS);
    } else {
        line_put(&s->line, INK_PLAIN, "no jobs on this queue yet");
    }
    screen_next(s);
    if (m->job_count == 0 || !screen_fits(s, 1))
        return;
    line_put(&s->line, INK_DIM, "jobs here: ");
    for (size_t i = 0; i < m->job_count && line_room(&s->line) > SCREEN_NAME_COLUMNS; i++) {
        line_put(&s->line, INK_PLAIN, i ? ", " : "");
        line_foreign(&s->line, INK_BOLD, str_of(m->jobs[i].name), SCREEN_NAME_COLUMNS);
    }
    screen_next(s);
}

int screen_render(const struct screen_view *v, unsigned width, unsigned height, struct buf *out)
{
    width = width > SCREEN_WIDTH_MAX ? SCREEN_WIDTH_MAX : width;
    height = height > SCREEN_HEIGHT_MAX ? SCREEN_HEIGHT_MAX : height;
    struct screen s = {
        .v = v,
        .m = v->model,
        .line = {.out = out, .width = width, .color = v->color, .utf8 = v->utf8},
        .width = width,
        .height = height,
    };
    draw_title(&s);
    if (v->help) {
        draw_help(&s);
    } else if (s.m->known) {
        draw_job(&s);
        draw_rate(&s);
        draw_chunks(&s);
        draw_trouble(&s);
        draw_broker(&s);
        draw_lists(&s);
    } else {
        draw_nothing(&s);
        draw_broker(&s);
    }
    if (screen_fits(&s, 1) && (v->keys || v->question || v->message)) {
        while (v->keys && s.used + 1 < height)
            screen_next(&s);
        draw_keys(&s);
        screen_next(&s);
    }
    return out->failed;
}
