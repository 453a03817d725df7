/* SPDX-License-Identifier: Apache-2.0 */
/* writer - a thread that writes the batches of a store while the owner fills the next one. */
#ifndef TTG_STORE_WRITER_H
#define TTG_STORE_WRITER_H

#include "store/store.h"

struct store_writer;

int store_writer_start(struct store *s, struct store_writer **ret_writer);
/* Waits for the write under way. Accepts NULL. The store stays open. */
void store_writer_stop(struct store_writer *w);

/* Becomes readable when a batch is done: then call store_writer_poll. */
int store_writer_fd(const struct store_writer *w);

/* Collects a finished batch and starts the next one; call it after appending and when the
 * descriptor is readable. TTG_ENOSPC: as store_batch_done; call again in 100 ms. */
int store_writer_poll(struct store_writer *w, uint64_t now_ms, struct err *e);

/* Whether a batch is under way. */
bool store_writer_busy(const struct store_writer *w);

#endif
