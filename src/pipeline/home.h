/* SPDX-License-Identifier: Apache-2.0 */
/* home - a pipeline's state directory: one supervisor at a time, and its number.
 *
 *     supervisor.lock   held by the supervisor; says its process id
 *     pipeline          name, queue and shape: another pipeline's directory is refused
 *     boot              grows with each start; the upper bits of every epoch
 *     status.json       what `ttg pipeline status` shows
 *     done              all clients have ended
 *     STAGE.PARTITION/  state of an aggregate (claim.h); STAGE.cursor, STAGE.ends, queue/ */
#ifndef TTG_PIPELINE_HOME_H
#define TTG_PIPELINE_HOME_H

#include "base/err.h"
#include "pipeline/spec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct home {
    const char *path; /* the caller's */
    int lock_fd;      /* -1: none */
    uint64_t first_epoch;
    bool done;
};

/* The directory exists. TTG_EBUSY: a supervisor has it. TTG_EUSAGE: it is another pipeline's. */
int home_open(struct home *h, const char *path, const struct spec *spec, const char *queue,
              struct err *err);
int home_set_done(struct home *h, struct err *err);
void home_close(struct home *h);

/* For those who only look: the supervisor that runs, 0: none. */
pid_t home_supervisor(const char *path);

#endif
