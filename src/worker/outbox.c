/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/outbox.h"

#include "base/ensure.h"
#include "base/mem.h"

enum { OUTBOX_BYTES_MAX = 64 << 20 };

/* One commit: gathers, then travels with its leases remembered. */
struct batch {
    struct outbox *outbox;
    struct queue_commit commit;
    struct queue_result results[QUEUE_COMMIT_MAX];
    size_t count;
    struct buf outputs; /* what results[].output lie in: offsets until it is sent */
};

struct outbox {
    struct outbox_config config;
    struct outbox_totals totals;
    struct batch *gathering; /* NULL: all are under way */
    struct batch *batches[OUTBOX_COMMITS];
    uint64_t pending;
};

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    struct batch *b = r->ctx;
    struct outbox *o = b->outbox;
    uint64_t others = 0;
    o->pending -= b->count;
    b->count = 0;
    buf_clear(&b->outputs);
    if (!o->gathering)
        o->gathering = b;
    if (rc) {
        o->config.on_failed(o->config.ctx, rc, err);
        return;
    }
    for (size_t i = 0; i < b->commit.verdict_count; i++) {
        const struct queue_verdict *v = &b->commit.verdicts[i];
        o->totals.stale += v->verdict == LEDGER_STALE;
        o->totals.refused += v->verdict == LEDGER_REFUSED;
        o->totals.invalid += v->verdict == LEDGER_INVALID;
        others += v->verdict == LEDGER_AGAIN;
        if (v->verdict != LEDGER_AGAIN)
            o->config.on_verdict(o->config.ctx, v->chunk, v->verdict);
    }
    o->totals.accepted += b->commit.accepted + others;
    o->config.on_room(o->config.ctx);
}

int outbox_new(struct outbox **ret_outbox, const struct outbox_config *config)
{
    struct outbox *o = mem_zalloc(sizeof *o);
    if (!o)
        return TTG_ENOMEM;
    o->config = *config;
    for (int i = 0; i < OUTBOX_COMMITS; i++) {
        struct batch *b = o->batches[i] = mem_zalloc(sizeof *b);
        if (!b) {
            outbox_free(o);
            return TTG_ENOMEM;
        }
        b->outbox = o;
        buf_init(&b->outputs, OUTBOX_BYTES_MAX);
        queue_request_init(&b->commit.call.request, QUEUE_COMMIT, on_done, b);
    }
    o->gathering = o->batches[0];
    *ret_outbox = o;
    return 0;
}

void outbox_free(struct outbox *o)
{
    if (!o)
        return;
    for (int i = 0; i < OUTBOX_COMMITS && o->batches[i]; i++) {
        queue_request_done(&o->batches[i]->commit.call.request);
        buf_done(&o->batches[i]->outputs);
        mem_free(o->batches[i]);
    }
    mem_free(o);
}

bool outbox_full(const struct outbox *o)
{
    return !o->gathering || o->gathering->count == QUEUE_COMMIT_MAX ||
           buf_len(&o->gathering->outputs) >= OUTBOX_BYTES_MAX / 2;
}

int outbox_add(struct outbox *o, const struct queue_result *r)
{
    struct batch *b = o->gathering;
    if (outbox_full(o))
        return TTG_EFULL;
    size_t at = buf_len(&b->outputs);
    int rc = r->is_sum ? 0 : buf_add_str(&b->outputs, r->output);
    if (rc)
        return rc;
    struct queue_result *to = &b->results[b->count++];
    *to = *r;
    if (!r->is_sum)
        to->output = (struct str){(const char *)(uintptr_t)at, r->output.len};
    o->pending++;
    return 0;
}

static struct batch *idle_batch(struct outbox *o)
{
    for (int i = 0; i < OUTBOX_COMMITS; i++)
        if (!queue_request_busy(&o->batches[i]->commit.call.request) && o->batches[i]->count == 0)
            return o->batches[i];
    return NULL;
}

void outbox_flush(struct outbox *o)
{
    struct batch *b = o->gathering;
    if (!b || b->count == 0)
        return;
    for (size_t i = 0; i < b->count; i++) /* the buffer does not move any more */
        if (!b->results[i].is_sum)
            b->results[i].output.ptr = buf_ptr(&b->outputs) + (uintptr_t)b->results[i].output.ptr;
    b->commit.call.job = o->config.job;
    b->commit.worker = o->config.worker;
    b->commit.results = b->results;
    b->commit.count = b->count;
    o->gathering = idle_batch(o);
    queue_send(o->config.queue, &b->commit.call.request);
}

uint64_t outbox_pending(const struct outbox *o)
{
    return o->pending;
}

size_t outbox_list(const struct outbox *o, struct ledger_held *out, size_t max)
{
    size_t n = 0;
    for (int i = 0; i < OUTBOX_COMMITS; i++)
        for (size_t k = 0; k < o->batches[i]->count && n < max; k++)
            out[n++] = (struct ledger_held){o->batches[i]->results[k].chunk,
                                            o->batches[i]->results[k].epoch};
    return n;
}

struct outbox_totals outbox_totals(const struct outbox *o)
{
    return o->totals;
}
