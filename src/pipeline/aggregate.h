/* SPDX-License-Identifier: Apache-2.0 */
/* aggregate - what the two files of the aggregate share; nobody else includes it.
 *
 *     aggregate_kind.c   messages become rows, and whose results are out is finished
 *     aggregate_send.c   results of clients that have ended, made here or by a command */
#ifndef TTG_PIPELINE_AGGREGATE_H
#define TTG_PIPELINE_AGGREGATE_H

#include "base/list.h"
#include "pipeline/asker.h"
#include "pipeline/fold.h"
#include "pipeline/kinds.h"

/* A client that is not finished. */
struct live {
    struct map_node node;
    struct list link; /* in `going`, when its result is to go out */
    struct list ask;  /* in `asking`, when a command is to make fewer rows of its rows */
    bool queued;
    size_t len;
    char client[];
};

struct aggregate {
    struct part *part;
    struct state *state;
    struct fold fold;
    int lock;
    struct map live;
    struct list going;  /* results to be sent, in order */
    struct list gone;   /* sent with the commit under way */
    struct list asking; /* rows to be merged by the command */
    bool all_ready, ending;
    bool told_full;

    struct live *sending; /* whose result is being sent, */
    uint64_t sent;        /* and how many messages of it were */

    struct asker *ask; /* a command; NULL: none */
    bool merging;      /* asked for fewer rows, not for a result */
    uint64_t attempts, retry_ms;
    struct buf room;
};

/* Takes the part's turn on: results and the end of all, then the commit. */
void aggregate_send(struct aggregate *a);
bool aggregate_has_to_send(const struct aggregate *a);
int aggregate_send_open(struct aggregate *a, struct err *err);

#endif
