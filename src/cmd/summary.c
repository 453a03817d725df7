/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/summary.h"

#include "cmd/options.h"
#include "io/stdio.h"

typedef unsigned long long number; /* for printf */

const char *summary_state(enum ledger_state state)
{
    static const char *const names[] = {"running", "paused", "finished", "canceled"};
    return names[state];
}

double summary_seconds(const struct queue_status *s)
{
    uint64_t from = s->status.started_ms ? s->status.started_ms : s->status.finished_ms;
    uint64_t to = s->status.finished_ms ? s->status.finished_ms : s->now_ms;
    return from && to > from ? (double)(to - from) / 1000 : 0;
}

static double rate(const struct summary *s)
{
    return s->seconds > 0 ? (double)s->status->status.params / s->seconds : 0;
}

int summary_json(struct buf *out, const struct summary *summary)
{
    static const char *const verified[] = {"null", "true", "false"};
    const struct ledger_status *s = &summary->status->status;
    char sum[41];
    size_t len = str_from_i128(sum, s->sum);
    buf_add_str(out, STR("\"job\":"));
    buf_add_json(out, str_of(summary->job));
    buf_printf(out,
               ",\"state\":\"%s\",\"chunks\":%llu,\"completed\":%llu,\"attempts\":%llu,"
               "\"reclaimed\":%llu,\"stale_dropped\":%llu,\"dead_letters\":%llu,"
               "\"workers_lost\":%llu,\"failures\":%llu,\"params\":%llu,\"seconds\":%.3f,"
               "\"params_per_second\":%.0f,",
               summary_state(s->state), (number)s->chunks, (number)s->completed,
               (number)s->attempts, (number)s->reclaimed, (number)s->stale_dropped,
               (number)s->dead + s->dropped, (number)s->workers_lost, (number)s->failures,
               (number)s->params, summary->seconds, rate(summary));
    if (summary->has_lines)
        buf_printf(out, "\"lines\":%llu,", (number)summary->lines);
    buf_add_str(out, STR("\"sum\":"));
    buf_add_str(out, s->has_sum && !s->sum_overflow ? str_make(sum, len) : STR("null"));
    return buf_printf(out, ",\"verified\":%s", verified[summary->verified]);
}

void summary_people(struct buf *out, const struct summary *summary)
{
    static const char *const verified[] = {"", ", verified", ", NOT VERIFIED"};
    const struct ledger_status *s = &summary->status->status;
    char sum[41];
    size_t len = str_from_i128(sum, s->sum);
    buf_printf(out, "ttg: job %s %s: %llu of %llu chunks%s\n", summary->job,
               summary_state(s->state), (number)s->completed, (number)s->chunks,
               verified[summary->verified]);
    buf_printf(out, "ttg: %llu parameters in %.2f s (%.0f/s)", (number)s->params, summary->seconds,
               rate(summary));
    if (s->has_sum && !s->sum_overflow)
        buf_printf(out, ", sum %.*s", (int)len, sum);
    buf_add_char(out, '\n');
    if (s->workers_lost + s->reclaimed + s->stale_dropped + s->failures > 0)
        buf_printf(out,
                   "ttg: %llu attempts: %llu failed, %llu workers lost, %llu chunks taken over, "
                   "%llu late results dropped\n",
                   (number)s->attempts, (number)s->failures, (number)s->workers_lost,
                   (number)s->reclaimed, (number)s->stale_dropped);
    if (s->dead + s->dropped > 0)
        buf_printf(out, "ttg: %llu dead letters: `ttg dlq list` says why\n",
                   (number)s->dead + s->dropped);
}

void summary_print(const struct command_run *r, const struct summary *s)
{
    struct buf out;
    struct err err;
    bool json = option_bool(r->options, OPT_JSON);
    buf_init(&out, 1 << 16);
    if (json) {
        buf_add_char(&out, '{');
        summary_json(&out, s);
        buf_add_str(&out, STR("}\n"));
    } else {
        summary_people(&out, s);
    }
    bool results_there = !option_text(r->options, OPT_OUTPUT);
    if (!json || results_there || stdio_write(buf_str(&out), &err))
        stdio_complain(buf_str(&out));
    buf_done(&out);
}
