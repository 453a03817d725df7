/* SPDX-License-Identifier: Apache-2.0 */
/* obituary - tells the queue what our workers died of.
 *
 * The queue sees a connection that ends, or a silence; whoever started the worker knows the signal
 * and its last words. With that the worker is lost at once, also where its silence would have to be
 * waited for, and the chunk that killed it keeps the reason. */
#ifndef TTG_JOB_OBITUARY_H
#define TTG_JOB_OBITUARY_H

#include "job/crew.h"
#include "queue/queue.h"

/* Pointers stay the caller's. */
struct obituaries {
    struct queue *queue;
    const char *job;
    void *ctx;
    void (*on_told)(void *ctx); /* once for each that was sent, also when the queue is closed */
};

/* False: no memory for it, and no on_told. */
bool obituary_send(struct obituaries *o, const struct crew_death *death);

#endif
