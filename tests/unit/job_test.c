/* SPDX-License-Identifier: Apache-2.0 */
/* The TTG commands and what plain Redis clients see and do beside them. */
#include "job_kit.h"

#include "base/mem.h"
#include "core/job.h"

#include <ttg/version.h>

#define EPOCH "1099511627777" /* the first one of boot 1 */

static void one_job_from_start_to_end(void **state)
{
    (void)state;
    struct session s;
    session_open(&s);
    assert_string_equal(run(&s, "TTG.JOB CREATE sweep FIRST 0 LAST 2500 CHUNK 1000 KERNEL sim"),
                        "[job sweep created 1 created_ms 1770631200000 chunks 3 state running]");
    assert_string_equal(run(&s, "TTG.JOB CREATE sweep FIRST 0 LAST 2500 CHUNK 1000 KERNEL sim"),
                        "[job sweep created 0 created_ms 1770631200000 chunks 3 state running]");
    assert_false(s.changed);
    assert_string_equal(run(&s, "TTG.JOB CREATE sweep FIRST 0 LAST 2500 CHUNK 100 KERNEL sim"),
                        "-JOBEXISTS job sweep exists with another chunk size");
    assert_string_equal(run(&s, "XRANGE ttg:{sweep}:tasks - + COUNT 1"),
                        "[[1770631200000-1 [chunk_id 00000 start_param 0 end_param 999 "
                        "total_in_chunk 1000 created_at 2026-02-09T10:00:00Z]]]");
    assert_string_equal(run(&s, "TTG.TAKE sweep worker-0 5 COUNT 2"),
                        "-LOST this worker is not joined (any more): join again");
    assert_string_equal(run(&s, "TTG.JOIN sweep worker-0 5 SLOTS 2"),
                        "[state running boot 1 protocol 1 first 0 chunk_params 1000 params_total "
                        "2501 chunks 3 max_attempts 5 kernel sim input  version " TTG_VERSION
                        " created_ms 1770631200000 held []]");
    assert_string_equal(run(&s, "TTG.TAKE sweep worker-0 5 COUNT 2"), "[0 0 2 " EPOCH " 1]");
    assert_string_equal(run(&s, "XPENDING ttg:{sweep}:tasks ttg-workers"),
                        "[2 1770631200000-1 1770631200000-2 [[worker-0 2]]]");
    s.now_ms += 1500;
    assert_string_equal(run(&s, "TTG.COMMIT sweep worker-0 5 0 " EPOCH " 350000 s 499500 1 7 5 s 1 "
                                "9 7 5 s 1 2 x 5 s 1"),
                        "[1 1 stale 9 invalid 2 invalid]");
    assert_string_equal(run(&s, "TTG.COMMIT sweep worker-0 5 0 " EPOCH " 350000 s 499500"),
                        "[0 0 again]");
    assert_false(s.changed);
    assert_string_equal(run(&s, "TTG.RESULTS sweep 0 COUNT 10 JSON"),
                        "[1 0 1 {\"chunk_id\":\"00000\",\"start_param\":0,\"end_param\":999,"
                        "\"worker_id\":\"worker-0\",\"attempt\":1,\"status\":\"complete\","
                        "\"params_processed\":1000,\"duration_seconds\":0.35,\"completed_at\":"
                        "\"2026-02-09T10:00:01Z\",\"result_summary\":{\"sum\":499500,\"count\":"
                        "1000}}\n]");
    assert_string_equal(run(&s, "TTG.RESULTS sweep 1 COUNT 10 BLOCK 0"), "(blocked)");
    assert_string_equal(run(&s, "TTG.RESULTS sweep 2 COUNT 10"),
                        "-CURSOR 1 is the newest result of this job");
    assert_string_equal(run(&s, "TTG.BEAT sweep worker-0 5 0 " EPOCH " 1 1099511627778"),
                        "[0 2 0]");
    assert_string_equal(run(&s, "TTG.FAIL sweep worker-0 5 1 1099511627778 FINAL gone"),
                        "[dead 0]");
    assert_string_equal(run(&s, "TTG.FAIL sweep worker-0 5 1 1099511627778 FINAL gone"),
                        "[stale 0]");
    assert_string_equal(run(&s, "TTG.TAKE sweep worker-0 5 COUNT 2"), "[0 2 1 1099511627779 1]");
    assert_string_equal(run(&s, "TTG.COMMIT sweep worker-0 5 2 1099511627779 1 o hello"), "[1]");
    assert_string_equal(run(&s, "TTG.TAKE sweep worker-0 5 COUNT 2 BLOCK 0"), "[2]");
    assert_string_equal(run(&s, "TTG.DEAD LIST sweep"),
                        "[[chunk 1 attempts 1 dead_ms 1770631201500 worker worker-0 reason gone]]");
    assert_string_equal(
        run(&s, "TTG.JOB CREATE sweep FIRST 0 LAST 2500 CHUNK 1000 KERNEL sim"),
        "-JOBENDED job sweep has finished already; `ttg cancel --forget` removes it, "
        "or choose another name");
    assert_string_equal(run(&s, "TTG.DEAD REDRIVE sweep ALL"), "1");
    assert_string_equal(run(&s, "TTG.DEAD REDRIVE sweep ALL"), "0");
    assert_string_equal(run(&s, "TTG.TAKE sweep worker-0 5 COUNT 2"), "[0 1 1 1099511627780 1]");
    assert_string_equal(run(&s, "TTG.EXPLAIN sweep 1"),
                        "[place leased why the worker runs it, or has it in advance worker "
                        "worker-0 attempts 0 epoch 1099511627780 since_ms 1770631201500 due_ms 0 "
                        "reason gone]");
    assert_string_equal(run(&s, "TTG.COMMIT sweep worker-0 5 1 1099511627780 1 o \xff"), "[1]");
    assert_string_equal(run(&s, "TTG.RESULTS sweep 2 COUNT 10"),
                        "[3 1 3 [[3 [chunk_id 00001 start_param 1000 end_param 1999 worker_id "
                        "worker-0 attempt 1 status complete params_processed 1000 "
                        "duration_seconds 0.000001 completed_at 2026-02-09T10:00:01Z "
                        "output_base64 /w==]]]]");
    assert_string_equal(run(&s, "XLEN ttg:{sweep}:tasks"), "0");
    assert_string_equal(run(&s, "XLEN ttg:{sweep}:results"), "3");
    assert_string_equal(run(&s, "TTG.TRIM sweep 3"), "1");
    assert_string_equal(run(&s, "TTG.LEAVE sweep worker-0 5"), "0");
    assert_string_equal(run(&s, "DEL ttg:{sweep}:results"),
                        "-ERR LIVEJOB this stream belongs to job sweep; TTG.JOB FORGET deletes it "
                        "once the job has ended");
    assert_string_equal(run(&s, "TTG.JOB FORGET sweep"), "OK");
    assert_string_equal(run(&s, "EXISTS ttg:{sweep}:tasks ttg:{sweep}:results"), "0");
    assert_string_equal(run(&s, "TTG.JOB STATUS sweep"), "-NOJOB there is no job of that name");
    session_close(&s);
}

/* What the ten-line script of another language does. */
static void plain_clients_can_work(void **state)
{
    (void)state;
    struct session s;
    session_open(&s);
    run(&s, "TTG.JOB CREATE default FIRST 0 LAST 49 CHUNK 10 STALE 5000");
    assert_string_equal(
        run(&s, "XREADGROUP GROUP ttg-workers plain COUNT 1 BLOCK 5000 STREAMS ttg:tasks >"),
        "[[ttg:tasks [[1770631200000-1 [chunk_id 00000 start_param 0 end_param 9 total_in_chunk "
        "10 created_at 2026-02-09T10:00:00Z]]]]]");
    run(&s, "XADD ttg:results * chunk_id 00000 worker_id plain status complete params_processed "
            "10 duration_seconds 0.5 result_summary {\"sum\":45,\"count\":10} colour blue");
    assert_string_equal(run(&s, "XACK ttg:tasks ttg-workers 1770631200000-1"), "0");
    run(&s, "XADD ttg:results * chunk_id 00000 status complete"); /* a copy */
    assert_string_equal(run(&s, "TTG.RESULTS default 0 COUNT 10 JSON"),
                        "[1 0 1 {\"chunk_id\":\"00000\",\"start_param\":0,\"end_param\":9,"
                        "\"worker_id\":\"plain\",\"attempt\":1,\"status\":\"complete\","
                        "\"params_processed\":10,\"duration_seconds\":0.5,\"completed_at\":"
                        "\"2026-02-09T10:00:00Z\",\"colour\":\"blue\",\"result_summary\":"
                        "{\"sum\":45,\"count\":10}}\n]");
    assert_string_equal(run(&s, "XLEN ttg:tasks"), "4");

    /* acknowledged without a result: it comes again, before anything fresh */
    run(&s, "XREADGROUP GROUP ttg-workers plain COUNT 1 STREAMS ttg:tasks >");
    assert_string_equal(run(&s, "XACK ttg:tasks ttg-workers 1770631200000-2"), "1");
    assert_non_null(
        strstr(run(&s, "XREADGROUP GROUP ttg-workers other COUNT 1 STREAMS ttg:tasks >"), "00001"));
    /* a lease runs out */
    assert_int_equal(core_next_ms(s.c), s.now_ms + 5000);
    s.now_ms += 5000;
    core_tick(s.c, s.now_ms);
    assert_string_equal(run(&s, "XPENDING ttg:tasks ttg-workers"), "[0 nil nil nil]");
    assert_non_null(
        strstr(run(&s, "XREADGROUP GROUP ttg-workers third COUNT 2 STREAMS ttg:tasks >"), "00002"));
    assert_string_equal(run(&s, "XPENDING ttg:tasks ttg-workers"),
                        "[2 1770631200000-2 1770631200000-3 [[third 2]]]");
    /* claimed by another plain client */
    s.now_ms += 3000;
    assert_string_equal(run(&s, "XCLAIM ttg:tasks ttg-workers fourth 3000 1770631200000-2 JUSTID"),
                        "[1770631200000-2]");
    assert_non_null(strstr(run(&s, "TTG.EXPLAIN default 1"), "worker fourth"));

    /* ours beside them: what it holds cannot be claimed for being idle */
    run(&s, "TTG.JOIN default worker-0 9 SLOTS 1");
    assert_string_equal(run(&s, "TTG.TAKE default worker-0 9 COUNT 1"), "[0 3 1 1099511627783 1]");
    s.now_ms += 100000;
    assert_string_equal(run(&s, "XCLAIM ttg:tasks ttg-workers fourth 60000 1770631200000-4 JUSTID"),
                        "[]");
    assert_string_equal(run(&s, "XGROUP DELCONSUMER ttg:tasks ttg-workers worker-0"),
                        "-ERR LIVEJOB this stream belongs to job default; TTG.JOB FORGET deletes "
                        "it once the job has ended");
    core_tick(s.c, s.now_ms);
    assert_string_equal(run(&s, "XPENDING ttg:tasks ttg-workers"),
                        "[1 1770631200000-4 1770631200000-4 [[worker-0 1]]]");
    /* a watcher's group leases nothing */
    run(&s, "XGROUP CREATE ttg:tasks watchers 0");
    run(&s, "XREADGROUP GROUP watchers me COUNT 10 STREAMS ttg:tasks >");
    assert_non_null(strstr(run(&s, "TTG.EXPLAIN default"), "leased 1"));
    /* what is no JSON does not break the line of output */
    run(&s, "XADD ttg:results * chunk_id 4 result_summary {broken");
    assert_non_null(
        strstr(run(&s, "TTG.RESULTS default 1 COUNT 1 JSON"), "\"output\":\"{broken\"}\n"));
    static const char *const refused[] = {
        "XADD ttg:tasks * chunk_id 9",
        "XDEL ttg:tasks 1770631200000-4",
        "XTRIM ttg:results MAXLEN 0",
        "RENAME ttg:tasks other",
        "XGROUP DESTROY ttg:tasks ttg-workers",
        "XGROUP SETID ttg:tasks ttg-workers 0",
        "SET ttg:tasks x",
        "XADD ttg:results MAXLEN 1 * chunk_id 3",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_non_null(strstr(run(&s, "%s", refused[i]), "LIVEJOB"));
    assert_non_null(strstr(run(&s, "FLUSHALL"), "LIVEJOB"));
    session_close(&s);
}

static void answers_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *answer;
    } cases[] = {
        {"TTG.JOB CREATE b@d FIRST 0 LAST 9 CHUNK 1",
         "-ERR a job's name has 1 to 64 of A-Z a-z 0-9 _ -"},
        {"TTG.JOB CREATE x FIRST 0 LAST 9 WINDOW 1", "-ERR FIRST, LAST and CHUNK are needed"},
        {"TTG.JOB CREATE x FIRST 9 LAST 7 CHUNK 1", "-ERR LAST lies before FIRST"},
        {"TTG.JOB CREATE x FIRST 0 LAST 9 CHUNK 0", "-ERR a chunk has 1 to 2^63-1 parameters"},
        {"TTG.JOB CREATE x FIRST -9223372036854775808 LAST 9223372036854775807 CHUNK 1",
         "-ERR a job has at most 2^63 parameters"},
        {"TTG.JOB CREATE x FIRST -9223372036854775808 LAST 1 CHUNK 1",
         "-ERR a job has at most 2^63 parameters"},
        {"TTG.JOB CREATE x FIRST 0 LAST 9 CHUNK 1 COLOUR blue", "-ERR syntax error"},
        {"TTG.JOB CREATE x FIRST 0 LAST 9 CHUNK 1 WINDOW", "-ERR syntax error"},
        {"TTG.JOB CREATE taken FIRST 0 LAST 9 CHUNK 1",
         "-JOBEXISTS the key ttg:{taken}:results exists already; delete it first"},
        {"TTG.JOB DANCE", "-ERR unknown subcommand 'DANCE'. Try TTG.JOB HELP."},
        {"TTG.JOB STATUS", "-ERR wrong number of arguments for 'ttg.job|status' command"},
        {"TTG.JOB STATUS nope", "-NOJOB there is no job of that name"},
        {"TTG.JOB FORGET j", "-ERR the job has not ended; cancel it first"},
        {"TTG.JOIN j w 0 SLOTS 1", "-ERR an incarnation is at least 1"},
        {"TTG.JOIN j w 1 SLOTS 0", "-ERR SLOTS is missing or 0"},
        {"TTG.JOIN j w 1 SLOTS 1 HELD 5", "-ERR chunks and epochs come in pairs"},
        {"TTG.TAKE j w 1 COUNT 5000", "-ERR argument 5 is not a number from 0 to 4096"},
        {"TTG.TAKE j w 1 COUNT 1 BLOCK", "-ERR syntax error"},
        {"TTG.COMMIT j w 1 0 0 0 s 0 9",
         "-ERR up to 4096 results of 5 words each: chunk epoch duration_us kind value"},
        {"TTG.COMMIT j w 1 0 1 0 z 0", "[0 0 invalid]"},
        {"TTG.FAIL j w 1 0 1 MAYBE x", "-ERR syntax error"},
        {"TTG.RELEASE j w 1 5 5", "-LOST this worker is not joined (any more): join again"},
        {"TTG.RESULTS j -1 COUNT 5",
         "-ERR argument 2 is not a number from 0 to 9223372036854775807"},
        {"TTG.DEAD SHOW j 5", "-NOENT that chunk is no dead letter"},
        {"TTG.DEAD DROP j 5", "0"},
        {"TTG.EXPLAIN j 1000", "[place none why the job has no such chunk worker  attempts 0 "
                               "epoch 0 since_ms 0 due_ms 0 reason ]"},
    };
    struct session s;
    session_open(&s);
    run(&s, "TTG.JOB CREATE j FIRST 0 LAST 99 CHUNK 1");
    run(&s, "SET ttg:{taken}:results 1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t before = core_digest(s.c);
        assert_string_equal(run(&s, "%s", cases[i].line), cases[i].answer);
        assert_false(s.changed);
        assert_int_equal(core_digest(s.c), before);
    }
    session_close(&s);
}

static void workers_come_and_go(void **state)
{
    (void)state;
    struct session s;
    session_open(&s);
    run(&s, "TTG.JOB CREATE j FIRST 0 LAST 99 CHUNK 1");
    run(&s, "TTG.JOIN j w 5 SLOTS 1");
    assert_string_equal(run(&s, "TTG.TAKE j w 5 COUNT 3"), "[0 0 3 " EPOCH " 1]");
    s.client = 8; /* another connection: commits yes, takes no */
    assert_string_equal(run(&s, "TTG.COMMIT j w 5 0 " EPOCH " 1 s 1"), "[1]");
    assert_string_equal(run(&s, "TTG.TAKE j w 5 COUNT 1"),
                        "-LOST this worker has to join on this connection before it takes");
    assert_string_equal(run(&s, "TTG.JOIN j w 6 SLOTS 1"),
                        "[state running boot 1 protocol 1 first 0 chunk_params 1 params_total 100 "
                        "chunks 100 max_attempts 5 kernel  input  version " TTG_VERSION
                        " created_ms 1770631200000 held []]");
    assert_string_equal(run(&s, "TTG.TAKE j w 5 COUNT 1"),
                        "-REPLACED a newer incarnation of this worker has joined");
    assert_string_equal(run(&s, "TTG.JOIN j w 5 SLOTS 1"),
                        "-REPLACED a newer incarnation of this worker has joined");
    assert_string_equal(run(&s, "TTG.TAKE j w 6 COUNT 2"), "[0 1 1 1099511627780 2 2 1 "
                                                           "1099511627781 1]");
    assert_string_equal(run(&s, "TTG.LOST j w 6 silent"), "2");
    assert_string_equal(run(&s, "TTG.LOST j w 6 killed"), "0"); /* only the reason is better now */
    assert_string_equal(run(&s, "TTG.LOST j w 7 silent"),
                        "-LOST this worker is not joined (any more): join again");
    assert_string_equal(run(&s, "TTG.JOIN j w 6 SLOTS 1 HELD 1 1099511627780 0 5"),
                        "[state running boot 1 protocol 1 first 0 chunk_params 1 params_total 100 "
                        "chunks 100 max_attempts 5 kernel  input  version " TTG_VERSION
                        " created_ms 1770631200000 held [1 1099511627782 0 0]]");
    assert_string_equal(run(&s, "TTG.RELEASE j w 6"), "1");
    assert_string_equal(run(&s, "TTG.JOB PAUSE j"), "OK");
    assert_string_equal(run(&s, "TTG.TAKE j w 6 COUNT 2"), "[1]");
    assert_string_equal(run(&s, "TTG.TAKE j w 6 COUNT 2 BLOCK 100"), "(blocked)");
    assert_string_equal(run(&s, "TTG.JOB RESUME j"), "OK");
    assert_string_equal(run(&s, "TTG.JOB CANCEL j"), "OK");
    assert_string_equal(run(&s, "TTG.JOB CANCEL j"), "OK");
    assert_string_equal(run(&s, "TTG.JOB PAUSE j"), "-JOBENDED the job has been canceled already");
    assert_string_equal(run(&s, "TTG.TAKE j w 6 COUNT 2 BLOCK 100"), "[3]");
    assert_string_equal(run(&s, "TTG.EVENTS j 6 COUNT 2"),
                        "[[seq 7 at_ms 1770631200000 event worker.lost chunk -1 from w to  value "
                        "2 text killed] [seq 8 at_ms 1770631200000 event worker.joined chunk -1 "
                        "from w to  value 1 text ]]");
    session_close(&s);
}

/* Whoever gave a chunk back in order lost nothing: the next one takes nothing over. */
/* A worker may be there before its job. */
static void a_join_waits_for_the_job(void **state)
{
    (void)state;
    struct session s;
    session_open(&s);
    assert_string_equal(run(&s, "TTG.JOIN j w 5 SLOTS 1"), "-NOJOB there is no job of that name");
    assert_string_equal(run(&s, "TTG.JOIN j w 5 SLOTS 1 BLOCK x"),
                        "-ERR argument 7 is not a number from 0 to 4611686018427387903");
    assert_string_equal(run(&s, "TTG.JOIN j w 5 SLOTS 1 BLOCK 100"), "(blocked)");
    assert_false(s.changed);
    s.may_block = false;
    assert_string_equal(run(&s, "TTG.JOIN j w 5 SLOTS 1 BLOCK 100"),
                        "-NOJOB there is no job of that name");
    s.may_block = true;
    run(&s, "TTG.JOB CREATE j FIRST 0 LAST 9 CHUNK 1");
    assert_non_null(strstr(run(&s, "TTG.JOIN j w 5 SLOTS 1 BLOCK 100"), "state running"));
    session_close(&s);
}

static void a_release_is_no_takeover(void **state)
{
    (void)state;
    struct session s;
    session_open(&s);
    run(&s, "TTG.JOB CREATE j FIRST 0 LAST 1 CHUNK 1");
    run(&s, "TTG.JOIN j w 5 SLOTS 1");
    run(&s, "TTG.TAKE j w 5 COUNT 1");
    run(&s, "TTG.RELEASE j w 5");
    run(&s, "TTG.TAKE j w 5 COUNT 1");
    assert_string_equal(run(&s, "TTG.EVENTS j 2 COUNT 9"), "[]");
    session_close(&s);
}

/* Ten chunks, two a cell: done leased ready delayed dead. */
static void the_map_shows_where_all_chunks_are(void **state)
{
    (void)state;
    struct session s;
    session_open(&s);
    run(&s, "TTG.JOB CREATE j FIRST 0 LAST 9 CHUNK 1 MAXATTEMPTS 1");
    assert_string_equal(run(&s, "TTG.MAP j CELLS 5 LEASES 9 RAN 9"),
                        "[now_ms 1770631200000 chunks 10 per_cell 2 cells [5 0 0 0 0 0] leases [] "
                        "ran []]");
    run(&s, "TTG.JOIN j w 5 SLOTS 1");
    run(&s, "TTG.JOIN j v 5 SLOTS 1");
    assert_string_equal(run(&s, "TTG.TAKE j w 5 COUNT 2"), "[0 0 2 " EPOCH " 1]");
    assert_string_equal(run(&s, "TTG.TAKE j v 5 COUNT 1"), "[0 2 1 1099511627779 1]");
    assert_string_equal(run(&s, "TTG.FAIL j v 5 2 1099511627779 FINAL no"), "[dead 0]");
    assert_string_equal(run(&s, "TTG.COMMIT j w 5 0 " EPOCH " 1500 s 0"), "[1]");
    run(&s, "TTG.TAKE j v 5 COUNT 1");
    assert_string_equal(run(&s, "TTG.MAP j CELLS 6 LEASES 9 RAN 9 SINCE 5"),
                        "[now_ms 1770631200000 chunks 10 per_cell 2 cells "
                        "[1 1 1 0 0 0 1 0 1 0 0 1 3 0 0 0 0 0] "
                        "leases [w 1 1099511627778 1 1770631200000 v 3 1099511627780 1 "
                        "1770631200000] ran [w 0 1 1770631200000 1500]]");
    assert_string_equal(run(&s, "TTG.MAP j CELLS 0 RAN 9 SINCE 1770631200001"),
                        "[now_ms 1770631200000 chunks 10 per_cell 10 cells [] leases [] ran []]");
    assert_string_equal(run(&s, "TTG.MAP j CELLS 1 LEASES 1"),
                        "[now_ms 1770631200000 chunks 10 per_cell 10 cells [1 1 2 0 0 1] "
                        "leases [w 1 1099511627778 1 1770631200000] ran []]");
    assert_string_equal(run(&s, "TTG.MAP j CELLS 1 RAN"), "-ERR syntax error");
    assert_string_equal(run(&s, "TTG.MAP j CELLS 99999999"),
                        "-ERR argument 3 is not a number from 0 to 16384");
    session_close(&s);
}

/* Results wait for their collector by the million: what is kept in memory for them is per block. */
static void results_lie_in_large_blocks(void **state)
{
    (void)state;
    enum { CHUNKS = 4000 };
    struct session s;
    session_open(&s);
    run(&s, "TTG.JOB CREATE j FIRST 0 LAST %d CHUNK 1", CHUNKS - 1);
    run(&s, "TTG.JOIN j w 5 SLOTS 1");
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++) {
        run(&s, "TTG.TAKE j w 5 COUNT 1");
        assert_string_equal(run(&s, "TTG.COMMIT j w 5 %llu %llu 1500 s 0",
                                (unsigned long long)chunk,
                                (unsigned long long)(strtoull(EPOCH, NULL, 10) + chunk)),
                            "[1]");
    }
    const char *blocks = strstr(run(&s, "XINFO STREAM ttg:{j}:results"), "radix-tree-keys ");
    assert_non_null(blocks);
    assert_in_range(strtol(blocks + strlen("radix-tree-keys "), NULL, 10), 1, CHUNKS / 900);
    session_close(&s);
}

/* An answer is whole, or says that there is no memory: nothing of it is left in front of that. */
static void results_without_memory(void **state)
{
    (void)state;
    static const char *const forms[] = {"TTG.RESULTS j 0 COUNT 9", "TTG.RESULTS j 0 COUNT 9 JSON"};
    struct session s;
    session_open(&s);
    run(&s, "TTG.JOB CREATE j FIRST 0 LAST 2 CHUNK 1");
    run(&s, "TTG.JOIN j w 5 SLOTS 3");
    run(&s, "TTG.TAKE j w 5 COUNT 3");
    for (int chunk = 0; chunk < 3; chunk++)
        run(&s, "TTG.COMMIT j w 5 %d %llu 1500 s 0", chunk,
            strtoull(EPOCH, NULL, 10) + (unsigned)chunk);
    for (size_t i = 0; i < 2; i++) {
        char *want = mem_strdup(run(&s, forms[i]));
        assert_true(str_starts(str_of(want), STR("[3 1 1 ")));
        for (size_t n = 1, failed = 1; failed; n++) {
            buf_done(&s.out);
            mem_fail_at(n);
            const char *answer = run(&s, forms[i]);
            failed = (size_t)mem_failed();
            mem_fail_at(0);
            if (!str_starts(str_of(answer), STR("-OOM")))
                assert_string_equal(answer, want);
            assert_int_equal(s.reply.rc, 0);
        }
        mem_free(want);
    }
    session_close(&s);
}

static void checks_json_of_strangers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid, has_sum;
        int sum;
    } cases[] = {
        {"{\"sum\": 421950, \"count\": 100}", true, true, 421950},
        {"{}", true, false, 0},
        {" [1, -2.5e+3, \"x\\u00e9\", null, true, {\"sum\":5}] ", true, false, 0},
        {"{\"a\":{\"sum\":5}}", true, false, 0},
        {"{\"sum\":1.5}", true, false, 0},
        {"", false, false, 0},
        {"{", false, false, 0},
        {"{\"a\"}", false, false, 0},
        {"{\"a\":1,}", false, false, 0},
        {"[1 2]", false, false, 0},
        {"01", false, false, 0},
        {"1.", false, false, 0},
        {"nul", false, false, 0},
        {"\"\\x\"", false, false, 0},
        {"\"\\u12\"", false, false, 0},
        {"{}\n", false, false, 0},
        {"{} {}", false, false, 0},
        {"\"\xff\"", false, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool has_sum = false;
        __int128 sum = 0;
        print_message("# %zu\n", i);
        assert_int_equal(job_json_valid(str_of(cases[i].text), &has_sum, &sum), cases[i].valid);
        assert_int_equal(has_sum, cases[i].has_sum);
        assert_true(sum == cases[i].sum);
    }
    static char deep[1000];
    memset(deep, '[', sizeof deep);
    bool has_sum;
    __int128 sum;
    assert_false(job_json_valid(str_make(deep, sizeof deep), &has_sum, &sum));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_join_waits_for_the_job),
        cmocka_unit_test(a_release_is_no_takeover),
        cmocka_unit_test(the_map_shows_where_all_chunks_are),
        cmocka_unit_test(one_job_from_start_to_end),
        cmocka_unit_test(results_lie_in_large_blocks),
        cmocka_unit_test(results_without_memory),
        cmocka_unit_test(plain_clients_can_work),
        cmocka_unit_test(answers_mistakes),
        cmocka_unit_test(workers_come_and_go),
        cmocka_unit_test(checks_json_of_strangers),
    };
    return tap_run(tests);
}
