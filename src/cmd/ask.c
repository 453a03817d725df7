/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ask.h"

#include "base/log.h"
#include "io/loop.h"

#include <stdio.h>

/* --- the place --- */

void ask_place(const struct ask *a, struct buf *out)
{
    char url[URL_TEXT_BYTES_MAX];
    if (a->embedded) {
        buf_printf(out, "embedded:%s", a->dir.path);
        return;
    }
    url_show(&a->choice.url, url);
    buf_printf(out, "%s", url);
}

static int choose_job(struct ask *a, const char *named, struct err *err)
{
    const char *option = option_text(a->command->options, OPT_JOB);
    if (named && option && strcmp(named, option) != 0)
        return err_set(err, TTG_EUSAGE, "--job %s and the argument %s name different jobs", option,
                       named);
    a->job_given = named || option;
    a->job = named ? named : a->choice.job;
    size_t len = strlen(a->job), good = strspn(a->job, "abcdefghijklmnopqrstuvwxyz"
                                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    if (len == 0 || len >= ASK_JOB_BYTES || good < len)
        return err_set(err, TTG_EUSAGE,
                       "'%s' is no name of a job: 1 to 64 letters, digits, '-' and '_'", a->job);
    return 0;
}

static int choose_dir(struct ask *a, bool make, struct err *err)
{
    const char *path = a->choice.given ? a->choice.url.path : NULL;
    int rc;
    if (path && make)
        rc = run_dir_attach(&a->dir, path, true, err);
    else if (path)
        rc = run_dir_attach(&a->dir, path, false, err);
    else
        rc = run_dir_newest(&a->dir, a->job_given ? a->job : NULL, a->job_room, err);
    if (rc)
        return rc;
    if (!path)
        a->job = a->job_room;
    snprintf(a->address, sizeof a->address, "ttg+unix:%s", a->dir.socket);
    embedded_node(&a->node, &a->dir, a->command->options);
    return url_parse(&a->choice.url, str_of(a->address), err);
}

/* --- opening --- */

static void on_lost(void *ctx, const struct err *err)
{
    struct ask *a = ctx;
    a->lost = true;
    a->why = *err;
}

static bool on_node_needed(void *ctx)
{
    struct ask *a = ctx;
    return !a->queue || !queue_is_up(a->queue);
}

static void on_crew_stopped(void *ctx)
{
    struct ask *a = ctx;
    a->crew_stopped = true;
}

static int start_node(struct ask *a, struct err *err)
{
    struct crew_config crew = {.node = a->node.list,
                               .node_lives = run_dir_node_lives(&a->dir),
                               .worker = a->node.list,
                               .ctx = a,
                               .node_needed = on_node_needed,
                               .on_failed = on_lost,
                               .on_stopped = on_crew_stopped};
    return crew_start(&a->crew, a->loop, &crew, err);
}

int ask_open_queue(struct ask *a, struct queue **ret_queue, struct err *err)
{
    struct queue_config *config = &a->choice.config; /* has to stay as long as the queue */
    config->client_name = a->command->command->name;
    config->ctx = a;
    config->job = a->job;
    config->on_lost = on_lost;
    return queue_open(ret_queue, a->loop, config, err);
}

int ask_open(struct ask *a, struct command_run *r, const struct ask_config *config, struct err *err)
{
    *a = (struct ask){.command = r, .dir = {.lock_fd = -1}};
    int rc = queue_choose(&a->choice, r, err);
    if (!rc)
        rc = choose_job(a, config->job, err);
    if (rc)
        return rc;
    a->embedded = !a->choice.given || a->choice.url.scheme == URL_EMBEDDED;
    if (a->embedded)
        rc = choose_dir(a, config->make, err);
    if (!rc)
        rc = loop_open(&a->loop, err);
    if (!rc && a->embedded)
        rc = start_node(a, err);
    return rc ? rc : ask_open_queue(a, &a->queue, err);
}

void ask_close(struct ask *a)
{
    queue_close(a->queue);
    if (a->crew) {
        crew_stop(a->crew);
        while (!a->crew_stopped && loop_turn(a->loop, LOOP_FOREVER) == 0)
            ;
        crew_free(a->crew);
    }
    loop_close(a->loop);
    run_dir_close(&a->dir, false);
}

/* --- asking --- */

struct answer {
    bool done;
    int rc;
    struct err *err;
    void (*on_answer)(void *ctx);
    void *ctx;
};

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    struct answer *w = r->ctx;
    w->done = true;
    w->rc = rc;
    if (rc && w->err)
        *w->err = *err;
    if (!rc && w->on_answer)
        w->on_answer(w->ctx);
}

void ask_init(struct ask *a, struct queue_call *call, enum queue_verb verb)
{
    queue_request_init(&call->request, verb, on_done, NULL);
    call->job = str_of(a->job);
}

int ask_wait(struct ask *a, const bool *done, uint64_t deadline_ms, struct err *err)
{
    while (!*done) {
        uint64_t now_ms = loop_now_update(a->loop) / 1000000, wait_ms = LOOP_FOREVER;
        if (a->lost)
            return err_set(err, a->why.code, "%s", a->why.text);
        if (deadline_ms != UINT64_MAX) {
            if (now_ms >= deadline_ms)
                return err_set(err, TTG_ETIMEOUT, "the time ran out");
            wait_ms = deadline_ms - now_ms;
        }
        int rc = loop_turn(a->loop, wait_ms);
        if (rc)
            return err_set(err, rc, "%s", err_text(rc));
    }
    return 0;
}

int ask_send(struct ask *a, struct queue_call *call, void (*on_answer)(void *ctx), void *ctx,
             struct err *err)
{
    struct answer w = {.err = err, .on_answer = on_answer, .ctx = ctx};
    struct buf place;
    call->request.ctx = &w;
    queue_send(a->queue, &call->request);
    int rc = ask_wait(a, &w.done, UINT64_MAX, err);
    if (rc) {         /* the request points to our stack */
        w.err = NULL; /* that it is canceled is not why */
        queue_close(a->queue);
        a->queue = NULL;
        return rc;
    }
    bool of_chunk = call->request.verb == QUEUE_DEAD_SHOW;
    if (w.rc != TTG_ENOENT || of_chunk)
        return w.rc;
    buf_init(&place, URL_TEXT_BYTES_MAX + RUN_DIR_BYTES);
    ask_place(a, &place);
    err_set(err, TTG_EINVAL, "there is no job %s on %.*s; `ttg status` lists those there are",
            a->job, STR_ARG(buf_str(&place)));
    buf_done(&place);
    return w.rc;
}

int ask_once(struct ask *a, struct queue_call *call, void (*on_answer)(void *ctx), void *ctx,
             struct err *err)
{
    int rc = ask_send(a, call, on_answer, ctx, err);
    queue_request_done(&call->request);
    return rc;
}

int ask_control(struct ask *a, enum queue_control what, struct err *err)
{
    struct queue_control_call call = {.control = what};
    ask_init(a, &call.call, QUEUE_CONTROL);
    return ask_once(a, &call.call, NULL, NULL, err);
}
