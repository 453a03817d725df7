/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever commands do to jobs, running the log again does the same; so do snapshots. */
#include "job_kit.h"

#include "base/prng.h"
#include "core/job.h"

static int add_bytes(void *ctx, struct str bytes)
{
    return buf_add_str(ctx, bytes);
}

static struct core *copy_of(struct core *c)
{
    struct buf b;
    struct core *copy;
    buf_init(&b, 64 << 20);
    assert_int_equal(core_save(c, add_bytes, &b), 0);
    assert_int_equal(core_new(NULL, &copy), 0);
    assert_int_equal(core_load(copy, buf_str(&b)), 0);
    assert_int_equal(core_digest(copy), core_digest(c));
    buf_done(&b);
    return copy;
}

static void replay(struct core *c, struct str log)
{
    struct unpacker u = unpack_of(log);
    while (u.at < u.end) {
        struct str argv[512];
        uint64_t now_ms = unpack_u64(&u), client = unpack_u64(&u), argc = unpack_u64(&u);
        for (size_t i = 0; i < argc; i++)
            argv[i] = unpack_str(&u);
        assert_int_equal(u.rc, 0);
        if (argv[0].len == 0) {
            core_tick(c, now_ms);
            continue;
        }
        struct reply none = {0};
        struct core_call call = {
            .now_ms = now_ms, .client = client, .argc = argc, .argv = argv, .reply = &none};
        core_exec(c, core_find(argv[0]), &call);
        assert_true(call.changed);
    }
}

static void random_command(struct session *s, struct prng *p)
{
    uint64_t chunk = prng_below(p, 40), epoch = ((uint64_t)1 << 40) + prng_below(p, 300);
    int w = (int)prng_below(p, 3), inc = (int)prng_below(p, 3) + 1;
    s->client = 100 + (uint64_t)w;
    s->now_ms += prng_below(p, 50);
    if (core_next_ms(s->c) <= s->now_ms) {
        struct str tick = STR("");
        core_tick(s->c, s->now_ms);
        log_command(s, 1, &tick);
    }
    switch (prng_below(p, 16)) {
    case 0:
        run(s, "TTG.LEAVE default w%d %d", w, inc);
        break;
    case 1:
        run(s, "TTG.JOIN default w%d %d SLOTS 2 INFLIGHT 4 HELD %d %d", w, inc, (int)chunk, 5);
        break;
    case 2:
        run(s, "TTG.LOST default w%d %d why", w, inc);
        break;
    case 3:
        run(s, "TTG.FAIL default w%d %d %d %llu RETRY no", w, inc, (int)chunk,
            (unsigned long long)epoch);
        break;
    case 4:
        run(s, "TTG.RELEASE default w%d %d", w, inc);
        break;
    case 5:
        run(s, "XREADGROUP GROUP ttg-workers f%d COUNT 2 STREAMS ttg:tasks >", w);
        break;
    case 6:
        run(s, "XADD ttg:results * chunk_id %d worker_id f%d output x", (int)chunk, w);
        break;
    case 7:
        run(s, "XACK ttg:tasks ttg-workers 1770631200000-%d", (int)chunk + 1);
        break;
    case 8:
        run(s, "XAUTOCLAIM ttg:tasks ttg-workers f%d 100 0", w);
        break;
    case 9:
        run(s, "TTG.DEAD REDRIVE default ALL");
        break;
    case 10:
        run(s, "TTG.JOB %s default", prng_chance(p, 0.3) ? "PAUSE" : "RESUME");
        break;
    default:
        run(s, "TTG.TAKE default w%d %d COUNT 3", w, inc);
        const char *reply = readable(s);
        unsigned long long at, count, first;
        if (sscanf(reply, "[0 %llu %llu %llu", &at, &count, &first) == 3 && prng_chance(p, 0.7))
            run(s, "TTG.COMMIT default w%d %d %llu %llu 1 s 1", w, inc, at, first);
    }
}

static void replays_to_the_same_state(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct session s;
        struct prng p;
        prng_init(&p, seed);
        session_open(&s);
        s.may_block = false;
        run(&s,
            "TTG.JOB CREATE default FIRST 0 LAST 199 CHUNK 5 WINDOW 16 MAXATTEMPTS 3 STALE 300");
        buf_clear(&s.log);
        struct core *base = copy_of(s.c);
        for (int part = 0; part < 4; part++) {
            for (int i = 0; i < 150; i++)
                random_command(&s, &p);
            replay(base, buf_str(&s.log));
            assert_int_equal(core_digest(base), core_digest(s.c));
            /* From here on the original goes on from its own snapshot, the other from memory. */
            struct core *copy = copy_of(s.c);
            core_free(s.c);
            s.c = copy;
            buf_clear(&s.log);
        }
        struct job *j = job_find(s.c, STR("default"));
        assert_non_null(j);
        ledger_check(j->ledger);
        core_free(base);
        session_close(&s);
    }
}

static void one_chunk(struct session *s, int w, int ms)
{
    unsigned long long chunk, count, epoch;
    run(s, "TTG.TAKE default w%d 1 COUNT 1 BLOCK 100", w);
    assert_int_equal(sscanf(readable(s), "[0 %llu %llu %llu", &chunk, &count, &epoch), 3);
    s->now_ms += (uint64_t)ms;
    assert_string_equal(
        run(s, "TTG.COMMIT default w%d 1 %llu %llu %d s 1", w, chunk, epoch, ms * 1000), "[1]");
}

/* A slow worker leaves the end of a job to others. What was taken before there was that rule, or
 * under another one, stays taken in a replay: epochs depend on it. */
static void what_is_in_the_log_did_not_wait(void **state)
{
    (void)state;
    struct session s;
    session_open(&s);
    run(&s, "TTG.JOB CREATE default FIRST 0 LAST 14 CHUNK 1");
    buf_clear(&s.log);
    struct core *base = copy_of(s.c);
    run(&s, "TTG.JOIN default w0 1 SLOTS 1");
    run(&s, "TTG.JOIN default w1 1 SLOTS 1");
    for (int i = 0; i < 8; i++)
        one_chunk(&s, i % 2, i % 2 ? 200 : 10);
    one_chunk(&s, 0, 10);
    assert_string_equal(run(&s, "TTG.TAKE default w1 1 COUNT 1 BLOCK 100"), "(blocked)");
    assert_string_equal(run(&s, "TTG.TAKE default w1 1 COUNT 1"), "[0]");
    assert_false(s.changed);
    s.may_block = false;
    run(&s, "TTG.TAKE default w1 1 COUNT 1 BLOCK 100");
    assert_true(s.changed);
    replay(base, buf_str(&s.log));
    assert_int_equal(core_digest(base), core_digest(s.c));
    core_free(base);
    session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replays_to_the_same_state),
        cmocka_unit_test(what_is_in_the_log_did_not_wait),
    };
    return tap_run(tests);
}
