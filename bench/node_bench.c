/* SPDX-License-Identifier: Apache-2.0 */
/* node_bench - many clients against anything that speaks the Redis protocol, one thread, one epoll.
 *
 *     node_bench (--port P | --unix PATH) [--clients N] [--pipeline N] [--ops N] xadd|group
 *
 * xadd: XADD of one field with 150 bytes. group: XREADGROUP of one entry, then XACK of it, on a
 * stream that is filled before the clock starts. Prints operations a second and the latencies. */
#include "io/net.h"
#include "wire/resp_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { PAYLOAD_BYTES = 150, ROOM = 1 << 16, CLIENTS_MAX = 1000 };

struct bench {
    struct net_addr addr;
    size_t clients, pipeline, ops, sent, done;
    bool group, filling;
    uint32_t *latency_us;
    char payload[PAYLOAD_BYTES];
};

struct peer {
    int fd;
    size_t number, in_flight;
    bool acking;
    char id[64];
    uint64_t sent_ns;
    struct buf in, out;
    struct resp_scan scan;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "node_bench: %s\n", what);
    exit(1);
}

static void flush(struct peer *p)
{
    while (buf_len(&p->out) > 0) {
        ssize_t n = write(p->fd, buf_ptr(&p->out), buf_len(&p->out));
        if (n < 0 && errno == EAGAIN) {
            usleep(50); /* only with absurdly deep pipelines */
            continue;
        }
        if (n < 0)
            die("the server closed a connection");
        buf_consume(&p->out, (size_t)n);
    }
}

static void words(struct peer *p, size_t count, const char *const *texts)
{
    resp_command(&p->out, count);
    for (size_t i = 0; i < count; i++)
        resp_word(&p->out, str_of(texts[i]));
}

static void ask(struct bench *b, struct peer *p)
{
    if (b->group && !b->filling) {
        char consumer[16];
        snprintf(consumer, sizeof(consumer), "c%zu", p->number);
        if (p->acking)
            words(p, 4, (const char *const[]){"XACK", "bench", "g", p->id});
        else
            words(p, 9,
                  (const char *const[]){"XREADGROUP", "GROUP", "g", consumer, "COUNT", "1",
                                        "STREAMS", "bench", ">"});
    } else {
        resp_command(&p->out, 5);
        resp_word(&p->out, STR("XADD"));
        resp_word(&p->out, STR("bench"));
        resp_word(&p->out, STR("*"));
        resp_word(&p->out, STR("f"));
        resp_word(&p->out, str_make(b->payload, sizeof(b->payload)));
    }
    p->in_flight++;
}

/* As deep as the pipeline, in one write. */
static void ask_all(struct bench *b, struct peer *p)
{
    size_t depth = b->group && !b->filling ? 1 : b->pipeline;
    while (p->in_flight < depth && (b->sent < b->ops || p->acking)) {
        if (!p->acking)
            b->sent++;
        ask(b, p);
    }
    if (buf_len(&p->out) > 0) {
        p->sent_ns = now_ns();
        flush(p);
    }
}

/* The id of the one entry in a reply of XREADGROUP. */
static void entry_id(struct peer *p, struct str reply)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    size_t n;
    struct str id;
    if (!resp_next_array(&c, &n) || !resp_next_array(&c, &n) || !resp_next(&c, &v) ||
        !resp_next_array(&c, &n) || !resp_next_array(&c, &n) || !resp_next_str(&c, &id) ||
        id.len >= sizeof(p->id))
        die("XREADGROUP gave no entry");
    memcpy(p->id, id.ptr, id.len);
    p->id[id.len] = 0;
}

static void answered(struct bench *b, struct peer *p, struct str reply)
{
    if (reply.ptr[0] == '-') {
        fprintf(stderr, "%.*s", STR_ARG(reply));
        die("the server answered with an error");
    }
    p->in_flight--;
    if (b->group && !b->filling) {
        if (!p->acking)
            entry_id(p, reply);
        p->acking = !p->acking;
        if (p->acking)
            return; /* half of the operation */
    }
    if (!b->filling)
        b->latency_us[b->done] = (uint32_t)((now_ns() - p->sent_ns) / 1000);
    b->done++;
}

static void receive(struct bench *b, struct peer *p)
{
    char *at;
    size_t len;
    if (buf_reserve(&p->in, ROOM, &at))
        die("out of memory");
    ssize_t n = read(p->fd, at, ROOM);
    if (n <= 0)
        die("the server closed a connection");
    buf_grew(&p->in, (size_t)n);
    while (buf_len(&p->in) > 0 && resp_scan(&p->scan, buf_str(&p->in), ROOM, &len) == 0) {
        answered(b, p, str_make(buf_ptr(&p->in), len));
        buf_consume(&p->in, len);
    }
    if (p->in_flight == 0)
        ask_all(b, p);
}

static void run(struct bench *b, struct peer *peers, size_t count)
{
    struct epoll_event events[256];
    int epoll = epoll_create1(0);
    b->sent = b->done = 0;
    for (size_t i = 0; i < count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &peers[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, peers[i].fd, &e);
        ask_all(b, &peers[i]);
    }
    while (b->done < b->ops) {
        int n = epoll_wait(epoll, events, 256, 10000);
        if (n <= 0)
            die("no answer for ten seconds");
        for (int i = 0; i < n; i++)
            receive(b, events[i].data.ptr);
    }
    close(epoll);
}

static void command(struct peer *p, size_t count, const char *const *texts)
{
    size_t len = 0;
    words(p, count, texts);
    flush(p);
    for (;;) {
        char *at;
        buf_reserve(&p->in, ROOM, &at);
        ssize_t n = read(p->fd, at, ROOM);
        if (n < 0 && errno == EAGAIN) {
            usleep(200);
            continue;
        }
        if (n <= 0)
            die("the server closed a connection");
        buf_grew(&p->in, (size_t)n);
        if (resp_scan(&p->scan, buf_str(&p->in), ROOM, &len) == 0)
            break;
    }
    buf_consume(&p->in, len);
}

static void prepare(struct bench *b, struct peer *p)
{
    command(p, 2, (const char *const[]){"DEL", "bench"});
    if (!b->group)
        return;
    size_t pipeline = b->pipeline;
    b->filling = true;
    b->pipeline = 200;
    run(b, p, 1);
    b->filling = false;
    b->pipeline = pipeline;
    command(p, 5, (const char *const[]){"XGROUP", "CREATE", "bench", "g", "0"});
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(const struct bench *b, uint64_t ns)
{
    uint32_t *l = b->latency_us;
    qsort(l, b->done, sizeof(*l), by_value);
    printf("%.0f ops/s, p50 %u us, p99 %u us, p99.9 %u us\n", (double)b->done * 1e9 / (double)ns,
           l[b->done / 2], l[b->done * 99 / 100], l[b->done * 999 / 1000]);
}

static void usage(void)
{
    die("usage: node_bench (--port P | --unix PATH) [--clients N] [--pipeline N] [--ops N] "
        "xadd|group");
}

static void arguments(struct bench *b, int argc, char **argv)
{
    struct err err;
    for (int i = 1; i < argc; i++) {
        uint64_t number = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;
        char text[64];
        if (strcmp(argv[i], "xadd") == 0)
            continue;
        if (strcmp(argv[i], "group") == 0) {
            b->group = true;
            continue;
        }
        if (i + 1 == argc)
            usage();
        snprintf(text, sizeof(text), "127.0.0.1:%llu", (unsigned long long)number);
        if (strcmp(argv[i], "--port") == 0 && net_addr_parse(&b->addr, str_of(text), 0, &err))
            usage();
        if (strcmp(argv[i], "--unix") == 0 && net_addr_unix(&b->addr, str_of(argv[i + 1]), &err))
            usage();
        if (strcmp(argv[i], "--clients") == 0)
            b->clients = number;
        if (strcmp(argv[i], "--pipeline") == 0)
            b->pipeline = number;
        if (strcmp(argv[i], "--ops") == 0)
            b->ops = number;
        i++;
    }
    if (!b->addr.len || !b->clients || b->clients > CLIENTS_MAX || !b->pipeline || !b->ops)
        usage();
}

int main(int argc, char **argv)
{
    static struct bench b = {.clients = 50, .pipeline = 1, .ops = 100000};
    static struct peer peers[CLIENTS_MAX];
    struct err err;
    arguments(&b, argc, argv);
    memset(b.payload, 'x', sizeof(b.payload));
    b.latency_us = calloc(b.ops + CLIENTS_MAX, sizeof(*b.latency_us));
    for (size_t i = 0; i < b.clients; i++) {
        struct peer *p = &peers[i];
        p->number = i;
        buf_init(&p->in, 1 << 24);
        buf_init(&p->out, 1 << 24);
        if (net_connect(&b.addr, &p->fd, &err))
            die(err.text);
    }
    struct epoll_event e = {.events = EPOLLOUT};
    int epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, peers[0].fd, &e);
    epoll_wait(epoll, &e, 1, 1000);
    close(epoll);
    prepare(&b, &peers[0]);
    uint64_t began_ns = now_ns();
    run(&b, peers, b.clients);
    report(&b, now_ns() - began_ns);
    return 0;
}
