/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/worker_queue.h"

#include "base/log.h"
#include "cmd/kernel_options.h"
#include "cmd/queue_choice.h"
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
    char name[LEDGER_NAME_BYTES_MAX + 1];
    enum worker_end end;
    struct worker_totals totals;
    struct err err;
    int signal; /* the first one */
};

static void on_end(void *ctx, enum worker_end end, const struct worker_totals *totals,
                   const struct err *err)
{
    struct worker_command *w = ctx;
    w->end = end;
    w->totals = *totals;
    w->err = *err;
    loop_stop(w->loop);
}

static void on_signal(struct loop_signal *s)
{
    struct worker_command *w = s->signo == SIGTERM ? container_of(s, struct worker_command, sigterm)
                                                   : container_of(s, struct worker_command, sigint);
    if (!w->signal)
        w->signal = s->signo;
    worker_stop(w->worker);
}

/* Of two workers with one name the newer replaces the older. So a worker that was not given a name
 * or a number makes up a name that nobody else has, and can be started anywhere. */
static int choose_name(struct worker_command *w, uint64_t random)
{
    const struct options *o = w->command->options;
    const char *name = option_text(o, OPT_NAME);
    char host[HOST_BYTES_MAX + 1] = "";
    if (name && (!*name || strlen(name) > LEDGER_NAME_BYTES_MAX))
        return err_set(&w->err, TTG_EUSAGE, "--name: a worker's name has 1 to %d bytes",
                       LEDGER_NAME_BYTES_MAX);
    if (name) {
        snprintf(w->name, sizeof w->name, "%s", name);
    } else if (option_given(o, OPT_WORKER_ID)) {
        snprintf(w->name, sizeof w->name, "worker-%llu",
                 (unsigned long long)option_u64(o, OPT_WORKER_ID));
    } else {
        if (gethostname(host, sizeof host - 1) != 0)
            host[0] = 0;
        snprintf(w->name, sizeof w->name, "worker-%s-%05llx", *host ? host : "x",
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
    c->incarnation = queue_random();
    rc = choose_name(w, c->incarnation);
    if (rc)
        return rc;
    c->queue = w->choice.config;
    c->queue.client_name = w->name;
    c->job = w->choice.job;
    c->name = w->name;
    c->prefetch_max = (uint32_t)option_u64(o, OPT_PREFETCH);
    c->drain_ms = option_ms(o, OPT_DRAIN);
    c->idle_ms = option_ms(o, OPT_IDLE_TIMEOUT);
    c->ctx = w;
    c->on_end = on_end;
    return 0;
}

static int run(struct worker_command *w, const struct worker_config *c)
{
    int rc = loop_signal_start(&w->sigterm, w->loop, SIGTERM, on_signal);
    if (!rc)
        rc = loop_signal_start(&w->sigint, w->loop, SIGINT, on_signal);
    if (rc)
        return err_set(&w->err, rc, "cannot listen to signals: %s", err_text(rc));
    rc = worker_start(&w->worker, w->loop, c, &w->err);
    return rc ? rc : loop_run(w->loop);
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

int worker_queue(struct command_run *r)
{
    struct worker_command w = {.command = r};
    struct worker_config c;
    int rc = configure(&w, &c);
    if (!rc)
        rc = loop_open(&w.loop, &w.err);
    if (!rc) {
        log_context("worker", w.name);
        log_context("job", w.choice.job);
        rc = run(&w, &c);
    }
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
