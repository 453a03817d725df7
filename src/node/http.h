/* SPDX-License-Identifier: Apache-2.0 */
/* http - what monitoring asks a node: /metrics, /healthz, /readyz. GET only, in the node's loop. */
#ifndef TTG_NODE_HTTP_H
#define TTG_NODE_HTTP_H

#include "node/state.h"

int http_open(struct node *n, const char *address, struct err *err);
/* Accepts NULL. */
void http_close(struct http *h);

/* The figures in the text format of Prometheus. */
int metrics_write(struct node *n, struct buf *out);

#endif
