/* SPDX-License-Identifier: Apache-2.0 */
/* A job as a whole: its spec, its size, its digest, its snapshots, its events. */
#include "ledger_kit.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdio.h>

static void says_when_it_is_the_same_job(void **state)
{
    (void)state;
    struct ledger *l = make(100);
    struct err err;
    struct ledger_spec spec = base_spec;
    assert_int_equal(ledger_same(l, &spec, &err), 0);
    spec.window = 5;
    assert_int_equal(ledger_same(l, &spec, &err), 0);
    spec.chunk_params = 11;
    assert_int_equal(ledger_same(l, &spec, &err), TTG_EEXIST);
    assert_string_equal(err.text, "job job exists with another chunk size");
    spec = base_spec;
    spec.kernel = STR("other");
    assert_int_equal(ledger_same(l, &spec, &err), TTG_EEXIST);
    ledger_cancel(l, 1000);
    assert_int_equal(ledger_same(l, &base_spec, &err), TTG_EDONE);
    ledger_free(l);
}

static void refuses_bad_specs(void **state)
{
    (void)state;
    static const struct {
        int64_t first;
        uint64_t params, chunk_params;
        int rc;
    } cases[] = {
        {0, 0, 1, 0},
        {0, 1, 0, TTG_EINVAL},
        {0, (uint64_t)1 << 63, 1000, 0}, /* 0 .. 2^63-1 */
        {1, (uint64_t)1 << 63, 1000, TTG_EINVAL},
        {INT64_MIN, (uint64_t)1 << 63, 1, 0},
        {-5, (uint64_t)1 << 63, 1, 0},
        {INT64_MIN, ((uint64_t)1 << 63) + 1, 1, TTG_EINVAL},
        {INT64_MAX, 1, 1, 0},
        {INT64_MAX, 2, 1, TTG_EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ledger_spec spec = base_spec;
        spec.first = cases[i].first;
        spec.params = cases[i].params;
        spec.chunk_params = cases[i].chunk_params;
        assert_int_equal(ledger_spec_check(&spec, NULL), cases[i].rc);
        if (cases[i].rc)
            continue;
        struct ledger *l;
        assert_int_equal(ledger_new(STR("j"), &spec, 1, 1, NULL, &l), 0);
        struct ledger_status s = status(l);
        assert_int_equal(s.state, spec.params ? LEDGER_RUNNING : LEDGER_FINISHED);
        if (spec.params) {
            int64_t from, to;
            ledger_range(l, s.chunks - 1, &from, &to);
            assert_int_equal(to, (int64_t)((uint64_t)spec.first + (spec.params - 1)));
        }
        ledger_free(l);
    }
}

static void huge_jobs_stay_small(void **state)
{
    (void)state;
    struct ledger_spec spec = base_spec;
    spec.params = (uint64_t)1 << 62;
    spec.chunk_params = 1;
    struct ledger *l;
    assert_int_equal(ledger_new(STR("j"), &spec, 1, 1, NULL, &l), 0);
    struct ledger_worker *w = join(l, "a", 1, 64);
    for (int i = 0; i < 1000; i++) {
        struct ledger_run run = take(l, w, 64, 1000);
        assert_int_equal(run.count, 64);
        for (uint64_t k = 0; k < 64; k++)
            assert_int_equal(commit(l, "a", 1, run.chunk + k, run.epoch + k, "7"), LEDGER_ACCEPTED);
    }
    assert_int_equal(status(l).completed, 64000);
    assert_int_equal(status(l).fed, 65000);
    ledger_free(l);
}

static void a_sum_becomes_json(void **state)
{
    (void)state;
    char text[LEDGER_SUMMARY_BYTES + 1];
    text[ledger_summary_text(text, 421950, 100)] = '\0';
    assert_string_equal(text, "{\"sum\":421950,\"count\":100}");
}

/* The digest is the same for the same results, whatever happened on the way. */
static void the_digest_ignores_order(void **state)
{
    (void)state;
    uint64_t digests[2][2];
    for (int round = 0; round < 2; round++) {
        struct ledger *l = make(10);
        struct ledger_worker *w = join(l, "a", 1, 16);
        if (round == 1) {
            take(l, w, 3, 1000);
            ledger_lost(l, w, STR("x"), 1000);
            w = join(l, "b", 4, 16);
        }
        struct ledger_run runs[16];
        size_t n;
        assert_int_equal(ledger_take(l, w, 9, 10, 1000, runs, &n), 0);
        for (size_t i = 0; i < n; i++) {
            struct ledger_run *run = &runs[round ? n - 1 - i : i];
            for (uint64_t k = 0; k < run->count; k++) {
                char text[24];
                text[str_from_u64(text, run->chunk + k)] = '\0';
                assert_int_equal(commit(l, round ? "b" : "a", round ? 4 : 1, run->chunk + k,
                                        run->epoch + k, text),
                                 LEDGER_ACCEPTED);
            }
        }
        memcpy(digests[round], status(l).digest, sizeof digests[round]);
        assert_int_equal(status(l).state, LEDGER_FINISHED);
        assert_true(status(l).sum == 45);
        ledger_free(l);
    }
    assert_memory_equal(digests[0], digests[1], sizeof digests[0]);
    assert_true(digests[0][0] != digests[0][1]);
}

static void trims_but_keeps_the_newest(void **state)
{
    (void)state;
    struct ledger_spec spec = base_spec;
    spec.params = 1000000;
    spec.chunk_params = 1;
    struct ledger *l;
    assert_int_equal(ledger_new(STR("j"), &spec, 1, 1, NULL, &l), 0);
    struct ledger_worker *w = join(l, "a", 1, 64);
    for (uint64_t i = 0; i < 12000; i++)
        commit(l, "a", 1, i, take(l, w, 1, 1).epoch, "1");
    assert_int_equal(ledger_trim(l, 500), 501);
    assert_int_equal(ledger_trim(l, 100), 501);
    assert_int_equal(ledger_trim(l, 12000), 2001);
    ledger_free(l);
}

/* --- what the golden trace and the failing allocations share --- */

static void story(struct ledger *l, int *rc)
{
    struct ledger_worker *a, *b;
    struct ledger_run runs[8];
    size_t n;
    enum ledger_fate fate;
    uint64_t retry_ms;
    if ((*rc = ledger_join(l, STR("worker-0"), 1, 1, 1, 4, NULL, 0, 2000, &a)) ||
        (*rc = ledger_take(l, a, 1, 3, 2100, runs, &n)))
        return;
    uint64_t epoch = runs[0].epoch;
    ledger_lost(l, a, STR("connection lost"), 2600);
    if ((*rc = ledger_join(l, STR("worker-1"), 2, 2, 1, 4, NULL, 0, 2610, &b)) ||
        (*rc = ledger_take(l, b, 2, 1, 2630, runs, &n)))
        return;
    commit(l, "worker-0", 1, 0, epoch, "45");
    commit(l, "worker-1", 2, 0, runs[0].epoch, "45");
    if ((*rc = ledger_take(l, b, 2, 1, 2700, runs, &n)) ||
        (*rc = ledger_fail(l, runs[0].chunk, runs[0].epoch, true, STR("exit code 100"), 2900, &fate,
                           &retry_ms)))
        return;
}

static void golden_trace_of_a_reclaim(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "1 1000 job.created -  ->  0 ''",
        "2 2000 worker.joined - worker-0 ->  1 ''",
        "3 2600 worker.lost - worker-0 ->  3 'connection lost'",
        "4 2610 worker.joined - worker-1 ->  1 ''",
        "5 2630 chunk.reclaimed 0 worker-0 -> worker-1 30 ''",
        "6 2700 chunk.reclaimed 1 worker-0 -> worker-1 100 ''",
        "7 2900 chunk.dead 1 worker-1 ->  1 'exit code 100'",
    };
    struct ledger *l = make(20);
    int rc;
    story(l, &rc);
    assert_int_equal(rc, 0);
    struct ledger_event e;
    uint64_t seq = 0;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++, seq = e.seq) {
        char line[200], chunk[24] = "-";
        assert_true(ledger_event_next(l, seq, &e));
        if (e.chunk != UINT64_MAX)
            chunk[str_from_u64(chunk, e.chunk)] = '\0';
        snprintf(line, sizeof line, "%d %d %s %s %.*s -> %.*s %d '%.*s'", (int)e.seq, (int)e.at_ms,
                 ledger_event_name(e.kind), chunk, STR_ARG(e.from), STR_ARG(e.to), (int)e.value,
                 STR_ARG(e.text));
        assert_string_equal(line, expected[i]);
    }
    assert_false(ledger_event_next(l, seq, &e));
    assert_int_equal(status(l).reclaimed, 3);
    assert_int_equal(status(l).stale_dropped, 1);
    assert_int_equal(status(l).attempts, 3);
    ledger_free(l);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t at = 1;; at++) {
        struct ledger_spec spec = base_spec;
        struct ledger *l = NULL;
        mem_fail_at(at);
        int rc = ledger_new(STR("job"), &spec, 1, 1000, NULL, &l);
        if (!rc)
            story(l, &rc);
        int failed = mem_failed();
        mem_fail_at(0);
        assert_true(rc == 0 || (failed && rc == TTG_ENOMEM));
        if (l)
            ledger_check(l);
        ledger_free(rc && !l ? NULL : l);
        if (!failed)
            break;
    }
}

static void refuses_damaged_snapshots(void **state)
{
    (void)state;
    struct ledger *l = make(20), *copy;
    int rc;
    story(l, &rc);
    struct buf b;
    buf_init(&b, 100000);
    struct packer p = {&b, 0};
    ledger_save(l, &p);
    size_t len = buf_len(&b);
    for (size_t cut = 0; cut < len; cut++) {
        struct unpacker u = unpack_of(str_make(buf_ptr(&b), cut));
        assert_int_equal(ledger_load(&u, NULL, &copy), TTG_ECORRUPT);
    }
    /* Any other damage: refused, or a state that keeps all invariants. */
    for (size_t i = 0; i < len * 8; i++) {
        buf_ptr(&b)[i / 8] = (char)(buf_ptr(&b)[i / 8] ^ 1 << i % 8);
        struct unpacker u = unpack_of(buf_str(&b));
        if (ledger_load(&u, NULL, &copy) == 0) {
            ledger_check(copy);
            ledger_free(copy);
        }
        buf_ptr(&b)[i / 8] = (char)(buf_ptr(&b)[i / 8] ^ 1 << i % 8);
    }
    for (size_t at = 1;; at++) {
        struct unpacker u = unpack_of(buf_str(&b));
        mem_fail_at(at);
        rc = ledger_load(&u, NULL, &copy);
        int failed = mem_failed();
        mem_fail_at(0);
        if (!rc)
            ledger_free(copy);
        if (!failed)
            break;
    }
    assert_int_equal(rc, 0);
    buf_done(&b);
    ledger_free(l);
}

static void each_done(void *ctx, uint64_t from, uint64_t to)
{
    struct buf *b = ctx;
    assert_int_equal(buf_printf(b, "%d-%d ", (int)from, (int)to), 0);
}

static void lists_what_is_done(void **state)
{
    (void)state;
    struct ledger *l = make(10);
    struct ledger_worker *w = join(l, "a", 1, 8);
    struct ledger_run run = take(l, w, 8, 1000);
    static const uint64_t done[] = {0, 1, 4, 6, 7};
    for (size_t i = 0; i < sizeof done / sizeof *done; i++)
        commit(l, "a", 1, done[i], run.epoch + done[i], "0");
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(ledger_done_each(l, each_done, &b), 0);
    assert_string_equal(buf_cstr(&b), "0-2 4-5 6-8 ");
    buf_done(&b);
    ledger_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_when_it_is_the_same_job),
        cmocka_unit_test(refuses_bad_specs),
        cmocka_unit_test(huge_jobs_stay_small),
        cmocka_unit_test(a_sum_becomes_json),
        cmocka_unit_test(the_digest_ignores_order),
        cmocka_unit_test(trims_but_keeps_the_newest),
        cmocka_unit_test(golden_trace_of_a_reclaim),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(refuses_damaged_snapshots),
        cmocka_unit_test(lists_what_is_done),
    };
    return tap_run(tests);
}
