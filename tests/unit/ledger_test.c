/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of docs/guarantees.md about leases, epochs and attempts, one small story each. */
#include "ledger_kit.h"

#include "base/buf.h"

static void commits_once(void **state)
{
    (void)state;
    struct ledger *l = make(10);
    struct ledger_worker *w = join(l, "a", 7, 4);
    struct ledger_run run = take(l, w, 4, 1000);
    static const struct {
        const char *what, *name;
        uint64_t incarnation, chunk, epoch_plus;
        const char *value;
        enum ledger_verdict verdict;
    } cases[] = {
        {"wrong epoch", "a", 7, 0, 1, "5", LEDGER_STALE},
        {"no such chunk", "a", 7, 10, 0, "5", LEDGER_INVALID},
        {"no number", "a", 7, 0, 0, "5x", LEDGER_INVALID},
        {"empty", "a", 7, 0, 0, "", LEDGER_INVALID},
        {"right", "a", 7, 0, 0, "5", LEDGER_ACCEPTED},
        {"its answer got lost", "a", 7, 0, 0, "5", LEDGER_AGAIN},
        {"by another incarnation", "a", 8, 0, 0, "5", LEDGER_STALE},
        {"by another worker", "b", 7, 0, 0, "5", LEDGER_STALE},
        {"never leased", "a", 7, 5, 5, "5", LEDGER_STALE},
        {"out of order", "a", 7, 3, 3, "-6", LEDGER_ACCEPTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("# %s\n", cases[i].what);
        assert_int_equal(commit(l, cases[i].name, cases[i].incarnation, cases[i].chunk,
                                run.epoch + cases[i].epoch_plus, cases[i].value),
                         cases[i].verdict);
    }
    assert_int_equal(status(l).completed, 2);
    assert_int_equal(status(l).stale_dropped, 4);
    assert_true(status(l).sum == -1);
    ledger_free(l);
}

/* A worker's next take may overtake the end of its last chunk: refused then, it waits, and whatever
 * frees the slot has to wake it, as nothing else would. */
static void a_free_slot_wakes_takers(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct ledger *l = make(2);
        struct ledger_worker *w = join(l, "a", 1, 1);
        enum ledger_fate fate;
        uint64_t retry_ms;
        struct ledger_run run = take(l, w, 1, 1000);
        assert_int_equal(run.count, 1);
        assert_int_equal(take(l, w, 1, 1000).count, 0);
        ledger_effects(l);
        if (how == 0)
            assert_int_equal(commit(l, "a", 1, run.chunk, run.epoch, "5"), LEDGER_ACCEPTED);
        else
            assert_int_equal(
                ledger_fail(l, run.chunk, run.epoch, true, STR("no"), 1000, &fate, &retry_ms), 0);
        assert_true(ledger_effects(l) & LEDGER_WAKE_TAKERS);
        assert_int_equal(take(l, w, 1, 1000).count, 1);
        ledger_free(l);
    }
}

static void a_loss_charges_one_chunk_per_slot(void **state)
{
    (void)state;
    struct ledger *l = make(100);
    struct ledger_worker *w = join(l, "a", 1, 2);
    struct ledger_run run = take(l, w, 10, 1000);
    assert_int_equal(run.count, 10);
    assert_int_equal(commit(l, "a", 1, 0, run.epoch, "0"), LEDGER_ACCEPTED);
    assert_int_equal(ledger_lost(l, w, STR("silent"), 5000), 9);
    for (uint64_t i = 1; i < 10; i++) {
        struct ledger_chunk_info info;
        ledger_chunk_info(l, i, &info);
        assert_int_equal(info.place, LEDGER_AT_READY);
        assert_int_equal(info.attempts, i <= 2); /* 1 and 2 ran, the others were waiting */
    }
    struct ledger_worker *b = join(l, "b", 2, 50);
    struct ledger_run runs[64];
    size_t n;
    assert_int_equal(ledger_take(l, b, 9, 20, 6000, runs, &n), 0);
    assert_int_equal(n, 2); /* two at attempt 2, then the others and fresh ones at attempt 1 */
    assert_int_equal(runs[0].count, 2);
    assert_int_equal(runs[0].attempt, 2);
    assert_int_equal(runs[1].chunk, 3);
    assert_int_equal(runs[1].count, 18);
    assert_int_equal(runs[1].attempt, 1);
    /* the lost worker wakes up: what was taken over is stale */
    assert_int_equal(commit(l, "a", 1, 1, run.epoch + 1, "0"), LEDGER_STALE);
    assert_int_equal(status(l).reclaimed, 9);
    assert_int_equal(status(l).workers_lost, 1);
    ledger_free(l);
}

static void a_late_commit_counts_while_nobody_took_over(void **state)
{
    (void)state;
    struct ledger *l = make(10);
    struct ledger_worker *w = join(l, "a", 1, 1);
    struct ledger_run run = take(l, w, 1, 1000);
    ledger_lost(l, w, STR("silent"), 5000);
    assert_int_equal(commit(l, "a", 1, 0, run.epoch, "0"), LEDGER_ACCEPTED);
    assert_int_equal(status(l).attempts, 1); /* charged by the loss, not twice */
    assert_int_equal(commit(l, "a", 1, 0, run.epoch, "0"), LEDGER_AGAIN);
    ledger_free(l);
}

static void killers_become_dead_letters(void **state)
{
    (void)state;
    struct ledger *l = make(2);
    for (uint64_t i = 1; i <= 3; i++) {
        struct ledger_worker *w = join(l, "a", i, 1);
        assert_int_equal(take(l, w, 1, 1000).attempt, i);
        ledger_lost(l, w, STR("signal 11"), 1000);
    }
    struct ledger_chunk_info info;
    struct ledger_reason reason;
    ledger_chunk_info(l, 0, &info);
    assert_int_equal(info.place, LEDGER_AT_DEAD);
    assert_int_equal(info.reason_count, 3);
    assert_true(ledger_chunk_reason(l, 0, 2, &reason));
    assert_true(str_eq(reason.text, STR("signal 11")));
    assert_int_equal(reason.attempt, 3);

    struct ledger_worker *w = join(l, "a", 9, 1);
    struct ledger_run run = take(l, w, 1, 1000);
    assert_int_equal(run.chunk, 1);
    assert_int_equal(commit(l, "a", 9, 1, run.epoch, "1"), LEDGER_ACCEPTED);
    assert_int_equal(status(l).state, LEDGER_FINISHED);
    struct ledger_run runs[1];
    size_t n;
    assert_int_equal(ledger_take(l, w, 9, 1, 1000, runs, &n), TTG_EDONE);

    assert_false(ledger_redrive(l, 1, 3000));
    assert_true(ledger_redrive(l, 0, 3000));
    assert_false(ledger_redrive(l, 0, 3000)); /* repeating is harmless */
    assert_int_equal(status(l).state, LEDGER_RUNNING);
    run = take(l, w, 1, 3000);
    assert_int_equal(run.attempt, 1);
    assert_int_equal(commit(l, "a", 9, 0, run.epoch, "1"), LEDGER_ACCEPTED);
    assert_int_equal(status(l).state, LEDGER_FINISHED);
    assert_int_equal(status(l).dead, 0);
    ledger_free(l);
}

/* The ledger as a snapshot keeps it; frees the one given. */
static struct ledger *reload(struct ledger *l)
{
    struct ledger *copy;
    struct buf b;
    buf_init(&b, 100000);
    struct packer p = {&b, 0};
    ledger_save(l, &p);
    struct unpacker u = unpack_of(buf_str(&b));
    assert_int_equal(ledger_load(&u, NULL, &copy), 0);
    assert_int_equal(ledger_digest(copy), ledger_digest(l));
    buf_done(&b);
    ledger_free(l);
    return copy;
}

static struct str reason_of(const struct ledger *l, uint64_t chunk, size_t i)
{
    struct ledger_reason reason = {.text = STR("none")};
    ledger_chunk_reason(l, chunk, i, &reason);
    return reason.text;
}

static struct str last_event(const struct ledger *l, enum ledger_event_kind kind)
{
    struct str text = STR("none");
    struct ledger_event e;
    for (uint64_t seq = 0; ledger_event_next(l, seq, &e); seq = e.seq)
        if (e.kind == kind)
            text = e.text;
    return text;
}

/* The node sees a cut, the parent of the worker the signal: the second says more. */
static void a_loss_is_explained_later(void **state)
{
    (void)state;
    struct ledger *l = make(2);
    struct str cut = STR("connection lost"), why = STR("killed by SIGSEGV\nlast line");
    struct ledger_worker *w;
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(ledger_join(l, STR("a"), i, 9, 1, 4, NULL, 0, 1000 * i, &w), 0);
        take(l, w, 1, 1000 * i);
    }
    assert_false(ledger_lost_reason(l, STR("a"), 3, why)); /* it lives */
    assert_false(ledger_lost_reason(l, STR("b"), 1, why));
    ledger_lost(l, w, cut, 4000);
    assert_true(str_eq(reason_of(l, 0, 2), cut));
    assert_true(ledger_lost_reason(l, STR("a"), 3, why));
    assert_true(str_eq(reason_of(l, 0, 2), why));
    assert_true(str_eq(reason_of(l, 0, 1), STR("replaced by a new incarnation"))); /* another one */
    assert_true(str_eq(last_event(l, LEDGER_EV_LOST), why));
    assert_true(str_eq(last_event(l, LEDGER_EV_DEAD), why));
    assert_true(ledger_lost_reason(l, STR("a"), 1, STR("killed by SIGBUS"))); /* late */
    l = reload(l);
    assert_true(ledger_lost_reason(l, STR("a"), 2, STR("killed by SIGABRT"))); /* later still */
    assert_true(ledger_lost_reason(l, STR("a"), 3, why));                      /* again */
    assert_true(str_eq(reason_of(l, 0, 0), STR("killed by SIGBUS")));
    assert_true(str_eq(reason_of(l, 0, 1), STR("killed by SIGABRT")));
    assert_true(str_eq(reason_of(l, 0, 2), why));
    assert_int_equal(ledger_join(l, STR("a"), 3, 9, 1, 4, NULL, 0, 5000, &w), 0);
    assert_false(ledger_lost_reason(l, STR("a"), 3, why)); /* it came back */
    ledger_free(l);
}

static void attempts_may_be_counted_elsewhere(void **state)
{
    struct ledger *l = make(5);
    struct ledger_chunk_info info;
    struct ledger_status s;
    struct ledger_result r = {.chunk = 3, .kind = LEDGER_SUM, .value = STR("1")};
    (void)state;
    assert_true(ledger_note_failure(l, STR("a"), 2, 1, LEDGER_NOTE_FAILED, STR("first"), 1));
    assert_false(ledger_note_failure(l, STR("a"), 2, 1, LEDGER_NOTE_FAILED, STR("first"),
                                     1)); /* told before */
    assert_true(ledger_note_failure(l, STR(""), 3, 1, LEDGER_NOTE_LOST, STR("died"), 1));
    assert_true(ledger_note_failure(l, STR("b"), 2, 3, LEDGER_NOTE_FINAL, STR("third"), 2));
    assert_false(ledger_note_failure(l, STR("b"), 2, 3, LEDGER_NOTE_FINAL, STR("third"), 2));
    ledger_chunk_info(l, 2, &info);
    assert_int_equal(info.place, LEDGER_AT_DEAD);
    assert_int_equal(info.attempts, 3);
    assert_int_equal(info.reason_count, 2);
    struct ledger_worker *heir;
    assert_int_equal(ledger_join_foreign(l, STR("c"), 3, &heir), 0);
    ledger_note_attempt(l, 3, 4, heir, 3);
    assert_int_equal(ledger_commit_foreign(l, STR("c"), &r, 3), LEDGER_ACCEPTED);
    assert_int_equal(r.attempt, 4);
    assert_false(
        ledger_note_failure(l, STR("a"), 3, 9, LEDGER_NOTE_FINAL, STR("late"), 4)); /* it is done */
    assert_false(ledger_note_failure(l, STR("a"), 99, 1, LEDGER_NOTE_FINAL, STR("none"), 4));
    ledger_status(l, &s);
    assert_int_equal(s.attempts, 7);
    assert_int_equal(s.reclaimed, 1);
    assert_int_equal(s.dead, 1);
    assert_int_equal(s.failures, 2);
    ledger_check(l);
    ledger_free(l);
}

static void when_it_ran_may_be_known_elsewhere(void **state)
{
    (void)state;
    struct ledger_spec spec = base_spec;
    spec.params = spec.chunk_params;
    struct ledger *l;
    struct ledger_status s;
    struct ledger_result r = {.kind = LEDGER_SUM, .value = STR("1")};
    assert_int_equal(ledger_new(STR("job"), &spec, 1, 1000, NULL, &l), 0);
    static const struct {
        uint64_t started_ms, finished_ms, want_started_ms;
    } running[] = {{0, 0, 0}, {3000, 9000, 3000}, {4000, 0, 3000}, {2000, 0, 2000}, {1, 0, 1000}};
    for (size_t i = 0; i < COUNT(running); i++) {
        ledger_note_span(l, running[i].started_ms, running[i].finished_ms);
        ledger_status(l, &s);
        assert_int_equal(s.started_ms, running[i].want_started_ms);
        assert_int_equal(s.finished_ms, 0); /* it has not */
    }
    assert_int_equal(ledger_commit_foreign(l, STR("c"), &r, 50000), LEDGER_ACCEPTED);
    ledger_note_span(l, 0, 6000);
    ledger_status(l, &s);
    assert_int_equal(s.state, LEDGER_FINISHED);
    assert_int_equal(s.finished_ms, 6000);
    ledger_note_span(l, 0, 1);
    ledger_status(l, &s);
    assert_int_equal(s.finished_ms, 1000);
    ledger_free(l);
}

static void failures_wait_longer_each_time(void **state)
{
    (void)state;
    struct ledger_spec spec = base_spec;
    spec.max_attempts = 8;
    struct ledger *l;
    assert_int_equal(ledger_new(STR("job"), &spec, 1, 0, NULL, &l), 0);
    static const uint64_t delays[] = {100, 200, 400, 800, 1000, 1000, 1000};
    struct ledger_worker *w = join(l, "a", 1, 1);
    uint64_t now_ms = 1000, retry_ms;
    enum ledger_fate fate;
    for (size_t i = 0; i < 8; i++) {
        struct ledger_run run = take(l, w, 1, now_ms);
        assert_int_equal(run.chunk, 0); /* what came back goes before what is fresh */
        assert_int_equal(ledger_fail(l, 0, run.epoch, false, STR("no"), now_ms, &fate, &retry_ms),
                         0);
        if (i == 7)
            break;
        assert_int_equal(fate, LEDGER_RETRY);
        assert_int_equal(retry_ms, now_ms + delays[i]);
        assert_int_equal(ledger_next_ms(l), retry_ms);
        ledger_tick(l, retry_ms - 1);
        assert_int_equal(status(l).delayed, 1);
        ledger_tick(l, now_ms = retry_ms);
        assert_int_equal(status(l).ready, 1);
    }
    assert_int_equal(fate, LEDGER_DEAD);
    /* "do not retry" ends it at once */
    struct ledger_run run = take(l, w, 1, now_ms);
    assert_int_equal(ledger_fail(l, run.chunk, run.epoch, true, STR(""), now_ms, &fate, &retry_ms),
                     0);
    assert_int_equal(fate, LEDGER_DEAD);
    ledger_free(l);
}

static void reattaches_after_a_restart(void **state)
{
    (void)state;
    struct ledger *l = make(100);
    struct ledger_worker *w = join(l, "a", 5, 3);
    struct ledger_run run = take(l, w, 3, 1000);
    uint64_t early = (uint64_t)1 << LEDGER_EPOCH_BITS | 99; /* a take that never reached the disk */
    ledger_boot(l, 2, 2000, 0);
    struct ledger_run none[1];
    size_t n;
    assert_int_equal(ledger_take(l, w, 9, 1, 2000, none, &n), TTG_ESTALE); /* join first */

    struct ledger_held held[] = {
        {0, run.epoch}, {1, run.epoch + 7}, {2, run.epoch + 2}, {50, early}};
    assert_int_equal(ledger_join(l, STR("a"), 5, 11, 3, 100, held, 4, 2000, &w), 0);
    assert_int_equal(held[0].epoch, run.epoch); /* kept */
    assert_int_equal(held[2].epoch, run.epoch + 2);
    assert_int_equal(held[3].epoch >> LEDGER_EPOCH_BITS, 2); /* granted anew */
    assert_int_equal(held[1].epoch >> LEDGER_EPOCH_BITS, 2); /* was not its own: free, so granted */
    assert_int_equal(status(l).leased, 4);
    assert_int_equal(status(l).ready, 47 + 2 - 2 + 0);
    assert_int_equal(commit(l, "a", 5, 50, early, "1"), LEDGER_STALE);
    assert_int_equal(commit(l, "a", 5, 50, held[3].epoch, "1"), LEDGER_ACCEPTED);

    /* What somebody else has had since is superseded, free or not. */
    struct ledger_worker *b = join(l, "b", 8, 1);
    struct ledger_run other = take(l, b, 1, 2100);
    ledger_lost(l, b, STR("x"), 2200);
    struct ledger_held late = {other.chunk, other.epoch - 1};
    struct ledger_worker *d;
    assert_int_equal(ledger_join(l, STR("d"), 9, 13, 1, 100, &late, 1, 2300, &d), 0);
    assert_int_equal(late.epoch, 0);

    /* It comes again and knows only chunk 0: the other grants got lost on the way. */
    held[0].epoch = run.epoch;
    assert_int_equal(ledger_join(l, STR("a"), 5, 12, 3, 100, held, 1, 2500, &w), 0);
    assert_int_equal(status(l).leased, 1);
    assert_int_equal(status(l).reclaimed, 1); /* that of b */
    ledger_free(l);
}

/* The node finds a worker lost, gives its chunk on and dies before that is on disk. */
static void a_forgotten_loss_is_not_waited_for(void **state)
{
    (void)state;
    struct ledger *l = make(100);
    struct ledger_worker *dead = join(l, "dead", 5, 1), *heir;
    struct ledger_run run = take(l, dead, 2, 1000);
    ledger_boot(l, 2, 2000, 0);
    uint64_t later = run.epoch + 9, unknown = (uint64_t)2 << LEDGER_EPOCH_BITS | 99;
    struct ledger_held held[] = {{run.chunk, later}, {run.chunk + 1, unknown}};
    assert_int_equal(ledger_join(l, STR("heir"), 6, 11, 1, 100, held, 2, 2000, &heir), 0);
    assert_int_equal(held[0].epoch >> LEDGER_EPOCH_BITS, 2); /* granted anew */
    assert_int_equal(held[1].epoch, 0);                      /* nobody was told that */
    assert_int_equal(status(l).reclaimed, 1);
    assert_int_equal(status(l).attempts, 1); /* the dead one's */
    assert_int_equal(commit(l, "dead", 5, run.chunk, run.epoch, "1"), LEDGER_STALE);

    /* It lives after all: only what nobody else has is still its own. */
    struct ledger_held old[] = {{run.chunk, run.epoch}, {run.chunk + 1, run.epoch + 1}};
    assert_int_equal(ledger_join(l, STR("dead"), 5, 9, 1, 100, old, 2, 2100, &dead), 0);
    assert_int_equal(old[0].epoch, 0);
    assert_int_equal(old[1].epoch, run.epoch + 1);
    assert_int_equal(commit(l, "heir", 6, run.chunk, held[0].epoch, "1"), LEDGER_ACCEPTED);

    /* Taken from behind a busy worker: it had not started, so it costs no attempt. */
    struct ledger_run behind = take(l, dead, 1, 2200);
    uint64_t attempts = status(l).attempts;
    struct ledger_held ahead = {behind.chunk, behind.epoch + 20};
    ledger_boot(l, 3, 3000, 0);
    assert_int_equal(ledger_join(l, STR("heir"), 6, 13, 1, 100, &ahead, 1, 3000, &heir), 0);
    assert_true(ahead.epoch != 0);
    assert_int_equal(status(l).attempts, attempts);
    assert_int_equal(status(l).reclaimed, 1);
    ledger_free(l);
}

static void a_new_incarnation_replaces(void **state)
{
    (void)state;
    struct ledger *l = make(100);
    struct ledger_worker *w = join(l, "a", 5, 1);
    take(l, w, 3, 1000);
    join(l, "a", 6, 1);
    assert_int_equal(status(l).workers_lost, 1);
    assert_int_equal(status(l).ready, 3);
    assert_null(ledger_worker(l, STR("a"), 5));
    struct ledger_worker *old;
    assert_int_equal(ledger_join(l, STR("a"), 5, 9, 1, 100, NULL, 0, 1000, &old), TTG_ESTALE);
    ledger_free(l);
}

static void nobody_sits_on_work(void **state)
{
    (void)state;
    struct ledger *l = make(100);
    struct ledger_worker *a = join(l, "a", 1, 1), *b = join(l, "b", 2, 1);
    struct ledger_run run = take(l, a, 1000, 1000);
    assert_int_equal(run.count, 1 + 25); /* its slot and half of its half */
    uint64_t taken = run.count;
    while ((run = take(l, b, 64, 1000)).count > 0)
        taken += run.count;
    assert_in_range(taken, 27, 60);
    while ((run = take(l, a, 64, 1000)).count > 0)
        taken += run.count;
    assert_true(taken < 100);
    /* a third one still finds something, as does anybody with a free slot */
    struct ledger_worker *c = join(l, "c", 3, 1);
    assert_true(take(l, c, 64, 1000).count > 0);
    ledger_free(l);
}

static void idle_workers_steal_what_waits(void **state)
{
    (void)state;
    struct ledger *l = make(4);
    struct ledger_worker *a = join(l, "a", 1, 1);
    struct ledger_run all = take(l, a, 4, 1000);
    assert_int_equal(all.count, 3);
    assert_int_equal(take(l, join(l, "b", 2, 1), 4, 1000).chunk, 3);
    struct ledger_worker *c = join(l, "c", 3, 1);
    assert_int_equal(take(l, c, 4, 1050).count, 0); /* it may be about to start */
    assert_int_equal(ledger_next_ms(l), 1000 + LEDGER_STEAL_MS);
    struct ledger_run run = take(l, c, 4, 1000 + LEDGER_STEAL_MS);
    assert_int_equal(run.chunk, 2); /* the newest */
    assert_int_equal(run.count, 1);
    assert_false(ledger_holds(l, 2, all.epoch + 2));
    assert_int_equal(commit(l, "a", 1, 2, all.epoch + 2, "0"), LEDGER_STALE);
    assert_int_equal(commit(l, "c", 3, 2, run.epoch, "0"), LEDGER_ACCEPTED);
    assert_int_equal(take(l, c, 4, 1200).chunk, 1);
    assert_int_equal(take(l, join(l, "d", 4, 1), 4, 9000).count, 0); /* chunk 0 runs */
    assert_int_equal(status(l).stolen, 2);
    ledger_free(l);
}

static void plain_consumers_have_a_time(void **state)
{
    (void)state;
    struct ledger *l = make(10);
    struct ledger_worker *f;
    assert_int_equal(ledger_join_foreign(l, STR("plain"), 1000, &f), 0);
    assert_int_equal(take(l, f, 1, 1000).chunk, 0);
    assert_int_equal(ledger_next_ms(l), 61000);
    assert_int_equal(ledger_claim(l, f, 0, 31000), 0); /* renewed */
    ledger_tick(l, 61000);
    assert_int_equal(status(l).leased, 1);
    ledger_tick(l, 91000);
    assert_int_equal(status(l).leased, 0);
    assert_int_equal(status(l).reclaimed, 1);
    struct ledger_result r = {.chunk = 0, .kind = LEDGER_OUTPUT, .value = STR("late")};
    assert_int_equal(ledger_commit_foreign(l, STR("plain"), &r, 92000), LEDGER_ACCEPTED);
    assert_int_equal(ledger_commit_foreign(l, STR("plain"), &r, 92000), LEDGER_STALE);
    /* a result for a chunk that nobody has taken */
    r.chunk = 4;
    assert_int_equal(ledger_commit_foreign(l, STR("plain"), &r, 92000), LEDGER_ACCEPTED);
    assert_int_equal(status(l).ready, 3);
    assert_int_equal(status(l).next, 5);
    /* acknowledged without a result */
    assert_int_equal(take(l, f, 1, 93000).chunk, 1);
    assert_true(ledger_release_foreign(l, STR("plain"), 1, 93000));
    assert_false(ledger_release_foreign(l, STR("plain"), 1, 93000));
    assert_int_equal(status(l).ready, 3);
    ledger_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_once),
        cmocka_unit_test(a_free_slot_wakes_takers),
        cmocka_unit_test(a_loss_charges_one_chunk_per_slot),
        cmocka_unit_test(a_late_commit_counts_while_nobody_took_over),
        cmocka_unit_test(killers_become_dead_letters),
        cmocka_unit_test(a_loss_is_explained_later),
        cmocka_unit_test(attempts_may_be_counted_elsewhere),
        cmocka_unit_test(when_it_ran_may_be_known_elsewhere),
        cmocka_unit_test(failures_wait_longer_each_time),
        cmocka_unit_test(reattaches_after_a_restart),
        cmocka_unit_test(a_forgotten_loss_is_not_waited_for),
        cmocka_unit_test(a_new_incarnation_replaces),
        cmocka_unit_test(nobody_sits_on_work),
        cmocka_unit_test(idle_workers_steal_what_waits),
        cmocka_unit_test(plain_consumers_have_a_time),
    };
    return tap_run(tests);
}
