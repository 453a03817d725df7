/* SPDX-License-Identifier: Apache-2.0 */
/* queue_rig - a queue without a network: an engine whose connections the test cuts and mends, and a
 * ledger that answers what the test lets through, one request at a time. */
#ifndef TESTS_QUEUE_RIG_H
#define TESTS_QUEUE_RIG_H

#include "tap.h"

#include "base/mem.h"
#include "io/loop.h"
#include "queue/engine.h"

#include <stdatomic.h>
#include <stdio.h>

enum { RIG_QUEUES = 3, RIG_CHUNKS_MAX = 4096 };

static struct queue_rig {
    struct loop *loop;
    struct queue *queues[RIG_QUEUES]; /* in order of opening; NULL: closed */
    int opened;
    /* The pulse's queue answers at once, in the pulse's thread. */
    atomic_int beats, beat_rc, beat_state;

    struct ledger *ledger; /* NULL: no such job */
    struct ledger_spec spec;
    uint64_t boot, now_ms, client;
    struct buf snapshot; /* what is on the node's disk: grants may be newer */
    uint64_t protocol;
    const char *version;
    int refuse; /* what takes, commits and failures are answered with; 0: as it is */
    unsigned served[QUEUE_VERBS];
    uint64_t results[RIG_CHUNKS_MAX]; /* accepted */
    struct str last_output;
} q_rig;

/* --- the engine --- */

static void fake_close(struct queue *q)
{
    for (int i = 0; i < RIG_QUEUES; i++)
        if (q_rig.queues[i] == q)
            q_rig.queues[i] = NULL;
    mem_free(q);
}

static void fake_send(struct queue *q, struct queue_request *r)
{
    if (q->lost) {
        struct err err = q->why_lost;
        queue_finish(r, TTG_EUNREACH, &err);
    } else if (q == q_rig.queues[2]) {
        struct queue_beat *beat = (struct queue_beat *)r;
        struct err err;
        int rc = atomic_load(&q_rig.beat_rc);
        beat->state = (enum ledger_state)atomic_load(&q_rig.beat_state);
        beat->gone_count = 0;
        atomic_fetch_add(&q_rig.beats, 1);
        err_set(&err, rc, "from the pulse");
        queue_finish(r, rc, &err);
    }
}

static struct queue *fake_new(struct loop *loop, const struct queue_config *config, struct err *err)
{
    static const struct queue_engine engine = {.close = fake_close, .send = fake_send};
    struct queue *q = mem_zalloc(sizeof *q);
    if (!q) {
        err_set(err, TTG_ENOMEM, "no memory for a queue");
        return NULL;
    }
    *q = (struct queue){.engine = &engine, .config = config, .loop = loop};
    list_init(&q->requests);
    assert_true(q_rig.opened < RIG_QUEUES);
    q->up = q_rig.opened == 2;
    q_rig.queues[q_rig.opened++] = q;
    return q;
}

__attribute__((unused)) static void rig_up(int i)
{
    struct queue *q = q_rig.queues[i];
    if (!q || q->up || q->lost)
        return;
    q->up = true;
    q_rig.client += i == 0;
    if (q->config->on_up)
        q->config->on_up(q->config->ctx);
}

/* As resp.c does it: what may not be repeated ends, the rest stays. */
__attribute__((unused)) static void rig_cut(int i)
{
    struct queue *q = q_rig.queues[i];
    struct err err;
    if (!q || !q->up)
        return;
    q->up = false;
    err_set(&err, TTG_ECLOSED, "cut by the test");
    struct list ended;
    list_init(&ended);
    list_each(it, &q->requests)
    {
        enum queue_verb verb = container_of(it, struct queue_request, link)->verb;
        if (verb == QUEUE_RELEASE || verb == QUEUE_LEAVE)
            continue;
        list_remove(it);
        list_push_back(&ended, it);
    }
    for (struct list *it; (it = list_first(&ended));)
        queue_finish(container_of(it, struct queue_request, link), TTG_ECLOSED, &err);
    if (q->config->on_down)
        q->config->on_down(q->config->ctx, &err);
}

/* --- the ledger behind it --- */

static void rig_on_result(void *ctx, const struct ledger_result *r)
{
    (void)ctx;
    assert_true(r->chunk < RIG_CHUNKS_MAX);
    q_rig.results[r->chunk]++;
}

static const struct ledger_ops rig_ops = {.on_result = rig_on_result};

/* All so far is on disk. */
static void rig_sync(void)
{
    struct packer p = {.out = &q_rig.snapshot};
    buf_clear(&q_rig.snapshot);
    ledger_save(q_rig.ledger, &p);
}

__attribute__((unused)) static void rig_job(uint64_t chunks)
{
    q_rig.spec = (struct ledger_spec){.params = chunks * 10,
                                      .chunk_params = 10,
                                      .window = 65536,
                                      .max_attempts = 3,
                                      .retry_min_ms = 100,
                                      .retry_max_ms = 200,
                                      .stale_ms = 60000,
                                      .kernel = STR("simulate 0 ms"),
                                      .input = STR("")};
    assert_int_equal(
        ledger_new(STR("job"), &q_rig.spec, q_rig.boot, q_rig.now_ms, &rig_ops, &q_rig.ledger), 0);
    rig_sync();
}

/* The node dies: what was not on disk never was. */
__attribute__((unused)) static void rig_restart(void)
{
    rig_cut(0);
    rig_cut(1);
    ledger_free(q_rig.ledger);
    struct unpacker u = unpack_of(buf_str(&q_rig.snapshot));
    assert_int_equal(ledger_load(&u, &rig_ops, &q_rig.ledger), 0);
    ledger_boot(q_rig.ledger, ++q_rig.boot, q_rig.now_ms, 0);
    rig_sync();
}

__attribute__((unused)) static void rig_lose_worker(void)
{
    struct ledger_worker *w = ledger_worker_named(q_rig.ledger, STR("w"));
    if (w)
        ledger_lost(q_rig.ledger, w, STR("silent"), q_rig.now_ms);
    rig_sync();
}

static int caller(const struct queue_worker *who, struct ledger_worker **ret)
{
    if (!q_rig.ledger)
        return TTG_ENOENT;
    *ret = ledger_worker(q_rig.ledger, who->name, who->incarnation);
    return *ret ? 0 : ledger_worker_named(q_rig.ledger, who->name) ? TTG_EBUSY : TTG_ESTALE;
}

static int serve_join(struct queue_join *j)
{
    struct ledger_worker *w;
    if (!q_rig.ledger)
        return TTG_ENOENT;
    int rc = ledger_join(q_rig.ledger, j->worker.name, j->worker.incarnation, q_rig.client,
                         j->slots, j->inflight, j->held, j->held_count, q_rig.now_ms, &w);
    struct ledger_status s;
    ledger_status(q_rig.ledger, &s);
    const struct ledger_spec *spec = ledger_spec(q_rig.ledger);
    j->state = s.state;
    j->first = spec->first;
    j->params_total = spec->params;
    j->chunk_params = spec->chunk_params;
    j->chunks = s.chunks;
    j->kernel = spec->kernel;
    j->input = spec->input;
    j->protocol = q_rig.protocol;
    j->version = str_of(q_rig.version);
    return rc == TTG_ESTALE ? TTG_EBUSY : rc;
}

static int serve_take(struct queue_take *t, bool *ret_wait)
{
    static struct ledger_run runs[QUEUE_TAKE_MAX];
    struct ledger_worker *w;
    struct ledger_status s;
    int rc = caller(&t->worker, &w);
    if (rc)
        return rc;
    t->runs = runs;
    t->run_count = 0;
    rc = ledger_take(q_rig.ledger, w, q_rig.client, t->count, q_rig.now_ms, runs, &t->run_count);
    ledger_status(q_rig.ledger, &s);
    t->state = s.state;
    *ret_wait = rc == TTG_EAGAIN && t->block_ms > 0;
    return rc == TTG_EDONE || (rc == TTG_EAGAIN && t->block_ms == 0) ? 0 : rc;
}

static int serve_commit(struct queue_commit *c)
{
    static struct queue_verdict verdicts[QUEUE_COMMIT_MAX];
    c->accepted = c->verdict_count = 0;
    c->verdicts = verdicts;
    for (size_t i = 0; i < c->count; i++) {
        const struct queue_result *q = &c->results[i];
        char digits[41];
        struct ledger_result r = {.chunk = q->chunk,
                                  .epoch = q->epoch,
                                  .kind = q->is_sum ? LEDGER_SUM : LEDGER_OUTPUT,
                                  .value = q->output};
        if (q->is_sum)
            r.value = str_make(digits, str_from_i128(digits, q->sum));
        enum ledger_verdict v =
            ledger_commit(q_rig.ledger, c->worker.name, c->worker.incarnation, &r, q_rig.now_ms);
        if (v == LEDGER_ACCEPTED)
            c->accepted++;
        else
            verdicts[c->verdict_count++] = (struct queue_verdict){q->chunk, v};
    }
    return 0;
}

static int serve_rest(struct queue_request *r)
{
    struct queue_fail *f = (struct queue_fail *)r;
    struct queue_release *l = (struct queue_release *)r;
    struct queue_beat *b = (struct queue_beat *)r;
    static uint64_t gone[QUEUE_TAKE_MAX];
    struct ledger_worker *w;
    int rc = 0;
    switch (r->verb) {
    case QUEUE_FAIL:
        return ledger_fail(q_rig.ledger, f->chunk, f->epoch, f->final, f->reason, q_rig.now_ms,
                           &f->fate, &f->retry_ms);
    case QUEUE_RELEASE:
        rc = caller(&l->worker, &w);
        for (size_t i = 0; !rc && i < l->count; i++)
            ledger_release(q_rig.ledger, l->leases[i].chunk, l->leases[i].epoch, q_rig.now_ms);
        return rc;
    case QUEUE_BEAT:
        rc = caller(&b->worker, &w);
        b->gone = gone;
        b->gone_count = 0;
        for (size_t i = 0; !rc && i < b->count; i++)
            if (!ledger_holds(q_rig.ledger, b->leases[i].chunk, b->leases[i].epoch))
                gone[b->gone_count++] = b->leases[i].chunk;
        return rc;
    case QUEUE_LEAVE:
        rc = caller(&((struct queue_leave *)r)->worker, &w);
        if (!rc)
            ledger_leave(q_rig.ledger, w, q_rig.now_ms);
        return rc;
    default:
        fail_msg("verb %d", (int)r->verb);
    }
    return 0;
}

static struct queue_request *rig_first(int i)
{
    struct queue *q = q_rig.queues[i];
    struct list *first = q && q->up ? list_first(&q->requests) : NULL;
    return first ? container_of(first, struct queue_request, link) : NULL;
}

/* Executes the oldest request of a queue. `answer` false: the cut comes before the answer. False:
 * there is none, or it waits. */
__attribute__((unused)) static bool rig_serve(int i, bool answer)
{
    struct queue_request *r = rig_first(i);
    struct err err;
    bool wait = false;
    int rc;
    if (!r)
        return false;
    if (q_rig.ledger) {
        ledger_tick(q_rig.ledger, q_rig.now_ms);
        ledger_effects(q_rig.ledger);
    }
    bool refused = q_rig.refuse && r->verb != QUEUE_JOIN && r->verb != QUEUE_LEAVE;
    if (refused)
        rc = q_rig.refuse;
    else if (r->verb == QUEUE_JOIN)
        rc = serve_join((struct queue_join *)r);
    else if (r->verb == QUEUE_TAKE)
        rc = serve_take((struct queue_take *)r, &wait);
    else if (!q_rig.ledger)
        rc = TTG_ENOENT;
    else
        rc = r->verb == QUEUE_COMMIT ? serve_commit((struct queue_commit *)r) : serve_rest(r);
    if (wait)
        return false;
    if (q_rig.ledger && !refused) {
        ledger_check(q_rig.ledger);
        if (r->verb != QUEUE_TAKE) /* the only answer that may leave before it is on disk */
            rig_sync();
    }
    q_rig.served[r->verb]++;
    if (!answer) {
        rig_cut(i);
        return true;
    }
    err_set(&err, rc, "answered by the test");
    queue_finish(r, rc, &err);
    return true;
}

static void q_rig_setup(void)
{
    q_rig = (struct queue_rig){.boot = 1, .now_ms = 1000000, .protocol = 1, .version = ""};
    buf_init(&q_rig.snapshot, SIZE_MAX / 2);
    assert_int_equal(loop_open(&q_rig.loop, NULL), 0);
}

static void q_rig_teardown(void)
{
    ledger_free(q_rig.ledger);
    buf_done(&q_rig.snapshot);
    loop_close(q_rig.loop);
}

#endif
