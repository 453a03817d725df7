/* SPDX-License-Identifier: Apache-2.0 */
#include "io/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 4096, ACCEPTS_A_TURN = 128, PAUSE_MS = 100, KEEPALIVE_S = 60 };

int net_addr_unix(struct net_addr *ret_addr, struct str path, struct err *err)
{
    struct net_addr a = {0};
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&a.storage;
    if (path.len == 0 || path.len >= sizeof(un->sun_path))
        return err_set(err, TTG_EUSAGE,
                       "the path of a Unix socket has 1 to %zu bytes, this one has %zu: '%.*s'",
                       sizeof(un->sun_path) - 1, path.len, STR_ARG(path));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.ptr, path.len);
    a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    *ret_addr = a;
    return 0;
}

/* Cuts "host:port" and "[host]:port". */
static int host_port_cut(struct str text, struct str *ret_host, struct str *ret_port)
{
    *ret_port = (struct str){0};
    if (text.len > 0 && text.ptr[0] == '[') {
        const char *end = memchr(text.ptr, ']', text.len);
        if (!end)
            return TTG_EINVAL;
        size_t host_end = (size_t)(end - text.ptr);
        *ret_host = str_make(text.ptr + 1, host_end - 1);
        if (host_end + 1 == text.len)
            return 0;
        if (end[1] != ':')
            return TTG_EINVAL;
        *ret_port = str_make(end + 2, text.len - host_end - 2);
        return 0;
    }
    const char *colon = memrchr(text.ptr, ':', text.len);
    *ret_host = colon ? str_make(text.ptr, (size_t)(colon - text.ptr)) : text;
    if (colon)
        *ret_port = str_make(colon + 1, text.len - ret_host->len - 1);
    return 0;
}

static int resolve(const char *host, uint16_t port, int flags, struct net_addr *addrs, size_t max,
                   size_t *ret_count)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags},
                    *found;
    *ret_count = 0;
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc)
        return rc;
    for (struct addrinfo *i = found; i && *ret_count < max; i = i->ai_next) {
        struct net_addr *a = &addrs[(*ret_count)++];
        *a = (struct net_addr){.len = i->ai_addrlen};
        memcpy(&a->storage, i->ai_addr, i->ai_addrlen);
    }
    freeaddrinfo(found);
    return 0;
}

int net_resolve(const char *host, uint16_t port, struct net_addr *addrs, size_t max,
                size_t *ret_count, struct err *err)
{
    int rc = resolve(host, port, 0, addrs, max, ret_count);
    return rc ? err_set(err, TTG_EUNREACH, "host '%s': %s", host, gai_strerror(rc)) : 0;
}

bool net_addr_is_numeric(struct net_addr *ret_addr, const char *host, uint16_t port)
{
    size_t count;
    return resolve(host, port, AI_NUMERICHOST, ret_addr, 1, &count) == 0;
}

int net_addr_parse(struct net_addr *ret_addr, struct str text, uint16_t default_port,
                   struct err *err)
{
    if (str_starts(text, STR("unix:")))
        return net_addr_unix(ret_addr, str_make(text.ptr + 5, text.len - 5), err);
    if (text.len > 0 && memchr(text.ptr, '/', text.len))
        return net_addr_unix(ret_addr, text, err);
    struct str host, port_text;
    uint64_t port = default_port;
    if (text.len == 0 || host_port_cut(text, &host, &port_text) ||
        (port_text.len > 0 && (str_to_u64(port_text, &port) || port > 65535)) ||
        (port_text.len == 0 && default_port == 0))
        return err_set(err, TTG_EUSAGE, "'%.*s' is no address: give HOST:PORT, [V6]:PORT or a path",
                       STR_ARG(text));
    if (host.len == 0)
        host = STR("127.0.0.1");
    if (str_eq(host, STR("*")))
        host = STR("0.0.0.0");
    char name[256];
    size_t count;
    if (host.len >= sizeof(name))
        return err_set(err, TTG_EUSAGE, "host name too long");
    memcpy(name, host.ptr, host.len);
    name[host.len] = '\0';
    return net_resolve(name, (uint16_t)port, ret_addr, 1, &count, err);
}

bool net_addr_is_unix(const struct net_addr *a)
{
    return a->storage.ss_family == AF_UNIX;
}

bool net_addr_is_local(const struct net_addr *a)
{
    if (a->storage.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&a->storage;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (a->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&a->storage;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            return in6->sin6_addr.s6_addr[12] == 127;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    return net_addr_is_unix(a);
}

uint16_t net_addr_port(const struct net_addr *a)
{
    if (a->storage.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)&a->storage)->sin_port);
    if (a->storage.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&a->storage)->sin6_port);
    return 0;
}

void net_addr_text(const struct net_addr *a, char text[NET_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    const void *raw = &a->storage;
    if (a->storage.ss_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)raw)->sin_addr, ip, sizeof(ip));
        snprintf(text, NET_TEXT_BYTES, "%s:%u", ip, net_addr_port(a));
    } else if (a->storage.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)raw)->sin6_addr, ip, sizeof(ip));
        snprintf(text, NET_TEXT_BYTES, "[%s]:%u", ip, net_addr_port(a));
    } else {
        const struct sockaddr_un *un = raw;
        size_t head = offsetof(struct sockaddr_un, sun_path);
        int len = a->len > head ? (int)(a->len - head) : 0;
        snprintf(text, NET_TEXT_BYTES, "%.*s", len, un->sun_path);
    }
}

static void tcp_tune(int fd)
{
    int on = 1, idle_s = KEEPALIVE_S;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
}

void net_set_patience(int fd, unsigned ms)
{
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

int net_connect(const struct net_addr *a, int *ret_fd, struct err *err)
{
    char text[NET_TEXT_BYTES];
    net_addr_text(a, text);
    int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "socket for %s", text);
    if (!net_addr_is_unix(a))
        tcp_tune(fd);
    if (connect(fd, (const struct sockaddr *)&a->storage, a->len) < 0 && errno != EINPROGRESS) {
        int saved = errno;
        close(fd);
        err_set_errno(err, saved, "connect to %s", text);
        if (err)
            err->code = TTG_EUNREACH;
        return TTG_EUNREACH;
    }
    *ret_fd = fd;
    return 0;
}

/* ---- listening ---- */
static void listener_on_ready(struct loop_poll *p, unsigned events)
{
    (void)events;
    struct listener *l = container_of(p, struct listener, poll);
    for (int i = 0; i < ACCEPTS_A_TURN && l->fd >= 0; i++) {
        struct net_addr peer = {.len = sizeof(peer.storage)};
        int fd = accept4(l->fd, (struct sockaddr *)&peer.storage, &peer.len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            /* Waiting connections stay in the backlog; without the pause we would spin. */
            loop_poll_change(&l->poll, 0);
            loop_timer_after_ms(&l->pause, PAUSE_MS);
        }
        if (fd < 0)
            return;
        if (!net_addr_is_unix(&l->addr))
            tcp_tune(fd);
        l->on_accept(l, fd, &peer);
    }
}

static void listener_on_pause(struct loop_timer *t)
{
    struct listener *l = container_of(t, struct listener, pause);
    loop_poll_change(&l->poll, LOOP_READ);
}

int listener_open_fd(struct listener *l, struct loop *loop, int fd,
                     void (*on_accept)(struct listener *l, int fd, const struct net_addr *peer),
                     struct err *err)
{
    *l = (struct listener){.loop = loop, .fd = fd, .on_accept = on_accept};
    l->addr.len = sizeof(l->addr.storage);
    if (getsockname(fd, (struct sockaddr *)&l->addr.storage, &l->addr.len) < 0) {
        l->fd = -1;
        return err_set_errno(err, errno, "the given descriptor %d is no socket", fd);
    }
    /* One that was given may block; accept must not. */
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    loop_timer_init(&l->pause, loop, listener_on_pause);
    int rc = loop_poll_start(&l->poll, loop, fd, LOOP_READ, listener_on_ready);
    if (rc)
        l->fd = -1;
    return rc ? err_set(err, rc, "cannot watch a listening socket") : 0;
}

static bool is_socket(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* A path left behind by a process that died is in the way of bind. */
static void unix_remove_stale(const struct net_addr *addr)
{
    const struct sockaddr_un *un = (const void *)&addr->storage;
    if (!is_socket(un->sun_path))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)&addr->storage, addr->len) < 0 &&
        errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

int listener_open(struct listener *l, struct loop *loop, const struct net_addr *addr, unsigned mode,
                  void (*on_accept)(struct listener *l, int fd, const struct net_addr *peer),
                  struct err *err)
{
    char text[NET_TEXT_BYTES];
    int on = 1, rc = 0;
    bool is_unix = net_addr_is_unix(addr);
    const struct sockaddr_un *un = (const void *)&addr->storage;
    net_addr_text(addr, text);
    l->fd = -1;
    int fd = socket(addr->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "socket for %s", text);
    if (is_unix)
        unix_remove_stale(addr);
    else
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* fchmod before bind sets the mode of the path without a moment of openness. */
    if (is_unix)
        fchmod(fd, mode ? mode : 0600);
    if (bind(fd, (const struct sockaddr *)&addr->storage, addr->len) < 0)
        rc = errno != EADDRINUSE ? err_set_errno(err, errno, "listen on %s", text)
             : is_unix && !is_socket(un->sun_path)
                 ? err_set(err, TTG_EBUSY, "listen on %s: that is there and no socket", text)
                 : err_set(err, TTG_EBUSY, "listen on %s: somebody else listens there", text);
    else if ((is_unix && chmod(un->sun_path, mode ? mode : 0600) < 0) || listen(fd, BACKLOG) < 0)
        rc = err_set_errno(err, errno, "listen on %s", text);
    if (!rc)
        rc = listener_open_fd(l, loop, fd, on_accept, err);
    if (rc)
        close(fd);
    else
        l->unlink = is_unix;
    return rc;
}

void listener_close(struct listener *l)
{
    if (l->fd < 0)
        return;
    loop_poll_stop(&l->poll);
    loop_timer_stop(&l->pause);
    close(l->fd);
    l->fd = -1;
    if (l->unlink)
        unlink(((struct sockaddr_un *)(void *)&l->addr.storage)->sun_path);
}
