/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to words, and greetings: the dialect of nodes, and that of Redis. */
#include "resp_codec_kit.h"

#include "base/mem.h"

#include <ttg/version.h>

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
     "TTG.JOIN j " W " SLOTS 2 INFLIGHT 9 VERSION " TTG_VERSION
     " HOST box BLOCK 700 HELD 5 50 6 60",
     "EVALSHA join 1 ttg:{j}:job j " W " SLOTS 2 INFLIGHT 9 VERSION " TTG_VERSION
     " HOST box BLOCK 700 HELD 5 50 6 60"},
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

static const struct url cluster = {.scheme = URL_REDIS_CLUSTER};

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

/* Into an empty output large words go without a copy, behind others with one: the same command. */
static void large_words_become_the_output(void **state)
{
    (void)state;
    static char big[300000];
    memset(big, 'x', sizeof big);
    const struct queue_result result = {.chunk = 4, .epoch = 31, .output = {big, sizeof big}};
    struct buf out[2];
    for (int behind = 0; behind < 2; behind++) {
        union any a = make(QUEUE_COMMIT);
        a.commit.results = &result;
        a.commit.count = 1;
        buf_init(&out[behind], 1 << 20);
        if (behind)
            assert_int_equal(buf_add_char(&out[behind], '.'), 0);
        assert_int_equal(put(&resp_node_dialect, &a, &out[behind]), 0);
        assert_int_equal(buf_len(&a.request.words) == 0, !behind);
        assert_true(a.request.words.bytes_max > sizeof big);
        queue_request_done(&a.request);
    }
    struct str copied = buf_str(&out[1]);
    assert_true(str_eq(buf_str(&out[0]), str_make(copied.ptr + 1, copied.len - 1)));
    buf_done(&out[0]);
    buf_init(&out[0], sizeof big); /* too small for both ways */
    union any a = make(QUEUE_COMMIT);
    a.commit.results = &result;
    a.commit.count = 1;
    assert_int_equal(put(&resp_node_dialect, &a, &out[0]), TTG_EFULL);
    assert_int_equal(buf_len(&out[0]), 0);
    queue_request_done(&a.request);
    buf_done(&out[0]);
    buf_done(&out[1]);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_become_commands),
        cmocka_unit_test(large_words_become_the_output),
        cmocka_unit_test(a_commit_carries_what_scripts_cannot_compute),
        cmocka_unit_test(the_default_job_has_the_plain_names),
        cmocka_unit_test(a_server_is_named_and_replicas_are_waited_for),
        cmocka_unit_test(too_few_replicas_are_an_error),
        cmocka_unit_test(a_greeting_tells_who_serves),
        cmocka_unit_test(without_memory_nothing_is_half_said),
    };
    return tap_run(tests);
}
