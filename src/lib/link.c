/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/link.h"

#include "core/job.h"

struct call {
    struct link *link;
    int (*on_answer)(void *ctx, int rc, struct err *err);
    void *ctx;
};

static void on_pause_over(struct loop_timer *t)
{
    container_of(t, struct link, pause)->pausing = false;
}

void link_init(struct link *l, struct address *address)
{
    *l = (struct link){.address = address};
}

void link_done(struct link *l)
{
    queue_close(l->queue);
    if (l->loop)
        loop_timer_stop(&l->pause);
    loop_close(l->loop);
    address_unref(l->address);
    *l = (struct link){0};
}

static int link_loop(struct link *l)
{
    int rc = l->loop ? 0 : loop_open(&l->loop, &l->err);
    if (rc)
        return rc;
    if (!l->pause.loop)
        loop_timer_init(&l->pause, l->loop, on_pause_over);
    loop_now_update(l->loop); /* the last call may be long ago */
    return 0;
}

static int link_open(struct link *l)
{
    int rc = link_loop(l);
    if (rc || l->queue)
        return rc;
    l->config = address_config(l->address);
    return queue_open(&l->queue, l->loop, &l->config, &l->err);
}

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    struct call *c = r->ctx;
    struct link *l = c->link;
    if (rc)
        l->err = *err;
    l->rc = c->on_answer ? c->on_answer(c->ctx, rc, &l->err) : rc;
    l->answered = true;
}

int link_call(struct link *l, struct queue_request *r,
              int (*on_answer)(void *ctx, int rc, struct err *err), void *ctx)
{
    struct call call = {l, on_answer, ctx};
    int rc = link_open(l);
    if (rc)
        return rc;
    r->on_done = on_done;
    r->ctx = &call;
    l->answered = false;
    l->err.text[0] = '\0';
    queue_send(l->queue, r);
    while (!l->answered && !rc)
        rc = loop_turn(l->loop, LOOP_FOREVER);
    bool lost = rc || l->rc == TTG_EUNREACH;
    /* On RabbitMQ an open connection may hold the job's lock, which nobody would look after. */
    if (lost || (queue_is_one(&l->config) && !l->keep)) { /* the next call starts afresh */
        queue_close(l->queue);
        l->queue = NULL;
    }
    if (rc)
        return err_set(&l->err, rc, "event loop: %s", err_text(rc));
    /* A lost queue says why: wrong password, wrong version, or just nobody there. */
    return lost && l->err.code ? l->err.code : l->rc;
}

int link_pause(struct link *l, uint64_t ms)
{
    int rc = link_loop(l);
    if (!rc)
        rc = loop_timer_after_ms(&l->pause, ms);
    for (l->pausing = true; l->pausing && !rc;)
        rc = loop_turn(l->loop, LOOP_FOREVER);
    return rc ? err_set(&l->err, rc, "event loop: %s", err_text(rc)) : 0;
}

uint64_t link_now_ms(struct link *l)
{
    return l->loop ? loop_now_update(l->loop) / 1000000 : 0;
}

int link_job(const char *job, struct str *ret_job, struct err *err)
{
    *ret_job = str_of(job ? job : "default");
    return job_name_valid(*ret_job)
               ? 0
               : err_set(err, TTG_EINVAL, "a job's name has 1 to 64 of A-Z a-z 0-9 _ -");
}
