/* SPDX-License-Identifier: Apache-2.0 */
#include "job/progress.h"

#include <math.h>
#include <string.h>

void progress_init(struct progress *p)
{
    memset(p, 0, sizeof *p);
}

void progress_add(struct progress *p, uint64_t now_ms, uint64_t done, uint64_t total)
{
    uint32_t before = (p->newest + PROGRESS_POINTS - 1) % PROGRESS_POINTS;
    p->total = total;
    /* Chunks that were tried again, or a clock that stands: what was is no measure any more. */
    if (p->count > 0 && (done < p->points[p->newest].done || now_ms < p->points[p->newest].ms))
        p->count = 0;
    /* The newest point moves until it is far enough from the one before. */
    bool moves = p->count > 1 && now_ms - p->points[before].ms < PROGRESS_GAP_MS;
    if (!moves) {
        p->newest = p->count > 0 ? (p->newest + 1) % PROGRESS_POINTS : 0;
        p->count += p->count < PROGRESS_POINTS;
    }
    p->points[p->newest].ms = now_ms;
    p->points[p->newest].done = done;
}

/* The standard error of the rate, from the rates between neighbours weighted with their time. */
static double rate_error(const struct progress *p, uint32_t oldest, double rate)
{
    double sum = 0, weights = 0;
    for (uint32_t i = 1; i < p->count; i++) {
        uint32_t a = (oldest + i - 1) % PROGRESS_POINTS, b = (oldest + i) % PROGRESS_POINTS;
        double seconds = (double)(p->points[b].ms - p->points[a].ms) / 1000;
        if (seconds <= 0)
            continue;
        double off = (double)(p->points[b].done - p->points[a].done) / seconds - rate;
        sum += seconds * off * off;
        weights += seconds;
    }
    return weights > 0 ? sqrt(sum / weights / (double)(p->count - 1)) : 0;
}

void progress_view(const struct progress *p, struct progress_view *ret_view)
{
    struct progress_view v = {.total = p->total};
    if (p->count > 0)
        v.done = p->points[p->newest].done;
    v.permille = v.done >= v.total ? 1000 : (unsigned)((double)v.done / (double)v.total * 1000);
    if (v.permille >= 1000 && v.done < v.total)
        v.permille = 999;
    if (p->count > 1) {
        uint32_t oldest = (p->newest + PROGRESS_POINTS - p->count + 1) % PROGRESS_POINTS;
        uint64_t ms = p->points[p->newest].ms - p->points[oldest].ms;
        uint64_t done = v.done - p->points[oldest].done;
        v.has_rate = ms > 0 && done > 0;
        if (v.has_rate) {
            double left = v.done < v.total ? (double)(v.total - v.done) : 0;
            v.rate = (double)done * 1000 / (double)ms;
            v.eta_s = left / v.rate;
            v.has_spread = p->count > 3;
            v.spread_s = v.has_spread ? 2 * v.eta_s * rate_error(p, oldest, v.rate) / v.rate : 0;
        }
    }
    *ret_view = v;
}

static void add_duration(struct buf *out, double s)
{
    if (s < 10)
        buf_printf(out, "%.1f s", s);
    else if (s < 100)
        buf_printf(out, "%.0f s", s);
    else if (s < 6000)
        buf_printf(out, "%.0f min", s / 60);
    else if (s < 48 * 3600)
        buf_printf(out, "%.1f h", s / 3600);
    else
        buf_printf(out, "%.1f d", s / 86400);
}

void progress_text(const struct progress_view *v, bool bar, struct buf *out)
{
    if (bar) {
        unsigned full = v->permille * PROGRESS_BAR_CELLS / 1000;
        buf_add_char(out, '[');
        for (unsigned i = 0; i < PROGRESS_BAR_CELLS; i++)
            buf_add_char(out, i < full ? '#' : '.');
        buf_add_str(out, STR("] "));
    }
    buf_printf(out, "%u.%u %%  %llu/%llu chunks", v->permille / 10, v->permille % 10,
               (unsigned long long)v->done, (unsigned long long)v->total);
    if (v->done >= v->total)
        return;
    if (!v->has_rate) {
        buf_add_str(out, STR("  time left unknown"));
        return;
    }
    buf_printf(out, v->rate < 10 ? "  %.1f/s  " : "  %.0f/s  ", v->rate);
    add_duration(out, v->eta_s);
    buf_add_str(out, STR(" left"));
    if (v->has_spread) {
        buf_add_str(out, STR(" \xc2\xb1 "));
        add_duration(out, v->spread_s);
    }
}
