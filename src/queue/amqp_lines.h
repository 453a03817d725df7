/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_lines - the newest result lines, by their sequence number: what a collector hands on. */
#ifndef TTG_QUEUE_AMQP_LINES_H
#define TTG_QUEUE_AMQP_LINES_H

#include "base/buf.h"

struct amqp_lines {
    struct buf bytes;
    uint64_t first;          /* sequence number of the first line that is here */
    uint64_t *ends;          /* where lines end, counted from the first byte there ever was */
    size_t count, cap, gone; /* ends[gone .. gone + count) are in use */
    uint64_t base;           /* bytes that were dropped */
};

void amqp_lines_init(struct amqp_lines *l, uint64_t first);
void amqp_lines_done(struct amqp_lines *l);
/* The line that was just added to `bytes` gets the next number. TTG_ENOMEM. */
int amqp_lines_end(struct amqp_lines *l);
/* Lines behind `cursor`, at most `count` of them, none above `last`. The number of the last one
 * is in *ret_last: `cursor` or what lies before the first line when there are none. A view. */
struct str amqp_lines_behind(const struct amqp_lines *l, uint64_t cursor, uint64_t count,
                             uint64_t last, uint64_t *ret_last);
/* Drops lines up to `seq`. */
void amqp_lines_drop(struct amqp_lines *l, uint64_t seq);

#endif
