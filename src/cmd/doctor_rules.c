/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/doctor_rule.h"

#include <ttg/version.h>

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

static bool node_snapshot(const struct doctor_facts *f, struct buf *found)
{
    return has(f, found, "rdb_last_bgsave_status", "err");
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
};
/* clang-format on */

static int judge(const struct doctor_facts *f, const struct rule *r,
                 int (*on_finding)(void *ctx, const struct doctor_finding *finding), void *ctx)
{
    struct doctor_finding finding = {r->id, r->level, f->where, r->means, r->fix, {0}};
    int rc = 0;
    if (r->kind != f->kind)
        return 0;
    buf_init(&finding.found, 4096);
    if (r->broken(f, &finding.found))
        rc = buf_len(&finding.found) ? on_finding(ctx, &finding) : TTG_ENOMEM;
    buf_done(&finding.found);
    return rc;
}

int doctor_judge(const struct doctor *d,
                 int (*on_finding)(void *ctx, const struct doctor_finding *finding), void *ctx)
{
    const struct rule_table tables[] = {
        {rules, sizeof rules / sizeof *rules}, doctor_rules_redis, doctor_rules_rabbit};
    int rc = 0;
    for (size_t i = 0; i < d->place_count; i++)
        for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
            for (size_t k = 0; !rc && k < tables[t].count; k++)
                rc = judge(d->places[i], &tables[t].rules[k], on_finding, ctx);
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
        [DOCTOR_RABBIT_NODE] = "running, alarms, disk, partitions, ticks, open files, clock",
        [DOCTOR_RABBIT_QUEUE] = "kind, durable, replicas, policies",
    };
    return words[kind];
}
