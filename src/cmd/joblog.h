/* SPDX-License-Identifier: Apache-2.0 */
/* joblog - one line per finished chunk, in the form of GNU parallel's --joblog.
 *
 *     Seq Host Starttime JobRuntime Send Receive Exitval Signal Command    (separated by tabs)
 *
 * Seq is the chunk's number counted from 1, Host the worker, Receive the bytes of its output.
 * Chunks that were given up have the exit code, or signal, of their last attempt. */
#ifndef TTG_CMD_JOBLOG_H
#define TTG_CMD_JOBLOG_H

#include "cmd/command.h"
#include "queue/queue.h"

struct joblog;

/* Appends when the file has lines already. `words`: the command, ends with NULL, or NULL: then the
 * kernel's description stands for it. It and the other pointers stay the caller's and live as long
 * as the log. */
int joblog_open(struct joblog **ret_log, const char *path, char *const *words, const char *job,
                const struct ledger_spec *spec, struct err *err);
/* Result lines, as they go into the output. */
void joblog_results(struct joblog *j, struct str lines);
/* Of chunk.dead. */
void joblog_dead(struct joblog *j, const struct queue_event *e);
/* Says what could not be written. NULL is fine. */
int joblog_close(struct joblog *j, struct err *err);

#endif
