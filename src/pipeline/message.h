/* SPDX-License-Identifier: Apache-2.0 */
/* message - what travels between stages: one JSON object on one line.
 *
 *     {"id":"read:17","client":"shop-3","key":"tea","value":5}
 *     {"id":"...","client":"shop-3","end":"read"}      no more of this client on this path
 *
 * `id` is the same whenever the same message is made again, which is how a receiver knows it: of a
 * source it counts lines, of a stage it is made of the incoming id, of an aggregate of the client
 * and the content. An end names the path it came on, for whoever has to count paths; the client
 * "*" stands for all clients. */
#ifndef TTG_PIPELINE_MESSAGE_H
#define TTG_PIPELINE_MESSAGE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

enum {
    MESSAGE_TEXT_BYTES_MAX = 512, /* of id, client, key and path */
    MESSAGE_ID_BYTES_MAX = 128,   /* longer ones that we make are hashed */
    MESSAGE_BYTES_MAX = 16 << 20,
};

#define MESSAGE_ALL STR("*")

struct message {
    struct str id, client, key;
    struct str value; /* JSON, as it stands */
    struct str in;    /* in the output of a command: the incoming message it was made of */
    bool end, has_client, has_key;
    struct str path; /* of an end; empty when its maker did not say */
};

/* Views point into `text` and `room` (cleared first), until either changes. With `made` the text is
 * the output of a command or the line of a source: "in" is allowed, and an id is not needed.
 * TTG_EPROTO with a message. */
int message_parse(struct str text, bool made, struct message *ret_message, struct buf *room,
                  struct err *err);
/* Adds the line, without a newline. */
int message_add(struct buf *out, const struct message *m);

/* The id of the n-th message that a stage makes of an incoming one. At `out`. */
struct str message_child_id(char out[MESSAGE_TEXT_BYTES_MAX], struct str id, size_t stage,
                            uint64_t n);
/* 32 hex digits of two texts. */
struct str message_hash_id(char out[MESSAGE_TEXT_BYTES_MAX], struct str a, struct str b);

#endif
