/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/node_world.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "core/job.h"
#include "core/ledger_state.h"

#include <stdarg.h>
#include <stdlib.h>

enum { ORDER_BITS = 24 };

const char *world_plant_name(enum world_plant plant)
{
    static const char *const names[PLANT_COUNT] = {
        "none",           "skip-fsync", "ack-early",     "no-boot",   "lose-ticks",
        "no-epoch-check", "not-done",   "forget-leases", "no-memory", "wait-anew",
    };
    return names[plant];
}

void world_fail(struct world *w, const char *format, ...)
{
    va_list args;
    if (w->failure[0])
        return;
    va_start(args, format);
    vsnprintf(w->failure, sizeof w->failure, format, args);
    va_end(args);
}

void world_trace(struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->trace)
        return;
    va_start(args, format);
    printf("# %8llu ", (unsigned long long)w->now_ms);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void world_at(struct world *w, struct sim_event *e, uint64_t delay_ms, sim_event_fn *fn)
{
    e->fn = fn;
    /* What is due in the same millisecond happens in the order of asking. */
    uint64_t key = (w->now_ms + delay_ms) << ORDER_BITS | (w->order++ & ((1 << ORDER_BITS) - 1));
    int rc = heap_set(&w->events, &e->at, key);
    ensure(rc == 0);
}

void world_cancel(struct world *w, struct sim_event *e)
{
    heap_remove(&w->events, &e->at);
}

bool world_healing(const struct world *w)
{
    return w->now_ms >= w->fault_end_ms;
}

/* --- the faults of a run --- */

struct fault_plan {
    struct sim_event event, room, storm;
    uint64_t every_ms; /* on average */
};

static void room_again(struct world *w, struct sim_event *e)
{
    (void)e;
    sim_disk_faults(w->disk)->room_bytes = 0;
}

/* The node dies again before it can have missed anybody. */
static void storm(struct world *w, struct sim_event *e)
{
    if (world_healing(w))
        return;
    if (host_up(w->host))
        host_crash(w->host, false);
    world_at(w, e, w->storm_ms / 2 + world_below(w, w->storm_ms / 2), storm);
}

/* Somebody sets the clock. */
static void set_clock(struct world *w)
{
    static const int64_t errors_ms[] = {0, -3600000, 3600000, -2000, 2000, -300, 300};
    w->clock_error_ms = errors_ms[world_below(w, sizeof errors_ms / sizeof *errors_ms)];
    world_trace(w, "the clock is set: %+lld ms", (long long)w->clock_error_ms);
}

static void fault(struct world *w, struct sim_event *e)
{
    struct fault_plan *plan = container_of(e, struct fault_plan, event);
    if (world_healing(w)) { /* from here on everything works */
        struct sim_disk_faults *f = sim_disk_faults(w->disk);
        f->crash_at = f->fail_at = f->room_bytes = 0;
        return;
    }
    uint64_t dice = world_below(w, 100);
    if (dice < 6 && host_up(w->host)) {
        host_crash(w->host, world_chance(w, 0.7));
    } else if (dice < 8) {
        sim_disk_faults(w->disk)->room_bytes = 1; /* full: not one byte more */
        world_at(w, &plan->room, world_below(w, 3000), room_again);
    } else if (dice < 12) {
        set_clock(w);
    } else if (dice < 22) {
        clients_fault(w->clients);
    } else {
        sim_worker_fault(w->workers[world_below(w, WORLD_WORKERS)]);
    }
    uint64_t left = w->fault_end_ms - w->now_ms, next = 1 + world_below(w, 2 * plan->every_ms);
    world_at(w, e, next < left ? next : left, fault);
}

static void plant(struct world *w)
{
    (void)w;
#ifdef LEDGER_PLANTED
    static const unsigned rules[PLANT_COUNT] = {
        [PLANT_NO_EPOCH_CHECK] = LEDGER_PLANT_EPOCH,
        [PLANT_NOT_DONE] = LEDGER_PLANT_NOT_DONE,
        [PLANT_FORGET_LEASES] = LEDGER_PLANT_FORGET,
        [PLANT_NO_MEMORY] = LEDGER_PLANT_NO_MEMORY,
    };
    ledger_planted = rules[w->plant];
#endif
}

static void world_trace_state(struct world *w)
{
    struct job *j = host_up(w->host) ? job_find(host_core(w->host), STR("default")) : NULL;
    struct ledger_status s = {0};
    if (j)
        ledger_status(j->ledger, &s);
    world_trace(
        w,
        "node %s, job %s: %llu of %llu done, fresh %llu ready %llu delayed %llu leased %llu "
        "workers %llu",
        host_up(w->host) ? "up" : "down", j ? "there" : "missing", (unsigned long long)s.completed,
        (unsigned long long)s.chunks, (unsigned long long)s.fresh, (unsigned long long)s.ready,
        (unsigned long long)s.delayed, (unsigned long long)s.leased, (unsigned long long)s.workers);
    for (struct ledger_worker *k = NULL; j && (k = ledger_worker_next(j->ledger, k));) {
        struct ledger_worker_info info;
        ledger_worker_info(k, &info);
        world_trace(w, "%.*s %llu holds %llu", STR_ARG(info.name),
                    (unsigned long long)info.incarnation, (unsigned long long)info.held);
    }
    for (int i = 0; i < WORLD_WORKERS; i++)
        sim_worker_trace(w->workers[i]);
}

static bool world_turn(struct world *w)
{
    struct heap_node *first = heap_min(&w->events);
    if (!first) {
        world_fail(w, "nothing moves any more");
        return false;
    }
    uint64_t at_ms = first->key >> ORDER_BITS;
    if (at_ms > w->fault_end_ms + WORLD_HEAL_MS) {
        world_trace_state(w);
        world_fail(w, "no end %d s after all faults were over", WORLD_HEAL_MS / 1000);
        return false;
    }
    struct sim_event *e = container_of(first, struct sim_event, at);
    heap_remove(&w->events, first);
    w->now_ms = at_ms;
    e->fn(w, e);
    return !w->failure[0] && !w->finished;
}

int world_run(struct world *w, uint64_t seed, enum world_plant planted)
{
    bool trace = w->trace;
    *w = (struct world){.seed = seed, .plant = planted, .trace = trace, .now_ms = 1000000};
    struct fault_plan plan = {.every_ms = 0};
    prng_init(&w->prng, seed);
    heap_init(&w->events);
    list_init(&w->conns);
    if (sim_disk_new(seed, &w->disk))
        abort();
    sim_disk_faults(w->disk)->ignore_sync = planted == PLANT_SKIP_FSYNC;
    plant(w);
    w->chunks = 50 + world_below(w, WORLD_CHUNKS_MAX - 50);
    plan.every_ms = 50 + world_below(w, 1000);
    w->fault_end_ms = w->now_ms + world_below(w, WORLD_FAULTS_MS);
    w->check = check_new(w);
    w->host = host_new(w);
    w->clients = clients_new(w);
    for (int i = 0; i < WORLD_WORKERS; i++)
        w->workers[i] = sim_worker_new(w, i);
    world_at(w, &plan.event, 1, fault);
    if (world_chance(w, 0.3)) {
        w->storm_ms = 400 + world_below(w, 900);
        w->fault_end_ms += WORLD_FAULTS_MS;
        world_at(w, &plan.storm, w->storm_ms, storm);
    }
    while (world_turn(w))
        ;
    if (w->finished && !w->failure[0])
        check_end(w->check);
    for (int i = 0; i < WORLD_WORKERS; i++)
        sim_worker_free(w->workers[i]);
    clients_free(w->clients);
    world_cancel(w, &plan.event);
    world_cancel(w, &plan.storm);
    world_cancel(w, &plan.room);
    host_free(w->host);
    world_free_conns(w);
    check_free(w->check);
    heap_done(&w->events);
    sim_disk_free(w->disk);
    return w->failure[0] != '\0';
}
