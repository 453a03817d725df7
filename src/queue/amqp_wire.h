/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_wire - one AMQP connection in a thread of its own.
 *
 * librabbitmq waits inside its calls: for answers, for room in the socket, for ever while a broker
 * with a full disk does not read. So a thread runs it, and only messages pass: calls go in, events
 * come out, each a block of memory that changes its owner. Calls run in the order they were posted.
 * Heartbeats leave from the thread, whatever the rest of the program is busy with.
 */
#ifndef TTG_QUEUE_AMQP_WIRE_H
#define TTG_QUEUE_AMQP_WIRE_H

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"

struct loop_async;
struct queue_config;
struct amqp_wire;

enum {
    AMQP_NAME_BYTES = 128,
    AMQP_HEARTBEAT_S = 2,
    AMQP_CONFIRM_S = 8,       /* without a confirm for so long: another node may do better */
    AMQP_DELIVERY_LIMIT = 20, /* of a message that a quorum queue gives out again and again */
};

enum amqp_op {
    AMQP_CONNECT, /* number: which host; answered by AMQP_UP or AMQP_DOWN */
    AMQP_DECLARE, /* a queue; number: message TTL in ms, 0 none; dead_to: where expired or refused
                     messages go; flags: its kind */
    AMQP_COUNT,   /* messages that wait in a queue: event.count; tag: its consumers; TTG_ENOENT */
    AMQP_DELETE,
    AMQP_PURGE,
    AMQP_GET,      /* one message, to be settled with AMQP_ON_GET (or AMQP_ON_PULL); event.found */
    AMQP_LISTEN,   /* a private queue that hears what is announced under the key `queue` */
    AMQP_CONSUME,  /* number: prefetch, 0 unlimited; tag: the consumer's number; AMQP_EXCLUSIVE */
    AMQP_CANCEL,   /* tag: the consumer's number */
    AMQP_PUBLISH,  /* to a queue; answered when the broker has it on disk */
    AMQP_ANNOUNCE, /* to whoever listens to the key `queue` */
    AMQP_ACK,      /* tag */
    AMQP_NACK,     /* tag; back to the queue */
    AMQP_SERVE,    /* an exclusive queue in which others ask us: AMQP_ASKED */
    AMQP_ASK,      /* a question for such a queue; tag comes back in AMQP_REPLIED */
    AMQP_REPLY,    /* to one: `queue` and tag as they came with AMQP_ASKED */
};

enum amqp_flag {
    AMQP_EXCLUSIVE = 1,
    AMQP_MULTIPLE = 2,
    AMQP_ON_GET = 4,      /* settles what AMQP_GET brought */
    AMQP_ON_PULL = 8,     /* a channel of its own for what is held for long */
    AMQP_QUORUM = 16,     /* replicated, in a cluster */
    AMQP_NEWEST = 32,     /* keeps the newest message only */
    AMQP_LIMITED = 64,    /* quorum: gives a message up after AMQP_DELIVERY_LIMIT deliveries */
    AMQP_LOOKED_AT = 128, /* quorum: never gives up a message that is only looked at */
    AMQP_SLOW = 256,      /* takes its time when a node of a cluster is out of reach */
};

struct amqp_call {
    enum amqp_op op;
    uint64_t gen; /* the connection that is meant: on another one the call is dropped silently */
    uint64_t id;  /* comes back in AMQP_DONE; 0: no answer */
    uint64_t tag;
    uint32_t number;
    unsigned flags; /* enum amqp_flag */
    struct str queue, dead_to;
    uint64_t attempt;           /* header x-ttg-attempt, 0: none */
    struct str reason, history; /* headers x-ttg-reason and x-ttg-history */
    struct str body;
};

enum amqp_event_kind {
    AMQP_UP,   /* count: version of the broker, 31008 for 3.10.8 */
    AMQP_DOWN, /* body: why */
    AMQP_DONE, /* answer to a call; body: why not, or what AMQP_GET found */
    AMQP_DELIVERY,
    AMQP_HEARD,   /* an announcement */
    AMQP_ASKED,   /* extra, tag: whom to reply to */
    AMQP_REPLIED, /* tag; rc TTG_ENOENT: there is no such queue */
    AMQP_BLOCKED, /* the broker takes no messages: disk or memory is full; body: its words */
    AMQP_UNBLOCKED,
};

struct amqp_event {
    struct list link;
    enum amqp_event_kind kind;
    int rc;
    uint64_t gen, id, tag, attempt;
    uint64_t count; /* AMQP_GET: messages left; AMQP_DECLARE: messages in the queue */
    bool found, redelivered;
    struct str reason, extra, body; /* in `bytes`; extra: history of a task */
    char bytes[];
};

/* The thread starts, without a connection. `news` is sent when events wait. */
int amqp_wire_open(struct amqp_wire **ret_wire, const struct queue_config *config,
                   struct loop_async *news, struct err *err);
/* What was posted is done first, as far as the broker lets us. NULL is fine. */
void amqp_wire_close(struct amqp_wire *w);
/* Copies the call. TTG_ENOMEM. */
int amqp_wire_post(struct amqp_wire *w, const struct amqp_call *call);
/* Moves waiting events to `to`; each is freed with amqp_event_free. */
void amqp_wire_events(struct amqp_wire *w, struct list *to);
void amqp_event_free(struct amqp_event *e);

#endif
