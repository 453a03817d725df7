/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_astray - deliveries that went astray.
 *
 * A quorum queue notes whose a message is, then sends it. When the node that leads the queue dies
 * in between, the message belongs to a consumer that never hears of it, until more is sent to that
 * one, or its connection ends (rabbitmq-server issue 15473). So who has nothing and waits for long
 * takes another connection. Mostly there is just nothing, then each wait is twice as long as the
 * one before: a job with pauses soon knows how long they are. */
#ifndef TTG_QUEUE_AMQP_ASTRAY_H
#define TTG_QUEUE_AMQP_ASTRAY_H

#include "base/err.h"
#include "base/prng.h"

#include <stdbool.h>
#include <stdint.h>

struct amqp_astray {
    uint64_t since_ms; /* 0: does not wait */
    uint64_t limit_ms; /* 0: has not waited yet */
};

/* Something was delivered. */
void amqp_astray_came(struct amqp_astray *a);
/* Now and then. True: it has waited for long enough, and `why` is what the connection ends with. */
bool amqp_astray_look(struct amqp_astray *a, struct prng *prng, bool waits, uint64_t now_ms,
                      struct err *why);

#endif
