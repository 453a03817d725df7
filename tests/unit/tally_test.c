/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "core/ledger.h"
#include "job/tally.h"

#include <stdio.h>

enum { CHUNKS = 50 };

static void add_line(struct buf *out, uint64_t chunk, int64_t sum)
{
    buf_printf(out,
               "{\"chunk_id\":\"%05llu\",\"start_param\":%llu,\"end_param\":%llu,"
               "\"worker_id\":\"w\",\"attempt\":1,\"status\":\"complete\",\"params_processed\":10,"
               "\"duration_seconds\":0.1,\"completed_at\":\"2026-01-01T00:00:00Z\","
               "\"result_summary\":{\"sum\":%lld,\"count\":10}}\n",
               (unsigned long long)chunk, (unsigned long long)chunk * 10,
               (unsigned long long)chunk * 10 + 9, (long long)sum);
}

static int64_t sum_of(uint64_t chunk)
{
    return (int64_t)chunk * 100 + 45;
}

/* What a ledger would have counted. */
static struct tally_truth truth_of(uint64_t chunks)
{
    struct tally_truth truth = {.chunks = chunks, .completed = chunks, .has_digest = true};
    for (uint64_t c = 0; c < chunks; c++) {
        char text[LEDGER_SUMMARY_BYTES];
        uint64_t d[2];
        size_t len = ledger_summary_text(text, sum_of(c), 10);
        ledger_result_digest(c, 's', str_make(text, len), d);
        truth.digest[0] += d[0];
        truth.digest[1] += d[1];
    }
    return truth;
}

/* All lines but `left_out`, in an order that jumps; then `more`. */
static enum tally_verdict judge(uint64_t left_out, const char *more, struct buf *report)
{
    struct tally t;
    struct buf lines;
    struct tally_truth truth = truth_of(CHUNKS);
    tally_init(&t);
    buf_init(&lines, 1 << 20);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        uint64_t chunk = i * 17 % CHUNKS;
        if (chunk != left_out)
            add_line(&lines, chunk, sum_of(chunk));
    }
    buf_add_str(&lines, str_of(more));
    assert_int_equal(tally_add(&t, buf_str(&lines)), 0);
    buf_clear(report);
    enum tally_verdict verdict = tally_compare(&t, &truth, report);
    buf_done(&lines);
    tally_done(&t);
    return verdict;
}

static void proves_what_is_whole(void **state)
{
    (void)state;
    struct buf report;
    buf_init(&report, 1 << 16);
    assert_int_equal(judge(UINT64_MAX, "", &report), TALLY_PROVEN);
    assert_int_equal(buf_len(&report), 0);
    buf_done(&report);
}

static void finds_what_is_wrong(void **state)
{
    (void)state;
    struct buf report, line;
    buf_init(&report, 1 << 16);
    buf_init(&line, 1 << 16);
    struct {
        uint64_t left_out, chunk;
        int64_t sum;
        const char *report;
    } cases[] = {
        {7, UINT64_MAX, 0, "missing 1: 7\n"},
        {0, UINT64_MAX, 0, "missing 1: 0\n"},
        {CHUNKS - 1, UINT64_MAX, 0, "missing 1: 49\n"},
        {UINT64_MAX, 7, 745, "doubled 1: 7\n"},
        {UINT64_MAX, 7, 1, "doubled 1: 7\n"}, /* whatever the copy says */
        {3, 3, 1, "digest "},                 /* there, but not what was committed */
        {UINT64_MAX, CHUNKS, 5, "results of chunks past the last one, 49\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&line);
        if (cases[i].chunk != UINT64_MAX)
            add_line(&line, cases[i].chunk, cases[i].sum);
        assert_int_equal(judge(cases[i].left_out, buf_cstr(&line), &report), TALLY_WRONG);
        assert_non_null(strstr(buf_cstr(&report), cases[i].report));
    }
    buf_done(&report);
    buf_done(&line);
}

static void notices_garbled_lines(void **state)
{
    (void)state;
    struct buf report;
    buf_init(&report, 1 << 16);
    static const char *const lines[] = {
        "hello\n",
        "\n",
        "{\"chunk_id\":\"00001\"\n",
        "{}\n",
        "{\"chunk_id\":\"x\",\"status\":\"complete\"}\n",
        "{\"chunk_id\":\"00001\",\"status\":\"failed\",\"params_processed\":1}\n",
        "{\"chunk_id\":\"18446744073709551615\",\"status\":\"complete\",\"params_processed\":1}\n",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        assert_int_equal(judge(UINT64_MAX, lines[i], &report), TALLY_WRONG);
        assert_non_null(strstr(buf_cstr(&report), "no result in 1 lines: 51\n"));
    }
    buf_done(&report);
}

/* Dead letters need no result; more results than the ledger counted are wrong, too. */
static void knows_dead_letters(void **state)
{
    (void)state;
    struct tally t;
    struct buf lines, report;
    buf_init(&lines, 1 << 16);
    buf_init(&report, 1 << 16);
    tally_init(&t);
    for (uint64_t c = 0; c < 8; c++)
        add_line(&lines, c, sum_of(c));
    assert_int_equal(tally_add(&t, buf_str(&lines)), 0);
    struct tally_truth truth = {.chunks = 10, .completed = 8};
    assert_int_equal(tally_compare(&t, &truth, &report), TALLY_PROVEN);
    truth.completed = 9;
    assert_int_equal(tally_compare(&t, &truth, &report), TALLY_WRONG);
    truth.completed = 7;
    assert_int_equal(tally_compare(&t, &truth, &report), TALLY_WRONG);
    tally_done(&t);
    buf_done(&lines);
    buf_done(&report);
}

static void survives_a_lack_of_memory(void **state)
{
    (void)state;
    struct buf lines;
    buf_init(&lines, 1 << 20);
    for (uint64_t i = 0; i < 200; i += 2) /* gaps: every line an interval */
        add_line(&lines, i, 1);
    int rc = TTG_ENOMEM;
    for (uint64_t n = 1; rc; n++) {
        struct tally t;
        tally_init(&t);
        mem_fail_at(n);
        rc = tally_add(&t, buf_str(&lines));
        mem_fail_at(0);
        assert_true(rc == 0 || rc == TTG_ENOMEM);
        tally_done(&t);
        assert_true(n < 10000);
    }
    buf_done(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proves_what_is_whole),      cmocka_unit_test(finds_what_is_wrong),
        cmocka_unit_test(notices_garbled_lines),     cmocka_unit_test(knows_dead_letters),
        cmocka_unit_test(survives_a_lack_of_memory),
    };
    return tap_run(tests);
}
