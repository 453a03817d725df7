/* SPDX-License-Identifier: Apache-2.0 */
#include "job/obituary.h"

#include "base/log.h"
#include "base/mem.h"

struct obituary {
    struct obituaries *all;
    struct queue_lost lost;
    char bytes[]; /* name and reason */
};

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    struct obituary *o = r->ctx;
    struct obituaries *all = o->all;
    /* A worker that had not joined or had said good-bye has lost nothing. */
    if (rc && rc != TTG_ESTALE && rc != TTG_ECANCELED)
        log_debug("death.not_told", kv_s("worker", o->lost.worker.name),
                  kv_str("reason", err->text));
    queue_request_done(r);
    mem_free(o);
    all->on_told(all->ctx);
}

bool obituary_send(struct obituaries *all, const struct crew_death *death)
{
    struct str name = str_of(death->name);
    struct obituary *o = mem_zalloc(sizeof *o + name.len + death->reason.len);
    if (!o)
        return false;
    o->all = all;
    memcpy(o->bytes, name.ptr, name.len);
    memcpy(o->bytes + name.len, death->reason.ptr, death->reason.len);
    queue_request_init(&o->lost.call.request, QUEUE_LOST, on_done, o);
    o->lost.call.job = str_of(all->job);
    o->lost.worker = (struct queue_worker){str_make(o->bytes, name.len), death->incarnation};
    o->lost.reason = str_make(o->bytes + name.len, death->reason.len);
    queue_send(all->queue, &o->lost.call.request);
    return true;
}
