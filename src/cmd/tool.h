/* SPDX-License-Identifier: Apache-2.0 */
/* tool - another program of this machine (podman, kubectl), run once for what it says. */
#ifndef TTG_CMD_TOOL_H
#define TTG_CMD_TOOL_H

#include "base/buf.h"
#include "io/loop.h"
#include "io/process.h"

/* Runs `words` (the program first; ends with NULL) and turns the loop until it has ended. `out`
 * gets its standard output, and may be NULL. TTG_ENOENT when there is no such program, TTG_ECHILD
 * with the last line of its standard error, TTG_ETIMEOUT after half a minute. */
int tool_run(struct loop *loop, _Atomic pid_t *group, const char *const *words, struct buf *out,
             struct err *err);

/* A file in memory for what a program says (-1: none to be had; at least 3, see process.h), and
 * what it holds by now. */
int tool_output(const char *name);
void tool_said(int fd, struct buf *out);

#endif
