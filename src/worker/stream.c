/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/stream.h"

#include "base/buf.h"
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void stream_init(struct stream *s)
{
    *s = (struct stream){.fd = -1};
}

int stream_open(struct stream *s, bool write, int *ret_theirs, struct err *err)
{
    int fds[2];
    int rc = process_pipe(fds, err);
    if (rc)
        return rc;
    int ours = fds[write];
    if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0) {
        rc = err_set_errno(err, errno, "cannot make a pipe");
        close(fds[0]);
        close(fds[1]);
        return rc;
    }
    s->fd = ours;
    s->wide = false;
    *ret_theirs = fds[!write];
    return 0;
}

void stream_close(struct stream *s)
{
    if (s->fd < 0)
        return;
    loop_poll_stop(&s->poll);
    close(s->fd);
    s->fd = -1;
}

int stream_watch(struct stream *s, struct loop *l, unsigned events,
                 void (*on_ready)(struct loop_poll *p, unsigned events))
{
    return loop_poll_start(&s->poll, l, s->fd, events, on_ready);
}

int stream_read(struct stream *s, struct buf *out)
{
    char *at;
    size_t room = out->bytes_max - buf_len(out);
    size_t most = s->wide ? STREAM_WIDE_BYTES : STREAM_READ_BYTES;
    if (room > most)
        room = most;
    if (room == 0)
        return TTG_EFULL;
    int rc = buf_reserve(out, room, &at);
    if (rc)
        return rc;
    ssize_t n;
    do
        n = read(s->fd, at, room);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? TTG_EAGAIN : err_from_errno(errno);
    buf_grew(out, (size_t)n);
    if (n == STREAM_READ_BYTES && !s->wide) {
        s->wide = true;
        fcntl(s->fd, F_SETPIPE_SZ, STREAM_WIDE_BYTES); /* refused to who has many: as before */
    }
    return (int)n;
}

bool stream_read_tail(struct stream *s, struct tail *t, tail_on_line *on_line, void *ctx)
{
    char bytes[8192];
    if (!stream_is_open(s))
        return false;
    ssize_t n = read(s->fd, bytes, sizeof bytes);
    if (n > 0)
        tail_add(t, str_make(bytes, (size_t)n), on_line, ctx);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        stream_close(s);
    return n > 0;
}
