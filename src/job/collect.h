/* SPDX-License-Identifier: Apache-2.0 */
/* collect - brings a job's results from the queue into its output.
 *
 * In order of commit, or of chunks: then lines that come early wait in a file of their own (not in
 * memory) until those before them have come, and the queue keeps all results until the end. */
#ifndef TTG_JOB_COLLECT_H
#define TTG_JOB_COLLECT_H

#include "job/output.h"
#include "job/tally.h"
#include "queue/queue.h"

struct collect_config {
    struct queue *queue; /* of the collector alone: it waits on it */
    const char *job;
    struct output *output;
    const char *output_path;     /* its file, if it is one */
    struct output_cursor cursor; /* from output_open */
    bool ordered, follow;        /* follow: wait for results until the job has ended */
    /* Of the lines in the output; grows in on_lines. Without `ordered` it is needed only to drop
     * what comes again after the queue lost some results. */
    const struct tally *there;
    bool keep; /* the queue does not forget what is safe in the output */
    void *ctx;
    /* Lines are in the output; may be NULL. An error ends the collecting. */
    int (*on_lines)(void *ctx, struct str lines, uint64_t count);
    /* The queue lost results, and the output was cut back to those it has: `there` has to be
     * counted anew. May be NULL. */
    int (*on_cut)(void *ctx, struct err *err);
    /* Comes once: all results up to the end of the job (or, without follow, up to now) are in the
     * output and saved; or what went wrong. */
    void (*on_end)(void *ctx, int rc, const struct err *err);
};

struct collect;

int collect_start(struct collect **ret_collect, struct loop *loop,
                  const struct collect_config *config, struct err *err);
/* The end may come soon: what comes from now on is fetched at once. */
void collect_hurry(struct collect *c);
/* Saves what has come; on_end does not come. */
int collect_stop(struct collect *c, struct err *err);
/* After its queue was closed. NULL is fine. */
void collect_free(struct collect *c);

uint64_t collect_lines(const struct collect *c);

/* The queue lost results that are in the output and could not be taken back: their chunks ran
 * again, and what came then was dropped. */
bool collect_repeated(const struct collect *c);

#endif
