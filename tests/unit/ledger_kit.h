/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_kit - a small ledger and short words for what is done to it. Every look at its status
 * checks its invariants. */
#ifndef TESTS_LEDGER_KIT_H
#define TESTS_LEDGER_KIT_H

#include "tap.h"

#include "base/err.h"
#include "core/ledger.h"

static const struct ledger_spec base_spec = {.params = 1000,
                                             .chunk_params = 10,
                                             .window = 1000,
                                             .max_attempts = 3,
                                             .retry_min_ms = 100,
                                             .retry_max_ms = 1000,
                                             .stale_ms = 60000};

static inline struct ledger *make(uint64_t chunks)
{
    struct ledger_spec spec = base_spec;
    spec.params = chunks * spec.chunk_params;
    struct ledger *l;
    assert_int_equal(ledger_new(STR("job"), &spec, 1, 1000, NULL, &l), 0);
    return l;
}

static inline struct ledger_worker *join(struct ledger *l, const char *name, uint64_t incarnation,
                                         uint32_t slots)
{
    struct ledger_worker *w;
    assert_int_equal(ledger_join(l, str_of(name), incarnation, 9, slots, 100, NULL, 0, 1000, &w),
                     0);
    return w;
}

static inline struct ledger_run take(struct ledger *l, struct ledger_worker *w, uint64_t count,
                                     uint64_t now_ms)
{
    struct ledger_run runs[64] = {{0}};
    size_t n;
    int rc = ledger_take(l, w, 9, count, now_ms, runs, &n);
    if (rc)
        return (struct ledger_run){0};
    assert_int_equal(n, 1);
    return runs[0];
}

static inline enum ledger_verdict commit(struct ledger *l, const char *name, uint64_t incarnation,
                                         uint64_t chunk, uint64_t epoch, const char *value)
{
    struct ledger_result r = {
        .chunk = chunk, .epoch = epoch, .kind = LEDGER_SUM, .value = str_of(value)};
    return ledger_commit(l, str_of(name), incarnation, &r, 2000);
}

static inline struct ledger_status status(const struct ledger *l)
{
    struct ledger_status s;
    ledger_check(l);
    ledger_status(l, &s);
    return s;
}

#endif
