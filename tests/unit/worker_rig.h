/* SPDX-License-Identifier: Apache-2.0 */
/* worker_rig - a worker against a ledger, over connections that are cut wherever the story says:
 * connection 0 is that of takes and joins, 1 that of commits and failures. */
#ifndef TESTS_WORKER_RIG_H
#define TESTS_WORKER_RIG_H

#include "queue_rig.h"

#include "worker/worker_state.h"

static struct {
    struct worker *worker;
    struct worker_config config;
    bool ended;
    enum worker_end end;
    struct worker_totals totals;
    struct err err;
} rig;

static inline void on_end(void *ctx, enum worker_end end, const struct worker_totals *totals,
                          const struct err *err)
{
    (void)ctx;
    assert_false(rig.ended);
    rig.ended = true;
    rig.end = end;
    rig.totals = *totals;
    rig.err = *err;
}

static inline int setup(void **state)
{
    (void)state;
    q_rig_setup();
    memset(&rig, 0, sizeof rig);
    worker_config_init(&rig.config);
    rig.config.job = "job";
    rig.config.name = "w";
    rig.config.incarnation = 5;
    rig.config.queue.engine = fake_new;
    rig.config.queue.retry_ms = 1000;
    rig.config.on_end = on_end;
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    worker_free(rig.worker);
    q_rig_teardown();
    return 0;
}

/* For stories that are told more than once. */
static inline void anew(void)
{
    teardown(NULL);
    setup(NULL);
}

static inline void start(void)
{
    struct err err = {0};
    assert_int_equal(worker_start(&rig.worker, q_rig.loop, &rig.config, &err), 0);
    rig_up(0);
    rig_up(1);
}

static inline void turn(void)
{
    assert_int_equal(loop_turn(q_rig.loop, 1), 0);
    q_rig.now_ms += 5;
}

/* Lets all through until the condition holds; fails after about 20 s. */
#define PLAY_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int turns_ = 0;                                                                            \
        while (!(condition)) {                                                                     \
            assert_true(turns_++ < 20000);                                                         \
            turn();                                                                                \
            while (rig_serve(0, true) || rig_serve(1, true))                                       \
                ;                                                                                  \
        }                                                                                          \
    } while (0)

/* Runs the worker until it asks this of the queue; nothing is answered there meanwhile. */
#define ASKED(i, what)                                                                             \
    do {                                                                                           \
        int turns_ = 0;                                                                            \
        while (!rig_first(i) || rig_first(i)->verb != (what)) {                                    \
            assert_true(turns_++ < 20000);                                                         \
            turn();                                                                                \
            rig_serve(1 - (i), true);                                                              \
            if (rig_first(i) && rig_first(i)->verb != (what))                                      \
                rig_serve(i, true);                                                                \
        }                                                                                          \
    } while (0)

static inline struct ledger_status status(void)
{
    struct ledger_status s;
    ledger_status(q_rig.ledger, &s);
    return s;
}

static inline void all_done_once(uint64_t chunks)
{
    for (uint64_t i = 0; i < chunks; i++)
        assert_int_equal(q_rig.results[i], 1);
    assert_int_equal(status().completed, chunks);
    assert_int_equal(status().state, LEDGER_FINISHED);
    assert_true(status().sum == (__int128)(chunks * 10) * (chunks * 10 - 1) / 2);
}

static inline void finished(uint64_t chunks)
{
    PLAY_UNTIL(rig.ended);
    if (rig.end != WORKER_FINISHED)
        fail_msg("end %d: %s", (int)rig.end, rig.err.text);
    all_done_once(chunks);
    assert_int_equal(status().workers, 0); /* it said good-bye */
}

/* Connection 0, of takes and joins, is answered; commits are not. */
static inline void serve_takes(int turns)
{
    for (int i = 0; i < turns; i++) {
        turn();
        rig_serve(0, true);
    }
}

/* A worker that has taken a chunk of a new job and runs it. */
static inline void first_chunk_runs(uint64_t chunks, double simulate_ms)
{
    rig_job(chunks);
    rig.config.kernel.simulate_ms = simulate_ms;
    start();
    while (!q_rig.served[QUEUE_TAKE])
        serve_takes(1);
    turn();
}

static inline struct ledger_worker *another_joins(struct str name, uint64_t incarnation)
{
    struct ledger_worker *w;
    assert_int_equal(
        ledger_join(q_rig.ledger, name, incarnation, 77, 1, 64, NULL, 0, q_rig.now_ms, &w), 0);
    return w;
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
