/* SPDX-License-Identifier: Apache-2.0 */
/* resp_line - one connection to a node or Redis that comes back by itself: plain commands out,
 * replies in, in order. What was not answered when it broke is forgotten; the owner starts afresh
 * with on_up. */
#ifndef TTG_QUEUE_RESP_LINE_H
#define TTG_QUEUE_RESP_LINE_H

#include "base/prng.h"
#include "io/conn.h"
#include "wire/resp_client.h"

struct queue_config;

struct resp_line {
    const struct queue_config *config;
    struct loop *loop;
    struct conn conn;
    struct tls *tls;
    struct loop_timer timer, watch;
    struct resp_scan scan;
    struct prng prng;
    size_t host, hello_left, due; /* due: replies still to come */
    uint64_t cut_ms, tries, slack_ms;
    bool up;

    /* the owner's */
    void *ctx;
    void (*on_up)(struct resp_line *l);
    void (*on_reply)(struct resp_line *l, struct str reply);
    void (*on_down)(struct resp_line *l, const struct err *err); /* tried again */
    void (*on_lost)(struct resp_line *l, const struct err *err); /* for good */
};

/* The callbacks are set; they come from the loop. */
int resp_line_open(struct resp_line *l, struct loop *loop, const struct queue_config *config,
                   struct err *err);
void resp_line_close(struct resp_line *l);

/* Lets leave what was added to l->conn.out: `replies` answers will come, and the first of them may
 * take `slack_ms` longer than usual. */
void resp_line_send(struct resp_line *l, size_t replies, uint64_t slack_ms);
/* The other end said something that makes no sense: a fresh start. */
void resp_line_cut(struct resp_line *l, const struct err *why);

#endif
