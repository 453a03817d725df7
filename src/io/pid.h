/* SPDX-License-Identifier: Apache-2.0 */
/* pid - a process known by its number and its start.
 *
 * Numbers are used again. Whoever notes a process in order to end it later, perhaps from another
 * program, notes when it started as well, and in which run of the machine. */
#ifndef TTG_IO_PID_H
#define TTG_IO_PID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PID_BOOT_BYTES = 37 };

struct pid_mark {
    pid_t pid;
    uint64_t start; /* clock ticks since the machine started; 0: there is no such process */
    char boot[PID_BOOT_BYTES];
};

/* The process as it is now; one that has ended and was not waited for counts as gone. */
struct pid_mark pid_mark(pid_t pid);
/* Whether that very process still runs. */
bool pid_lives(const struct pid_mark *mark);
/* Sends a signal to that very process, or with `group` to the group it leads. False: it is gone, or
 * is not ours to signal. */
bool pid_signal(const struct pid_mark *mark, int signo, bool group);

/* The children of a process: at most `max` of them. */
size_t pid_children(pid_t pid, pid_t *out, size_t max);

#endif
