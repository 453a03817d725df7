/* SPDX-License-Identifier: Apache-2.0 */
/* run - one job from its creation to its last result, in one place.
 *
 * Creates the job (or joins in, when it exists with the same spec), keeps the crew going, collects
 * the results into the output, and ends with the job's status. Killed at any moment it is simply
 * run again with `resume`: the queue knows what is done, the cursor beside the output knows what
 * has been collected. */
#ifndef TTG_JOB_RUN_H
#define TTG_JOB_RUN_H

#include "job/crew.h"
#include "job/output.h"
#include "queue/queue.h"

enum run_end {
    RUN_DONE,    /* the job has ended and all results are in the output */
    RUN_STOPPED, /* run_stop */
    RUN_FAILED,  /* see the error */
};

enum run_proof { RUN_UNPROVEN, RUN_PROVEN, RUN_WRONG };
enum { RUN_REPORT_BYTES = 2048 };

struct run_totals {
    struct queue_status status; /* the last one; `status.job` texts are not valid */
    bool has_status, begun;     /* begun: the job is there and was ours */
    uint64_t lines;             /* in the output, from earlier runs too */
    double seconds;             /* of this run */
    enum run_proof proof; /* the lines written are exactly the results that the ledger counted */
    char report[RUN_REPORT_BYTES]; /* what is wrong */
};

/* Pointers stay the caller's and live as long as the run. */
struct run_config {
    struct queue_config queue; /* its callbacks are not used */
    const char *job;
    struct ledger_spec spec;
    bool only_attach;          /* the job must exist: collect, compute, but do not create */
    struct output_spec output; /* its job and created_ms are filled in here */
    bool ordered;
    /* No workers: only collect. Of its callbacks only those about workers are used, with our ctx.
     */
    struct crew_config crew;
    bool share_names;   /* take the names of workers that the queue still thinks alive */
    uint64_t status_ms; /* how often on_status comes; 0: not */
    void *ctx;
    void (*on_status)(void *ctx, const struct queue_status *status);
    void (*on_event)(void *ctx, const struct queue_event *event); /* NULL: not asked for */
    void (*on_lines)(void *ctx, struct str lines);                /* may be NULL */
    /* Comes once; then run_free. */
    void (*on_end)(void *ctx, enum run_end end, const struct run_totals *totals,
                   const struct err *err);
};

struct run;

int run_start(struct run **ret_run, struct loop *loop, const struct run_config *config,
              struct err *err);
/* The first time everybody finishes what they have; the second time at once. */
void run_stop(struct run *r);
/* NULL is fine. */
void run_free(struct run *r);

#endif
