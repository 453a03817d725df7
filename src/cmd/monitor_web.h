/* SPDX-License-Identifier: Apache-2.0 */
/* monitor_web - the dashboard as a command of its own, and beside a node. */
#ifndef TTG_CMD_MONITOR_WEB_H
#define TTG_CMD_MONITOR_WEB_H

#include "cmd/options.h"
#include "cmd/secret_file.h"
#include "monitor/web.h"
#include "node/node.h"

/* Who may look and act at an address: the token, from --token-file or, for this machine alone, made
 * up. TTG_EUSAGE for an address that others reach without a token. */
struct web_access {
    bool local, given; /* given: by the user, who knows the token */
    char token[SECRET_BYTES_MAX + 1];
};
int web_access_choose(struct web_access *a, const char *address, const struct options *o,
                      struct err *err);
/* Says on standard error what to open in a browser. */
void web_access_say(const struct web_access *a, const char *command, const struct net_addr *addr);
/* A monitor waits for a queue that is away for as long as it takes. */
extern const uint64_t web_patience_ms;

/* `ttg monitor --web`: serves until it is stopped. The exit code. */
int monitor_web(struct command_run *r);

/* The dashboard on a node's HTTP port. It reaches the node as any client does. */
struct node_web {
    struct web *web;
    struct url url;
    struct buf address;
    char token[SECRET_BYTES_MAX + 1];
};
/* For node_options.on_http; `ctx` is a struct node_web. */
void node_web_request(void *ctx, struct http_exchange *x, const struct http_request *r);
/* After node_open. Without --http nothing happens. Close it also after a failure. */
int node_web_open(struct node_web *nw, const struct options *o, const struct node_options *options,
                  struct node *n, struct err *err);
/* Before node_close. */
void node_web_close(struct node_web *nw);

#endif
