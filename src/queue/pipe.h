/* SPDX-License-Identifier: Apache-2.0 */
/* pipe - messages between the stages of a pipeline, on node, Redis and RabbitMQ alike.
 *
 * A stage has a number of partitions and each has one inbox: a stream on node and Redis, a queue on
 * RabbitMQ. An inbox has one owner at a time, who gets its messages in order, sends what becomes of
 * them to other inboxes, and acknowledges: all that is one *commit*. What a commit sends is safe
 * before what it acknowledges is forgotten.
 *
 * On node and Redis a commit is one transaction that does not happen when a newer epoch owns the
 * inbox, so there are no copies, and who lost the inbox (and was stopped meanwhile) can send
 * nothing any more. On RabbitMQ the inbox has an exclusive consumer: the next owner gets it when
 * the broker has closed the connection of the last one, and what that one writes then is not read.
 * A commit that was cut between sending and acknowledging is sent again there, with the same
 * message ids: whoever must not count twice looks at them. A body is bytes to this module.
 *
 * See docs/decisions/pipeline-transport.md. */
#ifndef TTG_QUEUE_PIPE_H
#define TTG_QUEUE_PIPE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct queue_config;
struct pipe;

enum { PIPE_NAME_BYTES = 200, PIPE_DOWNS_MAX = 1024 };

/* All pointers stay the caller's and live as long as the pipe. */
struct pipe_config {
    const struct queue_config *queue; /* address, TLS, how long to try again, seed */
    const char *name;                 /* of the pipeline */
    const char *inbox;                /* "STAGE.PARTITION"; NULL: only sends and looks */
    uint64_t epoch;                   /* of the owner; grows with every change of the owner */
    uint32_t credit;                  /* messages handed out and not acknowledged, at most */
    const char *const *downs;         /* inboxes this one may send to */
    size_t down_count;
    void *ctx;
    /* The inbox is ours. Comes again after a lost connection: what was not acknowledged is handed
     * out again from the oldest, earlier tags are void, a commit under way is forgotten (whether it
     * happened or not: if it did, its messages do not come again, or RabbitMQ hands them out
     * again). */
    void (*on_ready)(void *ctx);
    /* `body` is valid until this returns. Tags count from 1 after each on_ready. */
    void (*on_message)(void *ctx, uint64_t tag, struct str body);
    void (*on_committed)(void *ctx);
    void (*on_looked)(void *ctx);
    /* TTG_ESTALE: a newer owner has it. TTG_EUNREACH, TTG_EAUTH, ...: the queue does not come back.
     * Nothing comes after this. */
    void (*on_lost)(void *ctx, const struct err *err);
};

/* Where messages go: any inbox of the pipeline. */
struct pipe_out {
    const char *to;
    struct str body;
};

/* TTG_EUSAGE, TTG_EUNSUPPORTED for an address that cannot serve pipelines. */
int pipe_open(struct pipe **ret_pipe, struct loop *loop, const struct pipe_config *config,
              struct err *err);
/* At once; a commit under way may happen or not. NULL is fine. */
void pipe_close(struct pipe *p);

/* Between on_ready and the loss of the connection. */
bool pipe_is_ready(const struct pipe *p);

/* Sends and then acknowledges all messages up to the tag `acked` (0: none). One at a time; after
 * on_ready and, from the second one on, after on_committed. Bodies are copied. While there is no
 * connection it is forgotten like one under way: on_ready will come. TTG_ENOMEM, TTG_EFULL: too
 * large, and nothing was sent. */
int pipe_commit(struct pipe *p, const struct pipe_out *outs, size_t out_count, uint64_t acked);

/* Removes the downs with all messages in them and whoever owned them; on_committed comes. Of a pipe
 * without an inbox, when no owner runs. TTG_ENOMEM. */
int pipe_remove(struct pipe *p);

/* How many messages wait in the fullest of `downs`, and in down number `i`, when last looked at;
 * every commit looks, too, where that costs nothing. */
uint64_t pipe_backlog(const struct pipe *p);
uint64_t pipe_backlog_of(const struct pipe *p, size_t i);
/* Asks; on_looked comes. Harmless while asked. */
void pipe_look(struct pipe *p);

#endif
