/* SPDX-License-Identifier: Apache-2.0 */
/* route - which partition gets a message, and how many ends make an end. Pure.
 *
 * A message goes to one partition of each downstream stage, by the hash of its client, key or id.
 * A client's end goes wherever a message of the client may have gone: to one partition of a stage
 * that divides by client, else to all. So a partition knows beforehand on how many paths the
 * client's ends will come to it: from each upstream partition that may hold the client, and
 * stages that keep nothing pass on each end they get, as nothing may overtake it there. Only who
 * keeps state (an aggregate, a sink) counts. */
#ifndef TTG_PIPELINE_ROUTE_H
#define TTG_PIPELINE_ROUTE_H

#include "base/map.h"
#include "pipeline/message.h"
#include "pipeline/spec.h"

enum { ROUTE_ENDS_MAX = 1 << 24 };

size_t route_partition(const struct spec_stage *to, const struct message *m);

/* Whether a client's end goes to all partitions of the stage. */
bool route_end_to_all(const struct spec_stage *to, struct str client);

/* How many ends of a client (or of all of them) come to a partition of this stage; more than
 * ROUTE_ENDS_MAX is told as that. */
uint64_t route_ends(const struct spec *s, size_t stage, bool all);

/* Counts the paths on which clients have ended, each path once. */
struct ends {
    struct map clients;
};
enum ends_outcome { ENDS_WAITING, ENDS_COMPLETE, ENDS_KNOWN };

void ends_init(struct ends *e);
void ends_done(struct ends *e);
/* ENDS_COMPLETE: this was the last of `expected` ones. ENDS_KNOWN: it was counted before.
 * TTG_ENOMEM. */
int ends_add(struct ends *e, struct str client, struct str path, uint64_t expected,
             enum ends_outcome *ret_outcome);
bool ends_is_complete(const struct ends *e, struct str client, uint64_t expected);

#endif
