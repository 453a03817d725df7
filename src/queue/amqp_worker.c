/* SPDX-License-Identifier: Apache-2.0 */
/* A worker on a RabbitMQ broker.
 *
 * Deliveries are pushed to us, as many ahead as the chunks are short; a take hands them on. What a
 * worker holds the broker keeps as unacknowledged, and gives to others when the connection goes. A
 * result is published and confirmed before its delivery is acknowledged; in between, everything may
 * die, and then the chunk comes twice and the collector drops the copy. A failure goes to the retry
 * queue with its attempt counted up, in the same order: published, confirmed, acknowledged.
 *
 * After a cut the worker goes on with what it runs and publishes it over the new connection. The
 * copy that the broker delivers meanwhile is recognized when it comes back here. */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/amqp.h"
#include "wire/message.h"

enum {
    PREFETCH_MAX = 1024,
    PREFETCH_STEP = 4,
    COUNTS_MS = 500,
    LOOKS_MAX = 200, /* for a marker that others are just looking at */
};

/* One delivery, from its coming to its acknowledgement. */
struct delivery {
    struct map_node node; /* by epoch */
    struct list link;     /* while it waits for a take */
    uint64_t epoch, chunk, attempt, gen, tag;
    bool taken, redelivered;
    size_t body_bytes;
    char body[];
};

struct amqp_worker {
    struct map deliveries;
    struct list ready;
    size_t ready_count, old_count; /* old: of an earlier connection */
    uint64_t next_epoch, consumer, looks;
    uint32_t slots, prefetch;
    uint64_t came; /* deliveries since the last tick */
    bool listening, consuming, ended, dry;
    uint64_t counts_ms; /* an unattended job: when its end is looked for again */
    struct queue_join *join;
    struct queue_take *take;
    uint64_t take_until_ms;
    struct ledger_run *runs;
    size_t run_room;
};

static bool same_epoch(const struct map_node *n, const void *key)
{
    return container_of(n, struct delivery, node)->epoch == *(const uint64_t *)key;
}

static struct delivery *find(struct amqp_worker *w, uint64_t epoch)
{
    struct map_node *n = map_find(&w->deliveries, hash_u64(epoch), same_epoch, &epoch);
    return n ? container_of(n, struct delivery, node) : NULL;
}

static void delivery_free(struct amqp_engine *e, struct delivery *d)
{
    struct amqp_worker *w = e->worker;
    if (!d->taken) {
        list_remove(&d->link);
        w->ready_count--;
    }
    if (d->gen != e->gen && w->old_count > 0)
        w->old_count--;
    map_remove(&w->deliveries, &d->node);
    mem_free(d);
}

static void acknowledge(struct amqp_engine *e, const struct delivery *d)
{
    struct amqp_call call = {.op = AMQP_ACK, .tag = d->tag};
    if (d->gen == e->gen && e->queue.up)
        amqp_post(e, &call, NULL, NULL);
}

static void give_back(struct amqp_engine *e, struct delivery *d)
{
    struct amqp_call call = {.op = AMQP_NACK, .tag = d->tag};
    if (d->gen == e->gen && e->queue.up)
        amqp_post(e, &call, NULL, NULL);
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
    j->version = STR("");
    j->first = s->first;
    j->params_total = s->params;
    j->chunk_params = s->chunk_params;
    j->chunks = amqp_marker_chunks(&e->marker);
    j->max_attempts = s->max_attempts;
    j->kernel = s->kernel;
    j->input = s->input;
    w->slots = j->slots;
    if (j->state < LEDGER_FINISHED && !w->consuming)
        consume(e, w->slots < PREFETCH_MAX ? w->slots : PREFETCH_MAX);
    /* What it holds it keeps: a lease here is nothing but the work itself. */
    for (size_t i = 0; i < j->held_count; i++) {
        struct delivery *d = find(w, j->held[i].epoch);
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
    rc = amqp_marker_read(&e->marker, event->body, &err);
    struct amqp_call call = {.op = AMQP_NACK, .tag = event->tag, .flags = AMQP_ON_GET};
    amqp_post(e, &call, NULL, NULL);
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

/* Answers the take that waits, when there is an answer. */
static void take_try(struct amqp_engine *e, bool over)
{
    struct amqp_worker *w = e->worker;
    struct queue_take *t = w->take;
    struct err err;
    if (!t)
        return;
    t->runs = NULL;
    t->run_count = 0;
    t->state = w->ended ? LEDGER_FINISHED : LEDGER_RUNNING;
    if (!w->ended && list_empty(&w->ready)) {
        w->dry = true;
        if (!over)
            return;
        w->take = NULL;
        err_set(&err, TTG_EAGAIN, "no chunk came in time");
        queue_finish(&t->call.request, TTG_EAGAIN, &err);
        return;
    }
    size_t count = 0;
    while (!w->ended && count < t->count && !list_empty(&w->ready)) {
        struct delivery *d = container_of(list_first(&w->ready), struct delivery, link);
        if (run_add(w, &count, d))
            break;
        list_remove(&d->link);
        w->ready_count--;
        d->taken = true;
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
    take_try(e, t->block_ms == 0);
}

/* --- deliveries --- */

/* A copy of what we still hold from the connection before: only its tag is new. */
static bool known_copy(struct amqp_engine *e, uint64_t chunk, uint64_t tag)
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
        w->old_count--;
        return true;
    }
    return false;
}

/* No task of ours: kept where people look, and out of the way. */
static void refuse(struct amqp_engine *e, const struct amqp_event *event, const char *why)
{
    struct amqp_call call = {.op = AMQP_PUBLISH,
                             .queue = str_of(e->names.dlq),
                             .reason = str_of(why),
                             .body = event->body};
    amqp_post(e, &call, NULL, NULL);
    call = (struct amqp_call){.op = AMQP_ACK, .tag = event->tag};
    amqp_post(e, &call, NULL, NULL);
    log_error("task.refused", kv_str("reason", why));
}

static void on_task(struct amqp_engine *e, const struct amqp_event *event)
{
    struct amqp_worker *w = e->worker;
    struct message_task task;
    struct buf room;
    struct err err;
    uint64_t chunk = 0;
    buf_init(&room, MESSAGE_EXTRA_BYTES_MAX);
    int rc = message_read_task(&task, event->body, &room, &err);
    if (!rc)
        rc = message_chunk_number(task.chunk_id, &chunk);
    buf_done(&room);
    w->came++;
    if (rc || chunk >= amqp_marker_chunks(&e->marker)) {
        refuse(e, event, rc ? err.text : "the job has no such chunk");
        return;
    }
    if (known_copy(e, chunk, event->tag))
        return;
    struct delivery *d = mem_zalloc(sizeof *d + event->body.len);
    ensure(d != NULL); /* as in amqp_post */
    d->epoch = ++w->next_epoch;
    d->chunk = chunk;
    d->attempt = event->attempt > 0 ? event->attempt : 1;
    d->gen = e->gen;
    d->tag = event->tag;
    d->redelivered = event->redelivered;
    d->body_bytes = event->body.len;
    memcpy(d->body, event->body.ptr, event->body.len);
    rc = map_add(&w->deliveries, &d->node, hash_u64(d->epoch));
    ensure(rc == 0);
    list_push_back(&w->ready, &d->link);
    w->ready_count++;
    take_try(e, false);
}

static void on_heard(struct amqp_engine *e)
{
    e->worker->ended = true;
    take_try(e, false);
}

/* --- results --- */

struct commit_group {
    struct queue_commit *commit;
    size_t left;
    int rc;
    struct queue_verdict *verdicts;
    size_t verdict_count;
};
struct commit_item {
    struct commit_group *group;
    uint64_t epoch;
};

static void group_end(struct commit_group *g)
{
    struct queue_commit *c = g->commit;
    struct err err;
    c->verdicts = g->verdicts;
    c->verdict_count = g->verdict_count;
    c->accepted = c->count - g->verdict_count;
    if (g->rc == TTG_EFULL)
        err_set(&err, g->rc, "the broker could not keep the results");
    else if (g->rc)
        err_set(&err, g->rc, "the connection was cut");
    if (g->rc != TTG_ECANCELED && queue_request_busy(&c->call.request))
        queue_finish(&c->call.request, g->rc, g->rc ? &err : NULL);
    mem_free(g->verdicts);
    mem_free(g);
}

static void on_published(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct commit_item *item = ctx;
    struct commit_group *g = item->group;
    struct delivery *d = find(e->worker, item->epoch);
    (void)event;
    if (rc) {
        g->rc = rc;
    } else if (d) {
        acknowledge(e, d);
        delivery_free(e, d);
    }
    mem_free(item);
    if (--g->left == 0)
        group_end(g);
}

static int add_result(struct amqp_engine *e, const struct queue_commit *c,
                      const struct queue_result *r, const struct delivery *d)
{
    char id[MESSAGE_CHUNK_ID_BYTES], now[CLOCK_TEXT_BYTES];
    const struct ledger_spec *s = &e->marker.spec;
    int64_t first = (int64_t)((uint64_t)s->first + r->chunk * s->chunk_params);
    clock_text(now, amqp_wall_ms());
    struct message_result m = {
        .chunk_id = str_make(id, message_chunk_id(id, r->chunk)),
        .has_range = true,
        .start_param = first,
        .end_param = (int64_t)((uint64_t)first + r->params - 1),
        .worker_id = c->worker.name,
        .attempt = d->attempt,
        .status = STR("complete"),
        .params_processed = r->params,
        .duration_seconds = (double)r->duration_us / 1e6,
        .completed_at = str_of(now),
        .value = r->is_sum ? MESSAGE_SUM : MESSAGE_OUTPUT,
        .sum = r->sum,
        .count = r->params,
        .text = r->is_sum ? STR("") : r->output,
        .extra = d->redelivered ? STR("\"redelivered\":true") : STR(""),
    };
    buf_clear(&e->text);
    return message_add_result(&e->text, &m);
}

static void commit(struct amqp_engine *e, struct queue_commit *c)
{
    struct amqp_worker *w = e->worker;
    struct commit_group *g = mem_zalloc(sizeof *g);
    ensure(g != NULL);
    g->commit = c;
    g->left = 1;
    g->verdicts = mem_array(c->count, sizeof *g->verdicts);
    ensure(g->verdicts != NULL);
    for (size_t i = 0; i < c->count; i++) {
        const struct queue_result *r = &c->results[i];
        struct delivery *d = find(w, r->epoch);
        if (!d) {
            g->verdicts[g->verdict_count++] = (struct queue_verdict){r->chunk, LEDGER_STALE};
            continue;
        }
        if (add_result(e, c, r, d)) {
            g->rc = TTG_ENOMEM;
            continue;
        }
        struct commit_item *item = mem_zalloc(sizeof *item);
        ensure(item != NULL);
        *item = (struct commit_item){g, r->epoch};
        g->left++;
        struct amqp_call call = {
            .op = AMQP_PUBLISH, .queue = str_of(e->names.results), .body = buf_str(&e->text)};
        amqp_post(e, &call, on_published, item);
    }
    if (--g->left == 0)
        group_end(g);
}

/* --- failures --- */

static void fail_end(struct amqp_engine *e, struct queue_fail *f, int rc)
{
    struct delivery *d = find(e->worker, f->epoch);
    struct err err;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return; /* the request ends with the connection */
    if (!rc && d) {
        acknowledge(e, d);
        delivery_free(e, d);
    }
    if (rc)
        err_set(&err, rc, "the broker could not keep the failure");
    queue_finish(&f->call.request, rc, rc ? &err : NULL);
}

static void on_failure_kept(struct amqp_engine *e, void *ctx, int rc,
                            const struct amqp_event *event)
{
    (void)event;
    fail_end(e, ctx, rc);
}

static void tell_dead(struct amqp_engine *e, struct queue_fail *f)
{
    struct delivery *d = find(e->worker, f->epoch);
    char id[MESSAGE_CHUNK_ID_BYTES], now[CLOCK_TEXT_BYTES];
    clock_text(now, amqp_wall_ms());
    struct message_result m = {
        .chunk_id = str_make(id, message_chunk_id(id, f->chunk)),
        .worker_id = f->worker.name,
        .attempt = d ? d->attempt : 0,
        .status = STR("failed"),
        .completed_at = str_of(now),
    };
    buf_clear(&e->text);
    int rc = message_add_result(&e->text, &m);
    ensure(rc == 0);
    struct amqp_call call = {.op = AMQP_PUBLISH,
                             .queue = str_of(e->names.results),
                             .reason = f->reason,
                             .body = buf_str(&e->text)};
    amqp_post(e, &call, on_failure_kept, f);
}

static void on_dead_kept(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct queue_fail *f = ctx;
    (void)event;
    if (rc)
        fail_end(e, f, rc);
    else
        tell_dead(e, f);
}

static void fail(struct amqp_engine *e, struct queue_fail *f)
{
    struct delivery *d = find(e->worker, f->epoch);
    const struct ledger_spec *s = &e->marker.spec;
    char queue[AMQP_NAME_BYTES];
    f->retry_ms = 0;
    if (!d) {
        f->fate = LEDGER_FAIL_STALE;
        queue_finish(&f->call.request, 0, NULL);
        return;
    }
    struct amqp_call call = {.op = AMQP_PUBLISH,
                             .attempt = d->attempt,
                             .reason = f->reason,
                             .body = str_make(d->body, d->body_bytes)};
    if (f->final || d->attempt >= s->max_attempts) {
        f->fate = LEDGER_DEAD;
        call.queue = str_of(e->names.dlq);
        amqp_post(e, &call, on_dead_kept, f);
        return;
    }
    f->fate = LEDGER_RETRY;
    f->retry_ms = amqp_retry_ms(s, d->attempt);
    call.attempt++;
    call.queue = str_of(e->names.tasks);
    if (f->retry_ms > 0) {
        amqp_retry_name(&e->names, (uint32_t)f->retry_ms, queue);
        struct amqp_call there = {.op = AMQP_DECLARE,
                                  .queue = str_of(queue),
                                  .number = (uint32_t)f->retry_ms,
                                  .dead_to = str_of(e->names.tasks)};
        amqp_post(e, &there, NULL, NULL);
        call.queue = str_of(queue);
    }
    amqp_post(e, &call, on_failure_kept, f);
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

static void release(struct amqp_engine *e, struct queue_release *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct delivery *d = find(e->worker, r->leases[i].epoch);
        if (d)
            give_back(e, d);
    }
    if (r->count == 0)
        give_back_all(e, true);
    queue_finish(&r->call.request, 0, NULL);
}

static void on_left(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct queue_leave *l = ctx;
    (void)event;
    if (rc == TTG_ECLOSED || rc == TTG_ECANCELED)
        return;
    give_back_all(e, true);
    queue_finish(&l->call.request, 0, NULL);
}

static void leave(struct amqp_engine *e, struct queue_leave *l)
{
    struct amqp_worker *w = e->worker;
    if (!w->consuming) {
        queue_finish(&l->call.request, 0, NULL);
        return;
    }
    w->consuming = false;
    struct amqp_call call = {.op = AMQP_CANCEL, .tag = w->consumer};
    amqp_post(e, &call, on_left, l);
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
        commit(e, (struct queue_commit *)r);
        return true;
    case QUEUE_FAIL:
        fail(e, (struct queue_fail *)r);
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
        on_heard(e);
    else
        on_task(e, event);
}

void amqp_worker_down(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    if (!w)
        return;
    w->listening = w->consuming = false;
    w->join = NULL;
    w->take = NULL;
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
    take_try(e, false);
}

static void look_for_end(struct amqp_engine *e)
{
    struct amqp_call call = {.op = AMQP_DECLARE, .queue = str_of(e->names.results)};
    e->worker->counts_ms = loop_now_ms(e->queue.loop) + COUNTS_MS;
    amqp_post(e, &call, on_counted, NULL);
}

/* Short chunks want more of them ahead, long ones none: others could run them. */
void amqp_worker_tick(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    if (!w)
        return;
    if (w->take && loop_now_ms(e->queue.loop) >= w->take_until_ms)
        take_try(e, true);
    if (!w->consuming)
        return;
    if (e->marker.unattended && w->take && loop_now_ms(e->queue.loop) >= w->counts_ms)
        look_for_end(e);
    uint64_t came = w->came, most = w->prefetch;
    w->came = 0;
    if (w->dry && came > 2 * most && most < PREFETCH_MAX) {
        uint64_t more = most * PREFETCH_STEP;
        consume(e, (uint32_t)(more < PREFETCH_MAX ? more : PREFETCH_MAX));
    } else if (most > w->slots && came < most / 16) {
        consume(e, w->slots);
        while (w->ready_count > w->slots)
            give_back(e, container_of(w->ready.prev, struct delivery, link));
    }
    w->dry = false;
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
