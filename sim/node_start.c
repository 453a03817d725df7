/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated node ends, by a kill or with the power, and starts from what its disk has kept:
 * snapshot, records, and a boot record before anything else. */
#include "base/err.h"
#include "base/mem.h"
#include "sim/node_host.h"
#include "store/blob.h"
#include "wire/record.h"

#include <stdlib.h>

enum { BACK_MS = 3000, BACK_LEAST_MS = 150 };

static void on_ready(void *ctx, struct str key)
{
    struct host *h = ctx;
    (void)key;
    h->ready = true;
}

static int blob_write(void *ctx, struct str bytes, struct blob_ref *ret_ref)
{
    return store_blob_write(((struct host *)ctx)->store, bytes, ret_ref);
}

static int blob_read(void *ctx, struct blob_ref ref, struct buf *out)
{
    return store_blob_read(((struct host *)ctx)->store, ref, out);
}

static void blob_free(void *ctx, struct blob_ref ref)
{
    store_blob_free(((struct host *)ctx)->store, ref);
}

/* --- stop --- */

static void host_forget(struct host *h)
{
    core_free(h->core);
    store_close(h->store);
    h->core = NULL;
    h->store = NULL;
    h->batch = NULL;
}

void host_close(struct host *h)
{
    h->up = h->failed = h->ready = h->snapshot_waits = false;
    list_each(it, &h->held)
    {
        list_remove(it);
        mem_free(container_of(it, struct held, link));
    }
    list_each(conn, &h->w->conns)
    {
        struct sim_conn *c = container_of(conn, struct sim_conn, link);
        if (c->host_open)
            conn_drop(c);
    }
    world_cancel(h->w, &h->batch_event);
    world_cancel(h->w, &h->beat_event);
    host_forget(h);
    h->parked_count = 0;
    memset(h->presences, 0, sizeof h->presences);
}

/* --- open --- */

static int replay_snapshot(void *ctx, uint64_t position, struct str bytes)
{
    struct host *h = ctx;
    (void)position;
    return core_load(h->core, bytes);
}

static int replay_commands(struct host *h, struct record *rec)
{
    struct str *argv = NULL;
    size_t cap = 0, argc;
    int rc;
    while ((rc = record_next(rec, &argv, &cap, &argc)) == 1) {
        struct reply nowhere = {0};
        struct core_call call = {.now_ms = rec->now_ms,
                                 .client = rec->client,
                                 .argc = argc,
                                 .argv = argv,
                                 .reply = &nowhere};
        core_exec(h->core, core_find(argv[0]), &call);
    }
    mem_free(argv);
    return rc;
}

static int replay_record(void *ctx, const struct store_record *stored)
{
    struct host *h = ctx;
    struct record rec;
    int rc = record_open(&rec, stored->bytes);
    if (rc)
        return rc;
    if (rec.kind == RECORD_COMMANDS)
        return replay_commands(h, &rec);
    if (rec.kind == RECORD_BOOT && h->w->plant != PLANT_NO_BOOT)
        core_boot(h->core, rec.now_ms);
    if (rec.kind == RECORD_TICK && h->w->plant != PLANT_LOSE_TICKS)
        core_tick(h->core, rec.now_ms);
    return 0;
}

static void presence_add(void *ctx, const struct core_worker *cw)
{
    struct host *h = ctx;
    for (size_t i = 0; i < PRESENCES; i++) {
        struct presence *p = &h->presences[i];
        if (p->used)
            continue;
        uint64_t away_ms = h->w->plant == PLANT_WAIT_ANEW ? 0 : cw->away_ms;
        uint64_t left_ms = away_ms + BACK_LEAST_MS < BACK_MS ? BACK_MS - away_ms : BACK_LEAST_MS;
        *p = (struct presence){.incarnation = cw->incarnation,
                               .due_ms = h->w->now_ms + left_ms,
                               .used = true,
                               .missing = true};
        memcpy(p->name, cw->name.ptr, cw->name.len);
        return;
    }
}

/* Opens and replays. 0, or what went wrong. */
static int host_open(struct host *h, uint64_t *ret_position, struct err *err)
{
    struct store_options options = {.disk = sim_disk_disk(h->w->disk),
                                    .sync = STORE_SYNC_ALWAYS,
                                    .segment_bytes = 32 << 10,
                                    .batch_bytes = 1 << 20,
                                    .blob_file_bytes = 32 << 10};
    int rc = store_open(&options, &h->store, err);
    if (rc)
        return rc;
    struct core_env env = {.ctx = h,
                           .blob_write = blob_write,
                           .blob_read = blob_read,
                           .blob_free = blob_free,
                           .on_ready = on_ready};
    struct store_recovery recovery = {
        .ctx = h, .on_snapshot = replay_snapshot, .on_record = replay_record};
    struct store_report report = {0};
    rc = core_new(&env, &h->core);
    if (!rc)
        rc = store_recover(h->store, &recovery, &report, err);
    *ret_position = report.last;
    if (rc)
        host_forget(h);
    return rc;
}

/* --- damage --- */

struct file_names {
    char names[64][STORE_NAME_BYTES];
    size_t count;
};

static int add_name(void *ctx, const char *name)
{
    struct file_names *f = ctx;
    /* A blob is checked when it is read. */
    if (f->count < 64 && !strstr(name, "blob") && !strstr(name, "lock"))
        snprintf(f->names[f->count++], STORE_NAME_BYTES, "%s", name);
    return 0;
}

/* Starts from a copy of the disk with one bit flipped: that is noticed, or it has hit nothing. */
static void host_try_flip(struct host *h)
{
    struct world *w = h->w;
    struct sim_disk *copy, *real = w->disk;
    struct file_names f = {.count = 0};
    if (sim_disk_clone(real, &copy))
        abort();
    struct disk *d = sim_disk_disk(copy);
    d->ops->list(d, add_name, &f);
    const char *name = f.count ? f.names[world_below(w, f.count)] : "";
    size_t len = 0;
    if (f.count > 0 && sim_disk_bytes(copy, name, &len) && len > 0) {
        uint64_t position = 0;
        struct err err;
        sim_disk_flip(copy, name, world_below(w, len), (unsigned)world_below(w, 8));
        w->flips++;
        w->disk = copy;
        if (host_open(h, &position, &err) == 0) {
            check_recovered(w->check, position);
            host_forget(h);
        }
        w->disk = real;
    }
    sim_disk_free(copy);
}

/* --- start --- */

static void host_boot(struct host *h)
{
    h->steady = (struct clock_steady){0};
    if (core_now_ms(h->core) > host_now_ms(h))
        h->steady = (struct clock_steady){core_now_ms(h->core), h->w->now_ms};
    host_now_ms(h);
    buf_clear(&h->record);
    int rc = store_reserve(h->store, 1, RECORD_HEAD_BYTES_MAX, h->now_ms);
    if (!rc)
        rc = record_begin(&h->record, RECORD_BOOT, h->now_ms, 0);
    struct err err;
    if (!rc) {
        if (h->w->plant != PLANT_NO_BOOT || h->boot == 0)
            h->boot = core_boot(h->core, h->now_ms);
        host_log(h);
        rc = store_flush(h->store, &err);
    }
    if (rc) { /* the disk is full or gone already */
        host_crash(h, sim_disk_crashed(h->w->disk));
        return;
    }
    h->next_client = h->boot << 40;
    h->up = true;
    h->up_from_ms = h->w->now_ms;
    check_acknowledged(h->w->check, store_ack_position(h->store));
    core_each_worker(h->core, presence_add, h);
    h->records_until_snapshot = 5 + world_below(h->w, 150);
    world_at(h->w, &h->beat_event, 5, host_beat);
}

void host_start(struct world *w, struct sim_event *e)
{
    struct host *h = container_of(e, struct host, start_event);
    uint64_t position = 0;
    struct err err;
    if (!world_healing(w) && world_chance(w, 0.3))
        host_try_flip(h);
    int rc = host_open(h, &position, &err);
    if (rc == TTG_ECORRUPT || rc == TTG_EVERSION) {
        world_fail(w, "the start refuses an undamaged disk: %s", err.text);
        return;
    }
    if (rc) { /* full, or gone again */
        host_crash(h, sim_disk_crashed(w->disk));
        return;
    }
    world_trace(w, "node starts at position %llu", (unsigned long long)position);
    if (!check_recovered(w->check, position))
        return;
    host_boot(h);
}

void host_crash(struct host *h, bool power)
{
    struct world *w = h->w;
    world_trace(w, "node %s", power ? "loses power" : "is killed");
    w->crashes++;
    if (h->up)
        check_life(w->check, w->now_ms - h->up_from_ms);
    if (power && !sim_disk_crashed(w->disk))
        sim_disk_crash(w->disk);
    if (h->store)
        host_close(h);
    if (sim_disk_crashed(w->disk))
        sim_disk_restart(w->disk);
    else
        sim_disk_kill(w->disk);
    struct sim_disk_faults *f = sim_disk_faults(w->disk);
    *f = (struct sim_disk_faults){.ignore_sync = w->plant == PLANT_SKIP_FSYNC};
    if (!world_healing(w) && world_chance(w, 0.5))
        f->crash_at = sim_disk_steps(w->disk) + 1 + world_below(w, 300);
    if (!world_healing(w) && world_chance(w, 0.1)) {
        f->fail_at = sim_disk_steps(w->disk) + 1 + world_below(w, 300);
        f->fail_code = TTG_EIO;
    }
    world_at(w, &h->start_event, 20 + world_below(w, 500), host_start);
}
