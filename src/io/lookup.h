/* SPDX-License-Identifier: Apache-2.0 */
/* lookup - the addresses of a name, from a thread: a name server that does not answer may hold its
 * caller up for half a minute, in which a loop would hear neither its workers nor a signal. */
#ifndef TTG_IO_LOOKUP_H
#define TTG_IO_LOOKUP_H

#include "base/err.h"
#include "io/loop.h"
#include "io/net.h"

enum { LOOKUP_ADDRS_MAX = 8 };

struct lookup;

/* `on_found` comes from the loop, once: `count` addresses in the order in which to try them, or 0
 * and why. TTG_ENOMEM. */
int lookup_start(struct lookup **ret_lookup, struct loop *loop, const char *host, uint16_t port,
                 void (*on_found)(void *ctx, const struct net_addr *addrs, size_t count,
                                  const struct err *err),
                 void *ctx, struct err *err);
/* on_found does not come any more. The thread ends when the name server lets it. Also from inside
 * on_found; harmless when NULL. */
void lookup_stop(struct lookup *l);

#endif
