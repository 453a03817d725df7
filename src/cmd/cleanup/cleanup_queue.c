/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs on queues. Which keys and queues a job has, its engine knows; here it is only asked for the
 * list, and told to cancel and forget. */
#include "cmd/cleanup/cleanup.h"
#include "cmd/queue_choice.h"
#include "cmd/summary.h"

#include <stdio.h>

enum { RETRY_MS = 5000, NOTE_BYTES = 256 };

/* One connection for a few questions. */
struct talk {
    struct cleanup *c;
    size_t source;
    struct queue_config config;
    struct queue *queue;
    bool lost, done;
    int rc;
    struct err why, *err;
    void (*on_answer)(struct talk *t);
};

static void on_lost(void *ctx, const struct err *err)
{
    struct talk *t = ctx;
    t->lost = true;
    t->why = *err;
}

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    struct talk *t = r->ctx;
    t->done = true;
    t->rc = rc;
    if (rc)
        *t->err = *err;
    else if (t->on_answer)
        t->on_answer(t);
}

static struct queue_config config_of(const struct cleanup *c, size_t source)
{
    const struct options *o = c->command->options;
    return (struct queue_config){
        .url = &c->queues[source].url,
        .client_name = "cleanup",
        .tls_ca = option_text(o, OPT_QUEUE_CA),
        .tls_cert = option_text(o, OPT_QUEUE_CERT),
        .tls_key = option_text(o, OPT_QUEUE_KEY),
        .tls_no_verify = option_bool(o, OPT_QUEUE_NO_VERIFY),
        .retry_ms = option_given(o, OPT_QUEUE_RETRY) ? option_ms(o, OPT_QUEUE_RETRY) : RETRY_MS,
        .seed = queue_random(),
    };
}

static int talk_open(struct talk *t, struct cleanup *c, size_t source, struct err *err)
{
    *t = (struct talk){.c = c, .source = source, .config = config_of(c, source)};
    t->config.ctx = t;
    t->config.on_lost = on_lost;
    return queue_open(&t->queue, c->loop, &t->config, err);
}

static int talk_ask(struct talk *t, struct queue_call *call, enum queue_verb verb, const char *job,
                    struct err *err)
{
    queue_request_init(&call->request, verb, on_done, t);
    call->job = str_of(job);
    t->done = false;
    t->err = err;
    queue_send(t->queue, &call->request);
    while (!t->done && !t->lost && loop_turn(t->c->loop, LOOP_FOREVER) == 0)
        ;
    if (!t->done) {
        queue_close(t->queue); /* ends the request */
        t->queue = NULL;
        queue_request_done(&call->request);
        return err_set(err, t->why.code ? t->why.code : TTG_EIO, "%s", t->why.text);
    }
    queue_request_done(&call->request);
    return t->rc;
}

/* --- finding --- */

struct list_talk {
    struct talk talk;
    struct queue_list list;
    int rc;
    struct err err;
};

static void on_list(struct talk *t)
{
    struct list_talk *l = container_of(t, struct list_talk, talk);
    char note[NOTE_BYTES], name[128];
    for (size_t i = 0; i < l->list.count && !l->rc; i++) {
        const struct queue_job_info *j = &l->list.jobs[i];
        snprintf(name, sizeof name, "%.*s", STR_ARG(j->job));
        snprintf(note, sizeof note, "%s, %llu of %llu chunks done, %llu worker%s",
                 summary_state(j->state), (unsigned long long)j->completed,
                 (unsigned long long)j->chunks, (unsigned long long)j->workers,
                 j->workers == 1 ? "" : "s");
        struct cleanup_item item = {
            .kind = CLEANUP_JOB, .source = t->source, .name = name, .note = note};
        l->rc = cleanup_add(t->c, &item, &l->err);
    }
}

static int find(struct cleanup *c, size_t source, struct err *err)
{
    struct list_talk l = {0};
    struct queue_config config = config_of(c, source);
    if (config.url->scheme == URL_AMQP)
        return cleanup_rabbit_find(c, source, &config, err);
    int rc = talk_open(&l.talk, c, source, err);
    l.talk.on_answer = on_list;
    if (!rc)
        rc = talk_ask(&l.talk, &l.list.call, QUEUE_LIST, "", err);
    queue_close(l.talk.queue);
    return rc     ? err_set(err, rc, "%s: %s", c->queues[source].shown, err->text)
           : l.rc ? err_set(err, l.rc, "%s", l.err.text)
                  : 0;
}

static bool is_wanted(const struct cleanup *c, const struct url *url)
{
    return url->scheme == URL_AMQP ? c->rabbitmq : c->redis;
}

int cleanup_queues_find(struct cleanup *c, struct err *err)
{
    for (size_t i = 0; i < c->queue_count; i++)
        if (is_wanted(c, &c->queues[i].url) && find(c, i, err))
            cleanup_trouble(c, err);
    return 0;
}

/* --- removing --- */

int cleanup_queues_remove(struct cleanup *c, struct cleanup_item *item, struct err *err)
{
    struct talk t;
    struct queue_control_call call = {.control = QUEUE_CANCEL};
    int rc = talk_open(&t, c, item->source, err);
    if (!rc)
        rc = talk_ask(&t, &call.call, QUEUE_CONTROL, item->name, err);
    if (!rc || rc == TTG_EDONE) {
        call = (struct queue_control_call){.control = QUEUE_FORGET};
        rc = talk_ask(&t, &call.call, QUEUE_CONTROL, item->name, err);
    }
    queue_close(t.queue);
    return rc == TTG_ENOENT ? 0 : rc; /* somebody else was quicker */
}
