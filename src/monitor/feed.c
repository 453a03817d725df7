/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/feed.h"

#include "base/ensure.h"
#include "base/mem.h"
#include "monitor/rabbit.h"

#include <stdio.h>

enum { LIST_EVERY = 4, DEAD_EVERY = 2, DEPTHS_EVERY = 2, STUCK_MS = 1500, EVENTS_AT_ONCE = 1024 };

struct feed {
    struct feed_config config;
    struct model *model;
    struct loop_timer timer;
    char fixed[MODEL_NAME_BYTES]; /* the job that was named */
    char asked[MODEL_NAME_BYTES]; /* that this round is about */
    bool unnamed, follows, stopped, hurry, failed;
    uint64_t round, began_ms;
    size_t pending;
    struct queue_list list;
    struct queue_status status;
    struct queue_workers workers;
    struct queue_map map;
    struct queue_events events;
    struct queue_dead_list dead;
    struct queue_depths depths;
    struct rabbit *rabbit; /* NULL: the queue is none */
};

static void round_start(struct feed *f);

static void next_round(struct feed *f)
{
    uint64_t now_ms = loop_now_ms(f->config.loop), next_ms = f->began_ms + f->config.period_ms;
    if (f->stopped)
        return;
    loop_timer_after_ms(&f->timer, f->hurry || next_ms <= now_ms ? 0 : next_ms - now_ms);
    f->hurry = false;
}

static void round_end(struct feed *f)
{
    if (!f->failed)
        model_settle(f->model);
    next_round(f);
    if (f->config.on_round && !f->stopped)
        f->config.on_round(f->config.ctx);
}

/* The list is here: which job is in view? */
static void choose(struct feed *f)
{
    const struct model_job *j = model_newest(f->model);
    if (f->follows && j && strcmp(j->name, f->model->job) != 0) {
        model_show(f->model, str_of(j->name));
        f->hurry = true;
    }
}

static void tell(struct feed *f, const struct queue_request *r)
{
    switch (r->verb) {
    case QUEUE_LIST:
        model_jobs(f->model, &f->list);
        choose(f);
        break;
    case QUEUE_STATUS:
        model_status(f->model, &f->status);
        break;
    case QUEUE_WORKERS:
        model_workers(f->model, &f->workers);
        break;
    case QUEUE_MAP:
        model_map(f->model, &f->map);
        break;
    case QUEUE_EVENTS:
        model_events(f->model, &f->events);
        break;
    case QUEUE_DEPTHS:
        if (rabbit_why(f->rabbit))
            model_depths(f->model, &f->depths, rabbit_why(f->rabbit));
        break;
    default:
        model_dead(f->model, &f->dead);
    }
}

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    struct feed *f = r->ctx;
    /* Answers about a job that is no longer in view are of no use. */
    bool current = r->verb == QUEUE_LIST || strcmp(f->asked, f->model->job) == 0;
    if (!rc && !f->stopped && current)
        tell(f, r);
    if (rc == TTG_ENOENT && r->verb == QUEUE_STATUS && current)
        f->model->known = false;
    if (rc == TTG_EUNREACH || rc == TTG_EAUTH)
        model_link(f->model, false, err ? err->text : "");
    f->failed |= rc && r->verb == QUEUE_STATUS;
    if (--f->pending == 0)
        round_end(f);
}

static void ask(struct feed *f, struct queue_call *call)
{
    call->job = call->request.verb == QUEUE_LIST ? STR("") : str_of(f->asked);
    f->pending++;
    queue_send(f->config.queue, &call->request);
}

static void round_start(struct feed *f)
{
    struct model *m = f->model;
    bool has_job = m->job[0] != '\0';
    ensure(f->pending == 0);
    f->began_ms = loop_now_ms(f->config.loop);
    f->failed = false;
    if (!queue_is_up(f->config.queue)) {
        f->failed = true;
        round_end(f); /* who shows the model hears that it is still so */
        return;
    }
    model_link(m, true, NULL);
    memcpy(f->asked, m->job, sizeof f->asked);
    f->map.cells_max = MODEL_CELLS;
    f->map.leases_max = MODEL_RUNNING;
    f->map.ran_max = MODEL_RAN_MAX;
    f->map.since_ms = m->ran_until_ms;
    f->events.after = m->event_seq;
    f->events.count = EVENTS_AT_ONCE;
    f->dead.from_start = true;
    f->dead.count = MODEL_DEAD;
    f->pending++; /* answers may come at once: the round is not over before all are sent */
    if (f->round % LIST_EVERY == 0 || !has_job || f->round < LIST_EVERY)
        ask(f, &f->list.call);
    if (has_job) {
        ask(f, &f->status.call);
        ask(f, &f->workers.call);
        ask(f, &f->map.call);
        ask(f, &f->events.call);
        if (f->round % DEAD_EVERY == 0 || m->dead_count != m->status.dead)
            ask(f, &f->dead.call);
        if (f->rabbit && rabbit_why(f->rabbit) && f->round % DEPTHS_EVERY == 0)
            ask(f, &f->depths.call);
    }
    f->round++;
    if (--f->pending == 0)
        round_end(f);
}

static void on_timer(struct loop_timer *t)
{
    round_start(container_of(t, struct feed, timer));
}

/* A broker with an alarm takes no questions, which are messages: then this is all there is to tell,
 * and a round of its own. */
static void on_rabbit(void *ctx)
{
    struct feed *f = ctx;
    if (f->stopped || f->pending == 0 ||
        loop_now_ms(f->config.loop) < f->began_ms + f->config.period_ms + STUCK_MS)
        return;
    f->model->rounds++;
    if (f->config.on_round)
        f->config.on_round(f->config.ctx);
}

int feed_open(struct feed **ret_feed, const struct feed_config *config, struct err *err)
{
    struct feed *f = mem_zalloc(sizeof *f);
    struct model *m = f ? model_new() : NULL;
    if (!m) {
        mem_free(f);
        return err_set(err, TTG_ENOMEM, "out of memory");
    }
    f->config = *config;
    f->config.job = NULL;
    f->model = m;
    const struct {
        struct queue_request *request;
        enum queue_verb verb;
    } requests[] = {
        {&f->list.call.request, QUEUE_LIST},       {&f->status.call.request, QUEUE_STATUS},
        {&f->workers.call.request, QUEUE_WORKERS}, {&f->map.call.request, QUEUE_MAP},
        {&f->events.call.request, QUEUE_EVENTS},   {&f->dead.call.request, QUEUE_DEAD_LIST},
        {&f->depths.call.request, QUEUE_DEPTHS},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        queue_request_init(requests[i].request, requests[i].verb, on_done, f);
    bool one = config->server && queue_is_one(config->server);
    snprintf(f->fixed, sizeof f->fixed, "%s", config->job ? config->job : one ? "default" : "");
    loop_timer_init(&f->timer, config->loop, on_timer);
    struct rabbit_config rabbit = {.loop = config->loop,
                                   .queue = config->server,
                                   .given = config->management,
                                   .model = m,
                                   .ctx = f,
                                   .on_news = on_rabbit};
    f->unnamed = !config->job;
    m->unlisted = one;
    int rc = one ? rabbit_open(&f->rabbit, &rabbit, err) : 0;
    if (rc) {
        feed_close(f);
        return rc;
    }
    feed_show(f, NULL);
    *ret_feed = f;
    return 0;
}

void feed_close(struct feed *f)
{
    if (!f)
        return;
    ensure(f->pending == 0);
    loop_timer_stop(&f->timer);
    struct queue_request *const requests[] = {&f->list.call.request,    &f->status.call.request,
                                              &f->workers.call.request, &f->map.call.request,
                                              &f->events.call.request,  &f->dead.call.request,
                                              &f->depths.call.request};
    rabbit_close(f->rabbit);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        queue_request_done(requests[i]);
    model_free(f->model);
    mem_free(f);
}

const struct model *feed_model(const struct feed *f)
{
    return f->model;
}

bool feed_busy(const struct feed *f)
{
    return f->pending > 0;
}

void feed_stop(struct feed *f)
{
    f->stopped = true;
    loop_timer_stop(&f->timer);
    if (f->rabbit)
        rabbit_stop(f->rabbit);
}

void feed_show(struct feed *f, const char *job)
{
    const char *name = job ? job : f->fixed;
    f->follows = name[0] == '\0';
    f->model->follows = !job && f->unnamed;
    if (!f->follows && strcmp(name, f->model->job) != 0)
        model_show(f->model, str_of(name));
    feed_hurry(f);
}

void feed_hurry(struct feed *f)
{
    f->hurry = true;
    if (f->pending == 0)
        next_round(f);
}

void feed_link(struct feed *f, bool connected, const struct err *why)
{
    model_link(f->model, connected, why ? why->text : NULL);
    if (connected)
        feed_hurry(f);
    if (f->config.on_round && !f->stopped)
        f->config.on_round(f->config.ctx);
}
