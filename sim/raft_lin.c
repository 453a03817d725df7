/* SPDX-License-Identifier: Apache-2.0 */
/* Linearizability of one register, from what its clients saw and nothing else.
 *
 * Each write has a value of its own, so each read tells which write it saw. All operations on one
 * value form a cluster, whose zone runs from its earliest end to its latest start. A zone with the
 * end before the start is "forward": the register surely held the value all that time. The history
 * is linearizable exactly when no two forward zones overlap, no other zone lies within a forward
 * one, and no read ends before its write starts (Gibbons and Korach 1997, "Testing shared
 * memories"; the zones as in Golab, Li and Shah 2011). A write of unknown outcome counts, with an
 * open end, when somebody read it. */
#include "base/ensure.h"
#include "base/mem.h"
#include "sim/raft_inner.h"

#include <stdlib.h>
#include <string.h>

struct zone {
    uint64_t low, high; /* of the zone */
    uint64_t end_min, start_max, write_start;
    bool used, seen, forward;
};

static int by_low(const void *a, const void *b)
{
    const struct zone *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

static void extend(struct zone *z, const struct vw_op *op)
{
    if (!z->used || op->end_us < z->end_min)
        z->end_min = op->end_us;
    if (!z->used || op->start_us > z->start_max)
        z->start_max = op->start_us;
    z->used = true;
}

static const char *compare(struct zone *zones, uint32_t count)
{
    const struct zone *open = NULL; /* the forward zone that reaches furthest */
    qsort(zones, count, sizeof *zones, by_low);
    for (uint32_t i = 0; i < count; i++) {
        const struct zone *z = &zones[i];
        if (open && z->forward && z->low < open->high)
            return "two values were held at the same time";
        if (open && !z->forward && z->high < open->high)
            return "a value came and went while another was held";
        if (z->forward && (!open || z->high > open->high))
            open = z;
    }
    /* A forward zone that starts with or after a backward one cannot contain it; before it was
     * covered by the walk. */
    return NULL;
}

const char *vw_lin_check(const struct vw_op *ops, uint32_t count, uint32_t group, uint32_t key)
{
    /* zones[0] is the value before all writes */
    struct zone *zones = mem_zalloc((count + 1) * sizeof *zones);
    ensure(zones);
    const char *breach = NULL;
    zones[0] = (struct zone){.used = true, .seen = true};
    for (uint32_t i = 0; i < count; i++) {
        const struct vw_op *op = &ops[i];
        if (op->group != group || op->key != key || !op->write || op->state == VW_OP_NOT_DONE)
            continue;
        zones[i + 1].write_start = op->start_us;
        extend(&zones[i + 1], op);
        zones[i + 1].seen = op->state == VW_OP_DONE;
    }
    for (uint32_t i = 0; i < count && !breach; i++) {
        const struct vw_op *op = &ops[i];
        if (op->group != group || op->key != key || op->write || op->state != VW_OP_DONE)
            continue;
        if (op->value > count || !zones[op->value].used)
            breach = "a read saw a value that nobody wrote";
        else if (op->end_us < zones[op->value].write_start)
            breach = "a read saw a value before it was written";
        else {
            extend(&zones[op->value], op);
            zones[op->value].seen = true;
        }
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i <= count && !breach; i++) {
        struct zone z = zones[i];
        if (!z.used || !z.seen)
            continue;
        z.forward = z.end_min < z.start_max;
        z.low = z.forward ? z.end_min : z.start_max;
        z.high = z.forward ? z.start_max : z.end_min;
        zones[n++] = z;
    }
    if (!breach)
        breach = compare(zones, n);
    mem_free(zones);
    return breach;
}
