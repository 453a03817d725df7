/* SPDX-License-Identifier: Apache-2.0 */
/* leftover - the processes that belong to a directory of ours, noted in it.
 *
 * Whoever starts a server in a directory notes it in DIR/processes, so that `ttg cleanup` can end
 * it when nobody else is left to. One line each: number, start, run of the machine, name. */
#ifndef TTG_CMD_LEFTOVER_H
#define TTG_CMD_LEFTOVER_H

#include "base/err.h"
#include "cmd/state_dir.h"
#include "io/pid.h"

enum { LEFTOVER_NAME_BYTES = 32, LEFTOVER_MAX = 64 };

struct leftover {
    struct pid_mark mark;
    char name[LEFTOVER_NAME_BYTES];
};

/* Makes a directory for this process, in which it is noted by that name, below the state directory.
 * `dir` is empty when there is none. */
int leftover_dir(char dir[STATE_DIR_BYTES], const char *name, struct err *err);
/* Notes a process that runs now. The name is one word. */
int leftover_note(const char *dir, pid_t pid, const char *name, struct err *err);
/* Those noted that still run, at most LEFTOVER_MAX. */
size_t leftover_read(const char *dir, struct leftover *out);

/* Who we are on this machine, as the value of a label (HOST.UID): numbers of processes mean nothing
 * elsewhere. */
enum { LEFTOVER_HOST_BYTES = 64 };
void leftover_host(char out[LEFTOVER_HOST_BYTES]);

#endif
