/* SPDX-License-Identifier: Apache-2.0 */
/* claim - a directory of state changes its owner.
 *
 * BASE/EPOCH is what the owner of that epoch writes, and nobody else ever does. The next owner
 * takes it over under its own number: by renaming it when the last owner is dead, which its lock
 * tells, or by copying it when that one is only stopped or cut off. Whatever he writes when he
 * wakes up then goes where nobody reads. What he had acknowledged is in the copy: the queue took no
 * acknowledgement from him since the new owner has the inbox, and this comes after that. */
#ifndef TTG_PIPELINE_CLAIM_H
#define TTG_PIPELINE_CLAIM_H

#include "base/buf.h"
#include "base/err.h"

/* Makes BASE/EPOCH ours; its path is added to `path`. *ret_lock is held until it is closed.
 * TTG_ESTALE: a newer owner has it. */
int claim_dir(const char *base, uint64_t epoch, struct buf *path, int *ret_lock, struct err *err);

/* Notes in STATE/NAME.epoch that this epoch owns the partition. TTG_ESTALE: a newer one does, or
 * did: on RabbitMQ an owner that was stopped could otherwise get a free inbox again after that. */
int claim_epoch(const char *state, const char *name, uint64_t epoch, struct err *err);

#endif
