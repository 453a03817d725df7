/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metric.h"

#include <inttypes.h>
#include <ttg/version.h>

static const uint64_t bounds_us[HISTOGRAM_BUCKETS] = {
    100,    250,    500,     1000,    2500,    5000,     10000,    25000,    50000,     100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 600000000, 3600000000,
};

void histogram_add(struct histogram *h, uint64_t us)
{
    size_t i = 0;
    while (i < HISTOGRAM_BUCKETS && us > bounds_us[i])
        i++;
    h->buckets[i]++;
    h->count++;
    h->us += us;
}

void metric_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void name_of(struct buf *out, const char *name, const char *suffix, const char *labels)
{
    buf_printf(out, labels ? "%s%s{%s} " : "%s%s ", name, suffix, labels);
}

void metric_u64(struct buf *out, const char *name, const char *labels, uint64_t value)
{
    name_of(out, name, "", labels);
    buf_printf(out, "%" PRIu64 "\n", value);
}

void metric_f64(struct buf *out, const char *name, const char *labels, double value)
{
    name_of(out, name, "", labels);
    buf_printf(out, "%.9g\n", value);
}

void metric_histogram(struct buf *out, const char *name, const char *labels,
                      const struct histogram *h)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum += h->buckets[i];
        buf_printf(out, "%s_bucket{%s%sle=\"%.9g\"} %" PRIu64 "\n", name, labels ? labels : "",
                   labels ? "," : "", (double)bounds_us[i] / 1e6, sum);
    }
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels ? labels : "",
               labels ? "," : "", h->count);
    name_of(out, name, "_sum", labels);
    buf_printf(out, "%.6f\n", (double)h->us / 1e6);
    name_of(out, name, "_count", labels);
    buf_printf(out, "%" PRIu64 "\n", h->count);
}

void metric_one(struct buf *out, const char *name, const char *type, const char *help,
                uint64_t value)
{
    metric_head(out, name, type, help);
    metric_u64(out, name, NULL, value);
}

void metric_process(struct buf *out, const char *kind, const struct process_figures *p)
{
    metric_head(out, "ttg_build_info", "gauge", "Version and kind of this process; always 1.");
    buf_printf(out, "ttg_build_info{version=\"%s\",kind=\"%s\"} 1\n", TTG_VERSION, kind);
    metric_one(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
               p->resident_bytes);
    metric_one(out, "process_open_fds", "gauge", "Open file descriptors.", p->fds);
    metric_head(out, "process_cpu_seconds_total", "counter", "Processor time used.");
    metric_f64(out, "process_cpu_seconds_total", NULL, p->cpu_seconds);
    metric_head(out, "process_start_time_seconds", "gauge", "When it started, since 1970.");
    buf_printf(out, "process_start_time_seconds %.3f\n", p->start_seconds);
}
