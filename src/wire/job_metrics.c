/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/job_metrics.h"

#include <stdio.h>

enum { LABELS_BYTES = 192 };

/* Names of jobs are letters, digits, - and _: nothing to escape; anything else is cut there. */
static const char *labels_of(const struct job_metrics *j, const char *more, char out[LABELS_BYTES])
{
    size_t len = 0;
    while (len < j->job.len && len < 64 && j->job.ptr[len] != '"' && j->job.ptr[len] != '\\' &&
           j->job.ptr[len] != '\n')
        len++;
    snprintf(out, LABELS_BYTES, "job_name=\"%.*s\"%s", (int)len, j->job.ptr, more);
    return out;
}

static void states(struct buf *out, const struct job_metrics *jobs, size_t count)
{
    char labels[LABELS_BYTES];
    static const char name[] = "ttg_job_chunks";
    metric_head(out, name, "gauge",
                "Chunks by state. unfed and fresh: never begun; ready and delayed: to be tried "
                "again; leased: with a worker; dead: dead letters; dropped: given up for good.");
    for (size_t i = 0; i < count; i++) {
        const struct ledger_status *s = &jobs[i].status;
        const struct {
            const char *label;
            uint64_t value;
        } rows[] = {
            {",state=\"unfed\"", s->unfed},   {",state=\"fresh\"", s->fresh},
            {",state=\"ready\"", s->ready},   {",state=\"delayed\"", s->delayed},
            {",state=\"leased\"", s->leased}, {",state=\"done\"", s->completed},
            {",state=\"dead\"", s->dead},     {",state=\"dropped\"", s->dropped},
        };
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
            metric_u64(out, name, labels_of(&jobs[i], rows[k].label, labels), rows[k].value);
    }
}

static void numbers(struct buf *out, const struct job_metrics *jobs, size_t count)
{
    static const struct {
        const char *name, *type, *help;
        size_t at;
    } rows[] = {
#define ROW(name, type, member, help)                                                              \
    {"ttg_job_" name, type, help, offsetof(struct ledger_status, member)}
        ROW("completed_total", "counter", completed, "Chunks with their result."),
        ROW("params_total", "counter", params, "Parameters in completed chunks."),
        ROW("attempts_total", "counter", attempts, "Attempts that have started."),
        ROW("failures_total", "counter", failures, "Attempts that failed."),
        ROW("reclaimed_total", "counter", reclaimed, "Chunks taken over from lost workers."),
        ROW("stolen_total", "counter", stolen, "Chunks not begun that moved to an idle worker."),
        ROW("released_total", "counter", released, "Leases given back."),
        ROW("stale_dropped_total", "counter", stale_dropped, "Late results that were dropped."),
        ROW("redriven_total", "counter", redriven, "Dead letters put back."),
        ROW("workers", "gauge", workers, "Workers that are present."),
        ROW("slots", "gauge", slots, "Chunks that they can run at once."),
        ROW("workers_lost_total", "counter", workers_lost,
            "Workers that were killed, hung or cut off."),
#undef ROW
    };
    char labels[LABELS_BYTES];
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        metric_head(out, rows[k].name, rows[k].type, rows[k].help);
        for (size_t i = 0; i < count; i++)
            metric_u64(
                out, rows[k].name, labels_of(&jobs[i], "", labels),
                *(const uint64_t *)(const void *)((const char *)&jobs[i].status + rows[k].at));
    }
}

static void derived(struct buf *out, const struct job_metrics *jobs, size_t count)
{
    static const char *const states[] = {"running", "paused", "finished", "canceled"};
    char labels[LABELS_BYTES], more[64];
    metric_head(out, "ttg_job_state", "gauge", "1 for the state that the job is in.");
    for (size_t i = 0; i < count; i++)
        for (int k = LEDGER_RUNNING; k <= LEDGER_CANCELED; k++) {
            snprintf(more, sizeof more, ",state=\"%s\"", states[k]);
            metric_u64(out, "ttg_job_state", labels_of(&jobs[i], more, labels),
                       (int)jobs[i].status.state == k);
        }
    metric_head(out, "ttg_job_results_kept", "gauge",
                "Results that the queue keeps: not collected yet, or the newest.");
    for (size_t i = 0; i < count; i++) {
        const struct ledger_status *s = &jobs[i].status;
        metric_u64(out, "ttg_job_results_kept", labels_of(&jobs[i], "", labels),
                   s->result_seq + 1 > s->result_first ? s->result_seq + 1 - s->result_first : 0);
    }
}

static void histograms(struct buf *out, const struct job_metrics *jobs, size_t count)
{
    char labels[LABELS_BYTES];
    if (count == 0 || !jobs[0].took)
        return;
    metric_head(out, "ttg_job_chunk_duration_seconds", "histogram",
                "How long chunks took that were completed.");
    for (size_t i = 0; i < count; i++)
        metric_histogram(out, "ttg_job_chunk_duration_seconds", labels_of(&jobs[i], "", labels),
                         jobs[i].took);
    metric_head(out, "ttg_job_reclaim_seconds", "histogram",
                "Time from the loss of a worker until its chunk was with another.");
    for (size_t i = 0; i < count; i++)
        metric_histogram(out, "ttg_job_reclaim_seconds", labels_of(&jobs[i], "", labels),
                         jobs[i].taken_over);
}

void job_metrics_write(struct buf *out, const struct job_metrics *jobs, size_t count)
{
    if (count == 0)
        return;
    states(out, jobs, count);
    numbers(out, jobs, count);
    derived(out, jobs, count);
    histograms(out, jobs, count);
}
