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

/* What the beats heard since the last look. */
struct pulse_news {
    bool lost;  /* the worker is not joined (any more), or replaced: join again to learn which */
    bool ended; /* the job has finished or was canceled */
};

/* `queue` is copied except for its pointers; its callbacks are not used, and it does not give up.
 * `on_news` comes in the pulse's thread. */
int pulse_start(struct pulse **ret_pulse, const struct queue_config *queue, struct str job,
                const struct queue_worker *worker, void (*on_news)(void *ctx), void *ctx,
                struct err *err);
/* From any thread; clears them. NULL: none. */
struct pulse_news pulse_news(struct pulse *p);
/* Waits for the thread. NULL is fine. */
void pulse_stop(struct pulse *p);

#endif
