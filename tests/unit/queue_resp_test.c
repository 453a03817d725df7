/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's connection against a server that says, cuts and withholds what the test wants. */
#include "tap.h"

#include "base/mem.h"
#include "io/loop.h"
#include "queue/queue.h"
#include "wire/resp_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CALLS = 8 };

static struct {
    struct loop *loop;
    struct url url;
    struct queue_config config;
    struct queue *queue;
    unsigned ups, downs, losts;
    struct err lost;

    /* the server */
    char dir[64], path[80];
    int listen_fd, fd;
    char in[8192]; /* no allocation: those that fail are the engine's */
    size_t in_len;
    struct resp_scan scan;
    unsigned connects;
    char commands[256];             /* first words as they came, joined by blanks */
    const char *greeting, *refusal; /* answers: to the greeting; at once, then closed */
    const char *(*answer)(struct str command);
} rig;

/* --- the server --- */

static void server_listen(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", rig.path);
    rig.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(rig.listen_fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(rig.listen_fd, 8), 0);
}

static void server_cut(void)
{
    if (rig.fd >= 0)
        close(rig.fd);
    rig.fd = -1;
    rig.in_len = 0;
    rig.scan = (struct resp_scan){0};
}

static void server_down(void)
{
    server_cut();
    close(rig.listen_fd);
    unlink(rig.path);
    rig.listen_fd = -1;
}

static void say(const char *text)
{
    assert_true(send(rig.fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

static void server_command(struct str command)
{
    struct resp_cursor c = resp_cursor_of(command);
    size_t words;
    struct str name = {0};
    assert_true(resp_next_array(&c, &words) && resp_next_str(&c, &name));
    size_t len = strlen(rig.commands);
    snprintf(rig.commands + len, sizeof rig.commands - len, "%s%.*s", len ? " " : "",
             STR_ARG(name));
    const char *text = str_eq(name, STR("PING")) ? rig.greeting
                       : rig.answer              ? rig.answer(name)
                                                 : NULL;
    if (text)
        say(text);
}

static void server_turn(void)
{
    int fd = accept4(rig.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        server_cut();
        rig.fd = fd;
        rig.connects++;
        if (rig.refusal) {
            say(rig.refusal);
            server_cut();
        }
    }
    ssize_t n = -1;
    if (rig.fd >= 0)
        n = recv(rig.fd, rig.in + rig.in_len, sizeof rig.in - rig.in_len, 0);
    if (n == 0)
        server_cut();
    if (n <= 0)
        return;
    rig.in_len += (size_t)n;
    size_t len;
    while (rig.fd >= 0 && resp_scan(&rig.scan, str_make(rig.in, rig.in_len), 1 << 20, &len) == 0) {
        char command[sizeof rig.in];
        memcpy(command, rig.in, len);
        rig.in_len -= len;
        memmove(rig.in, rig.in + len, rig.in_len);
        server_command(str_make(command, len));
    }
}

static void turn(void)
{
    assert_int_equal(loop_turn(rig.loop, 1), 0);
    server_turn();
}

#define PLAY_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int turns_ = 0;                                                                            \
        while (!(condition)) {                                                                     \
            assert_true(turns_++ < 10000);                                                         \
            turn();                                                                                \
        }                                                                                          \
    } while (0)

/* --- the owner --- */

static void on_up(void *ctx)
{
    (void)ctx;
    rig.ups++;
}

static void on_down(void *ctx, const struct err *e)
{
    (void)ctx;
    assert_int_not_equal(e->code, 0);
    rig.downs++;
}

static void on_lost(void *ctx, const struct err *e)
{
    (void)ctx;
    rig.losts++;
    rig.lost = *e;
}

struct call {
    union {
        struct queue_call call;
        struct queue_beat beat;
        struct queue_take take;
        struct queue_release release;
        struct queue_commit commit;
        struct queue_leave leave;
    } as;
    struct queue_result result;
    unsigned done;
    int rc;
};

static struct call calls[CALLS];

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    struct call *c = r->ctx;
    assert_true(rc == 0 || err->code != 0);
    c->done++;
    c->rc = rc;
}

static struct call *call(int i, enum queue_verb verb)
{
    struct call *c = &calls[i];
    queue_request_done(&c->as.call.request);
    memset(c, 0, sizeof *c);
    queue_request_init(&c->as.call.request, verb, on_done, c);
    c->as.call.job = STR("j");
    c->as.beat.worker = (struct queue_worker){STR("w"), 5};
    if (verb == QUEUE_TAKE) {
        c->as.take.count = 3;
        c->as.take.block_ms = 1000;
    }
    if (verb == QUEUE_COMMIT) {
        c->result = (struct queue_result){.chunk = 1, .epoch = 2, .output = STR("x")};
        c->as.commit.results = &c->result;
        c->as.commit.count = 1;
    }
    queue_send(rig.queue, &c->as.call.request);
    return c;
}

static int setup(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    for (int i = 0; i < CALLS; i++)
        queue_request_init(&calls[i].as.call.request, QUEUE_BEAT, on_done, &calls[i]);
    rig.fd = rig.listen_fd = -1;
    rig.greeting = "+PONG\r\n";
    snprintf(rig.dir, sizeof rig.dir, "/tmp/ttg-queue-XXXXXX");
    assert_non_null(mkdtemp(rig.dir));
    snprintf(rig.path, sizeof rig.path, "%s/s", rig.dir);
    char text[96];
    snprintf(text, sizeof text, "ttg+unix:%s", rig.path);
    assert_int_equal(url_parse(&rig.url, str_of(text), NULL), 0);
    rig.config = (struct queue_config){.url = &rig.url,
                                       .retry_ms = 5000,
                                       .seed = 1,
                                       .on_up = on_up,
                                       .on_down = on_down,
                                       .on_lost = on_lost};
    return loop_open(&rig.loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    queue_close(rig.queue);
    for (int i = 0; i < CALLS; i++)
        queue_request_done(&calls[i].as.call.request);
    server_down();
    rmdir(rig.dir);
    loop_close(rig.loop);
    return 0;
}

static void open_queue(void)
{
    struct err err = {0};
    assert_int_equal(queue_open(&rig.queue, rig.loop, &rig.config, &err), 0);
}

static void open_up(void)
{
    server_listen();
    open_queue();
    PLAY_UNTIL(rig.ups == 1);
}

/* --- stories --- */

static const char *zero(struct str name)
{
    return str_eq(name, STR("TTG.BEAT")) ? "*2\r\n:0\r\n:5\r\n" : ":0\r\n";
}

static void answers_come_in_order(void **state)
{
    (void)state;
    rig.answer = zero;
    open_up();
    call(0, QUEUE_RELEASE);
    call(1, QUEUE_BEAT);
    call(2, QUEUE_LEAVE);
    assert_int_equal(queue_pending(rig.queue), 3);
    PLAY_UNTIL(queue_pending(rig.queue) == 0);
    assert_string_equal(rig.commands, "PING TTG.RELEASE TTG.BEAT TTG.LEAVE");
    for (int i = 0; i < 3; i++)
        assert_true(calls[i].done == 1 && calls[i].rc == 0);
    assert_int_equal(calls[1].as.beat.outstanding, 5);
}

static void an_answer_may_come_byte_by_byte(void **state)
{
    (void)state;
    open_up();
    struct call *c = call(0, QUEUE_BEAT);
    PLAY_UNTIL(strstr(rig.commands, "BEAT"));
    for (const char *p = "*3\r\n:0\r\n:5\r\n:42\r\n"; *p; p++) {
        assert_int_equal(c->done, 0);
        assert_int_equal(send(rig.fd, p, 1, MSG_NOSIGNAL), 1);
        turn();
    }
    PLAY_UNTIL(c->done);
    assert_int_equal(c->rc, 0);
    assert_int_equal(c->as.beat.gone_count, 1);
}

/* What may be repeated as it is goes out again, in its old order; the rest ends at the cut. */
static void after_a_cut(void **state)
{
    (void)state;
    open_up();
    call(0, QUEUE_RELEASE);
    call(1, QUEUE_TAKE);
    call(2, QUEUE_COMMIT);
    call(3, QUEUE_LEAVE);
    call(4, QUEUE_BEAT);
    PLAY_UNTIL(strstr(rig.commands, "BEAT"));
    rig.commands[0] = 0;
    server_cut();
    PLAY_UNTIL(rig.downs == 1);
    assert_int_equal(calls[1].rc, TTG_ECLOSED);
    assert_int_equal(calls[2].rc, TTG_ECLOSED);
    assert_int_equal(calls[4].rc, TTG_ECLOSED);
    assert_int_equal(calls[0].done + calls[3].done, 0);
    assert_false(queue_is_up(rig.queue));
    rig.answer = zero;
    PLAY_UNTIL(queue_pending(rig.queue) == 0);
    assert_string_equal(rig.commands, "PING TTG.RELEASE TTG.LEAVE");
    assert_int_equal(rig.ups, 2);
    assert_int_equal(rig.losts, 0);
}

/* The owner asks while there is no connection: it goes out when there is one. */
static void asked_without_a_connection(void **state)
{
    (void)state;
    rig.answer = zero;
    open_queue();
    struct call *c = call(0, QUEUE_LEAVE);
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(c->done, 0);
    server_listen();
    PLAY_UNTIL(c->done);
    assert_int_equal(c->rc, 0);
}

static void gives_up_in_time(void **state)
{
    (void)state;
    rig.config.retry_ms = 150;
    open_queue();
    struct call *c = call(0, QUEUE_LEAVE);
    PLAY_UNTIL(rig.losts == 1);
    assert_int_equal(rig.lost.code, TTG_EUNREACH);
    assert_non_null(strstr(rig.lost.text, "no connection to ttg+unix:"));
    assert_int_equal(c->rc, TTG_EUNREACH);
    c = call(1, QUEUE_BEAT);
    assert_int_equal(c->rc, TTG_EUNREACH); /* at once */
    for (int i = 0; i < 50; i++)
        turn();
    assert_int_equal(rig.losts, 1);
}

/* A server that accepts and hangs up at once is no connection either. */
static void a_server_that_hangs_up(void **state)
{
    (void)state;
    for (int patient = 0; patient <= 1; patient++) {
        teardown(NULL);
        setup(NULL);
        rig.config.retry_ms = patient ? 60000 : 200;
        server_listen();
        rig.refusal = "";
        open_queue();
        PLAY_UNTIL(patient ? rig.connects > 2 : rig.losts == 1);
        assert_int_equal(rig.ups, 0);
        assert_int_equal(rig.losts, !patient);
    }
}

static void refused_greetings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int lost; /* 0: it is tried again */
    } rows[] = {
        {"-LOADING it reads its files\r\n", 0},
        {"-BUSY a script runs\r\n", 0},
        {"-ERR max number of clients reached\r\n", 0},
        {"-NOAUTH Authentication required.\r\n", TTG_EAUTH},
        {"-WRONGPASS no\r\n", TTG_EAUTH},
        {"-DENIED protected\r\n", TTG_EAUTH},
        {"-ERR unknown command 'PING'\r\n", TTG_EUSAGE},
        {"HTTP/1.1 400 Bad Request\r\n", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        teardown(NULL);
        setup(NULL);
        rig.greeting = rows[i].text;
        server_listen();
        open_queue();
        PLAY_UNTIL(rig.losts || rig.connects == 2);
        assert_int_equal(rig.losts, rows[i].lost != 0);
        assert_int_equal(rig.lost.code, rows[i].lost);
        if (!rows[i].lost) {
            rig.greeting = "+PONG\r\n";
            PLAY_UNTIL(rig.ups == 1);
        }
    }
}

static void an_answer_to_nothing_cuts(void **state)
{
    (void)state;
    open_up();
    say("+what\r\n");
    PLAY_UNTIL(rig.ups == 2);
    assert_int_equal(rig.downs, 1);
}

static const char *nonsense(struct str name)
{
    (void)name;
    return "*1\r\n$3\r\nabc\r\n";
}

/* Who is not understood may have granted something: a new connection makes a fresh start. */
static void an_answer_without_sense_cuts(void **state)
{
    (void)state;
    open_up();
    rig.answer = nonsense;
    struct call *c = call(0, QUEUE_BEAT);
    PLAY_UNTIL(c->done);
    assert_int_equal(c->rc, TTG_EPROTO);
    rig.answer = zero;
    PLAY_UNTIL(rig.ups == 2);
}

static void closing_ends_all_requests(void **state)
{
    (void)state;
    open_up();
    call(0, QUEUE_TAKE);
    call(1, QUEUE_COMMIT);
    call(2, QUEUE_LEAVE);
    turn();
    queue_close(rig.queue);
    rig.queue = NULL;
    for (int i = 0; i < 3; i++)
        assert_true(calls[i].done == 1 && calls[i].rc == TTG_ECANCELED);
}

/* Whatever allocation fails: the request ends, or the queue is lost, or it works after all. */
static void without_memory(void **state)
{
    (void)state;
    for (size_t n = 1; n < 400; n++) {
        teardown(NULL);
        setup(NULL);
        rig.answer = zero;
        rig.config.retry_ms = 300;
        server_listen();
        mem_fail_at(n);
        struct err err;
        int rc = queue_open(&rig.queue, rig.loop, &rig.config, &err), turns = 0;
        struct call *c = rc ? NULL : call(0, QUEUE_BEAT);
        while (c && !c->done && !rig.losts && turns++ < 2000)
            turn();
        int failed = mem_failed();
        mem_fail_at(0);
        if (!(rc || c->done || rig.losts))
            fail_msg("allocation %zu: stuck", n);
        if (!failed)
            return;
    }
    fail_msg("it allocates without end");
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(answers_come_in_order),
        STORY(an_answer_may_come_byte_by_byte),
        STORY(after_a_cut),
        STORY(asked_without_a_connection),
        STORY(gives_up_in_time),
        STORY(a_server_that_hangs_up),
        STORY(refused_greetings),
        STORY(an_answer_to_nothing_cuts),
        STORY(an_answer_without_sense_cuts),
        STORY(closing_ends_all_requests),
        STORY(without_memory),
    };
    return tap_run(tests);
}
