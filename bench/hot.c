/* SPDX-License-Identifier: Apache-2.0 */
/* hot - the paths that each chunk or entry takes, one at a time, for an instruction counter.
 *
 *     hot PATH COUNT        PATH: see the table at the end
 *
 * Everything is the same in each run (times and names are made up), so two runs with different
 * counts tell what one more costs: bench/run.py instructions. */
#include "base/mem.h"
#include "core/core.h"
#include "wire/resp.h"
#include "wire/resp_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOW_MS = 1000, BATCH = 64, PAIRS = 5 };

static struct core *core;
static struct buf out;
static struct core_call call;

static void die(const char *what)
{
    fprintf(stderr, "hot: %s\n", what);
    exit(1);
}

static void run(size_t argc, const struct str *argv)
{
    static struct reply reply = {.out = &out};
    const struct core_command *command = core_find(argv[0]);
    call.now_ms = NOW_MS;
    call.reply = &reply;
    call.argc = argc;
    call.argv = argv;
    buf_clear(&out);
    if (!command)
        die("no such command");
    core_exec(core, command, &call);
    if (buf_len(&out) == 0 || *buf_ptr(&out) == '-')
        die(buf_len(&out) ? buf_ptr(&out) : "no answer");
}

/* A line of words, as a person types it. */
static void type(const char *line)
{
    struct resp_request r;
    resp_request_init(&r);
    if (resp_split(&r, str_of(line)))
        die("bad line");
    run(r.argc, r.argv);
    resp_request_done(&r);
}

static void xadd(uint64_t count)
{
    static const struct str words[] = {STR("XADD"),
                                       STR("s"),
                                       STR("*"),
                                       STR("chunk_id"),
                                       STR("00042"),
                                       STR("start_param"),
                                       STR("42"),
                                       STR("end_param"),
                                       STR("42"),
                                       STR("total_in_chunk"),
                                       STR("1"),
                                       STR("created_at"),
                                       STR("2026-02-09T10:00:00Z")};
    for (uint64_t i = 0; i < count; i++)
        run(sizeof words / sizeof *words, words);
}

static void xreadgroup_xack(uint64_t count)
{
    xadd(count);
    type("XGROUP CREATE s g 0");
    static const struct str read[] = {STR("XREADGROUP"), STR("GROUP"), STR("g"),
                                      STR("c"),          STR("COUNT"), STR("1"),
                                      STR("STREAMS"),    STR("s"),     STR(">")};
    for (uint64_t i = 0; i < count; i++) {
        char id[64];
        struct resp_cursor c;
        struct resp_value v;
        struct str name;
        size_t n;
        run(9, read);
        c = resp_cursor_of(buf_str(&out));
        resp_next(&c, &v); /* [[s, [[id, fields]]]] */
        resp_next(&c, &v);
        resp_next_str(&c, &name);
        resp_next_array(&c, &n);
        resp_next_array(&c, &n);
        resp_next_str(&c, &name);
        snprintf(id, sizeof id, "%.*s", STR_ARG(name));
        struct str ack[] = {STR("XACK"), STR("s"), STR("g"), str_of(id)};
        run(4, ack);
    }
}

/* One TTG.COMMIT of a run of chunks. */
static void commit(int64_t chunk, int64_t count, int64_t epoch)
{
    static char texts[2 * BATCH][24];
    static struct str words[4 + 5 * BATCH];
    words[0] = STR("TTG.COMMIT");
    words[1] = STR("j");
    words[2] = STR("w");
    words[3] = STR("1");
    for (int64_t i = 0; i < count; i++) {
        struct str *w = words + 4 + 5 * i;
        snprintf(texts[2 * i], sizeof texts[0], "%lld", (long long)(chunk + i));
        snprintf(texts[2 * i + 1], sizeof texts[0], "%lld", (long long)(epoch + i));
        w[0] = str_of(texts[2 * i]);
        w[1] = str_of(texts[2 * i + 1]);
        w[2] = STR("12");
        w[3] = STR("s");
        w[4] = w[0];
    }
    run((size_t)(4 + 5 * count), words);
}

/* Take 64, commit 64, as a worker does; a chunk is one. */
static void take_commit(uint64_t count)
{
    type("TTG.JOB CREATE j FIRST 0 LAST 99999999 CHUNK 1");
    type("TTG.JOIN j w 1 SLOTS 64");
    for (uint64_t done = 0; done < count;) {
        int64_t runs[4 * BATCH], state;
        size_t words = 0, n;
        type("TTG.TAKE j w 1 COUNT 64");
        struct resp_cursor c = resp_cursor_of(buf_str(&out));
        if (!resp_next_array(&c, &n) || n < 5 || !resp_next_int(&c, &state))
            die("nothing to take");
        for (words = 0; words + 1 < n && words < 4 * BATCH; words++)
            resp_next_int(&c, &runs[words]);
        for (size_t i = 0; i + 3 < words; i += 4) {
            commit(runs[i], runs[i + 1], runs[i + 2]);
            done += (uint64_t)runs[i + 1];
        }
    }
}

/* A request as it comes over a socket. */
static void parse(uint64_t count)
{
    static const char bytes[] = "*7\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$8\r\nchunk_id\r\n"
                                "$5\r\n00042\r\n$11\r\nstart_param\r\n$2\r\n42\r\n";
    const struct resp_limits limits = {RESP_ARGS_MAX, RESP_BULK_BYTES_MAX};
    struct resp_request r;
    struct err err;
    size_t used;
    resp_request_init(&r);
    for (uint64_t i = 0; i < count; i++)
        if (resp_parse(&r, &limits, str_make(bytes, sizeof bytes - 1), &used, &err) != 1)
            die("not parsed");
    resp_request_done(&r);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*go)(uint64_t count);
    } paths[] = {{"xadd", xadd},
                 {"xreadgroup-xack", xreadgroup_xack},
                 {"take-commit", take_commit},
                 {"parse", parse}};
    if (argc != 3)
        die("usage: hot PATH COUNT");
    buf_init(&out, 1 << 30);
    if (core_new(NULL, &core))
        die("out of memory");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (strcmp(argv[1], paths[i].name) != 0)
            continue;
        paths[i].go(strtoull(argv[2], NULL, 10));
        core_free(core);
        buf_done(&out);
        return 0;
    }
    die("no such path");
}
