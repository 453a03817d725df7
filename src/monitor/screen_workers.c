/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/screen_state.h"

#include <stdio.h>
#include <string.h>

enum {
    STATE_COLUMNS = 6,
    CHUNK_COLUMNS = 10,
    AGE_COLUMNS = 9,
    FIGURE_COLUMNS = 10,
    HOST_COLUMNS = 16,
    LANE_COLUMNS_MIN = 16,
};

static const enum screen_ink worker_inks[MODEL_WORKER_STATES] = {
    [MODEL_IDLE] = INK_DIM, [MODEL_BUSY] = INK_GREEN, [MODEL_STRAGGLING] = INK_YELLOW,
    [MODEL_LEFT] = INK_DIM, [MODEL_LOST] = INK_RED,
};

/* Those that need a look come first; gone ones last. */
static int rank(const struct model_worker *w)
{
    switch (w->state) {
    case MODEL_LOST:
        return 0;
    case MODEL_STRAGGLING:
        return 1;
    case MODEL_LEFT:
        return 3;
    default:
        return 2;
    }
}

static size_t order_workers(const struct model *m, const struct model_worker **out)
{
    size_t n = 0;
    for (int r = 0; r <= 3; r++)
        for (size_t i = 0; i < m->worker_count && n < MODEL_WORKERS; i++)
            if (rank(&m->workers[i]) == r)
                out[n++] = &m->workers[i];
    return n;
}

/* A column that only appears where it fits. */
static void cell(struct screen_line *l, enum screen_ink ink, unsigned columns, const char *text)
{
    unsigned at = l->at, len = (unsigned)strlen(text);
    if (at + columns > l->width)
        return;
    line_to(l, at + (len < columns ? columns - len : 0));
    line_put(l, ink, "%s", text);
}

static bool any_host(const struct model *m)
{
    for (size_t i = 0; i < m->worker_count; i++)
        if (m->workers[i].host[0])
            return true;
    return false;
}

/* What it did of late, a character for each stretch of time; now is at the right. */
static void draw_lane(struct screen *s, const struct model_worker *w)
{
    const struct model *m = s->m;
    enum lane { IDLE, RAN, RUNS, FAILED, TAKEN } cells[SCREEN_WIDTH_MAX] = {0};
    static const char *const marks[2][5] = {{" ", "=", "-", "!", "x"}, {" ", "━", "╍", "!", "✗"}};
    static const enum screen_ink mark_inks[] = {INK_PLAIN, INK_GREEN, INK_CYAN, INK_YELLOW,
                                                INK_RED};
    unsigned n = line_room(&s->line);
    size_t worker = (size_t)(w - m->workers);
    uint64_t from = m->now_ms > SCREEN_LANE_MS ? m->now_ms - SCREEN_LANE_MS : 0;
    const struct model_span *span;
    for (size_t i = 0; i < m->running_count; i++)
        for (uint64_t c = 0; m->running[i].worker == worker && c < n; c++)
            if (from + c * SCREEN_LANE_MS / n >= m->running[i].from_ms)
                cells[c] = RUNS;
    for (size_t i = 0; (span = model_span_back(m, i)); i++) {
        if (span->worker != worker || span->to_ms < from)
            continue;
        uint64_t start = span->from_ms > from ? span->from_ms - from : 0, end = span->to_ms - from;
        enum lane kind = span->kind == MODEL_RAN || span->kind == MODEL_GIVEN_BACK ? RAN
                         : span->kind == MODEL_FAILED                              ? FAILED
                                                                                   : TAKEN;
        for (uint64_t c = start * n / SCREEN_LANE_MS; c <= end * n / SCREEN_LANE_MS && c < n; c++)
            cells[c] = kind == RAN && cells[c] > RAN ? cells[c] : kind == TAKEN ? RUNS : kind;
        if (kind == TAKEN && end * n / SCREEN_LANE_MS < n)
            cells[end * n / SCREEN_LANE_MS] = TAKEN;
    }
    if (w->lost_at_ms > from && (w->lost_at_ms - from) * n / SCREEN_LANE_MS < n)
        cells[(w->lost_at_ms - from) * n / SCREEN_LANE_MS] = TAKEN;
    for (unsigned c = 0; c < n; c++)
        line_put(&s->line, mark_inks[cells[c]], "%s", marks[s->line.utf8][cells[c]]);
}

/* The newest chunk that others took over from it. */
static const char *lost_chunk(const struct model *m, const struct model_worker *w,
                              char room[2 * SPAN_BYTES])
{
    const struct model_event *e;
    size_t i = 0;
    while ((e = model_event_back(m, i)) &&
           (strcmp(e->event, "chunk.reclaimed") != 0 || strcmp(e->from, w->name) != 0))
        i++;
    if (!e || w->state != MODEL_LOST)
        return "";
    snprintf(room, 2 * SPAN_BYTES, "%05lld", (long long)e->chunk);
    return room;
}

static void draw_worker(struct screen *s, const struct model_worker *w, unsigned name_columns)
{
    struct screen_line *l = &s->line;
    const struct model *m = s->m;
    char t[SPAN_BYTES], chunk[2 * SPAN_BYTES];
    bool gone = w->state == MODEL_LOST || w->state == MODEL_LEFT;
    line_put(l, INK_PLAIN, "  ");
    line_foreign(l, gone ? worker_inks[w->state] : INK_PLAIN, str_of(w->name), name_columns);
    line_to(l, name_columns + 3);
    line_put(l, worker_inks[w->state], "%-*s", STATE_COLUMNS,
             w->state == MODEL_STRAGGLING ? "slow" : model_worker_state_text(w->state));
    if (gone) {
        uint64_t ago = m->now_ms > w->gone_ms ? m->now_ms - w->gone_ms : 0;
        cell(l, INK_RED, CHUNK_COLUMNS, lost_chunk(m, w, chunk));
        cell(l, INK_PLAIN, AGE_COLUMNS, w->gone_ms ? span_text(t, ago) : "");
        line_put(l, INK_DIM, " ago");
        line_to(l, name_columns + 3 + STATE_COLUMNS + CHUNK_COLUMNS + AGE_COLUMNS + FIGURE_COLUMNS);
    } else {
        if (w->running == 0 && w->unacked > 0)
            snprintf(chunk, sizeof chunk, "(%llu)", (number)w->unacked);
        else if (w->running == 0)
            snprintf(chunk, sizeof chunk, "-");
        else if (w->attempt > 1)
            snprintf(chunk, sizeof chunk, "%05llu #%llu", (number)w->chunk, (number)w->attempt);
        else
            snprintf(chunk, sizeof chunk, "%05llu", (number)w->chunk);
        cell(l, INK_PLAIN, CHUNK_COLUMNS, chunk);
        cell(l, w->state == MODEL_STRAGGLING ? INK_YELLOW : INK_PLAIN, AGE_COLUMNS,
             w->running > 0 ? span_text(t, w->age_ms) : "-");
        cell(l, INK_PLAIN, FIGURE_COLUMNS, rate_text(t, w->rate));
    }
    bool unknown = gone && w->completed + w->failed == 0; /* it left before we looked */
    cell(l, INK_PLAIN, 8, unknown ? "-" : count_text(t, w->completed));
    cell(l, w->failed ? INK_YELLOW : INK_PLAIN, 8, unknown ? "-" : count_text(t, w->failed));
    if (line_room(l) > 4 && any_host(m)) {
        unsigned at = l->at;
        line_put(l, INK_PLAIN, "  ");
        line_foreign(l, INK_DIM, str_of(w->host), HOST_COLUMNS - 2);
        line_to(l, at + HOST_COLUMNS);
    }
    if (line_room(l) >= LANE_COLUMNS_MIN + 2) {
        line_put(l, INK_PLAIN, "  ");
        draw_lane(s, w);
    }
    screen_next(s);
}

void screen_workers(struct screen *s, unsigned rows)
{
    const struct model_worker *order[MODEL_WORKERS];
    struct screen_line *l = &s->line;
    size_t n = order_workers(s->m, order), from = s->v->scroll < n ? s->v->scroll : 0;
    unsigned name_columns = s->width >= 100 ? SCREEN_NAME_COLUMNS : s->width >= 60 ? 14 : 10;
    char right[64] = "";
    if (rows < 2 || n == 0)
        return;
    line_put(l, INK_BOLD, "WORKER");
    line_to(l, name_columns + 3);
    line_put(l, INK_DIM, "%-*s", STATE_COLUMNS, "STATE");
    cell(l, INK_DIM, CHUNK_COLUMNS, "CHUNK");
    cell(l, INK_DIM, AGE_COLUMNS, "AGE");
    cell(l, INK_DIM, FIGURE_COLUMNS, "CHUNKS/S");
    cell(l, INK_DIM, 8, "DONE");
    cell(l, INK_DIM, 8, "FAILED");
    if (any_host(s->m) && line_room(l) > 4) {
        unsigned at = l->at;
        line_put(l, INK_DIM, "  HOST");
        line_to(l, at + HOST_COLUMNS);
    }
    if (n > rows - 1)
        snprintf(right, sizeof right, "%zu of %zu", (size_t)rows - 1, n);
    else if (line_room(l) >= LANE_COLUMNS_MIN + 2)
        snprintf(right, sizeof right, "the last %d s", SCREEN_LANE_MS / 1000);
    line_right(l, INK_DIM, right);
    screen_next(s);
    for (size_t i = from; i < n && i < from + rows - 1; i++)
        draw_worker(s, order[i], name_columns);
}
