/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/doctor_rule.h"

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

/* A list of names, as JSON. */
static size_t names(const struct doctor_facts *f, const char *name)
{
    const char *text = doctor_text(f, name);
    size_t quotes = 0;
    for (; text && (text = strchr(text, '"')); text++)
        quotes++;
    return quotes / 2;
}

static bool queue_replicas(const struct doctor_facts *f, struct buf *found)
{
    size_t members = names(f, "members"), online = names(f, "online");
    return doctor_text(f, "online") && online < members &&
           say(found, "%zu of %zu replicas run: %s", online, members, doctor_text(f, "online"));
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
    {"rabbit-management", DOCTOR_RABBIT, DOCTOR_WARNING, hidden,
     "Alarms, limits, clocks and kinds of queues cannot be looked at.",
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
    {"clock", DOCTOR_RABBIT_NODE, DOCTOR_WARNING, clock_off,
     "Times in results and in the broker's log do not fit together.", "let all machines follow NTP"},
    {"clock-wrong", DOCTOR_RABBIT_NODE, DOCTOR_WARNING, clock_wrong,
     "Times in results and in the broker's log do not fit together; when it is put right, chunks that "
     "wait for a retry wait by so much longer, or shorter.",
     "let all machines follow NTP"},
    {"rabbit-replicas", DOCTOR_RABBIT_QUEUE, DOCTOR_UNSAFE, queue_replicas,
     "One node more away, and the queue has no majority; when half of its replicas are away the job "
     "stands still already.",
     "start the nodes; on one that runs and lacks its replica: rabbitmqctl stop_app, then start_app"},
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

const struct rule_table doctor_rules_rabbit = {rules, sizeof rules / sizeof *rules};
