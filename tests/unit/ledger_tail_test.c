/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a job with a slow worker: who gets nothing, until when, and what it is good for. */
#include "ledger_kit.h"

#include "base/prng.h"

#include <math.h>

/* --- one refusal, and all that ends it --- */

static enum ledger_verdict ran(struct ledger *l, const char *name, struct ledger_run run,
                               uint64_t us, uint64_t now_ms)
{
    struct ledger_result r = {.chunk = run.chunk,
                              .epoch = run.epoch,
                              .duration_us = us,
                              .kind = LEDGER_SUM,
                              .value = STR("1")};
    return ledger_commit(l, str_of(name), 1, &r, now_ms);
}

struct pair {
    struct ledger *l;
    struct ledger_worker *quick, *slow;
    struct ledger_run has; /* of the quick one */
    uint64_t now_ms;
};

enum { QUICK_US = 20000, SLOW_US = 200000 };

/* Fourteen chunks are done and the quick worker has the next one since now. */
static struct pair warmed(uint64_t chunks)
{
    struct pair p = {.l = make(chunks), .now_ms = 10000};
    p.quick = join(p.l, "quick", 1, 1);
    p.slow = join(p.l, "slow", 1, 1);
    for (int i = 0; i < 7; i++) {
        struct ledger_run run = take(p.l, p.slow, 1, p.now_ms);
        p.now_ms += SLOW_US / 1000;
        assert_int_equal(ran(p.l, "slow", run, SLOW_US, p.now_ms), LEDGER_ACCEPTED);
        run = take(p.l, p.quick, 1, p.now_ms);
        p.now_ms += QUICK_US / 1000;
        assert_int_equal(ran(p.l, "quick", run, QUICK_US, p.now_ms), LEDGER_ACCEPTED);
    }
    p.has = take(p.l, p.quick, 1, p.now_ms);
    assert_int_equal(p.has.count, 1);
    return p;
}

static uint64_t waits(const struct pair *p, uint64_t now_ms)
{
    return ledger_wait_ms(p->l, p->slow, 9, now_ms);
}

static bool gets(struct pair *p, uint64_t now_ms)
{
    return waits(p, now_ms) == 0 && take(p->l, p->slow, 1, now_ms).count > 0;
}

static void the_slow_one_gets_nothing_in_the_end(void **state)
{
    (void)state;
    struct pair p = warmed(20);
    /* unless nothing is heard: 2 * 20 ms, and a grace */
    assert_int_equal(waits(&p, p.now_ms), p.now_ms + 50);
    assert_int_equal(waits(&p, p.now_ms + 45), p.now_ms + 55);
    assert_int_equal(ledger_wait_ms(p.l, p.quick, 9, p.now_ms), 0);
    assert_int_equal(ledger_wait_ms(p.l, p.slow, 8, p.now_ms), 0); /* the take will be refused */
    assert_ptr_equal(ledger_waiting(p.l, p.now_ms), p.slow);
    assert_null(ledger_waiting(p.l, p.now_ms + 60)); /* it may take now */
    struct ledger_worker *other = join(p.l, "other", 1, 1);
    assert_null(ledger_waiting(p.l, p.now_ms)); /* this one may */
    ledger_leave(p.l, other, p.now_ms);
    ledger_pause(p.l, p.now_ms);
    assert_int_equal(waits(&p, p.now_ms), 0);
    ledger_resume(p.l, p.now_ms);
    assert_false(gets(&p, p.now_ms + 49));
    assert_true(gets(&p, p.now_ms + 50));
    ledger_free(p.l);
}

static void more_than_the_end_is_for_all(void **state)
{
    (void)state;
    struct pair p = warmed(15 + 7); /* in 150 ms the quick one ends 7, and has one of them */
    assert_true(gets(&p, p.now_ms));
    ledger_free(p.l);
    p = warmed(15 + 6);
    assert_false(gets(&p, p.now_ms));
    ledger_free(p.l);
}

static void who_is_not_there_is_not_waited_for(void **state)
{
    (void)state;
    enum { LOST, LEFT, FAILED, RELEASED, CASES };
    for (int i = 0; i < CASES; i++) {
        struct pair p = warmed(20);
        enum ledger_fate fate;
        uint64_t retry_ms;
        assert_false(gets(&p, p.now_ms));
        ledger_effects(p.l);
        if (i == LOST)
            ledger_lost(p.l, p.quick, STR("silent"), p.now_ms);
        else if (i == LEFT)
            ledger_leave(p.l, p.quick, p.now_ms);
        else if (i == FAILED)
            ledger_fail(p.l, p.has.chunk, p.has.epoch, false, STR("no"), p.now_ms, &fate,
                        &retry_ms);
        else
            ledger_release(p.l, p.has.chunk, p.has.epoch, p.now_ms);
        assert_int_equal(ledger_effects(p.l) & LEDGER_WAKE_TAKERS, LEDGER_WAKE_TAKERS);
        assert_true(gets(&p, p.now_ms));
        status(p.l);
        ledger_free(p.l);
    }
}

static void who_is_idle_and_does_not_ask_is_not_waited_for(void **state)
{
    (void)state;
    struct pair p = warmed(20);
    assert_int_equal(ran(p.l, "quick", p.has, QUICK_US, p.now_ms), LEDGER_ACCEPTED);
    assert_false(gets(&p, p.now_ms));
    assert_int_equal(waits(&p, p.now_ms), p.now_ms + 30);
    assert_true(gets(&p, p.now_ms + 30));
    ledger_free(p.l);
}

static void who_has_not_come_back_is_not_waited_for(void **state)
{
    (void)state;
    struct pair p = warmed(20);
    ledger_boot(p.l, 2, p.now_ms, 0);
    join(p.l, "slow", 1, 1);
    assert_true(gets(&p, p.now_ms));
    ledger_free(p.l);
}

static void too_little_is_known_of_a_few_chunks(void **state)
{
    (void)state;
    struct ledger *l = make(10);
    struct pair p = {.l = l, .quick = join(l, "quick", 1, 1), .slow = join(l, "slow", 1, 1)};
    for (uint64_t i = 0, now_ms = 10000; i < 3; i++, now_ms += 200) {
        ran(l, "slow", take(l, p.slow, 1, now_ms), SLOW_US, now_ms + 200);
        ran(l, "quick", take(l, p.quick, 1, now_ms), QUICK_US, now_ms + 200);
    }
    assert_int_equal(take(l, p.quick, 1, 10600).count, 1);
    assert_true(gets(&p, 10600));
    ledger_free(l);
}

/* What waits with the quick one stays there, unless that one does not go on. */
static void the_slow_one_does_not_steal(void **state)
{
    (void)state;
    struct pair p = warmed(40);
    struct ledger_worker *other;
    struct ledger_run runs[64];
    size_t n;
    assert_int_equal(ledger_take(p.l, p.quick, 9, 64, p.now_ms, runs, &n), 0);
    other = join(p.l, "other", 1, 32);
    assert_int_equal(ledger_take(p.l, other, 9, 64, p.now_ms, runs, &n), 0);
    struct ledger_status s = status(p.l);
    assert_int_equal(s.ready + s.fresh, 0);
    for (int i = 0; i < 5; i++) {
        struct ledger_lease lease;
        assert_true(ledger_lease(p.quick, 0, &lease));
        p.now_ms += QUICK_US / 1000;
        assert_int_equal(ran(p.l, "quick", (struct ledger_run){lease.chunk, 1, lease.epoch, 1},
                             QUICK_US, p.now_ms),
                         LEDGER_ACCEPTED);
    }
    assert_int_equal(status(p.l).stolen, 0);
    assert_false(gets(&p, p.now_ms));
    assert_int_equal(waits(&p, p.now_ms), p.now_ms + 50);
    assert_true(gets(&p, p.now_ms + 50));
    assert_int_equal(status(p.l).stolen, 1);
    ledger_free(p.l);
}

static void the_slow_one_gets_no_reserve(void **state)
{
    (void)state;
    struct pair p = warmed(15 + 12);
    assert_true(gets(&p, p.now_ms));
    assert_true(waits(&p, p.now_ms) > 0); /* the second would take 400 ms: the others end 14 */
    ledger_free(p.l);
    p = warmed(15 + 20);
    assert_true(gets(&p, p.now_ms));
    assert_int_equal(waits(&p, p.now_ms), 0);
    ledger_free(p.l);
}

/* --- whole jobs in virtual time, against a queue that always gives --- */

enum { WORKERS_MAX = 8, SLOTS_MAX = 4 };

enum length { ALIKE, JITTER, RANDOM, WILD };

struct fleet {
    uint64_t chunks, us;           /* of a chunk of a worker of speed 1 */
    uint32_t workers, slots, slow; /* the first is so many times slower */
    enum length length;
};

struct played {
    struct ledger *l; /* NULL: it always gives */
    struct ledger_worker *workers[WORKERS_MAX];
    struct ledger_run has[WORKERS_MAX][SLOTS_MAX];
    uint64_t end_us[WORKERS_MAX][SLOTS_MAX], began_us[WORKERS_MAX][SLOTS_MAX];
    uint64_t again_us[WORKERS_MAX];
    uint64_t given, refused;
};

static uint64_t chunk_us(const struct fleet *f, uint64_t seed, uint64_t chunk, uint32_t w)
{
    struct prng p;
    prng_init(&p, seed * 1000003 + chunk * 8 + w);
    double even = (double)prng_below(&p, 1000000) / 1e6, times = 1;
    if (f->length == JITTER)
        times = 0.95 + 0.1 * even;
    else if (f->length == RANDOM)
        times = 0.1 + 1.8 * even;
    else if (f->length == WILD)
        times = -log(1 - even * 0.9999);
    return (uint64_t)((double)f->us * times * (w == 0 ? f->slow : 1)) + 1;
}

static bool play_take(struct played *p, const struct fleet *f, uint32_t w, uint64_t us,
                      struct ledger_run *ret_run)
{
    if (!p->l) {
        *ret_run = (struct ledger_run){.chunk = p->given};
        return p->given < f->chunks && p->given++ < f->chunks;
    }
    uint64_t again_ms = ledger_wait_ms(p->l, p->workers[w], 9, us / 1000);
    if (again_ms) {
        assert_true(again_ms > us / 1000);
        p->again_us[w] = again_ms * 1000;
        p->refused++;
        return false;
    }
    *ret_run = take(p->l, p->workers[w], 1, us / 1000);
    return ret_run->count > 0;
}

/* All with a free slot ask, the one that has just ended a chunk last. */
static void play_takes(struct played *p, const struct fleet *f, uint64_t seed, uint32_t last,
                       uint64_t us)
{
    for (uint32_t i = 1; i <= f->workers; i++) {
        uint32_t w = (last + i) % f->workers;
        p->again_us[w] = UINT64_MAX;
        for (uint32_t s = 0; s < f->slots; s++) {
            if (p->end_us[w][s] != UINT64_MAX)
                continue;
            if (!play_take(p, f, w, us, &p->has[w][s]))
                break;
            p->began_us[w][s] = us;
            p->end_us[w][s] = us + chunk_us(f, seed, p->has[w][s].chunk, w);
        }
    }
}

/* The time that all of it took. */
static uint64_t play(struct played *p, const struct fleet *f, uint64_t seed)
{
    uint64_t us = 10000000, done = 0, begin_us = us;
    for (uint32_t w = 0; w < WORKERS_MAX; w++)
        for (uint32_t s = 0; s < SLOTS_MAX; s++)
            p->end_us[w][s] = UINT64_MAX;
    play_takes(p, f, seed, 0, us);
    while (done < f->chunks) {
        uint32_t who = 0, slot = SLOTS_MAX;
        us = UINT64_MAX;
        for (uint32_t w = 0; w < f->workers; w++) {
            if (p->again_us[w] < us) {
                us = p->again_us[w];
                who = w;
                slot = SLOTS_MAX;
            }
            for (uint32_t s = 0; s < f->slots; s++) {
                if (p->end_us[w][s] < us) {
                    us = p->end_us[w][s];
                    who = w;
                    slot = s;
                }
            }
        }
        assert_true(us != UINT64_MAX);
        if (slot < SLOTS_MAX) {
            char name[] = "w0";
            name[1] = (char)('0' + who);
            done++;
            p->end_us[who][slot] = UINT64_MAX;
            if (p->l)
                assert_int_equal(
                    ran(p->l, name, p->has[who][slot], us - p->began_us[who][slot], us / 1000),
                    LEDGER_ACCEPTED);
        }
        play_takes(p, f, seed, who, us);
    }
    return us - begin_us;
}

static double with_the_rule(const struct fleet *f, uint64_t seed, uint64_t *refused)
{
    struct played plain = {0}, p = {.l = make(f->chunks)};
    for (uint32_t w = 0; w < f->workers; w++) {
        char name[] = "w0";
        name[1] = (char)('0' + w);
        p.workers[w] = join(p.l, name, 1, f->slots);
    }
    uint64_t before = play(&plain, f, seed), after = play(&p, f, seed);
    *refused += p.refused;
    ledger_free(p.l);
    return (double)after / (double)before;
}

static void jobs_end_earlier_and_none_later(void **state)
{
    (void)state;
    static const struct {
        struct fleet f;
        double less; /* of the time, on average */
        bool never;  /* nobody is refused */
    } cases[] = {
        {{400, 10000, 8, 1, 10, JITTER}, 0.02, false},
        {{400, 10000, 8, 4, 10, JITTER}, 0.005, false},
        {{400, 2000000, 8, 1, 10, JITTER}, 0.02, false},
        {{400, 10000, 8, 1, 10, RANDOM}, 0.005, false},
        {{400, 10000, 8, 1, 100, JITTER}, 0, false},
        {{400, 10000, 8, 1, 10, WILD}, 0, false},
        {{400, 10000, 2, 4, 10, RANDOM}, 0, false},
        {{400, 10000, 8, 1, 3, JITTER}, 0.01, false},
        {{100, 2000000, 8, 4, 3, JITTER}, 0.001, false},
        {{20, 10000, 8, 1, 10, ALIKE}, 0, true}, /* few chunks: nothing is known */
        {{400, 500, 8, 1, 10, JITTER}, 0, true}, /* short ones: not worth it */
        {{400, 10000, 8, 1, 1, ALIKE}, 0, true},
        {{400, 10000, 8, 4, 1, JITTER}, 0, true},
        {{400, 10000, 8, 1, 1, RANDOM}, 0, true},
        {{400, 2000000, 3, 4, 1, WILD}, 0, true},
    };
    enum { SEEDS = 20 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t refused = 0;
        double sum = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            double times = with_the_rule(&cases[i].f, seed, &refused);
            if (times > 1.0001)
                fail_msg("case %zu, seed %d: %.4f times as long", i, (int)seed, times);
            sum += times;
        }
        if (sum / SEEDS > 1.0001 - cases[i].less || (refused > 0 && cases[i].never))
            fail_msg("case %zu: %.4f times as long, %d refused", i, sum / SEEDS, (int)refused);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slow_one_gets_nothing_in_the_end),
        cmocka_unit_test(more_than_the_end_is_for_all),
        cmocka_unit_test(who_is_not_there_is_not_waited_for),
        cmocka_unit_test(who_is_idle_and_does_not_ask_is_not_waited_for),
        cmocka_unit_test(who_has_not_come_back_is_not_waited_for),
        cmocka_unit_test(too_little_is_known_of_a_few_chunks),
        cmocka_unit_test(the_slow_one_does_not_steal),
        cmocka_unit_test(the_slow_one_gets_no_reserve),
        cmocka_unit_test(jobs_end_earlier_and_none_later),
    };
    return tap_run(tests);
}
