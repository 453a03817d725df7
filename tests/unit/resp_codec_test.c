/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to words and answers to structs: the dialect of nodes, and that of Redis. */
#include "tap.h"

#include "base/mem.h"
#include "queue/redis.h"
#include "queue/resp.h"

#include <ttg/version.h>

#include <stdio.h>
#include <string.h>

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    (void)r;
    (void)rc;
    (void)err;
}

/* One request of each kind; `words` is what it says after the command's name. */
union any {
    struct queue_request request;
    struct queue_call call;
    struct queue_create create;
    struct queue_status status;
    struct queue_list list;
    struct queue_control_call control;
    struct queue_join join;
    struct queue_take take;
    struct queue_commit commit;
    struct queue_fail fail;
    struct queue_release release;
    struct queue_beat beat;
    struct queue_leave leave;
    struct queue_lost lost;
    struct queue_workers workers;
    struct queue_results results;
    struct queue_trim trim;
    struct queue_dead_list dead_list;
    struct queue_dead_show dead_show;
    struct queue_dead_redrive dead_redrive;
    struct queue_dead_drop dead_drop;
    struct queue_events events;
    struct queue_explain explain;
    struct queue_map map;
};

static struct ledger_held held[] = {{5, 50}, {6, 60}};
static const struct queue_lease leases[] = {{7, 70}, {8, 80}};
static const struct queue_result results[] = {
    {.chunk = 3, .epoch = 30, .params = 10, .duration_us = 1500000, .is_sum = true, .sum = -5},
    {.chunk = 4, .epoch = 31, .params = 10, .duration_us = 7, .output = {"a\0b", 3}},
};

static union any make(enum queue_verb verb)
{
    union any a;
    struct queue_worker w = {STR("w"), (1ull << 62) + 1};
    memset(&a, 0, sizeof a);
    queue_request_init(&a.request, verb, on_done, NULL);
    a.call.job = STR("j");
    switch (verb) {
    case QUEUE_CREATE:
        a.create.spec = (struct ledger_spec){.first = -3,
                                             .params = 25,
                                             .chunk_params = 10,
                                             .window = 100,
                                             .max_attempts = 5,
                                             .retry_min_ms = 1,
                                             .retry_max_ms = 2,
                                             .retry_jitter = 3,
                                             .stale_ms = 4,
                                             .kernel = STR("k"),
                                             .input = STR("i")};
        break;
    case QUEUE_CONTROL:
        a.control.control = QUEUE_FORGET;
        break;
    case QUEUE_JOIN:
        a.join.worker = w;
        a.join.slots = 2;
        a.join.host = STR("box");
        a.join.inflight = 9;
        a.join.held = held;
        a.join.held_count = 2;
        break;
    case QUEUE_TAKE:
        a.take.worker = w;
        a.take.count = 64;
        a.take.block_ms = 500;
        break;
    case QUEUE_COMMIT:
        a.commit.worker = w;
        a.commit.results = results;
        a.commit.count = 2;
        break;
    case QUEUE_FAIL:
        a.fail.worker = w;
        a.fail.chunk = 1;
        a.fail.epoch = 2;
        a.fail.final = true;
        a.fail.reason = STR("why not");
        break;
    case QUEUE_RELEASE:
    case QUEUE_BEAT:
        a.release.worker = w;
        a.release.leases = leases;
        a.release.count = 2;
        break;
    case QUEUE_LEAVE:
        a.leave.worker = w;
        break;
    case QUEUE_LOST:
        a.lost.worker = w;
        a.lost.reason = STR("killed");
        break;
    case QUEUE_RESULTS:
        a.results.cursor = 11;
        a.results.count = 100;
        a.results.block_ms = 20;
        break;
    case QUEUE_TRIM:
        a.trim.seq = (1795221346450ull << 22) + 3;
        break;
    case QUEUE_DEAD_LIST:
        a.dead_list.after = 4;
        a.dead_list.count = 10;
        break;
    case QUEUE_DEAD_SHOW:
        a.dead_show.chunk = 4;
        break;
    case QUEUE_DEAD_REDRIVE:
        a.dead_redrive.all = true;
        break;
    case QUEUE_DEAD_DROP:
        a.dead_drop.chunk = 4;
        break;
    case QUEUE_EVENTS:
        a.events.after = 6;
        a.events.count = 7;
        break;
    case QUEUE_EXPLAIN:
        a.explain.of_chunk = true;
        a.explain.chunk = 12;
        break;
    case QUEUE_MAP:
        a.map.cells_max = 9;
        a.map.ran_max = 7;
        a.map.since_ms = 12;
        break;
    default:
        break;
    }
    return a;
}

/* Commands as text: words with blanks between, one command a line; scripts by their name. */
static void show(struct str bytes, char *out, size_t room)
{
    struct resp_cursor c = resp_cursor_of(bytes);
    struct resp_value v;
    size_t at = 0, left = 0;
    while (resp_next(&c, &v)) {
        if (v.type == RESP_ARRAY) {
            left = v.count;
            at += (size_t)snprintf(out + at, room - at, "%s", at ? "\n" : "");
            continue;
        }
        assert_int_equal(v.type, RESP_STR);
        struct str word = v.s;
        for (const struct redis_script *s = redis_scripts; s->name; s++)
            if (str_eq(word, str_of(s->sha)) || str_eq(word, str_of(s->text)))
                word = str_of(s->name);
        for (size_t i = 0; i < word.len; i++) /* NUL is shown as a dot */
            out[at++] = word.ptr[i] ? word.ptr[i] : '.';
        left--;
        at += (size_t)snprintf(out + at, room - at, "%s", left ? " " : "");
        assert_true(at + 200 < room);
    }
    out[at] = '\0';
    assert_int_equal(left, 0); /* the announced number of words */
}

#define W "w 4611686018427387905"

static const struct {
    enum queue_verb verb;
    const char *node, *redis;
} commands[] = {
    {QUEUE_CREATE,
     "TTG.JOB CREATE j FIRST -3 LAST 21 CHUNK 10 WINDOW 100 MAXATTEMPTS 5 RETRYMIN 1 RETRYMAX 2 "
     "RETRYJITTER 3 STALE 4 KERNEL k INPUT i",
     "SADD ttg:jobs j\nEVALSHA create 1 ttg:{j}:job j FIRST -3 LAST 21 CHUNK 10 WINDOW 100 "
     "MAXATTEMPTS 5 RETRYMIN 1 RETRYMAX 2 RETRYJITTER 3 STALE 4 KERNEL k INPUT i CHUNKS 3 "
     "LASTCOUNT 5 PARAMS 25"},
    {QUEUE_STATUS, "TTG.JOB STATUS j", "EVALSHA status 1 ttg:{j}:job j"},
    {QUEUE_LIST, "TTG.JOB LIST", "SMEMBERS ttg:jobs"},
    {QUEUE_CONTROL, "TTG.JOB FORGET j", "EVALSHA control 1 ttg:{j}:job j FORGET"},
    {QUEUE_JOIN,
     "TTG.JOIN j " W " SLOTS 2 INFLIGHT 9 VERSION " TTG_VERSION " HOST box HELD 5 50 6 60",
     "EVALSHA join 1 ttg:{j}:job j " W " SLOTS 2 INFLIGHT 9 VERSION " TTG_VERSION
     " HOST box HELD 5 50 6 60"},
    {QUEUE_TAKE, "TTG.TAKE j " W " COUNT 64 BLOCK 500",
     "EVALSHA take 1 ttg:{j}:job j " W " COUNT 64 BLOCK 500"},
    {QUEUE_COMMIT, "TTG.COMMIT j " W " 3 30 1500000 s -5 4 31 7 o a.b", NULL},
    {QUEUE_FAIL, "TTG.FAIL j " W " 1 2 FINAL why not",
     "EVALSHA fail 1 ttg:{j}:job j " W " 1 2 FINAL why not RANDOM 0."},
    {QUEUE_RELEASE, "TTG.RELEASE j " W " 7 70 8 80",
     "EVALSHA release 1 ttg:{j}:job j " W " 7 70 8 80"},
    {QUEUE_BEAT, "TTG.BEAT j " W " 7 70 8 80", "EVALSHA beat 1 ttg:{j}:job j " W " 7 70 8 80"},
    {QUEUE_LEAVE, "TTG.LEAVE j " W, "EVALSHA leave 1 ttg:{j}:job j " W},
    {QUEUE_LOST, "TTG.LOST j " W " killed", "EVALSHA lost 1 ttg:{j}:job j " W " killed"},
    {QUEUE_WORKERS, "TTG.WORKERS j", "EVALSHA workers 1 ttg:{j}:job j"},
    {QUEUE_RESULTS, "TTG.RESULTS j 11 COUNT 100 BLOCK 20 JSON",
     "MULTI\nEVALSHA look 1 ttg:{j}:job j\nXRANGE ttg:{j}:results (0-11 + COUNT 100\nEXEC"},
    {QUEUE_TRIM, "TTG.TRIM j ", "EVALSHA trim 1 ttg:{j}:job j 1795221346450-3"},
    {QUEUE_DEAD_LIST, "TTG.DEAD LIST j AFTER 4 COUNT 10",
     "EVALSHA dead_list 1 ttg:{j}:job j AFTER 4 COUNT 10"},
    {QUEUE_DEAD_SHOW, "TTG.DEAD SHOW j 4", "EVALSHA dead_show 1 ttg:{j}:job j 4"},
    {QUEUE_DEAD_REDRIVE, "TTG.DEAD REDRIVE j ALL", "EVALSHA dead_redrive 1 ttg:{j}:job j ALL"},
    {QUEUE_DEAD_DROP, "TTG.DEAD DROP j 4", "EVALSHA dead_drop 1 ttg:{j}:job j 4"},
    {QUEUE_EVENTS, "TTG.EVENTS j 6 COUNT 7", "EVALSHA events 1 ttg:{j}:job j 6 COUNT 7"},
    {QUEUE_EXPLAIN, "TTG.EXPLAIN j 12", "EVALSHA explain 1 ttg:{j}:job j 12"},
    {QUEUE_MAP, "TTG.MAP j CELLS 9 LEASES 0 RAN 7 SINCE 12",
     "EVALSHA map 1 ttg:{j}:job j CELLS 9 LEASES 0 RAN 7 SINCE 12"},
};

static const struct url here = {.scheme = URL_REDIS}, cluster = {.scheme = URL_REDIS_CLUSTER};
static struct queue_config config = {.url = &here};
static struct resp_engine engine = {.queue = {.config = &config}};

static int put(const struct resp_dialect *d, union any *a, struct buf *out)
{
    size_t count;
    int rc = resp_encode(&a->request, &count);
    return rc ? rc : d->command(&engine, &a->request, count, out);
}

static void requests_become_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(commands); i++)
        for (int redis = 0; redis < 2; redis++) {
            const char *want = redis ? commands[i].redis : commands[i].node;
            char text[4096];
            struct buf out;
            union any a = make(commands[i].verb);
            buf_init(&out, SIZE_MAX);
            assert_int_equal(put(redis ? &resp_redis_dialect : &resp_node_dialect, &a, &out), 0);
            show(buf_str(&out), text, sizeof text);
            if (want && strncmp(text, want, strlen(want)) != 0)
                fail_msg("verb %d: '%s' is not '%s'", commands[i].verb, text, want);
            buf_done(&out);
            queue_request_done(&a.request);
        }
}

static void a_commit_carries_what_scripts_cannot_compute(void **state)
{
    (void)state;
    char text[4096], want[1024], digests[2][2][32];
    uint64_t digest[2][2];
    struct buf out;
    union any a = make(QUEUE_COMMIT);
    buf_init(&out, SIZE_MAX);
    assert_int_equal(put(&resp_redis_dialect, &a, &out), 0);
    show(buf_str(&out), text, sizeof text);
    ledger_result_digest(3, 's', STR("{\"sum\":-5,\"count\":10}"), digest[0]);
    ledger_result_digest(4, 'o', results[1].output, digest[1]);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            snprintf(digests[i][k], 32, "%lld", (long long)digest[i][k]);
    snprintf(want, sizeof want,
             "EVALSHA commit 1 ttg:{j}:job j " W " -5 %lld %lld %s %s -5;%s %s ; "
             "3 30 1.500000 result_summary {\"sum\":-5,\"count\":10} 4 31 0.000007 output a.b",
             (long long)(digest[0][0] + digest[1][0]), (long long)(digest[0][1] + digest[1][1]),
             digests[0][0], digests[0][1], digests[1][0], digests[1][1]);
    assert_string_equal(text, want);
    buf_clear(&out);
    const struct queue_result big[] = {
        {.chunk = 0, .params = 1, .is_sum = true, .sum = (__int128)((~(__uint128_t)0) >> 1)},
        {.chunk = 1, .params = 1, .is_sum = true, .sum = 1},
        {.chunk = 2, .params = 1, .output = {"\xff", 1}},
    };
    a.commit.results = big;
    a.commit.count = 3;
    assert_int_equal(put(&resp_redis_dialect, &a, &out), 0);
    show(buf_str(&out), text, sizeof text);
    assert_non_null(strstr(text, W " ? ")); /* the total exceeds 128 bits */
    assert_non_null(strstr(text, "output_base64 /w=="));
    buf_done(&out);
    queue_request_done(&a.request);
}

static void the_default_job_has_the_plain_names(void **state)
{
    (void)state;
    char text[512];
    struct buf out;
    union any a = make(QUEUE_RESULTS);
    a.call.job = STR("default");
    buf_init(&out, SIZE_MAX);
    assert_int_equal(put(&resp_redis_dialect, &a, &out), 0);
    show(buf_str(&out), text, sizeof text);
    assert_non_null(strstr(text, "1 ttg:job default"));
    assert_non_null(strstr(text, "XRANGE ttg:results"));
    buf_done(&out);
    queue_request_done(&a.request);
}

/* On a server that is known, on a cluster, and where replicas have to have it. */
static void a_server_is_named_and_replicas_are_waited_for(void **state)
{
    (void)state;
    char text[512];
    struct buf out;
    union any a = make(QUEUE_RESULTS);
    config = (struct queue_config){.url = &cluster, .redis_wait = 2};
    snprintf(engine.server, sizeof engine.server, "0123abcd");
    a.call.job = STR("default");
    buf_init(&out, SIZE_MAX);
    assert_int_equal(put(&resp_redis_dialect, &a, &out), 0);
    show(buf_str(&out), text, sizeof text);
    assert_string_equal(text,
                        "MULTI\nEVALSHA look 2 ttg:{default}:job ttg:{default}:@0123abcd default\n"
                        "XRANGE ttg:{default}:results (0-11 + COUNT 100\nEXEC\n"
                        "SET ttg:{default}:replicated 1 EX 3600\nWAIT 2 1000");
    assert_int_equal(a.request.behind, 2);
    buf_clear(&out);
    queue_request_done(&a.request);
    a = make(QUEUE_BEAT);
    assert_int_equal(put(&resp_redis_dialect, &a, &out), 0);
    show(buf_str(&out), text, sizeof text);
    assert_null(strstr(text, "WAIT"));
    buf_done(&out);
    queue_request_done(&a.request);
    config = (struct queue_config){.url = &here};
    engine.server[0] = '\0';
}

static void too_few_replicas_are_an_error(void **state)
{
    static const struct {
        const char *reply;
        int rc;
    } rows[] = {{":2\r\n", 0},
                {":3\r\n", 0},
                {":1\r\n", TTG_EFULL},
                {"+OK\r\n", TTG_EPROTO},
                {"-NOPERM no\r\n", TTG_EAUTH}};
    struct err err;
    (void)state;
    config.redis_wait = 2;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(resp_redis_dialect.confirm(&engine, str_of(rows[i].reply), &err),
                         rows[i].rc);
    config.redis_wait = 0;
}

static void a_greeting_tells_who_serves(void **state)
{
    struct err err;
    (void)state;
    engine.hello_left = 1;
    assert_int_equal(
        resp_redis_dialect.greeted(
            &engine, STR("$40\r\n# Server\r\nrun_id:0123456789abcdef0123456\r\n"), &err),
        1);
    engine.hello_left = 0;
    assert_int_equal(resp_redis_dialect.greeted(
                         &engine,
                         STR("$50\r\n# Replication\r\nrole:master\r\nmaster_replid:abcdefgh\r\n"),
                         &err),
                     1);
    assert_string_equal(engine.server, "01234567abcdefgh");
    assert_int_equal(resp_redis_dialect.greeted(&engine, STR("$12\r\nrole:slave\r\n\r\n"), &err),
                     TTG_EAGAIN);
    assert_non_null(strstr(err.text, "READONLY"));
    assert_int_equal(resp_redis_dialect.greeted(&engine, STR("-NOPERM no info\r\n"), &err), 1);
    assert_string_equal(engine.server, ""); /* half a name is none */
    engine.hello_left = 2;
    assert_int_equal(resp_redis_dialect.greeted(&engine, STR("+PONG\r\n"), &err), 0);
}

/* --- answers --- */

#define BULK(n, text) "$" #n "\r\n" text "\r\n"

static const struct {
    enum queue_verb verb;
    bool redis;
    int rc;
    const char *reply;
} answers[] = {
    {QUEUE_STATUS, false, TTG_ENOENT, "-NOJOB there is no job j\r\n"},
    {QUEUE_CREATE, false, TTG_EEXIST, "-JOBEXISTS job j exists with first 1, not 2\r\n"},
    {QUEUE_CREATE, true, TTG_EDONE, "-JOBENDED job j has ended\r\n"},
    {QUEUE_TAKE, false, TTG_ESTALE, "-LOST join again\r\n"},
    {QUEUE_TAKE, true, TTG_EBUSY, "-REPLACED a newer worker\r\n"},
    {QUEUE_COMMIT, true, TTG_EFULL, "-OOM command not allowed when used memory > 'maxmemory'\r\n"},
    {QUEUE_COMMIT, true, TTG_EFULL,
     "-ERR Error running script (call to f_12): @user_script:9: @user_script: 9: -OOM command not "
     "allowed\r\n"},
    {QUEUE_COMMIT, true, TTG_EFULL, "-MISCONF Errors writing to the AOF file\r\n"},
    {QUEUE_COMMIT, true, TTG_EACCES, "-READONLY You can't write against a read only replica.\r\n"},
    {QUEUE_COMMIT, false, TTG_EFULL, "-NOSPACE the disk is full\r\n"},
    {QUEUE_STATUS, true, TTG_EAUTH, "-NOPERM this user has no permissions\r\n"},
    {QUEUE_STATUS, false, TTG_EINVAL, "-ERR wrong number of arguments\r\n"},
    {QUEUE_MAP, false, 0,
     "*8\r\n" BULK(8, "per_cell") ":1\r\n" BULK(
         5, "cells") "*6\r\n:2\r\n:1\r\n:0\r\n:0\r\n:0"
                     "\r\n:0\r\n" BULK(6, "leases") "*0\r\n" BULK(3, "ran") "*5\r\n" BULK(
                         1, "w") ":4\r\n:1\r\n:99\r\n:7\r\n"},
    {QUEUE_MAP, false, TTG_EPROTO, "*2\r\n" BULK(8, "per_cell") ":0\r\n"},
    {QUEUE_MAP, false, TTG_EPROTO,
     "*4\r\n" BULK(8, "per_cell") ":1\r\n" BULK(5, "cells") "*2\r\n:2\r\n:1\r\n"},
    {QUEUE_MAP, false, TTG_EPROTO, /* cells twice, the second time none */
     "*6\r\n" BULK(8, "per_cell") ":1\r\n" BULK(
         5, "cells") "*6\r\n:2\r\n:1\r\n:0\r\n:0\r\n:0\r\n:0\r\n" BULK(5, "cells") "*0\r\n"},
    {QUEUE_TAKE, false, TTG_EAGAIN, "*-1\r\n"},
    {QUEUE_TAKE, false, 0, "*1\r\n:0\r\n"},
    {QUEUE_TAKE, false, 0, "*5\r\n:0\r\n:7\r\n:3\r\n:99\r\n:1\r\n"},
    {QUEUE_TAKE, true, 0, "*5\r\n:0\r\n$1\r\n7\r\n:3\r\n$2\r\n99\r\n:1\r\n"},
    {QUEUE_TAKE, false, TTG_EPROTO, "*4\r\n:0\r\n:7\r\n:3\r\n:99\r\n"},
    {QUEUE_TAKE, false, TTG_EPROTO, "*5\r\n:0\r\n:7\r\n:65\r\n:99\r\n:1\r\n"}, /* asked for 64 */
    {QUEUE_TAKE, false, TTG_EPROTO, "*5\r\n:0\r\n:7\r\n:0\r\n:99\r\n:1\r\n"},
    {QUEUE_TAKE, false, TTG_EPROTO, "*5\r\n:4\r\n:7\r\n:3\r\n:99\r\n:1\r\n"},
    {QUEUE_TAKE, false, TTG_EPROTO, "*5\r\n:0\r\n:-7\r\n:3\r\n:99\r\n:1\r\n"},
    {QUEUE_TAKE, false, TTG_EPROTO, ":1\r\n"},
    {QUEUE_COMMIT, false, 0, "*1\r\n:2\r\n"},
    {QUEUE_COMMIT, false, 0, "*3\r\n:1\r\n:3\r\n" BULK(5, "stale")},
    {QUEUE_COMMIT, true, 0, "*5\r\n:0\r\n$1\r\n3\r\n" BULK(5, "again") ":4\r\n" BULK(7, "refused")},
    {QUEUE_COMMIT, false, TTG_EPROTO, "*1\r\n:1\r\n"}, /* of two results */
    {QUEUE_COMMIT, false, TTG_EPROTO, "*3\r\n:1\r\n:3\r\n" BULK(5, "stole")},
    {QUEUE_COMMIT, false, TTG_EPROTO, /* more than two, were the sum not to wrap */
     "*7\r\n" BULK(20, "18446744073709551615") ":3\r\n" BULK(5, "stale") ":3\r\n" BULK(
         5, "stale") ":3\r\n" BULK(5, "stale")},
    {QUEUE_FAIL, false, 0, "*2\r\n" BULK(5, "retry") ":100\r\n"},
    {QUEUE_FAIL, false, TTG_EPROTO, "*1\r\n" BULK(5, "retry")},
    {QUEUE_BEAT, false, 0, "*3\r\n:0\r\n:5\r\n:7\r\n"},
    {QUEUE_BEAT, false, TTG_EPROTO, "*1\r\n:0\r\n"},
    {QUEUE_RELEASE, true, 0, ":2\r\n"},
    {QUEUE_LEAVE, true, TTG_EPROTO, "+OK\r\n"},
    {QUEUE_LOST, true, 0, ":1\r\n"},
    {QUEUE_LOST, false, TTG_ESTALE, "-LOST this worker is not joined (any more): join again\r\n"},
    {QUEUE_CONTROL, true, 0, "+OK\r\n"},
    {QUEUE_RESULTS, false, 0, "*4\r\n:5\r\n:1\r\n:1\r\n" BULK(3, "{}\n")},
    {QUEUE_RESULTS, false, TTG_ERANGE, "-CURSOR 3 the job has only 3 results\r\n"},
    {QUEUE_RESULTS, true, TTG_EAGAIN,
     "*2\r\n*4\r\n:0\r\n" BULK(4, "0-11") BULK(3, "0-0") "*0\r\n*0\r\n"},
    {QUEUE_RESULTS, true, 0, "*2\r\n*4\r\n:1\r\n" BULK(4, "0-11") BULK(3, "0-0") "*0\r\n*0\r\n"},
    {QUEUE_RESULTS, true, TTG_ERANGE,
     "*2\r\n*4\r\n:0\r\n" BULK(3, "0-9") BULK(3, "0-0") "*0\r\n*0\r\n"},
    {QUEUE_RESULTS, true, 0,
     "*2\r\n*4\r\n:0\r\n" BULK(4, "0-15") BULK(4, "0-13") "*0\r\n*1\r\n*2\r\n" BULK(
         4, "0-14") "*4\r\n" BULK(8, "chunk_id") BULK(5, "00003") BULK(6, "output") BULK(1, "x")},
    {QUEUE_RESULTS, true, TTG_EPROTO,
     "*2\r\n*4\r\n:0\r\n" BULK(4, "0-15")
         BULK(3, "0-0") "*0\r\n*1\r\n*2\r\n" BULK(4, "0-14") "*1\r\n" BULK(8, "chunk_id")},
    {QUEUE_RESULTS, true, TTG_ENOENT, "*2\r\n-NOJOB none\r\n*0\r\n"},
    {QUEUE_RESULTS, true, TTG_EPROTO, "*1\r\n:1\r\n"},
    {QUEUE_LIST, false, 0,
     "*1\r\n*4\r\n" BULK(3, "job") BULK(1, "j") BULK(5, "state") BULK(6, "paused")},
    {QUEUE_LIST, false, TTG_EPROTO,
     "*1\r\n*4\r\n" BULK(3, "job") BULK(1, "j") BULK(5, "state") BULK(5, "happy")},
    {QUEUE_STATUS, true, 0,
     "*6\r\n" BULK(3, "sum") BULK(0, "") BULK(6, "digest")
         BULK(32, "00000000000000010000000000000002") BULK(3, "new") "*1\r\n:1\r\n"},
    {QUEUE_STATUS, true, TTG_EPROTO, "*2\r\n" BULK(6, "digest") BULK(1, "0")},
    {QUEUE_JOIN, true, 0, "*2\r\n" BULK(4, "held") "*4\r\n:5\r\n:0\r\n:6\r\n:61\r\n"},
    {QUEUE_JOIN, true, TTG_EPROTO, "*2\r\n" BULK(4, "held") "*4\r\n:6\r\n:0\r\n:5\r\n:61\r\n"},
    {QUEUE_JOIN, true, TTG_EPROTO, "*2\r\n" BULK(4, "held") "*2\r\n:5\r\n:0\r\n"},
    {QUEUE_DEAD_DROP, false, 0, ":1\r\n"},
    {QUEUE_DEAD_REDRIVE, false, 0, ":2\r\n"},
    {QUEUE_DEAD_SHOW, true, TTG_ENOENT, "-NOENT chunk 4 is no dead letter\r\n"},
};

static void answers_become_structs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        const struct resp_dialect *d = answers[i].redis ? &resp_redis_dialect : &resp_node_dialect;
        struct err err = {0};
        union any a = make(answers[i].verb);
        size_t len, count;
        struct resp_scan scan = {0};
        assert_int_equal(resp_encode(&a.request, &count), 0);
        assert_int_equal(resp_scan(&scan, str_of(answers[i].reply), 1 << 20, &len), 0);
        assert_int_equal(len, strlen(answers[i].reply));
        int rc = d->decode(&engine, &a.request, str_of(answers[i].reply), &err);
        if (rc != answers[i].rc)
            fail_msg("answer %zu: %d (%s), not %d", i, rc, err.text, answers[i].rc);
        if (rc)
            assert_true(err.text[0] != '\0');
        queue_request_done(&a.request);
    }
}

static void what_answers_say(void **state)
{
    (void)state;
    union any a = make(QUEUE_TAKE);
    assert_int_equal(resp_node_dialect.decode(&engine, &a.request,
                                              STR("*5\r\n:1\r\n:7\r\n:3\r\n:99\r\n:2\r\n"), NULL),
                     0);
    assert_int_equal(a.take.state, LEDGER_PAUSED);
    assert_int_equal(a.take.run_count, 1);
    assert_int_equal(a.take.runs[0].chunk, 7);
    assert_int_equal(a.take.runs[0].count, 3);
    assert_int_equal(a.take.runs[0].epoch, 99);
    assert_int_equal(a.take.runs[0].attempt, 2);
    queue_request_done(&a.request);

    /* What an answer leaves out is not that of the one before. */
    a = make(QUEUE_STATUS);
    struct str long_one = STR("*2\r\n" BULK(6, "kernel") BULK(1, "k")), none = STR("*0\r\n");
    assert_int_equal(resp_node_dialect.decode(&engine, &a.request, long_one, NULL), 0);
    assert_int_equal(a.status.kernel.len, 1);
    assert_int_equal(resp_node_dialect.decode(&engine, &a.request, none, NULL), 0);
    assert_int_equal(a.status.kernel.len, 0);
    queue_request_done(&a.request);

    a = make(QUEUE_RESULTS);
    struct str reply =
        STR("*2\r\n*4\r\n:1\r\n" BULK(4, "0-14")
                BULK(4, "0-12") "*0\r\n*1\r\n*2\r\n" BULK(4, "0-14") "*4\r\n" BULK(8, "chunk_id")
                    BULK(5, "00003") BULK(6, "output") BULK(1, "x"));
    assert_int_equal(resp_redis_dialect.decode(&engine, &a.request, reply, NULL), 0);
    assert_int_equal(a.results.last, 14);
    assert_int_equal(a.results.first, 13); /* 12 is gone, and the cursor stood at 11 */
    assert_true(a.results.ended);
    assert_non_null(memmem(a.results.lines.ptr, a.results.lines.len, "\"output\":\"x\"}\n", 14));
    queue_request_done(&a.request);
}

/* The server says 7 results are common, the output has more. */
static void a_server_that_lost_results_says_up_to_where(void **state)
{
    struct err err;
    (void)state;
    union any a = make(QUEUE_RESULTS);
    snprintf(a.results.history, sizeof a.results.history, "1:a:0:0:-1");
    struct str reply = STR("*2\r\n*4\r\n:0\r\n" BULK(4, "0-40") BULK(3, "0-0") "*2\r\n" BULK(
        15, "2 b 0-9 7 00004") BULK(12, "1 a 0-0 0 -1") "*0\r\n");
    assert_int_equal(resp_redis_dialect.decode(&engine, &a.request, reply, &err), TTG_ESTALE);
    assert_true(a.results.last == 9 && a.results.kept == 7 && a.results.kept_chunk == 4);
    assert_string_equal(a.results.history, "2:b:9:7:4,1:a:0:0:-1");
    a.results.cursor = 9;
    assert_int_equal(resp_redis_dialect.decode(&engine, &a.request, reply, &err), TTG_EAGAIN);
    snprintf(a.results.history, sizeof a.results.history, "1:a:0:0:-1");
    assert_int_equal(resp_redis_dialect.decode(&engine, &a.request, reply, &err), TTG_EAGAIN);
    snprintf(a.results.history, sizeof a.results.history, "nonsense");
    assert_int_equal(resp_redis_dialect.decode(&engine, &a.request, reply, &err), TTG_EINVAL);
    queue_request_done(&a.request);
}

static void servers_that_do_not_fit_now(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        bool unfit;
    } cases[] = {
        {"-READONLY You can't write against a read only replica. script: 12\r\n", true},
        {"-ERR Error running script (call to f_1): @user_script:5: @user_script: 5: -READONLY You "
         "can't write\r\n",
         true},
        {"*2\r\n-READONLY You can't\r\n*0\r\n", true},
        {"-LOADING Redis is loading the dataset in memory\r\n", true},
        {"-MASTERDOWN Link with MASTER is down\r\n", true},
        {"-MOVED 3999 127.0.0.1:6381\r\n", true},
        {"-ASK 3999 127.0.0.1:6381\r\n", true},
        {"-CLUSTERDOWN The cluster is down\r\n", true},
        {"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", true},
        {"-NOREPLICAS Not enough good replicas to write.\r\n", true},
        {"-OUTDATED the server was restarted\r\n", true},
        {"-OOM command not allowed\r\n", false},
        {"-READ ONLY\r\n", false},
        {"+READONLY\r\n", false},
        {"*0\r\n", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(resp_redis_dialect.unfit(str_of(cases[i].reply)), cases[i].unfit);
}

static void without_memory_nothing_is_half_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(commands); i++)
        for (uint64_t n = 1;; n++) {
            struct buf out;
            union any a = make(commands[i].verb);
            buf_init(&out, SIZE_MAX);
            assert_int_equal(buf_add_str(&out, STR("before")), 0);
            mem_fail_at(n);
            int rc = put(&resp_redis_dialect, &a, &out);
            bool failed = mem_failed();
            mem_fail_at(0);
            assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
            if (failed)
                assert_true(str_eq(buf_str(&out), STR("before")));
            buf_done(&out);
            queue_request_done(&a.request);
            if (!failed)
                break;
        }
}

int main(void)
{
    prng_init(&engine.prng, 1);
    buf_init(&engine.scratch, SIZE_MAX);
    buf_init(&engine.cursors, SIZE_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_become_commands),
        cmocka_unit_test(a_commit_carries_what_scripts_cannot_compute),
        cmocka_unit_test(the_default_job_has_the_plain_names),
        cmocka_unit_test(a_server_is_named_and_replicas_are_waited_for),
        cmocka_unit_test(too_few_replicas_are_an_error),
        cmocka_unit_test(a_greeting_tells_who_serves),
        cmocka_unit_test(a_server_that_lost_results_says_up_to_where),
        cmocka_unit_test(answers_become_structs),
        cmocka_unit_test(what_answers_say),
        cmocka_unit_test(servers_that_do_not_fit_now),
        cmocka_unit_test(without_memory_nothing_is_half_said),
    };
    int rc = tap_run(tests);
    buf_done(&engine.scratch);
    buf_done(&engine.cursors);
    return rc;
}
