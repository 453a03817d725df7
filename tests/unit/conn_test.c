/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "io/conn.h"
#include "io/loop.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK_BYTES = 48 * 1024, BLOCKS = 400, LIMIT = 1 << 20 };

/* One thread with a loop of its own: writes its letter to itself and looks at what comes. */
struct side {
    pthread_t thread;
    char letter;
    struct loop *loop;
    struct conn to, from;
    size_t got, wrong;
    char block[BLOCK_BYTES];
    int rc;
};

static size_t on_bytes(struct conn *c, struct str bytes)
{
    struct side *s = container_of(c, struct side, from);
    for (int look = 0; look < 3; look++) /* the other thread has time to disturb */
        for (size_t i = 0; i < bytes.len; i++)
            s->wrong += bytes.ptr[i] != s->letter;
    s->got += bytes.len;
    if (s->got == (size_t)BLOCK_BYTES * BLOCKS)
        loop_stop(s->loop);
    else if (s->got % BLOCK_BYTES == 0 && buf_add(&s->to.out, s->block, BLOCK_BYTES) == 0)
        conn_send_all(&s->to);
    return bytes.len;
}

static size_t on_no_bytes(struct conn *c, struct str bytes)
{
    (void)c;
    return bytes.len;
}

static void on_over(struct conn *c, const struct err *err)
{
    (void)err;
    loop_stop(c->loop);
}

static const struct conn_handler reader = {.on_bytes = on_bytes, .on_over = on_over};
static const struct conn_handler writer = {.on_bytes = on_no_bytes, .on_over = on_over};

static void *side_main(void *arg)
{
    struct side *s = arg;
    int fds[2];
    memset(s->block, s->letter, sizeof(s->block));
    s->rc = loop_open(&s->loop, NULL);
    if (s->rc || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return NULL;
    s->rc = conn_open(&s->to, s->loop, fds[0], NULL, &writer, LIMIT, LIMIT) |
            conn_open(&s->from, s->loop, fds[1], NULL, &reader, LIMIT, LIMIT) |
            buf_add(&s->to.out, s->block, BLOCK_BYTES);
    conn_send_all(&s->to);
    s->rc |= loop_run(s->loop);
    conn_close(&s->to);
    conn_close(&s->from);
    loop_close(s->loop);
    return NULL;
}

/* A worker renews its leases from a thread of its own: what one thread reads is never seen, nor
 * overwritten, by the other. */
static void loops_of_two_threads_do_not_disturb_each_other(void **state)
{
    (void)state;
    static struct side sides[2] = {{.letter = 'a'}, {.letter = 'b'}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&sides[i].thread, NULL, side_main, &sides[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(sides[i].thread, NULL);
        assert_int_equal(sides[i].rc, 0);
        assert_int_equal(sides[i].got, (size_t)BLOCK_BYTES * BLOCKS);
        assert_int_equal(sides[i].wrong, 0);
    }
}

/* The library lives in programs of others: their signals stay theirs. */
static void a_loop_leaves_signals_alone_and_writing_to_nobody_is_an_error(void **state)
{
    (void)state;
    struct loop *loop;
    struct sigaction sa;
    struct conn c;
    int fds[2];
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(loop_open(&loop, NULL), 0);
    sigaction(SIGPIPE, NULL, &sa);
    assert_true(sa.sa_handler == SIG_DFL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(conn_open(&c, loop, fds[0], NULL, &writer, LIMIT, LIMIT), 0);
    close(fds[1]);
    assert_int_equal(buf_add_str(&c.out, STR("anybody there?")), 0);
    conn_send_all(&c);
    assert_int_equal(loop_run(loop), 0); /* on_over ends it */
    conn_close(&c);
    loop_close(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_of_two_threads_do_not_disturb_each_other),
        cmocka_unit_test(a_loop_leaves_signals_alone_and_writing_to_nobody_is_an_error),
    };
    return tap_run(tests);
}
