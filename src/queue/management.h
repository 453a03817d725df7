/* SPDX-License-Identifier: Apache-2.0 */
/* management - questions to the management API of a RabbitMQ broker, with the queue's own user.
 *
 * It tells what no client of AMQP is told: which queues there are, who is connected from where, and
 * how the broker is set up. It is a plugin, so it may well not be there. */
#ifndef TTG_QUEUE_MANAGEMENT_H
#define TTG_QUEUE_MANAGEMENT_H

#include "io/http_client.h"
#include "queue/queue.h"
#include "wire/json.h"

struct loop;
struct tls;

struct management {
    struct http_client client;
    const struct queue_config *config; /* address, user, certificates */
    const char *given;                 /* "http://HOST:PORT"; NULL: port 15672 of the hosts */
    char host[256];
    uint16_t port;
    size_t at; /* which of the hosts is asked */
    bool secure;
    bool one_host;    /* only the one whose turn it is is asked */
    uint64_t date_ms; /* what the clock said there at the last answer, to the second; 0: unknown */
    struct tls *tls;
    struct buf path, body;
    void *ctx; /* of on_answer, which comes once for each start, from the loop */
    void (*on_answer)(void *ctx, int rc, struct json value, const struct err *err);
};

/* TTG_EUSAGE when `given` is no address. Close it also after a failure. */
int management_open(struct management *m, struct loop *loop, const struct queue_config *config,
                    const char *given, struct err *err);
void management_close(struct management *m);
/* Asks; the answer lives until the next question. A host that does not answer is followed by the
 * next one at the next question. TTG_EUNREACH, TTG_EAUTH, TTG_EPROTO, .... */
int management_start(struct management *m, const char *path, struct err *err);
/* The same, turning the loop until the answer is here. All hosts are tried. */
int management_get(struct management *m, const char *path, struct json *ret_value, struct err *err);

/* The member of an object, or null. */
struct json management_member(struct json object, struct str name);
/* Adds a text as a part of a path or of a query. */
int management_add_word(struct buf *out, struct str text);

#endif
