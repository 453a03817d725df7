/* SPDX-License-Identifier: Apache-2.0 */
/* xcmd - the X commands, one file per group of them; xtable.c lists them. */
#ifndef TTG_CORE_XCMD_H
#define TTG_CORE_XCMD_H

#include "core/args.h"

typedef void core_run(struct core *c, struct core_call *call);

core_run xadd, xlen, xrange, xdel, xtrim, xsetid; /* xadd.c, xrange.c */
core_run xread;                                   /* xread.c: XREADGROUP too */
core_run xdelex;                                  /* xdelex.c: XACKDEL too */
core_run xgroup, xack, xnack;                     /* xgroup.c, xack.c, xnack.c */
core_run xpending, xclaim, xautoclaim;            /* xpending.c, xclaim.c */
core_run xinfo;                                   /* xinfo.c */
core_run xcfgset;                                 /* xidmp.c */

/* What streams know of their producers, of all keys. */
void xidmp_save(const struct core *c, struct core_saver *out);
void xidmp_load(struct core *c, struct unpacker *u);
uint64_t xidmp_digest(const struct core *c);

/* [id, [name, value, ...]] */
void reply_entry(struct reply *r, struct stream_entry *e);
/* [id, [name, value, ...], milliseconds since it was delivered last, how often it was] */
void reply_delivery(struct reply *r, struct stream_entry *e, int64_t idle_ms, uint64_t deliveries);
/* The entries of a range; how many in ret_count (may be NULL). `limit` 0: all. The array is part of
 * the answer. False: a block could not be read back, and the answer is that error. */
bool reply_range(struct reply *r, const struct stream *s, struct stream_id from,
                 struct stream_id to, bool reverse, uint64_t limit);
/* One entry without an array around it; false and nothing written when it does not exist. */
bool reply_one(struct reply *r, const struct stream *s, struct stream_id id);

/* Negative when the delivery lies in the future. */
int64_t pending_idle_ms(const struct stream_pending *p, uint64_t now_ms);

/* Finds or makes a consumer and notes that it was here. NULL: out of memory, not answered. */
struct stream_consumer *consumer_open(struct stream_group *g, struct str name, uint64_t now_ms);

#endif
