/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/worker_stay.h"

#include "base/log.h"

enum { LOOK_MS = 1000 };

static void finish(struct worker_stay *s, const struct err *err)
{
    loop_timer_stop(&s->timer);
    s->on_wanted(s->ctx, err);
}

static void on_timer(struct loop_timer *t)
{
    struct worker_stay *s = container_of(t, struct worker_stay, timer);
    if (!queue_request_busy(&s->status.call.request))
        queue_send(s->queue, &s->status.call.request);
}

static void on_status(struct queue_request *r, int rc, const struct err *err)
{
    struct worker_stay *s = r->ctx;
    if (rc == TTG_ECANCELED || rc == TTG_EUNREACH)
        return; /* on_lost says more */
    if (rc == 0 && s->status.status.state < LEDGER_FINISHED) {
        finish(s, NULL);
        return;
    }
    if (rc != 0 && rc != TTG_ENOENT && rc != TTG_EDONE && rc != TTG_EAGAIN && rc != TTG_EFULL) {
        finish(s, err);
        return;
    }
    if (!s->waited)
        log_info("worker.waiting", kv_str("for", rc ? "the job" : "the job to run again"));
    s->waited = true;
    loop_timer_after_ms(&s->timer, LOOK_MS);
}

static void on_lost(void *ctx, const struct err *err)
{
    finish(ctx, err);
}

int worker_stay_start(struct worker_stay *s, struct loop *l, const struct queue_config *config,
                      struct str job, struct err *err)
{
    s->config = *config;
    s->config.ctx = s;
    s->config.on_up = NULL;
    s->config.on_down = NULL;
    s->config.on_lost = on_lost;
    s->waited = false;
    loop_timer_init(&s->timer, l, on_timer);
    queue_request_init(&s->status.call.request, QUEUE_STATUS, on_status, s);
    s->status.call.job = job;
    int rc = queue_open(&s->queue, l, &s->config, err);
    if (!rc && loop_timer_after_ms(&s->timer, 0))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    return rc;
}

void worker_stay_stop(struct worker_stay *s)
{
    loop_timer_stop(&s->timer);
    queue_close(s->queue);
    s->queue = NULL;
    queue_request_done(&s->status.call.request);
}
