/* SPDX-License-Identifier: Apache-2.0 */
/* node - the server that owns a log: what a client was told is on disk.
 *
 * One loop: connections bring commands, the core executes them, the log gets those that changed
 * something, a thread writes and syncs, and only then the answers leave. One sync serves all that
 * came meanwhile. Starting is recovery: snapshot, records behind it, boot record. */
#ifndef TTG_NODE_NODE_H
#define TTG_NODE_NODE_H

#include "base/clock.h"
#include "base/err.h"
#include "store/store.h"

enum { NODE_LISTEN_MAX = 8 };

struct http_exchange;
struct http_request;

struct node_options {
    const char *data_dir;
    const char *listen[NODE_LISTEN_MAX]; /* TCP, plain; NULL: none */
    const char *tls_listen[NODE_LISTEN_MAX];
    int listen_fd, listen_fds; /* the first of so many open listening sockets */
    const char *unix_path;     /* NULL: none */
    unsigned unix_mode;        /* 0: 0600 */
    const char *http;          /* NULL: none */
    const char *password;      /* NULL: none */
    bool insecure;             /* listen beyond loopback without a password */
    const char *tls_cert, *tls_key, *tls_ca;
    bool tls_verify;               /* clients must show a certificate */
    const char *sync;              /* "always", "never", "interval:MS"; NULL: always */
    uint64_t clients_max;          /* 0: default */
    uint64_t snapshot_log_bytes;   /* snapshot after so many bytes of log; 0: default */
    uint64_t client_out_bytes_max; /* 0: default */
    bool until_eof; /* stop when standard input, a pipe, has ended and no client is left */
    struct clock *clock;
    /* A request over HTTP that is not for the node itself; may be NULL. */
    void (*on_http)(void *ctx, struct http_exchange *x, const struct http_request *r);
    void *on_http_ctx;
    void (*on_hangup)(void *ctx); /* SIGHUP: reopen the log file; may be NULL */
    void *on_hangup_ctx;
    void (*on_stopping)(void); /* it accepts nothing new from now on; may be NULL */
};

struct node;
struct loop;
struct net_addr;

/* Recovers the state and listens. With an error nothing is left open. */
int node_open(const struct node_options *options, struct node **ret_node, struct err *err);
/* Serves until SIGTERM, SIGINT or SHUTDOWN; answers what was accepted. TTG_EIO when the disk failed
 * so that going on would be guessing; `err` says what to do. */
int node_run(struct node *n, struct err *err);
void node_close(struct node *n);

/* The address it listens on, for port 0: NULL behind the last. */
const char *node_address(const struct node *n, size_t i);

/* For what is served beside it in the same process; between node_open and node_close. */
struct loop *node_loop(const struct node *n);
/* Where it answers over HTTP; NULL: nowhere. */
const struct net_addr *node_http_addr(const struct node *n);

struct buf;
/* The reference of all commands, as Markdown: docs/commands.md. */
int node_commands_markdown(struct buf *out);

#endif
