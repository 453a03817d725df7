/* SPDX-License-Identifier: Apache-2.0 */
/* The node of the simulation: the same steps around core and store as src/node takes, in one
 * thread. A batch is written at its start or at its end, as the seed says; a crash comes between
 * any two of these, or inside a write of the disk. */
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "core/core.h"
#include "sim/node_world.h"
#include "store/blob.h"
#include "store/store.h"
#include "wire/record.h"

#include <stdlib.h>

enum { SILENT_MS = 2500, AWAY_MS = 1000, PRESENCES = 64, BLOCKED_MAX = 64, NAME_BYTES = 64 };

struct presence {
    char name[NAME_BYTES];
    uint64_t incarnation, seen_ms;
    struct sim_conn *conn; /* NULL: away */
    bool used;
};

struct parked {
    struct sim_conn *conn;
    uint64_t until_ms; /* 0: for ever */
    char line[256];
};

struct held {
    struct list link;
    struct sim_conn *conn;
    uint64_t position;
    size_t len;
    char bytes[];
};

struct host {
    struct world *w;
    struct store *store;
    struct core *core;
    bool up;
    uint64_t now_ms, boot, next_client;
    struct store_batch *batch;
    bool batch_written, ready, failed;
    struct buf record, out;
    struct list held;
    struct presence presences[PRESENCES];
    struct parked parked[BLOCKED_MAX];
    size_t parked_count;
    uint64_t records_until_snapshot;
    bool snapshot_waits;
    int snapshot_rc;
    struct sim_event batch_event, beat_event, start_event;
};

bool host_up(const struct host *h)
{
    return h->up;
}

struct core *host_core(struct host *h)
{
    return h->core;
}

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

/* --- stop and start --- */

static void host_forget(struct host *h)
{
    core_free(h->core);
    store_close(h->store);
    h->core = NULL;
    h->store = NULL;
    h->batch = NULL;
}

static void host_close(struct host *h)
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
    h->now_ms = rec.now_ms > h->now_ms ? rec.now_ms : h->now_ms;
    if (rec.kind == RECORD_COMMANDS)
        return replay_commands(h, &rec);
    if (rec.kind == RECORD_BOOT && h->w->plant != PLANT_NO_BOOT)
        core_boot(h->core, rec.now_ms);
    if (rec.kind == RECORD_TICK && h->w->plant != PLANT_LOSE_TICKS)
        core_tick(h->core, rec.now_ms);
    return 0;
}

static void host_log(struct host *h)
{
    uint64_t position;
    int rc = store_append(h->store, 0, 0, buf_str(&h->record), &position);
    ensure(rc == 0);
    h->w->records++;
    if (h->records_until_snapshot > 0)
        h->records_until_snapshot--;
    check_appended(h->w->check, position);
}

static void host_start(struct world *w, struct sim_event *e);
static void host_beat(struct world *w, struct sim_event *e);

static void presence_add(void *ctx, const struct core_worker *cw)
{
    struct host *h = ctx;
    for (size_t i = 0; i < PRESENCES; i++) {
        struct presence *p = &h->presences[i];
        if (p->used)
            continue;
        *p = (struct presence){
            .incarnation = cw->incarnation, .seen_ms = h->w->now_ms, .used = true};
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
        uint64_t position = 0, now_ms = h->now_ms;
        struct err err;
        sim_disk_flip(copy, name, world_below(w, len), (unsigned)world_below(w, 8));
        w->flips++;
        w->disk = copy;
        if (host_open(h, &position, &err) == 0) {
            check_recovered(w->check, position);
            host_forget(h);
        }
        h->now_ms = now_ms;
        w->disk = real;
    }
    sim_disk_free(copy);
}

/* --- start --- */

static void host_boot(struct host *h)
{
    h->now_ms = h->w->now_ms > h->now_ms ? h->w->now_ms : h->now_ms;
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
    check_acknowledged(h->w->check, store_ack_position(h->store));
    core_each_worker(h->core, presence_add, h);
    h->records_until_snapshot = 5 + world_below(h->w, 150);
    world_at(h->w, &h->beat_event, 5, host_beat);
}

static void host_start(struct world *w, struct sim_event *e)
{
    struct host *h = container_of(e, struct host, start_event);
    uint64_t position = 0;
    struct err err;
    if (!world_healing(w) && world_chance(w, 0.3))
        host_try_flip(h);
    h->now_ms = 0;
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

/* --- the log --- */

static void send_held(struct host *h)
{
    uint64_t durable = store_ack_position(h->store);
    list_each(it, &h->held)
    {
        struct held *r = container_of(it, struct held, link);
        if (r->position > durable && h->w->plant != PLANT_ACK_EARLY)
            break;
        check_acknowledged(h->w->check, r->position);
        list_remove(it);
        if (r->conn->host_open)
            conn_reply(r->conn, str_make(r->bytes, r->len));
        mem_free(r);
    }
}

/* 0, or the node has crashed. */
static int batch_finish(struct host *h)
{
    struct err err;
    if (!h->batch_written)
        store_batch_write(h->store, h->batch);
    int rc = store_batch_done(h->store, h->batch, &err);
    h->batch = NULL;
    if (rc == 0 || rc == TTG_ENOSPC)
        return 0;
    host_crash(h, sim_disk_crashed(h->w->disk));
    return rc;
}

static void batch_begin(struct host *h);
static void snapshot_finish(struct host *h);

static void on_batch(struct world *w, struct sim_event *e)
{
    struct host *h = container_of(e, struct host, batch_event);
    (void)w;
    if (h->batch && batch_finish(h))
        return;
    send_held(h);
    snapshot_finish(h);
    if (h->up)
        batch_begin(h);
}

static void batch_begin(struct host *h)
{
    if (h->batch)
        return;
    h->batch = store_batch_take(h->store, h->w->now_ms);
    if (!h->batch)
        return;
    h->batch_written = world_chance(h->w, 0.5);
    if (h->batch_written)
        store_batch_write(h->store, h->batch);
    uint64_t slow_ms = !world_healing(h->w) && world_chance(h->w, 0.01) ? 1000 : 8;
    world_at(h->w, &h->batch_event, 1 + world_below(h->w, slow_ms), on_batch);
}

/* The child has ended: its snapshot counts once the log is on disk up to it. */
static void snapshot_finish(struct host *h)
{
    struct err err;
    if (!h->up || !h->snapshot_waits)
        return;
    int rc = store_snapshot_finish(h->store, h->snapshot_rc, &err);
    if (rc == TTG_EAGAIN)
        return;
    h->snapshot_waits = false;
    h->w->snapshots += rc == 0;
    h->records_until_snapshot = 5 + world_below(h->w, 150);
    if (rc && rc != TTG_ENOSPC)
        host_crash(h, sim_disk_crashed(h->w->disk));
}

static void snapshot(struct host *h)
{
    struct store_snapshot *s;
    struct err err;
    int rc = store_snapshot_begin(h->store, &s, &err);
    if (rc) {
        world_trace(h->w, "no snapshot: %s", err.text);
        return;
    }
    rc = core_save(h->core, store_snapshot_write, s);
    h->snapshot_rc = rc ? rc : store_snapshot_end(s);
    h->snapshot_waits = true;
    snapshot_finish(h);
}

/* --- commands --- */

static struct presence *presence_find(struct host *h, struct str name, uint64_t incarnation)
{
    for (size_t i = 0; i < PRESENCES; i++)
        if (h->presences[i].used && h->presences[i].incarnation == incarnation &&
            str_eq(str_of(h->presences[i].name), name))
            return &h->presences[i];
    return NULL;
}

static void presence_seen(struct host *h, struct sim_conn *conn, size_t argc,
                          const struct str *argv)
{
    uint64_t incarnation;
    if (argc < 4 || str_to_u64(argv[3], &incarnation))
        return;
    struct presence *p = presence_find(h, argv[2], incarnation);
    bool join = str_eq(argv[0], STR("TTG.JOIN"));
    for (size_t i = 0; join && !p && i < PRESENCES; i++) {
        if (h->presences[i].used)
            continue;
        p = &h->presences[i];
        *p = (struct presence){.incarnation = incarnation, .used = true};
        memcpy(p->name, argv[2].ptr, argv[2].len < NAME_BYTES ? argv[2].len : NAME_BYTES - 1);
    }
    if (!p)
        return;
    p->seen_ms = h->w->now_ms;
    if (join)
        p->conn = conn;
    if (str_eq(argv[0], STR("TTG.LEAVE")))
        p->used = false;
}

/* Runs one command and logs it. False: it waits. */
static bool execute(struct host *h, struct sim_conn *conn, size_t argc, const struct str *argv,
                    struct core_call *call)
{
    const struct core_command *row = core_find(argv[0]);
    struct reply reply = {.out = &h->out};
    struct buf resume;
    ensure(row != NULL);
    buf_clear(&h->out);
    buf_clear(&h->record);
    h->now_ms = h->w->now_ms > h->now_ms ? h->w->now_ms : h->now_ms;
    *call = (struct core_call){.now_ms = h->now_ms,
                               .client = conn ? conn->client : 0,
                               .argc = argc,
                               .argv = argv,
                               .reply = &reply,
                               .resume = &resume,
                               .may_block = conn != NULL && row->flags & CORE_BLOCKING};
    buf_init(&resume, 4096);
    uint64_t bytes = RECORD_HEAD_BYTES_MAX + record_command_bytes(argc, argv);
    int rc = row->flags & CORE_WRITE ? store_reserve(h->store, 1, bytes, h->now_ms) : 0;
    if (rc) {
        h->w->refused++;
        h->failed |= rc != TTG_ENOSPC && rc != TTG_EAGAIN;
        reply_error(&reply, "MISCONF %s", err_text(rc));
    } else {
        core_exec(h->core, row, call);
    }
    buf_done(&resume);
    if (call->changed) {
        rc = record_begin(&h->record, RECORD_COMMANDS, h->now_ms, call->client);
        if (!rc)
            rc = record_command(&h->record, argc, argv);
        ensure(rc == 0);
        host_log(h);
    }
    if (conn && !call->blocked && !reply.failed && row->flags & CORE_WORKER)
        presence_seen(h, conn, argc, argv);
    bool early = row->flags & CORE_EARLY;
    if (conn && !early)
        conn->needs_position = store_last_position(h->store);
    return !call->blocked;
}

static void answer(struct host *h, struct sim_conn *conn)
{
    struct held *r = mem_alloc(sizeof *r + buf_len(&h->out));
    if (!r)
        abort();
    r->conn = conn;
    r->position = conn->needs_position;
    r->len = buf_len(&h->out);
    memcpy(r->bytes, buf_ptr(&h->out), r->len);
    if (r->position > store_ack_position(h->store)) {
        list_push_back(&h->held, &r->link);
        return;
    }
    /* Behind those that wait: the answers of one connection keep their order, and a position that
     * is durable says that all before it are. */
    if (conn->host_open)
        conn_reply(conn, str_make(r->bytes, r->len));
    mem_free(r);
}

static size_t split(struct str line, struct str *argv, size_t max)
{
    size_t argc = 0;
    while (line.ptr && argc < max)
        argv[argc++] = str_cut(line, ' ', &line);
    return argc;
}

/* Who waited may have something now; whose time is over is told so. */
static void serve_parked(struct host *h, bool ready)
{
    for (size_t i = 0; i < h->parked_count;) {
        struct parked p = h->parked[i];
        struct str argv[16];
        struct core_call call;
        bool over = p.until_ms && p.until_ms <= h->w->now_ms, served = !p.conn->host_open;
        if (!served && ready)
            served = execute(h, p.conn, split(str_of(p.line), argv, 16), argv, &call);
        if (!served && over) {
            buf_clear(&h->out);
            buf_add(&h->out, "*-1\r\n", 5);
        }
        if (!served && !over) {
            i++;
            continue;
        }
        if (p.conn->host_open)
            answer(h, p.conn);
        memmove(&h->parked[i], &h->parked[i + 1], (h->parked_count - i - 1) * sizeof p);
        h->parked_count--;
    }
}

static void after_command(struct host *h)
{
    for (int rounds = 0; h->ready && rounds < 8; rounds++) {
        h->ready = false;
        serve_parked(h, true);
    }
    if (h->w->plant == PLANT_ACK_EARLY)
        send_held(h);
    batch_begin(h);
    if (h->records_until_snapshot == 0 && !h->snapshot_waits)
        snapshot(h);
    if (h->up && (h->failed || sim_disk_crashed(h->w->disk)))
        host_crash(h, sim_disk_crashed(h->w->disk));
}

void host_request(struct host *h, struct sim_conn *conn, size_t argc, const struct str *argv)
{
    struct core_call call;
    if (!h->up)
        return;
    if (execute(h, conn, argc, argv, &call)) {
        answer(h, conn);
    } else if (h->parked_count < BLOCKED_MAX) {
        struct parked *p = &h->parked[h->parked_count++];
        *p = (struct parked){.conn = conn, .until_ms = call.block_until_ms};
        size_t at = 0;
        for (size_t i = 0; i < argc; i++) {
            ensure(at + argv[i].len + 2 < sizeof p->line);
            memcpy(p->line + at, argv[i].ptr, argv[i].len);
            at += argv[i].len;
            p->line[at++] = ' ';
        }
        p->line[at - 1] = '\0';
    }
    after_command(h);
}

void host_accept(struct host *h, struct sim_conn *conn)
{
    conn->client = ++h->next_client;
}

void host_closed(struct host *h, struct sim_conn *conn)
{
    if (!h->up)
        return;
    for (size_t i = 0; i < PRESENCES; i++) {
        struct presence *p = &h->presences[i];
        if (p->used && p->conn == conn) {
            p->conn = NULL;
            p->seen_ms = h->w->now_ms - SILENT_MS + AWAY_MS; /* a second to come back */
        }
    }
}

/* --- time --- */

static void lose(struct host *h, struct presence *p)
{
    char incarnation[24];
    const struct str argv[] = {STR("TTG.LOST"), STR("default"), str_of(p->name),
                               str_make(incarnation, str_from_u64(incarnation, p->incarnation)),
                               STR("silent")};
    struct core_call call;
    execute(h, NULL, 5, argv, &call);
    if (call.changed || !str_starts(buf_str(&h->out), STR("-MISCONF")))
        p->used = false;
    world_trace(h->w, "lost %s %llu", p->name, (unsigned long long)p->incarnation);
}

static void tick(struct host *h)
{
    h->now_ms = h->w->now_ms > h->now_ms ? h->w->now_ms : h->now_ms;
    if (core_next_ms(h->core) > h->now_ms ||
        store_reserve(h->store, 1, RECORD_HEAD_BYTES_MAX, h->now_ms))
        return;
    buf_clear(&h->record);
    int rc = record_begin(&h->record, RECORD_TICK, h->now_ms, 0);
    ensure(rc == 0);
    core_tick(h->core, h->now_ms);
    host_log(h);
}

static void host_beat(struct world *w, struct sim_event *e)
{
    struct host *h = container_of(e, struct host, beat_event);
    for (size_t i = 0; i < PRESENCES; i++)
        if (h->presences[i].used && h->presences[i].seen_ms + SILENT_MS <= w->now_ms)
            lose(h, &h->presences[i]);
    tick(h);
    serve_parked(h, false);
    after_command(h);
    if (h->up)
        world_at(w, &h->beat_event, 5 + world_below(w, 20), host_beat);
}

struct host *host_new(struct world *w)
{
    struct host *h = mem_zalloc(sizeof *h);
    if (!h)
        abort();
    h->w = w;
    list_init(&h->held);
    buf_init(&h->record, 16 << 20);
    buf_init(&h->out, 16 << 20);
    world_at(w, &h->start_event, 0, host_start);
    return h;
}

void host_free(struct host *h)
{
    if (h->store)
        host_close(h);
    world_cancel(h->w, &h->start_event);
    buf_done(&h->record);
    buf_done(&h->out);
    mem_free(h);
}
