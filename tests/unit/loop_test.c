/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "io/loop.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static struct loop *loop;
static int fired[4];

static int open_loop(void **state)
{
    (void)state;
    fired[0] = fired[1] = fired[2] = fired[3] = 0;
    return loop_open(&loop, NULL);
}

/* Events and timers are the same when events are expected soon. */
static int open_soon_loop(void **state)
{
    int rc = open_loop(state);
    if (!rc)
        loop_expect_soon(loop);
    return rc;
}

static int close_loop(void **state)
{
    (void)state;
    loop_close(loop);
    return 0;
}

static struct loop_timer timers[3];

static void on_timer_order(struct loop_timer *t)
{
    fired[t - timers] = ++fired[3];
    if (fired[3] == 3)
        loop_stop(loop);
}

static void timers_fire_in_order(void **state)
{
    (void)state;
    static const uint64_t after_ms[] = {3, 1, 2};
    for (int i = 0; i < 3; i++) {
        loop_timer_init(&timers[i], loop, on_timer_order);
        assert_int_equal(loop_timer_after_ms(&timers[i], 100), 0);
        assert_int_equal(loop_timer_after_ms(&timers[i], after_ms[i]), 0);
    }
    uint64_t start_ns = loop_now_ns(loop);
    assert_int_equal(loop_run(loop), 0);
    assert_true(loop_now_ns(loop) - start_ns >= 3000000);
    assert_int_equal(fired[1], 1);
    assert_int_equal(fired[2], 2);
    assert_int_equal(fired[0], 3);
    assert_false(loop_timer_is_set(&timers[0]));
}

static void stopped_timers_stay_silent(void **state)
{
    (void)state;
    loop_timer_init(&timers[0], loop, on_timer_order);
    loop_timer_stop(&timers[0]);
    loop_timer_after_ms(&timers[0], 0);
    loop_timer_stop(&timers[0]);
    loop_turn(loop, 1);
    assert_int_equal(fired[3], 0);
    loop_timer_after_ms(&timers[0], UINT64_MAX); /* far away, not in the past */
    loop_turn(loop, 0);
    assert_int_equal(fired[3], 0);
    loop_timer_stop(&timers[0]);
}

static struct loop_poll polls[2];

/* Both are ready in the same turn; whoever comes first stops the other. */
static void on_ready_stop_other(struct loop_poll *p, unsigned events)
{
    assert_true(events & LOOP_READ);
    fired[3]++;
    loop_poll_stop(&polls[p == &polls[0]]);
}

static void a_stopped_poll_gets_no_event_of_the_same_turn(void **state)
{
    (void)state;
    int fds[2][2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(fds[i]), 0);
        assert_int_equal(
            loop_poll_start(&polls[i], loop, fds[i][0], LOOP_READ, on_ready_stop_other), 0);
        assert_int_equal(write(fds[i][1], "x", 1), 1);
    }
    loop_turn(loop, 1000);
    assert_int_equal(fired[3], 1);
    for (int i = 0; i < 2; i++) {
        loop_poll_stop(&polls[i]);
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

static void on_timer_stop_poll(struct loop_timer *t)
{
    (void)t;
    loop_poll_stop(&polls[0]);
}

/* A time limit and the event come in the same turn, and the limit closes. */
static void a_poll_stopped_by_a_timer_gets_no_event_of_the_same_turn(void **state)
{
    (void)state;
    int fds[2];
    struct loop_timer timer;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(loop_poll_start(&polls[0], loop, fds[0], LOOP_READ, on_ready_stop_other), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_timer_init(&timer, loop, on_timer_stop_poll);
    assert_int_equal(loop_timer_after_ms(&timer, 0), 0);
    assert_int_equal(loop_turn(loop, 0), 0);
    assert_int_equal(fired[3], 0);
    close(fds[0]);
    close(fds[1]);
}

static void on_ready_note(struct loop_poll *p, unsigned events)
{
    (void)p;
    fired[0] = (int)events;
}

static void hang_up_is_told_even_when_nothing_is_asked(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(loop_poll_start(&polls[0], loop, fds[0], LOOP_READ, on_ready_note), 0);
    assert_int_equal(loop_poll_change(&polls[0], 0), 0);
    loop_turn(loop, 0);
    assert_int_equal(fired[0], 0);
    close(fds[1]);
    loop_turn(loop, 1000);
    assert_int_equal(fired[0], LOOP_HANGUP);
    loop_poll_stop(&polls[0]);
    close(fds[0]);
    assert_int_not_equal(loop_poll_start(&polls[0], loop, -1, LOOP_READ, on_ready_note), 0);
    loop_poll_stop(&polls[0]); /* never started */
}

static struct loop_async async;

static void on_async_count(struct loop_async *a)
{
    (void)a;
    fired[0]++;
}

static void *send_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++)
        loop_async_send(&async);
    return NULL;
}

static void wake_ups_of_other_threads_arrive(void **state)
{
    (void)state;
    loop_async_start(&async, loop, on_async_count);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, send_often, NULL), 0);
    while (fired[0] == 0)
        assert_int_equal(loop_turn(loop, 1000), 0);
    pthread_join(t, NULL);
    loop_turn(loop, 0);
    assert_in_range(fired[0], 1, 100);
    loop_async_send(&async);
    loop_async_stop(&async);
    int before = fired[0];
    loop_turn(loop, 0);
    assert_int_equal(fired[0], before);
}

static void on_signal_note(struct loop_signal *s)
{
    fired[0] = s->signo;
}

static void signals_become_events(void **state)
{
    (void)state;
    struct loop_signal s;
    assert_int_equal(loop_signal_start(&s, loop, SIGUSR1, on_signal_note), 0);
    raise(SIGUSR1);
    assert_int_equal(fired[0], 0);
    loop_turn(loop, 1000);
    assert_int_equal(fired[0], SIGUSR1);
    loop_signal_stop(&s);
    struct sigaction sa;
    sigaction(SIGUSR1, NULL, &sa);
    assert_ptr_equal(sa.sa_handler, SIG_DFL);
    assert_int_not_equal(loop_signal_start(&s, loop, SIGKILL, on_signal_note), 0);
}

static void on_turn_count(struct loop_hook *h)
{
    fired[0]++;
    loop_hook_stop(h);
}

static void on_turn_look_again(struct loop_hook *h)
{
    fired[1]++;
    if (fired[1] == 1)
        loop_look_again(loop);
    else
        loop_stop(loop);
    (void)h;
}

/* Nothing else would end the first wait. */
static void who_looks_again_does_not_wait(void **state)
{
    (void)state;
    struct loop_hook h;
    loop_hook_start(&h, loop, on_turn_look_again);
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(fired[1], 2);
    loop_hook_stop(&h);
}

static void hooks_run_before_the_wait(void **state)
{
    (void)state;
    struct loop_hook h;
    loop_hook_start(&h, loop, on_turn_count);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    assert_int_equal(fired[0], 1);
}

/* Looking again instead of sleeping stops when it does not pay, and comes back when it does. */
static void spinning_backs_off(void **state)
{
    (void)state;
    struct loop_spin s = {0};
    unsigned spins = 0;
    for (int i = 0; i < 100000; i++)
        if (loop_spin_try(&s)) {
            spins++;
            loop_spin_ended(&s, false);
        }
    assert_in_range(spins, 90, 120); /* 1 of 1024, after the first few */
    for (int i = 0; i < LOOP_SPIN_PAUSE_MAX; i++)
        if (loop_spin_try(&s))
            loop_spin_ended(&s, true);
    for (int i = 0; i < 20; i++) {
        assert_true(loop_spin_try(&s));
        loop_spin_ended(&s, true);
    }
    loop_spin_ended(&s, false);
    assert_false(loop_spin_try(&s));
    assert_true(loop_spin_try(&s));
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct loop *l = NULL;
        struct loop_timer t;
        mem_fail_at(n);
        int rc = loop_open(&l, NULL);
        if (!rc) {
            loop_timer_init(&t, l, on_timer_order);
            rc = loop_timer_after_ms(&t, 1);
            loop_timer_stop(&t);
        }
        int failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        loop_close(l);
        if (!failed)
            break;
    }
}

#define WITH_LOOP(f) cmocka_unit_test_setup_teardown(f, open_loop, close_loop)
#define WITH_SOON_LOOP(f)                                                                          \
    {                                                                                              \
#f "_soon", f, open_soon_loop, close_loop, NULL                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(timers_fire_in_order),
        WITH_LOOP(stopped_timers_stay_silent),
        WITH_LOOP(a_stopped_poll_gets_no_event_of_the_same_turn),
        WITH_LOOP(a_poll_stopped_by_a_timer_gets_no_event_of_the_same_turn),
        WITH_LOOP(hang_up_is_told_even_when_nothing_is_asked),
        WITH_LOOP(wake_ups_of_other_threads_arrive),
        WITH_LOOP(signals_become_events),
        WITH_LOOP(hooks_run_before_the_wait),
        WITH_LOOP(who_looks_again_does_not_wait),
        WITH_SOON_LOOP(timers_fire_in_order),
        WITH_SOON_LOOP(stopped_timers_stay_silent),
        WITH_SOON_LOOP(wake_ups_of_other_threads_arrive),
        WITH_SOON_LOOP(hooks_run_before_the_wait),
        WITH_SOON_LOOP(who_looks_again_does_not_wait),
        cmocka_unit_test(spinning_backs_off),
        cmocka_unit_test(survives_failed_allocations),
    };
    return tap_run(tests);
}
