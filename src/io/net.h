/* SPDX-License-Identifier: Apache-2.0 */
/* net - socket addresses as people write them, listening and connecting.
 *
 * `HOST:PORT`, `[V6]:PORT`, `:PORT` (loopback), or a path of a Unix socket, which has a slash or
 * starts with `unix:`. All descriptors are non-blocking and close-on-exec. */
#ifndef TTG_IO_NET_H
#define TTG_IO_NET_H

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

#include <sys/socket.h>
#include <sys/un.h>

enum { NET_TEXT_BYTES = 128 };

struct net_addr {
    struct sockaddr_storage storage;
    socklen_t len; /* 0: none */
};

/* To listen on: names are resolved, which may take a while; `default_port` when there is none (0:
 * it must be given). TTG_EUSAGE, TTG_EUNREACH when the name is not known. */
int net_addr_parse(struct net_addr *ret_addr, struct str text, uint16_t default_port,
                   struct err *err);
int net_addr_unix(struct net_addr *ret_addr, struct str path, struct err *err);
/* The addresses of a name, in the order in which to try them; waits for the name server (see
 * io/lookup.h and io/dial.h for loops). TTG_EUNREACH. */
int net_resolve(const char *host, uint16_t port, struct net_addr *addrs, size_t max,
                size_t *ret_count, struct err *err);
/* The host is an address: nobody has to be asked for it. */
bool net_addr_is_numeric(struct net_addr *ret_addr, const char *host, uint16_t port);
bool net_addr_is_unix(const struct net_addr *a);
/* Reachable from this machine only: a Unix socket, 127.0.0.0/8 or ::1. */
bool net_addr_is_local(const struct net_addr *a);
uint16_t net_addr_port(const struct net_addr *a); /* 0 for a Unix socket */
/* "127.0.0.1:6379", "[::1]:6379", "/run/ttg.sock". */
void net_addr_text(const struct net_addr *a, char text[NET_TEXT_BYTES]);

/* Starts a connection. The descriptor is there at once and becomes writable when the connection
 * stands or has failed (SO_ERROR tells). TTG_EUNREACH, TTG_EIO. */
int net_connect(const struct net_addr *a, int *ret_fd, struct err *err);

/* How long a TCP peer may leave what we sent without an acknowledgement before the connection
 * counts as broken; 0: as the system has it. A busy peer acknowledges, one that was cut off or lost
 * its power does not; one that takes no more bytes (its window is closed) counts as silent, too. */
void net_set_patience(int fd, unsigned ms);

/* ---- listening ---- */
struct listener {
    struct loop *loop;
    struct loop_poll poll;
    struct loop_timer pause; /* after running out of descriptors */
    int fd;                  /* -1: closed */
    struct net_addr addr;    /* as bound: with the port that 0 became */
    bool unlink;             /* a Unix socket that we made */
    void *ctx;               /* the caller's */
    /* The descriptor is the callee's. */
    void (*on_accept)(struct listener *l, int fd, const struct net_addr *peer);
};

/* A Unix socket whose path exists is replaced when nobody listens on it; mode 0600 unless `mode`.
 * TTG_EBUSY when the address is in use, TTG_EACCES, TTG_EIO. */
int listener_open(struct listener *l, struct loop *loop, const struct net_addr *addr, unsigned mode,
                  void (*on_accept)(struct listener *l, int fd, const struct net_addr *peer),
                  struct err *err);
/* Takes a descriptor that listens already (socket activation). */
int listener_open_fd(struct listener *l, struct loop *loop, int fd,
                     void (*on_accept)(struct listener *l, int fd, const struct net_addr *peer),
                     struct err *err);
/* Stops and, for a Unix socket, removes the path. Harmless when closed (fd -1). */
void listener_close(struct listener *l);

#endif
