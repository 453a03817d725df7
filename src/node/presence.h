/* SPDX-License-Identifier: Apache-2.0 */
/* presence - which workers are there, and when one counts as lost.
 *
 * That a worker was seen is soft state; that it is lost is a logged command, so that replay decides
 * the same. On a Unix socket the end of the connection is the end of the process: lost at once. On
 * TCP a worker may come back within a second. Whoever says nothing for two and a half
 * seconds is lost. Only a worker that has just joined has ten: it holds no chunk that anybody could
 * wait for, and where a hundred start at once it may take it seconds to say its next word. */
#ifndef TTG_NODE_PRESENCE_H
#define TTG_NODE_PRESENCE_H

#include "node/state.h"

int presence_open(struct node *n, struct err *err);
void presence_close(struct node *n);
size_t presence_count(const struct node *n);

/* A command of a client was executed: it may name a worker. That bytes came at all is seen in
 * client->active_ms. */
void presence_command(struct client *c, const struct node_entry *e, size_t argc,
                      const struct str *argv, bool failed);
void presence_disconnected(struct client *c);

#endif
