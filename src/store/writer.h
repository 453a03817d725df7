/* SPDX-License-Identifier: Apache-2.0 */
/* writer - who writes the batches of a store: a thread while the owner fills the next one, or the
 * owner himself.
 *
 * Handing a batch over costs two wake-ups, as much processor time as the write itself, and the
 * answers wait for both. So the owner writes as long as he loses nothing by it: the batch is light,
 * so that little else could be done meanwhile, and each of the last 16 writes took at most a
 * millisecond, so that whoever only reads does not wait for a slow disk. See
 * docs/decisions/who-syncs.md. */
#ifndef TTG_STORE_WRITER_H
#define TTG_STORE_WRITER_H

#include "base/clock.h"
#include "store/store.h"

struct store_writer;

int store_writer_start(struct store *s, struct clock *clock, struct store_writer **ret_writer);
/* Waits for the write under way. Accepts NULL. The store stays open. */
void store_writer_stop(struct store_writer *w);

/* Becomes readable when a batch is done: then call store_writer_poll. */
int store_writer_fd(const struct store_writer *w);

/* Collects a finished batch, then writes the next one or has it written; call it after appending
 * and when the descriptor is readable. TTG_ENOSPC: as store_batch_done; call again in 100 ms. */
int store_writer_poll(struct store_writer *w, uint64_t now_ms, struct err *e);

/* Whether the next poll would keep the owner for the time of a sync, and more records would make it
 * no longer: then it is worth appending those first that are about to come. */
bool store_writer_has_room(const struct store_writer *w);

/* The disk has other work, and a write may take long: for the next 16 batches the thread writes. */
void store_writer_yield(struct store_writer *w);
/* Somebody idle was answered who need not wait for the disk: the same, where each batch is synced.
 * A write alone is quicker than handing it over. */
void store_writer_urgent(struct store_writer *w);

/* Whether a batch is under way. */
bool store_writer_busy(const struct store_writer *w);

/* How long the last collected batch took to write and sync. */
uint64_t store_writer_took_ns(const struct store_writer *w);
/* Batches that the owner wrote himself. */
uint64_t store_writer_own(const struct store_writer *w);

#endif
