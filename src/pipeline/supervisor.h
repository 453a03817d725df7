/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor - keeps a pipeline running: starts its instances, gives them partitions, restarts who
 * dies, moves partitions meanwhile, sees when all is done.
 *
 * It holds nothing that cannot be made again: what was handled is in the queue and in the state
 * directory. Killed, it is simply run again. */
#ifndef TTG_PIPELINE_SUPERVISOR_H
#define TTG_PIPELINE_SUPERVISOR_H

#include "base/err.h"
#include "pipeline/spec.h"

struct queue_config;

#define SUPERVISOR_STAGE "{stage}"

/* All pointers stay the caller's. */
struct supervisor_config {
    const struct spec *spec;
    const char *state;      /* directory, which is ours (locked) */
    const char *queue_text; /* for the status */
    const struct queue_config *queue;
    char *const *node; /* `ttg node ...`; NULL: the queue is elsewhere */
    bool node_lives;
    char *const *instance; /* `ttg pipeline instance ...`; SUPERVISOR_STAGE is replaced */
    uint64_t first_epoch;
};

enum supervisor_end {
    SUPERVISOR_DONE,    /* every client has ended in every sink */
    SUPERVISOR_DRAINED, /* told to stop; nothing waits in a queue */
    SUPERVISOR_STOPPED, /* told to stop at once; a later run goes on */
};

/* SIGTERM and SIGINT drain, a second one stops. *ret_dead: dead letters there are. TTG_EUSAGE: a
 * stage can never run; TTG_EUNREACH and others: the queue is lost. */
int supervisor_run(const struct supervisor_config *config, enum supervisor_end *ret_end,
                   int *ret_signal, uint64_t *ret_dead, struct err *err);

#endif
