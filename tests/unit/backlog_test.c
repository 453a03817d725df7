/* SPDX-License-Identifier: Apache-2.0 */
/* The backlog against a model: a plain list of leases. */
#include "tap.h"

#include "base/mem.h"
#include "base/prng.h"
#include "worker/backlog.h"

enum { MODEL_MAX = 4096 };

struct lease {
    uint64_t chunk, epoch;
    uint32_t attempt;
};

struct model {
    struct lease leases[MODEL_MAX];
    size_t count;
};

static void check(const struct backlog *b, const struct model *m)
{
    static struct ledger_held held[MODEL_MAX];
    assert_int_equal(b->chunks, m->count);
    assert_int_equal(backlog_list(b, held, MODEL_MAX), m->count);
    for (size_t i = 0; i < m->count; i++) {
        assert_int_equal(held[i].chunk, m->leases[i].chunk);
        assert_int_equal(held[i].epoch, m->leases[i].epoch);
    }
    assert_int_equal(backlog_list(b, held, m->count / 2), m->count / 2);
}

static void model_cut(struct model *m, size_t at)
{
    for (size_t i = at; i + 1 < m->count; i++)
        m->leases[i] = m->leases[i + 1];
    m->count--;
}

static void push(struct backlog *b, struct model *m, struct prng *r, uint64_t *epoch)
{
    struct ledger_run run = {prng_below(r, 300), 1 + prng_below(r, 12), *epoch,
                             (uint32_t)(1 + prng_below(r, 3))};
    if (m->count + run.count > MODEL_MAX)
        return;
    assert_int_equal(backlog_push(b, &run, 7), 0);
    for (uint64_t i = 0; i < run.count; i++)
        m->leases[m->count++] = (struct lease){run.chunk + i, run.epoch + i, run.attempt};
    *epoch += run.count;
}

static void pop(struct backlog *b, struct model *m)
{
    struct ledger_run run;
    assert_int_equal(backlog_pop(b, &run), m->count > 0);
    if (m->count == 0)
        return;
    assert_int_equal(run.chunk, m->leases[0].chunk);
    assert_int_equal(run.epoch, m->leases[0].epoch);
    assert_int_equal(run.attempt, m->leases[0].attempt);
    assert_int_equal(run.count, 1);
    model_cut(m, 0);
}

/* Also leases that are not there: of a chunk that is here with another epoch. */
static void take_out(struct backlog *b, struct model *m, struct prng *r)
{
    size_t i = m->count ? prng_below(r, m->count) : 0;
    if (m->count == 0 || prng_below(r, 4) == 0) {
        uint64_t chunk = m->count ? m->leases[i].chunk : 3;
        assert_false(backlog_remove(b, chunk, 999999999));
        return;
    }
    assert_true(backlog_remove(b, m->leases[i].chunk, m->leases[i].epoch));
    model_cut(m, i);
}

static void renew(struct backlog *b, struct model *m, struct prng *r, uint64_t *epoch)
{
    struct ledger_held old = {5, 999999999};
    assert_false(backlog_renew(b, old, *epoch));
    if (m->count == 0)
        return;
    size_t i = prng_below(r, m->count);
    old = (struct ledger_held){m->leases[i].chunk, m->leases[i].epoch};
    assert_true(backlog_renew(b, old, *epoch));
    m->leases[i].epoch = (*epoch)++;
}

static void agrees_with_a_list(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        static struct model m;
        struct backlog b;
        struct prng r;
        uint64_t epoch = 1;
        m.count = 0;
        prng_init(&r, seed);
        backlog_init(&b);
        for (int step = 0; step < 400; step++) {
            switch (prng_below(&r, 8)) {
            case 0:
            case 1:
                push(&b, &m, &r, &epoch);
                break;
            case 2:
            case 3:
            case 4:
                pop(&b, &m);
                break;
            case 5:
                renew(&b, &m, &r, &epoch);
                break;
            case 6:
                take_out(&b, &m, &r);
                break;
            default:
                if (prng_below(&r, 60) == 0) {
                    backlog_clear(&b);
                    m.count = 0;
                }
            }
            check(&b, &m);
        }
        backlog_done(&b);
    }
}

static void without_memory_nothing_gets_lost(void **state)
{
    (void)state;
    const struct ledger_run run = {100, 9, 500, 1};
    for (size_t n = 1;; n++) {
        struct backlog b;
        backlog_init(&b);
        mem_fail_at(n);
        bool ok = true;
        for (int i = 0; i < 40; i++)
            ok &= backlog_push(&b, &(struct ledger_run){(uint64_t)i * 10, 9, 1000, 1}, 1) == 0;
        ok &= backlog_push(&b, &run, 1) == 0;
        uint64_t before = b.chunks;
        if (ok) {
            ok &= backlog_renew(&b, (struct ledger_held){104, 504}, 9000);
            assert_int_equal(b.chunks, before);
            bool removed = backlog_remove(&b, 107, 507);
            assert_int_equal(b.chunks, before - removed);
            ok &= removed;
        }
        int failed = mem_failed();
        mem_fail_at(0);
        struct ledger_held all[512];
        assert_int_equal(backlog_list(&b, all, 512), b.chunks);
        backlog_done(&b);
        if (!failed) {
            assert_true(ok);
            return;
        }
    }
}

static void knows_the_age_of_the_oldest(void **state)
{
    (void)state;
    struct backlog b;
    struct ledger_run run;
    backlog_init(&b);
    assert_true(backlog_oldest_ms(&b) == UINT64_MAX);
    assert_int_equal(backlog_push(&b, &(struct ledger_run){0, 2, 1, 1}, 10), 0);
    assert_int_equal(backlog_push(&b, &(struct ledger_run){2, 1, 3, 1}, 20), 0);
    assert_int_equal(backlog_oldest_ms(&b), 10);
    backlog_pop(&b, &run);
    assert_int_equal(backlog_oldest_ms(&b), 10);
    backlog_pop(&b, &run);
    assert_int_equal(backlog_oldest_ms(&b), 20);
    backlog_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_list),
        cmocka_unit_test(without_memory_nothing_gets_lost),
        cmocka_unit_test(knows_the_age_of_the_oldest),
    };
    return tap_run(tests);
}
