/* SPDX-License-Identifier: Apache-2.0 */
/* What the job ledger does a second, alone in memory: take 64, commit 64, three workers in turn. */
#include "base/mem.h"
#include "core/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 64, WORKERS = 3 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void commit_run(struct ledger *l, const char *name, const struct ledger_run *run)
{
    for (uint64_t k = 0; k < run->count; k++) {
        struct ledger_result r = {
            .chunk = run->chunk + k, .epoch = run->epoch + k, .kind = LEDGER_SUM};
        r.value = STR("49995000");
        if (ledger_commit(l, str_of(name), 1, &r, 2000) != LEDGER_ACCEPTED)
            abort();
    }
}

int main(int argc, char **argv)
{
    uint64_t chunks = argc > 1 ? strtoull(argv[1], NULL, 10) : 3000000, done = 0;
    static const char *const names[WORKERS] = {"worker-0", "worker-1", "worker-2"};
    struct ledger_spec spec = {.params = chunks,
                               .chunk_params = 1,
                               .window = LEDGER_WINDOW,
                               .max_attempts = 5,
                               .retry_max_ms = 5000,
                               .stale_ms = 60000};
    struct ledger *l;
    struct ledger_worker *workers[WORKERS];
    struct ledger_run runs[BATCH];
    size_t n;
    if (ledger_new(STR("bench"), &spec, 1, 1000, NULL, &l))
        return 1;
    for (int i = 0; i < WORKERS; i++)
        if (ledger_join(l, str_of(names[i]), 1, 1, 1, LEDGER_RECENT, NULL, 0, 1000, &workers[i]))
            return 1;
    double started = seconds();
    for (int i = 0; done < chunks; i = (i + 1) % WORKERS) {
        if (ledger_take(l, workers[i], 1, BATCH, 2000, runs, &n))
            continue;
        for (size_t r = 0; r < n; r++) {
            commit_run(l, names[i], &runs[r]);
            done += runs[r].count;
        }
    }
    double took = seconds() - started;
    printf("ledger: %llu chunks in %.3f s, %.0f chunks/s\n", (unsigned long long)done, took,
           (double)done / took);
    ledger_free(l);
    return 0;
}
