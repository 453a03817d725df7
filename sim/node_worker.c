/* SPDX-License-Identifier: Apache-2.0 */
/* A worker as docs/protocol.md wants it: takes ahead, starts in the order of taking, commits
 * without waiting, joins again with all it holds after a cut. And all that happens to workers:
 * killed, paused, cut off, told the same thing twice, late by minutes. */
#include "base/ensure.h"
#include "base/mem.h"
#include "sim/node_world.h"

#include <stdlib.h>

enum { ITEMS = 48, PENDING = 64, BATCH = 12, OLD = 32, AHEAD = 4, STORED = 32 };

enum item_state { ITEM_FREE, ITEM_QUEUED, ITEM_RUNNING, ITEM_DONE, ITEM_SENT };

enum pace { PACE_ANY, PACE_QUICK, PACE_SLOW, PACES };

struct item {
    enum item_state state;
    uint64_t chunk, epoch, order;
    uint64_t started_ms, took_ms;
};

enum asked { ASKED_JOIN, ASKED_TAKE, ASKED_COMMIT, ASKED_BEAT, ASKED_OTHER, ASKED_LEAVE };

struct pending {
    enum asked asked;
    size_t count;
    uint64_t sent_ms;
    uint64_t chunk[BATCH], epoch[BATCH], took_ms[BATCH];
};

struct worker {
    struct actor actor;
    int number;
    uint64_t incarnation, orders;
    uint32_t slots;
    enum pace pace;
    bool joined, paused, leaving, dead;
    struct item items[ITEMS];
    struct pending pending[PENDING]; /* answers come in this order */
    size_t pending_count;
    struct {
        struct sim_event event;
        size_t item;
        bool busy;
    } slot[WORLD_SLOTS_MAX];
    struct sim_event turn, wake;
    uint64_t beat_ms, rejoin_ms;
    uint64_t old_chunk[OLD], old_epoch[OLD];
    size_t old_count;
    char *stored[STORED]; /* answers that came while paused */
    size_t stored_len[STORED], stored_count;
};

static struct world *world_of(const struct worker *k)
{
    return k->actor.world;
}

static void ask(struct worker *k, enum asked asked, const struct pending *what)
{
    if (k->pending_count == PENDING) { /* nothing comes back: start anew */
        actor_cut(&k->actor, true);
        k->pending_count = 0;
        actor_connect(&k->actor, 10);
        return;
    }
    k->pending[k->pending_count] = what ? *what : (struct pending){0};
    k->pending[k->pending_count].sent_ms = world_of(k)->now_ms;
    k->pending[k->pending_count++].asked = asked;
}

static bool asking(const struct worker *k, enum asked asked)
{
    for (size_t i = 0; i < k->pending_count; i++)
        if (k->pending[i].asked == asked)
            return true;
    return false;
}

static size_t count_items(const struct worker *k, enum item_state from, enum item_state to)
{
    size_t count = 0;
    for (size_t i = 0; i < ITEMS; i++)
        count += k->items[i].state >= from && k->items[i].state <= to;
    return count;
}

static struct item *item_of(struct worker *k, uint64_t chunk)
{
    for (size_t i = 0; i < ITEMS; i++)
        if (k->items[i].state != ITEM_FREE && k->items[i].chunk == chunk)
            return &k->items[i];
    return NULL;
}

static void item_drop(struct worker *k, struct item *it)
{
    size_t index = (size_t)(it - k->items);
    for (size_t i = 0; i < WORLD_SLOTS_MAX; i++) {
        if (!k->slot[i].busy || k->slot[i].item != index)
            continue;
        k->slot[i].busy = false;
        world_cancel(world_of(k), &k->slot[i].event);
    }
    k->old_chunk[k->old_count % OLD] = it->chunk;
    k->old_epoch[k->old_count++ % OLD] = it->epoch;
    it->state = ITEM_FREE;
}

static void worker_turn(struct world *w, struct sim_event *e);

static void again_soon(struct worker *k, uint64_t ms)
{
    world_at(world_of(k), &k->turn, ms, worker_turn);
}

/* --- what it asks --- */

static void send_join(struct worker *k)
{
    char held[4096];
    size_t at = 0;
    for (size_t i = 0; i < ITEMS; i++)
        if (k->items[i].state != ITEM_FREE)
            at += (size_t)snprintf(held + at, sizeof held - at, " %llu %llu",
                                   (unsigned long long)k->items[i].chunk,
                                   (unsigned long long)k->items[i].epoch);
    held[at] = '\0';
    ask(k, ASKED_JOIN, NULL);
    actor_send(&k->actor, "TTG.JOIN default worker-%d %llu SLOTS %u INFLIGHT 64%s%s", k->number,
               (unsigned long long)k->incarnation, k->slots, at ? " HELD" : "", held);
}

static void send_commit(struct worker *k, const struct pending *p)
{
    char words[2048];
    size_t at = 0;
    for (size_t i = 0; i < p->count; i++)
        at += (size_t)snprintf(words + at, sizeof words - at, " %llu %llu %llu o %llu:%llu",
                               (unsigned long long)p->chunk[i], (unsigned long long)p->epoch[i],
                               (unsigned long long)p->took_ms[i] * 1000,
                               (unsigned long long)p->chunk[i], (unsigned long long)p->epoch[i]);
    ask(k, ASKED_COMMIT, p);
    actor_send(&k->actor, "TTG.COMMIT default worker-%d %llu%s", k->number,
               (unsigned long long)k->incarnation, words);
}

static void commit_done(struct worker *k)
{
    struct pending p = {0};
    for (size_t i = 0; i < ITEMS && p.count < BATCH; i++) {
        if (k->items[i].state != ITEM_DONE)
            continue;
        k->items[i].state = ITEM_SENT;
        p.chunk[p.count] = k->items[i].chunk;
        p.took_ms[p.count] = k->items[i].took_ms;
        p.epoch[p.count++] = k->items[i].epoch;
    }
    if (p.count == 0)
        return;
    send_commit(k, &p);
    if (world_chance(world_of(k), 0.02))
        send_commit(k, &p); /* twice */
}

/* Something it committed, lost or gave up long ago. */
static void commit_old(struct worker *k)
{
    if (k->old_count == 0)
        return;
    size_t i = world_below(world_of(k), k->old_count < OLD ? k->old_count : OLD);
    send_commit(
        k, &(struct pending){.count = 1, .chunk = {k->old_chunk[i]}, .epoch = {k->old_epoch[i]}});
}

static void send_beat(struct worker *k)
{
    char words[2048] = "";
    size_t at = 0;
    for (size_t i = 0; i < ITEMS; i++)
        if (k->items[i].state == ITEM_QUEUED)
            at += (size_t)snprintf(words + at, sizeof words - at, " %llu %llu",
                                   (unsigned long long)k->items[i].chunk,
                                   (unsigned long long)k->items[i].epoch);
    ask(k, ASKED_BEAT, NULL);
    actor_send(&k->actor, "TTG.BEAT default worker-%d %llu%s", k->number,
               (unsigned long long)k->incarnation, words);
    k->beat_ms = world_of(k)->now_ms + 800;
}

static void send_take(struct worker *k, size_t have)
{
    ask(k, ASKED_TAKE, NULL);
    actor_send(&k->actor, "TTG.TAKE default worker-%d %llu COUNT %d%s", k->number,
               (unsigned long long)k->incarnation, (int)(k->slots + AHEAD - have),
               have ? "" : " BLOCK 300");
}

/* --- running --- */

static void on_run(struct world *w, struct sim_event *e)
{
    struct worker *k = NULL;
    size_t slot = 0;
    for (int i = 0; i < WORLD_WORKERS; i++)
        for (size_t s = 0; s < WORLD_SLOTS_MAX; s++)
            if (w->workers[i] && &w->workers[i]->slot[s].event == e) {
                k = w->workers[i];
                slot = s;
            }
    ensure(k != NULL);
    if (k->paused) {
        world_at(w, e, 50, on_run);
        return;
    }
    struct item *it = &k->items[k->slot[slot].item];
    k->slot[slot].busy = false;
    it->state = ITEM_DONE;
    it->took_ms = w->now_ms - it->started_ms;
    bool fails = !world_healing(w) && world_chance(w, 0.02);
    if (fails && k->joined && k->actor.conn && !asking(k, ASKED_TAKE)) {
        ask(k, ASKED_OTHER, NULL);
        actor_send(&k->actor, "TTG.FAIL default worker-%d %llu %llu %llu RETRY no", k->number,
                   (unsigned long long)k->incarnation, (unsigned long long)it->chunk,
                   (unsigned long long)it->epoch);
        item_drop(k, it);
    }
    again_soon(k, 0);
}

static void start_chunks(struct worker *k)
{
    struct world *w = world_of(k);
    for (size_t s = 0; s < k->slots; s++) {
        struct item *first = NULL;
        for (size_t i = 0; i < ITEMS && !k->slot[s].busy; i++)
            if (k->items[i].state == ITEM_QUEUED && (!first || k->items[i].order < first->order))
                first = &k->items[i];
        if (!first)
            continue;
        first->state = ITEM_RUNNING;
        first->started_ms = w->now_ms;
        k->slot[s].busy = true;
        k->slot[s].item = (size_t)(first - k->items);
        uint64_t ms = world_chance(w, 0.02) ? 4000 : 20 + world_below(w, 300);
        if (k->pace != PACE_ANY && ms < 4000)
            ms = (k->pace == PACE_SLOW ? 500 : 20) + ms / 16;
        world_at(w, &k->slot[s].event, ms, on_run);
    }
}

static void worker_turn(struct world *w, struct sim_event *e)
{
    struct worker *k = container_of(e, struct worker, turn);
    if (k->paused || k->dead)
        return;
    start_chunks(k);
    /* While it waits for a take nothing else goes over this connection. */
    if (k->actor.conn && k->joined && !k->leaving && !asking(k, ASKED_TAKE)) {
        size_t have = count_items(k, ITEM_QUEUED, ITEM_RUNNING);
        commit_done(k);
        if (!world_healing(w) && world_chance(w, 0.01))
            commit_old(k);
        if (k->beat_ms <= w->now_ms)
            send_beat(k);
        if (have < k->slots + 1 &&
            count_items(k, ITEM_QUEUED, ITEM_SENT) + AHEAD + WORLD_SLOTS_MAX < ITEMS)
            send_take(k, have);
    }
    if (k->actor.conn && !k->joined && !asking(k, ASKED_JOIN) && k->rejoin_ms <= w->now_ms)
        send_join(k);
    again_soon(k, 20 + world_below(w, 50));
}

/* --- what it is told --- */

static void start_anew(struct worker *k)
{
    for (size_t i = 0; i < ITEMS; i++)
        if (k->items[i].state != ITEM_FREE)
            item_drop(k, &k->items[i]);
    k->incarnation = 1 + world_below(world_of(k), (uint64_t)1 << 62);
    k->slots = 1 + (uint32_t)world_below(world_of(k), WORLD_SLOTS_MAX);
    k->pace = (enum pace)(k->incarnation % PACES);
    k->joined = k->leaving = false;
    k->old_count = 0; /* another process knows nothing of it */
}

static void told_joined(struct worker *k, struct str at)
{
    struct reply_token t;
    while (reply_next(&at, &t) && !(t.type == '$' && str_eq(t.text, STR("held"))))
        ;
    reply_next(&at, &t);
    for (int64_t pairs = t.number / 2; pairs > 0; pairs--) {
        struct reply_token chunk, epoch;
        if (!reply_next(&at, &chunk) || !reply_next(&at, &epoch))
            break;
        struct item *it = item_of(k, (uint64_t)chunk.number);
        if (!it && epoch.number != 0) { /* given up while the join was on its way */
            ask(k, ASKED_OTHER, NULL);
            actor_send(&k->actor, "TTG.RELEASE default worker-%d %llu %lld %lld", k->number,
                       (unsigned long long)k->incarnation, (long long)chunk.number,
                       (long long)epoch.number);
        }
        if (!it)
            continue;
        if (epoch.number == 0) {
            item_drop(k, it);
            continue;
        }
        if (it->epoch != (uint64_t)epoch.number)
            check_granted(world_of(k)->check, it->chunk, (uint64_t)epoch.number, k->number,
                          k->incarnation, k->actor.conn && k->actor.conn->host_open);
        it->epoch = (uint64_t)epoch.number;
    }
    for (size_t i = 0; i < ITEMS; i++)
        if (k->items[i].state == ITEM_SENT)
            k->items[i].state = ITEM_DONE; /* commit again: the answer is what is missing */
    k->joined = true;
}

static void told_taken(struct worker *k, struct str at)
{
    struct reply_token t;
    reply_next(&at, &t);
    if (t.type != '*' || t.number < 1 || !reply_next(&at, &t))
        return;
    struct reply_token run[4];
    while (reply_next(&at, &run[0]) && reply_next(&at, &run[1]) && reply_next(&at, &run[2]) &&
           reply_next(&at, &run[3])) {
        for (int64_t i = 0; i < run[1].number; i++) {
            uint64_t chunk = (uint64_t)(run[0].number + i), epoch = (uint64_t)(run[2].number + i);
            struct item *it = item_of(k, chunk);
            check_granted(world_of(k)->check, chunk, epoch, k->number, k->incarnation,
                          k->actor.conn && k->actor.conn->host_open);
            if (it)
                item_drop(k, it); /* an older lease of it was lost */
            for (size_t n = 0; n < ITEMS; n++) {
                if (k->items[n].state != ITEM_FREE)
                    continue;
                k->items[n] = (struct item){ITEM_QUEUED, chunk, epoch, ++k->orders};
                break;
            }
        }
    }
}

static void told_committed(struct worker *k, const struct pending *p, struct str at)
{
    struct reply_token t, chunk, verdict;
    struct check *check = world_of(k)->check;
    const char *verdicts[BATCH] = {NULL};
    reply_next(&at, &t);
    reply_next(&at, &t);
    while (reply_next(&at, &chunk) && reply_next(&at, &verdict))
        for (size_t i = 0; i < p->count; i++)
            if (p->chunk[i] == (uint64_t)chunk.number)
                verdicts[i] = verdict.text.ptr;
    for (size_t i = 0; i < p->count; i++) {
        struct item *it = item_of(k, p->chunk[i]);
        bool stale = verdicts[i] && verdicts[i][0] == 's';
        if (stale)
            check_stale(check, p->chunk[i], p->epoch[i]);
        else if (!verdicts[i])
            check_accepted(check, p->chunk[i], p->epoch[i], p->sent_ms);
        else if (verdicts[i][0] == 'a')
            check_committed(check, p->chunk[i], p->epoch[i]);
        if (it && it->epoch == p->epoch[i])
            item_drop(k, it);
    }
}

static void told_error(struct worker *k, const struct pending *p, struct str text)
{
    if (str_starts(text, STR("-REPLACED"))) {
        start_anew(k);
    } else if (str_starts(text, STR("-LOST"))) {
        k->joined = false;
    } else {
        /* The disk is full. A failure that was not recorded: joining again, without the chunk,
         * gives it back. */
        k->rejoin_ms = world_of(k)->now_ms + 50;
        if (p->asked == ASKED_OTHER)
            k->joined = false;
        if (p->asked == ASKED_LEAVE)
            k->leaving = false;
        for (size_t i = 0; i < p->count; i++) {
            struct item *it = item_of(k, p->chunk[i]);
            if (it && it->state == ITEM_SENT)
                it->state = ITEM_DONE;
        }
    }
}

static void take_reply(struct worker *k, struct str reply)
{
    if (k->pending_count == 0)
        return;
    struct pending p = k->pending[0];
    memmove(&k->pending[0], &k->pending[1], --k->pending_count * sizeof p);
    if (reply.ptr[0] == '-') {
        told_error(k, &p, reply);
    } else if (p.asked == ASKED_JOIN) {
        told_joined(k, reply);
    } else if (p.asked == ASKED_TAKE) {
        told_taken(k, reply);
    } else if (p.asked == ASKED_COMMIT) {
        told_committed(k, &p, reply);
    } else if (p.asked == ASKED_LEAVE) {
        actor_cut(&k->actor, true);
        start_anew(k);
        k->pending_count = 0;
        actor_connect(&k->actor, world_below(world_of(k), 1000));
    } else if (p.asked == ASKED_BEAT) {
        struct reply_token t;
        reply_next(&reply, &t);
        reply_next(&reply, &t);
        reply_next(&reply, &t);
        while (reply_next(&reply, &t)) {
            struct item *it = item_of(k, (uint64_t)t.number);
            if (it && it->state == ITEM_QUEUED)
                item_drop(k, it);
        }
    }
}

static void on_open(struct actor *a)
{
    struct worker *k = container_of(a, struct worker, actor);
    k->pending_count = 0;
    k->joined = false;
    again_soon(k, 0);
}

static void on_reply(struct actor *a, struct str reply)
{
    struct worker *k = container_of(a, struct worker, actor);
    if (!k->paused) {
        take_reply(k, reply);
        again_soon(k, 0);
        return;
    }
    if (k->stored_count == STORED)
        return;
    k->stored[k->stored_count] = mem_dup(reply.ptr, reply.len);
    k->stored_len[k->stored_count++] = reply.len;
}

static void on_closed(struct actor *a)
{
    struct worker *k = container_of(a, struct worker, actor);
    k->joined = false;
    k->pending_count = 0;
    actor_connect(a, 5 + world_below(a->world, 200));
}

static const struct actor_ops ops = {on_open, on_reply, on_closed};

/* --- what happens to it --- */

static void drop_stored(struct worker *k)
{
    for (size_t i = 0; i < k->stored_count; i++)
        mem_free(k->stored[i]);
    k->stored_count = 0;
}

static void on_wake(struct world *w, struct sim_event *e)
{
    struct worker *k = container_of(e, struct worker, wake);
    (void)w;
    k->paused = k->dead = false;
    for (size_t i = 0; i < k->stored_count && k->actor.conn; i++)
        take_reply(k, str_make(k->stored[i], k->stored_len[i]));
    drop_stored(k);
    if (!k->actor.conn)
        actor_connect(&k->actor, 0);
    again_soon(k, 0);
}

void sim_worker_fault(struct worker *k)
{
    struct world *w = world_of(k);
    if (k->paused || k->dead)
        return;
    switch (world_below(w, 5)) {
    case 0: /* killed; somebody starts it again */
        actor_cut(&k->actor, world_chance(w, 0.8));
        start_anew(k);
        k->pending_count = 0;
        k->dead = true;
        world_at(w, &k->wake, world_below(w, w->storm_ms ? 40000 : 2500), on_wake);
        break;
    case 1:
        w->pauses++;
        k->paused = true;
        world_at(w, &k->wake, world_below(w, 8000), on_wake);
        break;
    case 2:
    case 3:
        actor_cut(&k->actor, world_chance(w, 0.6));
        k->pending_count = 0;
        k->joined = false;
        actor_connect(&k->actor, world_below(w, 3500));
        break;
    default:
        if (!k->actor.conn || !k->joined || k->leaving || asking(k, ASKED_TAKE))
            break;
        k->leaving = true;
        ask(k, ASKED_LEAVE, NULL);
        actor_send(&k->actor, "TTG.LEAVE default worker-%d %llu", k->number,
                   (unsigned long long)k->incarnation);
    }
}

struct worker *sim_worker_new(struct world *w, int number)
{
    struct worker *k = mem_zalloc(sizeof *k);
    if (!k)
        abort();
    k->actor = (struct actor){.world = w, .ops = &ops};
    k->number = number;
    start_anew(k);
    actor_connect(&k->actor, world_below(w, 500));
    again_soon(k, 1);
    return k;
}

void sim_worker_free(struct worker *k)
{
    struct world *w = world_of(k);
    world_cancel(w, &k->turn);
    world_cancel(w, &k->wake);
    world_cancel(w, &k->actor.connect);
    for (size_t s = 0; s < WORLD_SLOTS_MAX; s++)
        world_cancel(w, &k->slot[s].event);
    drop_stored(k);
    mem_free(k);
}

void sim_worker_trace(struct worker *k)
{
    world_trace(world_of(k),
                "worker-%d %llu%s%s%s%s%s: %zu queued, %zu running, %zu done, %zu sent, %zu asked",
                k->number, (unsigned long long)k->incarnation, k->actor.conn ? "" : " cut",
                k->joined ? "" : " not joined", k->paused ? " paused" : "", k->dead ? " dead" : "",
                k->leaving ? " leaving" : "", count_items(k, ITEM_QUEUED, ITEM_QUEUED),
                count_items(k, ITEM_RUNNING, ITEM_RUNNING), count_items(k, ITEM_DONE, ITEM_DONE),
                count_items(k, ITEM_SENT, ITEM_SENT), k->pending_count);
}
