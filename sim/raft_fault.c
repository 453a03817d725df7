/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong, and when. Each kind of fault has a clock of its own. */
#include "base/ensure.h"
#include "sim/raft_inner.h"

#include <math.h>
#include <string.h>

const char *const vw_fault_names[VW_FAULT_COUNT] = {
#define X(name, text) text,
    VW_FAULTS(X)
#undef X
};

static bool is_timed(enum vw_fault f)
{
    return f != VW_DROP && f != VW_DELAY && f != VW_REORDER && f != VW_DUPLICATE && f != VW_TORN &&
           f != VW_MEMBER && f != VW_TRANSFER && f != VW_SNAPCUT && f != VW_HUNT && f != VW_MEMORY;
}

static void schedule(struct world *w, enum vw_fault f)
{
    double wait = -log(1 - prng_unit(&w->chaos)) * 1e6 / w->plan.rate[f];
    vw_push(w, w->now + 1 + (uint64_t)wait,
            (struct vw_event){.kind = VW_EV_FAULT, .a = (uint32_t)f});
}

void vw_fault_start(struct world *w)
{
    for (int f = 0; f < VW_FAULT_COUNT; f++)
        if (is_timed((enum vw_fault)f) && w->plan.faults >> f & 1)
            schedule(w, (enum vw_fault)f);
}

static uint64_t between(struct world *w, uint64_t low, uint64_t high)
{
    return low + prng_below(&w->chaos, high - low + 1);
}

/* Half the time a leader: that is where it hurts. */
static struct vw_node *victim(struct world *w)
{
    struct vw_node *n = &w->nodes[1 + prng_below(&w->chaos, w->places)];
    uint32_t g = (uint32_t)prng_below(&w->chaos, w->plan.groups);
    struct vw_node *leader = vw_find_leader(w, g);
    return leader && prng_chance(&w->chaos, 0.5) ? leader : n;
}

static void end_later(struct world *w, enum vw_fault f, const struct vw_node *n, uint64_t us)
{
    vw_push(w, w->now + us,
            (struct vw_event){.kind = VW_EV_END_FAULT,
                              .a = (uint32_t)f,
                              .node = n ? (uint8_t)n->place : 0,
                              .life = n ? n->life : 0,
                              .b = w->partition});
}

static void restart_later(struct world *w, const struct vw_node *n)
{
    uint64_t us =
        prng_chance(&w->chaos, w->plan.quick) ? between(w, 1000, 30000) : between(w, 30000, 900000);
    vw_push(w, w->now + us, (struct vw_event){.kind = VW_EV_START, .node = (uint8_t)n->place});
}

static void crash(struct world *w, struct vw_node *n, enum vw_stop how)
{
    if (!n->up)
        return;
    vw_stop(w, n, how);
    restart_later(w, n);
    if (how == VW_STOP_CRASH)
        w->result->counts.crashes++;
    else
        w->result->counts.kills++;
}

static void wipe(struct world *w, struct vw_node *n)
{
    if (!n->up || !vw_disk_may_wipe(w, n))
        return;
    vw_trace(w, "n%u is wiped", n->place);
    crash(w, n, VW_STOP_CRASH);
    vw_disk_wipe(&n->disk);
    n->formatted++;
    n->id = raft_identity(n->place, 0, n->formatted);
    w->result->counts.wipes++;
}

static void flip(struct world *w, struct vw_node *n)
{
    bool hit = false;
    crash(w, n, VW_STOP_CRASH);
    if (n->up)
        return;
    for (uint64_t k = between(w, 1, 3); k > 0; k--)
        if (vw_disk_flip(w, n, (uint32_t)prng_below(&w->chaos, w->plan.groups))) {
            w->result->counts.bit_flips++;
            hit = true;
        }
    if (hit)
        vw_trace(w, "n%u finds flipped bits", n->place);
}

static void pause_node(struct world *w, struct vw_node *n)
{
    if (!n->up || n->paused)
        return;
    n->paused = true;
    w->result->counts.pauses++;
    vw_trace(w, "n%u pauses", n->place);
    end_later(w, VW_PAUSE, n, between(w, 5000, 1200000));
}

static void part(struct world *w)
{
    w->parted = true;
    w->partition++;
    bool alone = prng_chance(&w->chaos, 0.4);
    const struct vw_node *n = victim(w);
    for (uint32_t p = 1; p <= w->places; p++)
        w->side[p] = alone ? p == n->place : prng_chance(&w->chaos, 0.5);
    vw_trace(w, "the network is parted");
    w->result->counts.partitions++;
    end_later(w, VW_PARTITION, NULL, between(w, 50000, 1200000));
}

static void oneway(struct world *w)
{
    uint32_t a = victim(w)->place, b = 1 + (uint32_t)prng_below(&w->chaos, w->places);
    if (prng_chance(&w->chaos, 0.3))
        memset(w->cut[a], 1, sizeof w->cut[a]); /* talks to nobody, hears all */
    w->cut[a][b] = true;
    if (prng_chance(&w->chaos, w->plan.both_ways))
        w->cut[b][a] = true; /* the two hear of each other only through others */
    w->result->counts.oneway_cuts++;
    vw_trace(w, "n%u to n%u is cut", a, b);
    end_later(w, VW_ONEWAY, NULL, between(w, 50000, 1200000));
}

/* Cut off, with its clients and sometimes a few others. */
static void isolate(struct world *w, const struct vw_node *n)
{
    w->parted = true;
    w->partition++;
    for (uint32_t p = 1; p <= w->places; p++)
        w->side[p] = p == n->place || prng_chance(&w->chaos, 0.2);
    vw_trace(w, "n%u is isolated", n->place);
    end_later(w, VW_PARTITION, NULL, between(w, 100000, 1200000));
}

/* A new leader is stopped while it still settles. */
static void hunt(struct world *w, struct vw_node *n)
{
    if (!n->up || n->paused)
        return;
    switch (prng_below(&w->chaos, 4)) {
    case 0:
        crash(w, n, VW_STOP_CRASH);
        break;
    case 1:
        crash(w, n, VW_STOP_KILL);
        break;
    case 2:
        pause_node(w, n);
        break;
    default:
        isolate(w, n);
    }
}

void vw_hunt(struct world *w, struct vw_node *n)
{
    if (!prng_chance(&w->chaos, w->plan.rate[VW_HUNT]))
        return;
    w->result->counts.leaders_hunted++;
    if (prng_chance(&w->chaos, 0.4))
        isolate(w, n); /* before its first message */
    else
        vw_push(w, w->now + prng_below(&w->chaos, 30000),
                (struct vw_event){.kind = VW_EV_FAULT, .node = (uint8_t)n->place, .a = VW_HUNT});
}

static void drift(struct world *w, struct vw_node *n)
{
    uint64_t local = vw_local(w, n);
    n->clock_us = local;
    n->clock_at_us = w->now;
    n->clock_permille = 1000 + (uint32_t)prng_below(&w->chaos, w->plan.drift_permille + 1);
    w->result->counts.clock_changes++;
}

void vw_on_fault(struct world *w, struct vw_event *ev)
{
    enum vw_fault f = (enum vw_fault)ev->a;
    struct vw_node *n = ev->node ? &w->nodes[ev->node] : victim(w);
    if (w->healed)
        return;
    switch (f) {
    case VW_CRASH:
        crash(w, n, VW_STOP_CRASH);
        if (prng_chance(&w->chaos, 0.1))
            for (uint32_t p = 1; p <= w->places; p++)
                crash(w, &w->nodes[p], VW_STOP_CRASH);
        break;
    case VW_SNAPCUT:
        w->result->counts.snapshots_interrupted += n->up;
        crash(w, n, prng_chance(&w->chaos, 0.5) ? VW_STOP_CRASH : VW_STOP_KILL);
        return; /* has no clock: comes with a chunk */
    case VW_HUNT:
        hunt(w, n);
        return; /* comes with an election */
    case VW_KILL:
        if (w->plan.spare_leaders && n->role[0] == RAFT_LEADER)
            n = &w->nodes[n->place % w->places + 1];
        crash(w, n, VW_STOP_KILL);
        break;
    case VW_WIPE:
        wipe(w, n);
        break;
    case VW_FLIP:
        flip(w, n);
        break;
    case VW_FULL:
        if (n->up && !n->disk.full) {
            n->disk.full = true;
            w->result->counts.full_disks++;
            end_later(w, f, n, between(w, 20000, 600000));
        }
        break;
    case VW_SLOW:
        n->disk.slow_until_us = w->now + between(w, 50000, 1500000);
        w->result->counts.slow_disks++;
        break;
    case VW_PAUSE:
        pause_node(w, n);
        break;
    case VW_DRIFT:
        drift(w, n);
        break;
    case VW_PARTITION:
        part(w);
        break;
    case VW_ONEWAY:
        oneway(w);
        break;
    default:
        break;
    }
    schedule(w, f);
}

static void requests_first(struct vw_node *n)
{
    struct vw_mail *rest = NULL, **rest_end = &rest, *requests = NULL, **end = &requests;
    for (struct vw_mail *mail = n->mailbox, *next; mail; mail = next) {
        next = mail->next;
        mail->next = NULL;
        if (mail->kind == VW_REQUEST) {
            *end = mail;
            end = &mail->next;
        } else {
            *rest_end = mail;
            rest_end = &mail->next;
        }
    }
    *end = rest;
    n->mailbox = requests;
    n->mailbox_end = rest ? rest_end : end;
    if (!n->mailbox)
        n->mailbox_end = &n->mailbox;
}

static void resume(struct world *w, struct vw_node *n)
{
    if (!n->up || !n->paused)
        return;
    n->paused = false;
    vw_trace(w, "n%u goes on", n->place);
    if (prng_chance(&w->chaos, 0.5))
        requests_first(n); /* they came over another socket */
    while (n->mailbox && n->up) {
        struct vw_mail *mail = n->mailbox;
        n->mailbox = mail->next;
        if (!n->mailbox)
            n->mailbox_end = &n->mailbox;
        vw_receive(w, n, mail);
    }
    n->timer_us = 0;
    vw_settle(w, n);
    vw_disk_sync(w, n);
}

/* There is room again. Whoever met the full disk starts from what it holds. */
static void make_room(struct world *w, struct vw_node *n)
{
    n->disk.full = false;
    if (!n->up || !n->broken)
        return;
    vw_stop(w, n, VW_STOP_KILL);
    vw_start(w, n);
}

void vw_on_end_fault(struct world *w, struct vw_event *ev)
{
    struct vw_node *n = &w->nodes[ev->node];
    switch ((enum vw_fault)ev->a) {
    case VW_PARTITION:
        if (ev->b == w->partition)
            w->parted = false;
        break;
    case VW_ONEWAY:
        memset(w->cut, 0, sizeof w->cut);
        break;
    case VW_PAUSE:
        resume(w, n);
        break;
    case VW_FULL:
        make_room(w, n);
        break;
    default:
        break;
    }
}

void vw_end_all_faults(struct world *w)
{
    w->parted = false;
    memset(w->cut, 0, sizeof w->cut);
    for (uint32_t p = 1; p <= w->places; p++) {
        struct vw_node *n = &w->nodes[p];
        n->disk.slow_until_us = 0;
        resume(w, n);
        make_room(w, n);
        n->clock_us = vw_local(w, n);
        n->clock_at_us = w->now;
        n->clock_permille = 1000;
    }
}
