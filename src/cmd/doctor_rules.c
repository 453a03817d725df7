/* SPDX-License-Identifier: Apache-2.0 */
/* The table of rules. A rule looks at the facts of one place, says whether it is broken and notes
 * what it saw; a fact that is not known breaks nothing, unless that is what the rule is about. */
#include "cmd/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <ttg/version.h>

enum {
    MIB = 1 << 20,
    CLOCK_MS_WARN = 2000,
    CLOCK_MS_MAX = 30 * 60 * 1000, /* half of what keeps epochs apart, see lib/job.lua */
};

struct rule {
    const char *id;
    enum doctor_kind kind;
    enum doctor_level level;
    bool (*broken)(const struct doctor_facts *f, struct buf *found);
    const char *means, *fix;
};

static bool say(struct buf *found, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool say(struct buf *found, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(found, format, args);
    va_end(args);
    return true;
}

static bool shows(const struct doctor_facts *f, struct buf *found, const char *name)
{
    return say(found, "%s is %s", name, doctor_text(f, name));
}

/* name is known and has this value */
static bool has(const struct doctor_facts *f, struct buf *found, const char *name,
                const char *value)
{
    return doctor_is(f, name, value) && shows(f, found, name);
}

static int64_t number(const struct doctor_facts *f, const char *name, int64_t unknown)
{
    int64_t n;
    return doctor_number(f, name, &n) ? n : unknown;
}

static bool below(const struct doctor_facts *f, struct buf *found, const char *name, int64_t least)
{
    int64_t n;
    return doctor_number(f, name, &n) && n < least && shows(f, found, name);
}

/* "7.0.15" as 70015; 0: not known */
static int64_t version(const struct doctor_facts *f, const char *name)
{
    const char *text = doctor_text(f, name);
    int major = 0, minor = 0, patch = 0;
    return text && sscanf(text, "%d.%d.%d", &major, &minor, &patch) >= 2
               ? major * 10000L + minor * 100L + patch
               : 0;
}

static bool older(const struct doctor_facts *f, struct buf *found, const char *name, int64_t than)
{
    int64_t v = version(f, name);
    return v > 0 && v < than && shows(f, found, name);
}

/* --- this machine, and directories --- */

static bool files_few(const struct doctor_facts *f, struct buf *found)
{
    int64_t files = number(f, "ttg.files", INT64_MAX);
    return files < 1024 && files >= 256 &&
           say(found, "at most %s open files", doctor_text(f, "ttg.files"));
}

static bool files_too_few(const struct doctor_facts *f, struct buf *found)
{
    return number(f, "ttg.files", INT64_MAX) < 256 &&
           say(found, "at most %s open files", doctor_text(f, "ttg.files"));
}

static bool room_low(const struct doctor_facts *f, struct buf *found)
{
    int64_t room = number(f, "ttg.free_bytes", INT64_MAX);
    return room < 1024LL * MIB && room >= 64LL * MIB &&
           say(found, "%lld MiB free", (long long)(room / MIB));
}

static bool room_gone(const struct doctor_facts *f, struct buf *found)
{
    int64_t room = number(f, "ttg.free_bytes", INT64_MAX);
    return room < 64LL * MIB && say(found, "%lld MiB free", (long long)(room / MIB));
}

static bool in_memory(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "ttg.file_system", "tmpfs") || has(f, found, "ttg.file_system", "ramfs");
}

static bool on_network(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "ttg.file_system", "nfs") || has(f, found, "ttg.file_system", "cifs") ||
           has(f, found, "ttg.file_system", "fuse");
}

static bool sync_never(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "ttg.sync", "never") ||
           (f->kind == DOCTOR_NODE && doctor_is(f, "appendfsync", "no") &&
            say(found, "--sync never"));
}

static bool sync_interval(const struct doctor_facts *f, struct buf *found)
{
    const char *sync = doctor_text(f, "ttg.sync");
    return (sync && strncmp(sync, "interval", 8) == 0 && shows(f, found, "ttg.sync")) ||
           (f->kind == DOCTOR_NODE && doctor_is(f, "appendfsync", "everysec") &&
            say(found, "--sync interval"));
}

/* --- nodes --- */

static bool node_disk(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "disk_full", "1");
}

static bool node_version(const struct doctor_facts *f, struct buf *found)
{
    const char *theirs = doctor_text(f, "ttg_version");
    return theirs && strcmp(theirs, TTG_VERSION) != 0 &&
           say(found, "the node is ttg %s, this is %s", theirs, TTG_VERSION);
}

static bool clients_near(const struct doctor_facts *f, struct buf *found)
{
    int64_t now = number(f, "connected_clients", 0), max = number(f, "maxclients", INT64_MAX);
    return now > max / 5 * 4 &&
           say(found, "%lld of %lld connections are in use", (long long)now, (long long)max);
}

static bool node_snapshot(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "rdb_last_bgsave_status", "err");
}

/* --- clocks --- */

static int64_t clock_off_ms(const struct doctor_facts *f)
{
    int64_t ms = number(f, "ttg.clock_ms", 0);
    return ms < 0 ? -ms : ms;
}

static bool clock_wrong(const struct doctor_facts *f, struct buf *found)
{
    return clock_off_ms(f) > CLOCK_MS_MAX &&
           say(found, "its clock and ours differ by %lld s", (long long)clock_off_ms(f) / 1000);
}

static bool clock_off(const struct doctor_facts *f, struct buf *found)
{
    int64_t ms = clock_off_ms(f);
    return ms > CLOCK_MS_WARN && ms <= CLOCK_MS_MAX &&
           say(found, "its clock and ours differ by %lld.%03lld s", (long long)ms / 1000,
               (long long)ms % 1000);
}

/* --- Redis --- */

static bool redis_version(const struct doctor_facts *f, struct buf *found)
{
    return older(f, found, "redis_version", 60200);
}

static bool redis_hidden(const struct doctor_facts *f, struct buf *found)
{
    return !doctor_text(f, "appendonly") && say(found, "CONFIG GET is not allowed");
}

static bool redis_replica(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "role", "slave");
}

static bool redis_no_log(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "appendonly", "no");
}

static bool appends(const struct doctor_facts *f)
{
    return doctor_is(f, "appendonly", "yes");
}

static bool redis_fsync_no(const struct doctor_facts *f, struct buf *found)
{
    return appends(f) && has(f, found, "appendfsync", "no");
}

static bool redis_fsync_everysec(const struct doctor_facts *f, struct buf *found)
{
    return appends(f) && has(f, found, "appendfsync", "everysec");
}

static bool redis_fsync_rewrite(const struct doctor_facts *f, struct buf *found)
{
    return appends(f) && has(f, found, "no-appendfsync-on-rewrite", "yes");
}

static bool redis_log_error(const struct doctor_facts *f, struct buf *found)
{
    const char *status = doctor_text(f, "aof_last_write_status");
    return status && strcmp(status, "ok") != 0 && shows(f, found, "aof_last_write_status");
}

static bool evicts(const struct doctor_facts *f)
{
    const char *policy = doctor_text(f, "maxmemory-policy");
    if (!policy)
        policy = doctor_text(f, "maxmemory_policy");
    return policy && strcmp(policy, "noeviction") != 0;
}

static bool redis_evicts(const struct doctor_facts *f, struct buf *found)
{
    return evicts(f) && number(f, "maxmemory", 0) > 0 &&
           say(found, "maxmemory-policy is %s", doctor_text(f, "maxmemory_policy"));
}

static bool redis_would_evict(const struct doctor_facts *f, struct buf *found)
{
    return evicts(f) && number(f, "maxmemory", 0) == 0 &&
           say(found, "maxmemory-policy is %s", doctor_text(f, "maxmemory_policy"));
}

static bool redis_memory(const struct doctor_facts *f, struct buf *found)
{
    int64_t max = number(f, "maxmemory", 0), used = number(f, "used_memory", 0);
    return max > 0 && used > max / 10 * 9 &&
           say(found, "%lld of %lld MiB are used", (long long)used / MIB, (long long)max / MIB);
}

static bool fails_over(const struct doctor_facts *f)
{
    return doctor_is(f, "ttg.failover", "1") && !doctor_is(f, "role", "slave");
}

static bool redis_alone(const struct doctor_facts *f, struct buf *found)
{
    return fails_over(f) && below(f, found, "connected_slaves", 1);
}

static bool redis_isolated(const struct doctor_facts *f, struct buf *found)
{
    return fails_over(f) && number(f, "ttg.redis_wait", 0) == 0 &&
           below(f, found, "min-replicas-to-write", 1) && say(found, ", without --redis-wait");
}

static bool redis_wait_many(const struct doctor_facts *f, struct buf *found)
{
    int64_t wait = number(f, "ttg.redis_wait", 0), there = number(f, "connected_slaves", INT64_MAX);
    return !doctor_is(f, "role", "slave") && wait > there &&
           say(found, "--redis-wait %lld, but %lld replicas", (long long)wait, (long long)there);
}

/* --- Sentinels and clusters of Redis --- */

static bool sentinel_away(const struct doctor_facts *f, struct buf *found)
{
    return doctor_text(f, "ttg.error") && say(found, "%s", doctor_text(f, "ttg.error"));
}

static int64_t sentinels(const struct doctor_facts *f)
{
    return number(f, "num-other-sentinels", 1000) + 1;
}

static bool sentinel_few(const struct doctor_facts *f, struct buf *found)
{
    return sentinels(f) < 3 && say(found, "%lld sentinels", (long long)sentinels(f));
}

static bool sentinel_quorum(const struct doctor_facts *f, struct buf *found)
{
    return number(f, "quorum", 0) > sentinels(f) &&
           say(found, "quorum %s of %lld sentinels", doctor_text(f, "quorum"),
               (long long)sentinels(f));
}

static bool sentinel_down(const struct doctor_facts *f, struct buf *found)
{
    const char *flags = doctor_text(f, "flags");
    return flags && (strstr(flags, "down") || strstr(flags, "disconnected")) &&
           shows(f, found, "flags");
}

static bool sentinel_other(const struct doctor_facts *f, struct buf *found)
{
    return doctor_text(f, "ttg.other_master") &&
           say(found, "it names %s", doctor_text(f, "ttg.other_master"));
}

static bool cluster_down(const struct doctor_facts *f, struct buf *found)
{
    const char *state = doctor_text(f, "cluster_state");
    return state && strcmp(state, "ok") != 0 && shows(f, found, "cluster_state");
}

static bool cluster_small(const struct doctor_facts *f, struct buf *found)
{
    return below(f, found, "cluster_size", 3);
}

/* --- RabbitMQ --- */

static bool rabbit_hidden(const struct doctor_facts *f, struct buf *found)
{
    return sentinel_away(f, found);
}

static bool rabbit_version(const struct doctor_facts *f, struct buf *found)
{
    return older(f, found, "rabbitmq_version", 30800);
}

static bool rabbit_timeout(const struct doctor_facts *f, struct buf *found)
{
    return older(f, found, "rabbitmq_version", 31200);
}

static bool rabbit_two(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "ttg.nodes", "2");
}

static bool rabbit_stopped(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "running", "false");
}

static bool rabbit_memory(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "mem_alarm", "true");
}

static bool rabbit_disk(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "disk_free_alarm", "true");
}

static bool rabbit_disk_near(const struct doctor_facts *f, struct buf *found)
{
    int64_t room = number(f, "disk_free", INT64_MAX);
    return room < 256LL * MIB && !doctor_is(f, "disk_free_alarm", "true") &&
           say(found, "%lld MiB free", (long long)room / MIB);
}

static bool rabbit_parted(const struct doctor_facts *f, struct buf *found)
{
    const char *partitions = doctor_text(f, "partitions");
    return partitions && strcmp(partitions, "[]") != 0 && shows(f, found, "partitions");
}

static bool rabbit_files(const struct doctor_facts *f, struct buf *found)
{
    return below(f, found, "fd_total", 1024);
}

static bool rabbit_ticks(const struct doctor_facts *f, struct buf *found)
{
    return number(f, "ttg.nodes", 1) > 1 && number(f, "net_ticktime", 0) > 20 &&
           shows(f, found, "net_ticktime");
}

static bool queue_classic(const struct doctor_facts *f, struct buf *found)
{
    return number(f, "ttg.nodes", 1) > 1 && has(f, found, "type", "classic");
}

static bool queue_transient(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "durable", "false");
}

/* The policy that applies, as JSON: one that throws messages away. */
static bool queue_limited(const struct doctor_facts *f, struct buf *found)
{
    const char *policy = doctor_text(f, "effective_policy_definition");
    return policy &&
           (strstr(policy, "\"max-length") || strstr(policy, "\"message-ttl") ||
            strstr(policy, "\"expires")) &&
           say(found, "a policy says %s", policy);
}

/* clang-format off */
static const struct rule rules[] = {
    {"files", DOCTOR_HERE, DOCTOR_UNSAFE, files_too_few,
     "A node or a run that is out of descriptors refuses connections; its workers are taken for lost, "
     "and the job may stand still.",
     "raise the limit: ulimit -n 4096, or LimitNOFILE= in the service"},
    {"files-few", DOCTOR_HERE, DOCTOR_WARNING, files_few,
     "A node serves about as many workers and onlookers as it may open files.",
     "raise the limit: ulimit -n 4096, or LimitNOFILE= in the service"},
    {"directory-memory", DOCTOR_DIRECTORY, DOCTOR_UNSAFE, in_memory,
     "What lies there is gone when the machine restarts: the job and all results that were not "
     "collected elsewhere.",
     "choose a directory on a disk, by embedded:DIR, --data or XDG_STATE_HOME"},
    {"directory-network", DOCTOR_DIRECTORY, DOCTOR_WARNING, on_network,
     "Locks and syncs of network file systems do not promise what those of a disk do.",
     "choose a directory on a local disk"},
    {"directory-full", DOCTOR_DIRECTORY, DOCTOR_UNSAFE, room_gone,
     "A node whose disk is full refuses commits: the job stands still until there is room.",
     "make room, or choose another disk"},
    {"directory-room", DOCTOR_DIRECTORY, DOCTOR_WARNING, room_low,
     "Results that were not collected stay on this disk; when it is full the job stands still.",
     "make room, or choose another disk"},
    {"sync-never", DOCTOR_DIRECTORY, DOCTOR_UNSAFE, sync_never,
     "A power cut takes back whatever the kernel had not written: acknowledged results too.",
     "--sync always"},
    {"sync-interval", DOCTOR_DIRECTORY, DOCTOR_WARNING, sync_interval,
     "A power cut takes back what was acknowledged in the last interval; those chunks run again.",
     "--sync always"},

    {"sync-never", DOCTOR_NODE, DOCTOR_UNSAFE, sync_never,
     "A power cut takes back whatever the kernel had not written: acknowledged results too.",
     "start the node with --sync always"},
    {"sync-interval", DOCTOR_NODE, DOCTOR_WARNING, sync_interval,
     "A power cut takes back what was acknowledged in the last interval; those chunks run again.",
     "start the node with --sync always"},
    {"node-disk-full", DOCTOR_NODE, DOCTOR_UNSAFE, node_disk,
     "The node refuses commits: the job stands still.", "make room on the node's disk"},
    {"node-snapshot", DOCTOR_NODE, DOCTOR_WARNING, node_snapshot,
     "Snapshots fail, so the log grows and a restart takes longer and longer.",
     "look at the node's log; mostly its disk is full"},
    {"node-clients", DOCTOR_NODE, DOCTOR_WARNING, clients_near,
     "Further workers will be refused.", "raise --max-clients"},
    {"node-version", DOCTOR_NODE, DOCTOR_WARNING, node_version,
     "Node and workers of different versions may not understand each other.",
     "use the same ttg everywhere"},
    {"clock", DOCTOR_NODE, DOCTOR_WARNING, clock_off,
     "Times in results and logs do not fit together.", "let both machines follow NTP"},
    {"clock-wrong", DOCTOR_NODE, DOCTOR_WARNING, clock_wrong,
     "Times in results and logs do not fit together.", "let both machines follow NTP"},

    {"redis-version", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_version,
     "The scripts need Redis 6.2: jobs do not run there.", "use Redis 6.2 or later"},
    {"redis-replica", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_replica,
     "A replica takes no writes: jobs do not run there.",
     "use the master's address, or redis+sentinel://"},
    {"redis-config", DOCTOR_REDIS, DOCTOR_WARNING, redis_hidden,
     "Whether what is acknowledged is on disk cannot be told.",
     "allow CONFIG GET to this user, or ask who runs the server"},
    {"redis-appendonly", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_no_log,
     "A restart loses everything since the last snapshot, perhaps the job.",
     "appendonly yes (CONFIG SET appendonly yes, and in redis.conf)"},
    {"redis-appendfsync-no", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_fsync_no,
     "A power cut loses whatever the kernel had not written, often 30 s of acknowledged results.",
     "appendfsync always"},
    {"redis-appendfsync", DOCTOR_REDIS, DOCTOR_WARNING, redis_fsync_everysec,
     "A power cut loses about a second of acknowledged results; ttg notices, and their chunks run "
     "again.",
     "appendfsync always"},
    {"redis-fsync-rewrite", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_fsync_rewrite,
     "While the log is rewritten nothing is synced: a power cut then loses all of it.",
     "no-appendfsync-on-rewrite no"},
    {"redis-log-error", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_log_error,
     "The server cannot write its log and refuses commits: the job stands still.",
     "make room on the server's disk"},
    {"redis-eviction", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_evicts,
     "When memory is full the server throws keys away: parts of jobs vanish without a word.",
     "maxmemory-policy noeviction"},
    {"redis-eviction-later", DOCTOR_REDIS, DOCTOR_WARNING, redis_would_evict,
     "As soon as somebody sets maxmemory, a full server throws parts of jobs away.",
     "maxmemory-policy noeviction"},
    {"redis-memory", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_memory,
     "At the limit commits are refused: the job stands still until there is memory.",
     "raise maxmemory, or collect results with trimming"},
    {"redis-clients", DOCTOR_REDIS, DOCTOR_WARNING, clients_near,
     "Further workers will be refused; each has three connections.", "raise maxclients"},
    {"redis-no-replica", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_alone,
     "Nobody can take over: when this master is lost, so are its jobs.", "add a replica"},
    {"redis-isolated", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_isolated,
     "A master cut off from its replicas goes on accepting results, which are dropped when it comes "
     "back; ttg notices, and their chunks run again, but what was printed meanwhile stays.",
     "min-replicas-to-write 1 and min-replicas-max-lag 10, and --redis-wait 1"},
    {"redis-wait", DOCTOR_REDIS, DOCTOR_UNSAFE, redis_wait_many,
     "No result ever counts: the job stands still.", "add replicas, or lower --redis-wait"},
    {"clock-wrong", DOCTOR_REDIS, DOCTOR_UNSAFE, clock_wrong,
     "Epochs and times of results come from this clock; after a failover to a server whose clock is "
     "hours behind, epochs could come twice.",
     "let all machines follow NTP"},
    {"clock", DOCTOR_REDIS, DOCTOR_WARNING, clock_off,
     "After a failover retries and times of results are off by that much.",
     "let all machines follow NTP"},

    {"sentinel-away", DOCTOR_SENTINEL, DOCTOR_WARNING, sentinel_away,
     "One more lost, and nobody may be left to promote a replica.", "start it, or correct the address"},
    {"sentinel-few", DOCTOR_SENTINEL, DOCTOR_UNSAFE, sentinel_few,
     "A promotion needs a majority of all sentinels: with fewer than three, losing one machine means "
     "no failover.",
     "run three sentinels on three machines"},
    {"sentinel-quorum", DOCTOR_SENTINEL, DOCTOR_UNSAFE, sentinel_quorum,
     "A dead master is never declared dead: no failover.",
     "SENTINEL SET NAME quorum 2 (with three sentinels)"},
    {"sentinel-down", DOCTOR_SENTINEL, DOCTOR_UNSAFE, sentinel_down,
     "The master is not reachable from there; a failover may be due.", "look at the master"},
    {"sentinel-other-master", DOCTOR_SENTINEL, DOCTOR_UNSAFE, sentinel_other,
     "Sentinels that disagree send workers to different servers.",
     "let them watch the same master, or SENTINEL RESET the wrong one"},

    {"cluster-state", DOCTOR_CLUSTER, DOCTOR_UNSAFE, cluster_down,
     "The cluster serves nothing, or not all slots.", "redis-cli --cluster check, and fix"},
    {"cluster-masters", DOCTOR_CLUSTER, DOCTOR_UNSAFE, cluster_small,
     "A promotion needs a majority of masters: with fewer than three, losing one means no failover.",
     "at least three masters on three machines"},

    {"rabbit-management", DOCTOR_RABBIT, DOCTOR_WARNING, rabbit_hidden,
     "Alarms, limits and kinds of queues cannot be looked at.",
     "enable rabbitmq_management, give the user the tag monitoring, or name it with --management URL"},
    {"rabbit-version", DOCTOR_RABBIT, DOCTOR_UNSAFE, rabbit_version,
     "Quorum queues and what retries rely on are missing.", "use RabbitMQ 3.8 or later"},
    {"rabbit-consumer-timeout", DOCTOR_RABBIT, DOCTOR_WARNING, rabbit_timeout,
     "Before 3.12 only the whole broker has a consumer_timeout, 30 minutes unless set: a chunk that "
     "takes longer is taken away and computed again.",
     "keep chunks shorter, or consumer_timeout = 86400000 in rabbitmq.conf"},
    {"rabbit-two-nodes", DOCTOR_RABBIT, DOCTOR_WARNING, rabbit_two,
     "Of two nodes none may fail: quorum queues need a majority.", "use three nodes"},
    {"rabbit-stopped", DOCTOR_RABBIT_NODE, DOCTOR_UNSAFE, rabbit_stopped,
     "One more lost, and quorum queues have no majority.", "start it"},
    {"rabbit-memory", DOCTOR_RABBIT_NODE, DOCTOR_UNSAFE, rabbit_memory,
     "The broker blocks all who publish: the job stands still.",
     "give it memory, or raise vm_memory_high_watermark"},
    {"rabbit-disk", DOCTOR_RABBIT_NODE, DOCTOR_UNSAFE, rabbit_disk,
     "The broker blocks all who publish: the job stands still.",
     "make room on the broker's disk, or lower disk_free_limit"},
    {"rabbit-disk-room", DOCTOR_RABBIT_NODE, DOCTOR_WARNING, rabbit_disk_near,
     "A disk that runs full stops the broker.", "make room on the broker's disk"},
    {"rabbit-partition", DOCTOR_RABBIT_NODE, DOCTOR_UNSAFE, rabbit_parted,
     "Parts of the cluster do not see each other: classic queues diverge, and one side is dropped.",
     "mend the network; cluster_partition_handling = pause_minority"},
    {"rabbit-ticks", DOCTOR_RABBIT_NODE, DOCTOR_WARNING, rabbit_ticks,
     "For so many seconds the others wait for a node that is cut off or loses its power, and jobs with "
     "them.",
     "{kernel, [{net_ticktime, 10}]} in advanced.config, on all nodes"},
    {"rabbit-files", DOCTOR_RABBIT_NODE, DOCTOR_WARNING, rabbit_files,
     "The broker refuses connections when it is out of descriptors.", "LimitNOFILE=65536"},
    {"rabbit-classic", DOCTOR_RABBIT_QUEUE, DOCTOR_UNSAFE, queue_classic,
     "A classic queue lives on one node: while that is away the job stands still, and with its disk "
     "the job is lost.",
     "--queue-type quorum, for a new job"},
    {"rabbit-transient", DOCTOR_RABBIT_QUEUE, DOCTOR_UNSAFE, queue_transient,
     "A restart of the broker loses the queue with all its chunks.",
     "delete it and let ttg declare it, durable"},
    {"rabbit-policy", DOCTOR_RABBIT_QUEUE, DOCTOR_UNSAFE, queue_limited,
     "The policy throws chunks or results away when they wait long or are many.",
     "exclude ttg.* from that policy"},
};
/* clang-format on */

int doctor_judge(const struct doctor *d,
                 int (*on_finding)(void *ctx, const struct doctor_finding *finding), void *ctx)
{
    int rc = 0;
    for (size_t i = 0; i < d->place_count; i++)
        for (size_t k = 0; !rc && k < sizeof rules / sizeof *rules; k++) {
            const struct rule *r = &rules[k];
            struct doctor_finding finding = {r->id,    r->level, d->places[i]->where,
                                             r->means, r->fix,   {0}};
            if (r->kind != d->places[i]->kind)
                continue;
            buf_init(&finding.found, 4096);
            if (r->broken(d->places[i], &finding.found))
                rc = buf_len(&finding.found) ? on_finding(ctx, &finding) : TTG_ENOMEM;
            buf_done(&finding.found);
        }
    return rc;
}

const char *doctor_covers(enum doctor_kind kind)
{
    static const char *const words[DOCTOR_KINDS] = {
        [DOCTOR_HERE] = "open files",
        [DOCTOR_DIRECTORY] = "kind of disk, room, sync",
        [DOCTOR_NODE] = "version, sync, disk, snapshots, connections, clock",
        [DOCTOR_REDIS] = "version, role, persistence, eviction, memory, replicas, clock",
        [DOCTOR_SENTINEL] = "reachable, number, quorum, the same master",
        [DOCTOR_CLUSTER] = "state, masters",
        [DOCTOR_RABBIT] = "version, consumer timeout, number of nodes",
        [DOCTOR_RABBIT_NODE] = "running, alarms, disk, partitions, ticks, open files",
        [DOCTOR_RABBIT_QUEUE] = "kind, durable, policies",
    };
    return words[kind];
}
