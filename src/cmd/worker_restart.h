/* SPDX-License-Identifier: Apache-2.0 */
/* worker_restart - `ttg worker --restart`: a parent that starts the worker again when it dies.
 *
 * The worker is this very command, executed again without --restart. Its parent does nothing but
 * wait, pass on what it says, and tell the queue of what it died: then the chunk that killed it
 * keeps the signal and the last lines. A worker that ends by its own decision is not started again.
 */
#ifndef TTG_CMD_WORKER_RESTART_H
#define TTG_CMD_WORKER_RESTART_H

struct command_run;

/* `name`: of the worker on the queue. The exit code. */
int worker_restart(struct command_run *r, const char *name);

#endif
