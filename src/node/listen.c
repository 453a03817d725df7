/* SPDX-License-Identifier: Apache-2.0 */
#include "node/listen.h"

#include "base/log.h"

static void on_accept(struct listener *l, int fd, const struct net_addr *peer)
{
    struct node *n = l->ctx;
    client_accept(n, fd, peer, NULL);
}

static void on_accept_tls(struct listener *l, int fd, const struct net_addr *peer)
{
    struct node *n = l->ctx;
    client_accept(n, fd, peer, n->tls);
}

static int listen_allowed(struct node *n, const struct net_addr *addr, bool tls, struct err *err)
{
    char text[NET_TEXT_BYTES];
    if (net_addr_is_local(addr) || n->options.password || n->options.insecure ||
        (tls && n->options.tls_verify))
        return 0;
    net_addr_text(addr, text);
    return err_set(err, TTG_EUSAGE,
                   "refusing to listen on %s without a password: anybody who reaches this machine "
                   "could use the node. Give --password-file, or --insecure",
                   text);
}

static void listen_done(struct node *n, bool tls)
{
    char *text = n->addresses[n->listener_count];
    net_addr_text(&n->listeners[n->listener_count++].addr, text);
    log_info("node.listening", kv_str("address", text), kv_bool("tls", tls));
}

static int listen_one(struct node *n, const struct net_addr *addr, bool tls, struct err *err)
{
    if (n->listener_count == sizeof(n->listeners) / sizeof(n->listeners[0]))
        return err_set(err, TTG_EUSAGE, "too many addresses to listen on");
    int rc = listen_allowed(n, addr, tls, err);
    if (rc)
        return rc;
    struct listener *l = &n->listeners[n->listener_count];
    rc =
        listener_open(l, n->loop, addr, n->options.unix_mode, tls ? on_accept_tls : on_accept, err);
    if (rc)
        return rc;
    l->ctx = n;
    listen_done(n, tls);
    return 0;
}

/* Sockets that the service manager has opened for us, under the same rules. */
static int listen_given(struct node *n, struct err *err)
{
    for (int i = 0; i < n->options.listen_fds; i++) {
        struct listener *l = &n->listeners[n->listener_count];
        if (n->listener_count == sizeof(n->listeners) / sizeof(n->listeners[0]))
            return err_set(err, TTG_EUSAGE, "too many addresses to listen on");
        int rc = listener_open_fd(l, n->loop, n->options.listen_fd + i, on_accept, err);
        if (rc)
            return rc;
        l->ctx = n;
        rc = listen_allowed(n, &l->addr, false, err);
        if (rc) {
            listener_close(l);
            return rc;
        }
        listen_done(n, false);
    }
    return 0;
}

static int tls_setup(struct node *n, struct err *err)
{
    const struct node_options *o = &n->options;
    if (!o->tls_listen[0])
        return 0;
    struct tls_options t = {
        .server = true,
        .cert_file = o->tls_cert,
        .key_file = o->tls_key,
        .ca_file = o->tls_ca,
        .verify = o->tls_verify,
    };
    return tls_new(&t, &n->tls, err);
}

/* The i-th address to listen on, those with TLS last; NULL: none in this place. */
static const char *listen_text(const struct node_options *o, size_t i, bool *ret_tls)
{
    *ret_tls = i >= NODE_LISTEN_MAX;
    return *ret_tls ? o->tls_listen[i - NODE_LISTEN_MAX] : o->listen[i];
}

int listen_check(struct node *n, struct err *err)
{
    const struct node_options *o = &n->options;
    struct net_addr addr;
    bool tls;
    int rc = o->unix_path ? net_addr_unix(&addr, str_of(o->unix_path), err) : 0;
    if (!rc && o->http)
        rc = net_addr_parse(&addr, str_of(o->http), 0, err);
    for (size_t i = 0; !rc && i < 2 * NODE_LISTEN_MAX; i++) {
        const char *text = listen_text(o, i, &tls);
        if (!text)
            continue;
        rc = net_addr_parse(&addr, str_of(text), 0, err);
        if (!rc)
            rc = listen_allowed(n, &addr, tls, err);
    }
    return rc ? rc : tls_setup(n, err);
}

int listen_open(struct node *n, struct err *err)
{
    const struct node_options *o = &n->options;
    struct net_addr addr;
    bool tls;
    int rc = listen_given(n, err);
    if (!rc && o->unix_path) {
        rc = net_addr_unix(&addr, str_of(o->unix_path), err);
        if (!rc)
            rc = listen_one(n, &addr, false, err);
    }
    for (size_t i = 0; !rc && i < 2 * NODE_LISTEN_MAX; i++) {
        const char *text = listen_text(o, i, &tls);
        if (!text)
            continue;
        rc = net_addr_parse(&addr, str_of(text), 0, err);
        if (!rc)
            rc = listen_one(n, &addr, tls, err);
    }
    return rc;
}

void listen_close(struct node *n)
{
    for (size_t i = 0; i < n->listener_count; i++)
        listener_close(&n->listeners[i]);
}
