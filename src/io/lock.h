/* SPDX-License-Identifier: Apache-2.0 */
/* lock - whole files for one process, by flock.
 *
 * Somebody who was killed holds his locks until the kernel is done with his memory, and so does a
 * child of his that is about to execute another program. Whoever starts the successor cannot see
 * when that is; so a second is waited for a holder that is about to go. */
#ifndef TTG_IO_LOCK_H
#define TTG_IO_LOCK_H

/* The lock goes with the last copy of the descriptor. TTG_EBUSY: somebody has it, and stays. */
int lock_file(int fd);

#endif
