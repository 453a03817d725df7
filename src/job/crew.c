/* SPDX-License-Identifier: Apache-2.0 */
#include "job/crew.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/process.h"
#include "io/random.h"
#include "io/relay.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    STABLE_MS = 5000, /* who ran so long failed for a new reason */
    PAUSE_MS_MAX = 1000,
    FAILURES_MAX = 10,    /* in a row without progress: 2 s, longer than between two looks at it */
    FULL_PAUSE_MS = 5000, /* until a node is started again that has no room */
    NODE_GRACE_MS = 10000,
    LOOK_MS = 200, /* until it is asked again whether somebody is needed */
    KILL_GRACE_MS = 2000,
    CALL_BACK_MS = 1500,     /* what said that the job goes on may be so old */
    REASON_BYTES_MAX = 4096, /* what a queue keeps of a reason */
    NAME_BYTES = 257,
    DIGITS = 24,
    PREFIXED_BYTES = 2 * NAME_BYTES,
};

struct member {
    struct crew *crew;
    struct process process;
    struct loop_timer restart;
    _Atomic pid_t group;
    char name[NAME_BYTES], digits[DIGITS];             /* digits: of the incarnation */
    char prefix[NAME_BYTES], prefixed[PREFIXED_BYTES]; /* of a word that ends with the name */
    uint64_t incarnation;
    struct relay relay; /* of a worker's standard error */
    char **argv;
    bool node;
    uint32_t failures; /* in a row */
    uint64_t started_ms, ended_ms;
};

struct crew {
    struct crew_config config;
    struct loop *loop;
    char *program;
    int life[2];                    /* the node watches its end: closed when we die */
    bool job_ended, failed, served; /* served: the node, or somebody else's */
    struct log_limit full_limit;
    unsigned stops, keeps;
    struct member node;
    struct member *workers;
    struct loop_timer deadline, stopped;
};

static void member_start(struct member *m);

static uint32_t running(const struct crew *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->config.workers; i++)
        n += process_runs(&c->workers[i].process);
    return n;
}

uint32_t crew_workers_running(const struct crew *c)
{
    return running(c);
}

pid_t crew_node_pid(const struct crew *c)
{
    return c->node.process.pid;
}

static void on_stopped(struct loop_timer *t)
{
    struct crew *c = container_of(t, struct crew, stopped);
    c->config.on_stopped(c->config.ctx);
}

/* Workers first: the node takes what they still have to say. */
static void stop_on(struct crew *c)
{
    if (c->stops == 0 || running(c) > 0 || c->keeps > 0)
        return;
    if (process_runs(&c->node.process)) {
        process_end(&c->node.process, NODE_GRACE_MS);
        return;
    }
    loop_timer_after_ms(&c->stopped, 0);
}

static void give_up(struct member *m, const struct err *err)
{
    struct crew *c = m->crew;
    if (c->failed)
        return;
    c->failed = true;
    c->config.on_failed(c->config.ctx, err);
}

static void member_failed(struct member *m, const struct err *err)
{
    struct crew *c = m->crew;
    uint64_t now_ms = loop_now_ms(c->loop);
    m->failures = now_ms - m->started_ms > STABLE_MS ? 1 : m->failures + 1;
    if (m->failures > FAILURES_MAX) {
        struct err again;
        err_set(&again, err->code, "%s again and again: its messages above say why", err->text);
        give_up(m, &again);
        return;
    }
    uint64_t pause_ms = m->failures == 1 ? 0 : 1u << m->failures;
    loop_timer_after_ms(&m->restart, pause_ms < PAUSE_MS_MAX ? pause_ms : PAUSE_MS_MAX);
}

void crew_keep(struct crew *c)
{
    c->keeps++;
}

void crew_release(struct crew *c)
{
    if (--c->keeps == 0)
        stop_on(c);
}

/* "killed by SIGSEGV" */
static void describe(struct process_exit e, struct err *err)
{
    char room[PROCESS_SIGNAL_BYTES];
    const char *hint = e.signal == SIGKILL ? " (by hand, or since memory ran out)" : "";
    if (e.signal)
        err_set(err, TTG_ECHILD, "killed by %s%s", process_signal_name(e.signal, room), hint);
    else
        err_set(err, TTG_ECHILD, "ended with exit code %d", e.status);
}

static void tell_death(const struct member *m, const struct err *how)
{
    const struct crew_config *config = &m->crew->config;
    struct buf reason;
    if (!config->on_death)
        return;
    buf_init(&reason, REASON_BYTES_MAX);
    int rc = buf_add_str(&reason, str_of(how->text));
    size_t room = REASON_BYTES_MAX - buf_len(&reason) - 1;
    struct str lines = str_trim(tail_within(&m->relay.tail, room));
    if (!rc && lines.len > 0)
        rc = buf_add_char(&reason, '\n') | buf_add_str(&reason, lines);
    if (!rc)
        config->on_death(config->ctx,
                         &(struct crew_death){m->name, m->incarnation, buf_str(&reason)});
    buf_done(&reason);
}

static const char *data_dir(char *const *words)
{
    while (*words && strcmp(*words, "--data") != 0)
        words++;
    return words[0] && words[1] ? words[1] : "its directory";
}

/* Of what it had acknowledged nothing is lost. The queue's patience is the limit. */
static void wait_for_room(struct member *m)
{
    struct crew *c = m->crew;
    const char *dir = data_dir(m->argv);
    struct err err;
    if (!c->served) {
        err_set(&err, TTG_ENOSPC,
                "the disk is full: there is no room for the node's log in %s; make room there (1 "
                "MiB to begin with), or keep a new job elsewhere: --queue embedded:DIR",
                dir);
        give_up(m, &err);
        return;
    }
    if (log_limit_minute(&c->full_limit, loop_now_ms(c->loop)))
        log_warn("node.no_room", kv_str("directory", dir),
                 kv_str("then", "it is started again every 5 s: make room there"));
    loop_timer_after_ms(&m->restart, FULL_PAUSE_MS);
}

static void on_exit_of(struct process *p, struct process_exit e)
{
    struct member *m = container_of(p, struct member, process);
    struct crew *c = m->crew;
    struct err err, how;
    describe(e, &how);
    err_set(&err, how.code, "%s %s%s", m->name, e.signal ? "was " : "", how.text);
    bool asked = c->stops > 0 || (!m->node && c->job_ended && e.status == 0);
    /* A worker that ended in order has nothing to do any more: the job is over, or about to be. */
    bool in_order = !m->node && e.status == 0;
    if (c->config.on_worker && !m->node)
        c->config.on_worker(c->config.ctx, m->name, 0, !asked && !in_order);
    if (!m->node) {
        relay_close(&m->relay);
        if (!in_order)
            tell_death(m, &how);
    }
    if (asked || in_order) {
        m->ended_ms = loop_now_ms(c->loop);
        stop_on(c);
        return;
    }
    if (m->node && e.status == CREW_NODE_NO_ROOM) {
        wait_for_room(m);
        return;
    }
    bool final = e.status >= 0 && c->config.is_final ? c->config.is_final(c->config.ctx, e.status)
                                                     : e.status == 2; /* wrong usage stays wrong */
    log_warn(m->node ? "node.died" : "worker.died", kv_str("name", m->name),
             kv_str("reason", err.text),
             kv_str("then", final ? "that is no accident" : "it is started again"));
    if (final) {
        if (e.status == 2 && !m->node)
            err.code = TTG_EINVAL; /* its message stands above */
        give_up(m, &err);
        return;
    }
    member_failed(m, &err);
}

/* The node may outlive us, so it gets our own. A worker without a pipe gets that, too. */
static int stderr_for(struct member *m)
{
    int fd;
    struct err err;
    if (!m->node && relay_open(&m->relay, &fd, &err) == 0)
        return fd;
    return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

/* Drawn for each start, so that a death can be told of the start that it ended. */
static void new_incarnation(struct member *m)
{
    m->incarnation = random_u64() >> 1 | 1;
    snprintf(m->digits, sizeof m->digits, "%llu", (unsigned long long)m->incarnation);
}

static void member_start(struct member *m)
{
    struct crew *c = m->crew;
    struct err err;
    new_incarnation(m);
    if (m->prefix[0]) /* names may have changed */
        snprintf(m->prefixed, sizeof m->prefixed, "%s%s", m->prefix, m->name);
    /* The node must outlive the workers: when we die it gets a signal that does nothing, and goes
     * by the end of its standard input. */
    const char *other = m->node ? NULL : c->config.worker_program;
    struct process_spec spec = {.file = other ? other : c->program,
                                .argv = m->argv,
                                .envp = environ,
                                .fds = {m->node ? c->life[0] : -1, -1, stderr_for(m)},
                                .group = &m->group,
                                .death_signal = m->node ? SIGURG : SIGTERM};
    m->started_ms = loop_now_ms(c->loop);
    int rc = process_start(&m->process, c->loop, &spec, on_exit_of, &err);
    if (spec.fds[2] >= 0)
        close(spec.fds[2]);
    if (rc) {
        relay_close(&m->relay);
        log_warn("start.failed", kv_str("name", m->name), kv_str("reason", err.text));
        member_failed(m, &err);
        return;
    }
    log_debug("process.started", kv_str("name", m->name), kv_i64("pid", m->process.pid));
    if (c->config.on_worker && !m->node)
        c->config.on_worker(c->config.ctx, m->name, m->process.pid, false);
}

static bool needed(const struct member *m)
{
    const struct crew_config *c = &m->crew->config;
    if (m->node)
        return !c->node_needed || c->node_needed(c->ctx);
    return !c->worker_needed || c->worker_needed(c->ctx, m->name);
}

static void on_restart(struct loop_timer *t)
{
    struct member *m = container_of(t, struct member, restart);
    struct crew *c = m->crew;
    if (c->stops > 0)
        return;
    if (needed(m))
        member_start(m);
    else
        loop_timer_after_ms(&m->restart, LOOK_MS);
}

static void on_deadline(struct loop_timer *t)
{
    struct crew *c = container_of(t, struct crew, deadline);
    for (uint32_t i = 0; i < c->config.workers; i++)
        process_end(&c->workers[i].process, 0);
    stop_on(c);
}

/* "prefix{worker-name}" becomes `prefixed`, of which the name is filled in at the start. */
static char *prefixed_word(struct member *m, char *word)
{
    const char *name = m->node || !m->crew->config.worker_program ? NULL : strstr(word, CREW_NAME);
    if (!name || strcmp(name, CREW_NAME) != 0 || name - word >= NAME_BYTES)
        return word;
    snprintf(m->prefix, sizeof m->prefix, "%.*s", (int)(name - word), word);
    return m->prefixed;
}

static int member_init(struct crew *c, struct member *m, bool node, char *const *words,
                       const char *name)
{
    size_t count = 0;
    m->crew = c;
    m->node = node;
    snprintf(m->name, sizeof m->name, "%s", name);
    loop_timer_init(&m->restart, c->loop, on_restart);
    relay_init(&m->relay, c->loop, c->config.log_level);
    m->relay.quiet = c->config.worker_program != NULL;
    while (words[count])
        count++;
    m->argv = mem_array(count + 1, sizeof(char *));
    if (!m->argv)
        return TTG_ENOMEM;
    for (size_t i = 0; i <= count; i++)
        m->argv[i] = !words[i]                                 ? NULL
                     : strcmp(words[i], CREW_NAME) == 0        ? m->name
                     : strcmp(words[i], CREW_INCARNATION) == 0 ? m->digits
                                                               : prefixed_word(m, words[i]);
    return 0;
}

int crew_start(struct crew **ret_crew, struct loop *loop, const struct crew_config *config,
               struct err *err)
{
    struct crew *c = mem_zalloc(sizeof *c);
    if (!c)
        return err_set(err, TTG_ENOMEM, "out of memory");
    c->config = *config;
    c->loop = loop;
    c->life[0] = c->life[1] = -1;
    loop_timer_init(&c->deadline, loop, on_deadline);
    loop_timer_init(&c->stopped, loop, on_stopped);
    c->workers = mem_zalloc(config->workers * sizeof *c->workers);
    c->program = mem_strdup("/proc/self/exe");
    int rc = !c->workers || !c->program ? TTG_ENOMEM : 0;
    for (uint32_t i = 0; i < config->workers && !rc; i++) {
        char name[32];
        snprintf(name, sizeof name, "worker-%u", config->first_worker + i);
        rc = member_init(c, &c->workers[i], false, config->worker,
                         config->worker_name ? config->worker_name : name);
    }
    if (!rc && config->node) {
        rc = member_init(c, &c->node, true, config->node, "node");
        if (!rc)
            rc = process_pipe(c->life, err);
    }
    if (rc) {
        crew_free(c);
        return err_set(err, rc, "cannot start processes: %s", err_text(rc));
    }
    *ret_crew = c;
    if (config->node && config->node_lives)
        loop_timer_after_ms(&c->node.restart, 5 * LOOK_MS); /* our queue has come up by then */
    else if (config->node)
        member_start(&c->node);
    return 0;
}

void crew_name_workers(struct crew *c, uint32_t first)
{
    for (uint32_t i = 0; i < c->config.workers; i++)
        snprintf(c->workers[i].name, sizeof c->workers[i].name, "worker-%u", first + i);
}

void crew_start_workers(struct crew *c)
{
    for (uint32_t i = 0; i < c->config.workers; i++)
        member_start(&c->workers[i]);
}

void crew_job_ended(struct crew *c)
{
    c->job_ended = true;
}

void crew_call_back(struct crew *c)
{
    uint64_t now_ms = loop_now_ms(c->loop);
    if (c->stops > 0 || c->job_ended)
        return;
    for (uint32_t i = 0; i < c->config.workers; i++) {
        struct member *m = &c->workers[i];
        if (process_runs(&m->process) || loop_timer_is_set(&m->restart) || m->ended_ms == 0 ||
            now_ms - m->ended_ms < CALL_BACK_MS)
            continue;
        log_info("worker.called_back", kv_str("name", m->name));
        member_start(m);
    }
}

void crew_progress(struct crew *c)
{
    c->served = true;
    c->node.failures = 0;
    for (uint32_t i = 0; i < c->config.workers; i++)
        c->workers[i].failures = 0;
}

void crew_stop(struct crew *c)
{
    c->stops++;
    loop_timer_stop(&c->node.restart);
    for (uint32_t i = 0; i < c->config.workers; i++) {
        struct member *m = &c->workers[i];
        loop_timer_stop(&m->restart);
        /* The second TERM makes a worker give back what runs; KILL follows. */
        if (process_runs(&m->process))
            kill(m->process.pid, SIGTERM);
    }
    loop_timer_after_ms(&c->deadline,
                        c->stops > 1 ? KILL_GRACE_MS : c->config.drain_ms + KILL_GRACE_MS);
    stop_on(c);
}

static void member_done(struct member *m)
{
    if (!m->crew)
        return;
    loop_timer_stop(&m->restart);
    process_kill(&m->process);
    relay_close(&m->relay);
    mem_free(m->argv);
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    loop_timer_stop(&c->deadline);
    loop_timer_stop(&c->stopped);
    for (uint32_t i = 0; c->workers && i < c->config.workers; i++)
        member_done(&c->workers[i]);
    member_done(&c->node);
    for (int i = 0; i < 2; i++)
        if (c->life[i] >= 0)
            close(c->life[i]);
    mem_free(c->workers);
    mem_free(c->program);
    mem_free(c);
}
