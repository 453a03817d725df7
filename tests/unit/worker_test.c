/* SPDX-License-Identifier: Apache-2.0 */
/* The worker does a job: through cuts and restarts, beside others, and by chance. */
#include "worker_rig.h"

#include "base/prng.h"

#include <stdlib.h>

static void does_a_job(void **state)
{
    (void)state;
    rig_job(500);
    start();
    finished(500);
    assert_int_equal(rig.totals.committed, 500);
    assert_int_equal(rig.totals.params, 5000);
    assert_int_equal(status().attempts, 500);
}

/* More slots than a batch has room left for: nothing may break or get lost. */
static void slots_may_end_while_the_outbox_is_full(void **state)
{
    (void)state;
    rig.config.kernel.slots = 700;
    rig.config.kernel.simulate_ms = 0.1;
    rig_job(4000);
    start();
    serve_takes(400); /* takes are served, commits are not */
    assert_false(rig.ended);
    finished(4000);
    assert_int_equal(status().attempts, 4000);
}

static void results_gather_without_answers_up_to_a_limit(void **state)
{
    (void)state;
    rig_job(4096);
    start();
    serve_takes(300);
    assert_false(rig.ended);
    assert_true(status().leased > 100);
    assert_true(status().leased < 2100); /* not all of them */
    finished(4096);
}

/* At the n-th request the connection breaks: before it is executed, or before it is answered. */
static void cut_at_each_request(void **state)
{
    (void)state;
    for (int answer_lost = 0; answer_lost <= 1; answer_lost++) {
        for (int both = 0; both <= 1; both++) {
            for (int n = 1; n <= 12; n++) {
                anew();
                rig.config.kernel.slots = 2;
                rig.config.kernel.simulate_ms = 0.05;
                rig_job(12);
                start();
                int seen = 0;
                while (!rig.ended && seen < n) {
                    turn();
                    for (int i = 0; i < 2 && seen < n; i++) {
                        if (!rig_first(i))
                            continue;
                        if (seen + 1 < n) {
                            seen += rig_serve(i, true);
                            continue;
                        }
                        if (answer_lost && !rig_serve(i, false))
                            continue;
                        rig_cut(i);
                        if (both)
                            rig_cut(1 - i);
                        seen++;
                    }
                }
                for (int k = 0; k < 3; k++)
                    turn();
                rig_up(n % 2);
                rig_up(1 - n % 2);
                finished(12);
                assert_int_equal(status().attempts, 12);
            }
        }
    }
}

/* The grant left before it was on disk; the node forgets it and grants it anew. */
static void a_forgotten_grant_is_renewed(void **state)
{
    (void)state;
    rig_job(3);
    rig.config.prefetch_max = 0;
    start();
    ASKED(1, QUEUE_COMMIT); /* the take was answered, the result is under way */
    rig_restart();
    rig_up(1); /* first the commits' connection */
    turn();
    assert_null(rig_first(1)); /* held: the epoch may change */
    rig_up(0);
    finished(3);
    assert_int_equal(rig.totals.committed, 3);
    assert_int_equal(rig.totals.stale, 0);
    assert_int_equal(status().attempts, 3);
}

/* The same while the chunk runs. */
static void a_running_chunk_survives_a_restart(void **state)
{
    (void)state;
    first_chunk_runs(2, 10);
    for (int i = 0; i < 3; i++) {
        rig_restart();
        rig_up(0);
        rig_up(1);
        serve_takes(3);
    }
    finished(2);
    assert_int_equal(rig.totals.stale, 0);
    assert_int_equal(status().attempts, 2);
}

/* It slept; another worker has its chunk. What it computed is dropped, and it goes on. */
static void a_lost_chunk_is_dropped(void **state)
{
    (void)state;
    struct ledger_run run[64];
    size_t runs;
    first_chunk_runs(4, 10);
    rig_lose_worker();
    struct ledger_worker *other = another_joins(STR("other"), 9);
    assert_int_equal(ledger_take(q_rig.ledger, other, 77, 1, q_rig.now_ms, run, &runs), 0);
    assert_int_equal(run[0].chunk, 0);
    assert_int_equal(run[0].attempt, 2);
    atomic_store(&q_rig.beat_rc, TTG_ESTALE); /* the pulse hears of it */
    ASKED(0, QUEUE_JOIN);
    atomic_store(&q_rig.beat_rc, 0);
    PLAY_UNTIL(status().completed == 3);
    struct ledger_result r = {
        .chunk = 0, .epoch = run[0].epoch, .kind = LEDGER_SUM, .value = STR("45")};
    assert_int_equal(ledger_commit(q_rig.ledger, STR("other"), 9, &r, q_rig.now_ms),
                     LEDGER_ACCEPTED);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_FINISHED);
    assert_int_equal(rig.totals.stale, 1);
    all_done_once(4);
}

/* Lost, but nobody took the chunk: it stays here, under a new epoch. */
static void a_lease_that_nobody_took_is_kept(void **state)
{
    (void)state;
    first_chunk_runs(1, 20);
    rig_lose_worker();
    rig_cut(0);
    rig_up(0);
    finished(1);
    assert_int_equal(rig.totals.committed, 1);
    assert_int_equal(q_rig.served[QUEUE_TAKE] <= 2, 1);
}

static void a_newer_worker_replaces_it(void **state)
{
    (void)state;
    first_chunk_runs(50, 10);
    another_joins(STR("w"), 6);
    atomic_store(&q_rig.beat_rc, TTG_EBUSY); /* also while the chunk still runs */
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_REPLACED);
    assert_int_equal(status().workers, 1);
}

static void a_canceled_job_stops_what_runs(void **state)
{
    (void)state;
    first_chunk_runs(50, 1e6);
    ledger_cancel(q_rig.ledger, q_rig.now_ms);
    atomic_store(&q_rig.beat_state, LEDGER_CANCELED);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_FINISHED);
    assert_int_equal(rig.totals.stale, 1);
    assert_int_equal(status().completed, 0);
}

static void a_paused_job_is_waited_for(void **state)
{
    (void)state;
    rig_job(3);
    ledger_pause(q_rig.ledger, q_rig.now_ms);
    rig.config.idle_ms = 1; /* waiting for a job's chunks is not idle */
    start();
    serve_takes(300);
    assert_false(rig.ended);
    ledger_resume(q_rig.ledger, q_rig.now_ms);
    finished(3);
}

static void waits_for_the_job_to_appear(void **state)
{
    (void)state;
    start();
    serve_takes(300);
    assert_false(rig.ended);
    rig_job(3);
    finished(3);
}

static void ends_when_the_job_does_not_appear(void **state)
{
    (void)state;
    rig.config.idle_ms = 300;
    start();
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_IDLE);
}

static void a_forgotten_job_is_an_error(void **state)
{
    (void)state;
    rig_job(3);
    rig.config.kernel.simulate_ms = 5;
    start();
    while (!q_rig.served[QUEUE_TAKE]) {
        turn();
        rig_serve(0, true);
    }
    struct ledger *l = q_rig.ledger;
    q_rig.ledger = NULL;
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_LOST);
    ledger_free(l);
}

static void an_ended_job_is_no_work(void **state)
{
    (void)state;
    rig_job(3);
    ledger_cancel(q_rig.ledger, q_rig.now_ms);
    start();
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_FINISHED);
}

/* --- taking ahead --- */

static void as_many_are_taken_ahead_as_pays(void **state)
{
    (void)state;
    static const struct {
        double chunk_ns, take_ns;
        uint32_t slots, max;
        uint64_t ahead;
    } cases[] = {
        {0, 1e6, 1, 1024, 0},        /* nothing is known yet */
        {150e6, 2e6, 1, 1024, 0},    /* long chunks */
        {51e6, 1e6, 64, 1024, 0},    /* just so long */
        {50e6, 1e6, 1, 1024, 1},     /* one, to hide the way there and back */
        {6e6, 6e6, 1, 1024, 3},      /* twice what is done meanwhile, and one */
        {6e6, 6e6, 2, 1024, 5},      /* by all slots */
        {2e6, 1e5, 2, 1024, 5},      /* a few that are over in a moment */
        {1e5, 1e4, 1, 1024, 4},      /* but not many for their own sake */
        {1e3, 1e6, 4, 1024, 1024},   /* no more than allowed */
        {1e3, 1e6, 4, 0, 0},         /* none at all */
        {1, 1e18, 1024, 4096, 4096}, /* absurd times */
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(
            worker_prefetch(cases[i].chunk_ns, cases[i].take_ns, cases[i].slots, cases[i].max),
            cases[i].ahead);
}

static void no_more_is_in_hand_than_the_queue_accepts(void **state)
{
    (void)state;
    static const struct {
        double told, trip_ns;
        uint32_t slots;
        uint64_t most;
    } cases[] = {
        {0, 0, 1, 257},         /* nothing was answered lately: enough for a batch */
        {0, 1e9, 1000, 1256},   /* all slots can be busy */
        {5000, 1e6, 1, 5001},   /* what it accepts in 0.1 s */
        {5000, 25e6, 1, 5001},  /* four round trips fit in */
        {5000, 100e6, 1, 20001} /* far away: what it accepts in four */
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(worker_hand_max(cases[i].told, cases[i].trip_ns, cases[i].slots),
                         cases[i].most);
}

static void only_what_is_over_in_a_moment_is_not_shared_out(void **state)
{
    (void)state;
    static const struct {
        double slowest_ns;
        uint32_t slots;
        uint64_t soon;
    } cases[] = {
        {0, 8, 0},      /* nothing is known yet */
        {10e6, 1, 0},   /* 10 ms is no moment */
        {10e6, 4, 2},   /* for one slot */
        {1e6, 1, 5},    /* so many are done in 5 ms */
        {1e3, 1, 128},  /* enough for a call */
        {1, 1024, 128}, /* by any number of slots */
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(worker_soon(cases[i].slowest_ns, cases[i].slots), cases[i].soon);
}

static void prefetch_0_takes_one_at_a_time(void **state)
{
    (void)state;
    rig_job(200);
    rig.config.prefetch_max = 0;
    start();
    finished(200);
    assert_true(q_rig.served[QUEUE_TAKE] >= 200);
}

/* --- chance --- */

static void a_rival(struct prng *r)
{
    static struct ledger_run run[64];
    struct ledger_worker *w;
    size_t runs;
    if (ledger_join(q_rig.ledger, STR("rival"), 3, 1000, 1, 64, NULL, 0, q_rig.now_ms, &w) ||
        ledger_take(q_rig.ledger, w, 1000, 1 + prng_below(r, 3), q_rig.now_ms, run, &runs))
        return;
    for (size_t i = 0; i < runs; i++) {
        for (uint64_t k = 0; k < run[i].count; k++) {
            char digits[41];
            uint64_t first = (run[i].chunk + k) * 10;
            __int128 sum = (__int128)first * 10 + 45;
            struct ledger_result result = {.chunk = run[i].chunk + k,
                                           .epoch = run[i].epoch + k,
                                           .kind = LEDGER_SUM,
                                           .value = str_make(digits, str_from_i128(digits, sum))};
            if (prng_below(r, 4) > 0)
                ledger_commit(q_rig.ledger, STR("rival"), 3, &result, q_rig.now_ms);
        }
    }
    w = ledger_worker(q_rig.ledger, STR("rival"), 3);
    if (w)
        ledger_lost(q_rig.ledger, w, STR("died"), q_rig.now_ms);
    rig_sync();
}

static void trouble(struct prng *r)
{
    switch (prng_below(r, 12)) {
    case 0:
        rig_cut(0);
        break;
    case 1:
        rig_cut(1);
        break;
    case 2:
        rig_restart();
        break;
    case 3:
        rig_lose_worker();
        break;
    case 4:
    case 5:
        a_rival(r);
        break;
    default:
        rig_serve((int)prng_below(r, 2), false);
    }
}

/* In the place of one that was stopped. */
static void start_another(void)
{
    worker_free(rig.worker);
    rig.worker = NULL;
    rig.ended = false;
    q_rig.opened = 0;
    rig.config.incarnation++;
    start();
}

static void whatever_happens_each_chunk_counts_once(void **state)
{
    (void)state;
    const char *one = getenv("SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (one ? 1 : 20); seed++) {
        anew();
        struct prng r;
        prng_init(&r, seed);
        rig.config.incarnation = 1000 * seed;
        rig.config.kernel.slots = 1 + (uint32_t)prng_below(&r, 4);
        rig.config.kernel.simulate_ms = prng_below(&r, 2) ? 0 : 0.05;
        rig.config.kernel.fault_rate = prng_below(&r, 2) ? 0 : 0.1;
        rig.config.kernel.fault_seed = seed;
        rig.config.queue.retry_ms = 60000;
        rig_job(300);
        ledger_free(q_rig.ledger);
        q_rig.spec.max_attempts = 1000;
        assert_int_equal(ledger_new(STR("job"), &q_rig.spec, 1, 1, &rig_ops, &q_rig.ledger), 0);
        rig_sync();
        start();
        int steps = 0;
        for (; !rig.ended && steps < 100000; steps++) {
            turn();
            if (steps < 3000 && prng_below(&r, 600) == 0)
                worker_stop(rig.worker);
            if (rig.ended && rig.end == WORKER_STOPPED)
                start_another();
            if (steps < 3000 && prng_below(&r, 40) == 0)
                trouble(&r);
            if (prng_below(&r, 4) == 0)
                rig_up((int)prng_below(&r, 2));
            rig_serve(0, true);
            rig_serve(1, true);
        }
        if (!rig.ended)
            fail_msg("no end; again: SEED=%llu", (unsigned long long)seed);
        if (rig.end != WORKER_FINISHED)
            fail_msg("%s; again: SEED=%llu", rig.err.text, (unsigned long long)seed);
        all_done_once(300);
    }
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    for (size_t n = 1; n < 3000; n++) {
        anew();
        struct err err = {0};
        rig_job(20);
        rig.config.kernel.fault_rate = 0.3;
        rig.config.kernel.fault_seed = 3;
        mem_fail_at(n);
        int rc = worker_start(&rig.worker, q_rig.loop, &rig.config, &err);
        if (rc)
            rig.ended = true;
        int turns = 0;
        while (!rig.ended && turns++ < 3000 && !mem_failed()) {
            rig_up(0);
            rig_up(1);
            turn();
            for (int i = 0; i < 2; i++) {
                if (rig_first(i) && rig_first(i)->verb != QUEUE_TAKE && mem_failed())
                    break;
                rig_serve(i, true);
            }
        }
        int failed = mem_failed();
        mem_fail_at(0);
        if (!rig.ended)
            worker_stop(rig.worker);
        PLAY_UNTIL(rig.ended);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(does_a_job),
        STORY(slots_may_end_while_the_outbox_is_full),
        STORY(results_gather_without_answers_up_to_a_limit),
        STORY(cut_at_each_request),
        STORY(a_forgotten_grant_is_renewed),
        STORY(a_running_chunk_survives_a_restart),
        STORY(a_lost_chunk_is_dropped),
        STORY(a_lease_that_nobody_took_is_kept),
        STORY(a_newer_worker_replaces_it),
        STORY(a_canceled_job_stops_what_runs),
        STORY(a_paused_job_is_waited_for),
        STORY(waits_for_the_job_to_appear),
        STORY(ends_when_the_job_does_not_appear),
        STORY(a_forgotten_job_is_an_error),
        STORY(an_ended_job_is_no_work),
        STORY(as_many_are_taken_ahead_as_pays),
        cmocka_unit_test(no_more_is_in_hand_than_the_queue_accepts),
        STORY(only_what_is_over_in_a_moment_is_not_shared_out),
        STORY(prefetch_0_takes_one_at_a_time),
        STORY(whatever_happens_each_chunk_counts_once),
        STORY(without_memory_it_says_so),
    };
    return tap_run(tests);
}
