/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot - writes the whole state aside, in a forked child, once the log has grown enough.
 *
 * The child sees the state as of the fork and takes its time; the node goes on. What stalls is the
 * fork alone, which copies page tables: some milliseconds a gigabyte (see docs/performance.md). */
#ifndef TTG_NODE_SNAPSHOT_H
#define TTG_NODE_SNAPSHOT_H

#include "node/state.h"

int snapshot_open(struct node *n, struct err *err);
void snapshot_close(struct node *n);
/* At the end of a turn: begins one when it is due. */
void snapshot_check(struct node *n);
/* Begins one now. TTG_EBUSY when one is being written. */
int snapshot_begin(struct node *n, struct err *err);
bool snapshot_running(const struct node *n);

#endif
