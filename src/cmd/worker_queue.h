/* SPDX-License-Identifier: Apache-2.0 */
/* worker_queue - `ttg worker` on a queue. */
#ifndef TTG_CMD_WORKER_QUEUE_H
#define TTG_CMD_WORKER_QUEUE_H

struct command_run;

int worker_queue(struct command_run *r); /* the exit code */

#endif
