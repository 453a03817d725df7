/* SPDX-License-Identifier: Apache-2.0 */
/* figures_text - what workers and runs say at /metrics, beside what every process does. */
#ifndef TTG_CMD_FIGURES_TEXT_H
#define TTG_CMD_FIGURES_TEXT_H

#include "base/metric.h"
#include "worker/worker.h"

/* Adds the counters and histograms of another worker. */
void figures_add(struct worker_figures *to, const struct worker_figures *f);
void figures_of_worker(struct buf *out, const struct worker_figures *f);

/* Of the process that supervises a run. */
struct run_figures {
    uint64_t lines;         /* written to the output */
    uint64_t started, died; /* workers */
};
void figures_of_run(struct buf *out, const struct run_figures *f);

#endif
