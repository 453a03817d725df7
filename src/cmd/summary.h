/* SPDX-License-Identifier: Apache-2.0 */
/* summary - how a job went, in one line of JSON or a few for people. */
#ifndef TTG_CMD_SUMMARY_H
#define TTG_CMD_SUMMARY_H

#include "cmd/command.h"
#include "job/run.h"

/* The members of the summary, without a newline. */
int summary_json(struct buf *out, const char *job, const struct run_totals *totals);

/* On standard error for people; with --json the JSON line: on standard output unless that carries
 * the results, then on standard error. */
void summary_print(const struct command_run *r, const char *job, const struct run_totals *totals);

#endif
