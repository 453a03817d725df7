/* SPDX-License-Identifier: Apache-2.0 */
#include "io/relay.h"

#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum {
    AGAIN_MS = 20,      /* between looks whether our own standard error takes more */
    LEFT_READS = 256,   /* of what a process that has ended left in its pipe: at most 1 MiB */
    READS_PER_TURN = 16 /* then others have their turn */
};

static bool stderr_takes_more(void)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    /* A file, or an error that the write will tell: no wait. */
    return poll(&p, 1, 0) != 0;
}

static void drop(struct relay *r, size_t from, size_t to)
{
    memmove(r->bytes + from, r->bytes + to, r->held - to);
    r->held -= to - from;
}

/* False: not all, not now. What nobody reads any more is dropped. */
static bool put(struct relay *r)
{
    ssize_t n;
    if (r->ready == 0)
        return true;
    if (!stderr_takes_more())
        return false;
    do
        n = write(STDERR_FILENO, r->bytes, r->ready);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return false;
    size_t done = n < 0 ? r->ready : (size_t)n;
    drop(r, 0, done);
    r->ready -= done;
    return r->ready == 0;
}

/* The line, or a part of it, that ends at `to`: to be written, or gone. */
static void settle(struct relay *r, size_t to, bool whole)
{
    enum log_level level;
    if (!r->inside)
        r->hidden =
            r->quiet || (log_line_level(str_make(r->bytes + r->ready, to - r->ready), &level) &&
                         level < r->level);
    r->inside = !whole;
    if (r->hidden)
        drop(r, r->ready, to);
    else
        r->ready = to;
}

static void sort_lines(struct relay *r)
{
    const char *newline;
    while ((newline = memchr(r->bytes + r->ready, '\n', r->held - r->ready)))
        settle(r, (size_t)(newline - r->bytes) + 1, true);
    if (r->held == sizeof r->bytes && r->ready == 0)
        settle(r, r->held, false);
}

/* The number of bytes read; 0 at the end, or without room. */
static ssize_t take(struct relay *r)
{
    ssize_t n;
    if (r->held == sizeof r->bytes)
        return 0;
    do
        n = read(r->fd, r->bytes + r->held, sizeof r->bytes - r->held);
    while (n < 0 && errno == EINTR);
    r->ended = n == 0 || (n < 0 && errno != EAGAIN);
    if (n > 0) {
        tail_add(&r->tail, str_make(r->bytes + r->held, (size_t)n), NULL, NULL);
        r->held += (size_t)n;
        sort_lines(r);
    }
    return n;
}

static void on_ready(struct loop_poll *p, unsigned events)
{
    struct relay *r = container_of(p, struct relay, poll);
    (void)events;
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = take(r);
        if (!put(r)) { /* the pipe is not even watched until there is room */
            loop_poll_stop(&r->poll);
            loop_timer_after_ms(&r->again, AGAIN_MS);
            return;
        }
        sort_lines(r);
        if (n <= 0)
            break;
    }
    if (r->ended)
        loop_poll_stop(&r->poll);
}

static void on_again(struct loop_timer *t)
{
    struct relay *r = container_of(t, struct relay, again);
    if (!put(r) || (!r->ended && loop_poll_start(&r->poll, r->loop, r->fd, LOOP_READ, on_ready)))
        loop_timer_after_ms(&r->again, AGAIN_MS);
}

void relay_init(struct relay *r, struct loop *l, enum log_level level)
{
    r->fd = -1;
    r->level = level;
    r->quiet = false;
    r->loop = l;
    loop_timer_init(&r->again, l, on_again);
}

int relay_open(struct relay *r, int *ret_theirs, struct err *err)
{
    int fds[2];
    int rc = process_pipe(fds, err);
    if (rc)
        return rc;
    r->poll = (struct loop_poll){0};
    r->ready = r->held = 0;
    r->ended = r->inside = false;
    tail_start(&r->tail);
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
        rc = err_set_errno(err, errno, "cannot make a pipe");
    if (!rc && (rc = loop_poll_start(&r->poll, r->loop, fds[0], LOOP_READ, on_ready)))
        err_set(err, rc, "cannot watch a pipe: %s", err_text(rc));
    if (rc) {
        close(fds[0]);
        close(fds[1]);
        return rc;
    }
    r->fd = fds[0];
    *ret_theirs = fds[1];
    return 0;
}

void relay_close(struct relay *r)
{
    if (r->fd < 0)
        return;
    for (int i = 0; i < LEFT_READS && !r->ended; i++) {
        if (!put(r)) { /* the tail has it */
            drop(r, 0, r->ready);
            r->ready = 0;
        }
        sort_lines(r);
        if (take(r) < 0)
            break;
    }
    if (r->held > r->ready)
        settle(r, r->held, true);
    put(r);
    tail_end(&r->tail, NULL, NULL);
    loop_timer_stop(&r->again);
    loop_poll_stop(&r->poll);
    close(r->fd);
    r->fd = -1;
}
