/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/worker_queue.h"

#include "base/log.h"
#include "base/mem.h"
#include "cmd/figures_text.h"
#include "cmd/job_spec.h"
#include "cmd/kernel_options.h"
#include "cmd/queue_choice.h"
#include "cmd/worker_restart.h"
#include "cmd/worker_stay.h"
#include "io/figures.h"
#include "io/loop.h"
#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HOST_BYTES_MAX = 64 };

struct worker_command {
    struct command_run *command;
    struct loop *loop;
    struct worker *worker;
    struct loop_signal sigterm, sigint;
    struct queue_choice choice;
    char name[LEDGER_NAME_BYTES_MAX + 1], host[HOST_BYTES_MAX + 1];
    enum worker_end end;
    struct worker_totals totals;
    struct err err;
    int signal; /* the first one */
    struct figures figures;
    struct worker_figures before; /* of workers that have ended: --stay */

    /* --stay: from one run of the job to the next. */
    bool stays;
    struct worker_stay stay;
    struct loop_timer next;

    /* The worker that creates the job: number 0 of those that the older variables started. */
    struct worker_config config;
    struct queue *creator;
    struct queue_config creator_config;
    struct queue_create create;
    struct loop_timer created;
    struct buf kernel;
};

static void on_end(void *ctx, enum worker_end end, const struct worker_totals *totals,
                   const struct err *err)
{
    struct worker_command *w = ctx;
    w->end = end;
    w->totals = *totals;
    w->err = *err;
    if (w->stays && !w->signal && (end == WORKER_FINISHED || end == WORKER_IDLE))
        loop_timer_after_ms(&w->next, 0);
    else
        loop_stop(w->loop);
}

static void on_signal(struct loop_signal *s)
{
    struct worker_command *w = s->signo == SIGTERM ? container_of(s, struct worker_command, sigterm)
                                                   : container_of(s, struct worker_command, sigint);
    if (!w->signal)
        w->signal = s->signo;
    if (w->worker)
        worker_stop(w->worker);
    else
        loop_stop(w->loop);
}

/* Of two workers with one name the newer replaces the older. So a worker that was not given a name
 * or a number makes up a name that nobody else has, and can be started anywhere. */
static int choose_name(struct worker_command *w, uint64_t random)
{
    const struct options *o = w->command->options;
    const char *name = option_text(o, OPT_NAME);
    if (gethostname(w->host, sizeof w->host - 1) != 0)
        w->host[0] = 0;
    if (name && (!*name || strlen(name) > LEDGER_NAME_BYTES_MAX))
        return err_set(&w->err, TTG_EUSAGE, "--name: a worker's name has 1 to %d bytes",
                       LEDGER_NAME_BYTES_MAX);
    if (name) {
        snprintf(w->name, sizeof w->name, "%s", name);
    } else if (option_given(o, OPT_WORKER_ID)) {
        snprintf(w->name, sizeof w->name, "worker-%llu",
                 (unsigned long long)option_u64(o, OPT_WORKER_ID));
    } else {
        snprintf(w->name, sizeof w->name, "worker-%s-%05llx", w->host[0] ? w->host : "x",
                 (unsigned long long)random & 0xfffff);
    }
    return 0;
}

static int configure(struct worker_command *w, struct worker_config *c)
{
    const struct options *o = w->command->options;
    worker_config_init(c);
    int rc = queue_choose(&w->choice, w->command, &w->err);
    if (!rc)
        rc = kernel_from_options(&c->kernel, w->command, &w->err);
    if (rc)
        return rc;
    c->incarnation =
        option_given(o, OPT_INCARNATION) ? option_u64(o, OPT_INCARNATION) : queue_random();
    rc = choose_name(w, queue_random());
    if (rc)
        return rc;
    c->queue = w->choice.config;
    c->queue.client_name = w->name;
    c->queue.stale_check_ms = option_ms(o, OPT_STALE_CHECK);
    c->job = w->choice.job;
    c->name = w->name;
    c->host = w->host;
    c->prefetch_max = (uint32_t)option_u64(o, OPT_PREFETCH);
    c->drain_ms = option_ms(o, OPT_DRAIN);
    c->idle_ms = option_ms(o, OPT_IDLE_TIMEOUT);
    c->idle_ends = !option_text(o, OPT_QUEUE) && queue_is_one(&c->queue);
    c->ctx = w;
    c->on_end = on_end;
    w->stays = option_bool(o, OPT_STAY);
    return 0;
}

/* --- QUEUE_MODE=true: worker 0 creates the chunks, the others wait for them --- */

static bool creates(const struct worker_command *w)
{
    const struct options *o = w->command->options;
    return !option_text(o, OPT_QUEUE) && !option_text(o, OPT_NAME) &&
           option_u64(o, OPT_WORKER_ID) == 0;
}

/* Whoever has created it, and however far it is: from here on it is a job like any other. */
static void on_create(struct queue_request *r, int rc, const struct err *err)
{
    struct worker_command *w = r->ctx;
    if (rc == TTG_ECANCELED)
        return;
    if (!rc)
        log_info(w->create.created ? "job.created" : "job.exists",
                 kv_u64("params", w->create.spec.params));
    else if (rc == TTG_EEXIST)
        log_warn("job.differs", kv_str("reason", err->text));
    else if (rc != TTG_EDONE && rc != TTG_EBUSY)
        w->err = *err;
    loop_timer_after_ms(&w->created, 0);
}

static void on_creator_lost(void *ctx, const struct err *err)
{
    struct worker_command *w = ctx;
    w->err = *err;
    loop_timer_after_ms(&w->created, 0);
}

static void on_created(struct loop_timer *t)
{
    struct worker_command *w = container_of(t, struct worker_command, created);
    queue_close(w->creator);
    w->creator = NULL;
    if (w->err.code || worker_start(&w->worker, w->loop, &w->config, &w->err))
        loop_stop(w->loop);
}

static int create_job(struct worker_command *w)
{
    const struct options *o = w->command->options;
    loop_timer_init(&w->created, w->loop, on_created);
    queue_request_init(&w->create.call.request, QUEUE_CREATE, on_create, w);
    buf_init(&w->kernel, LEDGER_TEXT_BYTES_MAX);
    if (kernel_describe(&w->config.kernel, &w->kernel))
        return err_set(&w->err, TTG_EUSAGE, "the command is too long");
    w->create.call.job = str_of(w->config.job);
    w->create.unattended = true;
    w->create.spec = (struct ledger_spec){.params = option_u64(o, OPT_PARAMS),
                                          .window = LEDGER_WINDOW,
                                          .kernel = buf_str(&w->kernel),
                                          .input = STR("")};
    job_spec_limits(&w->create.spec, o);
    w->creator_config = w->config.queue;
    w->creator_config.job = w->config.job;
    w->creator_config.ctx = w;
    w->creator_config.on_lost = on_creator_lost;
    int rc = queue_open(&w->creator, w->loop, &w->creator_config, &w->err);
    if (!rc)
        queue_send(w->creator, &w->create.call.request);
    return rc;
}

static void log_end(const struct worker_command *w)
{
    static const char *const why[] = {
        [WORKER_FINISHED] = "the job has ended",
        [WORKER_IDLE] = "nothing to do",
        [WORKER_STOPPED] = "told to stop",
        [WORKER_REPLACED] = "replaced by a newer worker of this name",
        [WORKER_LOST] = "the queue or the job is lost",
        [WORKER_BROKEN] = "it cannot go on",
    };
    log_info("worker.ended", kv_str("reason", why[w->end]),
             kv_u64("committed", w->totals.committed), kv_u64("failed", w->totals.failed),
             kv_u64("stale", w->totals.stale), kv_u64("released", w->totals.released));
}

/* --- --stay: the job has ended, or is not there yet --- */

static int wait_for_job(struct worker_command *w)
{
    return worker_stay_start(&w->stay, w->loop, &w->config.queue, str_of(w->config.job), &w->err);
}

/* From the wait to the worker, and back. */
static void on_next(struct loop_timer *t)
{
    struct worker_command *w = container_of(t, struct worker_command, next);
    int rc;
    if (w->worker) {
        struct worker_figures f;
        log_end(w);
        worker_figures(w->worker, &f);
        figures_add(&w->before, &f);
        worker_free(w->worker);
        w->worker = NULL;
        w->config.incarnation = queue_random();
        w->totals = (struct worker_totals){0};
        w->end = WORKER_STOPPED;
        rc = wait_for_job(w);
    } else {
        worker_stay_stop(&w->stay);
        rc = w->err.code ? w->err.code : worker_start(&w->worker, w->loop, &w->config, &w->err);
    }
    if (rc)
        loop_stop(w->loop);
}

static void on_wanted(void *ctx, const struct err *err)
{
    struct worker_command *w = ctx;
    if (err)
        w->err = *err;
    loop_timer_after_ms(&w->next, 0);
}

static int run(struct worker_command *w)
{
    int rc = loop_signal_start(&w->sigterm, w->loop, SIGTERM, on_signal);
    if (!rc)
        rc = loop_signal_start(&w->sigint, w->loop, SIGINT, on_signal);
    if (rc)
        return err_set(&w->err, rc, "cannot listen to signals: %s", err_text(rc));
    loop_timer_init(&w->next, w->loop, on_next);
    w->stay.ctx = w;
    w->stay.on_wanted = on_wanted;
    w->end = WORKER_STOPPED; /* until a worker says otherwise */
    if (creates(w))
        rc = create_job(w);
    else if (w->stays)
        rc = wait_for_job(w);
    else
        rc = worker_start(&w->worker, w->loop, &w->config, &w->err);
    if (!rc)
        rc = loop_run(w->loop);
    if (!rc && !w->worker && !w->signal)
        rc = w->err.code; /* no job could be created, or asked for */
    loop_timer_stop(&w->next);
    worker_stay_stop(&w->stay);
    queue_close(w->creator);
    queue_request_done(&w->create.call.request);
    buf_done(&w->kernel);
    if (creates(w))
        loop_timer_stop(&w->created);
    return rc;
}

static int exit_code(struct worker_command *w)
{
    if (w->signal)
        return w->signal == SIGTERM ? EXIT_SIGTERM : EXIT_SIGINT;
    switch (w->end) {
    case WORKER_FINISHED:
    case WORKER_IDLE:
    case WORKER_STOPPED:
        return EXIT_DONE;
    case WORKER_LOST:
    case WORKER_REPLACED:
        command_fail(w->command, &w->err);
        return EXIT_LOST;
    case WORKER_BROKEN:
        break;
    }
    return command_fail(w->command, &w->err);
}

/* --- /metrics --- */

static void write_figures(void *ctx, struct buf *out)
{
    struct worker_command *w = ctx;
    struct worker_figures f = {0};
    if (w->worker)
        worker_figures(w->worker, &f);
    figures_add(&f, &w->before);
    figures_of_worker(out, &f);
}

static bool is_ready(void *ctx)
{
    struct worker_command *w = ctx;
    struct worker_figures f = {0};
    if (w->worker)
        worker_figures(w->worker, &f);
    return f.joined;
}

/* A port that is taken stops no work. */
static void serve_figures(struct worker_command *w)
{
    struct err err = {0};
    struct figures_config config = {.address = option_text(w->command->options, OPT_WORKER_HTTP),
                                    .kind = "worker",
                                    .ctx = w,
                                    .write = write_figures,
                                    .ready = is_ready};
    if (config.address && figures_open(&w->figures, w->loop, &config, &err))
        log_warn("metrics.unavailable", kv_str("reason", err.text));
}

/* The same command, as a child of ours. */
static int restarting(struct worker_command *w)
{
    if (choose_name(w, queue_random()))
        return command_fail(w->command, &w->err);
    log_context("worker", w->name);
    return worker_restart(w->command, w->name);
}

int worker_queue(struct command_run *r)
{
    struct worker_command w = {.command = r};
    if (option_bool(r->options, OPT_RESTART))
        return restarting(&w);
    int rc = configure(&w, &w.config);
    if (!rc)
        rc = loop_open(&w.loop, &w.err);
    if (!rc) {
        log_context("worker", w.name);
        log_context("job", w.choice.job);
        serve_figures(&w);
        rc = run(&w);
    }
    figures_close(&w.figures);
    bool ended = !rc;
    if (ended)
        log_end(&w);
    worker_free(w.worker);
    if (w.loop) {
        loop_signal_stop(&w.sigterm);
        loop_signal_stop(&w.sigint);
        loop_close(w.loop);
    }
    return ended ? exit_code(&w) : command_fail(r, &w.err);
}
