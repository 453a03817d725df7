/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/figures_text.h"

#include <stdio.h>

static void histogram_sum(struct histogram *to, const struct histogram *h)
{
    for (size_t i = 0; i <= HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += h->buckets[i];
    to->count += h->count;
    to->us += h->us;
}

void figures_add(struct worker_figures *to, const struct worker_figures *f)
{
    to->totals.committed += f->totals.committed;
    to->totals.stale += f->totals.stale;
    to->totals.failed += f->totals.failed;
    to->totals.released += f->totals.released;
    to->totals.params += f->totals.params;
    to->cuts += f->cuts;
    histogram_sum(&to->took, &f->took);
    histogram_sum(&to->commit, &f->commit);
}

void figures_of_worker(struct buf *out, const struct worker_figures *f)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"joined", "gauge", "1 while the queue counts this worker in.", f->joined},
        {"slots", "gauge", "Chunks that it runs at once.", f->slots},
        {"busy_slots", "gauge", "Chunks that run now.", f->busy},
        {"prefetched_chunks", "gauge", "Chunks taken and not begun.", f->prefetched},
        {"untold_results", "gauge", "Results that the queue has not answered yet.", f->untold},
        {"committed_total", "counter", "Results that were accepted.", f->totals.committed},
        {"failed_total", "counter", "Attempts that failed.", f->totals.failed},
        {"stale_total", "counter", "Chunks whose lease was lost before their result counted.",
         f->totals.stale},
        {"released_total", "counter", "Leases given back.", f->totals.released},
        {"params_total", "counter", "Parameters of chunks that succeeded.", f->totals.params},
        {"connection_cuts_total", "counter", "Connections to the queue that broke.", f->cuts},
    };
    char name[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(name, sizeof name, "ttg_worker_%s", rows[i].name);
        metric_one(out, name, rows[i].type, rows[i].help, rows[i].value);
    }
    metric_head(out, "ttg_worker_chunk_duration_seconds", "histogram",
                "How long attempts took in the kernel, failed ones too.");
    metric_histogram(out, "ttg_worker_chunk_duration_seconds", NULL, &f->took);
    metric_head(out, "ttg_worker_commit_seconds", "histogram",
                "Time until the queue answered a commit: with a node, until it was on disk.");
    metric_histogram(out, "ttg_worker_commit_seconds", NULL, &f->commit);
}

void figures_of_run(struct buf *out, const struct run_figures *f)
{
    metric_one(out, "ttg_run_lines_total", "counter", "Results written to the output by this run.",
               f->lines);
    metric_one(out, "ttg_run_workers_started_total", "counter",
               "Worker processes started, restarts included.", f->started);
    metric_one(out, "ttg_run_workers_died_total", "counter",
               "Worker processes that died without being asked to.", f->died);
}
