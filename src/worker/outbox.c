/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/outbox.h"

#include "base/ensure.h"
#include "base/mem.h"

enum batch_state {
    BATCH_FREE,
    BATCH_GATHERING, /* always exactly one */
    BATCH_WAITING,   /* to be sent (again) as it is */
    BATCH_SENT,
};

/* One commit: gathers, then travels with its leases remembered. */
struct batch {
    struct outbox *outbox;
    enum batch_state state;
    bool closed; /* results[].output point into `outputs`; offsets before */
    struct queue_commit commit;
    struct queue_result *results;
    size_t count;
    uint64_t sent_us;
    struct buf outputs;
};

struct failure {
    struct list link;
    struct outbox *outbox;
    bool sent;
    uint64_t renewed; /* epoch of a new grant; 0: none */
    struct queue_fail fail;
    struct buf reason;
};

struct outbox {
    struct outbox_config config;
    struct outbox_totals totals;
    struct batch *gathering;
    struct batch batches[OUTBOX_BATCHES];
    size_t batch_max;
    size_t output_bytes; /* of all results here */
    struct list failures;
    size_t failure_count, sent; /* sent: batches and failures under way */
    uint64_t results, answered; /* here; answered so far */
    bool held;
    uint64_t now_ms; /* of the last flush */
    uint64_t refused_since_ms, refused_ms, retry_at_ms, retry_ms;
};

bool outbox_not_now(int rc)
{
    /* TTG_EACCES: a replica that is not writable, in a failover. */
    return (err_retry_helps(rc) && rc != TTG_EUNREACH) || rc == TTG_EACCES;
}

/* What a request ended with: true when it has been answered for good. Otherwise it stays. */
static bool answered(struct outbox *o, int rc, const struct err *err)
{
    if (!rc) {
        o->refused_since_ms = UINT64_MAX;
        o->retry_ms = 0;
        return true;
    }
    if (rc == TTG_ECLOSED || rc == TTG_EUNREACH || rc == TTG_ECANCELED)
        return false; /* the connections' own callbacks tell */
    if (!outbox_not_now(rc)) {
        o->config.on_failed(o->config.ctx, rc, err);
        return false;
    }
    if (o->refused_since_ms == UINT64_MAX)
        o->refused_since_ms = o->now_ms;
    o->refused_ms = o->now_ms;
    o->retry_ms = o->retry_ms ? o->retry_ms * 2 : OUTBOX_RETRY_MS;
    if (o->retry_ms > OUTBOX_RETRY_MS_MAX)
        o->retry_ms = OUTBOX_RETRY_MS_MAX;
    o->retry_at_ms = o->now_ms + o->retry_ms;
    return false;
}

/* --- results --- */

static void tell_verdicts(struct outbox *o, const struct queue_commit *c)
{
    uint64_t again = 0;
    for (size_t i = 0; i < c->verdict_count; i++) {
        const struct queue_verdict *v = &c->verdicts[i];
        o->totals.stale += v->verdict == LEDGER_STALE;
        o->totals.refused += v->verdict == LEDGER_REFUSED;
        o->totals.invalid += v->verdict == LEDGER_INVALID;
        again += v->verdict == LEDGER_AGAIN;
        if (v->verdict != LEDGER_AGAIN)
            o->config.on_verdict(o->config.ctx, v->chunk, v->verdict);
    }
    o->totals.accepted += c->accepted + again;
}

static void on_committed(struct queue_request *r, int rc, const struct err *err)
{
    struct batch *b = r->ctx;
    struct outbox *o = b->outbox;
    o->sent--;
    b->state = BATCH_WAITING;
    if (!rc && o->config.latency)
        histogram_add(o->config.latency, o->config.now_us(o->config.ctx) - b->sent_us);
    if (answered(o, rc, err)) {
        o->results -= b->count;
        o->answered += b->count;
        b->state = BATCH_FREE;
        b->count = 0;
        b->closed = false;
        o->output_bytes -= buf_len(&b->outputs);
        if (b->outputs.cap > OUTBOX_KEPT_BYTES)
            buf_done(&b->outputs);
        buf_clear(&b->outputs);
        tell_verdicts(o, &b->commit);
    }
    o->config.on_room(o->config.ctx);
}

static void batch_close(struct batch *b)
{
    if (b->closed)
        return;
    for (size_t i = 0; i < b->count; i++) /* the buffer does not move any more */
        if (!b->results[i].is_sum)
            b->results[i].output.ptr = buf_ptr(&b->outputs) + (uintptr_t)b->results[i].output.ptr;
    b->closed = true;
}

static void batch_send(struct batch *b)
{
    struct outbox *o = b->outbox;
    batch_close(b);
    b->state = BATCH_SENT;
    b->commit.call.job = o->config.job;
    b->commit.worker = o->config.worker;
    b->commit.results = b->results;
    b->commit.count = b->count;
    o->sent++;
    b->sent_us = o->config.latency ? o->config.now_us(o->config.ctx) : 0;
    queue_send(o->config.queue, &b->commit.call.request);
}

static struct batch *free_batch(struct outbox *o)
{
    for (int i = 0; i < OUTBOX_BATCHES; i++)
        if (o->batches[i].state == BATCH_FREE)
            return &o->batches[i];
    return NULL;
}

/* The batch that gathers may leave when another one can take its place. */
static void send_gathering(struct outbox *o)
{
    struct batch *b = o->gathering, *next = b->count > 0 ? free_batch(o) : NULL;
    if (!next)
        return;
    next->state = BATCH_GATHERING;
    o->gathering = next;
    batch_send(b);
}

int outbox_add(struct outbox *o, const struct queue_result *r)
{
    struct batch *b = o->gathering;
    if (b->count == o->batch_max)
        return TTG_EFULL;
    size_t at = buf_len(&b->outputs);
    int rc = r->is_sum ? 0 : buf_add_str(&b->outputs, r->output);
    if (rc)
        return rc;
    struct queue_result *to = &b->results[b->count++];
    *to = *r;
    if (!r->is_sum) {
        to->output = (struct str){(const char *)(uintptr_t)at, r->output.len};
        o->output_bytes += r->output.len;
    }
    o->results++;
    return 0;
}

/* --- failures --- */

static void failure_free(struct failure *f)
{
    list_remove(&f->link);
    f->outbox->failure_count--;
    queue_request_done(&f->fail.call.request);
    buf_done(&f->reason);
    mem_free(f);
}

static void on_fail_told(struct queue_request *r, int rc, const struct err *err)
{
    struct failure *f = r->ctx;
    struct outbox *o = f->outbox;
    o->sent--;
    f->sent = false;
    if (answered(o, rc, err)) {
        struct outbox_failure told = {f->fail.chunk, f->fail.epoch, f->fail.final, f->fail.reason};
        o->config.on_fate(o->config.ctx, &told, f->fail.fate);
        if (f->fail.fate == LEDGER_FAIL_STALE && f->renewed && f->renewed != f->fail.epoch)
            o->config.on_unwanted(o->config.ctx, f->fail.chunk, f->renewed);
        failure_free(f);
    }
    o->config.on_room(o->config.ctx);
}

int outbox_fail(struct outbox *o, const struct outbox_failure *what)
{
    struct failure *f = mem_zalloc(sizeof *f);
    if (!f)
        return TTG_ENOMEM;
    f->outbox = o;
    list_push_back(&o->failures, &f->link);
    o->failure_count++;
    queue_request_init(&f->fail.call.request, QUEUE_FAIL, on_fail_told, f);
    buf_init(&f->reason, SIZE_MAX / 2);
    int rc = buf_add_str(&f->reason, what->reason);
    if (rc) {
        failure_free(f);
        return rc;
    }
    f->fail.call.job = o->config.job;
    f->fail.worker = o->config.worker;
    f->fail.chunk = what->chunk;
    f->fail.epoch = what->epoch;
    f->fail.final = what->final;
    f->fail.reason = buf_str(&f->reason);
    return 0;
}

/* --- both --- */

bool outbox_full(const struct outbox *o)
{
    return o->gathering->count >= OUTBOX_RESULTS ||
           buf_len(&o->gathering->outputs) >= OUTBOX_BATCH_BYTES ||
           o->output_bytes >= OUTBOX_BYTES || o->failure_count >= OUTBOX_FAILURES;
}

void outbox_flush(struct outbox *o, uint64_t now_ms)
{
    o->now_ms = now_ms;
    if (o->held || !queue_is_up(o->config.queue) || now_ms < o->retry_at_ms)
        return;
    for (int i = 0; i < OUTBOX_BATCHES; i++)
        if (o->batches[i].state == BATCH_WAITING)
            batch_send(&o->batches[i]);
    list_each(it, &o->failures)
    {
        struct failure *f = container_of(it, struct failure, link);
        if (f->sent)
            continue;
        f->sent = true;
        o->sent++;
        queue_send(o->config.queue, &f->fail.call.request);
    }
    send_gathering(o);
}

void outbox_hold(struct outbox *o, bool held)
{
    o->held = held;
}

bool outbox_moving(const struct outbox *o)
{
    return o->sent > 0;
}

uint64_t outbox_refused_ms(const struct outbox *o)
{
    return o->refused_since_ms == UINT64_MAX ? 0 : o->refused_ms - o->refused_since_ms;
}

uint64_t outbox_pending(const struct outbox *o)
{
    return o->results + o->failure_count;
}

uint64_t outbox_answered(const struct outbox *o)
{
    return o->answered;
}

size_t outbox_list(const struct outbox *o, struct ledger_held *out, size_t max)
{
    size_t n = 0;
    for (int i = 0; i < OUTBOX_BATCHES; i++) {
        const struct batch *b = &o->batches[i];
        for (size_t k = 0; k < b->count && n < max; k++)
            out[n++] = (struct ledger_held){b->results[k].chunk, b->results[k].epoch};
    }
    list_each(it, &o->failures)
    {
        const struct failure *f = container_of(it, struct failure, link);
        if (n < max)
            out[n++] = (struct ledger_held){f->fail.chunk, f->fail.epoch};
    }
    return n;
}

bool outbox_renew(struct outbox *o, struct ledger_held old, uint64_t epoch)
{
    for (int i = 0; i < OUTBOX_BATCHES; i++) {
        struct batch *b = &o->batches[i];
        for (size_t k = 0; k < b->count; k++) {
            if (b->results[k].chunk != old.chunk || b->results[k].epoch != old.epoch)
                continue;
            b->results[k].epoch = epoch;
            return true;
        }
    }
    list_each(it, &o->failures)
    {
        struct failure *f = container_of(it, struct failure, link);
        if (f->fail.chunk != old.chunk || f->fail.epoch != old.epoch)
            continue;
        f->renewed = epoch;
        return true;
    }
    return false;
}

uint32_t outbox_inflight(const struct outbox *o)
{
    return (uint32_t)(OUTBOX_BATCHES * o->batch_max);
}

struct outbox_totals outbox_totals(const struct outbox *o)
{
    return o->totals;
}

int outbox_new(struct outbox **ret_outbox, const struct outbox_config *config)
{
    struct outbox *o = mem_zalloc(sizeof *o);
    if (!o)
        return TTG_ENOMEM;
    o->config = *config;
    o->batch_max = OUTBOX_RESULTS + config->running_max;
    o->refused_since_ms = UINT64_MAX;
    list_init(&o->failures);
    int rc = 0;
    for (int i = 0; i < OUTBOX_BATCHES; i++) {
        struct batch *b = &o->batches[i];
        b->outbox = o;
        b->results = mem_array(o->batch_max, sizeof *b->results);
        rc = b->results ? rc : TTG_ENOMEM;
        buf_init(&b->outputs, SIZE_MAX / 2);
        queue_request_init(&b->commit.call.request, QUEUE_COMMIT, on_committed, b);
    }
    if (rc) {
        outbox_free(o);
        return rc;
    }
    o->gathering = &o->batches[0];
    o->gathering->state = BATCH_GATHERING;
    *ret_outbox = o;
    return 0;
}

void outbox_free(struct outbox *o)
{
    if (!o)
        return;
    for (int i = 0; i < OUTBOX_BATCHES; i++) {
        queue_request_done(&o->batches[i].commit.call.request);
        buf_done(&o->batches[i].outputs);
        mem_free(o->batches[i].results);
    }
    list_each(it, &o->failures) failure_free(container_of(it, struct failure, link));
    mem_free(o);
}
