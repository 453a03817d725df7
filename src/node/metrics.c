/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: the figures of a node for Prometheus. */
#include "base/mem.h"
#include "core/job.h"
#include "io/figures.h"
#include "node/health.h"
#include "node/presence.h"
#include "node/snapshot.h"
#include "wire/job_metrics.h"

#include <inttypes.h>

static void number(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    buf_printf(out, "# HELP ttg_node_%s %s\n# TYPE ttg_node_%s %s\nttg_node_%s %" PRIu64 "\n", name,
               help, name, type, name, value);
}

static void seconds(struct buf *out, const char *name, const char *help, uint64_t us)
{
    buf_printf(out, "# HELP ttg_node_%s %s\n# TYPE ttg_node_%s gauge\nttg_node_%s %.6f\n", name,
               help, name, name, (double)us / 1e6);
}

static void commands(struct node *n, struct buf *out)
{
    static const struct {
        const char *name, *help;
        size_t at;
        bool is_ns;
    } rows[] = {
        {"commands_total", "Commands executed.", offsetof(struct node_entry, calls), false},
        {"command_seconds_total", "Time spent executing them.", offsetof(struct node_entry, ns),
         true},
        {"command_failures_total", "Commands answered with an error.",
         offsetof(struct node_entry, failed), false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buf_printf(out, "# HELP ttg_node_%s %s\n# TYPE ttg_node_%s counter\n", rows[i].name,
                   rows[i].help, rows[i].name);
        for (struct map_node *m = map_next(&n->entries, NULL); m; m = map_next(&n->entries, m)) {
            const struct node_entry *e = container_of(m, struct node_entry, node);
            uint64_t value = *(const uint64_t *)(const void *)((const char *)e + rows[i].at);
            if (e->calls == 0)
                continue;
            buf_printf(out, "ttg_node_%s{command=\"%s\"} ", rows[i].name, e->name.ptr);
            if (rows[i].is_ns)
                buf_printf(out, "%.9f\n", (double)value / 1e9);
            else
                buf_printf(out, "%" PRIu64 "\n", value);
        }
    }
}

static void sync_latency(struct node *n, struct buf *out)
{
    uint64_t sum = 0;
    buf_add_str(out, STR("# HELP ttg_node_sync_seconds Time to write and sync a batch.\n"
                         "# TYPE ttg_node_sync_seconds histogram\n"));
    for (size_t i = 0; i + 1 < NODE_LATENCY_BUCKETS; i++) {
        sum += n->stats.sync_buckets[i];
        buf_printf(out, "ttg_node_sync_seconds_bucket{le=\"%.9g\"} %" PRIu64 "\n",
                   (double)(UINT64_C(2) << i) / 1e6, sum);
    }
    buf_printf(out,
               "ttg_node_sync_seconds_bucket{le=\"+Inf\"} %" PRIu64
               "\nttg_node_sync_seconds_sum %.6f\nttg_node_sync_seconds_count %" PRIu64 "\n",
               n->stats.sync_count, (double)n->stats.sync_us_sum / 1e6, n->stats.sync_count);
}

static void store(struct node *n, struct buf *out)
{
    struct store_stats s;
    store_stats(n->store, &s);
    number(out, "log_records_total", "counter", "Records appended to the log.", s.records);
    number(out, "log_batches_total", "counter", "Batches written.", s.batches);
    number(out, "log_batches_in_loop_total", "counter", "Batches written without the thread.",
           store_writer_own(n->writer));
    number(out, "log_syncs_total", "counter", "Syncs of the log.", s.syncs);
    number(out, "log_written_bytes_total", "counter", "Bytes written to the log.", s.bytes_written);
    number(out, "log_bytes", "gauge", "Room that the log takes on disk.", s.log_bytes);
    number(out, "log_segments", "gauge", "Files of the log.", s.segments);
    number(out, "log_position", "gauge", "Last record appended.", store_last_position(n->store));
    number(out, "log_durable_position", "gauge", "Last record on disk.",
           store_durable_position(n->store));
    number(out, "log_bytes_since_snapshot", "gauge", "Log that a start would replay.",
           s.bytes_since_snapshot);
    number(out, "snapshots_total", "counter", "Snapshots written.", s.snapshots);
    number(out, "snapshots_failed_total", "counter", "Snapshots that failed.",
           n->stats.snapshots_failed);
    number(out, "snapshot_bytes", "gauge", "Size of the newest snapshot.", s.snapshot_bytes);
    seconds(out, "snapshot_fork_seconds", "How long the last fork stalled the node.",
            n->stats.snapshot_fork_us);
    seconds(out, "turn_seconds_max", "Longest turn of the loop: nobody was served.",
            n->stats.turn_us_max);
    number(out, "snapshot_running", "gauge", "1 while a snapshot is being written.",
           snapshot_running(n));
    number(out, "blob_bytes", "gauge", "Results kept on disk.", s.blob_bytes);
    number(out, "disk_full", "gauge", "1 while writing commands are refused.", n->disk_full);
}

/* The newest ones. */
static void jobs(struct node *n, struct buf *out)
{
    const struct list *all = &core_jobs(n->core)->all;
    struct job_metrics *rows = mem_array(JOB_METRICS_MAX, sizeof *rows);
    size_t count = 0;
    if (!rows)
        return;
    for (const struct list *it = all->prev; it != all && count < JOB_METRICS_MAX; it = it->prev) {
        const struct job *j = container_of(it, const struct job, link);
        const struct ledger_figures *f = ledger_figures(j->ledger);
        rows[count] =
            (struct job_metrics){.job = j->name, .took = &f->took, .taken_over = &f->taken_over};
        ledger_status(j->ledger, &rows[count++].status);
    }
    job_metrics_write(out, rows, count);
    mem_free(rows);
}

int metrics_write(struct node *n, struct buf *out)
{
    struct process_figures p;
    figures_process(&p);
    metric_process(out, "node", &p);
    number(out, "boot", "gauge", "Boot number: how often this data was started.", n->boot);
    number(out, "uptime_seconds", "gauge", "Time since the start.",
           (n->clock->mono_ns(n->clock) / 1000000 - n->started_mono_ms) / 1000);
    number(out, "clients", "gauge", "Connected clients.", n->client_count);
    number(out, "clients_max", "gauge", "How many there may be.", n->clients_max);
    number(out, "clients_blocked", "gauge", "Clients that wait in a command.", n->blocked_count);
    number(out, "workers", "gauge", "Workers that are present.", presence_count(n));
    number(out, "connections_total", "counter", "Connections accepted.", n->stats.connections);
    number(out, "connections_rejected_total", "counter", "Connections refused.",
           n->stats.rejected_connections);
    number(out, "errors_total", "counter", "Error answers.", n->stats.errors);
    number(out, "auth_failures_total", "counter", "Wrong passwords.", n->stats.auth_failures);
    store(n, out);
    sync_latency(n, out);
    commands(n, out);
    jobs(n, out);
    return out->failed;
}
