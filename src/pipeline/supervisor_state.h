/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_state - what supervisor.c, supervisor_report.c and supervisor_process.c share. */
#ifndef TTG_PIPELINE_SUPERVISOR_STATE_H
#define TTG_PIPELINE_SUPERVISOR_STATE_H

#include "io/loop.h"
#include "io/process.h"
#include "pipeline/assign.h"
#include "pipeline/part.h"
#include "pipeline/supervisor.h"
#include "worker/stream.h"

struct crew;

/* What was heard of a partition last. */
struct watched_part {
    uint64_t epoch;
    bool owned, idle, finished;
    struct part_counts now, before; /* of this owner; of all earlier ones */
    uint64_t failures;              /* in a row */
    uint64_t retry_ms;              /* given away again then; 0: not released */
    uint64_t retry_epoch, moves;
};

struct watched_instance {
    struct supervisor *s;
    size_t stage, number;
    struct process process;
    _Atomic pid_t group;
    struct stream in, out; /* its standard input and output */
    struct buf said, orders;
    struct loop_timer restart;
    char **argv;
    uint32_t failures, restarts;
    uint64_t started_ms, heard_ms;
};

struct watched_stage {
    struct assign assign;
    struct watched_part part[SPEC_PARTITIONS_MAX];
    struct watched_instance *instances;
    uint64_t queued, dead; /* messages in the inboxes; dead letters */
};

struct supervisor {
    struct supervisor_config config;
    const struct spec *spec;
    struct loop *loop;
    struct crew *crew;
    struct pipe *looker;
    char **names; /* all inboxes, then the dead letters of each stage */
    size_t name_count;
    struct watched_stage *stages;
    struct loop_timer tick;
    struct loop_signal term, interrupt;
    struct buf status;
    char *program;
    uint64_t started_wall_ms, status_ms;
    unsigned signals, calm; /* calm: looks in a row that found nothing to do */
    int signo;
    bool started, looked, draining, stopping, crew_stopped, done;
    enum supervisor_end end;
    int rc;
    struct err err;
};

/* supervisor_process.c */
int instance_init(struct supervisor *s, struct watched_instance *w, size_t stage, size_t number);
void instance_start(struct watched_instance *w);
void instance_order(struct watched_instance *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void instance_free(struct watched_instance *w);

/* supervisor.c: what happened. */
void supervisor_up(struct watched_instance *w);
void supervisor_down(struct watched_instance *w);
void supervisor_lost_part(struct watched_instance *w, size_t partition, uint64_t epoch, int code,
                          struct str reason);
void supervisor_fail(struct supervisor *s, const struct err *err);

/* supervisor_report.c */
void supervisor_heard(struct watched_instance *w, struct str line);
void supervisor_save_status(struct supervisor *s, const char *state);
void supervisor_counts(const struct watched_stage *st, size_t partitions,
                       struct part_counts *ret_counts);

#endif
