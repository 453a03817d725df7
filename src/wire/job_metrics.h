/* SPDX-License-Identifier: Apache-2.0 */
/* job_metrics - what every process that knows jobs says of them, in the same words. */
#ifndef TTG_WIRE_JOB_METRICS_H
#define TTG_WIRE_JOB_METRICS_H

#include "base/metric.h"
#include "core/ledger.h"

enum { JOB_METRICS_MAX = 100 }; /* jobs: the label's values are bounded */

struct job_metrics {
    struct str job;
    struct ledger_status status;
    const struct histogram *took, *taken_over; /* NULL: this process does not know */
};

void job_metrics_write(struct buf *out, const struct job_metrics *jobs, size_t count);

#endif
