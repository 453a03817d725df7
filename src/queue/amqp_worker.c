/* SPDX-License-Identifier: Apache-2.0 */
/* A worker on a RabbitMQ broker.
 *
 * Deliveries are pushed to us, as many ahead as the chunks are short; a take hands them on. What a
 * worker holds the broker keeps as unacknowledged, and gives to others when the connection goes. A
 * result is published and confirmed before its delivery is acknowledged; in between, everything may
 * die, and then the chunk comes twice and the collector drops the copy. A failure goes to the retry
 * queue with its attempt counted up, in the same order: published, confirmed, acknowledged. What
 * comes a second time from the broker is the business of amqp_pull.c.
 *
 * After a cut the worker goes on with what it runs and publishes it over the new connection. The
 * copy that the broker delivers meanwhile is recognized when it comes back here. */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/amqp_delivery.h"
#include "wire/message.h"

#include <stdio.h>

enum {
    PREFETCH_MAX = 1024,
    PREFETCH_STEP = 4,
    AHEAD_US = 100000, /* of work for each slot, at most */
    QUIET_TICKS = 20,  /* without a result: chunks have become long */
    COUNTS_MS = 500,
    LOOKS_MAX = 200, /* for a marker that others are just looking at */
};

static bool same_epoch(const struct map_node *n, const void *key)
{
    return container_of(n, struct delivery, node)->epoch == *(const uint64_t *)key;
}

struct delivery *delivery_find(struct amqp_worker *w, uint64_t epoch)
{
    struct map_node *n = map_find(&w->deliveries, hash_u64(epoch), same_epoch, &epoch);
    return n ? container_of(n, struct delivery, node) : NULL;
}

void delivery_free(struct amqp_engine *e, struct delivery *d)
{
    struct amqp_worker *w = e->worker;
    if (!d->taken) {
        list_remove(&d->link);
        w->ready_count--;
    }
    if (d->gen != e->gen && w->old_count > 0)
        w->old_count--;
    map_remove(&w->deliveries, &d->node);
    w->pulled -= d->pulled;
    w->in_hand -= d->taken || d->pulled;
    mem_free(d);
}

void delivery_acknowledge(struct amqp_engine *e, const struct delivery *d)
{
    struct amqp_call call = {.op = AMQP_ACK, .tag = d->tag, .flags = d->pulled ? AMQP_ON_PULL : 0};
    if (d->gen == e->gen && e->queue.up)
        amqp_post(e, &call, NULL, NULL);
}

/* Published anew: what the broker requeues looks like the chunk of a worker that died. */
static void give_back(struct amqp_engine *e, struct delivery *d)
{
    struct amqp_call call = {.op = AMQP_NACK, .tag = d->tag, .flags = d->pulled ? AMQP_ON_PULL : 0};
    if (d->gen == e->gen && e->queue.up) {
        if (e->blocked)
            amqp_post(e, &call, NULL, NULL);
        else
            pull_give_back(e, d);
    }
    delivery_free(e, d);
}

/* --- joining --- */

static void join_end(struct amqp_engine *e, int rc, const char *text)
{
    struct queue_join *j = e->worker->join;
    struct err err;
    e->worker->join = NULL;
    if (!j)
        return;
    if (rc)
        err_set(&err, rc, "%s", text);
    queue_finish(&j->call.request, rc, rc ? &err : NULL);
}

static void consume(struct amqp_engine *e, uint32_t prefetch)
{
    struct amqp_worker *w = e->worker;
    struct amqp_call call = {.op = AMQP_CONSUME,
                             .queue = str_of(e->names.tasks),
                             .number = prefetch,
                             .tag = ++w->consumer};
    amqp_post(e, &call, NULL, NULL);
    if (w->consuming) {
        call = (struct amqp_call){.op = AMQP_CANCEL, .tag = w->consumer - 1};
        amqp_post(e, &call, NULL, NULL);
    }
    w->prefetch = prefetch;
    w->consuming = true;
}

static void joined(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    const struct ledger_spec *s = &e->marker.spec;
    struct queue_join *j = w->join;
    j->state = w->ended ? LEDGER_FINISHED : e->marker.state;
    j->protocol = 0;
    j->created_ms = e->marker.created_ms;
    j->version = STR("");
    j->first = s->first;
    j->params_total = s->params;
    j->chunk_params = s->chunk_params;
    j->chunks = amqp_marker_chunks(&e->marker);
    j->max_attempts = s->max_attempts;
    j->kernel = s->kernel;
    j->input = s->input;
    w->slots = j->slots;
    w->paused = e->marker.state == LEDGER_PAUSED;
    w->suspects = true;
    snprintf(w->name, sizeof w->name, "%.*s", STR_ARG(j->worker.name));
    if (j->state == LEDGER_RUNNING && !w->consuming)
        consume(e, w->slots < PREFETCH_MAX ? w->slots : PREFETCH_MAX);
    /* What it holds it keeps: a lease here is nothing but the work itself. */
    for (size_t i = 0; i < j->held_count; i++) {
        struct delivery *d = delivery_find(w, j->held[i].epoch);
        if (!d)
            j->held[i].epoch = 0;
    }
    join_end(e, 0, NULL);
}

static void look(struct amqp_engine *e);

static void on_looked(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_worker *w = e->worker;
    struct err err;
    (void)ctx;
    if (!event || !w->join)
        return; /* cut: the request has its own end */
    if (rc) {
        join_end(e, rc, rc == TTG_ENOENT ? "there is no such job" : event->body.ptr);
        return;
    }
    if (!event->found && (++w->looks < LOOKS_MAX)) {
        look(e);
        return;
    }
    w->looks = 0;
    if (!event->found) {
        join_end(e, e->marker_known ? TTG_EAGAIN : TTG_ENOENT, "the job is being created");
        return;
    }
    struct amqp_call call = {.op = AMQP_NACK, .tag = event->tag, .flags = AMQP_ON_GET};
    amqp_post(e, &call, NULL, NULL);
    if (event->count > 0 && ++w->looks < LOOKS_MAX) { /* a newer one lies behind it */
        look(e);
        return;
    }
    rc = amqp_marker_read(&e->marker, event->body, &err);
    if (rc) {
        join_end(e, rc, err.text);
        return;
    }
    e->marker_known = true;
    joined(e);
}

static void look(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_GET, .queue = str_of(e->names.job)};
    amqp_post(e, &call, on_looked, NULL);
}

static void join(struct amqp_engine *e, struct queue_join *j)
{
    struct amqp_worker *w = e->worker;
    w->join = j;
    w->looks = 0;
    if (!w->listening) { /* first the ear, then the eye: the end is not missed */
        struct amqp_call call = {.op = AMQP_LISTEN, .queue = str_of(e->names.job)};
        amqp_post(e, &call, NULL, NULL);
        w->listening = true;
    }
    look(e);
}

/* --- taking --- */

static int run_add(struct amqp_worker *w, size_t *count, struct delivery *d)
{
    if (*count == w->run_room) {
        size_t room = w->run_room ? w->run_room * 2 : 16;
        struct ledger_run *more = mem_realloc(w->runs, room * sizeof *more);
        if (!more)
            return TTG_ENOMEM;
        w->runs = more;
        w->run_room = room;
    }
    w->runs[(*count)++] = (struct ledger_run){d->chunk, 1, d->epoch, (uint32_t)d->attempt};
    return 0;
}

/* What may be handed out. */
static struct delivery *next_ready(const struct amqp_worker *w)
{
    struct list *first = list_first(&w->ready);
    struct delivery *d = first ? container_of(first, struct delivery, link) : NULL;
    return d && (d->pulled || !pull_has_turn(w)) ? d : NULL;
}

void delivery_hand_out(struct amqp_engine *e, bool over)
{
    struct amqp_worker *w = e->worker;
    struct queue_take *t = w->take;
    struct err err;
    if (!t || (w->pulling && !w->ended))
        return; /* first those whose worker died */
    t->runs = NULL;
    t->run_count = 0;
    t->state = w->ended ? LEDGER_FINISHED : LEDGER_RUNNING;
    if (!w->ended && !next_ready(w)) {
        w->dry |= list_empty(&w->ready);
        if (!over)
            return;
        w->take = NULL;
        err_set(&err, TTG_EAGAIN, "no chunk came in time");
        queue_finish(&t->call.request, TTG_EAGAIN, &err);
        return;
    }
    size_t count = 0;
    for (struct delivery *d; !w->ended && count < t->count && (d = next_ready(w));) {
        if (run_add(w, &count, d))
            break;
        list_remove(&d->link);
        w->ready_count--;
        d->taken = true;
        w->in_hand += !d->pulled;
    }
    w->take = NULL;
    t->runs = w->runs;
    t->run_count = count;
    queue_finish(&t->call.request, 0, NULL);
}

static void take(struct amqp_engine *e, struct queue_take *t)
{
    struct amqp_worker *w = e->worker;
    w->take = t;
    w->take_until_ms = loop_now_ms(e->queue.loop) + t->block_ms;
    pull_try(e);
    delivery_hand_out(e, t->block_ms == 0);
}

/* --- deliveries --- */

bool delivery_is_known(struct amqp_engine *e, uint64_t chunk, uint64_t tag, bool pulled)
{
    struct amqp_worker *w = e->worker;
    if (w->old_count == 0)
        return false;
    for (struct map_node *n = NULL; (n = map_next(&w->deliveries, n));) {
        struct delivery *d = container_of(n, struct delivery, node);
        if (d->chunk != chunk || d->gen == e->gen)
            continue;
        d->gen = e->gen;
        d->tag = tag;
        w->pulled += pulled;
        w->pulled -= d->pulled;
        d->pulled = pulled;
        w->old_count--;
        return true;
    }
    return false;
}

/* No task of ours: kept where people look, and out of the way. */
static void refuse(struct amqp_engine *e, const struct amqp_event *event, unsigned flags,
                   const char *why)
{
    struct move *m = move_new(e, event->tag, flags);
    struct amqp_call call = {.op = AMQP_PUBLISH,
                             .queue = str_of(e->names.dlq),
                             .reason = str_of(why),
                             .body = event->body};
    move_publish(e, m, &call);
    move_end(e, m);
    log_error("task.refused", kv_str("reason", why));
}

bool delivery_chunk(struct amqp_engine *e, const struct amqp_event *event, unsigned flags,
                    uint64_t *ret_chunk)
{
    struct message_task task;
    struct buf room;
    struct err err;
    buf_init(&room, MESSAGE_EXTRA_BYTES_MAX);
    int rc = message_read_task(&task, event->body, &room, &err);
    if (!rc && message_chunk_number(task.chunk_id, ret_chunk))
        rc = err_set(&err, TTG_EPROTO, "the chunk_id is no number");
    buf_done(&room);
    if (!rc && *ret_chunk < amqp_marker_chunks(&e->marker))
        return true;
    refuse(e, event, flags, rc ? err.text : "the job has no such chunk");
    return false;
}

struct delivery *delivery_new(struct amqp_engine *e, uint64_t chunk, const struct amqp_event *event)
{
    struct amqp_worker *w = e->worker;
    struct delivery *d = mem_zalloc(sizeof *d + event->body.len + event->extra.len);
    ensure(d != NULL); /* as in amqp_post */
    d->epoch = ++w->next_epoch;
    d->chunk = chunk;
    d->attempt = event->attempt > 0 ? event->attempt : 1;
    d->gen = e->gen;
    d->tag = event->tag;
    d->body_bytes = event->body.len;
    d->history_bytes = event->extra.len;
    memcpy(d->bytes, event->body.ptr, event->body.len);
    memcpy(d->bytes + event->body.len, event->extra.ptr, event->extra.len);
    int rc = map_add(&w->deliveries, &d->node, hash_u64(d->epoch));
    ensure(rc == 0);
    w->ready_count++;
    return d;
}

static void on_task(struct amqp_engine *e, const struct amqp_event *event)
{
    struct amqp_worker *w = e->worker;
    uint64_t chunk;
    if (!delivery_chunk(e, event, 0, &chunk) || delivery_is_known(e, chunk, event->tag, false))
        return;
    if (event->attempt > e->marker.spec.max_attempts) {
        pull_bury(e, chunk, event, 0);
    } else if (event->redelivered) {
        pull_redelivered(e, chunk, event);
    } else {
        list_push_back(&w->ready, &delivery_new(e, chunk, event)->link);
        delivery_hand_out(e, false);
    }
}

static void pause_or_go_on(struct amqp_engine *e, bool paused);

static void on_heard(struct amqp_engine *e, struct str what)
{
    struct amqp_worker *w = e->worker;
    if (str_eq(what, STR("suspect"))) {
        w->suspects = true;
        pull_try(e);
    } else if (str_eq(what, STR("paused")) || str_eq(what, STR("running"))) {
        pause_or_go_on(e, str_eq(what, STR("paused")));
    } else {
        w->ended = true;
        delivery_hand_out(e, false);
    }
}

/* --- giving back, leaving --- */

static void give_back_all(struct amqp_engine *e, bool taken)
{
    struct amqp_worker *w = e->worker;
    for (struct map_node *n = map_next(&w->deliveries, NULL), *next; n; n = next) {
        struct delivery *d = container_of(n, struct delivery, node);
        next = map_next(&w->deliveries, n);
        if (!d->taken || taken)
            give_back(e, d);
    }
}

static void pause_or_go_on(struct amqp_engine *e, bool paused)
{
    struct amqp_worker *w = e->worker;
    struct amqp_call call = {.op = AMQP_CANCEL, .tag = w->consumer};
    if (w->slots == 0 || w->ended || w->paused == paused)
        return;
    w->paused = paused;
    e->marker.state = paused ? LEDGER_PAUSED : LEDGER_RUNNING;
    if (!paused && !w->consuming) {
        consume(e, w->slots < PREFETCH_MAX ? w->slots : PREFETCH_MAX);
        w->suspects = true;
        pull_try(e);
    } else if (paused && w->consuming) {
        amqp_post(e, &call, NULL, NULL);
        w->consuming = false;
        give_back_all(e, false);
    }
}

static void release(struct amqp_engine *e, struct queue_release *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct delivery *d = delivery_find(e->worker, r->leases[i].epoch);
        if (d)
            give_back(e, d);
    }
    if (r->count == 0)
        give_back_all(e, true);
    pull_go_on(e);
    queue_finish(&r->call.request, 0, NULL);
}

/* What was given back is first to be where it belongs. */
static void left(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    struct queue_leave *l = w->leave;
    if (!l || w->moves > 0)
        return;
    w->leave = NULL;
    queue_finish(&l->call.request, 0, NULL);
}

static void on_canceled(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)event;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return;
    e->worker->leave = ctx;
    give_back_all(e, true);
    left(e);
}

/* Until the broker has stopped to deliver, something may be on its way to us. */
static void leave(struct amqp_engine *e, struct queue_leave *l)
{
    struct amqp_worker *w = e->worker;
    struct amqp_call call = {.op = AMQP_CANCEL, .tag = w->consumer};
    if (w->consumer == 0) {
        on_canceled(e, l, 0, NULL);
        return;
    }
    w->consuming = false;
    amqp_post(e, &call, on_canceled, l);
}

static void beat(struct amqp_engine *e, struct queue_beat *b)
{
    b->state = e->worker->ended ? LEDGER_FINISHED : LEDGER_RUNNING;
    b->outstanding = e->worker->deliveries.count;
    b->gone = NULL;
    b->gone_count = 0;
    queue_finish(&b->call.request, 0, NULL);
}

/* --- the engine's side --- */

static bool worker_make(struct amqp_engine *e)
{
    if (e->worker)
        return true;
    e->worker = mem_zalloc(sizeof *e->worker);
    if (!e->worker)
        return false;
    map_init(&e->worker->deliveries);
    list_init(&e->worker->ready);
    return true;
}

bool amqp_worker_send(struct amqp_engine *e, struct queue_request *r)
{
    if (r->verb < QUEUE_JOIN || r->verb > QUEUE_LEAVE || !worker_make(e))
        return false;
    switch (r->verb) {
    case QUEUE_JOIN:
        join(e, (struct queue_join *)r);
        return true;
    case QUEUE_TAKE:
        take(e, (struct queue_take *)r);
        return true;
    case QUEUE_COMMIT:
        delivery_commit(e, (struct queue_commit *)r);
        return true;
    case QUEUE_FAIL:
        delivery_fail(e, (struct queue_fail *)r);
        return true;
    case QUEUE_RELEASE:
        release(e, (struct queue_release *)r);
        return true;
    case QUEUE_BEAT:
        beat(e, (struct queue_beat *)r);
        return true;
    case QUEUE_LEAVE:
        leave(e, (struct queue_leave *)r);
        return true;
    default:
        return false;
    }
}

void amqp_worker_event(struct amqp_engine *e, const struct amqp_event *event)
{
    if (!e->worker)
        return;
    if (event->kind == AMQP_HEARD)
        on_heard(e, event->body);
    else
        on_task(e, event);
}

void amqp_worker_down(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    if (!w)
        return;
    w->listening = w->consuming = w->pulling = false;
    w->join = NULL;
    w->take = NULL;
    w->leave = NULL;
    /* What nobody has begun comes again by itself. */
    give_back_all(e, false);
    w->old_count = w->deliveries.count;
}

/* A job without a collector has ended when there is a result for each chunk, be it a failed one. */
static void on_counted(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_worker *w = e->worker;
    (void)ctx;
    if (rc || !event || event->count < amqp_marker_chunks(&e->marker))
        return;
    w->ended = true;
    delivery_hand_out(e, false);
}

static void look_for_end(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_COUNT, .queue = str_of(e->names.results)};
    e->worker->counts_ms = loop_now_ms(e->queue.loop) + COUNTS_MS;
    amqp_post(e, &call, on_counted, NULL);
}

/* Short chunks want more of them ahead, long ones none: others could run them. */
void amqp_worker_tick(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    if (!w)
        return;
    left(e);
    pull_tick(e);
    if (w->take && loop_now_ms(e->queue.loop) >= w->take_until_ms)
        delivery_hand_out(e, true);
    if (!w->consuming)
        return;
    if (e->marker.unattended && w->take && loop_now_ms(e->queue.loop) >= w->counts_ms)
        look_for_end(e);
    uint64_t most = w->prefetch, more = most * PREFETCH_STEP, slots = w->slots;
    w->quiet = w->done > 0 ? 0 : w->quiet + 1;
    if (w->dry && w->done > 0 && most < PREFETCH_MAX &&
        w->done_us / w->done * more < AHEAD_US * slots) {
        consume(e, (uint32_t)(more < PREFETCH_MAX ? more : PREFETCH_MAX));
    } else if (most > slots && w->quiet >= QUIET_TICKS && w->ready_count > 0) {
        consume(e, w->slots);
        while (w->ready_count > slots)
            give_back(e, container_of(w->ready.prev, struct delivery, link));
    }
    w->done = w->done_us = 0;
    w->dry = false;
}

bool amqp_worker_waits(const struct amqp_engine *e)
{
    const struct amqp_worker *w = e->worker;
    return w && w->consuming && !w->ended && w->deliveries.count == 0;
}

void amqp_worker_free(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    if (!w)
        return;
    for (struct map_node *n = map_next(&w->deliveries, NULL), *next; n; n = next) {
        next = map_next(&w->deliveries, n);
        mem_free(container_of(n, struct delivery, node));
    }
    map_done(&w->deliveries);
    mem_free(w->runs);
    mem_free(w);
    e->worker = NULL;
}
