/* SPDX-License-Identifier: Apache-2.0 */
/* run_state - what the files of a run share; nobody else includes it.
 *
 * run_begin.c brings the job about: it is created or joined, our workers get names that nobody has,
 * the output is opened behind what earlier runs have written. From then on, and for the end, it is
 * run.c. */
#ifndef TTG_JOB_RUN_STATE_H
#define TTG_JOB_RUN_STATE_H

#include "base/log.h"
#include "io/loop.h"
#include "job/collect.h"
#include "job/obituary.h"
#include "job/run.h"
#include "job/tally.h"

enum run_phase {
    CREATING,
    RUNNING, /* workers work, results are collected */
    CLOSING, /* the end is known: crew and queues are being closed */
    ENDED,
};

struct run {
    struct run_config config;
    struct loop *loop;
    struct queue *control, *results; /* results: the collector's own, it waits there */
    struct queue_config results_config;
    struct queue_create create;
    struct queue_status status;
    struct queue_events events;
    struct queue_workers workers; /* that were there before ours */
    struct crew *crew;
    struct collect *collect;
    struct output *output;
    struct obituaries obituaries;
    uint32_t untold;
    struct loop_timer status_timer, finish, create_again, tell_limit, settle;
    struct log_limit full_limit;
    enum run_phase phase;
    enum run_end end;
    unsigned stops;
    struct tally tally; /* of the lines in the output */
    bool crew_stopped;
    bool final_status, final_asked, final_known; /* of the status behind the last result */
    bool ended_before;                           /* the job had ended when we came: only collect */
    uint64_t started_ns, event_seq, settled_seq, ends_seen;
    struct run_totals totals;
    bool (*worker_needed)(void *ctx, const char *name); /* the caller's */
    void (*on_worker)(void *ctx, const char *name, pid_t pid, bool died);
    struct err err, refused; /* refused: why the job could not be created */
};

/* --- run.c --- */

/* Ends the run with this error, unless its end is known already. */
void run_failed(struct run *r, const struct err *err);
void run_ask_status(struct run *r);
/* Of the answer, what outlives it. */
void run_keep_status(struct run *r);
void run_on_status(struct queue_request *q, int rc, const struct err *err);
/* The end of collecting. */
void run_on_collected(void *ctx, int rc, const struct err *err);
/* What was written against what the ledger counted. */
void run_prove(struct run *r);

/* --- run_begin.c --- */

void run_begin_init(struct run *r);
/* Creates or joins; again while there is no room. */
void run_create(struct run *r);

#endif
