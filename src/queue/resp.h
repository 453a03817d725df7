/* SPDX-License-Identifier: Apache-2.0 */
/* resp - the engine that speaks the Redis protocol, to ttg nodes and to Redis.
 *
 * A node understands the TTG.* commands of docs/protocol.md. On Redis each of them is a script of
 * the same name that takes the same words and gives the same answers, so that everything but the
 * head of a command and the way of waiting is common. resp.c owns the connection, resp_encode.c
 * makes words of requests, resp_decode.c makes structs of answers (with the tables of resp_fields),
 * redis.c knows the scripts. */
#ifndef TTG_QUEUE_RESP_H
#define TTG_QUEUE_RESP_H

#include "base/prng.h"
#include "io/conn.h"
#include "queue/engine.h"
#include "queue/resp_locate.h"
#include "wire/resp_client.h"

struct resp_engine {
    struct queue queue;
    const struct resp_dialect *dialect;
    struct conn conn;
    struct tls *tls;
    struct loop_timer timer; /* next try, or the limit of the present one */
    struct loop_timer watch; /* of an answer that does not come */
    struct resp_scan scan;
    struct prng prng;
    size_t host;       /* which of the addresses */
    size_t hello_left; /* answers of the greeting still to come */
    size_t hello_commands;
    uint64_t cut_ms;            /* since when without a connection */
    uint64_t tries;             /* since then */
    uint64_t heard_ms;          /* last bytes */
    struct resp_locate *locate; /* who is asked where the server is; NULL: the address says */
    struct redis_list *list;    /* under way, or the last one; a cluster's */
    struct resp_node node;      /* where it is, then */
    struct loop_timer follow;   /* asks again while connected */
    char server[24];            /* Redis: names the server's run and role; "" unknown */
    struct buf kept;            /* an answer that waits for those behind it */
    struct buf scratch;         /* arrays for a decoded answer */
    struct buf cursors;         /* of result lines */
    bool again;                 /* has been up before */
    bool told;                  /* that nobody answers at the start */
    bool fit;                   /* it has answered a request since it is up */
};

/* How the engine at the other end is spoken to. */
struct resp_dialect {
    /* Adds greeting commands after AUTH and SELECT; returns how many, or TTG_E.... */
    int (*greet)(struct resp_engine *e, struct buf *out);
    /* May be NULL: looks at an answer to a greeting; an error with a text ends the try. */
    int (*greeted)(struct resp_engine *e, struct str reply, struct err *err);
    /* May be NULL: the last of the `behind` answers; not 0: the request ends with that. */
    int (*confirm)(struct resp_engine *e, struct str reply, struct err *err);
    /* Adds a whole command for the request, whose words are in r->words (`count` of them) and may
     * be taken from there. */
    int (*command)(struct resp_engine *e, struct queue_request *r, size_t count, struct buf *out);
    /* Like resp_decode, which it calls for what is common. */
    int (*decode)(struct resp_engine *e, struct queue_request *r, struct str reply,
                  struct err *err);
    /* May be NULL: the answer says that the command has to be sent in full. */
    bool (*wants_text)(const struct queue_request *r, struct str reply);
    /* May be NULL: 1 and a further command when the answer was only a step. */
    int (*next_step)(struct queue_request *r, struct str reply, struct buf *out);
    /* May be NULL: this server cannot serve us now (a replica, one that loads): another try later,
     * perhaps at another one. */
    bool (*unfit)(const struct queue_request *r, struct str reply);
    /* Whether an answer "nothing yet" is asked again by us, since the engine cannot wait. */
    bool polls;
};

/* The slot of the job that the queue is for. */
unsigned resp_redis_slot(const struct queue *q);

/* What a command inside a script, or a command itself, was refused with. */
struct str resp_refusal(struct str text);

extern const struct resp_dialect resp_node_dialect;
extern const struct resp_dialect resp_redis_dialect;

/* What every connection begins with: adds AUTH, SELECT and the client's name to `out`, as far as
 * they are needed, and returns how many answers come, or TTG_ENOMEM. An answer is checked by
 * resp_hello_check: TTG_EAUTH, TTG_EAGAIN (later), TTG_EUSAGE. */
int resp_hello(const struct url *u, const char *name, struct buf *out);
int resp_hello_check(struct str reply, struct err *err);
/* Where host number `host` (modulo their number) is. */
struct dial_to resp_address(const struct url *u, size_t host);

/* In front of the words of a request there is room for the head of its command. */
enum { RESP_FRONT_BYTES = 64 };

/* Words of a request without its name; *ret_count of them in r->words. */
int resp_encode(struct queue_request *r, size_t *ret_count);
/* The command's name in the protocol, for the node: one or two words. */
void resp_verb_name(const struct queue_request *r, struct str *ret_name, struct str *ret_sub);
/* How long the command itself may wait before it answers. */
uint64_t resp_block_ms(const struct queue_request *r);

/* Fills the out part of the request; returns what on_done gets. Arrays are made in `scratch`. */
int resp_decode(struct queue_request *r, struct str reply, struct buf *scratch, struct err *err);

/* What an error answer means, with its text in `err`. */
int resp_decode_error(struct str text, struct err *err);

#endif
