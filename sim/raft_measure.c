/* SPDX-License-Identifier: Apache-2.0 */
/* How long writes stop when a leader dies or hands over: five nodes, a network of 1 ms, disks that
 * sync in 0.25 to 0.75 ms, a write every half millisecond at whoever leads. */
#include "sim/raft_inner.h"

#include <stdlib.h>

enum { PACE_US = 500, TRANSFER_COOKIE_BIT = 41 };

static int compare_up(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool write_for(struct world *w, uint64_t us)
{
    for (uint64_t end = w->now + us; w->now < end;) {
        for (uint32_t p = 1; p <= w->places; p++)
            if (w->nodes[p].up && w->nodes[p].role[0] == RAFT_LEADER)
                vw_send_request(w, p, vw_new_op(w, VW_CLIENTS_MAX, 0, 0, true));
        if (!vw_run_until(w, w->now + PACE_US))
            return false;
    }
    return true;
}

/* The longest time without an acknowledgement that began after `from`, or was under way then. */
static uint64_t longest_gap(const struct world *w, uint64_t from)
{
    uint64_t *ends = calloc(w->op_count + 1, sizeof *ends), gap = 0;
    uint32_t n = 0;
    if (!ends)
        return UINT64_MAX;
    for (uint32_t i = 0; i < w->op_count; i++)
        if (w->ops[i].state == VW_OP_DONE)
            ends[n++] = w->ops[i].end_us;
    qsort(ends, n, sizeof *ends, compare_up);
    for (uint32_t i = 1; i < n; i++)
        if (ends[i] > from && ends[i] - ends[i - 1] > gap)
            gap = ends[i] - ends[i - 1];
    gap = n > 0 && ends[n - 1] > from ? gap : UINT64_MAX;
    free(ends);
    return gap;
}

static void plan_of(uint64_t seed, struct vw_plan *plan)
{
    vw_plan_of_seed(seed, plan);
    plan->nodes = 5;
    plan->groups = 1;
    plan->spares = plan->clients = plan->faults = 0;
    plan->delay_us = 1000;
    plan->jitter_us = 0;
    plan->sync_us = 500;
    plan->options.batch_entries = 64;
    plan->options.window_entries = 256;
    plan->options.window_bytes = 65536;
    plan->options.snap_entries = 1000;
}

static uint64_t measure_one(struct world *w, uint64_t seed, bool transfer)
{
    struct vw_plan plan;
    struct vw_result result;
    uint64_t gap = UINT64_MAX;
    plan_of(seed, &plan);
    vw_open(w, &plan, &result);
    bool ok = vw_run_until(w, w->now + 2000000 + seed % 97 * 1013) && write_for(w, 20000);
    struct vw_node *leader = vw_find_leader(w, 0);
    if (ok && leader) {
        uint64_t from = w->now;
        if (transfer)
            vw_step(w, leader, 0,
                    &(struct raft_event){.kind = RAFT_EV_TRANSFER,
                                         .to = w->nodes[leader->place % 5 + 1].id,
                                         .cookie = 3ull << (TRANSFER_COOKIE_BIT - 1)});
        else
            vw_stop(w, leader, VW_STOP_CRASH);
        vw_settle(w, leader);
        if (write_for(w, transfer ? 50000 : 2000000))
            gap = longest_gap(w, from);
    }
    vw_close(w);
    return gap;
}

void vw_measure(struct world *w, uint64_t seed, bool transfer, uint32_t times, uint64_t *ret_us)
{
    for (uint32_t i = 0; i < times; i++)
        ret_us[i] = measure_one(w, seed + i, transfer);
    qsort(ret_us, times, sizeof *ret_us, compare_up);
}
