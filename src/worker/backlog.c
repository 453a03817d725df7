/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/backlog.h"

#include "base/err.h"
#include "base/mem.h"

void backlog_init(struct backlog *b)
{
    *b = (struct backlog){0};
}

void backlog_done(struct backlog *b)
{
    mem_free(b->runs);
    backlog_init(b);
}

void backlog_clear(struct backlog *b)
{
    b->first = b->count = 0;
    b->chunks = 0;
}

static struct backlog_run *at(const struct backlog *b, size_t i)
{
    return &b->runs[(b->first + i) % b->cap];
}

static int grow(struct backlog *b)
{
    if (b->count < b->cap)
        return 0;
    size_t cap = b->cap ? b->cap * 2 : 16;
    struct backlog_run *runs = mem_array(cap, sizeof *runs);
    if (!runs)
        return TTG_ENOMEM;
    for (size_t i = 0; i < b->count; i++)
        runs[i] = *at(b, i);
    mem_free(b->runs);
    b->runs = runs;
    b->first = 0;
    b->cap = cap;
    return 0;
}

int backlog_push(struct backlog *b, const struct ledger_run *run, uint64_t now_ms)
{
    if (grow(b))
        return TTG_ENOMEM;
    b->count++;
    *at(b, b->count - 1) = (struct backlog_run){*run, now_ms};
    b->chunks += run->count;
    return 0;
}

bool backlog_pop(struct backlog *b, struct ledger_run *ret_chunk)
{
    if (b->count == 0)
        return false;
    struct ledger_run *run = &at(b, 0)->run;
    *ret_chunk = (struct ledger_run){run->chunk, 1, run->epoch, run->attempt};
    run->chunk++;
    run->epoch++;
    b->chunks--;
    if (--run->count == 0) {
        b->first = (b->first + 1) % b->cap;
        b->count--;
    }
    return true;
}

/* Puts an empty place at `i`. */
static void open_at(struct backlog *b, size_t i)
{
    b->count++;
    for (size_t k = b->count - 1; k > i; k--)
        *at(b, k) = *at(b, k - 1);
}

static void close_at(struct backlog *b, size_t i)
{
    for (size_t k = i; k + 1 < b->count; k++)
        *at(b, k) = *at(b, k + 1);
    b->count--;
}

static bool find(const struct backlog *b, uint64_t chunk, uint64_t epoch, size_t *ret_i)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct ledger_run *run = &at(b, i)->run;
        uint64_t offset = chunk - run->chunk;
        if (chunk >= run->chunk && offset < run->count && run->epoch + offset == epoch) {
            *ret_i = i;
            return true;
        }
    }
    return false;
}

/* Makes the chunk a run of its own and returns its place. */
static bool isolate(struct backlog *b, uint64_t chunk, uint64_t epoch, size_t *ret_i)
{
    size_t i;
    if (!find(b, chunk, epoch, &i))
        return false;
    uint64_t before = chunk - at(b, i)->run.chunk;
    if (before > 0) {
        if (grow(b))
            return false;
        open_at(b, i + 1);
        *at(b, i + 1) = *at(b, i);
        at(b, i)->run.count = before;
        at(b, i + 1)->run.chunk += before;
        at(b, i + 1)->run.epoch += before;
        at(b, i + 1)->run.count -= before;
        i++;
    }
    if (at(b, i)->run.count > 1) {
        if (grow(b))
            return false; /* still whole: only cut in two */
        open_at(b, i + 1);
        *at(b, i + 1) = *at(b, i);
        at(b, i)->run.count = 1;
        at(b, i + 1)->run.chunk++;
        at(b, i + 1)->run.epoch++;
        at(b, i + 1)->run.count--;
    }
    *ret_i = i;
    return true;
}

bool backlog_remove(struct backlog *b, uint64_t chunk, uint64_t epoch)
{
    size_t i;
    if (!isolate(b, chunk, epoch, &i))
        return false;
    close_at(b, i);
    b->chunks--;
    return true;
}

bool backlog_renew(struct backlog *b, struct ledger_held old, uint64_t epoch)
{
    size_t i;
    if (!isolate(b, old.chunk, old.epoch, &i))
        return false;
    at(b, i)->run.epoch = epoch;
    return true;
}

uint64_t backlog_oldest_ms(const struct backlog *b)
{
    return b->count ? at(b, 0)->taken_ms : UINT64_MAX;
}

size_t backlog_list(const struct backlog *b, struct ledger_held *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < b->count; i++) {
        const struct ledger_run *run = &at(b, i)->run;
        for (uint64_t k = 0; k < run->count && n < max; k++)
            out[n++] = (struct ledger_held){run->chunk + k, run->epoch + k};
    }
    return n;
}
