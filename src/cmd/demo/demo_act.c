/* SPDX-License-Identifier: Apache-2.0 */
/* One job of a demo, and the death of a worker in the middle of it. */
#include "base/mem.h"
#include "cmd/demo/demo.h"
#include "io/realclock.h"
#include "wire/message.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    STATUS_MS = 50,
    KILL_PERCENT = 25,   /* of the chunks are done */
    HOLD_BACK_MS = 5000, /* the victim's successor, until somebody else has its chunk */
    AGAIN_MS = 1000,     /* RabbitMQ delivers again at once */
    POD_DEATH_MS = 3000, /* a pod deleted with force lives on for 2 s */
    LOOK_MS = 2000,      /* between looks at pods that tell nothing */
    SAID_MS = 20000,     /* at most so often */
    LOOKS_GONE = 2,      /* what one look misses may be between two pods */
    LINE_BYTES_MAX = 1 << 20,
    STOP_DRAIN_MS = 2000,
};

static uint64_t wall_ms(void)
{
    struct clock *c = realclock();
    return c->wall_ms(c);
}

static double since_start(const struct demo_act *a, uint64_t at_ms)
{
    return at_ms > a->began_ms ? (double)(at_ms - a->began_ms) / 1000 : 0;
}

/* "worker-2" is 2; false for other names. */
static bool worker_number(struct str name, uint32_t *ret_number)
{
    struct str prefix = STR("worker-");
    uint64_t n;
    if (!str_starts(name, prefix) ||
        str_to_u64(str_make(name.ptr + prefix.len, name.len - prefix.len), &n) ||
        n >= DEMO_WORKERS_MAX)
        return false;
    *ret_number = (uint32_t)n;
    return true;
}

/* --- the kill --- */

/* A container is dead some 0.1 s after podman was told. */
static void say_kill(const struct demo_act *a)
{
    const struct demo_kill *k = &a->kill;
    struct demo *d = a->demo;
    double at = since_start(a, k->at_ms);
    if (d->podman)
        demo_say(d, "  %6.2f s  %spodman kill --signal KILL %s-worker-%u%s   # while it computes",
                 at, demo_red(d), d->yard, k->victim, demo_plain(d));
    else if (d->k8s)
        demo_say(d,
                 "  %6.2f s  %skubectl delete pod %s-worker-%u --grace-period=0 --force%s   # %llu "
                 "ms into a chunk",
                 at, demo_red(d), a->job, k->victim, demo_plain(d), (unsigned long long)k->into_ms);
    else
        demo_say(d, "  %6.2f s  %skill -9 %d%s   # worker-%u, %llu ms into a chunk", at,
                 demo_red(d), (int)k->pid, demo_plain(d), k->victim,
                 (unsigned long long)k->into_ms);
}

static void on_kill_timer(struct loop_timer *t)
{
    struct demo_act *a = container_of(t, struct demo_act, kill_timer);
    struct demo *d = a->demo;
    struct demo_kill *k = &a->kill;
    struct err err;
    pid_t pid = a->pids[k->victim];
    if (a->ended || k->done || (pid <= 0 && !d->k8s) || a->done == a->chunks)
        return;
    k->at_ms = wall_ms();
    if (d->podman ? demo_podman_kill(d, k->victim, &err)
        : d->k8s  ? demo_k8s_kill(d, k->victim, &err)
                  : kill(pid, SIGKILL))
        return;
    k->done = true;
    a->again = false;
    k->tries++;
    k->pid = pid;
    k->into_ms = k->at_ms - a->last_ms[k->victim];
    say_kill(a);
}

/* Once enough is done the victim's next result says that it has just begun another chunk. */
static void maybe_kill(struct demo_act *a, uint32_t worker)
{
    const struct demo_kill *k = &a->kill;
    bool time = a->fault && !k->done && k->tries < DEMO_TRIES && worker == k->victim &&
                a->done * 100 >= a->chunks * KILL_PERCENT;
    const struct demo_preset *p = a->demo->preset;
    if (time && !loop_timer_is_set(&a->kill_timer))
        loop_timer_at_ns(&a->kill_timer, loop_now_ns(a->demo->loop) +
                                             (p->kill_us ? p->kill_us : p->chunk_us / 2) * 1000);
}

/* The crew starts its workers again; pods have nobody else who does. */
static void start_again(struct demo_act *a)
{
    struct err err;
    if (!a->demo->k8s || a->again || a->ended)
        return;
    a->again = true;
    if (demo_k8s_again(a->demo, a->kill.victim, &err))
        demo_say(a->demo, "            %s", err.text);
    else
        demo_say(a->demo, "  %6.2f s  worker-%u starts again, in a new pod",
                 since_start(a, wall_ms()), a->kill.victim);
}

int demo_kill(struct demo *d, const char *const *words,
              void (*on_exit)(struct process *p, struct process_exit e), struct err *err)
{
    const struct process_spec spec = {.file = d->tool_file,
                                      .argv = (char *const *)(uintptr_t)words,
                                      .envp = environ,
                                      .fds = {-1, -1, -1},
                                      .group = guard_slot(d->guard, DEMO_KILLER)};
    process_kill(&d->killer);
    return process_start(&d->killer, d->loop, &spec, on_exit, err);
}

void demo_act_killed(struct demo_act *a)
{
    if (a->kill.done && a->demo->workers == 1) /* nobody else takes over */
        start_again(a);
}

static void once_more(struct demo_act *a)
{
    demo_say(a->demo, "            it held no chunk just then; once more");
    a->kill.done = false;
    start_again(a);
}

static void note_takeover(struct demo_act *a, uint64_t chunk, struct str to, uint64_t at_ms)
{
    struct demo_kill *k = &a->kill;
    if (!k->done || chunk >= a->chunks || a->taken[chunk])
        return;
    a->taken[chunk] = true;
    k->taken++;
    k->chunk = chunk;
    uint64_t after = at_ms > k->at_ms ? at_ms - k->at_ms : 0;
    if (after > k->takeover_ms)
        k->takeover_ms = after;
    worker_number(to, &k->to);
    demo_say(a->demo, "  %6.2f s  %s%.*s took over chunk %05llu%s, %llu ms after the kill",
             since_start(a, at_ms), demo_green(a->demo), STR_ARG(to), (unsigned long long)chunk,
             demo_plain(a->demo), (unsigned long long)after);
    start_again(a);
}

static void note_lost(struct demo_act *a, const struct queue_event *e)
{
    struct demo_kill *k = &a->kill;
    uint32_t worker;
    if (!k->done || k->lost_known || !worker_number(e->from, &worker) || worker != k->victim)
        return;
    bool broker = a->backend == DEMO_RABBITMQ; /* which alone knows who has what */
    if (!broker && e->value == 0 && k->tries < DEMO_TRIES) {
        once_more(a);
        return;
    }
    k->lost_known = true;
    k->lost_ms = e->at_ms > k->at_ms ? e->at_ms - k->at_ms : 0;
    struct str rest, line = str_cut(e->text, '\n', &rest);
    snprintf(k->why, sizeof k->why, "%.*s", STR_ARG(str_cut(line, '(', &rest)));
    k->why[str_trim(str_of(k->why)).len] = '\0';
    if (broker)
        demo_say(a->demo, "  %6.2f s  worker-%u is lost (%s): the broker delivers its chunk again",
                 since_start(a, e->at_ms), worker, k->why);
    else
        demo_say(a->demo, "  %6.2f s  worker-%u is lost (%s): %llu lease%s free again",
                 since_start(a, e->at_ms), worker, k->why, (unsigned long long)e->value,
                 e->value == 1 ? "" : "s");
}

/* --- what the run tells --- */

static void on_event(void *ctx, const struct queue_event *e)
{
    struct demo_act *a = ctx;
    uint32_t from;
    if (str_eq(e->event, STR("worker.lost")))
        note_lost(a, e);
    else if (str_eq(e->event, STR("chunk.reclaimed")) && e->chunk >= 0 &&
             worker_number(e->from, &from) && from == a->kill.victim)
        note_takeover(a, (uint64_t)e->chunk, e->to, e->at_ms);
}

/* The result that gave the sign had not been acknowledged yet: what was delivered again is dropped
 * as a copy, and nobody sees it. */
static void maybe_again(struct demo_act *a)
{
    const struct demo_kill *k = &a->kill;
    /* Its result tells of a takeover: who is free takes it, and then computes. */
    uint64_t pod_ms = POD_DEATH_MS + 2 * a->demo->preset->chunk_us / 1000;
    uint64_t after_ms = AGAIN_MS + (a->demo->k8s ? pod_ms : 0);
    if (a->backend == DEMO_RABBITMQ && k->done && k->taken == 0 && k->tries < DEMO_TRIES &&
        wall_ms() - k->at_ms >= after_ms)
        once_more(a);
}

static void on_status(void *ctx, const struct queue_status *status)
{
    struct demo_act *a = ctx;
    maybe_again(a);
    if (status->status.completed == status->status.chunks)
        demo_watch_hold(a->demo);
    progress_add(&a->progress, loop_now_ms(a->demo->loop), status->status.completed,
                 status->status.chunks);
    demo_bar(a->demo, a, status);
}

static void note_result(struct demo_act *a, const struct message_result *m)
{
    uint64_t chunk, now = wall_ms(), took = (uint64_t)(m->duration_seconds * 1000);
    uint32_t worker;
    if (message_chunk_number(m->chunk_id, &chunk) || chunk >= a->chunks ||
        !worker_number(m->worker_id, &worker))
        return;
    a->done += a->who[chunk] == 0;
    a->who[chunk] = worker + 1;
    /* RabbitMQ has no events of its own: the result says that its chunk was delivered before. */
    if (a->backend == DEMO_RABBITMQ && str_eq(m->extra, STR("\"redelivered\":true")))
        note_takeover(a, chunk, m->worker_id, now - took);
    a->last_ms[worker] = now;
    maybe_kill(a, worker);
}

static void on_lines(void *ctx, struct str lines)
{
    struct demo_act *a = ctx;
    struct buf room;
    buf_init(&room, LINE_BYTES_MAX);
    while (lines.ptr) {
        struct message_result m;
        struct str line = str_cut(lines, '\n', &lines);
        if (line.len > 0 && message_read_result(&m, line, &room, NULL) == 0)
            note_result(a, &m);
    }
    if (a->done == a->chunks)
        demo_watch_hold(a->demo);
    buf_done(&room);
}

static void on_worker(void *ctx, const char *name, pid_t pid, bool died)
{
    struct demo_act *a = ctx;
    uint32_t worker;
    if (!worker_number(str_of(name), &worker))
        return;
    a->pids[worker] = pid;
    if (died && !a->kill.done)
        demo_say(a->demo, "  %6.2f s  %s died", since_start(a, wall_ms()), name);
    if (pid <= 0 || !a->kill.done || worker != a->kill.victim)
        return;
    if (a->demo->podman)
        demo_say(a->demo, "  %6.2f s  %s starts again, in a new container",
                 since_start(a, wall_ms()), name);
    else
        demo_say(a->demo, "  %6.2f s  %s runs again, as process %d", since_start(a, wall_ms()),
                 name, (int)pid);
}

/* So that it is seen how others take over: a new process of that name would make the queue drop the
 * old one's leases before it notices anything by itself. */
static bool on_worker_needed(void *ctx, const char *name)
{
    const struct demo_act *a = ctx;
    uint32_t worker;
    if (!worker_number(str_of(name), &worker) || !a->kill.done || worker != a->kill.victim)
        return true;
    return a->kill.taken > 0 || a->demo->workers == 1 || wall_ms() - a->kill.at_ms > HOLD_BACK_MS;
}

static void on_end(void *ctx, enum run_end end, const struct run_totals *totals,
                   const struct err *err)
{
    struct demo_act *a = ctx;
    a->ended = true;
    a->end = end;
    a->totals = *totals;
    a->err = *err;
}

/* --- start and end --- */

static void worker_words(struct demo_act *a, const char *address)
{
    struct command_words w = {0};
    if (a->demo->podman)
        demo_podman_worker(&w, a->demo);
    else
        command_word(&w, "ttg");
    const char *const words[] = {"worker",
                                 "--queue",
                                 address,
                                 "--job",
                                 a->job,
                                 "--name",
                                 CREW_NAME,
                                 "--incarnation",
                                 CREW_INCARNATION,
                                 "--simulate-ms",
                                 a->demo->preset->simulate_ms,
                                 "--log-level",
                                 "ERROR",
                                 "--drain",
                                 "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        command_word(&w, words[i]);
    memcpy(a->worker_words, w.list, sizeof w.list);
}

static int prepare(struct demo_act *a, struct err *err)
{
    const struct demo_preset *p = a->demo->preset;
    a->chunks = (p->params + p->chunk_params - 1) / p->chunk_params;
    a->who = mem_zalloc(a->chunks * sizeof *a->who);
    a->taken = mem_zalloc(a->chunks * sizeof *a->taken);
    a->kill.victim = a->demo->workers > 1 ? 1 : 0;
    a->began_ms = wall_ms();
    for (uint32_t i = 0; i < DEMO_WORKERS_MAX; i++)
        a->last_ms[i] = a->began_ms;
    progress_init(&a->progress);
    loop_timer_init(&a->kill_timer, a->demo->loop, on_kill_timer);
    return a->who && a->taken ? 0 : err_set(err, TTG_ENOMEM, "out of memory");
}

/* --- pods that tell nothing --- */

static uint64_t silent_ms(const struct demo_act *a)
{
    uint64_t last_ms = a->began_ms, now_ms = wall_ms();
    for (uint32_t i = 0; i < DEMO_WORKERS_MAX; i++)
        last_ms = a->last_ms[i] > last_ms ? a->last_ms[i] : last_ms;
    return now_ms > last_ms ? now_ms - last_ms : 0;
}

/* No controller makes them anew, and nobody else works at this job: without pods it never ends. */
static int look_at_pods(struct demo_act *a, struct err *err)
{
    struct demo *d = a->demo;
    uint64_t silent = silent_ms(a), now_ms = loop_now_ms(d->loop);
    bool quiet = silent < 2 * d->preset->chunk_us / 1000 || a->done == a->chunks;
    if (!d->k8s || d->signal || quiet || now_ms < a->look_ms || process_runs(&d->killer))
        return 0;
    struct err why = {0};
    struct buf pods;
    size_t alive = 1;
    buf_init(&pods, ERR_TEXT_BYTES_MAX / 2);
    int rc = demo_k8s_look(d, a, &alive, &pods, &why);
    struct str text = rc ? str_of(why.text) : buf_str(&pods);
    now_ms = loop_now_update(d->loop) / 1000000;
    a->look_ms = now_ms + LOOK_MS;
    a->gone = alive > 0 ? 0 : a->gone + 1;
    rc = a->gone < LOOKS_GONE || a->ended || d->signal
             ? 0
             : err_set(err, TTG_ECHILD,
                       "no worker is left and none will come: its pods were deleted or have ended "
                       "(%.*s); %llu of %llu chunks are done",
                       (int)(text.len ? text.len : 4), text.len ? text.ptr : "none",
                       (unsigned long long)a->done, (unsigned long long)a->chunks);
    if (!rc && silent > 3 * d->preset->chunk_us / 1000 && now_ms >= a->said_ms) {
        a->said_ms = now_ms + SAID_MS;
        demo_say(d, "  %6.2f s  no result for %llu s; waiting for %.*s", since_start(a, wall_ms()),
                 (unsigned long long)silent / 1000, STR_ARG(text));
    }
    buf_done(&pods);
    return rc;
}

static int turn(struct demo_act *a, struct err *err)
{
    struct demo *d = a->demo;
    bool stopping = false;
    d->act = a;
    while (!a->ended) {
        if (d->signal && !stopping)
            run_stop(a->run);
        stopping = d->signal != 0;
        int rc = loop_turn(d->loop, d->k8s ? LOOK_MS : LOOP_FOREVER);
        if (rc)
            return err_set(err, rc, "%s", err_text(rc));
        rc = look_at_pods(a, err);
        if (rc)
            return rc;
    }
    return 0;
}

int demo_act(struct demo *d, struct demo_act *a, const struct demo_place *place, struct err *err)
{
    const struct demo_preset *p = d->preset;
    char output[DEMO_PATH_BYTES + 80], kernel[64];
    a->demo = d;
    a->address = place->address;
    int rc = d->k8s ? demo_k8s_workers(d, a, err) : 0;
    if (!rc)
        rc = prepare(a, err);
    if (rc)
        return rc;
    worker_words(a, place->address);
    snprintf(output, sizeof output, "%s/%s-%s.ndjson", d->dir, demo_backend_names[a->backend],
             a->job);
    snprintf(kernel, sizeof kernel, "simulate %s ms", p->simulate_ms);
    struct run_config config = {
        .queue = place->queue,
        .job = a->job,
        .spec = {.first = 0,
                 .params = p->params,
                 .chunk_params = p->chunk_params,
                 .window = LEDGER_WINDOW,
                 .max_attempts = LEDGER_MAX_ATTEMPTS,
                 .retry_min_ms = LEDGER_RETRY_MIN_MS,
                 .retry_max_ms = LEDGER_RETRY_MAX_MS,
                 .retry_jitter = LEDGER_RETRY_JITTER,
                 .stale_ms = LEDGER_STALE_MS,
                 .kernel = str_of(kernel)},
        .output = {.path = output},
        .crew = {.node = place->node,
                 .worker = a->worker_words,
                 .worker_program = d->podman ? d->tool_file : NULL,
                 .workers = d->k8s ? 0 : d->workers,
                 .drain_ms = STOP_DRAIN_MS,
                 .worker_needed = on_worker_needed,
                 .on_worker = on_worker},
        .share_names = true,
        .status_ms = STATUS_MS,
        .ctx = a,
        .on_status = on_status,
        .on_event = on_event,
        .on_lines = on_lines,
        .on_end = on_end,
    };
    loop_now_update(d->loop);
    rc = run_start(&a->run, d->loop, &config, err);
    if (!rc) {
        demo_watch_open(d, a, place);
        rc = turn(a, err);
        demo_watch_close(d);
    }
    loop_timer_stop(&a->kill_timer);
    run_free(a->run);
    a->run = NULL;
    d->act = NULL;
    if (rc)
        return rc;
    if (a->end == RUN_STOPPED || d->signal)
        return err_set(err, TTG_ECANCELED, "stopped");
    return a->end == RUN_FAILED ? err_set(err, a->err.code, "%s", a->err.text) : 0;
}

void demo_act_free(struct demo_act *a)
{
    mem_free(a->who);
    mem_free(a->taken);
    a->who = NULL;
    a->taken = NULL;
}

bool demo_act_good(const struct demo_act *a)
{
    const struct ledger_status *s = &a->totals.status.status;
    uint64_t n = a->demo->preset->params;
    __int128 sum = (__int128)n * (n - 1) / 2;
    return a->ended && a->end == RUN_DONE && s->completed == s->chunks && s->chunks == a->chunks &&
           a->totals.proof == RUN_PROVEN && s->has_sum && s->sum == sum;
}
