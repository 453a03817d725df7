/* SPDX-License-Identifier: Apache-2.0 */
/* management - questions to the management API of a RabbitMQ broker, with the queue's own user.
 *
 * It tells what no client of AMQP is told: which queues there are, and how the broker is set up. */
#ifndef TTG_CMD_MANAGEMENT_H
#define TTG_CMD_MANAGEMENT_H

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
    bool secure, settled, done; /* settled: this host has answered */
    struct tls *tls;
    int rc, status;
    struct buf body;
    struct err *err;
};

/* TTG_EUSAGE when `given` is no address. Close it also after a failure. */
int management_open(struct management *m, struct loop *loop, const struct queue_config *config,
                    const char *given, struct err *err);
void management_close(struct management *m);
/* Turns the loop until the answer is here; it lives until the next question. The first host that
 * answers is asked from then on. TTG_EUNREACH, TTG_EAUTH, TTG_EPROTO, .... */
int management_get(struct management *m, const char *path, struct json *ret_value, struct err *err);

/* The member of an object, or null. */
struct json management_member(struct json object, struct str name);

#endif
