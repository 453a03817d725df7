/* SPDX-License-Identifier: Apache-2.0 */
/* health - what monitoring asks a node over HTTP: /metrics, /healthz, /readyz. Other paths go to
 * whoever started the node and has more to show. */
#ifndef TTG_NODE_HEALTH_H
#define TTG_NODE_HEALTH_H

#include "node/state.h"

int health_open(struct node *n, const char *address, struct err *err);

/* The figures in the text format of Prometheus. */
int metrics_write(struct node *n, struct buf *out);

#endif
