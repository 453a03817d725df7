/* SPDX-License-Identifier: Apache-2.0 */
/* A worker whose kernel is a function of the program. */
#include "worker/worker.h"

#include "base/mem.h"
#include "io/loop.h"
#include "io/random.h"
#include "lib/handles.h"
#include "lib/sized.h"

#include <stdio.h>
#include <unistd.h>

enum { NAME_BYTES_MAX = LEDGER_NAME_BYTES_MAX };

struct ttg_worker {
    struct address *address;
    struct err err;
    struct loop *loop;
    struct loop_hook hook;
    _Atomic unsigned stops; /* asked for, by anybody */
    unsigned stops_told;    /* to the worker */
    bool started, ended;
    struct ttg_plugin function;
    struct queue_config queue;
    struct worker_config config;
    struct worker *worker;
    enum worker_end end;
    struct worker_totals totals;
    char *job;
    char name[NAME_BYTES_MAX + 1], host[64];
};

/* ---- open ---- */

static void make_name(struct ttg_worker *w)
{
    snprintf(w->name, NAME_BYTES_MAX, "%s-%d-%04x", w->host[0] ? w->host : "host", (int)getpid(),
             (unsigned)(random_u64() & 0xffff));
}

static int set_name(struct ttg_worker *w, const char *name)
{
    if (gethostname(w->host, sizeof w->host - 1) != 0)
        w->host[0] = '\0';
    if (!name) {
        make_name(w);
        return 0;
    }
    size_t len = strlen(name);
    if (len == 0 || len > NAME_BYTES_MAX)
        return err_set(&w->err, TTG_EINVAL, "a worker's name has 1 to %d bytes", NAME_BYTES_MAX);
    memcpy(w->name, name, len + 1);
    return 0;
}

static uint64_t forever_is_0(uint64_t ms, uint64_t fallback)
{
    return ms == 0 ? fallback : ms == TTG_FOREVER ? 0 : ms;
}

static void configure(struct ttg_worker *w, const struct ttg_worker_options *o)
{
    struct worker_config *c = &w->config;
    worker_config_init(c);
    w->function =
        (struct ttg_plugin){.abi = TTG_PLUGIN_ABI, .size = sizeof w->function, .run = o->run};
    w->queue = address_config(w->address);
    if (!w->queue.client_name)
        w->queue.client_name = w->name;
    c->queue = w->queue;
    c->job = w->job;
    c->name = w->name;
    c->host = w->host;
    c->incarnation = random_u64() >> 1;
    c->kernel.type = KERNEL_FUNCTION;
    c->kernel.function = &w->function;
    c->kernel.function_state = o->state;
    c->kernel.slots = o->slots ? o->slots : 1;
    c->kernel.timeout_ms = o->timeout_ms == TTG_FOREVER ? 0 : o->timeout_ms;
    if (o->output_bytes_max)
        c->kernel.output_bytes_max = o->output_bytes_max;
    if (o->prefetch_chunks_max)
        c->prefetch_max = o->prefetch_chunks_max == TTG_NO_PREFETCH ? 0 : o->prefetch_chunks_max;
    if (o->drain_ms)
        c->drain_ms = o->drain_ms;
    c->idle_ms = forever_is_0(o->idle_ms, WORKER_IDLE_MS);
}

static int fill(struct ttg_worker *w, const ttg_queue *q, const char *job,
                const struct ttg_worker_options *options)
{
    struct ttg_worker_options o;
    struct str name;
    if (!q->link.address)
        return err_set(&w->err, TTG_EINVAL, "the queue was not opened");
    int rc = link_job(job, &name, &w->err);
    if (!rc)
        rc = sized_in(&o, sizeof o, options, &w->err);
    if (!rc && !o.run)
        rc = err_set(&w->err, TTG_EINVAL, "no run function given");
    if (!rc && o.slots > KERNEL_SLOTS_MAX)
        rc = err_set(&w->err, TTG_EINVAL, "slots: %u is not in 1..%d", o.slots, KERNEL_SLOTS_MAX);
    if (!rc)
        rc = set_name(w, o.name);
    if (!rc && !(w->job = mem_dup(name.ptr, name.len)))
        rc = err_set(&w->err, TTG_ENOMEM, "out of memory");
    if (rc)
        return rc;
    w->address = address_ref(q->link.address);
    configure(w, &o);
    return loop_open(&w->loop, &w->err); /* now, since ttg_worker_stop wakes it */
}

int ttg_worker_open(ttg_worker **ret_worker, const ttg_queue *q, const char *job,
                    const struct ttg_worker_options *options)
{
    if (ret_worker)
        *ret_worker = NULL;
    if (!ret_worker || !q)
        return TTG_EINVAL;
    struct ttg_worker *w = *ret_worker = mem_zalloc(sizeof *w);
    return w ? fill(w, q, job, options) : TTG_ENOMEM;
}

void ttg_worker_close(ttg_worker *w)
{
    if (!w)
        return;
    loop_close(w->loop);
    address_unref(w->address);
    mem_free(w->job);
    mem_free(w);
}

const char *ttg_worker_message(const ttg_worker *w)
{
    return w ? w->err.text : "no worker";
}

/* ---- run ---- */

static void on_end(void *ctx, enum worker_end end, const struct worker_totals *totals,
                   const struct err *err)
{
    struct ttg_worker *w = ctx;
    w->end = end;
    w->totals = *totals;
    w->err = *err;
    w->ended = true;
    loop_stop(w->loop);
}

static void on_turn(struct loop_hook *h)
{
    struct ttg_worker *w = container_of(h, struct ttg_worker, hook);
    unsigned stops = atomic_load(&w->stops);
    for (; w->stops_told < stops; w->stops_told++)
        worker_stop(w->worker);
}

static int outcome(struct ttg_worker *w)
{
    switch (w->end) {
    case WORKER_FINISHED:
        return 0;
    case WORKER_IDLE:
        return err_set(&w->err, TTG_ETIMEOUT, "the job did not appear in time");
    case WORKER_STOPPED:
        if (w->err.code)
            break;
        return err_set(&w->err, TTG_ECANCELED, "stopped; all is committed or given back");
    case WORKER_REPLACED:
        return err_set(&w->err, TTG_EBUSY, "replaced by a newer worker of this name");
    case WORKER_LOST:
    case WORKER_BROKEN:
        break;
    }
    return w->err.code ? w->err.code : err_set(&w->err, TTG_EUNREACH, "the queue is lost");
}

int ttg_worker_run(ttg_worker *w)
{
    if (!w)
        return TTG_EINVAL;
    if (!w->loop || w->started)
        return err_set(&w->err, TTG_EINVAL,
                       w->loop ? "the worker has run already" : "the worker was not opened");
    w->started = true;
    w->config.ctx = w;
    w->config.on_end = on_end;
    loop_now_update(w->loop);
    int rc = worker_start(&w->worker, w->loop, &w->config, &w->err);
    if (rc)
        return rc;
    loop_hook_start(&w->hook, w->loop, on_turn);
    rc = loop_run(w->loop);
    loop_hook_stop(&w->hook);
    worker_free(w->worker);
    w->worker = NULL;
    if (rc && !w->ended)
        return err_set(&w->err, rc, "event loop: %s", err_text(rc));
    return outcome(w);
}

void ttg_worker_stop(ttg_worker *w)
{
    if (!w || !w->loop)
        return;
    atomic_fetch_add(&w->stops, 1);
    loop_wake(w->loop);
}

int ttg_worker_totals(const ttg_worker *w, struct ttg_totals *totals)
{
    if (!w || !totals)
        return TTG_EINVAL;
    struct ttg_totals out = {.committed = w->totals.committed,
                             .stale = w->totals.stale,
                             .failed = w->totals.failed,
                             .released = w->totals.released,
                             .params = w->totals.params};
    return sized_out(totals, &out, sizeof out, NULL);
}
