/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/assign.h"

#include "base/ensure.h"

void assign_init(struct assign *a, size_t partitions, size_t instances, uint64_t first_epoch)
{
    ensure(partitions <= SPEC_PARTITIONS_MAX && instances <= SPEC_PARTITIONS_MAX);
    *a = (struct assign){
        .partitions = partitions, .instances = instances, .next_epoch = first_epoch};
    for (size_t p = 0; p < partitions; p++)
        a->part[p].owner = ASSIGN_NOBODY;
}

void assign_up(struct assign *a, size_t instance)
{
    ensure(instance < a->instances);
    a->up[instance] = true;
}

void assign_lost(struct assign *a, size_t instance)
{
    ensure(instance < a->instances);
    a->up[instance] = false;
    for (size_t p = 0; p < a->partitions; p++)
        if (a->part[p].owner == (int)instance)
            a->part[p].owner = ASSIGN_NOBODY;
}

void assign_released(struct assign *a, size_t partition, uint64_t epoch)
{
    ensure(partition < a->partitions);
    if (a->part[partition].epoch == epoch)
        a->part[partition].owner = ASSIGN_NOBODY;
}

size_t assign_owned(const struct assign *a, size_t instance)
{
    size_t n = 0;
    for (size_t p = 0; p < a->partitions; p++)
        n += a->part[p].owner == (int)instance;
    return n;
}

/* The least and the most busy instance that is up; the lower number of equals. */
static int extreme(const struct assign *a, bool most)
{
    int best = ASSIGN_NOBODY;
    size_t best_load = 0;
    for (size_t i = 0; i < a->instances; i++) {
        size_t load = assign_owned(a, i);
        if (a->up[i] && (best == ASSIGN_NOBODY || (most ? load > best_load : load < best_load))) {
            best = (int)i;
            best_load = load;
        }
    }
    return best;
}

static void move(struct assign *a, size_t partition, int to, struct assign_move *ret_move)
{
    *ret_move = (struct assign_move){partition, a->part[partition].owner, to, a->next_epoch++};
    a->part[partition].owner = to;
    a->part[partition].epoch = ret_move->epoch;
}

bool assign_next(struct assign *a, struct assign_move *ret_move)
{
    int least = extreme(a, false), most = extreme(a, true);
    if (least == ASSIGN_NOBODY)
        return false;
    for (size_t p = 0; p < a->partitions; p++)
        if (a->part[p].owner == ASSIGN_NOBODY) {
            move(a, p, least, ret_move);
            return true;
        }
    if (assign_owned(a, (size_t)most) < assign_owned(a, (size_t)least) + 2)
        return false;
    for (size_t p = 0; p < a->partitions; p++)
        if (a->part[p].owner == most) {
            move(a, p, least, ret_move);
            return true;
        }
    return false;
}
