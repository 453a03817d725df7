/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/supervisor.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/realclock.h"
#include "job/crew.h"
#include "pipeline/instance.h"
#include "pipeline/supervisor_state.h"
#include "queue/queue.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    TICK_MS = 50,
    LOOK_EVERY_MS = 250,
    CALM_LOOKS = 3,
    FAILURES_MAX = 12, /* of a partition in a row, without any progress */
    FAIL_PAUSE_MS = 50,
    FAIL_PAUSE_MS_MAX = 5000,
    STOP_GRACE_MS = 10000,
};

/* --- partitions --- */

static void keep_counts(struct watched_part *p)
{
    p->before.in += p->now.in;
    p->before.out += p->now.out;
    p->before.ends += p->now.ends;
    p->before.retries += p->now.retries;
    p->before.dead += p->now.dead;
    p->before.duplicates += p->now.duplicates;
    p->now = (struct part_counts){0};
    p->owned = p->idle = false;
}

static void assign_all(struct supervisor *s, size_t stage)
{
    struct watched_stage *st = &s->stages[stage];
    struct assign_move m;
    while (s->started && !s->stopping && assign_next(&st->assign, &m)) {
        struct watched_part *p = &st->part[m.partition];
        keep_counts(p);
        p->epoch = m.epoch;
        p->moves++;
        p->retry_ms = 0;
        if (m.from != ASSIGN_NOBODY)
            instance_order(&st->instances[m.from], "drop %zu\n", m.partition);
        instance_order(&st->instances[m.to], "own %zu %llu\n", m.partition,
                       (unsigned long long)m.epoch);
    }
}

void supervisor_up(struct watched_instance *w)
{
    struct supervisor *s = w->s;
    assign_up(&s->stages[w->stage].assign, w->number);
    if (s->draining)
        instance_order(w, "drain\n");
    assign_all(s, w->stage);
}

void supervisor_down(struct watched_instance *w)
{
    struct supervisor *s = w->s;
    assign_lost(&s->stages[w->stage].assign, w->number);
    assign_all(s, w->stage);
}

void supervisor_lost_part(struct watched_instance *w, size_t partition, uint64_t epoch, int code,
                          struct str reason)
{
    struct supervisor *s = w->s;
    struct watched_part *p = &s->stages[w->stage].part[partition];
    struct err err;
    if (p->epoch != epoch || s->stopping)
        return;
    if (code == TTG_ENOENT || code == TTG_EACCES) /* a command or file that is not there */
        code = TTG_EUSAGE;
    err_set(&err, code, "stage %s: %.*s", s->spec->stages[w->stage].name, STR_ARG(reason));
    keep_counts(p);
    p->failures += code != TTG_ENOSPC; /* room may come back */
    if (code == TTG_EUSAGE || code == TTG_EUNSUPPORTED || code == TTG_EAUTH ||
        code == TTG_EUNREACH || code == TTG_ECORRUPT || p->failures > FAILURES_MAX) {
        supervisor_fail(s, &err);
        return;
    }
    uint64_t pause_ms = FAIL_PAUSE_MS;
    for (uint64_t i = 1; i < p->failures && pause_ms < FAIL_PAUSE_MS_MAX; i++)
        pause_ms *= 2;
    log_warn("partition.lost", kv_str("stage", s->spec->stages[w->stage].name),
             kv_u64("partition", partition), kv_s("reason", reason),
             kv_u64("again_in_ms", pause_ms));
    p->retry_ms = loop_now_ms(s->loop) + pause_ms;
    p->retry_epoch = epoch;
}

/* --- the end --- */

static void stop_all(struct supervisor *s, enum supervisor_end end)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->end = end;
    s->status_ms = loop_now_ms(s->loop);
    for (size_t i = 0; i < s->spec->stage_count; i++)
        for (size_t k = 0; k < s->spec->stages[i].instances; k++)
            instance_order(&s->stages[i].instances[k], "stop\n");
}

void supervisor_fail(struct supervisor *s, const struct err *err)
{
    if (s->rc || s->stopping)
        return;
    s->rc = err->code;
    s->err = *err;
    stop_all(s, SUPERVISOR_STOPPED);
}

static size_t running(const struct supervisor *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->spec->stage_count; i++)
        for (size_t k = 0; k < s->spec->stages[i].instances; k++)
            n += process_runs(&s->stages[i].instances[k].process);
    return n;
}

static void go_on_stopping(struct supervisor *s)
{
    if (running(s) > 0) {
        if (loop_now_ms(s->loop) - s->status_ms < STOP_GRACE_MS)
            return;
        for (size_t i = 0; i < s->spec->stage_count; i++)
            for (size_t k = 0; k < s->spec->stages[i].instances; k++)
                process_end(&s->stages[i].instances[k].process, 0);
        return;
    }
    pipe_close(s->looker);
    s->looker = NULL;
    if (s->crew && !s->crew_stopped) {
        crew_stop(s->crew);
        s->crew_stopped = true;
    } else if (!s->crew) {
        loop_stop(s->loop);
    }
    loop_timer_stop(&s->tick);
}

static void on_crew_stopped(void *ctx)
{
    struct supervisor *s = ctx;
    loop_stop(s->loop);
}

static bool sinks_finished(const struct supervisor *s)
{
    for (size_t i = 0; i < s->spec->stage_count; i++)
        for (size_t k = 0; k < s->spec->stages[i].partitions; k++)
            if (s->spec->stages[i].kind == SPEC_SINK && !s->stages[i].part[k].finished)
                return false;
    return true;
}

/* Nothing waits in any queue and nobody works on anything. */
static bool is_calm(const struct supervisor *s)
{
    for (size_t i = 0; i < s->spec->stage_count; i++) {
        if (s->stages[i].queued > 0)
            return false;
        for (size_t k = 0; k < s->spec->stages[i].partitions; k++)
            if (!s->stages[i].part[k].idle)
                return false;
    }
    return true;
}

/* --- looking --- */

static void on_looked(void *ctx)
{
    struct supervisor *s = ctx;
    size_t at = 0;
    for (size_t i = 0; i < s->spec->stage_count; i++) {
        s->stages[i].queued = 0;
        for (size_t k = 0; k < s->spec->stages[i].partitions; k++)
            s->stages[i].queued += pipe_backlog_of(s->looker, at++);
    }
    for (size_t i = 0; i < s->spec->stage_count; i++)
        s->stages[i].dead = pipe_backlog_of(s->looker, at++);
    s->looked = true;
    if (s->stopping)
        return;
    supervisor_save_status(s, s->draining ? "draining" : "running");
    s->calm = is_calm(s) ? s->calm + 1 : 0;
    if (s->done)
        stop_all(s, SUPERVISOR_DONE);
    else if (sinks_finished(s))
        s->done = true; /* one more look, for the last numbers */
    else if (s->draining && s->calm >= CALM_LOOKS)
        stop_all(s, SUPERVISOR_DRAINED);
}

static void on_looker_ready(void *ctx)
{
    struct supervisor *s = ctx;
    if (s->crew)
        crew_progress(s->crew);
}

static void on_looker_lost(void *ctx, const struct err *err)
{
    supervisor_fail(ctx, err);
}

static void check_instances(struct supervisor *s, uint64_t now_ms)
{
    for (size_t i = 0; i < s->spec->stage_count; i++) {
        struct watched_stage *st = &s->stages[i];
        bool released = false;
        for (size_t k = 0; k < s->spec->stages[i].instances; k++) {
            struct watched_instance *w = &st->instances[k];
            if (!process_runs(&w->process) || now_ms - w->heard_ms < INSTANCE_LOST_MS)
                continue;
            log_warn("instance.silent", kv_str("stage", s->spec->stages[i].name),
                     kv_u64("instance", k), kv_u64("silent_ms", now_ms - w->heard_ms),
                     kv_str("then", "it is killed, and its partitions move"));
            w->heard_ms = now_ms;
            process_end(&w->process, 0);
        }
        for (size_t k = 0; k < s->spec->stages[i].partitions; k++) {
            struct watched_part *p = &st->part[k];
            if (p->retry_ms == 0 || now_ms < p->retry_ms)
                continue;
            p->retry_ms = 0;
            assign_released(&st->assign, k, p->retry_epoch);
            released = true;
        }
        if (released)
            assign_all(s, i);
    }
}

static void on_tick(struct loop_timer *t)
{
    struct supervisor *s = container_of(t, struct supervisor, tick);
    uint64_t now_ms = loop_now_ms(s->loop);
    loop_timer_after_ms(t, TICK_MS);
    if (s->stopping) {
        go_on_stopping(s);
        return;
    }
    check_instances(s, now_ms);
    if (now_ms - s->status_ms >= LOOK_EVERY_MS) {
        s->status_ms = now_ms;
        pipe_look(s->looker);
    }
}

static void on_signal(struct loop_signal *sig)
{
    struct supervisor *s = sig->signo == SIGINT ? container_of(sig, struct supervisor, interrupt)
                                                : container_of(sig, struct supervisor, term);
    s->signo = sig->signo;
    if (s->signals++ > 0) {
        stop_all(s, SUPERVISOR_STOPPED);
        return;
    }
    log_info("pipeline.draining", kv_str("then", "sources stop, queues are emptied; a second "
                                                 "signal stops at once"));
    s->draining = true;
    for (size_t i = 0; i < s->spec->stage_count; i++)
        for (size_t k = 0; k < s->spec->stages[i].instances; k++)
            instance_order(&s->stages[i].instances[k], "drain\n");
}

/* --- life --- */

_Static_assert((int)SPEC_INBOXES_MAX <= (int)PIPE_DOWNS_MAX, "one pipe reaches all inboxes");

static int name_inboxes(struct supervisor *s)
{
    size_t at = 0;
    for (size_t i = 0; i < s->spec->stage_count; i++)
        s->name_count += s->spec->stages[i].partitions + 1;
    s->names = mem_zalloc(s->name_count * sizeof *s->names);
    if (!s->names)
        return TTG_ENOMEM;
    for (int dead = 0; dead < 2; dead++)
        for (size_t i = 0; i < s->spec->stage_count; i++)
            for (size_t k = 0; k < (dead ? 1 : s->spec->stages[i].partitions); k++) {
                char name[PIPE_NAME_BYTES];
                if (dead)
                    snprintf(name, sizeof name, "%s.dead", s->spec->stages[i].name);
                else
                    snprintf(name, sizeof name, "%s.%zu", s->spec->stages[i].name, k);
                s->names[at] = mem_strdup(name);
                if (!s->names[at++])
                    return TTG_ENOMEM;
            }
    return 0;
}

static int make_stages(struct supervisor *s)
{
    s->stages = mem_zalloc(s->spec->stage_count * sizeof *s->stages);
    if (!s->stages)
        return TTG_ENOMEM;
    for (size_t i = 0; i < s->spec->stage_count; i++) {
        const struct spec_stage *st = &s->spec->stages[i];
        struct watched_stage *w = &s->stages[i];
        assign_init(&w->assign, st->partitions, st->instances, s->config.first_epoch);
        w->instances = mem_zalloc(st->instances * sizeof *w->instances);
        if (!w->instances)
            return TTG_ENOMEM;
        for (size_t k = 0; k < st->instances; k++) {
            int rc = instance_init(s, &w->instances[k], i, k);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static void on_crew_failed(void *ctx, const struct err *err)
{
    supervisor_fail(ctx, err);
}

/* While another node serves there still, of a run before us, ours waits. */
static bool on_node_needed(void *ctx)
{
    const struct supervisor *s = ctx;
    return !s->looker || !pipe_is_ready(s->looker);
}

static int start_node(struct supervisor *s, struct err *err)
{
    struct crew_config crew = {.node = s->config.node,
                               .node_lives = s->config.node_lives,
                               .worker = s->config.node,
                               .ctx = s,
                               .node_needed = on_node_needed,
                               .on_failed = on_crew_failed,
                               .on_stopped = on_crew_stopped};
    return s->config.node ? crew_start(&s->crew, s->loop, &crew, err) : 0;
}

static int open_looker(struct supervisor *s, struct err *err)
{
    struct pipe_config config = {.queue = s->config.queue,
                                 .name = s->spec->name,
                                 .downs = (const char *const *)s->names,
                                 .down_count = s->name_count,
                                 .ctx = s,
                                 .on_ready = on_looker_ready,
                                 .on_looked = on_looked,
                                 .on_lost = on_looker_lost};
    return pipe_open(&s->looker, s->loop, &config, err);
}

static int start(struct supervisor *s, struct err *err)
{
    int rc = loop_open(&s->loop, err);
    if (rc)
        return rc;
    s->program = mem_strdup("/proc/self/exe");
    loop_timer_init(&s->tick, s->loop, on_tick);
    rc = s->program ? name_inboxes(s) : TTG_ENOMEM;
    if (!rc)
        rc = make_stages(s);
    if (!rc)
        rc = loop_signal_start(&s->term, s->loop, SIGTERM, on_signal);
    if (!rc)
        rc = loop_signal_start(&s->interrupt, s->loop, SIGINT, on_signal);
    if (!rc)
        rc = loop_timer_after_ms(&s->tick, 0);
    if (rc)
        return err_set(err, rc, "cannot start: %s", err_text(rc));
    rc = start_node(s, err);
    if (!rc)
        rc = open_looker(s, err);
    for (size_t i = 0; i < s->spec->stage_count && !rc; i++)
        for (size_t k = 0; k < s->spec->stages[i].instances; k++)
            instance_start(&s->stages[i].instances[k]);
    s->started = true; /* all are there to be counted on */
    for (size_t i = 0; i < s->spec->stage_count && !rc; i++)
        assign_all(s, i);
    return rc;
}

static void end(struct supervisor *s)
{
    for (size_t i = 0; s->stages && i < s->spec->stage_count; i++) {
        for (size_t k = 0; s->stages[i].instances && k < s->spec->stages[i].instances; k++)
            instance_free(&s->stages[i].instances[k]);
        mem_free(s->stages[i].instances);
    }
    mem_free(s->stages);
    pipe_close(s->looker);
    crew_free(s->crew);
    for (size_t i = 0; s->names && i < s->name_count; i++)
        mem_free(s->names[i]);
    mem_free(s->names);
    mem_free(s->program);
    buf_done(&s->status);
    if (s->loop) {
        loop_timer_stop(&s->tick);
        if (s->term.loop)
            loop_signal_stop(&s->term);
        if (s->interrupt.loop)
            loop_signal_stop(&s->interrupt);
        loop_close(s->loop);
    }
    mem_free(s);
}

int supervisor_run(const struct supervisor_config *config, enum supervisor_end *ret_end,
                   int *ret_signal, uint64_t *ret_dead, struct err *err)
{
    struct supervisor *s = mem_zalloc(sizeof *s);
    struct clock *clock = realclock();
    if (!s)
        return err_set(err, TTG_ENOMEM, "out of memory");
    s->config = *config;
    s->spec = config->spec;
    s->started_wall_ms = clock->wall_ms(clock);
    buf_init(&s->status, 16 << 20);
    int rc = start(s, err);
    if (!rc)
        rc = loop_run(s->loop);
    if (!rc && s->rc) {
        rc = s->rc;
        *err = s->err;
    }
    if (s->stages && s->looked) {
        static const char *const ends[] = {"done", "drained", "stopped"};
        supervisor_save_status(s, rc ? "failed" : ends[s->end]);
    }
    *ret_end = s->end;
    *ret_signal = s->signo;
    *ret_dead = 0;
    for (size_t i = 0; s->stages && i < s->spec->stage_count; i++)
        *ret_dead += s->stages[i].dead;
    end(s);
    return rc;
}
