/* SPDX-License-Identifier: Apache-2.0 */
/* What a viewer of the demo gets to read. */
#include "cmd/demo/demo.h"
#include "cmd/progress_show.h"
#include "cmd/summary.h"
#include "io/stdio.h"

#include <stdio.h>

typedef unsigned long long number; /* for printf */

enum { TEXT_BYTES_MAX = 1 << 20, MAP_ROW = 50 };

const char *const demo_backend_names[DEMO_BACKENDS] = {"embedded", "redis", "rabbitmq"};

static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-";

/* --- lines and the bar --- */

static bool colored(const struct demo *d)
{
    return d->json ? d->command->color_err : d->command->color_out;
}

const char *demo_red(const struct demo *d)
{
    return colored(d) ? "\033[1;31m" : "";
}

const char *demo_green(const struct demo *d)
{
    return colored(d) ? "\033[1;32m" : "";
}

const char *demo_plain(const struct demo *d)
{
    return colored(d) ? "\033[0m" : "";
}

static void clear_bar(struct demo *d)
{
    if (d->bar_drawn)
        stdio_complain(STR("\r\033[K"));
    d->bar_drawn = false;
}

static void say(struct demo *d, struct str text)
{
    if (d->term) {
        buf_add_str(&d->later, text);
        return;
    }
    clear_bar(d);
    if (d->json)
        stdio_complain(text);
    else if (!d->out_err.code)
        stdio_write(text, &d->out_err);
}

void demo_say_later(struct demo *d)
{
    say(d, buf_str(&d->later));
    buf_clear(&d->later);
}

void demo_say(struct demo *d, const char *format, ...)
{
    va_list args;
    struct buf b;
    buf_init(&b, TEXT_BYTES_MAX);
    va_start(args, format);
    buf_vprintf(&b, format, args);
    va_end(args);
    buf_add_char(&b, '\n');
    say(d, buf_str(&b));
    buf_done(&b);
}

void demo_bar(struct demo *d, const struct demo_act *a, const struct queue_status *status)
{
    struct progress_view v;
    char workers[40] = "";
    if (!d->bar || d->term)
        return;
    progress_view(&a->progress, &v);
    if (status->status.workers > 0)
        snprintf(workers, sizeof workers, "  %llu workers", (number)status->status.workers);
    progress_show_bar(&v, STR("  "), str_of(workers));
    d->bar_drawn = true;
}

/* --- one act --- */

static void sum_text(const struct ledger_status *s, char out[48])
{
    if (s->has_sum && !s->sum_overflow)
        out[str_from_i128(out, s->sum)] = '\0';
    else
        snprintf(out, 48, "unknown");
}

/* A character a chunk: its worker. Below it ^ what was taken over from the killed one. */
static void add_map(struct buf *b, const struct demo_act *a)
{
    buf_printf(b, "  who computed which chunk (a character is a chunk, its digit the worker):\n");
    for (uint64_t from = 0; from < a->chunks; from += MAP_ROW) {
        uint64_t to = from + MAP_ROW < a->chunks ? from + MAP_ROW : a->chunks, last = from;
        buf_add_str(b, STR("    "));
        for (uint64_t c = from; c < to; c++) {
            buf_add_char(b, a->who[c] ? digits[a->who[c] - 1] : '.');
            last = a->taken[c] ? c + 1 : last;
        }
        if (last > from)
            buf_add_str(b, STR("\n    "));
        for (uint64_t c = from; c < last; c++)
            buf_add_char(b, a->taken[c] ? '^' : ' ');
        if (last > from)
            buf_printf(b, " taken over from worker-%u", a->kill.victim);
        buf_add_char(b, '\n');
    }
}

void demo_show_act(struct demo *d, const struct demo_act *a)
{
    const struct ledger_status *s = &a->totals.status.status;
    char sum[48];
    struct buf b;
    sum_text(s, sum);
    buf_init(&b, TEXT_BYTES_MAX);
    if (a->fault)
        add_map(&b, a);
    buf_printf(&b, "  %llu of %llu chunks in %.2f s (%.0f parameters/s), sum %s, ",
               (number)s->completed, (number)s->chunks, a->totals.seconds,
               a->totals.seconds > 0 ? (double)s->params / a->totals.seconds : 0.0, sum);
    if (demo_act_good(a))
        buf_printf(&b, "%sverified: %llu of %llu%s\n", demo_green(d), (number)s->completed,
                   (number)s->chunks, demo_plain(d));
    else
        buf_printf(&b, "%sNOT VERIFIED%s %s\n", demo_red(d), demo_plain(d), a->totals.report);
    say(d, buf_str(&b));
    buf_done(&b);
}

/* --- a backend --- */

/* On a busy machine the other run may have been the slower one. */
static const char *cost_text(char room[32], const struct demo_line *l)
{
    double cost = l->seconds - l->undisturbed_seconds;
    snprintf(room, 32, cost > 0.005 ? "%.2f s" : "nothing", cost);
    return room;
}

void demo_show_cost(struct demo *d, const struct demo_line *l)
{
    char cost[32];
    const struct ledger_status *s = &l->status.status;
    const struct demo_kill *k = &l->kill;
    number n = d->preset->params;
    char sum[48];
    sum_text(s, sum);
    if (l->fault && !k->done)
        demo_say(d, "%sno worker was killed: the job was over too soon%s", demo_red(d),
                 demo_plain(d));
    else if (l->fault && k->taken == 0)
        demo_say(d, "%sno chunk was taken over%s", demo_red(d), demo_plain(d));
    else if (l->fault)
        demo_say(d,
                 "undisturbed %.2f s, with the kill %.2f s: it cost %s; the chunk ran elsewhere "
                 "%llu ms after the kill",
                 l->undisturbed_seconds, l->seconds, cost_text(cost, l), (number)k->takeover_ms);
    if (l->fault)
        demo_say(d,
                 "%llu of %llu chunks, %llu taken over from the killed worker, sum %s = %llu * "
                 "%llu / 2",
                 (number)s->completed, (number)s->chunks, (number)k->taken, sum, n, n - 1);
    else
        demo_say(d, "%llu of %llu chunks, sum %s = %llu * %llu / 2", (number)s->completed,
                 (number)s->chunks, sum, n, n - 1);
}

static void add_row(struct buf *b, const struct demo_line *l)
{
    const struct ledger_status *s = &l->status.status;
    const struct demo_kill *k = &l->kill;
    char ms[32], cost[32], lost[32] = "-", undisturbed[32];
    if (!l->ran) {
        buf_printf(b, "%-10s %s\n", demo_backend_names[l->backend], l->trouble);
        return;
    }
    snprintf(undisturbed, sizeof undisturbed, "%.2f s",
             l->fault ? l->undisturbed_seconds : l->seconds);
    buf_printf(b, "%-10s %11s ", demo_backend_names[l->backend], undisturbed);
    if (l->fault) {
        cost_text(cost, l);
        snprintf(ms, sizeof ms, "%llu ms", (number)k->takeover_ms);
        if (k->lost_known)
            snprintf(lost, sizeof lost, "%llu ms", (number)k->lost_ms);
        buf_printf(b, "%9.2f s %8s %9s %10s ", l->seconds, cost, lost, k->taken ? ms : "-");
    }
    buf_printf(b, " %llu of %llu, %s\n", (number)s->completed, (number)s->chunks,
               l->good ? "verified" : "NOT VERIFIED");
}

void demo_show_table(struct demo *d, const struct demo_line *lines, size_t count)
{
    struct buf b;
    buf_init(&b, TEXT_BYTES_MAX);
    buf_printf(&b, "\n%-10s %11s ", "backend", "undisturbed");
    if (d->fault)
        buf_printf(&b, "%11s %8s %9s %10s ", "with kill", "cost", "noticed", "taken over");
    buf_add_str(&b, STR(" result\n"));
    for (size_t i = 0; i < count; i++)
        add_row(&b, &lines[i]);
    say(d, buf_str(&b));
    buf_done(&b);
}

/* --- for programs --- */

int demo_show_json(struct demo *d, const struct demo_line *l)
{
    const struct demo_kill *k = &l->kill;
    struct summary summary = {.job = l->fault ? "fault" : "undisturbed",
                              .status = &l->status,
                              .seconds = l->seconds,
                              .lines = l->lines,
                              .has_lines = true,
                              .verified = l->good ? SUMMARY_VERIFIED : SUMMARY_WRONG};
    struct buf b;
    buf_init(&b, TEXT_BYTES_MAX);
    buf_printf(&b, "{\"backend\":\"%s\",\"scale\":\"%s\",\"workers\":%u,",
               demo_backend_names[l->backend], d->preset->name, d->workers);
    if (!l->ran) {
        buf_add_str(&b, STR("\"error\":"));
        buf_add_json(&b, str_of(l->trouble));
    } else {
        summary_json(&b, &summary);
    }
    if (l->ran && l->fault) {
        buf_printf(&b,
                   ",\"undisturbed_seconds\":%.3f,\"cost_seconds\":%.3f,\"killed\":\"worker-%u\","
                   "\"taken_over\":%llu,",
                   l->undisturbed_seconds, l->seconds - l->undisturbed_seconds, k->victim,
                   (number)k->taken);
        if (k->lost_known)
            buf_printf(&b, "\"noticed_ms\":%llu,", (number)k->lost_ms);
        else
            buf_add_str(&b, STR("\"noticed_ms\":null,"));
        if (k->taken > 0)
            buf_printf(&b, "\"takeover_ms\":%llu,\"chunk\":%llu,\"taken_over_by\":\"worker-%u\"",
                       (number)k->takeover_ms, (number)k->chunk, k->to);
        else
            buf_add_str(&b, STR("\"takeover_ms\":null,\"chunk\":null,\"taken_over_by\":null"));
    }
    buf_add_str(&b, STR("}\n"));
    clear_bar(d);
    int code = command_print(d->command, buf_str(&b));
    buf_done(&b);
    return code;
}
