/* SPDX-License-Identifier: Apache-2.0 */
/* assign - which instance of a stage owns which partition. Pure: events in, moves out.
 *
 * When an instance is lost its partitions go to the least busy of the others, at once; when one
 * comes (back) it gets its share. Every move has an epoch that is higher than all before it: who
 * owned the partition until then is fenced by it, dead or only stopped. */
#ifndef TTG_PIPELINE_ASSIGN_H
#define TTG_PIPELINE_ASSIGN_H

#include "pipeline/spec.h"

enum { ASSIGN_NOBODY = -1 };

struct assign {
    size_t partitions, instances;
    uint64_t next_epoch;
    bool up[SPEC_PARTITIONS_MAX];
    struct {
        int owner;
        uint64_t epoch;
    } part[SPEC_PARTITIONS_MAX];
};

struct assign_move {
    size_t partition;
    int from, to; /* from: ASSIGN_NOBODY when there is nobody to be told */
    uint64_t epoch;
};

void assign_init(struct assign *a, size_t partitions, size_t instances, uint64_t first_epoch);
void assign_up(struct assign *a, size_t instance);
void assign_lost(struct assign *a, size_t instance);
/* The owner of that epoch could not keep it (a failure, or a newer epoch from elsewhere). */
void assign_released(struct assign *a, size_t partition, uint64_t epoch);
/* The next move that is due; false: all is well, or nobody is up. */
bool assign_next(struct assign *a, struct assign_move *ret_move);
size_t assign_owned(const struct assign *a, size_t instance);

#endif
