/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/pulse.h"

#include "base/mem.h"
#include "io/loop.h"
#include "io/thread.h"

#include <pthread.h>
#include <stdatomic.h>

struct pulse {
    pthread_t thread;
    struct loop *loop;
    struct loop_timer timer;
    struct loop_async stop;
    struct queue *queue;
    struct queue_config config;
    struct queue_beat beat;
    atomic_bool lost, ended;
    void (*on_news)(void *ctx);
    void *ctx;
};

static void on_beat(struct queue_request *r, int rc, const struct err *err)
{
    struct pulse *p = r->ctx;
    (void)err;
    bool lost = rc == TTG_ESTALE || rc == TTG_EBUSY,
         ended = !rc && p->beat.state >= LEDGER_FINISHED;
    if (lost)
        atomic_store(&p->lost, true);
    if (ended)
        atomic_store(&p->ended, true);
    if (lost || ended)
        p->on_news(p->ctx);
}

struct pulse_news pulse_news(struct pulse *p)
{
    struct pulse_news news = {0};
    if (p) {
        news.lost = atomic_exchange(&p->lost, false);
        news.ended = atomic_exchange(&p->ended, false);
    }
    return news;
}

static void on_timer(struct loop_timer *t)
{
    struct pulse *p = container_of(t, struct pulse, timer);
    if (queue_is_up(p->queue) && !queue_request_busy(&p->beat.call.request))
        queue_send(p->queue, &p->beat.call.request);
    loop_timer_after_ms(&p->timer, PULSE_MS);
}

static void on_up(void *ctx)
{
    struct pulse *p = ctx;
    loop_timer_after_ms(&p->timer, 0);
}

static void on_stop(struct loop_async *a)
{
    loop_stop(container_of(a, struct pulse, stop)->loop);
}

static void *thread_main(void *arg)
{
    struct pulse *p = arg;
    loop_run(p->loop);
    return NULL;
}

static void pulse_free(struct pulse *p)
{
    queue_close(p->queue);
    if (p->loop) {
        loop_timer_stop(&p->timer);
        loop_async_stop(&p->stop);
    }
    queue_request_done(&p->beat.call.request);
    loop_close(p->loop);
    mem_free(p);
}

int pulse_start(struct pulse **ret_pulse, const struct queue_config *queue, struct str job,
                const struct queue_worker *worker, void (*on_news)(void *ctx), void *ctx,
                struct err *err)
{
    struct pulse *p = mem_zalloc(sizeof *p);
    if (!p)
        return err_set(err, TTG_ENOMEM, "out of memory");
    p->config = *queue;
    p->config.ctx = p;
    p->config.on_up = on_up;
    p->config.on_down = NULL;
    p->config.on_lost = NULL; /* the worker's own connection tells */
    p->config.retry_ms = UINT64_MAX;
    p->on_news = on_news;
    p->ctx = ctx;
    queue_request_init(&p->beat.call.request, QUEUE_BEAT, on_beat, p);
    p->beat.call.job = job;
    p->beat.worker = *worker;
    int rc = loop_open(&p->loop, err);
    if (rc) {
        pulse_free(p);
        return rc;
    }
    loop_timer_init(&p->timer, p->loop, on_timer);
    loop_async_start(&p->stop, p->loop, on_stop);
    rc = queue_open(&p->queue, p->loop, &p->config, err);
    if (!rc && loop_timer_after_ms(&p->timer, PULSE_MS))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (!rc && thread_start(&p->thread, thread_main, p) != 0)
        rc = err_set(err, TTG_EFULL, "cannot start a thread");
    if (rc) {
        pulse_free(p);
        return rc;
    }
    *ret_pulse = p;
    return 0;
}

void pulse_stop(struct pulse *p)
{
    if (!p)
        return;
    loop_async_send(&p->stop);
    pthread_join(p->thread, NULL);
    pulse_free(p);
}
