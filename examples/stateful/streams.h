/* SPDX-License-Identifier: Apache-2.0 */
/* streams - just enough of a client for streams of a ttg node or a Redis server: send, take,
 * acknowledge. Blocking, one connection, which is made again when it was cut.
 *
 * Delivery is at least once: a message that was taken and not acknowledged comes again after a
 * reconnect or a restart, and a message whose sending was cut off is sent again. Receivers look at
 * message ids. */
#ifndef STREAMS_H
#define STREAMS_H

#include <stddef.h>

enum { STREAMS_FIELDS_MAX = 8, STREAMS_BATCH = 64 };

struct streams; /* a connection */

struct streams_field {
    const char *name;
    const char *value; /* with a NUL; length in `len` */
    size_t len;
};

struct streams_message {
    char id[48]; /* the stream's own, for streams_ack */
    struct streams_field fields[STREAMS_FIELDS_MAX];
    size_t count;
};

/* `address` is a path of a Unix socket, or HOST:PORT. Waits until it is there. */
struct streams *streams_open(const char *address);
void streams_close(struct streams *s);

/* Adds a message and waits until the server has confirmed it. */
void streams_send(struct streams *s, const char *stream, const struct streams_field *fields,
                  size_t count);

/* From now on takes from this stream, as the only consumer of its group. */
void streams_group(struct streams *s, const char *stream, const char *group);

/* Takes up to `max` (<= STREAMS_BATCH) messages, those that were taken before and not acknowledged
 * first; waits `wait_ms` for the first one. They live until the next call of any function. Returns
 * how many. */
size_t streams_take(struct streams *s, struct streams_message *messages, size_t max, int wait_ms);

void streams_ack(struct streams *s, const struct streams_message *messages, size_t count);

/* The value of a field, "" when there is none. */
const char *streams_value(const struct streams_message *m, const char *name);

#endif
