/* SPDX-License-Identifier: Apache-2.0 */
/* job_bench - take and commit against a node, as workers with credit do, without any work.
 *
 *     job_bench UNIX-PATH WORKERS CHUNKS
 *
 * Starts WORKERS processes. Each keeps up to a thousand chunks leased and commits a hundred at a
 * time, with several commits under way. Prints chunks a second: every one is on disk. */
#include "base/ensure.h"
#include "io/net.h"
#include "wire/resp_client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 20, TAKE = 1000, COMMIT = 100, UNDER_WAY = 8 };

struct lease {
    uint64_t chunk, epoch;
};

struct worker {
    int fd;
    char name[16];
    struct buf in, out;
    struct resp_scan scan;
    struct lease leases[8 * TAKE];
    size_t first, count, committing; /* leases [first .. first + count); commits unanswered */
    bool taking, ended;
    uint64_t done;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "job_bench: %s\n", what);
    _exit(1);
}

static void words(struct worker *w, size_t count, const char *const *texts)
{
    resp_command(&w->out, count);
    for (size_t i = 0; i < count; i++)
        resp_word(&w->out, str_of(texts[i]));
}

static void flush(struct worker *w)
{
    while (buf_len(&w->out) > 0) {
        ssize_t n = write(w->fd, buf_ptr(&w->out), buf_len(&w->out));
        if (n <= 0)
            die("the node closed the connection");
        buf_consume(&w->out, (size_t)n);
    }
}

/* Until the next whole reply is at the front of w->in. */
static struct str reply(struct worker *w)
{
    size_t len;
    while (buf_len(&w->in) == 0 || resp_scan(&w->scan, buf_str(&w->in), ROOM, &len)) {
        char *at;
        ensure(buf_reserve(&w->in, ROOM, &at) == 0);
        ssize_t n = read(w->fd, at, ROOM);
        if (n <= 0)
            die("the node closed the connection");
        buf_grew(&w->in, (size_t)n);
    }
    struct str r = str_make(buf_ptr(&w->in), len);
    if (r.ptr[0] == '-') {
        fprintf(stderr, "%.*s", STR_ARG(r));
        die("the node answered with an error");
    }
    return r;
}

static void take(struct worker *w)
{
    words(
        w, 8,
        (const char *const[]){"TTG.TAKE", "bench", w->name, "1", "COUNT", "1000", "BLOCK", "100"});
    w->taking = true;
}

static void taken(struct worker *w, struct str r)
{
    struct resp_cursor c = resp_cursor_of(r);
    size_t count;
    int64_t v[4], state;
    w->taking = false;
    if (!resp_next_array(&c, &count) || count == 0 || !resp_next_int(&c, &state))
        return; /* nothing within the time */
    w->ended = state >= 2;
    if (w->count == 0)
        w->first = 0;
    for (; count > 4; count -= 4) {
        for (int i = 0; i < 4; i++)
            if (!resp_next_int(&c, &v[i]))
                die("a strange answer to TTG.TAKE");
        for (int64_t i = 0; i < v[1]; i++) {
            size_t at = w->first + w->count++;
            ensure(at < sizeof(w->leases) / sizeof(w->leases[0]));
            w->leases[at] = (struct lease){(uint64_t)(v[0] + i), (uint64_t)(v[2] + i)};
        }
    }
}

static void commit(struct worker *w)
{
    size_t n = w->count < COMMIT ? w->count : COMMIT;
    resp_command(&w->out, 4 + 5 * n);
    resp_word(&w->out, STR("TTG.COMMIT"));
    resp_word(&w->out, STR("bench"));
    resp_word(&w->out, str_of(w->name));
    resp_word(&w->out, STR("1"));
    for (size_t i = 0; i < n; i++) {
        const struct lease *l = &w->leases[w->first + i];
        resp_word_u64(&w->out, l->chunk);
        resp_word_u64(&w->out, l->epoch);
        resp_word(&w->out, STR("12"));
        resp_word(&w->out, STR("s"));
        resp_word_u64(&w->out, l->chunk);
    }
    w->first += n;
    w->count -= n;
    w->committing++;
}

/* The answers come in the order of the commands: a queue of which each was. */
static void work(struct worker *w)
{
    enum { TAKE_ANSWER, COMMIT_ANSWER };
    unsigned char asked[64];
    size_t head = 0, tail = 0;
    while (!w->ended || w->committing > 0) {
        while (w->count > 0 && w->committing < UNDER_WAY) {
            commit(w);
            asked[tail++ % 64] = COMMIT_ANSWER;
        }
        if (!w->taking && !w->ended && w->count < TAKE / 2 &&
            w->first + w->count + TAKE <= sizeof(w->leases) / sizeof(w->leases[0])) {
            take(w);
            asked[tail++ % 64] = TAKE_ANSWER;
        }
        flush(w);
        struct str r = reply(w);
        if (asked[head++ % 64] == TAKE_ANSWER) {
            taken(w, r);
        } else {
            struct resp_cursor c = resp_cursor_of(r);
            size_t count;
            int64_t accepted = 0;
            if (!resp_next_array(&c, &count) || !resp_next_int(&c, &accepted) || count != 1)
                die("a commit was not accepted");
            w->done += (uint64_t)accepted;
            w->committing--;
        }
        buf_consume(&w->in, r.len);
    }
}

static void join(struct worker *w, const char *path, int number)
{
    struct net_addr addr;
    struct err err;
    buf_init(&w->in, 1 << 26);
    buf_init(&w->out, 1 << 26);
    snprintf(w->name, sizeof(w->name), "w%d", number);
    if (net_addr_unix(&addr, str_of(path), &err) || net_connect(&addr, &w->fd, &err))
        die(err.text);
    int flags = fcntl(w->fd, F_GETFL);
    fcntl(w->fd, F_SETFL, flags & ~O_NONBLOCK);
}

static void command(struct worker *w, size_t count, const char *const *texts)
{
    words(w, count, texts);
    flush(w);
    buf_consume(&w->in, reply(w).len);
}

int main(int argc, char **argv)
{
    static struct worker w;
    if (argc != 4)
        die("usage: job_bench UNIX-PATH WORKERS CHUNKS");
    int workers = atoi(argv[2]);
    char last[24];
    snprintf(last, sizeof(last), "%lld", atoll(argv[3]) - 1);
    join(&w, argv[1], 0);
    command(&w, 9,
            (const char *const[]){"TTG.JOB", "CREATE", "bench", "FIRST", "0", "LAST", last, "CHUNK",
                                  "1"});
    double began = seconds();
    for (int i = 1; i <= workers; i++) {
        if (fork() > 0)
            continue;
        static struct worker child;
        join(&child, argv[1], i);
        command(&child, 6,
                (const char *const[]){"TTG.JOIN", "bench", child.name, "1", "SLOTS", "1"});
        work(&child);
        _exit(0);
    }
    int status, failed = 0;
    while (wait(&status) > 0)
        failed |= status;
    double took = seconds() - began;
    printf("%s: %s chunks by %d workers in %.2f s: %.0f chunks/s\n", failed ? "FAILED" : "done",
           argv[3], workers, took, atof(argv[3]) / took);
    return failed ? 1 : 0;
}
