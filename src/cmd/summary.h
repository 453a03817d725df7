/* SPDX-License-Identifier: Apache-2.0 */
/* summary - how a job goes or went, in one line of JSON or a few for people. */
#ifndef TTG_CMD_SUMMARY_H
#define TTG_CMD_SUMMARY_H

#include "cmd/command.h"
#include "queue/queue.h"

enum summary_verified { SUMMARY_UNKNOWN, SUMMARY_VERIFIED, SUMMARY_WRONG };

struct summary {
    const char *job;
    const struct queue_status *status;
    double seconds;
    uint64_t lines; /* in the output */
    bool has_lines;
    enum summary_verified verified;
};

/* "running", "paused", "finished", "canceled". */
const char *summary_state(enum ledger_state state);
/* From its first chunk to its end, or to now. */
double summary_seconds(const struct queue_status *s);

/* The members, without the braces around them. */
int summary_json(struct buf *out, const struct summary *s);
void summary_people(struct buf *out, const struct summary *s);

/* At the end of `run`: on standard error for people; with --json the JSON line: on standard output
 * unless that carries the results, then on standard error. */
void summary_print(const struct command_run *r, const struct summary *s);

#endif
