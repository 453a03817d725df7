/* SPDX-License-Identifier: Apache-2.0 */
/* The submitter, which repeats itself until it is told yes; the collector with its cursor; and a
 * plain Redis consumer that follows the playbook and often dies half-way. */
#include "base/mem.h"
#include "core/ledger.h"
#include "sim/node_world.h"

#include <stdlib.h>

struct submitter {
    struct actor actor;
    struct sim_event turn;
    bool created, waiting;
};

struct collector {
    struct actor actor;
    struct sim_event turn;
    uint64_t cursor;
    bool waiting, trim;
};

enum plain_step { PLAIN_READ, PLAIN_WORK, PLAIN_ADD, PLAIN_ACK };

struct plain {
    struct actor actor;
    struct sim_event turn;
    enum plain_step step;
    bool waiting;
    char id[48];
    uint64_t chunk;
};

struct clients {
    struct submitter submitter;
    struct collector collector;
    struct plain plain;
};

/* --- submitter --- */

static void submit_turn(struct world *w, struct sim_event *e)
{
    struct submitter *s = container_of(e, struct submitter, turn);
    if (s->actor.conn && !s->waiting && !s->created) {
        s->waiting = true;
        actor_send(&s->actor,
                   "TTG.JOB CREATE default FIRST 0 LAST %llu CHUNK 7 WINDOW 64 MAXATTEMPTS 100000 "
                   "RETRYMIN 20 RETRYMAX 500 STALE 2500",
                   (unsigned long long)(w->chunks * 7 - 1));
    }
    if (!s->created)
        world_at(w, e, 50 + world_below(w, 100), submit_turn);
}

static void submit_open(struct actor *a)
{
    container_of(a, struct submitter, actor)->waiting = false;
}

static void submit_reply(struct actor *a, struct str reply)
{
    struct submitter *s = container_of(a, struct submitter, actor);
    s->waiting = false;
    s->created |= reply.ptr[0] == '*';
    if (str_starts(reply, STR("-JOBEXISTS")))
        world_fail(a->world, "the same job is refused: %.*s", STR_ARG(reply));
    if (str_starts(reply, STR("-JOBENDED")))
        s->created = true;
}

static void submit_closed(struct actor *a)
{
    actor_connect(a, 20 + world_below(a->world, 100));
}

static const struct actor_ops submit_ops = {submit_open, submit_reply, submit_closed};

/* --- collector --- */

static void collect_turn(struct world *w, struct sim_event *e)
{
    struct collector *c = container_of(e, struct collector, turn);
    if (c->actor.conn && !c->waiting) {
        c->waiting = true;
        if (c->trim)
            actor_send(&c->actor, "TTG.TRIM default %llu", (unsigned long long)c->cursor);
        else
            actor_send(&c->actor, "TTG.RESULTS default %llu COUNT 20 BLOCK 200 JSON",
                       (unsigned long long)c->cursor);
    }
    world_at(w, e, 10 + world_below(w, 50), collect_turn);
}

static void collect_open(struct actor *a)
{
    container_of(a, struct collector, actor)->waiting = false;
}

static void collect_reply(struct actor *a, struct str reply)
{
    struct collector *c = container_of(a, struct collector, actor);
    struct reply_token t, last, ended, first;
    bool trimmed = c->trim;
    c->waiting = c->trim = false;
    if (str_starts(reply, STR("-CURSOR")))
        world_fail(a->world, "results that were given out are gone: %.*s", STR_ARG(reply));
    if (trimmed || !reply_next(&reply, &t) || t.type != '*' || t.number != 4)
        return;
    reply_next(&reply, &last);
    reply_next(&reply, &ended);
    reply_next(&reply, &first);
    reply_next(&reply, &t);
    if ((uint64_t)first.number > c->cursor + 1)
        world_fail(a->world, "results were trimmed before they were collected");
    struct str rest = t.text;
    while (rest.ptr && rest.len > 0) {
        struct str line = str_cut(rest, '\n', &rest);
        check_result(a->world->check, line);
    }
    c->cursor = (uint64_t)last.number;
    c->trim = world_chance(a->world, 0.2);
    if (ended.number)
        a->world->finished = true;
}

static void collect_closed(struct actor *a)
{
    actor_connect(a, 20 + world_below(a->world, 100));
}

static const struct actor_ops collect_ops = {collect_open, collect_reply, collect_closed};

/* --- plain consumer --- */

static void plain_send(struct plain *p)
{
    p->waiting = true;
    switch (p->step) {
    case PLAIN_READ:
        actor_send(&p->actor,
                   "XREADGROUP GROUP ttg-workers plain COUNT 1 BLOCK 500 STREAMS ttg:tasks >");
        break;
    case PLAIN_WORK:
        p->waiting = false;
        p->step = PLAIN_ADD;
        break;
    case PLAIN_ADD:
        actor_send(
            &p->actor,
            "XADD ttg:results * chunk_id %05llu worker_id plain status complete output plain",
            (unsigned long long)p->chunk);
        break;
    case PLAIN_ACK:
        actor_send(&p->actor, "XACK ttg:tasks ttg-workers %s", p->id);
    }
}

static void plain_turn(struct world *w, struct sim_event *e)
{
    struct plain *p = container_of(e, struct plain, turn);
    /* It forgets what it was doing. */
    if (!world_healing(w) && !p->waiting && world_chance(w, 0.05))
        p->step = PLAIN_READ;
    if (!world_healing(w) && !p->waiting && p->step == PLAIN_ADD && world_chance(w, 0.05))
        p->step = PLAIN_ACK; /* without a result */
    if (p->actor.conn && !p->waiting)
        plain_send(p);
    world_at(w, e, 100 + world_below(w, 300), plain_turn);
}

static void plain_open(struct actor *a)
{
    container_of(a, struct plain, actor)->waiting = false;
}

static void plain_reply(struct actor *a, struct str reply)
{
    struct plain *p = container_of(a, struct plain, actor);
    struct reply_token t;
    p->waiting = false;
    if (reply.ptr[0] == '-')
        return;
    if (p->step == PLAIN_ADD) {
        p->step = world_chance(a->world, 0.1) ? PLAIN_ADD : PLAIN_ACK; /* twice, sometimes */
    } else if (p->step == PLAIN_ACK) {
        p->step = PLAIN_READ;
    } else if (p->step == PLAIN_READ) {
        /* key, id, then the fields: chunk_id comes first */
        int texts = 0;
        while (reply_next(&reply, &t)) {
            if (t.type != '$')
                continue;
            texts++;
            if (texts == 2)
                snprintf(p->id, sizeof p->id, "%.*s", STR_ARG(t.text));
            if (texts == 4) {
                p->chunk = (uint64_t)t.number;
                p->step = PLAIN_WORK;
                break;
            }
        }
    }
}

static void plain_closed(struct actor *a)
{
    actor_connect(a, 20 + world_below(a->world, 100));
}

static const struct actor_ops plain_ops = {plain_open, plain_reply, plain_closed};

/* --- all three --- */

void clients_fault(struct clients *c)
{
    struct world *w = c->submitter.actor.world;
    struct actor *const actors[] = {&c->submitter.actor, &c->collector.actor, &c->plain.actor};
    struct actor *a = actors[world_below(w, 3)];
    actor_cut(a, world_chance(w, 0.7));
    actor_connect(a, world_below(w, 2000));
}

struct clients *clients_new(struct world *w)
{
    struct clients *c = mem_zalloc(sizeof *c);
    if (!c)
        abort();
    c->submitter.actor = (struct actor){.world = w, .ops = &submit_ops};
    c->collector.actor = (struct actor){.world = w, .ops = &collect_ops};
    c->plain.actor = (struct actor){.world = w, .ops = &plain_ops};
    actor_connect(&c->submitter.actor, 1);
    actor_connect(&c->collector.actor, 50);
    world_at(w, &c->submitter.turn, 5, submit_turn);
    world_at(w, &c->collector.turn, 60, collect_turn);
    if (world_chance(w, 0.5)) {
        actor_connect(&c->plain.actor, 100);
        world_at(w, &c->plain.turn, 200, plain_turn);
    }
    return c;
}

void clients_free(struct clients *c)
{
    struct world *w = c->submitter.actor.world;
    struct sim_event *const events[] = {
        &c->submitter.turn,          &c->collector.turn,          &c->plain.turn,
        &c->submitter.actor.connect, &c->collector.actor.connect, &c->plain.actor.connect};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        world_cancel(w, events[i]);
    mem_free(c);
}
