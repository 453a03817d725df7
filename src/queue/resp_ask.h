/* SPDX-License-Identifier: Apache-2.0 */
/* resp_ask - a few commands to one server over a connection of their own, and all their answers.
 *
 * For what is asked beside the work: a sentinel for its master, a cluster for its slots, a server
 * for its settings. */
#ifndef TTG_QUEUE_RESP_ASK_H
#define TTG_QUEUE_RESP_ASK_H

#include "io/conn.h"
#include "wire/resp_client.h"

enum { RESP_ASK_REPLIES_MAX = 64, RESP_ASK_BYTES_MAX = 16 << 20 };

struct resp_ask {
    struct loop *loop;
    struct conn conn;
    struct loop_timer timer;
    struct resp_scan scan;
    struct buf commands; /* the caller's to fill with resp_command and resp_word */
    size_t expected;     /* how many: the caller's, at most RESP_ASK_REPLIES_MAX */
    size_t got;
    struct buf bytes;
    size_t ends[RESP_ASK_REPLIES_MAX]; /* of each reply in `bytes` */
    bool busy;
    void *ctx;
    /* Once, from the loop; the connection is closed. 0: all replies are there, also errors among
     * them; until the next start. */
    void (*on_done)(struct resp_ask *a, int rc, const struct err *err);
};

struct resp_server {
    const char *host; /* NULL: `path` */
    uint16_t port;
    struct tls *tls;  /* NULL: none */
    const char *path; /* of a Unix socket */
};

void resp_ask_init(struct resp_ask *a, struct loop *loop,
                   void (*on_done)(struct resp_ask *a, int rc, const struct err *err), void *ctx);
/* Nothing comes any more. */
void resp_ask_done(struct resp_ask *a);
/* Ends what is under way, and empties `commands`. */
void resp_ask_reset(struct resp_ask *a);
/* An error is returned, and on_done does not come, when it cannot even begin. */
int resp_ask_start(struct resp_ask *a, const struct resp_server *server, uint64_t timeout_ms,
                   struct err *err);
/* AUTH in front of the commands; counts as one of them. No password: nothing. */
int resp_ask_auth(struct resp_ask *a, const char *user, const char *password);
/* One command of `count` words. */
int resp_ask_put(struct resp_ask *a, size_t count, const char *const *words);

struct str resp_ask_reply(const struct resp_ask *a, size_t i);

#endif
