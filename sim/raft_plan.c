/* SPDX-License-Identifier: Apache-2.0 */
/* From a seed to a plan, and from a failing plan to a smaller one.
 *
 * "Swarm" (Groce et al. 2012): a run with few kinds of faults at high rates finds other bugs than
 * a run with all of them, so each seed draws its own mix. */
#include "sim/raft_inner.h"

#include <math.h>

static uint32_t pick(struct prng *p, uint32_t low, uint32_t high)
{
    return low + (uint32_t)prng_below(p, high - low + 1);
}

/* Even over the logarithm. */
static double pick_log(struct prng *p, double low, double high)
{
    return low * pow(high / low, prng_unit(p));
}

static void draw_options(struct prng *p, struct vw_plan *plan)
{
    struct raft_options *o = &plan->options;
    *o = (struct raft_options){.election_us = VW_ELECTION_US,
                               .beat_us = VW_BEAT_US,
                               .resend_us = 2 * VW_BEAT_US,
                               .lease_reads = plan->lease_reads,
                               .drift_permille = plan->drift_permille,
                               .entries_max = 20000,
                               .waiting_max = 200,
                               .batch_bytes = 4096,
                               .keep_entries = pick(p, 0, 30)};
    o->batch_entries = (uint32_t)pick_log(p, 1, 64);
    o->window_entries = (uint32_t)pick_log(p, 4, 256);
    o->window_bytes = (uint32_t)pick_log(p, 500, 50000);
    o->snap_entries = (uint32_t)pick_log(p, 8, 400);
    o->chunk_bytes = (uint32_t)pick_log(p, 16, 300);
}

static void draw_faults(struct prng *p, struct vw_plan *plan)
{
    static const struct {
        enum vw_fault fault;
        double low, high; /* probability of a message or action, or times a second */
    } ranges[] = {{VW_DROP, 0.002, 0.2},     {VW_DELAY, 0.002, 0.1},   {VW_REORDER, 0.01, 0.5},
                  {VW_DUPLICATE, 0.01, 0.3}, {VW_ONEWAY, 0.2, 2},      {VW_PARTITION, 0.2, 4},
                  {VW_CRASH, 0.2, 5},        {VW_KILL, 0.2, 4},        {VW_WIPE, 0.2, 1},
                  {VW_TORN, 1, 1},           {VW_FLIP, 0.2, 3},        {VW_FULL, 0.2, 2},
                  {VW_SLOW, 0.2, 3},         {VW_PAUSE, 0.2, 3},       {VW_DRIFT, 1, 5},
                  {VW_MEMBER, 15e3, 400e3},  {VW_TRANSFER, 0.05, 0.7}, {VW_SNAPCUT, 0.02, 0.3},
                  {VW_HUNT, 0.1, 1}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        enum vw_fault f = ranges[i].fault;
        plan->rate[f] = pick_log(p, ranges[i].low, ranges[i].high);
        if (prng_chance(p, 0.4))
            plan->faults |= 1u << f;
    }
}

/* Some seeds look at one part of the protocol from close by. */
static void draw_theme(struct prng *p, struct vw_plan *plan)
{
    struct raft_options *o = &plan->options;
    uint32_t with = 0;
    switch (prng_below(p, 12)) {
    case 0: /* one leader after the other, each with little time */
        with = 1u << VW_HUNT;
        plan->faults &= 1u << VW_CRASH | 1u << VW_KILL | 1u << VW_DROP | 1u << VW_REORDER;
        plan->rate[VW_HUNT] = 1;
        o->batch_entries = 1;
        break;
    case 1: /* leases, clocks, and leaders that others replace early */
        with = 1u << VW_DRIFT | 1u << VW_TRANSFER | 1u << VW_ONEWAY | 1u << VW_KILL;
        with |= 1u << VW_DELAY;
        plan->faults &= 1u << VW_HUNT | 1u << VW_PAUSE | 1u << VW_PARTITION;
        plan->lease_reads = o->lease_reads = true;
        plan->rate[VW_KILL] = 2 + 4 * prng_unit(p);
        plan->rate[VW_TRANSFER] = 0.8;
        if (prng_chance(p, 0.5)) { /* much happens between two heartbeats */
            plan->faults = 0;
            with = 1u << VW_DRIFT | 1u << VW_ONEWAY | 1u << VW_KILL;
            plan->spare_leaders = true;
            plan->roams = 0.6;
            plan->nodes = 3;
            plan->spares = 0;
            plan->quick = plan->both_ways = 1;
            plan->groups = 1;
            plan->sync_us = 500;
            plan->delay_us = 500;
            plan->rate[VW_KILL] = 10;
            plan->rate[VW_ONEWAY] = 2;
            o->beat_us = 140000;
            o->resend_us = 150000;
        }
        plan->think_us = 4000;
        plan->clients = 4;
        break;
    case 2: /* changes of members by leaders that do not last */
        with = 1u << VW_MEMBER | 1u << VW_HUNT;
        plan->faults &= 1u << VW_CRASH | 1u << VW_PARTITION | 1u << VW_ONEWAY;
        plan->rate[VW_MEMBER] = 15e3;
        plan->rate[VW_HUNT] = 0.5 + prng_unit(p) / 2;
        plan->nodes = pick(p, 2, 4);
        break;
    case 3: /* snapshots all the time */
        with = 1u << VW_HUNT | 1u << VW_SNAPCUT | 1u << VW_PARTITION;
        o->snap_entries = pick(p, 4, 12);
        o->keep_entries = 0;
        plan->bursts = 0.2;
        plan->think_us = 5000;
        break;
    case 4: /* damage */
        with = 1u << VW_TORN | 1u << VW_FLIP | 1u << VW_CRASH;
        plan->faults &= 1u << VW_HUNT | 1u << VW_DROP | 1u << VW_SLOW;
        plan->sync_us = 20000;
        plan->rate[VW_CRASH] = 5;
        break;
    default:
        break;
    }
    plan->faults |= with;
}

void vw_plan_of_seed(uint64_t seed, struct vw_plan *plan)
{
    static const uint8_t sizes[] = {1, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7, 9};
    struct prng p;
    prng_init(&p, seed * 8);
    *plan = (struct vw_plan){.seed = seed};
    plan->nodes = sizes[prng_below(&p, sizeof sizes)];
    plan->spares = pick(&p, 0, plan->nodes > 5 ? 1 : 2);
    plan->groups = prng_chance(&p, 0.7) ? 1 : pick(&p, 2, VW_GROUPS_MAX);
    plan->clients = pick(&p, 1, 4);
    plan->chaos_us = pick(&p, 3000, 7000) * 1000ull;
    plan->delay_us = (uint64_t)pick_log(&p, 200, 5000);
    plan->jitter_us = (uint64_t)pick_log(&p, 50, 5000);
    plan->sync_us = (uint64_t)pick_log(&p, 200, 20000);
    plan->bursts = 0.03;
    plan->both_ways = 0.4;
    plan->roams = 0.05;
    plan->quick = 0.4;
    plan->think_us = (uint64_t)pick_log(&p, 10000, 150000);
    plan->lease_reads = prng_chance(&p, 0.5);
    plan->drift_permille = pick(&p, 0, 200);
    draw_options(&p, plan);
    draw_faults(&p, plan);
    draw_theme(&p, plan);
    prng_init(&p, seed * 8 + 7);
    plan->rate[VW_MEMORY] = pick_log(&p, 0.001, 0.2);
    if (prng_chance(&p, 0.2))
        plan->faults |= 1u << VW_MEMORY;
}

static bool fails(struct world *w, const struct vw_plan *plan, struct vw_result *ret_result)
{
    struct vw_result r;
    vw_run(w, plan, &r);
    if (r.failed)
        *ret_result = r;
    return r.failed;
}

void vw_shrink(struct world *w, struct vw_plan *plan, struct vw_result *ret_result)
{
    for (int round = 0; round < 2; round++) {
        for (int f = 0; f < VW_FAULT_COUNT; f++) {
            struct vw_plan smaller = *plan;
            smaller.faults &= ~(1u << f);
            if (smaller.faults != plan->faults && fails(w, &smaller, ret_result))
                *plan = smaller;
        }
        for (uint64_t cut = plan->chaos_us / 2; cut >= 50000; cut /= 2) {
            struct vw_plan smaller = *plan;
            smaller.chaos_us -= cut;
            if (smaller.chaos_us < plan->chaos_us && fails(w, &smaller, ret_result))
                *plan = smaller;
        }
    }
    struct vw_plan smaller = *plan;
    smaller.groups = 1;
    if (plan->groups > 1 && fails(w, &smaller, ret_result))
        *plan = smaller;
    for (uint32_t n = 3; n < plan->nodes; n++) {
        smaller = *plan;
        smaller.nodes = n;
        if (fails(w, &smaller, ret_result))
            *plan = smaller;
    }
}

void vw_counts_add(struct vw_counts *sum, const struct vw_counts *c)
{
#define X(name) sum->name += c->name;
    VW_COUNTS(X)
#undef X
}
