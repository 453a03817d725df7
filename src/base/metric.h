/* SPDX-License-Identifier: Apache-2.0 */
/* metric - figures of a process in the text format of Prometheus.
 *
 * Names follow its conventions: counters end in _total, times are seconds, sizes bytes. Labels come
 * from small, bounded sets. A failure (memory, the buffer's limit) shows when the caller checks
 * the buffer at the end. */
#ifndef TTG_BASE_METRIC_H
#define TTG_BASE_METRIC_H

#include "base/buf.h"

enum { HISTOGRAM_BUCKETS = 20 }; /* and one for everything above */

/* Durations, from 100 us to an hour. */
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS + 1]; /* not cumulative */
    uint64_t count, us;
};

void histogram_add(struct histogram *h, uint64_t us);

/* The two comment lines in front of a metric's values. `type`: "counter", "gauge", "histogram". */
void metric_head(struct buf *out, const char *name, const char *type, const char *help);
/* One value; `labels` as `job="x",state="y"` without braces, or NULL. */
void metric_u64(struct buf *out, const char *name, const char *labels, uint64_t value);
void metric_f64(struct buf *out, const char *name, const char *labels, double value);
void metric_histogram(struct buf *out, const char *name, const char *labels,
                      const struct histogram *h);

/* Head and value at once, without labels. */
void metric_one(struct buf *out, const char *name, const char *type, const char *help,
                uint64_t value);

/* ttg_build_info, resident memory, processor time, open descriptors and start of this process:
 * what the usual dashboards ask of every process. `kind`: "node", "worker". */
struct process_figures {
    uint64_t resident_bytes, fds;
    double cpu_seconds, start_seconds; /* since 1970 */
};
void metric_process(struct buf *out, const char *kind, const struct process_figures *p);

#endif
