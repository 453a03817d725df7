/* SPDX-License-Identifier: Apache-2.0 */
/* ttg status: all jobs of a queue, or one of them with its workers. */
#include "cmd/ask.h"
#include "cmd/rabbit_jobs.h"
#include "cmd/summary.h"

#include "base/clock.h"

#include <stdio.h>

typedef unsigned long long number; /* for printf */

struct view {
    struct ask ask;
    struct buf out;
    bool json;
    size_t listed;
    struct queue_list list;
    struct queue_status status;
    struct queue_workers workers;
};

/* --- the list --- */

static void list_begin(struct view *v)
{
    if (v->json)
        buf_add_str(&v->out, STR("{\"jobs\":["));
}

static void list_job(struct view *v, const struct queue_job_info *j)
{
    char created[CLOCK_TEXT_BYTES];
    clock_text(created, j->created_ms);
    bool first = v->listed++ == 0;
    if (v->json) {
        buf_add_str(&v->out, first ? STR("{\"job\":") : STR(",{\"job\":"));
        buf_add_json(&v->out, j->job);
        buf_printf(&v->out,
                   ",\"state\":\"%s\",\"chunks\":%llu,\"completed\":%llu,\"dead_letters\":%llu,"
                   "\"workers\":%llu,\"created_at\":\"%s\"}",
                   summary_state(j->state), (number)j->chunks, (number)j->completed,
                   (number)j->dead, (number)j->workers, created);
        return;
    }
    if (first)
        buf_printf(&v->out, "%-24s %-9s %12s %12s %6s %7s  %s\n", "JOB", "STATE", "CHUNKS", "DONE",
                   "DEAD", "WORKERS", "CREATED");
    buf_printf(&v->out, "%-24.*s %-9s %12llu %12llu %6llu %7llu  %s\n", STR_ARG(j->job),
               summary_state(j->state), (number)j->chunks, (number)j->completed, (number)j->dead,
               (number)j->workers, created);
}

static void list_end(struct view *v)
{
    if (v->json)
        buf_add_str(&v->out, STR("]}\n"));
    else if (v->listed == 0)
        buf_add_str(&v->out, STR("no jobs\n"));
}

static void on_list(void *ctx)
{
    struct view *v = ctx;
    list_begin(v);
    for (size_t i = 0; i < v->list.count; i++)
        list_job(v, &v->list.jobs[i]);
    list_end(v);
}

/* --- the list of a broker, which knows queues but no jobs --- */

static void on_listed_status(void *ctx)
{
    struct view *v = ctx;
    const struct ledger_status *s = &v->status.status;
    const struct queue_job_info j = {.job = str_of(v->ask.job),
                                     .state = s->state,
                                     .chunks = s->chunks,
                                     .completed = s->completed,
                                     .dead = s->dead,
                                     .workers = s->workers,
                                     .created_ms = s->created_ms};
    list_job(v, &j);
}

/* A connection belongs to one job. One that is just being made or removed is left out. */
static int on_rabbit_job(void *ctx, const char *job, struct err *err)
{
    struct view *v = ctx;
    queue_close(v->ask.queue);
    v->ask.queue = NULL;
    snprintf(v->ask.job_room, sizeof v->ask.job_room, "%s", job);
    v->ask.job = v->ask.job_room;
    int rc = ask_open_queue(&v->ask, &v->ask.queue, err);
    if (rc)
        return rc;
    ask_init(&v->ask, &v->status.call, QUEUE_STATUS);
    rc = ask_once(&v->ask, &v->status.call, on_listed_status, v, err);
    return rc == TTG_ENOENT ? 0 : rc;
}

static int list_rabbit(struct view *v, struct err *err)
{
    struct command_run *r = v->ask.command;
    list_begin(v);
    int rc = rabbit_jobs(v->ask.loop, &v->ask.choice.config,
                         option_text(r->options, OPT_MANAGEMENT), on_rabbit_job, v, err);
    list_end(v);
    return rc == TTG_EUNREACH || rc == TTG_EAUTH || rc == TTG_EPROTO
               ? err_set(err, rc, "%s, or name one job", err->text)
               : rc;
}

/* --- one job --- */

static void job_json(struct view *v)
{
    const struct queue_status *q = &v->status;
    const struct ledger_status *s = &q->status;
    struct summary summary = {v->ask.job, q, summary_seconds(q), 0, false, SUMMARY_UNKNOWN};
    char created[CLOCK_TEXT_BYTES];
    clock_text(created, s->created_ms);
    buf_add_char(&v->out, '{');
    summary_json(&v->out, &summary);
    buf_printf(&v->out,
               ",\"created_at\":\"%s\",\"first_param\":%lld,\"total_params\":%llu,"
               "\"chunk_params\":%llu,\"leased\":%llu,\"ready\":%llu,\"delayed\":%llu,"
               "\"fresh\":%llu,\"unfed\":%llu,\"dropped\":%llu,\"workers\":%llu,\"slots\":%llu,"
               "\"results\":%llu,\"results_from\":%llu,\"kernel\":",
               created, (long long)q->first, (number)q->params_total, (number)q->chunk_params,
               (number)s->leased, (number)s->ready, (number)s->delayed, (number)s->fresh,
               (number)s->unfed, (number)s->dropped, (number)s->workers, (number)s->slots,
               (number)s->result_seq, (number)s->result_first);
    buf_add_json(&v->out, q->kernel);
    buf_add_str(&v->out, STR(",\"input\":"));
    buf_add_json(&v->out, q->input);
}

static void job_people(struct view *v)
{
    const struct queue_status *q = &v->status;
    const struct ledger_status *s = &q->status;
    struct summary summary = {v->ask.job, q, summary_seconds(q), 0, false, SUMMARY_UNKNOWN};
    char created[CLOCK_TEXT_BYTES];
    /* Who took part is told on RabbitMQ, which has nobody join or leave. */
    bool ended = s->state >= LEDGER_FINISHED && queue_is_one(&v->ask.choice.config);
    clock_text(created, s->created_ms);
    buf_printf(&v->out, "job        %s\nqueue      ", v->ask.job);
    ask_place(&v->ask, &v->out);
    buf_printf(&v->out, "\nkernel     %.*s\ncreated    %s\nstate      %s\n", STR_ARG(q->kernel),
               created, summary_state(s->state));
    buf_printf(&v->out,
               "chunks     %llu: %llu done, %llu at work, %llu waiting, %llu delayed, %llu dead\n",
               (number)s->chunks, (number)s->completed, (number)s->leased,
               (number)s->ready + s->fresh + s->unfed, (number)s->delayed,
               (number)s->dead + s->dropped);
    buf_printf(
        &v->out, "attempts   %llu: %llu failed, %llu taken over, %llu late results dropped\n",
        (number)s->attempts, (number)s->failures, (number)s->reclaimed, (number)s->stale_dropped);
    buf_printf(&v->out, "parameters %llu of %llu in %.1f s (%.0f/s)\n", (number)s->params,
               (number)q->params_total, summary.seconds,
               summary.seconds > 0 ? (double)s->params / summary.seconds : 0.0);
    if (s->has_sum && !s->sum_overflow) {
        char sum[41];
        buf_printf(&v->out, "sum        %.*s\n", (int)str_from_i128(sum, s->sum), sum);
    }
    buf_printf(&v->out, "workers    %llu %s, %llu lost\n", (number)s->workers,
               ended && s->workers > 0 ? "took part" : "at work", (number)s->workers_lost);
}

static void on_status(void *ctx)
{
    struct view *v = ctx;
    if (v->json)
        job_json(v);
    else
        job_people(v);
}

static void on_workers(void *ctx)
{
    struct view *v = ctx;
    if (v->json)
        buf_add_str(&v->out, STR(",\"worker_list\":["));
    for (size_t i = 0; i < v->workers.count; i++) {
        const struct ledger_worker_info *w = &v->workers.workers[i];
        if (v->json) {
            buf_add_str(&v->out, i ? STR(",{\"worker\":") : STR("{\"worker\":"));
            buf_add_json(&v->out, w->name);
            buf_printf(&v->out,
                       ",\"slots\":%u,\"held\":%llu,\"completed\":%llu,\"failed\":%llu,"
                       "\"lost\":%llu}",
                       w->slots, (number)w->held, (number)w->completed, (number)w->failed,
                       (number)w->lost);
        } else {
            buf_printf(&v->out, "  %-16.*s holds %llu, completed %llu, failed %llu\n",
                       STR_ARG(w->name), (number)w->held, (number)w->completed, (number)w->failed);
        }
    }
    if (v->json)
        buf_add_str(&v->out, STR("]}\n"));
}

static int look(struct view *v, struct err *err)
{
    if (!v->ask.job_given && v->ask.choice.url.scheme == URL_AMQP)
        return list_rabbit(v, err);
    if (!v->ask.job_given) {
        ask_init(&v->ask, &v->list.call, QUEUE_LIST);
        return ask_once(&v->ask, &v->list.call, on_list, v, err);
    }
    ask_init(&v->ask, &v->status.call, QUEUE_STATUS);
    int rc = ask_once(&v->ask, &v->status.call, on_status, v, err);
    if (rc)
        return rc;
    ask_init(&v->ask, &v->workers.call, QUEUE_WORKERS);
    return ask_once(&v->ask, &v->workers.call, on_workers, v, err);
}

int cmd_status(struct command_run *r)
{
    struct view v = {.json = option_bool(r->options, OPT_JSON)};
    struct ask_config config = {.job = r->arg_count > 0 ? r->args[0] : NULL};
    struct err err = {0};
    buf_init(&v.out, 64 << 20);
    int rc = ask_open(&v.ask, r, &config, &err);
    if (!rc)
        rc = look(&v, &err);
    ask_close(&v.ask);
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&v.out));
    buf_done(&v.out);
    return code;
}
