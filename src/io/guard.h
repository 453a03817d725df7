/* SPDX-License-Identifier: Apache-2.0 */
/* guard - a small process that ends our commands when we die.
 *
 * After kill -9 of a worker nobody is left to end its commands. A parent-death signal reaches only
 * a command itself, not what it started. So a worker with commands has one guard: a forked process
 * that holds the read end of a pipe and shares a table of process groups with us. Each command
 * writes its group into the table before it runs the user's program; when the pipe ends, the guard
 * kills what is in the table. This costs one store a command, no system call. See
 * docs/decisions/process-guard.md. */
#ifndef TTG_IO_GUARD_H
#define TTG_IO_GUARD_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

struct guard;

/* Forks the guard. A SIGCHLD that is ignored is set back to its default, or no exit status could be
 * learned. TTG_ENOMEM, TTG_EIO, .... */
int guard_open(struct guard **ret_guard, uint32_t slots, struct err *err);

/* Where the command in a slot notes its process group; 0 when there is none. */
_Atomic pid_t *guard_slot(struct guard *g, uint32_t slot);

/* Whether it still runs; when not (somebody killed it), opens another one. */
int guard_check(struct guard *g, struct err *err);

/* Ends the guard and what is still in the table. NULL is fine. */
void guard_close(struct guard *g);

#endif
