/* SPDX-License-Identifier: Apache-2.0 */
/* Names and their addresses: this program answers for the name server itself. */
#include "tap.h"

#include "io/conn.h"
#include "io/dial.h"
#include "io/loop.h"
#include "io/net.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIMIT = 4096 };

/* What "several.test" is: addresses of one port, in this order. */
static struct {
    const char *ips[4];
    size_t count;
} zone;
static sem_t asked, answer; /* "slow.test" is answered when the test lets it */
static int left = -1;       /* written when that answer was used up */

static struct addrinfo *entry(const char *ip, const char *service, struct addrinfo *next)
{
    struct addrinfo *i = calloc(1, sizeof *i + sizeof(struct sockaddr_in));
    struct sockaddr_in *in = (void *)(i + 1);
    assert_non_null(i);
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)strtoul(service, NULL, 10));
    assert_int_equal(inet_pton(AF_INET, ip, &in->sin_addr), 1);
    *i = (struct addrinfo){.ai_family = AF_INET,
                           .ai_socktype = SOCK_STREAM,
                           .ai_addrlen = sizeof *in,
                           .ai_addr = (void *)in,
                           .ai_next = next};
    return i;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    struct in_addr ip;
    *found = NULL;
    if (inet_pton(AF_INET, name, &ip) == 1) {
        *found = entry(name, service, NULL);
        return 0;
    }
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    if (strcmp(name, "slow.test") == 0) {
        sem_post(&asked);
        sem_wait(&answer);
        *found = entry("127.0.0.1", service, NULL);
        return 0;
    }
    if (strcmp(name, "several.test") != 0)
        return EAI_NONAME;
    for (size_t i = zone.count; i > 0; i--)
        *found = entry(zone.ips[i - 1], service, *found);
    return 0;
}

void freeaddrinfo(struct addrinfo *i)
{
    while (i) {
        struct addrinfo *next = i->ai_next;
        free(i);
        i = next;
    }
    if (left >= 0 && write(left, &(uint64_t){1}, sizeof(uint64_t)) < 0)
        abort();
}

struct end {
    struct loop *loop;
    struct dial *dial;
    int fd;
    struct err err;
    bool ended;
};

static void on_end(void *ctx, int fd, const struct err *err)
{
    struct end *e = ctx;
    e->fd = fd;
    e->err = err ? *err : (struct err){0};
    e->ended = true;
    dial_free(e->dial);
    loop_stop(e->loop);
}

static void dial(struct end *e, const char *host, uint16_t port)
{
    struct err err;
    *e = (struct end){.fd = -1};
    assert_int_equal(loop_open(&e->loop, NULL), 0);
    struct dial_to to = {.host = host, .port = port};
    assert_int_equal(dial_start(&e->dial, e->loop, &to, on_end, e, &err), 0);
    assert_false(e->ended);
    assert_int_equal(loop_run(e->loop), 0);
    loop_close(e->loop);
}

/* A listening socket; `room` 0: it takes nobody in, and who comes waits. */
static int listening(const char *ip, uint16_t *port, int room)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, ip, &in.sin_addr);
    assert_int_equal(bind(fd, (void *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, room), 0);
    assert_int_equal(getsockname(fd, (void *)&in, &len), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static void reaches(const struct end *e, const char *ip)
{
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    char text[INET_ADDRSTRLEN];
    assert_true(e->fd >= 0);
    assert_int_equal(getpeername(e->fd, (void *)&in, &len), 0);
    assert_string_equal(inet_ntop(AF_INET, &in.sin_addr, text, sizeof text), ip);
    close(e->fd);
}

static void an_address_that_refuses_is_left_for_the_next(void **state)
{
    (void)state;
    uint16_t port = 0;
    struct end e;
    int fd = listening("127.0.0.3", &port, 8);
    zone.ips[0] = "127.0.0.1";
    zone.ips[1] = "127.0.0.2";
    zone.ips[2] = "127.0.0.3";
    zone.count = 3;
    dial(&e, "several.test", port);
    reaches(&e, "127.0.0.3");
    dial(&e, "127.0.0.3", port);
    reaches(&e, "127.0.0.3");
    close(fd);
}

static void an_address_that_stays_silent_is_left_for_the_next(void **state)
{
    (void)state;
    uint16_t port = 0;
    struct end e;
    int silent = listening("127.0.0.2", &port, 0), fd = listening("127.0.0.3", &port, 8);
    int fills[8];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.2", &in.sin_addr);
    for (size_t i = 0; i < 8; i++) { /* the next one's greeting is dropped */
        fills[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fills[i], (void *)&in, sizeof in);
    }
    zone.ips[0] = "127.0.0.2";
    zone.ips[1] = "127.0.0.3";
    zone.count = 2;
    dial(&e, "several.test", port);
    reaches(&e, "127.0.0.3");
    for (size_t i = 0; i < 8; i++)
        close(fills[i]);
    close(silent);
    close(fd);
}

static void what_cannot_be_reached_is_said_with_its_address(void **state)
{
    (void)state;
    uint16_t port = 0;
    struct end e;
    char text[64];
    close(listening("127.0.0.2", &port, 1));
    zone.ips[0] = "127.0.0.1";
    zone.ips[1] = "127.0.0.2";
    zone.count = 2;
    dial(&e, "several.test", port);
    snprintf(text, sizeof text, "connect to 127.0.0.2:%u: Connection refused", port);
    assert_int_equal(e.fd, -1);
    assert_int_equal(e.err.code, TTG_EUNREACH);
    assert_string_equal(e.err.text, text);
    dial(&e, "nobody.test", 1);
    assert_int_equal(e.err.code, TTG_EUNREACH);
    assert_string_equal(e.err.text, "host 'nobody.test': Name or service not known");
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    struct dial_to to = {.host = longest, .port = 1};
    assert_int_equal(dial_start(&e.dial, NULL, &to, on_end, &e, &e.err), TTG_EUSAGE);
}

static void on_tick(struct loop_timer *t)
{
    loop_stop(t->loop);
}

static size_t on_bytes(struct conn *c, struct str bytes)
{
    (void)c;
    return bytes.len;
}

static void on_open(struct conn *c)
{
    loop_stop(c->loop);
}

static void on_over(struct conn *c, const struct err *err)
{
    (void)c;
    fail_msg("%s", err->text);
}

static const struct conn_handler handler = {
    .on_bytes = on_bytes, .on_open = on_open, .on_over = on_over};

static void a_loop_goes_on_while_a_name_server_is_silent(void **state)
{
    (void)state;
    uint16_t port = 0;
    struct loop *loop;
    struct loop_timer timer;
    struct conn c;
    struct err err;
    int fd = listening("127.0.0.1", &port, 8);
    struct dial_to to = {.host = "slow.test", .port = port};
    assert_int_equal(loop_open(&loop, NULL), 0);
    loop_timer_init(&timer, loop, on_tick);
    assert_int_equal(conn_connect(&c, loop, &to, NULL, &handler, LIMIT, LIMIT, &err), 0);
    assert_true(conn_is_open(&c));
    sem_wait(&asked);
    loop_timer_after_ms(&timer, 1);
    assert_int_equal(loop_run(loop), 0); /* the tick, not the connection */
    assert_true(c.opening);
    sem_post(&answer);
    assert_int_equal(loop_run(loop), 0);
    assert_false(c.opening);
    conn_close(&c);

    /* Closed before the answer: the thread ends by itself, also after the loop. */
    left = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(conn_connect(&c, loop, &to, NULL, &handler, LIMIT, LIMIT, &err), 0);
    sem_wait(&asked);
    conn_close(&c);
    assert_false(conn_is_open(&c));
    loop_close(loop);
    sem_post(&answer);
    assert_int_equal(poll(&(struct pollfd){.fd = left, .events = POLLIN}, 1, 10000), 1);
    close(left);
    left = -1;
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_that_refuses_is_left_for_the_next),
        cmocka_unit_test(an_address_that_stays_silent_is_left_for_the_next),
        cmocka_unit_test(what_cannot_be_reached_is_said_with_its_address),
        cmocka_unit_test(a_loop_goes_on_while_a_name_server_is_silent),
    };
    sem_init(&asked, 0, 0);
    sem_init(&answer, 0, 0);
    return tap_run(tests);
}
