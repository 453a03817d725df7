/* SPDX-License-Identifier: Apache-2.0 */
/* order - lets lines out in the order of their chunks.
 *
 * A line that comes early waits in an unnamed file; memory holds only where. */
#ifndef TTG_JOB_ORDER_H
#define TTG_JOB_ORDER_H

#include "base/buf.h"
#include "base/err.h"

struct order;

/* The file is made in `dir` (NULL: /tmp). `next`: the first chunk that is to come out. */
int order_new(struct order **ret_order, const char *dir, uint64_t next, struct err *err);
void order_free(struct order *o);

/* Takes a line with its newline. What can come out now is added to `out`. A chunk that is out, or
 * waits, already is dropped. */
int order_add(struct order *o, uint64_t chunk, struct str line, struct buf *out, struct err *err);

/* No more lines come: what waits comes out with its gaps. */
int order_end(struct order *o, struct buf *out, struct err *err);

uint64_t order_next(const struct order *o);

#endif
