/* SPDX-License-Identifier: Apache-2.0 */
/* ring - the last debug events, in memory, for the moment when something is wrong.
 *
 * Every log event is kept here, printed or not. Writing is lock-free and never allocates; dumping
 * uses only write(2), so that it works from a failed `ensure` and from a signal handler. */
#ifndef TTG_BASE_RING_H
#define TTG_BASE_RING_H

#include <stddef.h>

enum { RING_LINES = 256, RING_LINE_BYTES_MAX = 200 };

/* Keeps one line (without newline); what is longer is cut. */
void ring_add(const char *line, size_t len);

/* Writes the kept lines, oldest first, to a descriptor. */
void ring_dump(int fd);

#endif
