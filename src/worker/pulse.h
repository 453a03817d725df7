/* SPDX-License-Identifier: Apache-2.0 */
/* pulse - says that the worker lives, from a thread and a connection of its own.
 *
 * A chunk may compute for hours inside the worker's only thread; its leases must not run out
 * meanwhile. When the whole process is stopped this thread stops too, and that is right: then
 * others shall take over. */
#ifndef TTG_WORKER_PULSE_H
#define TTG_WORKER_PULSE_H

#include "queue/queue.h"

enum { PULSE_MS = 500 };

struct pulse;

/* `queue` is copied except for its pointers; its callbacks are not used. `on_stale` comes, in the
 * pulse's thread, when the queue says that the worker is lost. */
int pulse_start(struct pulse **ret_pulse, const struct queue_config *queue, struct str job,
                const struct queue_worker *worker, void (*on_stale)(void *ctx), void *ctx,
                struct err *err);
/* Waits for the thread. NULL is fine. */
void pulse_stop(struct pulse *p);

#endif
