/* SPDX-License-Identifier: Apache-2.0 */
/* ttg run: what to compute, where, with which crew; and what is said at the end. */
#include "base/log.h"
#include "base/mem.h"
#include "base/trace.h"
#include "cmd/embedded.h"
#include "cmd/job_spec.h"
#include "cmd/joblog.h"
#include "cmd/kernel_options.h"
#include "cmd/progress_show.h"
#include "cmd/queue_choice.h"
#include "cmd/queue_options.h"
#include "cmd/run_dir.h"
#include "cmd/run_web.h"
#include "cmd/summary.h"
#include "io/loop.h"
#include "io/stdio.h"
#include "job/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ADDRESS_BYTES = 5000, EVENT_LINES_MAX = 20 /* a second */ };

struct run_command {
    struct command_run *command;
    struct loop *loop;
    struct run *run;
    struct loop_signal sigterm, sigint;
    struct queue_choice choice;
    bool embedded;
    struct run_dir dir;
    char address[ADDRESS_BYTES];
    struct job_spec spec;
    struct command_words node;
    char **worker; /* as long as the command is */
    enum run_end end;
    struct run_totals totals;
    struct progress_show progress;
    struct joblog *joblog;
    struct err err;
    int signal;
    struct run_web web;
    uint64_t event_second, events; /* of the queue's events that were told in that second */
};

/* Ours shows what happened to the job; workers and node only what is wrong, unless asked for. */
static enum log_level worker_level(const struct command_run *r)
{
    enum log_level level = LOG_WARN;
    if (option_given(r->options, OPT_LOG_LEVEL))
        log_level_parse(option_str(r->options, OPT_LOG_LEVEL), &level);
    return level;
}

/* An address that did not stand on our command line does not get onto theirs: it may hold a
 * password, and everybody on the machine sees command lines. */
static int worker_words(struct run_command *c)
{
    static const enum option_id passed[] = {
        OPT_SLOTS,      OPT_FAULT_RATE, OPT_PLUGIN,     OPT_PLUGIN_ARG, OPT_TIMEOUT,
        OPT_OUTPUT_MAX, OPT_DRAIN,      OPT_PREFETCH,   OPT_LOG_FORMAT, OPT_QUEUE_RETRY,
        OPT_REDIS_WAIT, OPT_QUEUE_CA,   OPT_QUEUE_CERT, OPT_QUEUE_KEY,
    };
    const struct command_run *r = c->command;
    struct command_words a = {0};
    command_word(&a, "ttg");
    command_word(&a, "worker");
    if (c->embedded || r->options->slots[OPT_QUEUE].source == OPTION_FROM_FLAG) {
        command_word(&a, "--queue");
        command_word(&a, c->address);
    } else if (setenv("TTG_QUEUE", c->address, 1) != 0) {
        return err_set(&c->err, TTG_ENOMEM, "out of memory");
    }
    command_word(&a, "--job");
    command_word(&a, c->choice.job);
    command_word(&a, "--name");
    command_word(&a, CREW_NAME);
    command_word(&a, "--incarnation");
    command_word(&a, CREW_INCARNATION);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        command_option(&a, r->options, passed[i]);
    if (option_bool(r->options, OPT_QUEUE_NO_VERIFY))
        command_word(&a, "--queue-no-verify");
    if (r->word_count == 0 && !option_text(r->options, OPT_PLUGIN))
        command_option(&a, r->options, OPT_SIMULATE_MS);
    /* What is below the level asked for is not shown, but known when the worker dies of it. */
    command_word(&a, "--log-level");
    command_word(&a, worker_level(r) == LOG_DEBUG ? "DEBUG" : "INFO");
    if (option_bool(r->options, OPT_COPROC))
        command_word(&a, "--coproc");
    c->worker = mem_array(a.count + r->word_count + 2, sizeof(char *));
    if (!c->worker)
        return err_set(&c->err, TTG_ENOMEM, "out of memory");
    size_t n = 0;
    for (; n < a.count; n++)
        c->worker[n] = a.list[n];
    if (r->word_count > 0)
        c->worker[n++] = (char *)(uintptr_t) "--";
    for (size_t i = 0; i < r->word_count; i++)
        c->worker[n++] = r->words[i];
    c->worker[n] = NULL;
    return 0;
}

/* --- events --- */

static void on_signal(struct loop_signal *s)
{
    struct run_command *c = s->signo == SIGTERM ? container_of(s, struct run_command, sigterm)
                                                : container_of(s, struct run_command, sigint);
    if (!c->signal) {
        c->signal = s->signo;
        progress_show_clear(&c->progress);
        log_warn("run.stopping", kv_str("signal", s->signo == SIGTERM ? "SIGTERM" : "SIGINT"),
                 kv_str("then", "running chunks end; once more to stop at once"));
    }
    run_stop(c->run);
}

static void on_status(void *ctx, const struct queue_status *status)
{
    struct run_command *c = ctx;
    progress_show_status(&c->progress, status, loop_now_ms(c->loop));
    c->web.status = status->status;
    c->web.has_status = true;
}

static void on_lines(void *ctx, struct str lines)
{
    struct run_command *c = ctx;
    if (c->joblog)
        joblog_results(c->joblog, lines);
    for (struct str rest = lines; rest.len > 0; c->web.run.lines++)
        str_cut(rest, '\n', &rest);
}

static void on_worker(void *ctx, const char *name, pid_t pid, bool died)
{
    struct run_command *c = ctx;
    bool is_worker = strncmp(name, "worker", 6) == 0;
    c->web.run.started += is_worker && pid > 0;
    c->web.run.died += is_worker && died;
}

static void on_event(void *ctx, const struct queue_event *e)
{
    struct run_command *c = ctx;
    if (c->joblog && str_eq(e->event, STR("chunk.dead")))
        joblog_dead(c->joblog, e);
    uint64_t second = e->at_ms / 1000;
    if (second != c->event_second) {
        if (c->events > EVENT_LINES_MAX)
            log_info("events.left_out", kv_u64("count", c->events - EVENT_LINES_MAX));
        c->event_second = second;
        c->events = 0;
    }
    if (c->events++ >= EVENT_LINES_MAX)
        return;
    progress_show_clear(&c->progress);
    struct str rest, first_line = str_cut(e->text, '\n', &rest);
    struct trace t;
    trace_of(&t, str_of(c->choice.job), c->web.status.created_ms, (uint64_t)e->chunk, 0);
    if (str_eq(e->event, STR("chunk.reclaimed")))
        log_info("chunk.reclaimed", kv_i64("chunk", e->chunk), kv_s("from", e->from),
                 kv_s("to", e->to), kv_u64("after_ms", e->value), kv_trace(&t));
    else if (str_eq(e->event, STR("worker.lost")))
        log_warn("worker.lost", kv_s("worker", e->from), kv_u64("leases", e->value),
                 kv_s("reason", first_line));
    else if (str_eq(e->event, STR("chunk.dead")))
        log_error("chunk.dead", kv_i64("chunk", e->chunk), kv_u64("attempts", e->value),
                  kv_s("reason", e->text), kv_trace(&t));
    else if (str_eq(e->event, STR("chunk.failed")))
        log_debug("chunk.failed", kv_i64("chunk", e->chunk), kv_s("worker", e->from),
                  kv_u64("retry_ms", e->value), kv_s("reason", e->text), kv_trace(&t));
}

static void on_end(void *ctx, enum run_end end, const struct run_totals *totals,
                   const struct err *err)
{
    struct run_command *c = ctx;
    c->end = end;
    c->totals = *totals;
    c->err = *err;
    loop_stop(c->loop);
}

/* --- start --- */

static int choose_place(struct run_command *c)
{
    const struct options *o = c->command->options;
    bool resume = option_bool(o, OPT_RESUME);
    int rc = queue_choose(&c->choice, c->command, &c->err);
    if (rc)
        return rc;
    c->embedded = !c->choice.given || c->choice.url.scheme == URL_EMBEDDED;
    if (!c->embedded) {
        struct buf text;
        buf_init(&text, ADDRESS_BYTES - 1);
        rc = queue_address(o, &text, &c->err);
        snprintf(c->address, sizeof c->address, "%.*s", STR_ARG(buf_str(&text)));
        buf_done(&text);
        return rc;
    }
    rc = run_dir_open(&c->dir, c->choice.given ? c->choice.url.path : NULL, c->choice.job, resume,
                      &c->err);
    if (rc)
        return rc;
    snprintf(c->address, sizeof c->address, "ttg+unix:%s", c->dir.socket);
    embedded_node(&c->node, &c->dir, o);
    return url_parse(&c->choice.url, str_of(c->address), &c->err);
}

static int configure(struct run_command *c, struct run_config *run)
{
    const struct options *o = c->command->options;
    int rc = kernel_check(c->command, &c->err);
    if (!rc && option_bool(o, OPT_RAW) && option_text(o, OPT_OUTPUT))
        rc = err_set(&c->err, TTG_EUSAGE, "--raw prints to standard output: not with --output");
    if (!rc)
        rc = choose_place(c);
    struct job_place place = {
        .index = c->embedded ? c->dir.index : NULL,
        .text = c->embedded ? c->dir.text : NULL,
        .output = option_text(o, OPT_OUTPUT),
        .resume = option_bool(o, OPT_RESUME),
    };
    if (!rc)
        rc = job_spec_from_options(&c->spec, c->command, &place, &c->err);
    if (!rc)
        rc = worker_words(c);
    if (!rc && option_text(o, OPT_JOBLOG))
        rc = joblog_open(&c->joblog, option_text(o, OPT_JOBLOG), c->command->words, c->choice.job,
                         &c->spec.spec, &c->err);
    if (rc)
        return rc;
    progress_show_init(&c->progress, c->command);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t workers = option_text(o, OPT_WORKERS) ? option_u64(o, OPT_WORKERS)
                       : processors > 0            ? (uint64_t)processors
                                                   : 1;
    bool node_lives = c->embedded && c->dir.resumed && run_dir_node_lives(&c->dir);
    *run = (struct run_config){
        .queue = c->choice.config,
        .job = c->choice.job,
        .spec = c->spec.spec,
        .output = {.path = option_text(o, OPT_OUTPUT),
                   .raw = option_bool(o, OPT_RAW),
                   .resume = option_bool(o, OPT_RESUME)},
        .ordered = option_bool(o, OPT_ORDERED),
        .crew = {.node = c->embedded ? c->node.list : NULL,
                 .node_lives = node_lives,
                 .worker = c->worker,
                 .workers = (uint32_t)workers,
                 .log_level = worker_level(c->command),
                 .drain_ms = option_ms(o, OPT_DRAIN),
                 .on_worker = on_worker},
        /* A node that died does not know yet which of its workers did: ours take their places. */
        .share_names = c->embedded && !node_lives,
        .status_ms = c->progress.on && c->progress.bar ? PROGRESS_BAR_MS : 1000,
        .ctx = c,
        .on_status = on_status,
        .on_lines = c->joblog || option_text(o, OPT_HTTP) ? on_lines : NULL,
        .on_event = on_event,
        .on_end = on_end,
    };
    run->queue.client_name = "run";
    return 0;
}

static int go(struct run_command *c, const struct run_config *config)
{
    int rc = loop_signal_start(&c->sigterm, c->loop, SIGTERM, on_signal);
    if (!rc)
        rc = loop_signal_start(&c->sigint, c->loop, SIGINT, on_signal);
    if (rc)
        return err_set(&c->err, rc, "cannot listen to signals: %s", err_text(rc));
    rc = run_web_open(&c->web, c->loop, c->command->options, &c->choice.config, c->choice.job,
                      &c->err);
    if (rc)
        return rc;
    char where[URL_TEXT_BYTES_MAX];
    url_show(&c->choice.url, where);
    if (config->crew.workers == 0)
        log_warn("run.no_workers", kv_str("queue", where),
                 kv_str("then", "waiting for `ttg worker` there; --workers starts some here"));
    rc = run_start(&c->run, c->loop, config, &c->err);
    return rc ? rc : loop_run(c->loop);
}

/* --- the end --- */

static void say_how_to_resume(const struct run_command *c)
{
    struct buf b;
    buf_init(&b, 16384);
    buf_printf(&b, "ttg run: stopped; the same command with --resume goes on");
    if (c->embedded)
        buf_printf(&b, " (the job is in %s)", c->dir.path);
    buf_add_char(&b, '\n');
    stdio_complain(buf_str(&b));
    buf_done(&b);
}

static int say_end(const struct run_command *c, int code)
{
    bool wrong = c->totals.proof != RUN_PROVEN;
    struct summary summary = {.job = c->choice.job,
                              .status = &c->totals.status,
                              .seconds = c->totals.seconds,
                              .lines = c->totals.lines,
                              .has_lines = true,
                              .verified = wrong ? SUMMARY_WRONG : SUMMARY_VERIFIED};
    summary_print(c->command, &summary);
    if (!wrong)
        return code;
    stdio_complain(STR("ttg run: the results written are not those that were committed:\n"));
    stdio_complain(str_of(c->totals.report));
    return EXIT_UNVERIFIED;
}

static int finish(struct run_command *c, int rc)
{
    struct command_run *r = c->command;
    bool complete = false;
    int code;
    if (rc || c->end == RUN_FAILED) {
        code = command_fail(r, &c->err);
        if (c->totals.begun && c->err.code != TTG_ECORRUPT)
            say_how_to_resume(c);
    } else if (c->signal || c->end == RUN_STOPPED) {
        say_how_to_resume(c);
        code = c->signal == SIGINT ? EXIT_SIGINT : EXIT_SIGTERM;
    } else {
        const struct ledger_status *s = &c->totals.status.status;
        complete = s->dead == 0 && s->state == LEDGER_FINISHED && c->totals.proof == RUN_PROVEN;
        code = s->completed == s->chunks ? EXIT_DONE : EXIT_FAILED_CHUNKS;
        code = say_end(c, code);
        if (!complete && c->embedded && c->dir.own)
            log_warn("job.kept", kv_u64("dead_letters", s->dead), kv_str("directory", c->dir.path));
    }
    if (c->embedded)
        run_dir_close(&c->dir, complete || (!c->totals.begun && !c->dir.resumed));
    return code;
}

int cmd_run(struct command_run *r)
{
    struct run_command c = {.command = r};
    struct run_config config;
    c.dir.lock_fd = -1;
    int rc = configure(&c, &config);
    if (!rc)
        rc = loop_open(&c.loop, &c.err);
    if (!rc) {
        log_context("job", c.choice.job);
        rc = go(&c, &config);
    }
    run_free(c.run);
    run_web_close(&c.web);
    if (c.loop) {
        loop_signal_stop(&c.sigterm);
        loop_signal_stop(&c.sigint);
        loop_close(c.loop);
    }
    progress_show_clear(&c.progress);
    int code = finish(&c, rc);
    if (joblog_close(c.joblog, &c.err) && code == EXIT_DONE)
        code = command_fail(r, &c.err);
    job_spec_done(&c.spec);
    mem_free(c.worker);
    return code;
}
