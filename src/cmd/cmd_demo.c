/* SPDX-License-Identifier: Apache-2.0 */
/* ttg demo: a job on real processes, once in peace and once with a worker killed, on each backend
 * that was asked for; everything it needs is started before and gone afterwards. */
#include "base/log.h"
#include "base/mem.h"
#include "cmd/demo/demo.h"
#include "cmd/leftover.h"
#include "cmd/queue_choice.h"
#include "cmd/terminal.h"
#include "io/realclock.h"
#include "io/stdio.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct demo_preset presets[] = {
    {.name = "small", .simulate_ms = "10", .params = 1000, .chunk_params = 10, .chunk_us = 100000},
    {.name = "medium",
     .simulate_ms = "0.1",
     .params = 10000,
     .chunk_params = 100,
     .chunk_us = 10000},
};
/* Containers start one after the other: with chunks of 10 ms the first would have done it all. */
static const struct demo_preset medium_in_containers = {
    .name = "medium", .simulate_ms = "1", .params = 10000, .chunk_params = 100, .chunk_us = 100000};

/* A pod lives on for some 2 s when it is killed: a chunk has to be longer. So there are few, and
 * their number is for each worker: with fewer rounds the victim might never begin one at the right
 * time. */
static const struct demo_preset in_pods[] = {
    {.name = "small",
     .simulate_ms = "400",
     .params = 40,
     .chunk_params = 10,
     .chunk_us = 4000000,
     .kill_us = 300000},
    {.name = "medium",
     .simulate_ms = "100",
     .params = 400,
     .chunk_params = 40,
     .chunk_us = 4000000,
     .kill_us = 300000},
};

/* --- places --- */

static void fill_queue(struct queue_config *config, const struct url *url)
{
    *config = (struct queue_config){
        .url = url, .client_name = "demo", .retry_ms = QUEUE_RETRY_MS, .seed = queue_random()};
}

/* A node in a directory of the act's own. */
static int act_embedded(struct demo *d, struct demo_act *a, struct err *err)
{
    char path[DEMO_PATH_BYTES], address[RUN_DIR_BYTES + 32];
    struct run_dir dir;
    struct command_words node = {0};
    struct demo_place place = {.address = address, .node = node.list};
    struct url url;
    snprintf(path, sizeof path, "%.4000s/%s", d->dir, a->job);
    int rc = run_dir_open(&dir, path, a->job, false, err);
    if (rc)
        return rc;
    dir.own = true;
    snprintf(address, sizeof address, "ttg+unix:%s", dir.socket);
    embedded_node(&node, &dir, d->command->options);
    rc = url_parse(&url, str_of(address), err);
    fill_queue(&place.queue, &url);
    if (!rc)
        rc = demo_act(d, a, &place, err);
    run_dir_close(&dir, !d->keep);
    return rc;
}

static int act_broker(struct demo *d, struct demo_act *a, const struct broker *b, struct err *err)
{
    struct demo_place place = {.address = demo_is_outside(d) ? b->inner_url : b->url};
    struct url url;
    int rc = url_parse(&url, str_of(b->url), err);
    fill_queue(&place.queue, &url);
    return rc ? rc : demo_act(d, a, &place, err);
}

/* --- acts of a backend --- */

static void say_command(struct demo *d, const struct broker *b, const char *job)
{
    const struct demo_preset *p = d->preset;
    if (demo_is_outside(d)) {
        demo_say(d, "$ ttg submit %s --params %llu --chunk %llu --queue %s", job,
                 (unsigned long long)p->params, (unsigned long long)p->chunk_params, b->url);
        demo_say(d, "$ %s %s %s%s worker --job %s --queue %s --simulate-ms %s   # %u times",
                 d->k8s ? "kubectl run --namespace" : "podman run --network", d->yard,
                 d->k8s ? "--image " : "", d->image, job, b->inner_url, p->simulate_ms, d->workers);
        return;
    }
    demo_say(d, "$ ttg run --params %llu --chunk %llu --workers %u --simulate-ms %s%s%s",
             (unsigned long long)p->params, (unsigned long long)p->chunk_params, d->workers,
             p->simulate_ms, b ? " --queue " : "", b ? b->url : "");
}

static int one_act(struct demo *d, const struct broker *b, struct demo_act *a, const char *job,
                   struct err *err)
{
    *a = (struct demo_act){.demo = d,
                           .backend = b ? b->backend : DEMO_EMBEDDED,
                           .fault = strcmp(job, "undisturbed") != 0,
                           .job = job};
    say_command(d, b, a->job);
    return b ? act_broker(d, a, b, err) : act_embedded(d, a, err);
}

/* A machine that is busy with other things may leave us no moment for the kill before all is done:
 * then the job is run once more. */
static int fault_act(struct demo *d, const struct broker *b, struct demo_act *a, struct err *err)
{
    static const char *const jobs[] = {"fault", "fault-2", "fault-3"};
    size_t tries = demo_is_outside(d) ? 1 : sizeof jobs / sizeof *jobs;
    demo_say(d, "2. the same job, and one worker is killed");
    for (size_t i = 0;; i++) {
        int rc = one_act(d, b, a, jobs[i], err);
        if (rc || a->kill.taken > 0 || !demo_act_good(a) || i + 1 == tries)
            return rc;
        demo_say(d, "  all was done before %s; once more",
                 a->kill.done ? "anybody had to take over" : "a worker could be killed");
        demo_act_free(a);
    }
}

static int acts(struct demo *d, const struct broker *b, struct demo_line *l, struct err *err)
{
    struct demo_act *a = mem_alloc(sizeof *a);
    if (!a)
        return err_set(err, TTG_ENOMEM, "out of memory");
    if (d->fault)
        demo_say(d, "1. undisturbed");
    int rc = one_act(d, b, a, "undisturbed", err);
    bool good = !rc && demo_act_good(a);
    l->undisturbed_seconds = a->totals.seconds;
    if (!rc)
        demo_show_act(d, a);
    if (!rc && d->fault) {
        demo_act_free(a);
        rc = fault_act(d, b, a, err);
        good = good && !rc && demo_act_good(a) && a->kill.taken > 0;
        if (!rc)
            demo_show_act(d, a);
    }
    l->ran = !rc;
    l->fault = d->fault;
    l->good = good;
    l->seconds = a->totals.seconds;
    l->status = a->totals.status;
    l->proof = a->totals.proof;
    l->lines = a->totals.lines;
    l->kill = a->kill;
    demo_act_free(a);
    mem_free(a);
    return rc;
}

static int backend(struct demo *d, struct demo_line *l, struct err *err)
{
    struct broker b = {0};
    int rc = 0;
    if (l->backend == DEMO_EMBEDDED && !d->cli && !d->web && !demo_is_outside(d)) {
        demo_say(d, "embedded: a node in a directory of its own; what it answers is on disk");
        rc = acts(d, NULL, l, err);
    } else {
        rc = demo_is_outside(d) ? 0 : broker_installed(l->backend, err);
        if (!rc)
            demo_say(d, "%s: starting a server of our own%s ...", demo_backend_names[l->backend],
                     d->podman ? ", in a container"
                     : d->k8s  ? ", in a pod"
                               : "");
        if (!rc)
            rc = broker_start(&b, d, l->backend, err);
        if (!rc) {
            demo_say(d, "%s: serves at %s after %.1f s", demo_backend_names[l->backend], b.url,
                     b.seconds);
            rc = d->web ? broker_web(&b, err) : 0;
        }
        if (!rc && d->web)
            demo_say(d, "dashboard: %s", b.web_url);
        if (!rc) {
            demo_wait_for_enter(d, "start the job");
            rc = d->signal ? err_set(err, TTG_ECANCELED, "stopped") : acts(d, &b, l, err);
        }
        if (rc && b.failed.code && !d->signal) /* that is why */
            rc = err_set(err, b.failed.code, "%s", b.failed.text);
        if (!rc)
            demo_wait_for_enter(d, "end the dashboard");
        broker_stop(&b, !rc && d->keep);
    }
    if (!rc)
        demo_show_cost(d, l);
    if (!rc && d->keep && b.demo && (demo_is_outside(d) || l->backend != DEMO_EMBEDDED))
        demo_say(d, "%s still serves at %s", demo_backend_names[l->backend], b.url);
    return rc;
}

/* --- the whole --- */

static void on_signal(struct loop_signal *s)
{
    struct demo *d = s->signo == SIGINT    ? container_of(s, struct demo, sigint)
                     : s->signo == SIGTERM ? container_of(s, struct demo, sigterm)
                                           : container_of(s, struct demo, sighup);
    if (!d->signal) {
        demo_say(d, "stopping; what was started is removed");
    } else if (d->act && d->act->run) {
        run_stop(d->act->run);
    }
    d->signal = s->signo;
}

static void choose_runtime(struct demo *d)
{
    const struct options *o = d->command->options;
    struct str runtime = option_str(o, OPT_RUNTIME);
    d->image = option_text(o, OPT_DEMO_IMAGE);
    d->podman = str_eq(runtime, STR("podman"));
    d->k8s = str_eq(runtime, STR("k8s"));
    d->pods = in_pods[d->preset - presets];
    d->pods.params *= d->workers;
    if (d->k8s)
        d->preset = &d->pods;
    else if (d->podman && d->preset == &presets[1])
        d->preset = &medium_in_containers;
}

static int configure(struct demo *d, struct err *err)
{
    const struct options *o = d->command->options;
    const char *term = getenv("TERM");
    d->loop = NULL;
    d->fault = option_bool(o, OPT_FAULT_DEMO);
    d->json = option_bool(o, OPT_JSON);
    d->keep = option_bool(o, OPT_SKIP_CLEANUP);
    struct str monitor = option_str(o, OPT_DEMO_MONITOR);
    bool both = str_eq(monitor, STR("both")), cli = both || str_eq(monitor, STR("cli"));
    d->web = both || str_eq(monitor, STR("web"));
    d->cli = cli && terminal_is_smart();
    if (cli && !d->cli)
        demo_say(d, "--monitor cli: standard output is no terminal, so the story is told in lines");
    d->workers = (uint32_t)option_u64(o, OPT_DEMO_WORKERS);
    d->preset = &presets[option_u64(o, OPT_SCALE)];
    d->bar = stdio_is_terminal(STDIO_ERR) && !(term && strcmp(term, "dumb") == 0);
    choose_runtime(d);
    int rc = loop_open(&d->loop, err);
    if (!rc)
        rc = guard_open(&d->guard, DEMO_SLOTS, err);
    if (!rc)
        rc = leftover_dir(d->dir, "demo", err);
    return rc;
}

static int listen_to_signals(struct demo *d, struct err *err)
{
    int rc = loop_signal_start(&d->sigint, d->loop, SIGINT, on_signal);
    if (!rc)
        rc = loop_signal_start(&d->sigterm, d->loop, SIGTERM, on_signal);
    if (!rc)
        rc = loop_signal_start(&d->sighup, d->loop, SIGHUP, on_signal);
    return rc ? err_set(err, rc, "cannot listen to signals: %s", err_text(rc)) : 0;
}

static void close_demo(struct demo *d)
{
    if (d->k8s)
        demo_k8s_close(d);
    else
        demo_podman_close(d);
    guard_close(d->guard);
    if (d->loop) {
        loop_signal_stop(&d->sigint);
        loop_signal_stop(&d->sigterm);
        loop_signal_stop(&d->sighup);
        loop_close(d->loop);
    }
    if (d->dir[0] && d->keep && !d->signal)
        demo_say(d, "kept: %s; `ttg cleanup --local%s` removes it", d->dir,
                 d->podman ? " --pods" : "");
    if (d->dir[0] && d->keep && !d->signal && d->k8s && d->yard[0])
        demo_say(d, "and on the cluster; `kubectl delete namespace %s` removes that", d->yard);
    if (d->dir[0] && !(d->keep && !d->signal))
        state_dir_remove(d->dir);
}

/* Backends from..to, of which with `all` those may be missing that are not installed. */
static int go(struct demo *d, enum demo_backend from, enum demo_backend to)
{
    struct demo_line lines[DEMO_BACKENDS] = {0};
    struct err err = {0};
    int code = EXIT_DONE;
    size_t count = 0;
    for (enum demo_backend b = from; b <= to && !d->signal; b++) {
        struct demo_line *l = &lines[count];
        *l = (struct demo_line){.backend = b};
        if (count > 0)
            demo_say(d, "%s", "");
        int rc = backend(d, l, &err);
        if (d->signal)
            break;
        count++;
        snprintf(l->trouble, sizeof l->trouble, "%s", rc ? err.text : "");
        if (rc)
            code = command_fail(d->command, &err);
        else if (!l->good && code == EXIT_DONE)
            code = l->status.status.completed < l->status.status.chunks ? EXIT_FAILED_CHUNKS
                                                                        : EXIT_UNVERIFIED;
    }
    if (d->signal)
        return d->signal == SIGINT ? EXIT_SIGINT : EXIT_SIGTERM;
    if (from != to)
        demo_show_table(d, lines, count);
    for (size_t i = 0; d->json && i < count; i++) {
        int printed = demo_show_json(d, &lines[i]);
        code = code ? code : printed;
    }
    if (d->out_err.code && code == EXIT_DONE)
        code = command_fail(d->command, &d->out_err);
    return code;
}

int cmd_demo(struct command_run *r)
{
    struct demo d = {.command = r};
    struct err err = {0};
    uint64_t asked = option_u64(r->options, OPT_BACKEND);
    bool all = asked >= DEMO_BACKENDS;
    enum demo_backend from = all ? DEMO_EMBEDDED : (enum demo_backend)asked;
    enum demo_backend to = all ? DEMO_RABBITMQ : (enum demo_backend)asked;
    if (!option_given(r->options, OPT_LOG_LEVEL)) { /* the story is told by us */
        struct log_setup log = {.level = LOG_ERROR, .clock = realclock(), .sink = stdio_log_sink};
        log_setup(&log);
    }
    int rc = configure(&d, &err);
    if (!rc)
        rc = listen_to_signals(&d, &err);
    if (!rc && d.podman)
        rc = demo_podman_open(&d, from, to, &err);
    if (!rc && d.k8s)
        rc = demo_k8s_open(&d, &err);
    int code = rc ? command_fail(r, &err) : go(&d, from, to);
    close_demo(&d);
    return code;
}
