/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a job: a slow worker does not get a chunk that everybody would then wait for.
 *
 * Each worker's chunks have a mean time and a mean distance from it, both moving. Who asks is
 * thought to need what it needs on a good day, the others what they need on a bad one. If those
 * end all that is left, and what they hold, within three quarters of the time that he needs, there
 * is nothing for him. Workers alike never see that, nor does anybody whose chunks differ much.
 *
 * Nobody waits for nothing: a worker is counted on only while it commits. Not before it has
 * committed a few, not when it was cut off, gave a chunk back or failed, not when its chunk takes
 * twice as long as it should, nor when it is idle and does not ask. So without a commit a refusal
 * ends by itself, after about the time that the chunk would have taken him at most, and
 * ledger_wait_ms says when. The quickest of those that can be counted on is never refused.
 *
 * None of this is state. A take that has to wait is not in the log, and one that is in the log is
 * not asked about again: a replay does what was done, whatever was known then, and by whichever
 * version of these rules. */
#include "core/ledger_state.h"

enum {
    TAIL_RANGE = 64,     /* chunks left for each slot; before that is no end in sight */
    TAIL_RAN = 4,        /* commits without which nothing is known */
    TAIL_US_MIN = 10000, /* nothing is gained by less */
    PACE_US_MIN = 1000,  /* the time of commands has no finer grain */
    GRACE_MS = 10,       /* for commits and takes on their way */
    AGAIN_MS_MIN = 10,
    PACE_ALL = 64, /* commits of all workers that count for the common pace */
};

void ledger_pace_add(struct ledger *l, struct ledger_worker *w, uint64_t duration_us,
                     uint64_t now_ms)
{
    struct ledger_pace *p = &w->pace;
    int64_t us = (int64_t)(duration_us < LEDGER_PACE_US_MAX ? duration_us : LEDGER_PACE_US_MAX);
    l->pace_us = (uint64_t)((int64_t)l->pace_us + (us - (int64_t)l->pace_us) / PACE_ALL);
    int64_t mean = (int64_t)p->mean_us, spread = (int64_t)p->spread_us;
    int64_t off = us > mean ? us - mean : mean - us;
    p->last_ms = now_ms;
    if (p->ran == LEDGER_PACE_RAN) { /* apart, because this one divides by a constant */
        p->mean_us = (uint64_t)(mean + (us - mean) / LEDGER_PACE_RAN);
        p->spread_us = (uint64_t)(spread + (off - spread) / LEDGER_PACE_RAN);
        return;
    }
    p->mean_us = (uint64_t)(mean + (us - mean) / (int64_t)++p->ran);
    p->spread_us = p->ran > 1 ? (uint64_t)(spread + (off - spread) / (int64_t)(p->ran - 1)) : 0;
}

static uint64_t quick_us(const struct ledger_worker *w)
{
    return w->pace.mean_us > w->pace.spread_us ? w->pace.mean_us - w->pace.spread_us : 0;
}

static uint64_t slow_us(const struct ledger_worker *w)
{
    uint64_t us = w->pace.mean_us + w->pace.spread_us;
    return us > PACE_US_MIN ? us : PACE_US_MIN;
}

/* Until when it is counted on, if nothing is heard of it; 0: it is not. */
static uint64_t relied_until_ms(const struct ledger_worker *w)
{
    if (w->foreign || !w->client || w->pace.ran < TAIL_RAN)
        return 0;
    uint64_t late_ms = slow_us(w) / 1000;
    if (w->held == 0)
        return w->pace.last_ms + GRACE_MS + (late_ms < LEDGER_STEAL_MS ? late_ms : LEDGER_STEAL_MS);
    uint64_t since_ms = container_of(w->leases.next, struct ledger_chunk, link)->since_ms;
    uint64_t from_ms = since_ms > w->pace.last_ms ? since_ms : w->pace.last_ms;
    return from_ms + GRACE_MS + 2 * late_ms;
}

/* How many more chunks than it holds it will have ended in that time. */
static uint64_t spare_chunks(const struct ledger_worker *w, uint64_t us, uint64_t now_ms)
{
    if (relied_until_ms(w) <= now_ms)
        return 0;
    uint64_t ends = us / slow_us(w) * w->slots;
    return ends > w->held ? ends - w->held : 0;
}

/* The time after which `w` would clearly be late with one chunk more; 0: there is none. */
static uint64_t early_us(const struct ledger_worker *w)
{
    if (w->foreign || w->pace.ran < TAIL_RAN)
        return 0;
    uint64_t us = quick_us(w) * (w->held / w->slots + 1);
    return us < TAIL_US_MIN ? 0 : us / 4 * 3;
}

/* The others end all that is left. */
static bool others_end(const struct ledger *l, const struct ledger_worker *w, uint64_t us,
                       uint64_t now_ms)
{
    uint64_t left = l->count[CHUNK_READY] + l->count[CHUNK_DELAYED] + (l->chunk_count - l->next);
    uint64_t spare = 0;
    if (left > TAIL_RANGE * l->slots)
        return false;
    for (const struct ledger_worker *o = NULL; spare < left && (o = ledger_worker_next(l, o));)
        spare += o == w ? 0 : spare_chunks(o, us, now_ms);
    return spare >= left;
}

/* Who has more than slots ends it itself: nothing to steal. */
static bool holders_end(const struct ledger *l, const struct ledger_worker *w, uint64_t us,
                        uint64_t now_ms)
{
    bool any = false;
    if (l->overloaded == 0)
        return false;
    for (const struct ledger_worker *o = NULL; (o = ledger_worker_next(l, o));) {
        if (o == w || o->foreign || o->held <= o->slots)
            continue;
        if (spare_chunks(o, us, now_ms) == 0)
            return false;
        any = true;
    }
    return any;
}

uint64_t ledger_wait_ms(const struct ledger *l, const struct ledger_worker *w, uint64_t client,
                        uint64_t now_ms)
{
    uint64_t us = early_us(w), first_ms = UINT64_MAX;
    /* Ten thousand workers alike are not compared with each other at each take: in less than the
     * common pace hardly anybody ends a chunk. */
    if (us == 0 || us < l->pace_us || l->state != LEDGER_RUNNING || w->client != client)
        return 0;
    if (!(ledger_takeable(l) > 0 ? others_end : holders_end)(l, w, us, now_ms))
        return 0;
    for (const struct ledger_worker *o = NULL; (o = ledger_worker_next(l, o));) {
        uint64_t until_ms = relied_until_ms(o);
        if (o != w && until_ms > now_ms && until_ms < first_ms)
            first_ms = until_ms;
    }
    return first_ms > now_ms + AGAIN_MS_MIN ? first_ms : now_ms + AGAIN_MS_MIN;
}

const struct ledger_worker *ledger_waiting(const struct ledger *l, uint64_t now_ms)
{
    const struct ledger_worker *first = NULL;
    for (const struct ledger_worker *w = NULL; (w = ledger_worker_next(l, w));) {
        if (w->foreign || !w->client || w->held >= w->slots)
            continue;
        if (ledger_wait_ms(l, w, w->client, now_ms) == 0)
            return NULL;
        first = first ? first : w;
    }
    return first;
}
