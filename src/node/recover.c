/* SPDX-License-Identifier: Apache-2.0 */
/* The one way to start: the snapshot, the records behind it at their own times, a boot record. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/state.h"

struct replay {
    struct core *core;
    struct hugeheap *heap;
    struct str *argv;
    size_t cap;
};

static int replay_snapshot(void *ctx, uint64_t position, struct str bytes)
{
    struct replay *r = ctx;
    (void)position;
    return core_load(r->core, bytes);
}

static int replay_commands(struct replay *r, struct record *rec)
{
    size_t argc;
    int rc;
    while ((rc = record_next(rec, &r->argv, &r->cap, &argc)) == 1) {
        struct reply nowhere = {0};
        const struct core_command *command = core_find(r->argv[0]);
        if (!command)
            return TTG_EVERSION;
        struct core_call call = {
            .now_ms = rec->now_ms,
            .client = rec->client,
            .argc = argc,
            .argv = r->argv,
            .reply = &nowhere,
        };
        core_exec(r->core, command, &call);
    }
    return rc;
}

static int replay_record(void *ctx, const struct store_record *stored)
{
    struct replay *r = ctx;
    struct record rec;
    int rc = record_open(&rec, stored->bytes);
    if (rc)
        return rc;
    if (r->heap)
        hugeheap_grow(r->heap);
    switch (rec.kind) {
    case RECORD_BOOT:
        core_boot(r->core, rec.now_ms);
        return 0;
    case RECORD_TICK:
        core_tick(r->core, rec.now_ms);
        return 0;
    case RECORD_COMMANDS:
        return replay_commands(r, &rec);
    }
    return TTG_ECORRUPT;
}

/* Raises the boot number, on disk before anything is answered: epochs and client ids carry it. */
static int boot(struct node *n, struct err *err)
{
    node_now_ms(n);
    int rc = node_reserve(n, RECORD_HEAD_BYTES_MAX);
    if (rc)
        return err_set(err, rc, "cannot write the boot record: %s", err_text(rc));
    rc = record_begin(&n->record, RECORD_BOOT, n->now_ms, 0);
    ensure(rc == 0);
    n->boot = core_boot(n->core, n->now_ms);
    node_log(n);
    return store_flush(n->store, err);
}

int recover(struct node *n, struct err *err)
{
    struct store_report report = {0};
    struct replay r = {.core = n->core, .heap = &n->heap};
    uint64_t began_ns = n->clock->mono_ns(n->clock);
    struct store_recovery recovery = {
        .ctx = &r, .on_snapshot = replay_snapshot, .on_record = replay_record};
    int rc = store_recover(n->store, &recovery, &report, err);
    mem_free(r.argv);
    if (rc)
        return rc;
    uint64_t last_ms = core_now_ms(n->core);
    if (last_ms > n->now_ms) /* time never goes back, whatever the clock says */
        n->steady = (struct clock_steady){last_ms, clock_mono_ms(n->clock)};
    if (report.torn_bytes > 0)
        log_warn("log.torn_tail_cut", kv_str("file", report.torn_file),
                 kv_u64("offset", report.torn_offset), kv_u64("bytes", report.torn_bytes));
    rc = boot(n, err);
    if (!rc)
        log_info("node.recovered", kv_u64("boot", n->boot),
                 kv_u64("snapshot", report.snapshot_position), kv_u64("records", report.records),
                 kv_u64("log_bytes", report.log_bytes),
                 kv_u64("ms", (n->clock->mono_ns(n->clock) - began_ns) / 1000000));
    return rc;
}

int recover_digest(struct node *n, uint64_t *ret_digest, struct err *err)
{
    struct core_env env = {0};
    struct replay r = {0};
    int rc = core_new(&env, &r.core);
    if (rc)
        return err_set(err, rc, "%s", err_text(rc));
    rc = store_read(n->store, 1, NULL, replay_record, &r, err);
    if (!rc)
        *ret_digest = core_digest(r.core);
    mem_free(r.argv);
    core_free(r.core);
    return rc;
}
