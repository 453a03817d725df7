/* SPDX-License-Identifier: Apache-2.0 */
/* address - where a queue is and how it is opened, shared by all handles made from it.
 *
 * Never changes once it is made, so handles of different threads may share it; the last one that
 * lets go frees it. */
#ifndef TTG_LIB_ADDRESS_H
#define TTG_LIB_ADDRESS_H

#include "queue/queue.h"

#include <stdatomic.h>
#include <ttg/ttg.h>

struct address {
    _Atomic unsigned refs;
    struct url url;
    struct queue_config config; /* without owner and seed; its pointers live here */
    char *texts[4];
};

int address_new(struct address **ret_address, const char *url,
                const struct ttg_queue_options *options, struct err *err);
struct address *address_ref(struct address *a);
/* NULL is fine. */
void address_unref(struct address *a);

/* A configuration to open a queue with; its owner is still to be filled in. */
struct queue_config address_config(const struct address *a);

#endif
