/* SPDX-License-Identifier: Apache-2.0 */
/* feed - the parameters of a chunk as lines, made piece by piece as somebody takes them. */
#ifndef TTG_WORKER_FEED_H
#define TTG_WORKER_FEED_H

#include "base/buf.h"
#include "worker/kernel.h"

enum { FEED_BYTES = 65536 }; /* a pipe holds as much */

struct feed {
    struct buf buf;
    int64_t next, last;
    bool ended; /* nothing more to make */
    struct kernel_source *source;
    char separator; /* behind each parameter */
};

/* Starts anew for a task; memory is kept. Zeroed before the first time. */
void feed_start(struct feed *f, const struct kernel_task *t);
void feed_done(struct feed *f);

/* Writes to a pipe that does not block. 0: all is written; TTG_EAGAIN: the pipe is full;
 * TTG_ECLOSED: the reader is gone; else what the source or the memory said. */
int feed_write(struct feed *f, int fd);

/* Makes about `bytes_max` more into f->buf. */
int feed_more(struct feed *f, size_t bytes_max);

#endif
