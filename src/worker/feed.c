/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/feed.h"

#include "base/err.h"

#include <errno.h>
#include <unistd.h>

enum { INTEGER_BYTES_MAX = 21 };

void feed_start(struct feed *f, const struct kernel_task *t)
{
    if (f->buf.bytes_max == 0)
        buf_init(&f->buf, SIZE_MAX / 2);
    buf_clear(&f->buf);
    f->next = t->start;
    f->last = t->end;
    f->ended = false;
    f->source = t->lines;
    f->separator = t->lines ? t->lines->separator : '\n';
}

void feed_done(struct feed *f)
{
    buf_done(&f->buf);
}

int feed_more(struct feed *f, size_t bytes_max)
{
    if (f->source)
        return f->source->read(f->source, &f->buf, bytes_max, &f->ended);
    char *start;
    int rc = buf_reserve(&f->buf, bytes_max + INTEGER_BYTES_MAX, &start);
    if (rc)
        return rc;
    char *at = start;
    while (!f->ended && at < start + bytes_max) {
        at += str_from_i64(at, f->next);
        *at++ = '\n';
        f->ended = f->next == f->last;
        if (!f->ended)
            f->next++;
    }
    buf_grew(&f->buf, (size_t)(at - start));
    return 0;
}

int feed_write(struct feed *f, int fd)
{
    for (;;) {
        if (buf_len(&f->buf) == 0) {
            if (f->ended)
                return 0;
            int rc = feed_more(f, FEED_BYTES - INTEGER_BYTES_MAX);
            if (rc)
                return rc;
            continue;
        }
        ssize_t n = write(fd, buf_ptr(&f->buf), buf_len(&f->buf));
        if (n >= 0)
            buf_consume(&f->buf, (size_t)n);
        else if (errno == EAGAIN)
            return TTG_EAGAIN;
        else if (errno == EPIPE)
            return TTG_ECLOSED;
        else if (errno != EINTR)
            return err_from_errno(errno);
    }
}
