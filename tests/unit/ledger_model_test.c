/* SPDX-License-Identifier: Apache-2.0 */
/* Random calls against a naive model of each chunk's life. The model knows nothing of lists, heaps
 * or marks: an array of chunks, and every lease that was ever granted. */
#include "tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/prng.h"
#include "core/ledger.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHUNKS = 60, WORKERS = 4, GRANTS = 200000, STEPS = 1500, CALM = 300, RUNS = 60, RECENT = 8 };

enum place { FREE, DELAYED, LEASED, DONE, DEAD, DROPPED };

struct model_chunk {
    enum place place;
    uint64_t epoch;   /* that a commit may name; 0: none */
    uint64_t highest; /* ever granted */
    int holder;
    uint32_t attempts;
    bool charged;
};

struct model_worker {
    bool joined, foreign;
    uint64_t incarnation, accepted;
    uint32_t slots;
    uint64_t queue[CHUNKS]; /* in take order */
    size_t held;
};

struct grant {
    uint64_t chunk, epoch, incarnation, order;
    int worker;
    bool accepted;
};

struct world {
    struct prng prng;
    struct ledger *l;
    uint64_t now_ms, boot, incarnations;
    uint64_t results, stale, reclaimed;
    struct model_chunk chunks[CHUNKS];
    struct model_worker workers[WORKERS];
    struct grant *grants;
    size_t grant_count;
    bool paused;
    uint64_t waits;
};

static const struct ledger_spec spec = {.first = -30,
                                        .params = CHUNKS * 7 - 3,
                                        .chunk_params = 7,
                                        .window = 24,
                                        .max_attempts = 4,
                                        .retry_min_ms = 10,
                                        .retry_max_ms = 80,
                                        .retry_jitter = 50,
                                        .stale_ms = 500};
static const char *const names[WORKERS] = {"worker-0", "worker-1", "worker-2", "plain"};

static struct ledger_worker *live(struct world *m, int w)
{
    return ledger_worker(m->l, str_of(names[w]), m->workers[w].incarnation);
}

static void unqueue(struct model_worker *w, uint64_t chunk)
{
    for (size_t i = 0; i < w->held; i++) {
        if (w->queue[i] != chunk)
            continue;
        memmove(&w->queue[i], &w->queue[i + 1], (w->held - i - 1) * sizeof *w->queue);
        w->held--;
        return;
    }
    fail_msg("chunk is not in its holder's queue");
}

static void model_charge(struct model_chunk *c)
{
    c->attempts += !c->charged;
    c->charged = true;
}

/* The lease ends without a result. */
static void model_return(struct world *m, uint64_t chunk, bool charge, bool keep_epoch)
{
    struct model_chunk *c = &m->chunks[chunk];
    unqueue(&m->workers[c->holder], chunk);
    if (charge)
        model_charge(c);
    c->place = charge && c->attempts >= spec.max_attempts ? DEAD : FREE;
    if (!keep_epoch || c->place == DEAD)
        c->epoch = 0;
}

static void model_grant(struct world *m, int w, uint64_t chunk, uint64_t epoch)
{
    struct model_chunk *c = &m->chunks[chunk];
    assert_true(epoch > c->highest);
    assert_int_equal(epoch >> LEDGER_EPOCH_BITS, m->boot);
    *c = (struct model_chunk){LEASED, epoch, epoch, w, c->attempts, false};
    m->workers[w].queue[m->workers[w].held++] = chunk;
    assert_true(m->grant_count < GRANTS);
    m->grants[m->grant_count++] =
        (struct grant){chunk, epoch, m->workers[w].incarnation, 0, w, false};
}

static void do_lost(struct world *m, int w)
{
    struct model_worker *mw = &m->workers[w];
    if (!mw->joined || mw->foreign)
        return;
    uint64_t held = mw->held;
    m->reclaimed += held;
    assert_int_equal(ledger_lost(m->l, live(m, w), STR("test"), m->now_ms), held);
    for (size_t i = 0; mw->held > 0; i++)
        model_return(m, mw->queue[0], i < mw->slots, true);
    mw->joined = false;
}

static void do_leave(struct world *m, int w)
{
    struct model_worker *mw = &m->workers[w];
    if (!mw->joined || mw->foreign)
        return;
    ledger_leave(m->l, live(m, w), m->now_ms);
    while (mw->held > 0)
        model_return(m, mw->queue[0], false, false);
    mw->joined = false;
}

/* Joins with a random part of what it once had: some real, some old. */
static void do_join(struct world *m, int w)
{
    struct model_worker *mw = &m->workers[w];
    struct ledger_worker *lw;
    if (mw->foreign) {
        assert_int_equal(ledger_join_foreign(m->l, str_of(names[w]), m->now_ms, &lw), 0);
        mw->joined = true;
        return;
    }
    if (!mw->joined || prng_chance(&m->prng, 0.3)) {
        if (mw->joined)
            do_lost(m, w); /* what replacing amounts to */
        mw->incarnation = ++m->incarnations;
    }
    struct ledger_held held[20];
    size_t count = 0;
    bool named[CHUNKS] = {false};
    for (size_t tries = 0; m->grant_count && tries < 20; tries++) {
        const struct grant *g =
            &m->grants[m->grant_count - 1 - prng_below(&m->prng, 10) % m->grant_count];
        if (named[g->chunk] || g->worker != w)
            continue;
        named[g->chunk] = true;
        held[count++] = (struct ledger_held){g->chunk, g->epoch};
    }
    struct ledger_held before[20];
    memcpy(before, held, sizeof before);
    mw->slots = (uint32_t)prng_below(&m->prng, 3) + 1;
    assert_int_equal(ledger_join(m->l, str_of(names[w]), mw->incarnation, 100 + (uint64_t)w,
                                 mw->slots, RECENT, held, count, m->now_ms, &lw),
                     0);
    mw->joined = true;
    for (size_t i = 0; i < mw->held;) {
        uint64_t chunk = mw->queue[i];
        bool kept = false;
        for (size_t k = 0; k < count; k++)
            kept |= before[k].chunk == chunk && before[k].epoch == m->chunks[chunk].epoch;
        if (kept)
            i++;
        else
            model_return(m, chunk, false, true);
    }
    for (size_t k = 0; k < count; k++) {
        struct model_chunk *c = &m->chunks[before[k].chunk];
        if (c->place == LEASED && c->holder == w && c->epoch == before[k].epoch)
            assert_int_equal(held[k].epoch, before[k].epoch);
        else if (c->place == FREE && held[k].epoch != 0)
            model_grant(m, w, before[k].chunk, held[k].epoch);
        else
            assert_true(held[k].epoch == 0 || c->place == DONE);
    }
}

/* Whoever had better leave the end to others: not for long if nothing happens, as each of the
 * others is waited for once. A pure question, so that no take changes. */
static void ask_whether_to_wait(struct world *m, int w)
{
    uint64_t at_ms = m->now_ms, client = 100 + (uint64_t)w, until_ms;
    for (int others = 0; (until_ms = ledger_wait_ms(m->l, live(m, w), client, at_ms)); others++) {
        assert_in_range(until_ms, at_ms + 1, m->now_ms + 1000);
        assert_true(others < WORKERS && !m->paused && !m->workers[w].foreign);
        at_ms = until_ms;
        m->waits++;
    }
}

static void do_take(struct world *m, int w)
{
    struct model_worker *mw = &m->workers[w];
    if (!mw->joined)
        return;
    struct ledger_run runs[16];
    uint64_t count = prng_below(&m->prng, 16) + 1, taken = 0;
    size_t run_count = 0;
    if (!mw->foreign)
        assert_int_equal(ledger_take(m->l, live(m, w), 7, count, m->now_ms, runs, &run_count),
                         TTG_ESTALE);
    ask_whether_to_wait(m, w);
    struct ledger_status before;
    ledger_status(m->l, &before);
    int rc = ledger_take(m->l, live(m, w), 100 + (uint64_t)w, count, m->now_ms, runs, &run_count);
    bool idle = mw->held < mw->slots && before.ready + before.fresh > 0;
    if (rc) {
        assert_int_equal(rc, before.state == LEDGER_FINISHED ? TTG_EDONE : TTG_EAGAIN);
        assert_true(!idle || m->paused || before.state == LEDGER_FINISHED);
        return;
    }
    assert_false(m->paused);
    for (size_t r = 0; r < run_count; r++) {
        for (uint64_t i = 0; i < runs[r].count; i++, taken++) {
            struct model_chunk *c = &m->chunks[runs[r].chunk + i];
            if (c->place == LEASED) { /* taken from one who has more than he can start */
                assert_int_equal(before.ready + before.fresh, 0);
                assert_true(m->workers[c->holder].held > m->workers[c->holder].slots);
                unqueue(&m->workers[c->holder], runs[r].chunk + i);
            } else {
                assert_int_equal(c->place, FREE);
            }
            assert_int_equal(runs[r].attempt, c->attempts + 1);
            model_grant(m, w, runs[r].chunk + i, runs[r].epoch + i);
        }
    }
    assert_in_range(taken, 1, count);
}

static void do_commit(struct world *m)
{
    if (m->grant_count == 0)
        return;
    /* mostly recent leases, sometimes any */
    size_t back = prng_chance(&m->prng, 0.8) && m->grant_count > 20 ? 20 : m->grant_count;
    struct grant *g = &m->grants[m->grant_count - 1 - prng_below(&m->prng, back)];
    struct model_chunk *c = &m->chunks[g->chunk];
    /* 10, 80 and 640 ms, more or less */
    uint64_t us = (10000 + prng_below(&m->prng, 2000)) << (3 * g->worker);
    struct ledger_result r = {
        .chunk = g->chunk, .epoch = g->epoch, .duration_us = us, .kind = LEDGER_SUM};
    char text[24];
    r.value = str_make(text, str_from_u64(text, g->chunk + 1000));
    enum ledger_verdict verdict =
        ledger_commit(m->l, str_of(names[g->worker]), g->incarnation, &r, m->now_ms);
    bool open = c->place == LEASED || c->place == FREE || c->place == DELAYED;
    if (open && c->epoch == g->epoch) {
        assert_int_equal(verdict, LEDGER_ACCEPTED);
        model_charge(c);
        assert_int_equal(r.attempt, c->attempts);
        assert_int_equal(r.seq, ++m->results);
        if (c->place == LEASED)
            unqueue(&m->workers[c->holder], g->chunk);
        c->place = DONE;
        g->accepted = true;
        g->order = ++m->workers[g->worker].accepted;
    } else if (verdict == LEDGER_AGAIN) {
        assert_true(g->accepted);
    } else {
        const struct model_worker *mw = &m->workers[g->worker];
        bool fresh = g->accepted && g->incarnation == mw->incarnation && !mw->foreign;
        assert_false(fresh && mw->accepted - g->order < RECENT);
        assert_int_equal(verdict, LEDGER_STALE);
        m->stale++;
    }
}

static void do_commit_foreign(struct world *m)
{
    struct ledger_result r = {.chunk = prng_below(&m->prng, CHUNKS), .kind = LEDGER_OUTPUT};
    struct model_chunk *c = &m->chunks[r.chunk];
    struct ledger_status before;
    ledger_status(m->l, &before);
    enum ledger_verdict verdict = ledger_commit_foreign(m->l, STR("stranger"), &r, m->now_ms);
    if (r.chunk >= before.fed) {
        assert_int_equal(verdict, LEDGER_INVALID);
    } else if (c->place == DONE || c->place == DEAD || c->place == DROPPED) {
        assert_int_equal(verdict, LEDGER_STALE);
        m->stale++;
    } else {
        assert_int_equal(verdict, LEDGER_ACCEPTED);
        assert_int_equal(r.seq, ++m->results);
        if (c->place == LEASED)
            unqueue(&m->workers[c->holder], r.chunk);
        c->place = DONE;
    }
}

static void do_end(struct world *m, bool failed)
{
    if (m->grant_count == 0)
        return;
    size_t back = m->grant_count > 20 ? 20 : m->grant_count;
    const struct grant *g = &m->grants[m->grant_count - 1 - prng_below(&m->prng, back)];
    struct model_chunk *c = &m->chunks[g->chunk];
    bool held = c->place == LEASED && c->epoch == g->epoch;
    if (!failed) {
        assert_int_equal(ledger_release(m->l, g->chunk, g->epoch, m->now_ms), held);
        if (held)
            model_return(m, g->chunk, false, false);
        return;
    }
    enum ledger_fate fate;
    uint64_t retry_ms;
    bool final = prng_chance(&m->prng, 0.1);
    assert_int_equal(ledger_fail(m->l, g->chunk, g->epoch, final, STR("exit code 1"), m->now_ms,
                                 &fate, &retry_ms),
                     0);
    if (!held) {
        assert_int_equal(fate, LEDGER_FAIL_STALE);
        return;
    }
    model_return(m, g->chunk, true, false);
    if (final)
        c->place = DEAD;
    assert_int_equal(fate, c->place == DEAD ? LEDGER_DEAD : LEDGER_RETRY);
    if (fate == LEDGER_RETRY) {
        c->place = DELAYED;
        assert_in_range(retry_ms, m->now_ms + 5, m->now_ms + 120);
    }
}

static void do_tick(struct world *m, uint64_t ms)
{
    m->now_ms += ms;
    struct ledger_chunk_info info;
    bool foreign_due[CHUNKS] = {false};
    for (uint64_t i = 0; i < CHUNKS; i++) {
        ledger_chunk_info(m->l, i, &info);
        bool due = info.due_ms != 0 && info.due_ms <= m->now_ms;
        foreign_due[i] = due && info.place == LEDGER_AT_LEASED;
        if (due && info.place == LEDGER_AT_DELAYED)
            m->chunks[i].place = FREE;
    }
    ledger_tick(m->l, m->now_ms);
    assert_true(ledger_next_ms(m->l) > m->now_ms);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        if (foreign_due[i]) {
            m->reclaimed++;
            model_return(m, i, true, true);
        }
    }
}

static void do_dead(struct world *m)
{
    uint64_t chunk = prng_below(&m->prng, CHUNKS);
    bool dead = m->chunks[chunk].place == DEAD, drop = prng_chance(&m->prng, 0.2);
    struct ledger_status before;
    ledger_status(m->l, &before);
    assert_int_equal(
        drop ? ledger_drop(m->l, chunk, m->now_ms) : ledger_redrive(m->l, chunk, m->now_ms), dead);
    if (!dead)
        return;
    if (before.state == LEDGER_FINISHED && !drop)
        m->paused = false; /* it was paused before it finished: that is over */
    m->chunks[chunk].place = drop ? DROPPED : FREE;
    m->chunks[chunk].attempts = drop ? m->chunks[chunk].attempts : 0;
    m->chunks[chunk].charged = false;
}

static struct ledger *reload(const struct ledger *l)
{
    struct buf b;
    buf_init(&b, SIZE_MAX);
    struct packer p = {&b, 0};
    ledger_save(l, &p);
    assert_int_equal(p.rc, 0);
    struct unpacker u = unpack_of(buf_str(&b));
    struct ledger *copy = NULL;
    assert_int_equal(ledger_load(&u, NULL, &copy), 0);
    assert_int_equal(unpack_end(&u), 0);
    assert_int_equal(ledger_digest(copy), ledger_digest(l));
    buf_done(&b);
    return copy;
}

static void do_restart(struct world *m)
{
    struct ledger *copy = reload(m->l);
    ledger_free(m->l);
    m->l = copy;
    if (prng_chance(&m->prng, 0.5)) {
        ledger_boot(m->l, ++m->boot, m->now_ms, 0);
        for (int w = 0; w < WORKERS; w++)
            if (m->workers[w].joined && !m->workers[w].foreign)
                do_join(m, w);
    }
}

static void compare(struct world *m)
{
    static const enum ledger_place place_of[] = {[DELAYED] = LEDGER_AT_DELAYED,
                                                 [LEASED] = LEDGER_AT_LEASED,
                                                 [DONE] = LEDGER_AT_DONE,
                                                 [DEAD] = LEDGER_AT_DEAD,
                                                 [DROPPED] = LEDGER_AT_DROPPED};
    ledger_check(m->l);
    uint64_t open = 0;
    struct ledger_status s;
    ledger_status(m->l, &s);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        struct ledger_chunk_info info;
        ledger_chunk_info(m->l, i, &info);
        const struct model_chunk *c = &m->chunks[i];
        open += i < s.fed && (c->place == FREE || c->place == DELAYED || c->place == LEASED);
        if (c->place == FREE)
            assert_in_range(info.place, LEDGER_AT_UNFED, LEDGER_AT_READY);
        else
            assert_int_equal(info.place, place_of[c->place]);
        if (info.place == LEDGER_AT_LEASED)
            assert_int_equal(info.epoch, c->epoch);
        if (info.place >= LEDGER_AT_READY && info.place <= LEDGER_AT_LEASED)
            assert_int_equal(info.attempts, c->attempts);
    }
    assert_int_equal(s.result_seq, m->results);
    assert_int_equal(s.completed, m->results);
    assert_int_equal(s.stale_dropped, m->stale);
    assert_int_equal(s.reclaimed, m->reclaimed);
    assert_true(open >= spec.window || s.fed == CHUNKS);
    assert_int_equal(s.completed + s.dead + s.dropped + s.unfed + s.fresh + s.ready + s.delayed +
                         s.leased,
                     CHUNKS);
}

/* All goes well for a while: then it is known who is slow. */
static void calm_step(struct world *m)
{
    int w = (int)prng_below(&m->prng, WORKERS - 1);
    if (!m->workers[w].joined)
        do_join(m, w);
    else if (prng_chance(&m->prng, 0.05))
        do_tick(m, prng_below(&m->prng, 20));
    else if (prng_chance(&m->prng, 0.4))
        do_take(m, w);
    else
        do_commit(m);
}

static void step(struct world *m)
{
    int w = (int)prng_below(&m->prng, WORKERS);
    switch (prng_below(&m->prng, 24)) {
    case 0:
    case 1:
        do_join(m, w);
        break;
    case 2:
        if (prng_chance(&m->prng, 0.3))
            do_lost(m, w);
        break;
    case 3:
        if (prng_chance(&m->prng, 0.3))
            do_leave(m, w);
        break;
    case 4:
        do_tick(m, prng_below(&m->prng, 200));
        break;
    case 5:
        do_end(m, true);
        break;
    case 6:
        do_end(m, false);
        break;
    case 7:
        do_dead(m);
        break;
    case 8:
        if (prng_chance(&m->prng, 0.1))
            do_commit_foreign(m);
        break;
    case 9:
        m->paused = prng_chance(&m->prng, 0.2);
        if ((m->paused ? ledger_pause : ledger_resume)(m->l, m->now_ms))
            m->paused = false; /* finished */
        break;
    case 10:
        do_restart(m);
        break;
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
        do_take(m, w);
        break;
    default:
        do_commit(m);
    }
}

/* Every fault is over: what is left must get done. */
static void heal(struct world *m)
{
    ledger_resume(m->l, m->now_ms);
    m->paused = false;
    for (int w = 0; w < WORKERS; w++)
        do_lost(m, w);
    for (size_t round = 0;; round++) {
        assert_true(round < 1000);
        struct ledger_status s;
        ledger_status(m->l, &s);
        if (s.state == LEDGER_FINISHED)
            break;
        do_join(m, 0);
        do_take(m, 0);
        for (size_t i = m->workers[0].held; i > 0; i--) {
            uint64_t chunk = m->workers[0].queue[0];
            struct ledger_result r = {.chunk = chunk,
                                      .epoch = m->chunks[chunk].epoch,
                                      .kind = LEDGER_SUM,
                                      .value = STR("5")};
            assert_int_equal(
                ledger_commit(m->l, str_of(names[0]), m->workers[0].incarnation, &r, m->now_ms),
                LEDGER_ACCEPTED);
            unqueue(&m->workers[0], chunk);
            m->chunks[chunk].place = DONE;
            m->results++;
        }
        do_tick(m, 600);
    }
    compare(m);
}

static void agrees_with_the_model(void **state)
{
    (void)state;
    uint64_t waits = 0;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct world m = {.now_ms = 1000, .boot = 1};
        prng_init(&m.prng, seed);
        m.grants = mem_array(GRANTS, sizeof *m.grants);
        m.workers[3].foreign = true;
        for (int i = 0; i < 3; i++)
            m.workers[i].slots = 1;
        m.workers[3].slots = 1;
        assert_int_equal(ledger_new(STR("model"), &spec, m.boot, m.now_ms, NULL, &m.l), 0);
        for (int i = 0; i < STEPS; i++) {
            (seed % 2 == 0 && i < CALM ? calm_step : step)(&m);
            compare(&m);
        }
        heal(&m);
        waits += m.waits;
        ledger_free(m.l);
        mem_free(m.grants);
    }
    assert_true(waits > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_the_model)};
    return tap_run(tests);
}
