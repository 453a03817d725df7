/* SPDX-License-Identifier: Apache-2.0 */
/* TTG.MAP: what a monitor draws, in an answer whose size the asker bounds. docs/protocol.md. */
#include "base/mem.h"
#include "core/job.h"

enum { CELLS_MAX = 16384, LEASES_MAX = 1024 };

struct map_args {
    uint64_t cells, leases, ran, since_ms;
};

static bool map_parse(struct core_call *call, struct map_args *a)
{
    const struct {
        const char *name;
        uint64_t *value, max;
    } options[] = {
        {"CELLS", &a->cells, CELLS_MAX},
        {"LEASES", &a->leases, LEASES_MAX},
        {"RAN", &a->ran, LEDGER_RAN_MAX},
        {"SINCE", &a->since_ms, INT64_MAX},
    };
    *a = (struct map_args){0};
    for (size_t i = 2; i < call->argc; i += 2) {
        size_t k = 0;
        while (k < sizeof options / sizeof *options && !arg_is(call, i, options[k].name))
            k++;
        if (k == sizeof options / sizeof *options || i + 1 == call->argc)
            return reply_syntax(call->reply), false;
        if (!arg_u64(call, i + 1, options[k].max, options[k].value))
            return false;
    }
    return true;
}

static bool cell_eq(const struct ledger_cell *a, const struct ledger_cell *b)
{
    return a->done == b->done && a->leased == b->leased && a->ready == b->ready &&
           a->delayed == b->delayed && a->dead == b->dead;
}

/* Equal neighbours together: repeat done leased ready delayed dead. */
static void reply_cells(struct reply *r, const struct ledger_cell *cells, uint64_t count)
{
    size_t mark = reply_open(r), numbers = 0;
    for (uint64_t i = 0, from; i < count; numbers += 6) {
        for (from = i++; i < count && cell_eq(&cells[i], &cells[from]);)
            i++;
        reply_count(r, i - from);
        reply_count(r, cells[from].done);
        reply_count(r, cells[from].leased);
        reply_count(r, cells[from].ready);
        reply_count(r, cells[from].delayed);
        reply_count(r, cells[from].dead);
    }
    reply_close(r, mark, numbers);
}

/* worker chunk epoch attempt since_ms: first the oldest lease of each, then the second... */
static void reply_leases(struct reply *r, const struct ledger *l, uint64_t limit)
{
    size_t mark = reply_open(r);
    uint64_t count = 0, before = UINT64_MAX;
    for (uint64_t depth = 0; count < limit && count != before; depth++) {
        before = count;
        for (const struct ledger_worker *w = NULL;
             count < limit && (w = ledger_worker_next(l, w));) {
            struct ledger_lease lease;
            struct ledger_worker_info info;
            if (!ledger_lease(w, depth, &lease))
                continue;
            ledger_worker_info(w, &info);
            reply_str(r, info.name);
            reply_count(r, lease.chunk);
            reply_count(r, lease.epoch);
            reply_count(r, lease.attempt);
            reply_count(r, lease.since_ms);
            count++;
        }
    }
    reply_close(r, mark, 5 * (size_t)count);
}

/* worker chunk attempt end_ms duration_us, newest first. */
static void reply_ran(struct reply *r, const struct ledger *l, uint64_t newest,
                      const struct map_args *a)
{
    struct ledger_ran ran;
    size_t mark = reply_open(r), count = 0;
    for (uint64_t seq = newest; count < a->ran && ledger_ran(l, seq, &ran); seq--, count++) {
        if (ran.end_ms < a->since_ms)
            break;
        reply_str(r, ran.worker);
        reply_count(r, ran.chunk);
        reply_count(r, ran.attempt);
        reply_count(r, ran.end_ms);
        reply_count(r, ran.duration_us);
    }
    reply_close(r, mark, 5 * count);
}

void job_view_map(struct job *j, struct core_call *call)
{
    struct map_args a;
    struct ledger_status s;
    struct reply *r = call->reply;
    if (!map_parse(call, &a))
        return;
    ledger_status(j->ledger, &s);
    uint64_t per_cell = ledger_per_cell(j->ledger, a.cells ? a.cells : 1);
    uint64_t count = a.cells ? s.chunks / per_cell + (s.chunks % per_cell > 0) : 0;
    struct ledger_cell *cells = mem_array(count, sizeof *cells);
    if (!cells) {
        reply_no_memory(r);
        return;
    }
    if (count > 0)
        ledger_cells(j->ledger, per_cell, cells);
    reply_map(r, 6);
    reply_text(r, "now_ms");
    reply_count(r, call->now_ms);
    reply_text(r, "chunks");
    reply_count(r, s.chunks);
    reply_text(r, "per_cell");
    reply_count(r, per_cell);
    reply_text(r, "cells");
    reply_cells(r, cells, count);
    reply_text(r, "leases");
    reply_leases(r, j->ledger, a.leases);
    reply_text(r, "ran");
    reply_ran(r, j->ledger, s.result_seq, &a);
    mem_free(cells);
}

void job_map(struct core *c, struct core_call *call)
{
    struct job *j;
    if (arg_job(c, call, 1, &j))
        job_view_map(j, call);
}
