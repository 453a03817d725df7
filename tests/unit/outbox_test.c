/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox by itself: what it keeps, sends, repeats and forgets. */
#include "queue_rig.h"

#include "worker/outbox.h"

static struct {
    struct queue_config queue_config;
    struct queue *queue;
    struct outbox *outbox;
    unsigned rooms, verdicts, fates, unwanted, failed;
    enum ledger_verdict verdict;
    enum ledger_fate fate;
    uint64_t chunk, epoch;
    char reason[64];
} rig;

static void on_room(void *ctx)
{
    (void)ctx;
    rig.rooms++;
}

static void on_verdict(void *ctx, uint64_t chunk, enum ledger_verdict verdict)
{
    (void)ctx;
    rig.verdicts++;
    rig.chunk = chunk;
    rig.verdict = verdict;
}

static void on_fate(void *ctx, const struct outbox_failure *f, enum ledger_fate fate)
{
    (void)ctx;
    rig.fates++;
    rig.fate = fate;
    snprintf(rig.reason, sizeof rig.reason, "%.*s", STR_ARG(f->reason));
}

static void on_unwanted(void *ctx, uint64_t chunk, uint64_t epoch)
{
    (void)ctx;
    rig.unwanted++;
    rig.chunk = chunk;
    rig.epoch = epoch;
}

static void on_failed(void *ctx, int rc, const struct err *err)
{
    (void)ctx;
    (void)err;
    assert_int_not_equal(rc, 0);
    rig.failed++;
}

static struct outbox_config config(void)
{
    return (struct outbox_config){.queue = rig.queue,
                                  .job = STR("job"),
                                  .worker = {STR("w"), 5},
                                  .running_max = 3,
                                  .on_room = on_room,
                                  .on_verdict = on_verdict,
                                  .on_fate = on_fate,
                                  .on_unwanted = on_unwanted,
                                  .on_failed = on_failed};
}

static int setup(void **state)
{
    (void)state;
    q_rig_setup();
    memset(&rig, 0, sizeof rig);
    rig.queue_config.engine = fake_new;
    assert_int_equal(queue_open(&rig.queue, q_rig.loop, &rig.queue_config, NULL), 0);
    struct outbox_config c = config();
    assert_int_equal(outbox_new(&rig.outbox, &c), 0);
    rig_up(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    queue_close(rig.queue);
    outbox_free(rig.outbox);
    q_rig_teardown();
    return 0;
}

static void add(uint64_t chunk, const char *output)
{
    struct queue_result r = {.chunk = chunk, .epoch = 100 + chunk, .output = str_of(output)};
    assert_int_equal(outbox_add(rig.outbox, &r), 0);
}

static void add_failure(uint64_t chunk)
{
    struct outbox_failure f = {chunk, 100 + chunk, false, STR("it broke")};
    assert_int_equal(outbox_fail(rig.outbox, &f), 0);
}

static struct queue_commit *commit(void)
{
    struct queue_request *r = rig_first(0);
    assert_non_null(r);
    assert_int_equal(r->verb, QUEUE_COMMIT);
    return (struct queue_commit *)r;
}

static void answer(int rc)
{
    struct queue_request *r = rig_first(0);
    struct err err;
    if (r->verb == QUEUE_COMMIT && rc == 0) {
        ((struct queue_commit *)r)->accepted = ((struct queue_commit *)r)->count;
        ((struct queue_commit *)r)->verdict_count = 0;
    }
    err_set(&err, rc, "the answer");
    queue_finish(r, rc, &err);
}

static void what_gathers_leaves_together(void **state)
{
    (void)state;
    add(1, "one");
    add(2, "two");
    assert_int_equal(queue_pending(rig.queue), 0);
    outbox_flush(rig.outbox, 1);
    add(3, "three");
    struct queue_commit *c = commit();
    assert_int_equal(c->count, 2);
    assert_true(str_eq(c->results[0].output, STR("one")));
    assert_true(str_eq(c->results[1].output, STR("two")));
    assert_int_equal(outbox_pending(rig.outbox), 3);
    answer(0);
    assert_int_equal(outbox_pending(rig.outbox), 1);
    assert_int_equal(outbox_totals(rig.outbox).accepted, 2);
    assert_int_equal(outbox_answered(rig.outbox), 2);
    assert_int_equal(rig.rooms, 1);
    outbox_flush(rig.outbox, 2);
    assert_true(str_eq(commit()->results[0].output, STR("three")));
}

static void there_is_room_for_what_runs(void **state)
{
    (void)state;
    uint64_t chunk = 0;
    for (int i = 0; i < OUTBOX_BATCHES - 1; i++) { /* all but the last one under way */
        add(chunk++, "x");
        outbox_flush(rig.outbox, 1);
    }
    assert_int_equal(queue_pending(rig.queue), OUTBOX_BATCHES - 1);
    while (!outbox_full(rig.outbox))
        add(chunk++, "x");
    assert_int_equal(chunk, OUTBOX_BATCHES - 1 + OUTBOX_RESULTS);
    for (int i = 0; i < 3; i++) /* running_max */
        add(chunk++, "x");
    struct queue_result r = {.chunk = chunk, .epoch = 1};
    assert_int_equal(outbox_add(rig.outbox, &r), TTG_EFULL);
    assert_true(outbox_pending(rig.outbox) <= outbox_inflight(rig.outbox));
    outbox_flush(rig.outbox, 1);
    assert_int_equal(queue_pending(rig.queue), OUTBOX_BATCHES - 1); /* one has to gather */
    answer(0);
    outbox_flush(rig.outbox, 1);
    assert_false(outbox_full(rig.outbox));
}

static void outputs_fill_it_too(void **state)
{
    (void)state;
    static char big[OUTBOX_BATCH_BYTES + 1];
    memset(big, 'x', sizeof big - 1);
    add(1, big);
    assert_true(outbox_full(rig.outbox));
    add(2, big); /* of a chunk that ran meanwhile */
    outbox_flush(rig.outbox, 1);
    assert_false(outbox_full(rig.outbox));
    assert_int_equal(commit()->results[1].output.len, OUTBOX_BATCH_BYTES);
}

static void nothing_leaves_while_held(void **state)
{
    (void)state;
    outbox_hold(rig.outbox, true);
    add(1, "one");
    add_failure(2);
    outbox_flush(rig.outbox, 1);
    assert_false(outbox_moving(rig.outbox));
    outbox_hold(rig.outbox, false);
    outbox_flush(rig.outbox, 1);
    assert_true(outbox_moving(rig.outbox));
    assert_int_equal(queue_pending(rig.queue), 2);
}

static void after_a_cut_results_go_again_with_new_epochs(void **state)
{
    (void)state;
    struct ledger_held held[8];
    add(1, "one");
    add(2, "two");
    outbox_flush(rig.outbox, 1);
    add(3, "three");
    outbox_hold(rig.outbox, true);
    rig_cut(0);
    assert_false(outbox_moving(rig.outbox));
    assert_int_equal(outbox_pending(rig.outbox), 3);
    assert_int_equal(outbox_list(rig.outbox, held, 8), 3);
    assert_int_equal(outbox_list(rig.outbox, held, 2), 2);
    assert_true(outbox_renew(rig.outbox, (struct ledger_held){2, 102}, 900));
    assert_false(outbox_renew(rig.outbox, (struct ledger_held){2, 102}, 901)); /* not that lease */
    assert_true(outbox_renew(rig.outbox, (struct ledger_held){3, 103}, 902));
    rig_up(0);
    outbox_hold(rig.outbox, false);
    outbox_flush(rig.outbox, 2);
    struct queue_commit *c = commit();
    assert_int_equal(c->count, 2);
    assert_int_equal(c->results[0].epoch, 101);
    assert_int_equal(c->results[1].epoch, 900);
    assert_true(str_eq(c->results[1].output, STR("two")));
    answer(0);
    assert_int_equal(commit()->results[0].epoch, 902);
    answer(0);
    assert_int_equal(outbox_pending(rig.outbox), 0);
    assert_int_equal(outbox_totals(rig.outbox).accepted, 3);
}

static void verdicts_are_told(void **state)
{
    (void)state;
    static const struct queue_verdict verdicts[] = {{1, LEDGER_AGAIN}, {2, LEDGER_STALE}};
    add(1, "one");
    add(2, "two");
    add(3, "three");
    outbox_flush(rig.outbox, 1);
    struct queue_commit *c = commit();
    c->accepted = 1;
    c->verdicts = verdicts;
    c->verdict_count = 2;
    queue_finish(&c->call.request, 0, NULL);
    assert_int_equal(outbox_totals(rig.outbox).accepted, 2); /* "again" is accepted before */
    assert_int_equal(outbox_totals(rig.outbox).stale, 1);
    assert_int_equal(rig.verdicts, 1);
    assert_int_equal(rig.chunk, 2);
    assert_int_equal(rig.verdict, LEDGER_STALE);
}

static void not_now_is_tried_again_with_pauses(void **state)
{
    (void)state;
    uint64_t now_ms = 1000;
    add(1, "one");
    outbox_flush(rig.outbox, now_ms);
    answer(TTG_EFULL);
    assert_int_equal(outbox_refused_ms(rig.outbox), 0); /* once */
    outbox_flush(rig.outbox, now_ms + OUTBOX_RETRY_MS - 1);
    assert_false(outbox_moving(rig.outbox));
    for (int i = 0; i < 10; i++) {
        now_ms += OUTBOX_RETRY_MS_MAX;
        outbox_flush(rig.outbox, now_ms);
        assert_true(outbox_moving(rig.outbox));
        answer(TTG_EACCES);
    }
    assert_int_equal(outbox_refused_ms(rig.outbox), 10 * OUTBOX_RETRY_MS_MAX);
    now_ms += OUTBOX_RETRY_MS_MAX;
    outbox_flush(rig.outbox, now_ms);
    answer(0);
    assert_int_equal(outbox_refused_ms(rig.outbox), 0);
    assert_int_equal(outbox_pending(rig.outbox), 0);
    assert_int_equal(rig.failed, 0);
}

static void never_is_told(void **state)
{
    (void)state;
    add(1, "one");
    outbox_flush(rig.outbox, 1);
    answer(TTG_ENOENT);
    assert_int_equal(rig.failed, 1);
    assert_int_equal(outbox_pending(rig.outbox), 1);
}

static void failures_are_repeated_as_they_were(void **state)
{
    (void)state;
    add_failure(7);
    outbox_flush(rig.outbox, 1);
    rig_cut(0);
    assert_true(outbox_renew(rig.outbox, (struct ledger_held){7, 107}, 900));
    rig_up(0);
    outbox_flush(rig.outbox, 2);
    struct queue_fail *f = (struct queue_fail *)rig_first(0);
    assert_int_equal(f->epoch, 107);
    assert_true(str_eq(f->reason, STR("it broke")));
    f->fate = LEDGER_FAIL_STALE; /* it was counted before the cut, and granted anew since */
    answer(0);
    assert_int_equal(rig.fates, 1);
    assert_int_equal(rig.unwanted, 1);
    assert_int_equal(rig.chunk, 7);
    assert_int_equal(rig.epoch, 900);
    assert_int_equal(outbox_pending(rig.outbox), 0);
}

static void many_failures_fill_it(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < OUTBOX_FAILURES; i++) {
        assert_false(outbox_full(rig.outbox));
        add_failure(i);
    }
    assert_true(outbox_full(rig.outbox));
    outbox_flush(rig.outbox, 1);
    ((struct queue_fail *)rig_first(0))->fate = LEDGER_DEAD;
    answer(0);
    assert_false(outbox_full(rig.outbox));
    assert_int_equal(rig.fate, LEDGER_DEAD);
    assert_string_equal(rig.reason, "it broke");
}

static void a_lost_queue_keeps_what_is_pending(void **state)
{
    (void)state;
    struct err err;
    add(1, "one");
    add_failure(2);
    outbox_flush(rig.outbox, 1);
    err_set(&err, TTG_EUNREACH, "gone");
    queue_lose(rig.queue, &err);
    assert_int_equal(outbox_pending(rig.outbox), 2);
    assert_false(outbox_moving(rig.outbox));
    outbox_flush(rig.outbox, 2);
    assert_int_equal(queue_pending(rig.queue), 0);
    assert_int_equal(rig.failed, 0);
}

static void without_memory_nothing_happens(void **state)
{
    (void)state;
    struct outbox_config c = config();
    for (size_t n = 1;; n++) {
        struct outbox *o = NULL;
        mem_fail_at(n);
        int rc = outbox_new(&o, &c);
        struct queue_result r = {.chunk = 1, .epoch = 1, .output = STR("some bytes")};
        if (!rc)
            rc = outbox_add(o, &r);
        struct outbox_failure f = {2, 2, true, STR("why")};
        uint64_t before = o ? outbox_pending(o) : 0;
        if (!rc) {
            rc = outbox_fail(o, &f);
            assert_int_equal(outbox_pending(o), before + !rc);
        }
        int failed = mem_failed();
        mem_fail_at(0);
        outbox_free(o);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        if (!failed)
            return;
    }
}

/* However they are spread over commits, results take no more memory than that. */
static void all_commits_share_a_limit(void **state)
{
    (void)state;
    static char big[OUTBOX_BATCH_BYTES];
    struct queue_result r = {.epoch = 7, .output = str_make(big, sizeof big)};
    for (uint64_t bytes = 0; bytes < OUTBOX_BYTES; bytes += sizeof big, r.chunk++) {
        assert_false(outbox_full(rig.outbox));
        assert_int_equal(outbox_add(rig.outbox, &r), 0);
        outbox_flush(rig.outbox, 1);
    }
    assert_true(outbox_full(rig.outbox));            /* all are under way, and the next one waits */
    assert_int_equal(outbox_add(rig.outbox, &r), 0); /* of a chunk that ran */
    answer(0);
    assert_true(outbox_full(rig.outbox));
    answer(0);
    outbox_flush(rig.outbox, 2);
    assert_false(outbox_full(rig.outbox));
    while (outbox_pending(rig.outbox) > 0)
        answer(0);
    assert_false(outbox_full(rig.outbox));
    assert_int_equal(outbox_totals(rig.outbox).accepted, r.chunk + 1);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_gathers_leaves_together),
        STORY(there_is_room_for_what_runs),
        STORY(outputs_fill_it_too),
        STORY(all_commits_share_a_limit),
        STORY(nothing_leaves_while_held),
        STORY(after_a_cut_results_go_again_with_new_epochs),
        STORY(verdicts_are_told),
        STORY(not_now_is_tried_again_with_pauses),
        STORY(never_is_told),
        STORY(failures_are_repeated_as_they_were),
        STORY(many_failures_fill_it),
        STORY(a_lost_queue_keeps_what_is_pending),
        STORY(without_memory_nothing_happens),
    };
    return tap_run(tests);
}
