/* SPDX-License-Identifier: Apache-2.0 */
/* INFO, in the form that Redis tools read. */
#include "node/commands.h"
#include "node/presence.h"
#include "node/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <ttg/version.h>
#include <unistd.h>

typedef void section_write(struct node *n, struct buf *out);

uint64_t info_memory_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void server(struct node *n, struct buf *out)
{
    uint64_t up_s = (n->clock->mono_ns(n->clock) / 1000000 - n->started_mono_ms) / 1000;
    uint16_t port = 0;
    for (size_t i = 0; i < n->listener_count && port == 0; i++)
        port = net_addr_port(&n->listeners[i].addr);
    buf_printf(out,
               "redis_version:%s\r\nredis_mode:standalone\r\nttg_version:%s\r\nos:Linux\r\n"
               "arch_bits:64\r\nmultiplexing_api:epoll\r\nprocess_id:%d\r\nrun_id:%s\r\n"
               "boot:%" PRIu64 "\r\ntcp_port:%u\r\nserver_time_usec:%" PRIu64 "\r\n"
               "uptime_in_seconds:%" PRIu64 "\r\nuptime_in_days:%" PRIu64 "\r\nhz:10\r\n",
               NODE_REDIS_VERSION, TTG_VERSION, (int)getpid(), n->run_id, n->boot, port,
               n->now_ms * 1000, up_s, up_s / 86400);
}

static void clients(struct node *n, struct buf *out)
{
    buf_printf(out,
               "connected_clients:%zu\r\ncluster_connections:0\r\nmaxclients:%zu\r\n"
               "client_recent_max_input_buffer:0\r\nclient_recent_max_output_buffer:0\r\n"
               "blocked_clients:%zu\r\ntracking_clients:0\r\nworkers:%zu\r\n",
               n->client_count, n->clients_max, n->blocked_count, presence_count(n));
}

static void memory(struct node *n, struct buf *out)
{
    uint64_t bytes = info_memory_bytes();
    (void)n;
    buf_printf(out,
               "used_memory:%" PRIu64 "\r\nused_memory_human:%.2fM\r\nused_memory_rss:%" PRIu64
               "\r\nused_memory_peak:%" PRIu64 "\r\nmaxmemory:0\r\nmaxmemory_human:0B\r\n"
               "maxmemory_policy:noeviction\r\nmem_fragmentation_ratio:1.00\r\n"
               "mem_allocator:libc\r\n",
               bytes, (double)bytes / 1048576, bytes, bytes);
}

static void persistence(struct node *n, struct buf *out)
{
    struct store_stats s;
    store_stats(n->store, &s);
    buf_printf(out,
               "loading:0\r\nrdb_changes_since_last_save:%" PRIu64
               "\r\nrdb_bgsave_in_progress:%d\r\nrdb_last_bgsave_status:%s\r\n"
               "aof_enabled:1\r\naof_rewrite_in_progress:0\r\naof_last_write_status:%s\r\n"
               "aof_current_size:%" PRIu64 "\r\n",
               s.records_since_snapshot, snapshot_running(n),
               n->stats.snapshots_failed ? "err" : "ok", n->disk_full ? "err" : "ok", s.log_bytes);
    buf_printf(
        out,
        "log_position:%" PRIu64 "\r\nlog_durable_position:%" PRIu64 "\r\nlog_segments:%" PRIu64
        "\r\nlog_bytes:%" PRIu64 "\r\nlog_batches:%" PRIu64 "\r\nlog_batches_in_loop:%" PRIu64
        "\r\nlog_syncs:%" PRIu64 "\r\nlog_records:%" PRIu64 "\r\nlog_bytes_written:%" PRIu64 "\r\n",
        store_last_position(n->store), store_durable_position(n->store), s.segments, s.log_bytes,
        s.batches, store_writer_own(n->writer), s.syncs, s.records, s.bytes_written);
    buf_printf(
        out,
        "snapshots:%" PRIu64 "\r\nsnapshots_failed:%" PRIu64 "\r\nsnapshot_position:%" PRIu64
        "\r\nsnapshot_bytes:%" PRIu64 "\r\nlatest_fork_usec:%" PRIu64 "\r\nblob_files:%" PRIu64
        "\r\nblob_bytes:%" PRIu64 "\r\nblob_live_bytes:%" PRIu64 "\r\ndisk_full:%d\r\n",
        s.snapshots, n->stats.snapshots_failed, s.snapshot_position, s.snapshot_bytes,
        n->stats.snapshot_fork_us, s.blob_files, s.blob_bytes, s.blob_live_bytes, n->disk_full);
}

static void stats(struct node *n, struct buf *out)
{
    uint64_t in_bytes = n->stats.in_bytes, out_bytes = n->stats.out_bytes;
    list_each(it, &n->clients)
    {
        in_bytes += container_of(it, struct client, link)->conn.in_bytes;
        out_bytes += container_of(it, struct client, link)->conn.out_bytes;
    }
    buf_printf(out,
               "total_connections_received:%" PRIu64 "\r\ntotal_commands_processed:%" PRIu64
               "\r\ninstantaneous_ops_per_sec:0\r\ntotal_net_input_bytes:%" PRIu64
               "\r\ntotal_net_output_bytes:%" PRIu64 "\r\nrejected_connections:%" PRIu64
               "\r\nexpired_keys:0\r\nevicted_keys:0\r\nkeyspace_hits:0\r\nkeyspace_misses:0\r\n"
               "pubsub_channels:0\r\npubsub_patterns:0\r\nlatest_fork_usec:%" PRIu64
               "\r\ntotal_error_replies:%" PRIu64 "\r\nauth_failures:%" PRIu64
               "\r\nclients_closed_by_output_limit:%" PRIu64 "\r\n",
               n->stats.connections, n->stats.commands, in_bytes, out_bytes,
               n->stats.rejected_connections, n->stats.snapshot_fork_us, n->stats.errors,
               n->stats.auth_failures, n->stats.evicted_outputs);
}

static void replication(struct node *n, struct buf *out)
{
    (void)n;
    buf_add_str(out, STR("role:master\r\nconnected_slaves:0\r\nmaster_repl_offset:0\r\n"));
}

static void cpu(struct node *n, struct buf *out)
{
    struct rusage usage;
    (void)n;
    getrusage(RUSAGE_SELF, &usage);
    buf_printf(out, "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n",
               (long)usage.ru_stime.tv_sec, (long)usage.ru_stime.tv_usec,
               (long)usage.ru_utime.tv_sec, (long)usage.ru_utime.tv_usec);
}

static void commandstats(struct node *n, struct buf *out)
{
    for (struct map_node *m = map_next(&n->entries, NULL); m; m = map_next(&n->entries, m)) {
        const struct node_entry *e = container_of(m, struct node_entry, node);
        if (e->calls == 0 && e->rejected == 0)
            continue;
        buf_add_str(out, STR("cmdstat_"));
        for (size_t i = 0; i < e->name.len; i++) {
            char c = e->name.ptr[i];
            buf_add_char(out, (char)(c >= 'A' && c <= 'Z' ? c | 32 : c));
        }
        buf_printf(out,
                   ":calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f,rejected_calls=%" PRIu64
                   ",failed_calls=%" PRIu64 "\r\n",
                   e->calls, (e->ns / 1000),
                   e->calls ? (double)e->ns / 1000 / (double)e->calls : 0.0, e->rejected,
                   e->failed);
    }
}

static void errorstats(struct node *n, struct buf *out)
{
    const struct map *counts = &n->stats.error_counts;
    for (struct map_node *m = map_next(counts, NULL); m; m = map_next(counts, m)) {
        const struct node_error_count *e = container_of(m, struct node_error_count, node);
        buf_printf(out, "errorstat_%s:count=%" PRIu64 "\r\n", e->code, e->count);
    }
}

static void cluster(struct node *n, struct buf *out)
{
    (void)n;
    buf_add_str(out, STR("cluster_enabled:0\r\n"));
}

static void keyspace(struct node *n, struct buf *out)
{
    const struct core_command *dbsize = core_find(STR("DBSIZE"));
    const struct str words[] = {STR("DBSIZE")};
    struct buf answer;
    buf_init(&answer, 64);
    struct reply r = {.out = &answer};
    struct core_call call = {.now_ms = n->now_ms, .argc = 1, .argv = words, .reply = &r};
    if (dbsize)
        core_exec(n->core, dbsize, &call);
    struct str digits = str_trim(buf_str(&answer));
    if (digits.len > 1 && !str_eq(digits, STR(":0")))
        buf_printf(out, "db0:keys=%.*s,expires=0,avg_ttl=0\r\n", (int)digits.len - 1,
                   digits.ptr + 1);
    buf_done(&answer);
}

static const struct {
    const char *name, *title;
    bool by_default;
    section_write *write;
} sections[] = {
    {"server", "Server", true, server},
    {"clients", "Clients", true, clients},
    {"memory", "Memory", true, memory},
    {"persistence", "Persistence", true, persistence},
    {"stats", "Stats", true, stats},
    {"replication", "Replication", true, replication},
    {"cpu", "CPU", true, cpu},
    {"commandstats", "Commandstats", false, commandstats},
    {"errorstats", "Errorstats", true, errorstats},
    {"cluster", "Cluster", true, cluster},
    {"keyspace", "Keyspace", true, keyspace},
};

static bool wanted(size_t i, size_t argc, const struct str *argv)
{
    if (argc == 1)
        return sections[i].by_default;
    for (size_t a = 1; a < argc; a++) {
        if (str_eq_nocase(argv[a], STR("all")) || str_eq_nocase(argv[a], STR("everything")) ||
            str_eq_nocase(argv[a], str_of(sections[i].name)) ||
            (str_eq_nocase(argv[a], STR("default")) && sections[i].by_default))
            return true;
    }
    return false;
}

void command_info(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    struct buf out;
    buf_init(&out, NODE_OUT_PAUSE_BYTES);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!wanted(i, argc, argv))
            continue;
        buf_printf(&out, "%s# %s\r\n", buf_len(&out) > 0 ? "\r\n" : "", sections[i].title);
        sections[i].write(c->node, &out);
    }
    reply_str(r, buf_str(&out));
    buf_done(&out);
}
