/* SPDX-License-Identifier: Apache-2.0 */
/* listen - where a node may be reached: addresses, sockets from the service manager, TLS. */
#ifndef TTG_NODE_LISTEN_H
#define TTG_NODE_LISTEN_H

#include "node/state.h"

/* Whatever can be wrong with the options, found before a state of gigabytes is read: addresses,
 * listening beyond this machine without a password, certificates. */
int listen_check(struct node *n, struct err *err);
/* After `listen_check`. */
int listen_open(struct node *n, struct err *err);
void listen_close(struct node *n);

#endif
