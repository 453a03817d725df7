/* SPDX-License-Identifier: Apache-2.0 */
/* The node of the simulation: the same steps around core and store as src/node takes, in one
 * thread. A batch is written at its start or at its end, as the seed says; a crash comes between
 * any two of these, or inside a write of the disk. */
#include "sim/node_host.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "wire/record.h"

#include <stdlib.h>

enum { SILENT_MS = 2500, AWAY_MS = 1000, LONG_AGO_MS = 1 << 30 };

bool host_up(const struct host *h)
{
    return h->up;
}

struct core *host_core(struct host *h)
{
    return h->core;
}

/* --- time --- */

static uint64_t mono_ns(struct clock *c)
{
    return container_of(c, struct host, clock)->w->now_ms * 1000000;
}

static uint64_t wall_ms(struct clock *c)
{
    struct world *w = container_of(c, struct host, clock)->w;
    return w->now_ms + LONG_AGO_MS + (uint64_t)w->clock_error_ms;
}

uint64_t host_now_ms(struct host *h)
{
    h->now_ms = clock_steady_ms(&h->steady, &h->clock);
    return h->now_ms;
}

/* --- the log --- */

void host_log(struct host *h)
{
    uint64_t position;
    int rc = store_append(h->store, 0, 0, buf_str(&h->record), &position);
    ensure(rc == 0);
    h->w->records++;
    if (h->records_until_snapshot > 0)
        h->records_until_snapshot--;
    check_appended(h->w->check, position);
}

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
    check_heard(h->w->check, argv[2], incarnation, h->w->now_ms - h->up_from_ms);
    if (join) {
        p->conn = conn;
        p->missing = false;
    }
    if (!p->missing)
        p->due_ms = h->w->now_ms + SILENT_MS;
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
    host_now_ms(h);
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
    if (call->blocked && str_eq(argv[0], STR("TTG.TAKE")))
        check_waits(h->w->check, argv[2], h->now_ms, call->retry_ms);
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
        bool over = p.until_ms && p.until_ms <= host_now_ms(h), served = !p.conn->host_open;
        bool due = p.retry_ms && p.retry_ms <= host_now_ms(h);
        if (!served && (ready || due)) {
            served = execute(h, p.conn, split(str_of(p.line), argv, 16), argv, &call);
            h->parked[i].retry_ms = call.retry_ms;
        }
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
        *p = (struct parked){
            .conn = conn, .until_ms = call.block_until_ms, .retry_ms = call.retry_ms};
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
            p->due_ms = h->w->now_ms + AWAY_MS; /* to come back */
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
    bool marks = false;
    for (size_t i = 0; i < PRESENCES; i++)
        marks |= h->presences[i].used && h->presences[i].missing;
    marks = marks && host_now_ms(h) >= core_now_ms(h->core) + CORE_MARK_MS;
    if ((!marks && core_next_ms(h->core) > host_now_ms(h)) ||
        store_reserve(h->store, 1, RECORD_HEAD_BYTES_MAX, h->now_ms))
        return;
    buf_clear(&h->record);
    int rc = record_begin(&h->record, RECORD_TICK, h->now_ms, 0);
    ensure(rc == 0);
    core_tick(h->core, h->now_ms);
    host_log(h);
}

void host_beat(struct world *w, struct sim_event *e)
{
    struct host *h = container_of(e, struct host, beat_event);
    for (size_t i = 0; i < PRESENCES; i++)
        if (h->presences[i].used && h->presences[i].due_ms <= w->now_ms)
            lose(h, &h->presences[i]);
    tick(h);
    check_missed(w->check, w->now_ms - h->up_from_ms);
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
    h->clock = (struct clock){mono_ns, wall_ms};
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
