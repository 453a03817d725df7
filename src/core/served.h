/* SPDX-License-Identifier: Apache-2.0 */
/* served - for how long the node has been there, over all its lives, as far as its log tells.
 *
 * The wall clock also runs while the node is away, and jumps. This one adds up the time between one
 * record and the next of the same life, and little of a long gap: the node may have been stopped,
 * its clock been set, or nothing has happened. Whoever needs it exact lets the node write a tick
 * every CORE_MARK_MS. By it a worker that does not come back is missed, however short the lives
 * of the node are; and not because the node was away. */
#ifndef TTG_CORE_SERVED_H
#define TTG_CORE_SERVED_H

#include "core/state.h"

/* Something is recorded at that time. */
void served_note(struct core *c, uint64_t now_ms);
/* A life begins: the time before it does not count. */
void served_boot(struct core *c, uint64_t now_ms);

extern const struct core_part served_part; /* its section of a snapshot */

#endif
