/* SPDX-License-Identifier: Apache-2.0 */
#include "io/dial.h"

#include "base/mem.h"
#include "io/lookup.h"
#include "io/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HOST_BYTES = 256 };

struct dial {
    struct loop *loop;
    char host[HOST_BYTES]; /* "": a Unix socket */
    struct lookup *lookup;
    struct net_addr addrs[LOOKUP_ADDRS_MAX];
    size_t count, next;
    struct loop_poll poll;
    struct loop_timer timer; /* the next address */
    int fd;
    struct err err; /* of the last address */
    void (*on_end)(void *ctx, int fd, const struct err *err);
    void *ctx;
};

static void leave(struct dial *d)
{
    loop_timer_stop(&d->timer);
    loop_poll_stop(&d->poll);
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

static void on_writable(struct loop_poll *p, unsigned events);

static void try_next(struct dial *d)
{
    for (leave(d); d->next < d->count; leave(d)) {
        const struct net_addr *addr = &d->addrs[d->next++];
        int rc = net_connect(addr, &d->fd, &d->err);
        if (!rc && (rc = loop_poll_start(&d->poll, d->loop, d->fd, LOOP_WRITE, on_writable)))
            err_set(&d->err, rc, "cannot start a connection: %s", err_text(rc));
        if (!rc && d->next < d->count)
            loop_timer_after_ms(&d->timer, DIAL_PATIENCE_MS);
        if (!rc)
            return;
    }
    d->on_end(d->ctx, -1, &d->err);
}

static void on_writable(struct loop_poll *p, unsigned events)
{
    struct dial *d = container_of(p, struct dial, poll);
    int error = 0;
    socklen_t len = sizeof error;
    (void)events;
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error) {
        char text[NET_TEXT_BYTES];
        net_addr_text(&d->addrs[d->next - 1], text);
        err_set_errno(&d->err, error, "connect to %s", text);
        d->err.code = TTG_EUNREACH;
        try_next(d);
        return;
    }
    int fd = d->fd;
    d->fd = -1;
    leave(d);
    d->on_end(d->ctx, fd, NULL);
}

static void on_timer(struct loop_timer *t)
{
    try_next(container_of(t, struct dial, timer));
}

static void on_found(void *ctx, const struct net_addr *addrs, size_t count, const struct err *err)
{
    struct dial *d = ctx;
    memcpy(d->addrs, addrs, count * sizeof *addrs);
    d->count = count;
    if (count == 0)
        d->err = *err;
    lookup_stop(d->lookup);
    d->lookup = NULL;
    try_next(d);
}

int dial_start(struct dial **ret_dial, struct loop *loop, const struct dial_to *to,
               void (*on_end)(void *ctx, int fd, const struct err *err), void *ctx, struct err *err)
{
    struct dial *d = mem_zalloc(sizeof *d);
    if (!d)
        return err_set(err, TTG_ENOMEM, "out of memory");
    d->loop = loop;
    d->fd = -1;
    d->on_end = on_end;
    d->ctx = ctx;
    loop_timer_init(&d->timer, loop, on_timer);
    int rc = 0, len = snprintf(d->host, sizeof d->host, "%s", to->host ? to->host : "");
    if (len < 0 || (size_t)len >= sizeof d->host)
        rc = err_set(err, TTG_EUSAGE, "the name of the host is too long: %s", to->host);
    else if (!to->host)
        rc = net_addr_unix(&d->addrs[0], str_of(to->path), err);
    else if (!net_addr_is_numeric(&d->addrs[0], to->host, to->port))
        rc = lookup_start(&d->lookup, loop, to->host, to->port, on_found, d, err);
    if (!rc && !d->lookup) {
        d->count = 1;
        rc = loop_timer_after_ms(&d->timer, 0) ? err_set(err, TTG_ENOMEM, "out of memory") : 0;
    }
    if (rc) {
        dial_free(d);
        return rc;
    }
    *ret_dial = d;
    return 0;
}

const char *dial_host(const struct dial *d)
{
    return d->host[0] ? d->host : NULL;
}

void dial_free(struct dial *d)
{
    if (!d)
        return;
    lookup_stop(d->lookup);
    leave(d);
    mem_free(d);
}
