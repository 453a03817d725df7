/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands answer, as Redis 7.0.15 does. */
#include "tap.h"

#include "core_harness.h"

struct step {
    const char *line, *answer;
};

static void play(const struct step *steps, size_t count)
{
    struct h h;
    h_open(&h);
    for (size_t i = 0; i < count; i++) {
        const char *got = h_run(&h, steps[i].line);
        if (strcmp(got, steps[i].answer) != 0)
            fail_msg("step %zu: %s: %s instead of %s", i, steps[i].line, got, steps[i].answer);
    }
    h_close(&h);
}

#define PLAY(...)                                                                                  \
    do {                                                                                           \
        static const struct step steps[] = {__VA_ARGS__};                                          \
        play(steps, sizeof steps / sizeof *steps);                                                 \
    } while (0)

static void xadd_makes_ids(void **state)
{
    (void)state;
    PLAY({"XADD s * a 1", "\"1000-0\""}, {"XADD s * a 2", "\"1000-1\""},
         {"XADD s 1000-* a 3", "\"1000-2\""}, {"XADD s 2000-* a 4", "\"2000-0\""},
         {"XADD s * a 5", "\"2000-1\""},
         {"XADD s 0-0 a 1", "-ERR The ID specified in XADD must be greater than 0-0"},
         {"XADD s 2000-1 a 1",
          "-ERR The ID specified in XADD is equal or smaller than the target stream top item"},
         {"XADD s 5-x a 1", "-ERR Invalid stream ID specified as stream command argument"},
         {"XADD s * a", "(arity)"},
         {"XADD s * a 1 b", "-ERR wrong number of arguments for 'xadd' command"},
         {"XADD t 0-* a b", "\"0-1\""}, {"XADD u NOMKSTREAM * a b", "(nil)"}, {"EXISTS u", "0"},
         {"XADD v 18446744073709551615-18446744073709551615 a b",
          "\"18446744073709551615-18446744073709551615\""},
         {"XADD v * a b",
          "-ERR The stream has exhausted the last possible ID, unable to add more items"},
         {"SET k v", "OK"},
         {"XADD k * a b", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
         {"XLEN s", "5"}, {"XLEN none", "0"}, {"TYPE s", "stream"});
}

static void xrange_walks(void **state)
{
    (void)state;
    PLAY({"XADD s 1-0 a 1", "\"1-0\""}, {"XADD s 2-0 b 2 c 3", "\"2-0\""},
         {"XADD s 3-0 a 4", "\"3-0\""},
         {"XRANGE s - +",
          "[[\"1-0\" [\"a\" \"1\"]] [\"2-0\" [\"b\" \"2\" \"c\" \"3\"]] [\"3-0\" [\"a\" \"4\"]]]"},
         {"XREVRANGE s + - COUNT 2",
          "[[\"3-0\" [\"a\" \"4\"]] [\"2-0\" [\"b\" \"2\" \"c\" \"3\"]]]"},
         {"XRANGE s (1-0 (3-0", "[[\"2-0\" [\"b\" \"2\" \"c\" \"3\"]]]"},
         {"XRANGE s - + COUNT 0", "(nil-array)"}, {"XRANGE none - +", "[]"},
         {"XRANGE s (- +", "-ERR Invalid stream ID specified as stream command argument"},
         {"XRANGE s - (0-0", "-ERR invalid end ID for the interval"}, {"XDEL s 2-0 9-9", "1"},
         {"XRANGE s - +", "[[\"1-0\" [\"a\" \"1\"]] [\"3-0\" [\"a\" \"4\"]]]"},
         {"XTRIM s MINID 3", "1"}, {"XTRIM s MAXLEN 0", "1"}, {"XRANGE s - +", "[]"},
         {"XTRIM s MAXLEN 1 LIMIT 3",
          "-ERR syntax error, LIMIT cannot be used without the special ~ option"});
}

static void groups_deliver(void **state)
{
    (void)state;
    PLAY({"XGROUP CREATE s g $",
          "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want "
          "to use the MKSTREAM option to create an empty stream automatically."},
         {"XGROUP CREATE s g $ MKSTREAM", "OK"},
         {"XGROUP CREATE s g $", "-BUSYGROUP Consumer Group name already exists"},
         {"XADD s 1-0 a 1", "\"1-0\""}, {"XADD s 2-0 a 2", "\"2-0\""},
         {"XREADGROUP GROUP g c1 COUNT 1 STREAMS s >", "[[\"s\" [[\"1-0\" [\"a\" \"1\"]]]]]"},
         {"XREADGROUP GROUP g c2 STREAMS s >", "[[\"s\" [[\"2-0\" [\"a\" \"2\"]]]]]"},
         {"XREADGROUP GROUP g c2 STREAMS s >", "(nil-array)"},
         {"XREADGROUP GROUP g c1 STREAMS s 0", "[[\"s\" [[\"1-0\" [\"a\" \"1\"]]]]]"},
         {"XPENDING s g", "[2 \"1-0\" \"2-0\" [[\"c1\" \"1\"] [\"c2\" \"1\"]]]"},
         {"XPENDING s g - + 10 c1", "[[\"1-0\" \"c1\" 0 2]]"},
         {"XCLAIM s g c3 0 1-0 JUSTID", "[\"1-0\"]"}, {"XPENDING s g - + 10 c1", "[]"},
         {"XACK s g 1-0 1-0", "1"}, {"XDEL s 2-0", "1"},
         {"XAUTOCLAIM s g c1 0 -", "[\"0-0\" [] [\"2-0\"]]"},
         {"XPENDING s g", "[0 (nil) (nil) (nil-array)]"},
         {"XINFO GROUPS s",
          "[[\"name\" \"g\" \"consumers\" 3 \"pending\" 0 \"last-delivered-id\" \"2-0\" "
          "\"entries-read\" 2 \"lag\" 0]]"},
         {"XGROUP DELCONSUMER s g c1", "0"},
         {"XGROUP FOO s g", "-ERR unknown subcommand 'FOO'. Try XGROUP HELP."},
         {"XGROUP CREATE s", "-ERR wrong number of arguments for 'xgroup|create' command"},
         {"XREADGROUP GROUP x c STREAMS s >",
          "-NOGROUP No such key 's' or consumer group 'x' in XREADGROUP with GROUP option"},
         {"XGROUP DESTROY s g", "1"}, {"XGROUP DESTROY s g", "0"});
}

static void waiting(void **state)
{
    (void)state;
    struct h h;
    h_open(&h);
    h_expect(&h, "XADD s 5-0 a 1", "\"5-0\"");
    h.may_block = true;
    h_expect(&h, "XREAD BLOCK 100 STREAMS none s $ $", "(blocked)");
    assert_int_equal(h.call.block_until_ms, 1100);
    assert_int_equal(h.call.key_at, 4);
    assert_int_equal(h.call.key_count, 2);
    struct buf kept = h.resume;
    buf_init(&h.resume, 1000);
    h_expect(&h, "XADD s 6-0 a 2", "\"6-0\"");
    struct buf other = h.resume;
    h.resume = kept;
    h.retry = true;
    h_expect(&h, "XREAD BLOCK 100 STREAMS none s $ $", "[[\"s\" [[\"6-0\" [\"a\" \"2\"]]]]]");
    buf_done(&other);
    h.retry = false;
    h_expect(&h, "XGROUP CREATE s g $", "OK");
    h_expect(&h, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "(blocked)");
    assert_int_equal(h.call.block_until_ms, 0);
    h.retry = true;
    h_expect(&h, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "(blocked)");
    h_expect(&h, "XGROUP DESTROY s g", "1");
    h_expect(&h, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
             "-NOGROUP the consumer group this client was blocked on no longer exists");
    h_expect(&h, "SET s x", "OK");
    h_expect(&h, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
             "-UNBLOCKED the stream key no longer exists");
    h_expect(&h, "XREAD BLOCK 0 STREAMS s 0", "(blocked)");
    h.retry = h.may_block = false;
    h_expect(&h, "XREAD BLOCK 0 STREAMS none 0", "(nil-array)");
    h_close(&h);
}

/* XREADGROUP CLAIM, of Redis 8.4. */
static void claims_while_reading(void **state)
{
    (void)state;
    struct h h;
    h_open(&h);
    h_expect(&h, "XADD s 1-0 a 1", "\"1-0\"");
    h_expect(&h, "XADD s 2-0 a 2", "\"2-0\"");
    h_expect(&h, "XADD s 3-0 a 3", "\"3-0\"");
    h_expect(&h, "XADD s 4-0 a 4", "\"4-0\"");
    h_expect(&h, "XGROUP CREATE s g 0", "OK");
    h_run(&h, "XREADGROUP GROUP g c1 COUNT 1 STREAMS s >");
    h.now_ms += 30;
    h_run(&h, "XREADGROUP GROUP g c2 COUNT 2 STREAMS s >");
    h.now_ms += 10;
    /* 1-0 is idle for 40 ms, 2-0 and 3-0 for 10; what is idle comes first, then what is new */
    h_expect(&h, "XREADGROUP GROUP g c3 COUNT 2 CLAIM 20 STREAMS s >",
             "[[\"s\" [[\"1-0\" [\"a\" \"1\"] 40 1] [\"4-0\" [\"a\" \"4\"] 0 0]]]]");
    h_expect(&h, "XREADGROUP GROUP g c3 CLAIM 20 STREAMS s >", "(nil-array)");
    assert_false(h.call.changed);
    h.now_ms += 10;
    /* 2-0 goes through another hand: now 3-0 waits longest */
    h_run(&h, "XCLAIM s g c1 0 2-0");
    h.now_ms += 20;
    h_expect(&h, "XREADGROUP GROUP g c3 COUNT 3 CLAIM 20 STREAMS s >",
             "[[\"s\" [[\"3-0\" [\"a\" \"3\"] 40 1] [\"1-0\" [\"a\" \"1\"] 30 2] "
             "[\"4-0\" [\"a\" \"4\"] 30 1]]]]");
    h_expect(
        &h, "XPENDING s g - + 10",
        "[[\"1-0\" \"c3\" 0 3] [\"2-0\" \"c1\" 20 2] [\"3-0\" \"c3\" 0 2] [\"4-0\" \"c3\" 0 2]]");
    /* with another id than > it is ignored */
    h_expect(&h, "XREADGROUP GROUP g c1 CLAIM 0 STREAMS s 0",
             "[[\"s\" [[\"2-0\" [\"a\" \"2\"]]]]]");
    /* NOACK is for new entries; a deleted one is nobody's any more */
    h_run(&h, "XDEL s 2-0");
    h_run(&h, "XADD s 5-0 a 5");
    h.now_ms += 100;
    h_expect(&h, "XREADGROUP GROUP g c4 NOACK CLAIM 100 STREAMS s >",
             "[[\"s\" [[\"1-0\" [\"a\" \"1\"] 100 3] [\"3-0\" [\"a\" \"3\"] 100 2] "
             "[\"4-0\" [\"a\" \"4\"] 100 2] [\"5-0\" [\"a\" \"5\"] 0 0]]]]");
    h_expect(&h, "XPENDING s g - + 10",
             "[[\"1-0\" \"c4\" 0 4] [\"3-0\" \"c4\" 0 3] [\"4-0\" \"c4\" 0 3]]");
    /* who waits is told when to try again */
    h.may_block = true;
    h_expect(&h, "XREADGROUP GROUP g c5 BLOCK 0 CLAIM 500 STREAMS s >", "(blocked)");
    assert_in_range(h.call.retry_ms, h.now_ms + 1, h.now_ms + 500);
    h.now_ms += 500;
    h.retry = true;
    h_expect(&h, "XREADGROUP GROUP g c5 COUNT 1 BLOCK 0 CLAIM 500 STREAMS s >",
             "[[\"s\" [[\"1-0\" [\"a\" \"1\"] 500 4]]]]");
    h.may_block = h.retry = false;
    h_expect(&h, "XREAD CLAIM 1 STREAMS s 0",
             "-ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.");
    h_expect(&h, "XREADGROUP GROUP g c CLAIM x STREAMS s >",
             "-ERR min-idle-time is not an integer");
    h_expect(&h, "XREADGROUP GROUP g c CLAIM -1 STREAMS s >",
             "-ERR min-idle-time must be a positive integer");
    h_close(&h);
}

static int add_bytes(void *ctx, struct str bytes)
{
    return buf_add_str(ctx, bytes);
}

/* Another core with the same state. */
static void save_and_load(struct h *h)
{
    struct buf bytes;
    struct core_env env = {.ctx = h->blobs};
    struct core *copy;
    buf_init(&bytes, 1 << 20);
    assert_int_equal(core_save(h->core, add_bytes, &bytes), 0);
    assert_int_equal(core_new(&env, &copy), 0);
    assert_int_equal(core_load(copy, buf_str(&bytes)), 0);
    assert_true(core_digest(copy) == core_digest(h->core));
    core_free(h->core);
    h->core = copy;
    buf_done(&bytes);
}

/* XADD IDMP and IDMPAUTO, XCFGSET, of Redis 8.6. */
static void adds_a_message_once(void **state)
{
    (void)state;
    struct h h;
    h_open(&h);
    h_expect(&h, "XADD s IDMP p a * f 1", "\"1000-0\"");
    h_expect(&h, "XADD s MAXLEN 9 IDMP p b * f 2", "\"1000-1\"");
    h_expect(&h, "XADD s IDMP p a * g 3", "\"1000-0\"");
    assert_true(h.call.changed); /* the counter */
    h_expect(&h, "XADD s IDMP q a * f 4", "\"1000-2\"");
    h_expect(&h, "XADD s IDMPAUTO q * f 4 g 5", "\"1000-3\"");
    h_expect(&h, "XADD s IDMPAUTO q * g 5 f 4", "\"1000-3\"");
    h_expect(&h, "XADD s IDMPAUTO q * f4 . g 5", "\"1000-4\"");
    h_expect(&h, "XADD n NOMKSTREAM IDMP p a * f 1", "(nil)");
    save_and_load(&h);
    h_expect(&h, "XADD s IDMP p b * f 2", "\"1000-1\"");
    h_expect(&h, "XLEN s", "5");
    /* deleted or not, it was added once */
    h_run(&h, "XDEL s 1000-0");
    h_expect(&h, "XADD s IDMP p a * f 1", "\"1000-0\"");
    assert_non_null(strstr(h_run(&h, "XINFO STREAM s"),
                           "\"idmp-duration\" 100 \"idmp-maxsize\" 100 \"pids-tracked\" 2 "
                           "\"iids-tracked\" 5 \"iids-added\" 5 \"iids-duplicates\" 4"));
    /* p goes on, q is quiet: forgotten after 100 s */
    h.now_ms += 99999;
    h_expect(&h, "XADD s IDMP p b * f 2", "\"1000-1\"");
    h.now_ms += 1;
    h_expect(&h, "XADD s IDMP p b * f 2", "\"101000-0\"");
    assert_non_null(strstr(h_run(&h, "XINFO STREAM s"), "\"pids-tracked\" 1 \"iids-tracked\" 1 "));
    /* no more than so many of each producer; other limits begin anew */
    h_expect(&h, "XCFGSET s IDMP-DURATION 100", "OK");
    assert_false(h.call.changed);
    h_expect(&h, "XCFGSET s IDMP-MAXSIZE 2 IDMP-DURATION 300", "OK");
    h_expect(&h, "XADD s IDMP p b * f 2", "\"101000-1\"");
    h_expect(&h, "XADD s IDMP p c * f 2", "\"101000-2\"");
    h_expect(&h, "XADD s IDMP p d * f 2", "\"101000-3\"");
    h_expect(&h, "XADD s IDMP p c * f 2", "\"101000-2\"");
    h_expect(&h, "XADD s IDMP p b * f 2", "\"101000-4\"");
    save_and_load(&h);
    h_run(&h, "RENAME s t");
    h_expect(&h, "XADD t IDMP p d * f 2", "\"101000-3\"");
    static const char *const wrong[][2] = {
        {"XADD s IDMP p1 * f v", "-ERR Invalid stream ID specified as stream command argument"},
        {"XADD s IDMP p i 1-1 f v", "-ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"},
        {"XADD s IDMP p i 5-* f v", "-ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"},
        {"XADD s IDMP p i IDMP q i * f v", "-ERR IDMP/IDMPAUTO specified multiple times"},
        {"XADD s IDMPAUTO p IDMP q i * f v", "-ERR IDMP/IDMPAUTO specified multiple times"},
        {"XADD s IDMP  i * f v", "-ERR IDMP requires a non-empty producer ID"},
        {"XADD s IDMP p  * f v", "-ERR IDMP requires a non-empty idempotent ID"},
        {"XADD s IDMPAUTO  * f v", "-ERR IDMPAUTO requires a non-empty producer ID"},
        {"XCFGSET none IDMP-MAXSIZE 1", "-ERR no such key"},
        {"XCFGSET t IDMP-MAXSIZE 0", "-ERR IDMP-MAXSIZE must be between 1 and 10000 entries"},
        {"XCFGSET t IDMP-DURATION 86401", "-ERR IDMP-DURATION must be between 1 and 86400 seconds"},
        {"XCFGSET t IDMP-MAXSIZE 1 IDMP-DURATION", "-ERR syntax error"},
        {"XCFGSET t X 1", "-ERR syntax error"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        h_expect(&h, wrong[i][0], wrong[i][1]);
    h_expect(&h, "EXISTS s", "0");
    h_close(&h);
}

/* XNACK, of Redis 8.8. */
static void gives_back(void **state)
{
    (void)state;
    struct h h;
    h_open(&h);
    for (int i = 1; i <= 4; i++) {
        char line[64];
        snprintf(line, sizeof line, "XADD s %d-0 a %d", i, i);
        h_run(&h, line);
    }
    h_run(&h, "XGROUP CREATE s g 0");
    h_run(&h, "XREADGROUP GROUP g c1 COUNT 3 STREAMS s >");
    h_expect(&h, "XNACK s g FAIL IDS 2 1-0 9-0", "1");
    h_expect(&h, "XNACK s g SILENT IDS 1 2-0", "1");
    h_expect(&h, "XPENDING s g - + 10",
             "[[\"1-0\" \"\" -1 1] [\"2-0\" \"\" -1 0] [\"3-0\" \"c1\" 0 1]]");
    h_expect(&h, "XPENDING s g", "[3 \"1-0\" \"3-0\" [[\"c1\" \"1\"]]]");
    h_expect(&h, "XREADGROUP GROUP g c1 STREAMS s 0", "[[\"s\" [[\"3-0\" [\"a\" \"3\"]]]]]");
    save_and_load(&h);
    /* what was released comes before all that is idle; the time since then is that since 1970 */
    h_expect(&h, "XREADGROUP GROUP g c2 COUNT 1 CLAIM 500 STREAMS s >",
             "[[\"s\" [[\"1-0\" [\"a\" \"1\"] 1000 1]]]]");
    h_expect(&h, "XAUTOCLAIM s g c3 500 0", "[\"0-0\" [[\"2-0\" [\"a\" \"2\"]]] []]");
    h_expect(&h, "XNACK s g FATAL IDS 1 2-0", "1");
    h_expect(&h, "XNACK s g FAIL IDS 1 3-0 RETRYCOUNT 5", "1");
    h_expect(&h, "XNACK s g FAIL IDS 2 4-0 9-0", "0");
    assert_false(h.call.changed);
    h_expect(&h, "XNACK s g SILENT IDS 2 4-0 9-0 FORCE", "1");
    h_expect(&h, "XPENDING s g - + 10",
             "[[\"1-0\" \"c2\" 0 2] [\"2-0\" \"\" -1 9223372036854775807] "
             "[\"3-0\" \"\" -1 5] [\"4-0\" \"\" -1 0]]");
    h_expect(&h, "XACK s g 2-0", "1");
    save_and_load(&h);
    h_expect(&h, "XNACK s x FAIL IDS 1 1-0", "-NOGROUP No such key 's' or consumer group 'x'");
    h_expect(&h, "XNACK s g MAYBE IDS 1 1-0", "-ERR syntax error");
    h_expect(&h, "XNACK s g FAIL IDS 0 1-0",
             "-ERR The `numids` parameter must match the number of arguments");
    h_expect(&h, "XNACK s g FAIL IDS 2 1-0",
             "-ERR The `numids` parameter must match the number of arguments");
    h_expect(&h, "XNACK s g FAIL IDS 1 1-0 2-0", "-ERR syntax error");
    h_expect(&h, "XGROUP DESTROY s g", "1");
    h_close(&h);
}

/* Without memory a message is neither added nor remembered. */
static void a_message_without_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct h h;
        h_open(&h);
        h_run(&h, "XADD s IDMP p a * f 1");
        struct str words[] = {STR("XADD"), STR("s"), STR("IDMP"), STR("q"),
                              STR("b"),    STR("*"), STR("f"),    STR("2")};
        uint64_t digest = core_digest(h.core);
        mem_fail_at(n);
        struct reply reply = {0};
        struct core_call call = {.now_ms = 2000, .argc = 8, .argv = words, .reply = &reply};
        core_exec(h.core, core_find(words[0]), &call);
        failed = mem_failed();
        mem_fail_at(0);
        assert_true(call.changed == !failed);
        assert_true((core_digest(h.core) == digest) == failed);
        h_close(&h);
    }
}

static void keys_and_small_types(void **state)
{
    (void)state;
    PLAY({"SET a 1", "OK"}, {"INCR a", "2"}, {"APPEND a x", "2"}, {"GET a", "\"2x\""},
         {"INCR a", "-ERR value is not an integer or out of range"}, {"SET a y NX", "(nil)"},
         {"SET a y XX GET", "\"2x\""}, {"RPUSH l 1 2 3", "3"}, {"LPUSH l 0", "4"},
         {"LRANGE l 0 -2", "[\"0\" \"1\" \"2\"]"}, {"LPOP l", "\"0\""}, {"SADD s b a b", "2"},
         {"SMEMBERS s", "[\"a\" \"b\"]"}, {"HSET h f 1 g 2", "2"}, {"HSET h f 3", "0"},
         {"HGETALL h", "[\"f\" \"3\" \"g\" \"2\"]"}, {"HGET h z", "(nil)"}, {"DBSIZE", "4"},
         {"HGET s z", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
         {"RENAME a l", "OK"}, {"GET l", "\"y\""}, {"RENAMENX l s", "0"}, {"RENAMENX l m", "1"},
         {"RENAME zz y", "-ERR no such key"}, {"KEYS ?", "[\"h\" \"s\" \"m\"]"},
         {"SREM s a b", "2"}, {"EXISTS s", "0"}, {"DEL m h nope", "2"}, {"DBSIZE", "0"},
         {"FLUSHALL", "OK"}, {"SCAN 0", "[\"0\" []]"},
         {"TTG.CONFIG stream-node-max-entries 7", "OK"},
         {"TTG.CONFIG stream-node-max-entries", "7"});
}

static void deletes_with_references(void **state)
{
    (void)state;
    PLAY({"XADD s 1-0 a 1", "\"1-0\""}, {"XADD s 2-0 a 1", "\"2-0\""},
         {"XADD s 3-0 a 1", "\"3-0\""}, {"XADD s 4-0 a 1", "\"4-0\""},
         {"XDELEX s ACKED IDS 1 1-0", "[2]"}, {"XGROUP CREATE s g 0", "OK"},
         {"XGROUP CREATE s h 0", "OK"},
         {"XREADGROUP GROUP g c COUNT 3 STREAMS s >",
          "[[\"s\" [[\"1-0\" [\"a\" \"1\"]] [\"2-0\" [\"a\" \"1\"]] [\"3-0\" [\"a\" "
          "\"1\"]]]]]"},
         {"XREADGROUP GROUP h c COUNT 1 STREAMS s >", "[[\"s\" [[\"1-0\" [\"a\" \"1\"]]]]]"},
         {"XACKDEL s g ACKED IDS 2 1-0 9-0", "[2 -1]"}, {"XACKDEL s h ACKED IDS 1 1-0", "[1]"},
         {"XACKDEL s g IDS 1 2-0", "[1]"}, {"XDELEX s IDS 2 3-0 3-0", "[1 -1]"},
         {"XPENDING s g - + 10", "[[\"3-0\" \"c\" 0 1]]"}, {"XDELEX s DELREF IDS 1 3-0", "[-1]"},
         {"XPENDING s g - + 10", "[]"}, {"XLEN s", "1"}, {"XACKDEL s x IDS 1 4-0", "[-1]"},
         {"XDELEX none IDS 1 4-0", "[-1]"},
         {"XDELEX s IDS x 4-0", "-ERR Number of IDs must be a positive integer"},
         {"XDELEX s IDS 2 4-0", "-ERR The `numids` parameter must match the number of arguments"},
         {"XDELEX s KEEPREF 1 4-0", "-ERR syntax error"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xadd_makes_ids),       cmocka_unit_test(xrange_walks),
        cmocka_unit_test(groups_deliver),       cmocka_unit_test(waiting),
        cmocka_unit_test(claims_while_reading), cmocka_unit_test(adds_a_message_once),
        cmocka_unit_test(gives_back),           cmocka_unit_test(a_message_without_memory),
        cmocka_unit_test(keys_and_small_types), cmocka_unit_test(deletes_with_references),
    };
    return tap_run(tests);
}
