/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/doctor_rule.h"

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

/* clang-format off */
static const struct rule rules[] = {
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

    {"sentinel-away", DOCTOR_SENTINEL, DOCTOR_WARNING, hidden,
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
};
/* clang-format on */

const struct rule_table doctor_rules_redis = {rules, sizeof rules / sizeof *rules};
