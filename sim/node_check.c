/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold, from what the clients were told and what the files gave back. */
#include "base/hash.h"
#include "base/mem.h"
#include "core/job.h"
#include "sim/node_world.h"

#include <stdlib.h>

enum {
    POSITIONS = 1 << 16,
    GRANTS = 1 << 16,
    HEARD = 256,       /* incarnations that spoke last */
    WAITS_MS = 60000,  /* twice what a chunk takes whoever is not slow himself */
    UNTOLD_MS = 250,   /* of each life: before the first tick, behind the last one */
    MISSED_MS = 10000, /* silent, then not back, and a full disk that keeps it from being noted */
};

struct grant {
    uint64_t epoch, chunk, incarnation; /* epoch 0: empty */
    int worker;
};

struct check {
    struct world *w;
    uint64_t committed[WORLD_CHUNKS_MAX]; /* epoch of the acknowledged commit; 0: none */
    struct {
        uint64_t epoch, at_ms, crashes;
    } newest[WORLD_CHUNKS_MAX];          /* the newest lease that a worker was told of */
    uint64_t recorded[WORLD_CHUNKS_MAX]; /* epoch of the result, 1: without one */
    uint64_t results;
    struct grant *grants; /* by hash of the epoch */
    struct grant stale[4096];
    size_t stale_count;
    uint64_t *digests;   /* of the state after a position */
    uint64_t *digest_of; /* that position */
    uint64_t *time_of;   /* of its newest record */
    uint64_t acknowledged;
    struct {
        uint64_t incarnation, up_ms;
        int worker;
    } heard[HEARD];
    size_t heard_count;
    uint64_t lives_ms; /* what counts of the lives before */
};

struct check *check_new(struct world *w)
{
    struct check *c = mem_zalloc(sizeof *c);
    if (!c)
        abort();
    c->w = w;
    c->grants = mem_zalloc(GRANTS * sizeof *c->grants);
    c->digests = mem_zalloc(POSITIONS * sizeof *c->digests);
    c->digest_of = mem_zalloc(POSITIONS * sizeof *c->digest_of);
    c->time_of = mem_zalloc(POSITIONS * sizeof *c->time_of);
    if (!c->grants || !c->digests || !c->digest_of || !c->time_of)
        abort();
    return c;
}

void check_free(struct check *c)
{
    mem_free(c->grants);
    mem_free(c->digests);
    mem_free(c->digest_of);
    mem_free(c->time_of);
    mem_free(c);
}

void check_granted(struct check *c, uint64_t chunk, uint64_t epoch, int worker,
                   uint64_t incarnation, bool stands)
{
    size_t at = hash_u64(epoch) % GRANTS;
    if (epoch > c->newest[chunk].epoch) {
        c->newest[chunk].epoch = epoch;
        c->newest[chunk].at_ms = c->w->now_ms;
        /* Told by a node that is gone: perhaps it took the lease with it. */
        c->newest[chunk].crashes = stands ? c->w->crashes : UINT64_MAX;
    }
    for (; c->grants[at].epoch != 0; at = (at + 1) % GRANTS) {
        const struct grant *g = &c->grants[at];
        if (g->epoch != epoch)
            continue;
        world_fail(c->w,
                   "epoch %llu was granted twice: chunk %llu to worker-%d and chunk %llu to "
                   "worker-%d",
                   (unsigned long long)epoch, (unsigned long long)g->chunk, g->worker,
                   (unsigned long long)chunk, worker);
        return;
    }
    if (++c->w->grants < GRANTS / 2)
        c->grants[at] = (struct grant){epoch, chunk, incarnation, worker};
}

void check_accepted(struct check *c, uint64_t chunk, uint64_t epoch, uint64_t sent_ms)
{
    /* A crash may take a lease back that was told early; without one in between it stands. */
    if (c->newest[chunk].epoch > epoch && c->newest[chunk].at_ms < sent_ms &&
        c->newest[chunk].crashes == c->w->crashes)
        world_fail(c->w, "chunk %llu: epoch %llu was accepted after epoch %llu had been granted",
                   (unsigned long long)chunk, (unsigned long long)epoch,
                   (unsigned long long)c->newest[chunk].epoch);
    check_committed(c, chunk, epoch);
}

void check_committed(struct check *c, uint64_t chunk, uint64_t epoch)
{
    if (c->committed[chunk] && c->committed[chunk] != epoch)
        world_fail(c->w, "chunk %llu was committed twice, in epochs %llu and %llu",
                   (unsigned long long)chunk, (unsigned long long)c->committed[chunk],
                   (unsigned long long)epoch);
    c->w->acked += !c->committed[chunk];
    c->committed[chunk] = epoch;
}

void check_stale(struct check *c, uint64_t chunk, uint64_t epoch)
{
    if (c->stale_count < sizeof c->stale / sizeof *c->stale)
        c->stale[c->stale_count++] = (struct grant){.epoch = epoch, .chunk = chunk};
}

/* A line of output: {"chunk_id":"00012", ... "output":"12:1099511627777"} */
void check_result(struct check *c, struct str line)
{
    char text[1024];
    unsigned long long chunk = 0, named = 0, epoch = 1;
    snprintf(text, sizeof text, "%.*s", STR_ARG(line));
    const char *output = strstr(text, "\"output\":\"");
    if (sscanf(text, "{\"chunk_id\":\"%llu\"", &chunk) != 1 || chunk >= c->w->chunks || !output) {
        world_fail(c->w, "not a result: %s", text);
        return;
    }
    if (sscanf(output, "\"output\":\"%llu:%llu\"", &named, &epoch) == 2 && named != chunk)
        world_fail(c->w, "chunk %llu has the result of chunk %llu", chunk, named);
    if (c->recorded[chunk])
        world_fail(c->w, "chunk %llu has two results, of epochs %llu and %llu", chunk,
                   (unsigned long long)c->recorded[chunk], epoch);
    c->recorded[chunk] = epoch;
    c->results++;
}

void check_appended(struct check *c, uint64_t position)
{
    c->digest_of[position % POSITIONS] = position;
    c->digests[position % POSITIONS] = core_digest(host_core(c->w->host));
    c->time_of[position % POSITIONS] = core_now_ms(host_core(c->w->host));
}

void check_acknowledged(struct check *c, uint64_t position)
{
    if (position > c->acknowledged)
        c->acknowledged = position;
}

/* --- who has to be missed --- */

static int worker_number(struct str name)
{
    int number = -1;
    char text[64];
    snprintf(text, sizeof text, "%.*s", STR_ARG(name));
    sscanf(text, "worker-%d", &number);
    return number;
}

static size_t heard_find(const struct check *c, int worker, uint64_t incarnation)
{
    for (size_t i = 0; i < c->heard_count && i < HEARD; i++)
        if (c->heard[i].worker == worker && c->heard[i].incarnation == incarnation)
            return i;
    return HEARD;
}

static uint64_t counted_ms(uint64_t up_ms)
{
    return up_ms > UNTOLD_MS ? up_ms - UNTOLD_MS : 0;
}

void check_heard(struct check *c, struct str worker, uint64_t incarnation, uint64_t up_ms)
{
    int number = worker_number(worker);
    size_t i = heard_find(c, number, incarnation);
    if (i == HEARD)
        i = c->heard_count++ % HEARD;
    c->heard[i].worker = number;
    c->heard[i].incarnation = incarnation;
    c->heard[i].up_ms = c->lives_ms + counted_ms(up_ms);
}

void check_life(struct check *c, uint64_t up_ms)
{
    c->lives_ms += counted_ms(up_ms);
}

struct missed {
    struct check *c;
    uint64_t up_ms;
};

static void one_missed(void *ctx, const struct core_worker *w)
{
    struct missed *m = ctx;
    struct check *c = m->c;
    size_t i = heard_find(c, worker_number(w->name), w->incarnation);
    if (i < HEARD && m->up_ms > c->heard[i].up_ms + MISSED_MS)
        world_fail(c->w, "%.*s %llu: the node has been up for %llu ms without it", STR_ARG(w->name),
                   (unsigned long long)w->incarnation,
                   (unsigned long long)(m->up_ms - c->heard[i].up_ms));
}

void check_missed(struct check *c, uint64_t up_ms)
{
    struct missed m = {c, c->lives_ms + counted_ms(up_ms)};
    core_each_worker(host_core(c->w->host), one_missed, &m);
}

void check_waits(struct check *c, struct str worker, uint64_t now_ms, uint64_t retry_ms)
{
    struct job *j = job_find(host_core(c->w->host), STR("default"));
    struct ledger_worker *w = j ? ledger_worker_named(j->ledger, worker) : NULL;
    struct ledger_worker_info info;
    struct ledger_status s;
    if (!w)
        return;
    ledger_worker_info(w, &info);
    ledger_status(j->ledger, &s);
    if (s.state != LEDGER_RUNNING || info.held >= info.slots || s.ready + s.fresh == 0)
        return;
    c->w->waits++;
    if (retry_ms <= now_ms || retry_ms > now_ms + WAITS_MS)
        world_fail(c->w, "%.*s idles beside %llu chunks, until %llu ms from now", STR_ARG(worker),
                   (unsigned long long)(s.ready + s.fresh),
                   retry_ms > now_ms ? (unsigned long long)(retry_ms - now_ms) : 0);
}

bool check_recovered(struct check *c, uint64_t position)
{
    struct core *core = host_core(c->w->host);
    if (position < c->acknowledged) {
        world_fail(c->w, "position %llu was acknowledged, the log ends at %llu",
                   (unsigned long long)c->acknowledged, (unsigned long long)position);
        return false;
    }
    if (position > 0 && c->digest_of[position % POSITIONS] == position &&
        c->digests[position % POSITIONS] != core_digest(core)) {
        world_fail(c->w, "the state after replay to position %llu is not the state before",
                   (unsigned long long)position);
        return false;
    }
    if (position > 0 && c->digest_of[position % POSITIONS] == position &&
        c->time_of[position % POSITIONS] != core_now_ms(core)) {
        world_fail(c->w, "the time after replay to position %llu is not the time before",
                   (unsigned long long)position);
        return false;
    }
    struct job *j = position ? job_find(core, STR("default")) : NULL;
    if (j)
        ledger_check(j->ledger);
    for (uint64_t chunk = 0; chunk < c->w->chunks; chunk++) {
        struct ledger_chunk_info info = {.place = LEDGER_AT_NONE};
        if (j)
            ledger_chunk_info(j->ledger, chunk, &info);
        if (!c->committed[chunk] || info.place == LEDGER_AT_DONE)
            continue;
        world_fail(c->w, "the commit of chunk %llu was acknowledged and is gone",
                   (unsigned long long)chunk);
        return false;
    }
    return true;
}

void check_end(struct check *c)
{
    for (uint64_t chunk = 0; chunk < c->w->chunks; chunk++) {
        if (!c->recorded[chunk])
            world_fail(c->w, "chunk %llu is forgotten: it has no result",
                       (unsigned long long)chunk);
        if (c->committed[chunk] && c->recorded[chunk] != c->committed[chunk])
            world_fail(c->w, "chunk %llu: epoch %llu was acknowledged, epoch %llu is recorded",
                       (unsigned long long)chunk, (unsigned long long)c->committed[chunk],
                       (unsigned long long)c->recorded[chunk]);
    }
    for (size_t i = 0; i < c->stale_count; i++)
        if (c->recorded[c->stale[i].chunk] == c->stale[i].epoch)
            world_fail(c->w, "chunk %llu: the recorded commit of epoch %llu was called stale",
                       (unsigned long long)c->stale[i].chunk,
                       (unsigned long long)c->stale[i].epoch);
}
