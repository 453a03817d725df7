/* SPDX-License-Identifier: Apache-2.0 */
/* stream - our end of a pipe to or from a command, watched by the loop. */
#ifndef TTG_WORKER_STREAM_H
#define TTG_WORKER_STREAM_H

#include "base/buf.h"
#include "base/tail.h"
#include "io/loop.h"

/* What fills a pipe of the usual size gets a wide one: fewer turns of both sides. */
enum { STREAM_READ_BYTES = 65536, STREAM_WIDE_BYTES = 262144 };

struct stream {
    int fd; /* -1: closed; zeroed memory is closed by stream_init */
    bool wide;
    struct loop_poll poll;
};

void stream_init(struct stream *s);

/* Makes a pipe; our end (`write` says which) does not block, the other is *ret_theirs. */
int stream_open(struct stream *s, bool write, int *ret_theirs, struct err *err);
void stream_close(struct stream *s);

static inline bool stream_is_open(const struct stream *s)
{
    return s->fd >= 0;
}

int stream_watch(struct stream *s, struct loop *l, unsigned events,
                 void (*on_ready)(struct loop_poll *p, unsigned events));

/* Reads once into `out`: the number of bytes, 0 at the end, TTG_EAGAIN, TTG_EFULL when `out` is
 * full, TTG_ENOMEM, TTG_EIO. */
int stream_read(struct stream *s, struct buf *out);

/* Reads stderr once, to the tail and the log. False when there was nothing, or it ended: then the
 * stream is closed. */
bool stream_read_tail(struct stream *s, struct tail *t, tail_on_line *on_line, void *ctx);

#endif
