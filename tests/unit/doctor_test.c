/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "cmd/doctor.h"

/* Facts "name=value" with blanks between, and the ids that must be found, in order: "!" before
 * those that are unsafe. */
static const struct {
    enum doctor_kind kind;
    const char *facts, *found;
} rows[] = {
    {DOCTOR_HERE, "", ""},
    {DOCTOR_HERE, "ttg.files=1024", ""},
    {DOCTOR_HERE, "ttg.files=1023", "files-few"},
    {DOCTOR_HERE, "ttg.files=255", "!files"},

    {DOCTOR_DIRECTORY, "ttg.file_system=disk ttg.free_bytes=2000000000 ttg.sync=always", ""},
    {DOCTOR_DIRECTORY, "ttg.file_system=tmpfs ttg.free_bytes=1000000000",
     "!directory-memory directory-room"},
    {DOCTOR_DIRECTORY, "ttg.file_system=nfs", "directory-network"},
    {DOCTOR_DIRECTORY, "ttg.free_bytes=1000000", "!directory-full"},
    {DOCTOR_DIRECTORY, "ttg.sync=never", "!sync-never"},
    {DOCTOR_DIRECTORY, "ttg.sync=interval:50", "sync-interval"},

    {DOCTOR_NODE, "appendfsync=always disk_full=0 rdb_last_bgsave_status=ok", ""},
    {DOCTOR_NODE, "appendfsync=no", "!sync-never"},
    {DOCTOR_NODE, "appendfsync=everysec", "sync-interval"},
    {DOCTOR_NODE, "disk_full=1", "!node-disk-full"},
    {DOCTOR_NODE, "ttg_version=0.0.0", "node-version"},
    {DOCTOR_NODE, "rdb_last_bgsave_status=err", "node-snapshot"},
    {DOCTOR_NODE, "connected_clients=81 maxclients=100", "node-clients"},
    {DOCTOR_NODE, "ttg.clock_ms=-5000", "clock"},

    {DOCTOR_REDIS,
     "redis_version=7.0.15 role=master appendonly=yes appendfsync=always maxmemory=0 "
     "maxmemory_policy=noeviction maxmemory-policy=noeviction aof_last_write_status=ok "
     "no-appendfsync-on-rewrite=no connected_clients=5 maxclients=10000 ttg.failover=0 "
     "min-replicas-to-write=0 connected_slaves=0 ttg.clock_ms=3",
     ""},
    {DOCTOR_REDIS, "", "redis-config"},
    {DOCTOR_REDIS, "appendonly=no appendfsync=everysec", "!redis-appendonly"},
    {DOCTOR_REDIS, "appendonly=yes redis_version=6.2.0", ""},
    {DOCTOR_REDIS, "appendonly=yes redis_version=6.0.16", "!redis-version"},
    {DOCTOR_REDIS, "appendonly=yes role=slave", "!redis-replica"},
    {DOCTOR_REDIS, "appendonly=yes appendfsync=no", "!redis-appendfsync-no"},
    {DOCTOR_REDIS, "appendonly=yes appendfsync=everysec", "redis-appendfsync"},
    {DOCTOR_REDIS, "appendonly=yes no-appendfsync-on-rewrite=yes", "!redis-fsync-rewrite"},
    {DOCTOR_REDIS, "appendonly=yes aof_last_write_status=err", "!redis-log-error"},
    {DOCTOR_REDIS, "appendonly=yes maxmemory=100 maxmemory_policy=allkeys-lru used_memory=5",
     "!redis-eviction"},
    {DOCTOR_REDIS, "appendonly=yes maxmemory=0 maxmemory_policy=volatile-ttl",
     "redis-eviction-later"},
    {DOCTOR_REDIS, "appendonly=yes maxmemory=100 maxmemory_policy=noeviction used_memory=95",
     "!redis-memory"},
    {DOCTOR_REDIS, "appendonly=yes connected_clients=90 maxclients=100", "redis-clients"},
    {DOCTOR_REDIS, "appendonly=yes ttg.failover=1 connected_slaves=1 min-replicas-to-write=1", ""},
    {DOCTOR_REDIS, "appendonly=yes ttg.failover=1 connected_slaves=0 min-replicas-to-write=1",
     "!redis-no-replica"},
    {DOCTOR_REDIS, "appendonly=yes ttg.failover=1 connected_slaves=1 min-replicas-to-write=0",
     "!redis-isolated"},
    {DOCTOR_REDIS,
     "appendonly=yes ttg.failover=1 connected_slaves=1 min-replicas-to-write=0 ttg.redis_wait=1",
     ""},
    {DOCTOR_REDIS, "appendonly=yes connected_slaves=1 ttg.redis_wait=2", "!redis-wait"},
    {DOCTOR_REDIS, "appendonly=yes ttg.clock_ms=2001", "clock"},
    {DOCTOR_REDIS, "appendonly=yes ttg.clock_ms=-1800001", "!clock-wrong"},

    {DOCTOR_SENTINEL, "quorum=2 num-other-sentinels=2 flags=master", ""},
    {DOCTOR_SENTINEL, "ttg.error=refused", "sentinel-away"},
    {DOCTOR_SENTINEL, "quorum=1 num-other-sentinels=1", "!sentinel-few"},
    {DOCTOR_SENTINEL, "quorum=4 num-other-sentinels=2", "!sentinel-quorum"},
    {DOCTOR_SENTINEL, "quorum=2 num-other-sentinels=2 flags=s_down,master", "!sentinel-down"},
    {DOCTOR_SENTINEL, "quorum=2 num-other-sentinels=2 ttg.other_master=h:1",
     "!sentinel-other-master"},
    {DOCTOR_CLUSTER, "cluster_state=ok cluster_size=3", ""},
    {DOCTOR_CLUSTER, "cluster_state=fail cluster_size=2", "!cluster-state !cluster-masters"},

    {DOCTOR_RABBIT, "rabbitmq_version=3.12.0 ttg.nodes=3", ""},
    {DOCTOR_RABBIT, "rabbitmq_version=3.10.8 ttg.nodes=2",
     "rabbit-consumer-timeout rabbit-two-nodes"},
    {DOCTOR_RABBIT, "rabbitmq_version=3.7.9", "!rabbit-version rabbit-consumer-timeout"},
    {DOCTOR_RABBIT, "ttg.error=refused", "rabbit-management"},
    {DOCTOR_RABBIT_NODE,
     "running=true mem_alarm=false disk_free_alarm=false disk_free=9000000000 partitions=[] "
     "fd_total=65536",
     ""},
    {DOCTOR_RABBIT_NODE, "running=false", "!rabbit-stopped"},
    {DOCTOR_RABBIT_NODE, "net_ticktime=60 ttg.nodes=1", ""},
    {DOCTOR_RABBIT_NODE, "net_ticktime=10 ttg.nodes=3", ""},
    {DOCTOR_RABBIT_NODE, "net_ticktime=60 ttg.nodes=3", "rabbit-ticks"},
    {DOCTOR_RABBIT_NODE, "mem_alarm=true disk_free_alarm=true disk_free=1",
     "!rabbit-memory !rabbit-disk"},
    {DOCTOR_RABBIT_NODE, "disk_free=1000000 fd_total=500", "rabbit-disk-room rabbit-files"},
    {DOCTOR_RABBIT_NODE, "partitions=[\"r2\"]", "!rabbit-partition"},
    {DOCTOR_RABBIT_NODE, "ttg.clock_ms=-2000", ""},
    {DOCTOR_RABBIT_NODE, "ttg.clock_ms=-2001", "clock"},
    {DOCTOR_RABBIT_NODE, "ttg.clock_ms=1800001", "clock-wrong"},
    {DOCTOR_RABBIT_QUEUE, "type=classic durable=true ttg.nodes=1", ""},
    {DOCTOR_RABBIT_QUEUE, "type=quorum members=[\"a\",\"b\"] online=[\"b\",\"a\"]", ""},
    {DOCTOR_RABBIT_QUEUE, "type=quorum members=[\"a\",\"b\",\"c\"] online=[\"b\",\"a\"]",
     "!rabbit-replicas"},
    {DOCTOR_RABBIT_QUEUE, "type=quorum members=[\"a\",\"b\",\"c\"] online=[]", "!rabbit-replicas"},
    {DOCTOR_RABBIT_QUEUE, "type=quorum durable=true ttg.nodes=3", ""},
    {DOCTOR_RABBIT_QUEUE, "type=classic durable=false ttg.nodes=3",
     "!rabbit-classic !rabbit-transient"},
    {DOCTOR_RABBIT_QUEUE, "effective_policy_definition={\"max-length\":10}", "!rabbit-policy"},
    {DOCTOR_RABBIT_QUEUE, "effective_policy_definition={\"ha-mode\":\"all\"}", ""},
};

static int note_all(struct doctor_facts *f, const char *facts)
{
    struct str rest = str_of(facts), value;
    int rc = 0;
    while (!rc && rest.len > 0) {
        struct str one = str_cut(rest, ' ', &rest), name = str_cut(one, '=', &value);
        rc = doctor_note(f, name, value);
    }
    return rc;
}

static int on_finding(void *ctx, const struct doctor_finding *f)
{
    struct buf *out = ctx;
    assert_true(buf_len(&f->found) > 0 && *f->means && *f->fix);
    assert_string_equal(f->where, "there");
    return buf_printf(out, "%s%s%s", buf_len(out) ? " " : "", f->level == DOCTOR_UNSAFE ? "!" : "",
                      f->id);
}

static void facts_become_findings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor d;
        struct buf found;
        doctor_init(&d);
        buf_init(&found, 4096);
        struct doctor_facts *f = doctor_place(&d, rows[i].kind, "the%s", "re");
        assert_non_null(f);
        assert_int_equal(note_all(f, rows[i].facts), 0);
        assert_int_equal(doctor_judge(&d, on_finding, &found), 0);
        if (strcmp(buf_cstr(&found), rows[i].found) != 0)
            fail_msg("'%s': found '%s', not '%s'", rows[i].facts, buf_cstr(&found), rows[i].found);
        buf_done(&found);
        doctor_done(&d);
    }
}

static void facts_are_kept(void **state)
{
    struct doctor d;
    int64_t n;
    (void)state;
    doctor_init(&d);
    struct doctor_facts *f = doctor_place(&d, DOCTOR_REDIS, "x");
    assert_int_equal(doctor_note(f, STR("a"), STR("")), 0);
    assert_int_equal(doctor_note(f, STR("b"), STR("1 x")), 0);
    assert_int_equal(doctor_note(f, STR("c"), str_make("a\0b", 3)), 0); /* no fact */
    assert_int_equal(doctor_note_i64(f, "d", -7), 0);
    assert_string_equal(doctor_text(f, "a"), "");
    assert_null(doctor_text(f, "c"));
    assert_null(doctor_text(f, ""));
    assert_false(doctor_number(f, "b", &n));
    assert_true(doctor_number(f, "d", &n) && n == -7);
    for (size_t i = 1; i < DOCTOR_PLACES_MAX; i++)
        assert_non_null(doctor_place(&d, DOCTOR_REDIS, "y"));
    assert_null(doctor_place(&d, DOCTOR_REDIS, "one too many"));
    doctor_done(&d);
}

static void without_memory(void **state)
{
    (void)state;
    for (size_t n = 1; n < 20; n++) {
        struct doctor d;
        struct buf found;
        doctor_init(&d);
        buf_init(&found, 4096);
        mem_fail_at(n);
        struct doctor_facts *f = doctor_place(&d, DOCTOR_REDIS, "there");
        int rc = f ? note_all(f, "appendonly=no redis_version=6.0.1") : TTG_ENOMEM;
        if (!rc)
            rc = doctor_judge(&d, on_finding, &found);
        mem_fail_at(0);
        assert_true(rc == 0 || rc == TTG_ENOMEM);
        buf_done(&found);
        doctor_done(&d);
    }
}

/* However long the answer took, only what cannot be explained by that counts. */
static void clocks_are_compared_in_doubt_kindly(void **state)
{
    (void)state;
    static const struct {
        int64_t theirs, grain, off;
        uint64_t before, after;
    } cases[] = {
        {10000, 0, 0, 10000, 10000},   {10000, 0, 0, 9000, 19000},
        {19000, 0, 0, 9000, 19000},    {19001, 0, 1, 9000, 19000},
        {8000, 0, -1000, 9000, 19000}, {21500, 2000, 500, 9000, 19000},
        {20500, 2000, 0, 9000, 19000}, {6500, 2000, -500, 9000, 19000},
        {7500, 2000, 0, 9000, 19000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct doctor d;
        doctor_init(&d);
        struct doctor_facts *f = doctor_place(&d, DOCTOR_REDIS, "there");
        int64_t off = -1;
        assert_int_equal(
            doctor_note_clock(f, cases[i].theirs, cases[i].grain, cases[i].before, cases[i].after),
            0);
        assert_true(doctor_number(f, "ttg.clock_ms", &off));
        assert_int_equal(off, cases[i].off);
        doctor_done(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_become_findings),
        cmocka_unit_test(facts_are_kept),
        cmocka_unit_test(clocks_are_compared_in_doubt_kindly),
        cmocka_unit_test(without_memory),
    };
    return tap_run(tests);
}
