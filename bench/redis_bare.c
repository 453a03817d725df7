/* SPDX-License-Identifier: Apache-2.0 */
/* redis_bare - what plain streams on a Redis can do at best, to compare `ttg run` with.
 *
 *     redis_bare --port P [--chunks N] [--processes K] [--payload BYTES]
 *
 * Adds N tasks; K processes read 64 at a time (XREADGROUP), add 64 results and acknowledge them,
 * all three in one write; one process reads the results back and adds them up. Nothing is
 * recovered. The messages are those of ttg; a payload goes with each result. Prints
 * {"seconds":, "count":, "total":, "rest_seconds":}, from the first task to the last result, and
 * without the adding of the tasks. */
#include "base/mem.h"
#include "wire/resp_client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ADDS = 1000 };

static struct str payload; /* of each result */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "redis_bare: %s\n", what);
    exit(1);
}

struct peer {
    int fd;
    struct buf in, out;
    size_t used; /* of in, by the reply that was read last */
};

static void peer_open(struct peer *p, unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    p->used = 0;
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof to))
        die("cannot connect");
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    buf_init(&p->in, SIZE_MAX);
    buf_init(&p->out, SIZE_MAX);
}

static void peer_close(struct peer *p)
{
    close(p->fd);
    buf_done(&p->in);
    buf_done(&p->out);
}

/* A command of these words and, with `more`, others that follow. */
static void words(struct peer *p, size_t more, size_t count, const char *const *w)
{
    resp_command(&p->out, count + more);
    for (size_t i = 0; i < count; i++)
        resp_word(&p->out, str_of(w[i]));
}
#define WORDS(p, ...) WORDS_MORE(p, 0, __VA_ARGS__)
#define WORDS_MORE(p, more, ...)                                                                   \
    words(p, more, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),                         \
          (const char *const[]){__VA_ARGS__})

static void peer_flush(struct peer *p)
{
    const char *at = buf_ptr(&p->out);
    for (size_t left = buf_len(&p->out); left > 0;) {
        ssize_t n = write(p->fd, at, left);
        if (n < 0)
            die("the server closed the connection");
        at += n;
        left -= (size_t)n;
    }
    buf_clear(&p->out);
}

/* The next reply; it lives until the one after it. */
static struct str reply(struct peer *p)
{
    struct resp_scan scan = {0};
    size_t len;
    char *room;
    buf_consume(&p->in, p->used);
    while (resp_scan(&scan, buf_str(&p->in), SIZE_MAX, &len)) {
        if (buf_reserve(&p->in, 1 << 18, &room))
            die("out of memory");
        ssize_t n = read(p->fd, room, 1 << 18);
        if (n <= 0)
            die("the server closed the connection");
        buf_grew(&p->in, (size_t)n);
    }
    p->used = len;
    if (*buf_ptr(&p->in) == '-') {
        fprintf(stderr, "%.*s", (int)len, buf_ptr(&p->in));
        die("the server refuses");
    }
    return str_make(buf_ptr(&p->in), len);
}

static void add_tasks(unsigned port, unsigned long chunks)
{
    struct peer p;
    char chunk[32], param[32];
    peer_open(&p, port);
    for (unsigned long c = 0; c < chunks;) {
        unsigned long first = c;
        for (; c < chunks && c < first + ADDS; c++) {
            snprintf(chunk, sizeof chunk, "%05lu", c);
            snprintf(param, sizeof param, "%lu", c);
            WORDS(&p, "XADD", "bare:tasks", "*", "chunk_id", chunk, "start_param", param,
                  "end_param", param, "total_in_chunk", "1", "created_at", "2026-02-09T10:00:00Z");
        }
        peer_flush(&p);
        for (unsigned long i = first; i < c; i++)
            reply(&p);
    }
    peer_close(&p);
}

/* One reply of XREADGROUP: its results and acknowledgements into `out`; how many. */
static size_t answer_tasks(struct peer *p, struct str tasks, const char *name, struct buf *ids)
{
    struct resp_cursor c = resp_cursor_of(tasks);
    struct resp_value v;
    size_t n = 0, two, fields;
    struct str id, s, chunk, param;
    if (!resp_next(&c, &v) || v.type != RESP_ARRAY)
        return 0;
    resp_next(&c, &v);
    resp_next_str(&c, &s);
    resp_next_array(&c, &n);
    buf_clear(ids);
    for (size_t i = 0; i < n; i++) {
        resp_next_array(&c, &two);
        resp_next_str(&c, &id);
        resp_next_array(&c, &fields);
        resp_next_str(&c, &s);
        resp_next_str(&c, &chunk);
        resp_next_str(&c, &s);
        resp_next_str(&c, &param);
        for (size_t k = 4; k < fields; k++)
            resp_next_str(&c, &s);
        char a[32], b[32], sum[64];
        snprintf(a, sizeof a, "%.*s", STR_ARG(chunk));
        snprintf(b, sizeof b, "%.*s", STR_ARG(param));
        snprintf(sum, sizeof sum, "{\"sum\":%s,\"count\":1}", b);
        WORDS_MORE(p, 1, "XADD", "bare:results", "*", "chunk_id", a, "start_param", b, "end_param",
                   b, "worker_id", name, "attempt", "1", "status", "complete", "params_processed",
                   "1", "duration_seconds", "0.000000", "completed_at", "2026-02-09T10:00:12Z",
                   "result_summary", sum, "output");
        resp_word(&p->out, payload);
        resp_word(ids, id);
    }
    if (n == 0)
        return 0;
    resp_command(&p->out, 3 + n);
    resp_word(&p->out, STR("XACK"));
    resp_word(&p->out, STR("bare:tasks"));
    resp_word(&p->out, STR("ttg-workers"));
    buf_add_str(&p->out, buf_str(ids));
    return n;
}

static void work(unsigned port, unsigned number)
{
    struct peer p;
    struct buf ids;
    char name[32];
    snprintf(name, sizeof name, "worker-%u", number);
    peer_open(&p, port);
    buf_init(&ids, SIZE_MAX);
    for (size_t n = 0;;) {
        WORDS(&p, "XREADGROUP", "GROUP", "ttg-workers", name, "COUNT", "64", "STREAMS",
              "bare:tasks", ">");
        peer_flush(&p);
        for (size_t i = 0; i < (n ? n + 1 : 0); i++)
            reply(&p); /* of the round before */
        n = answer_tasks(&p, reply(&p), name, &ids);
        if (n == 0)
            break;
    }
    buf_done(&ids);
    peer_close(&p);
}

/* One result: marks its chunk in `seen`, adds up. */
static void count_result(struct resp_cursor *c, unsigned char *seen, unsigned long chunks,
                         unsigned long *count, unsigned long *total)
{
    size_t fields;
    struct str name, value;
    unsigned long chunk = chunks;
    resp_next_array(c, &fields);
    for (; fields >= 2; fields -= 2) {
        resp_next_str(c, &name);
        resp_next_str(c, &value);
        if (str_eq(name, STR("chunk_id")))
            chunk = strtoul(value.ptr, NULL, 10);
        else if (str_eq(name, STR("result_summary")))
            *total += strtoul(value.ptr + 7, NULL, 10);
    }
    if (chunk >= chunks || seen[chunk]++)
        die("a result that nobody asked for, or twice");
    ++*count;
}

/* The results as they come; their sum. */
static unsigned long read_back(unsigned port, unsigned long chunks)
{
    struct peer p;
    char from[64] = "-";
    const char *most = payload.len > 10000 ? "40" : "4000";
    unsigned long count = 0, total = 0;
    unsigned char *seen = mem_array(chunks, 1);
    if (!seen)
        die("out of memory");
    memset(seen, 0, chunks);
    peer_open(&p, port);
    while (count < chunks) {
        WORDS(&p, "XRANGE", "bare:results", from, "+", "COUNT", most);
        peer_flush(&p);
        struct resp_cursor c = resp_cursor_of(reply(&p));
        size_t n, two;
        struct str id = STR("");
        resp_next_array(&c, &n);
        for (size_t i = 0; i < n; i++) {
            resp_next_array(&c, &two);
            resp_next_str(&c, &id);
            count_result(&c, seen, chunks, &count, &total);
        }
        if (n > 0)
            snprintf(from, sizeof from, "(%.*s", STR_ARG(id));
        else
            usleep(2000);
    }
    peer_close(&p);
    mem_free(seen);
    return total;
}

int main(int argc, char **argv)
{
    unsigned port = 6379, processes = 3;
    unsigned long chunks = 200000;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--chunks") == 0)
            chunks = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--processes") == 0)
            processes = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--payload") == 0)
            payload.len = strtoul(argv[i + 1], NULL, 10);
        else
            die("usage: redis_bare --port P [--chunks N] [--processes K] [--payload BYTES]");
    }
    char *text = mem_array(payload.len + 1, 1);
    if (!text)
        die("out of memory");
    memset(text, 'x', payload.len);
    payload.ptr = text;
    struct peer p;
    peer_open(&p, port);
    WORDS(&p, "DEL", "bare:tasks", "bare:results");
    WORDS(&p, "XGROUP", "CREATE", "bare:tasks", "ttg-workers", "0", "MKSTREAM");
    peer_flush(&p);
    reply(&p);
    reply(&p);
    double start = now_s();
    add_tasks(port, chunks);
    double added = now_s();
    for (unsigned i = 0; i < processes; i++)
        if (fork() == 0) {
            work(port, i);
            _exit(0);
        }
    unsigned long total = read_back(port, chunks);
    double end = now_s();
    while (wait(NULL) > 0)
        ;
    WORDS(&p, "DEL", "bare:tasks", "bare:results");
    peer_flush(&p);
    reply(&p);
    peer_close(&p);
    printf("{\"seconds\": %.6f, \"count\": %lu, \"total\": %lu, \"rest_seconds\": %.6f}\n",
           end - start, chunks, total, end - added);
    mem_free(text);
    return 0;
}
