/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/summary.h"

#include "cmd/options.h"
#include "io/stdio.h"

static const char *state_name(enum ledger_state state)
{
    static const char *const names[] = {"running", "paused", "finished", "canceled"};
    return names[state];
}

static double rate(const struct run_totals *t)
{
    return t->seconds > 0 ? (double)t->status.status.params / t->seconds : 0;
}

int summary_json(struct buf *out, const char *job, const struct run_totals *t)
{
    const struct ledger_status *s = &t->status.status;
    char sum[41];
    size_t len = ledger_sum_text(sum, s->sum);
    int rc = buf_add_str(out, STR("{\"job\":"));
    if (!rc)
        rc = buf_add_json(out, str_of(job));
    if (!rc)
        rc = buf_printf(out,
                        ",\"state\":\"%s\",\"chunks\":%llu,\"completed\":%llu,\"attempts\":%llu,"
                        "\"reclaimed\":%llu,\"stale_dropped\":%llu,\"dead_letters\":%llu,"
                        "\"workers_lost\":%llu,\"params\":%llu,\"seconds\":%.3f,"
                        "\"params_per_second\":%.0f,\"lines\":%llu,\"sum\":",
                        state_name(s->state), (unsigned long long)s->chunks,
                        (unsigned long long)s->completed, (unsigned long long)s->attempts,
                        (unsigned long long)s->reclaimed, (unsigned long long)s->stale_dropped,
                        (unsigned long long)s->dead, (unsigned long long)s->workers_lost,
                        (unsigned long long)s->params, t->seconds, rate(t),
                        (unsigned long long)t->lines);
    if (!rc)
        rc =
            s->has_sum && !s->sum_overflow ? buf_add(out, sum, len) : buf_add_str(out, STR("null"));
    return rc ? rc
              : buf_printf(out, ",\"verified\":%s}",
                           t->lines == s->completed &&
                                   s->completed + s->dead + s->dropped == s->chunks
                               ? "true"
                               : "false");
}

static void for_people(struct buf *out, const char *job, const struct run_totals *t)
{
    const struct ledger_status *s = &t->status.status;
    char sum[41];
    size_t len = ledger_sum_text(sum, s->sum);
    buf_printf(out, "ttg: job %s %s: %llu of %llu chunks, %llu parameters in %.2f s (%.0f/s)\n",
               job, state_name(s->state), (unsigned long long)s->completed,
               (unsigned long long)s->chunks, (unsigned long long)s->params, t->seconds, rate(t));
    if (s->has_sum && !s->sum_overflow)
        buf_printf(out, "ttg: sum %.*s\n", (int)len, sum);
    if (s->workers_lost + s->reclaimed + s->stale_dropped + s->failures > 0)
        buf_printf(
            out,
            "ttg: %llu workers lost, %llu chunks taken over, %llu failed attempts, %llu late "
            "results dropped\n",
            (unsigned long long)s->workers_lost, (unsigned long long)s->reclaimed,
            (unsigned long long)s->failures, (unsigned long long)s->stale_dropped);
    if (s->dead > 0)
        buf_printf(out, "ttg: %llu dead letters: see `ttg dlq list`\n",
                   (unsigned long long)s->dead);
}

void summary_print(const struct command_run *r, const char *job, const struct run_totals *t)
{
    struct buf out;
    struct err err;
    bool json = option_bool(r->options, OPT_JSON);
    buf_init(&out, 1 << 16);
    if (json && (summary_json(&out, job, t) || buf_add_char(&out, '\n')))
        buf_clear(&out);
    if (!json)
        for_people(&out, job, t);
    bool results_there = !option_text(r->options, OPT_OUTPUT);
    if (!json || results_there || stdio_write(buf_str(&out), &err))
        stdio_complain(buf_str(&out));
    buf_done(&out);
}
