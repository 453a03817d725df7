/* SPDX-License-Identifier: Apache-2.0 */
/* state_bench - what a stateful worker costs: rows a second with group commit, and a start.
 *
 * usage: state_bench DIR [ROWS [CLIENTS [BATCH]]]
 *
 * Sends ROWS rows (default 2,000,000) of CLIENTS clients (default 10,000) in random order, with a
 * commit after each BATCH (default 1,000), through the public interface: each row is on disk when
 * its commit returns. Then a start from the files alone (1,000,000 rows of the same clients), a
 * start behind a kill (the log is not cut), and commits of a single row. DIR is emptied first:
 * for the best figures name one on a file system where no files were removed for some minutes, as
 * ext4 looks at each of their inodes when it makes new ones. */
#include <ttg/state.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct sum {
    uint64_t rows;
    long long sum;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int rebuild(void *user, struct ttg_bytes client, void *state, const struct ttg_row *row)
{
    struct sum *s = state;
    (void)user;
    (void)client;
    s->rows += row->rows;
    s->sum += strtoll(row->values[1].ptr, NULL, 10);
    return 0;
}

static void check(ttg_state *s, int rc)
{
    if (!rc)
        return;
    fprintf(stderr, "state_bench: %s: %s\n", ttg_error_name(rc), ttg_state_message(s));
    exit(1);
}

static ttg_state *open_state(const char *dir)
{
    ttg_state *s;
    const struct ttg_state_options o = {
        .size = sizeof o, .state_bytes = sizeof(struct sum), .rebuild = rebuild};
    check(s, ttg_state_open(&s, dir, &o));
    return s;
}

static struct ttg_bytes text(char *at, size_t room, const char *format, unsigned long long n)
{
    return (struct ttg_bytes){at, (size_t)snprintf(at, room, format, n)};
}

/* Row `i` is number i / clients of a client; clients come in an order of no system. */
static void send_row(ttg_state *s, uint64_t i, uint64_t clients)
{
    char client[32], id[64], chunk[32], value[32];
    uint64_t who = i * 7919 % clients, n = i / clients;
    enum ttg_state_outcome outcome;
    const struct ttg_bytes values[] = {text(chunk, sizeof chunk, "%llu", n),
                                       text(value, sizeof value, "%llu", i % 1000)};
    struct ttg_state_input m = {.size = sizeof m, .values = values, .value_count = 2};
    m.client = text(client, sizeof client, "CLI%llu", who);
    m.id = (struct ttg_bytes){
        id, (size_t)snprintf(id, sizeof id, "%s%08llu", client, (unsigned long long)n)};
    check(s, ttg_state_process(s, &m, &outcome));
    if (outcome != TTG_STATE_NEW) {
        fprintf(stderr, "state_bench: row %llu is not new\n", (unsigned long long)i);
        exit(1);
    }
}

static void send_rows(ttg_state *s, uint64_t from, uint64_t to, uint64_t clients, uint64_t batch)
{
    for (uint64_t i = from; i < to; i++) {
        send_row(s, i, clients);
        if ((i + 1) % batch == 0)
            check(s, ttg_state_commit(s));
    }
    check(s, ttg_state_commit(s));
}

static int count(void *ctx, struct ttg_bytes client, const void *state, uint64_t rows,
                 uint64_t duplicates)
{
    (void)client;
    (void)state;
    (void)duplicates;
    *(uint64_t *)ctx += rows;
    return 0;
}

static void start(const char *dir, const char *what)
{
    double began = seconds();
    ttg_state *s = open_state(dir);
    double opened = seconds();
    uint64_t rows = 0;
    check(s, ttg_state_rebuild(s, count, &rows));
    double ended = seconds();
    struct ttg_state_counts stats = {.size = sizeof stats};
    ttg_state_stats(s, &stats);
    printf("%-28s %9.3f s  (%.3f open, %.3f rebuild; %llu rows, %llu from the log, %llu MB)\n",
           what, ended - began, opened - began, ended - opened, (unsigned long long)rows,
           (unsigned long long)stats.recovered_rows,
           (unsigned long long)stats.memory_bytes / 1000000);
    ttg_state_close(s);
}

static void empty(const char *dir)
{
    char command[4200];
    snprintf(command, sizeof command, "rm -rf -- '%s'", dir);
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    waitpid(child, NULL, 0);
}

/* In a child that ends without closing: as if killed. */
static void in_child(const char *dir, uint64_t from, uint64_t to, uint64_t clients)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        ttg_state *s = open_state(dir);
        send_rows(s, from, to, clients, 1000);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status)
        exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: state_bench DIR [ROWS [CLIENTS [BATCH]]]\n");
        return 2;
    }
    const char *dir = argv[1];
    uint64_t rows = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000000;
    uint64_t clients = argc > 3 ? strtoull(argv[3], NULL, 10) : 10000;
    uint64_t batch = argc > 4 ? strtoull(argv[4], NULL, 10) : 1000;

    empty(dir);
    ttg_state *s = open_state(dir);
    double began = seconds();
    send_rows(s, 0, rows, clients, batch);
    double took = seconds() - began;
    struct ttg_state_counts stats = {.size = sizeof stats};
    ttg_state_stats(s, &stats);
    printf(
        "%-28s %9.0f rows/s  (%llu rows, %llu clients, %llu commits, %llu checkpoints, %.1f s)\n",
        "rows, committed", (double)rows / took, (unsigned long long)rows,
        (unsigned long long)clients, (unsigned long long)stats.commits,
        (unsigned long long)stats.checkpoints, took);
    ttg_state_close(s);

    empty(dir);
    s = open_state(dir);
    send_rows(s, 0, 1000000, clients, batch);
    ttg_state_close(s);
    start(dir, "start, files");
    start(dir, "start, files, again");
    in_child(dir, 1000000, 1400000, clients);
    start(dir, "start behind a kill");

    empty(dir);
    s = open_state(dir);
    began = seconds();
    uint64_t singles = 0;
    for (; seconds() - began < 2; singles++) {
        send_row(s, singles, 100);
        check(s, ttg_state_commit(s));
    }
    printf("%-28s %9.0f rows/s\n", "one row a commit", (double)singles / (seconds() - began));
    ttg_state_close(s);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%-28s %9ld MB\n", "most memory", usage.ru_maxrss / 1024);
    return 0;
}
