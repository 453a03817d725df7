/* SPDX-License-Identifier: Apache-2.0 */
/* queue_options - which queue the options mean. */
#ifndef TTG_CMD_QUEUE_OPTIONS_H
#define TTG_CMD_QUEUE_OPTIONS_H

#include "cmd/options.h"

/* The address of the queue at `out`: --queue or TTG_QUEUE; without them the older variables, when
 * QUEUE_MODE is true: redis://REDIS_HOST:REDIS_PORT or amqp://guest:guest@RABBITMQ_HOST:.../%2F.
 * Nothing is added when no queue is asked for. TTG_EUSAGE when the address is wrong. The command
 * has the options of IN_QUEUE. */
int queue_address(const struct options *o, struct buf *out, struct err *err);

#endif
