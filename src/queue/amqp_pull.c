/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks whose worker died.
 *
 * The broker says of a message only that somebody had it before, not whether he began with it: he
 * may have had a hundred in advance. So such a message is not simply run. It moves to the queue
 * ttg.tasks.suspect, from which a worker takes one message at a time, and only when it can start it
 * at once. What comes back from there was started for sure, and is charged an attempt; a chunk that
 * kills its workers ends among the dead letters after as many starts as the job allows. The count
 * is in the message, so it needs no collector and outlives one.
 *
 * So while a worker has a suspect it has no more chunks in hand than slots, those included whose
 * results the broker does not have yet: else a chunk that kills its worker, suspect or not, would
 * count against suspects before and behind it. What it has beyond that when it hears of suspects
 * it does first, and gets nothing else until then.
 *
 * The first time, from ttg.tasks, it is a guess: a worker that has no more messages in advance than
 * it has slots runs long chunks, and so did, most likely, the one that died. Then an attempt is
 * charged; otherwise not. A chunk is in that place once at most. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/amqp_delivery.h"

#include <stdio.h>

/* Nobody says when a worker dies that had such a chunk: so often idle ones look, and busy ones. */
enum { IDLE_MS = 80, BUSY_MS = 1000 };

/* --- moving a message --- */

struct move *move_new(struct amqp_engine *e, uint64_t tag, unsigned flags)
{
    struct move *m = mem_zalloc(sizeof *m);
    ensure(m != NULL); /* as in amqp_post */
    *m = (struct move){.tag = tag, .gen = e->gen, .flags = flags, .left = 1};
    e->worker->moves++;
    return m;
}

static void step_done(struct amqp_engine *e, struct move *m, int rc)
{
    struct amqp_worker *w = e->worker;
    struct amqp_call call = {
        .op = rc || m->rc ? AMQP_NACK : AMQP_ACK, .tag = m->tag, .flags = m->flags};
    if (rc)
        m->rc = rc;
    if (--m->left > 0)
        return;
    if (m->gen == e->gen && e->queue.up)
        amqp_post(e, &call, NULL, NULL);
    w->moves--;
    if (!m->rc && m->to_suspects) {
        w->suspects = true;
        amqp_announce(e, STR("suspect"));
        pull_try(e);
    }
    mem_free(m);
}

static void on_published(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)event;
    step_done(e, ctx, rc);
}

void move_publish(struct amqp_engine *e, struct move *m, struct amqp_call *call)
{
    m->left++;
    amqp_post(e, call, on_published, m);
}

void move_end(struct amqp_engine *e, struct move *m)
{
    step_done(e, m, 0);
}

void pull_give_back(struct amqp_engine *e, const struct delivery *d)
{
    struct move *m = move_new(e, d->tag, d->pulled ? AMQP_ON_PULL : 0);
    struct amqp_call call = {.op = AMQP_PUBLISH,
                             .queue = str_of(d->pulled ? e->names.suspect : e->names.tasks),
                             .attempt = d->attempt,
                             .history = delivery_history(d),
                             .body = delivery_body(d)};
    m->to_suspects = d->pulled;
    move_publish(e, m, &call);
    move_end(e, m);
}

/* --- attempts that ended with their worker --- */

#define DIED "its worker died, or was cut off"

void pull_bury(struct amqp_engine *e, uint64_t chunk, const struct amqp_event *event,
               unsigned flags)
{
    struct move *m = move_new(e, event->tag, flags);
    uint64_t attempts = event->attempt > 1 ? event->attempt - 1 : 1;
    struct amqp_call call = {.op = AMQP_PUBLISH,
                             .queue = str_of(e->names.dlq),
                             .attempt = attempts,
                             .reason = STR(DIED),
                             .history = event->extra,
                             .body = event->body};
    move_publish(e, m, &call);
    call = delivery_note(e, chunk, attempts, "failed", STR(DIED));
    move_publish(e, m, &call);
    move_end(e, m);
    log_error("chunk.dead", kv_u64("chunk", chunk), kv_str("reason", DIED));
}

/* On to the suspects, with its attempt counted or not. */
static void suspect(struct amqp_engine *e, uint64_t chunk, const struct amqp_event *event,
                    unsigned flags, bool charge)
{
    struct move *m = move_new(e, event->tag, flags);
    uint64_t attempt = event->attempt > 0 ? event->attempt : 1;
    struct amqp_call call = {.op = AMQP_PUBLISH,
                             .queue = str_of(e->names.suspect),
                             .attempt = attempt + charge,
                             .history = event->extra,
                             .body = event->body};
    if (charge)
        call.history = delivery_history_with(e, event->extra, attempt, STR(DIED));
    m->to_suspects = true;
    move_publish(e, m, &call);
    if (charge) {
        call = delivery_note(e, chunk, attempt, "lost", STR(DIED));
        move_publish(e, m, &call);
    }
    move_end(e, m);
}

void pull_redelivered(struct amqp_engine *e, uint64_t chunk, const struct amqp_event *event)
{
    const struct amqp_worker *w = e->worker;
    bool charge = w->prefetch <= w->slots && e->marker.spec.max_attempts > 1;
    suspect(e, chunk, event, 0, charge);
}

/* --- taking one --- */

static void on_pulled(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct amqp_worker *w = e->worker;
    uint64_t chunk;
    (void)ctx;
    if (!event)
        return; /* cut */
    w->pulling = false;
    if (rc || !event->found) {
        w->suspects = false;
        delivery_hand_out(e, false);
        return;
    }
    if (!delivery_chunk(e, event, AMQP_ON_PULL, &chunk) ||
        delivery_is_known(e, chunk, event->tag, true)) {
        pull_try(e);
        delivery_hand_out(e, false);
        return;
    }
    if (event->redelivered && event->attempt >= e->marker.spec.max_attempts) {
        struct amqp_event last = *event; /* the attempt that just ended was the last one */
        last.attempt = (event->attempt > 0 ? event->attempt : 1) + 1;
        last.extra = delivery_history_with(e, event->extra, last.attempt - 1, STR(DIED));
        pull_bury(e, chunk, &last, AMQP_ON_PULL);
        pull_try(e);
    } else if (event->attempt > e->marker.spec.max_attempts) {
        pull_bury(e, chunk, event, AMQP_ON_PULL);
        pull_try(e);
    } else if (event->redelivered) {
        suspect(e, chunk, event, AMQP_ON_PULL, true);
    } else {
        struct delivery *d = delivery_new(e, chunk, event);
        d->pulled = true;
        w->pulled++;
        w->in_hand++;
        list_push_front(&w->ready, &d->link);
    }
    delivery_hand_out(e, false);
}

void pull_try(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    struct amqp_call call = {
        .op = AMQP_GET, .queue = str_of(e->names.suspect), .flags = AMQP_ON_PULL};
    if (!w->suspects || w->pulling || !w->take || w->ended || w->paused || !e->queue.up ||
        w->in_hand >= w->slots)
        return;
    w->pulling = true;
    w->suspects_ms = loop_now_ms(e->queue.loop) + IDLE_MS;
    amqp_post(e, &call, on_pulled, NULL);
}

void pull_go_on(struct amqp_engine *e)
{
    pull_try(e);
    delivery_hand_out(e, false);
}

bool pull_has_turn(const struct amqp_worker *w)
{
    return (w->suspects || w->pulled > 0) && w->in_hand >= w->slots;
}

/* --- looking for some --- */

static void on_counted(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)ctx;
    if (rc || !event || event->count == 0)
        return;
    e->worker->suspects = true;
    pull_try(e);
}

/* Who has more in hand than slots would have to stop for one: it asks first if there are any. */
void pull_tick(struct amqp_engine *e)
{
    struct amqp_worker *w = e->worker;
    struct amqp_call call = {.op = AMQP_COUNT, .queue = str_of(e->names.suspect)};
    uint64_t now_ms = loop_now_ms(e->queue.loop);
    if (w->in_hand < w->slots && now_ms >= w->suspects_ms) {
        w->suspects = true;
        pull_try(e);
    } else if (w->consuming && !w->suspects && now_ms >= w->suspects_ms + BUSY_MS) {
        w->suspects_ms = now_ms;
        amqp_post(e, &call, on_counted, NULL);
    }
}
