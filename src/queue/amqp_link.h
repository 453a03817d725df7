/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_link - librabbitmq: one connection, whose functions wait. Only the thread of amqp_wire calls
 * them, except where noted.
 *
 * Channel 1 publishes (with confirms) and consumes; channel 2 asks and declares, so that what the
 * broker refuses there (404, 405, 406 close a channel) disturbs no delivery. */
#ifndef TTG_QUEUE_AMQP_LINK_H
#define TTG_QUEUE_AMQP_LINK_H

#include "queue/amqp_wire.h"

struct amqp_link;

/* NULL: no memory. */
struct amqp_link *amqp_link_new(const struct queue_config *config);
/* Says good-bye, unless the broker does not listen. */
void amqp_link_close(struct amqp_link *l);

/* Does what the call says; answers become events. A call for another connection is dropped. */
void amqp_link_run(struct amqp_link *l, const struct amqp_call *call);
/* Acknowledgements are held until then, and told together. */
void amqp_link_flush(struct amqp_link *l);
/* Takes in what the broker sent, without waiting. Heartbeats leave from here, too. */
void amqp_link_read(struct amqp_link *l);
/* Whether frames wait in memory, of which the descriptor tells nothing. */
bool amqp_link_has_more(const struct amqp_link *l);
/* The broker takes no messages on this connection for now. */
bool amqp_link_blocked(const struct amqp_link *l, uint64_t gen);
/* -1: not connected. */
int amqp_link_fd(const struct amqp_link *l);
/* To be taken off, in order. */
struct list *amqp_link_events(struct amqp_link *l);

#endif
