/* SPDX-License-Identifier: Apache-2.0 */
/* What ends a worker or does not: being told to stop, a queue that says no, chunks that fail. */
#include "worker_rig.h"

#include <ttg/version.h>

/* --- told to stop --- */

static void drains(void **state)
{
    (void)state;
    rig_job(100);
    rig.config.kernel.simulate_ms = 5;
    rig.config.kernel.slots = 3;
    start();
    PLAY_UNTIL(status().leased == 3);
    worker_stop(rig.worker);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_STOPPED);
    assert_int_equal(status().completed, 3); /* finished, not cut short */
    assert_int_equal(rig.totals.committed, 3);
    assert_int_equal(status().leased, 0);
    assert_int_equal(status().attempts, 3);
    assert_int_equal(status().workers, 0);
}

static void a_drain_joins_again_after_a_cut(void **state)
{
    (void)state;
    first_chunk_runs(100, 10);
    worker_stop(rig.worker);
    rig_restart(); /* and the grant is forgotten */
    turn();
    rig_up(1);
    rig_up(0);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_STOPPED);
    assert_int_equal(status().completed, 1);
    assert_int_equal(rig.totals.stale, 0);
    assert_int_equal(status().leased, 0);
}

static void a_second_signal_gives_back(void **state)
{
    (void)state;
    rig_job(100);
    rig.config.kernel.simulate_ms = 1e6;
    rig.config.kernel.slots = 2;
    start();
    PLAY_UNTIL(status().leased == 2);
    worker_stop(rig.worker);
    turn();
    assert_false(rig.ended);
    worker_stop(rig.worker);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_STOPPED);
    assert_int_equal(rig.totals.released, 2);
    assert_int_equal(status().completed, 0);
    assert_int_equal(status().attempts, 0); /* nobody is charged */
    assert_int_equal(status().leased, 0);
}

static void the_drain_time_ends(void **state)
{
    (void)state;
    rig_job(100);
    rig.config.kernel.simulate_ms = 1e6;
    rig.config.drain_ms = 50;
    start();
    PLAY_UNTIL(status().leased == 1);
    worker_stop(rig.worker);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.totals.released, 1);
    assert_int_equal(status().completed, 0);
}

/* A grant that comes after the stop goes straight back, though another chunk still runs. */
static void a_parked_take_is_given_back(void **state)
{
    (void)state;
    struct ledger_run run[64];
    size_t runs;
    rig_job(2);
    rig.config.kernel.slots = 2;
    rig.config.kernel.simulate_ms = 1e6;
    struct ledger_worker *other = another_joins(STR("other"), 9);
    assert_int_equal(ledger_take(q_rig.ledger, other, 77, 1, q_rig.now_ms, run, &runs), 0);
    start();
    PLAY_UNTIL(status().leased == 2);
    ASKED(0, QUEUE_TAKE);
    worker_stop(rig.worker);
    ledger_leave(q_rig.ledger, other, q_rig.now_ms);
    PLAY_UNTIL(q_rig.served[QUEUE_RELEASE] == 1);
    assert_false(rig.ended);
    assert_int_equal(status().leased, 1);
    assert_int_equal(status().ready, 1);
    worker_stop(rig.worker);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(status().leased, 0);
    assert_int_equal(status().workers, 0);
}

static void a_stop_before_the_job_is_there(void **state)
{
    (void)state;
    start();
    turn();
    worker_stop(rig.worker);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_STOPPED);
}

static void stops_without_a_connection(void **state)
{
    (void)state;
    struct err err;
    rig_up(0);
    assert_int_equal(worker_start(&rig.worker, q_rig.loop, &rig.config, &err), 0);
    turn();
    worker_stop(rig.worker);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_STOPPED);
}

/* With results that nobody takes, a second signal ends it all the same. */
static void gives_up_on_a_queue_that_is_gone(void **state)
{
    (void)state;
    rig_job(100);
    rig.config.kernel.kill_grace_ms = 10;
    start();
    ASKED(1, QUEUE_COMMIT);
    rig_cut(0);
    rig_cut(1);
    worker_stop(rig.worker);
    turn();
    assert_false(rig.ended);
    worker_stop(rig.worker);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_STOPPED);
}

/* --- the queue says no --- */

static void a_lost_queue_ends_it(void **state)
{
    (void)state;
    struct err err;
    rig_job(100);
    start();
    ASKED(1, QUEUE_COMMIT);
    rig_cut(0);
    err_set(&err, TTG_EUNREACH, "gone for good");
    queue_lose(q_rig.queues[0], &err);
    queue_lose(q_rig.queues[1], &err);
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_LOST);
    assert_string_equal(rig.err.text, "gone for good");
}

static void a_full_queue_is_waited_out(void **state)
{
    (void)state;
    rig_job(20);
    rig.config.queue.retry_ms = 10000;
    start();
    ASKED(1, QUEUE_COMMIT);
    q_rig.refuse = TTG_EFULL;
    for (int i = 0; i < 200; i++) {
        turn();
        rig_serve(0, true);
        rig_serve(1, true);
    }
    assert_false(rig.ended);
    assert_true(q_rig.served[QUEUE_COMMIT] < 10);
    q_rig.refuse = 0;
    finished(20);
    assert_int_equal(status().attempts, 20);
}

static void a_queue_that_stays_full_is_lost(void **state)
{
    (void)state;
    rig_job(20);
    rig.config.queue.retry_ms = 200;
    start();
    ASKED(1, QUEUE_COMMIT);
    q_rig.refuse = TTG_ENOSPC;
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_LOST);
}

static void what_the_queue_never_takes_ends_it(void **state)
{
    (void)state;
    rig_job(20);
    start();
    ASKED(1, QUEUE_COMMIT);
    q_rig.refuse = TTG_EPROTO;
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_LOST);
}

static void another_protocol_is_refused(void **state)
{
    (void)state;
    rig_job(20);
    q_rig.protocol = 2;
    q_rig.version = "9.9";
    start();
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_BROKEN);
    assert_int_equal(rig.err.code, TTG_EVERSION);
    assert_non_null(strstr(rig.err.text, "9.9"));
    assert_non_null(strstr(rig.err.text, TTG_VERSION));
}

static void an_input_that_is_not_there(void **state)
{
    (void)state;
    rig_job(1);
    ledger_free(q_rig.ledger);
    q_rig.spec.input = STR("lines:0123456789abcdef:/nowhere/at/all");
    assert_int_equal(ledger_new(STR("job"), &q_rig.spec, 1, 1, &rig_ops, &q_rig.ledger), 0);
    start();
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_BROKEN);
    assert_non_null(strstr(rig.err.text, "/nowhere/at/all"));
}

/* --- failures --- */

static void failures_are_told_once(void **state)
{
    (void)state;
    rig.config.kernel.fault_rate = 1;
    rig.config.kernel.slots = 2;
    rig_job(6);
    start();
    PLAY_UNTIL(rig.ended);
    assert_int_equal(rig.end, WORKER_FINISHED);
    assert_int_equal(status().dead, 6);
    assert_int_equal(status().attempts, 18);
    assert_int_equal(status().failures, 18);
}

/* The answer to a failure gets lost: it counts once, also when the chunk came back meanwhile. */
static void a_failure_is_repeated_after_a_cut(void **state)
{
    (void)state;
    for (int late = 0; late <= 1; late++) {
        for (int executed = 0; executed <= 1; executed++) {
            anew();
            rig.config.kernel.fault_rate = 1;
            rig_job(1);
            start();
            ASKED(1, QUEUE_FAIL);
            if (executed)
                assert_true(rig_serve(1, false));
            rig_restart();
            if (late)
                q_rig.now_ms += 1000; /* the retry's delay is over */
            ledger_tick(q_rig.ledger, q_rig.now_ms);
            rig_up(0);
            rig_up(1);
            PLAY_UNTIL(rig.ended);
            assert_int_equal(rig.end, WORKER_FINISHED);
            assert_int_equal(status().dead, 1);
            assert_int_equal(status().attempts, 3);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(drains),
        STORY(a_drain_joins_again_after_a_cut),
        STORY(a_second_signal_gives_back),
        STORY(the_drain_time_ends),
        STORY(a_parked_take_is_given_back),
        STORY(a_stop_before_the_job_is_there),
        STORY(stops_without_a_connection),
        STORY(gives_up_on_a_queue_that_is_gone),
        STORY(a_lost_queue_ends_it),
        STORY(a_full_queue_is_waited_out),
        STORY(a_queue_that_stays_full_is_lost),
        STORY(what_the_queue_never_takes_ends_it),
        STORY(another_protocol_is_refused),
        STORY(an_input_that_is_not_there),
        STORY(failures_are_told_once),
        STORY(a_failure_is_repeated_after_a_cut),
    };
    return tap_run(tests);
}
