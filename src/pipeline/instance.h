/* SPDX-License-Identifier: Apache-2.0 */
/* instance - a process of a stage: it owns the partitions that the supervisor gives it.
 *
 * It is told on standard input, a line each:  own PARTITION EPOCH   drop PARTITION   drain   stop
 * and reports on standard output, a line of JSON now and then, or when it has lost a partition;
 * a thread of its own adds blank lines, so that a stopped process is told from a busy one. The end
 * of standard input is the end of the supervisor, and ours. */
#ifndef TTG_PIPELINE_INSTANCE_H
#define TTG_PIPELINE_INSTANCE_H

#include "base/err.h"
#include "pipeline/spec.h"

struct queue_config;

struct instance_config {
    const struct spec *spec;
    size_t stage;
    const struct queue_config *queue;
    const char *state;
    int in, out; /* descriptors */
};

/* Until it is told to stop. 0, or what ended it. */
int instance_run(const struct instance_config *config, struct err *err);

enum { INSTANCE_REPORT_MS = 200, INSTANCE_BEAT_MS = 500, INSTANCE_LOST_MS = 3000 };

#endif
