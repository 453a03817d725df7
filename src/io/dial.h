/* SPDX-License-Identifier: Apache-2.0 */
/* dial - from a name to a connection.
 *
 * A name may have several addresses (localhost is ::1 and 127.0.0.1 on most machines, and a server
 * may listen on one of them): they are tried in their order. One that refuses is left at once, one
 * that stays silent after DIAL_PATIENCE_MS; the last may take as long as the owner lets it. */
#ifndef TTG_IO_DIAL_H
#define TTG_IO_DIAL_H

#include "base/err.h"
#include "io/loop.h"

enum { DIAL_PATIENCE_MS = 1000 };

/* Where to: a host, which is a name or an address, and its port; or a Unix socket's path. */
struct dial_to {
    const char *host; /* NULL: the path */
    uint16_t port;
    const char *path;
};

struct dial;

/* `on_end` comes from the loop, once: a connected descriptor, which is the callee's, or -1 and why
 * (TTG_EUNREACH). TTG_EUSAGE for a path that is none, TTG_ENOMEM. */
int dial_start(struct dial **ret_dial, struct loop *loop, const struct dial_to *to,
               void (*on_end)(void *ctx, int fd, const struct err *err), void *ctx,
               struct err *err);
/* The host, for whoever checks a certificate; NULL for a Unix socket. */
const char *dial_host(const struct dial *d);
/* At once; on_end does not come any more. Also from inside on_end; harmless when NULL. */
void dial_free(struct dial *d);

#endif
