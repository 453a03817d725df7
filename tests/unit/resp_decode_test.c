/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to structs: what nodes say, and what Redis says. */
#include "resp_codec_kit.h"

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
        const char *early;
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
        {"-EXECABORT Transaction discarded\r\n", true, "MOVED 3999 127.0.0.1:6381"},
        {"-EXECABORT Transaction discarded\r\n", true, "TRYAGAIN Multiple keys"},
        {"-EXECABORT Transaction discarded\r\n", false, "OOM command not allowed"},
        {"-EXECABORT Transaction discarded\r\n", false},
        {"*1\r\n*0\r\n", false, "MOVED 3999 127.0.0.1:6381"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct queue_request r = {.verb = QUEUE_RESULTS};
        if (cases[i].early)
            resp_decode_error(str_of(cases[i].early), &r.early);
        assert_int_equal(resp_redis_dialect.unfit(&r, str_of(cases[i].reply)), cases[i].unfit);
    }
}

int main(void)
{
    buf_init(&engine.scratch, SIZE_MAX);
    buf_init(&engine.cursors, SIZE_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_lost_results_says_up_to_where),
        cmocka_unit_test(answers_become_structs),
        cmocka_unit_test(what_answers_say),
        cmocka_unit_test(servers_that_do_not_fit_now),
    };
    int rc = tap_run(tests);
    buf_done(&engine.scratch);
    buf_done(&engine.cursors);
    return rc;
}
