/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/monitor_term.h"

#include "base/log.h"
#include "base/mem.h"
#include "cmd/ask.h"
#include "cmd/terminal.h"
#include "io/loop.h"
#include "io/stdio.h"
#include "monitor/feed.h"
#include "monitor/screen.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    KEY_BYTES = 256,
    FRAME_HEIGHT = 40, /* of a single frame where there is no screen */
    MESSAGE_MS = 8000,
    ONCE_ROUNDS = 3,      /* a rate needs two looks */
    ONCE_MS = 500,        /* between them */
    STALE_LOOK_MS = 1000, /* how often the screen says how old it is */
    SIGNALS = 3,
};

struct monitor_term {
    struct monitor_term_config config;
    struct loop *loop;
    struct queue *queue;
    struct feed *feed;
    struct terminal terminal;
    struct loop_poll keys;
    struct loop_signal signals[SIGNALS]; /* WINCH, TSTP, CONT */
    struct loop_timer tick, end, move;
    char wanted[MODEL_NAME_BYTES]; /* where `move` goes, or went */
    struct queue_control_call control;
    struct queue_dead_redrive redrive;
    char acted_job[MODEL_NAME_BYTES];
    char message[MODEL_TEXT_BYTES], question[64];
    uint64_t message_ms, round_ms, rounds, looks;
    int asked; /* the key that the question is about */
    bool help, suspended, ended, hold, held;
    size_t scroll;
    int rc;
    struct err why;
};

/* --- drawing --- */

static void finish(struct monitor_term *t, int rc, const struct err *err)
{
    if (t->ended)
        return;
    t->ended = true;
    t->rc = rc;
    if (rc)
        t->why = *err;
    loop_timer_after_ms(&t->end, 0);
}

static void on_end_timer(struct loop_timer *timer)
{
    struct monitor_term *t = container_of(timer, struct monitor_term, end);
    if (t->config.on_end)
        t->config.on_end(t->config.ctx, t->rc, &t->why);
}

static void view_of(const struct monitor_term *t, struct screen_view *v)
{
    uint64_t now_ms = loop_now_ms(t->loop);
    bool news = t->message[0] && now_ms < t->message_ms + MESSAGE_MS;
    *v = (struct screen_view){
        .model = feed_model(t->feed),
        .place = t->config.place,
        .message = news ? t->message : NULL,
        .question = t->question[0] ? t->question : NULL,
        .color = t->config.color,
        .utf8 = terminal_is_utf8(),
        .keys = t->config.full && t->terminal.raw,
        .help = t->help,
        .scroll = t->scroll,
        .since_round_ms = t->round_ms && !t->held ? now_ms - t->round_ms : 0,
    };
}

static void draw(struct monitor_term *t)
{
    struct screen_view v;
    struct err err = {0};
    struct buf b;
    unsigned width, height;
    if (t->suspended || t->ended || (t->held && t->rounds != feed_model(t->feed)->rounds))
        return;
    view_of(t, &v);
    terminal_size(&width, &height);
    buf_init(&b, SCREEN_BYTES_MAX);
    int rc = screen_render(&v, width, t->config.full ? height : FRAME_HEIGHT, &b);
    if (!rc && t->config.full)
        rc = terminal_show(&t->terminal, buf_str(&b), &err);
    else if (!rc)
        rc = stdio_write(buf_str(&b), &err);
    buf_done(&b);
    if (rc)
        finish(t, rc, &err);
}

/* To another job (NULL: the first) on RabbitMQ, where a queue is for one: later, as this may come
 * from the feed. */
static void move_to(struct monitor_term *t, const char *job)
{
    snprintf(t->wanted, sizeof t->wanted, "%s", job ? job : "");
    loop_timer_after_ms(&t->move, 0);
}

static void print_json(struct monitor_term *t)
{
    struct err err = {0};
    struct buf b;
    buf_init(&b, 64 << 20);
    int rc = model_json(feed_model(t->feed), NULL, &b);
    if (!rc)
        rc = buf_add_char(&b, '\n');
    if (!rc)
        rc = stdio_write(buf_str(&b), &err);
    buf_done(&b);
    if (rc)
        finish(t, rc, &err);
}

static void on_round(void *ctx)
{
    struct monitor_term *t = ctx;
    const struct model *m = feed_model(t->feed);
    bool settled = m->rounds != t->rounds;
    if (settled)
        t->round_ms = loop_now_ms(t->loop);
    t->rounds = m->rounds;
    if (model_elsewhere(m) && !t->wanted[0]) {
        move_to(t, model_elsewhere(m)->name);
        return;
    }
    if (t->config.full) {
        draw(t);
        t->held = t->hold && m->status.state == LEDGER_FINISHED;
        if (t->held)
            feed_stop(t->feed);
        return;
    }
    bool nothing_to_see = m->connected && !m->known && ++t->looks >= ONCE_ROUNDS;
    if (!settled && !nothing_to_see)
        return;
    if (t->config.once && m->rounds < ONCE_ROUNDS && !nothing_to_see)
        return;
    if (t->config.json)
        print_json(t);
    else
        draw(t);
    if (t->config.once)
        finish(t, 0, NULL);
}

static void on_tick(struct loop_timer *timer)
{
    struct monitor_term *t = container_of(timer, struct monitor_term, tick);
    loop_timer_after_ms(&t->tick, STALE_LOOK_MS);
    draw(t);
}

/* --- the queue --- */

static void on_up(void *ctx)
{
    struct monitor_term *t = ctx;
    if (t->feed && !t->held)
        feed_link(t->feed, true, NULL);
}

static void on_down(void *ctx, const struct err *err)
{
    struct monitor_term *t = ctx;
    if (t->feed && !t->held)
        feed_link(t->feed, false, err);
}

static void on_lost(void *ctx, const struct err *err)
{
    finish(ctx, err->code, err);
}

/* --- actions --- */

static void say(struct monitor_term *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(struct monitor_term *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->message, sizeof t->message, format, args);
    va_end(args);
    t->message_ms = loop_now_ms(t->loop);
}

static void on_acted(struct queue_request *r, int rc, const struct err *err)
{
    struct monitor_term *t = r->ctx;
    static const char *const done[] = {
        [QUEUE_PAUSE] = "paused: what runs ends, nothing new starts", [QUEUE_RESUME] = "goes on"};
    if (rc == TTG_ECANCELED)
        return;
    if (rc)
        say(t, "%s", err && err->text[0] ? err->text : err_text(rc));
    else if (r->verb == QUEUE_DEAD_REDRIVE)
        say(t, "%llu dead letters have fresh attempts", (unsigned long long)t->redrive.redriven);
    else
        say(t, "job %s %s", t->acted_job, done[t->control.control]);
    feed_hurry(t->feed);
    draw(t);
}

/* Whether an action can be sent now. */
static bool can_act(struct monitor_term *t)
{
    const struct model *m = feed_model(t->feed);
    if (!m->known || queue_request_busy(&t->control.call.request) ||
        queue_request_busy(&t->redrive.call.request))
        return false;
    if (!queue_is_up(t->queue)) {
        say(t, "not connected: try again later");
        return false;
    }
    snprintf(t->acted_job, sizeof t->acted_job, "%s", m->job);
    return true;
}

static void control(struct monitor_term *t, enum queue_control what)
{
    if (!can_act(t))
        return;
    t->control.call.job = str_of(t->acted_job);
    t->control.control = what;
    queue_send(t->queue, &t->control.call.request);
}

static void redrive(struct monitor_term *t)
{
    if (!can_act(t))
        return;
    t->redrive.call.job = str_of(t->acted_job);
    t->redrive.all = true;
    queue_send(t->queue, &t->redrive.call.request);
}

/* --- keys --- */

static void ask(struct monitor_term *t, int key, const char *question)
{
    t->asked = key;
    snprintf(t->question, sizeof t->question, "%s", question);
}

static void answered(struct monitor_term *t, bool yes)
{
    t->question[0] = '\0';
    if (!yes)
        say(t, "nothing was done");
    else if (t->asked == 'd')
        control(t, QUEUE_PAUSE);
    else
        redrive(t);
}

/* The job `step` places further in the list. */
static void step_job(struct monitor_term *t, int step)
{
    const struct model *m = feed_model(t->feed);
    size_t at = 0, n = m->job_count;
    while (at < n && strcmp(m->jobs[at].name, m->job) != 0)
        at++;
    if (n == 0)
        return;
    at = at == n ? 0 : (at + (step > 0 ? 1 : n - 1)) % n;
    t->scroll = 0;
    if (queue_is_one(&t->config.queue))
        move_to(t, m->jobs[at].name);
    else
        feed_show(t->feed, m->jobs[at].name);
}

static void ask_redrive(struct monitor_term *t)
{
    const struct model *m = feed_model(t->feed);
    char question[64];
    if (m->status.dead == 0 || m->status.state == LEDGER_CANCELED) {
        say(t, m->status.dead ? "the job was canceled: nothing of it is tried again"
                              : "there are no dead letters");
        return;
    }
    snprintf(question, sizeof question, "give %llu dead letters fresh attempts?",
             (unsigned long long)m->status.dead);
    ask(t, 'r', question);
}

static void on_key(struct monitor_term *t, int key)
{
    const struct model *m = feed_model(t->feed);
    if (t->question[0]) {
        answered(t, key == 'y' || key == 'Y');
        return;
    }
    if (t->help && key != 'q') {
        t->help = false;
        return;
    }
    t->message[0] = '\0';
    switch (key) {
    case 'q':
        finish(t, 0, NULL);
        break;
    case 'p':
        control(t, m->status.state == LEDGER_PAUSED ? QUEUE_RESUME : QUEUE_PAUSE);
        break;
    case 'd':
        ask(t, 'd', "drain: start nothing new, let what runs end?");
        break;
    case 'r':
        ask_redrive(t);
        break;
    case 'j':
    case 'k':
        step_job(t, key == 'j' ? 1 : -1);
        break;
    case 'g':
        if (t->wanted[0])
            move_to(t, NULL);
        else
            feed_show(t->feed, NULL);
        break;
    case '?':
    case 'h':
        t->help = true;
        break;
    case KEY_UP:
    case KEY_PAGE_UP:
        t->scroll -= t->scroll > 0 && key == KEY_UP ? 1 : t->scroll > 10 ? 10 : t->scroll;
        break;
    case KEY_DOWN:
    case KEY_PAGE_DOWN:
        t->scroll += key == KEY_DOWN ? 1 : 10;
        if (t->scroll + 1 > m->worker_count)
            t->scroll = m->worker_count > 0 ? m->worker_count - 1 : 0;
        break;
    default:
        break;
    }
}

static void on_keys(struct loop_poll *p, unsigned events)
{
    struct monitor_term *t = container_of(p, struct monitor_term, keys);
    char bytes[KEY_BYTES];
    int key;
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n <= 0 && ((events & LOOP_HANGUP) || (n < 0 && errno != EAGAIN && errno != EINTR))) {
        loop_poll_stop(p); /* the terminal is gone; a signal says so */
        return;
    }
    for (struct str rest = str_make(bytes, n > 0 ? (size_t)n : 0);
         (key = terminal_key(&rest)) != KEY_NONE && !t->ended;)
        on_key(t, key);
    draw(t);
}

/* --- signals --- */

static void on_signal(struct loop_signal *s)
{
    size_t which = s->signo == SIGWINCH ? 0 : s->signo == SIGTSTP ? 1 : 2;
    struct monitor_term *t = container_of(s - which, struct monitor_term, signals[0]);
    if (s->signo == SIGTSTP) {
        terminal_close(&t->terminal);
        t->suspended = true;
        raise(SIGSTOP);
    } else if (s->signo == SIGCONT && t->suspended) {
        t->suspended = false;
        terminal_open(&t->terminal);
        draw(t);
    } else if (s->signo == SIGWINCH) {
        draw(t);
    }
}

/* --- start and end --- */

static int look_at(struct monitor_term *t, const char *job, struct err *err)
{
    struct feed_config feed = {.loop = t->loop,
                               .job = job,
                               .period_ms = t->config.once ? ONCE_MS : t->config.period_ms,
                               .server = &t->config.queue,
                               .management = t->config.management,
                               .ctx = t,
                               .on_round = on_round};
    int rc = queue_open(&t->queue, t->loop, &t->config.queue, err);
    feed.queue = t->queue;
    return rc ? rc : feed_open(&t->feed, &feed, err);
}

static void look_away(struct monitor_term *t)
{
    if (t->feed)
        feed_stop(t->feed);
    queue_close(t->queue);
    feed_close(t->feed);
    t->queue = NULL;
    t->feed = NULL;
}

static void on_move_timer(struct loop_timer *timer)
{
    struct monitor_term *t = container_of(timer, struct monitor_term, move);
    struct err err = {0};
    if (t->ended)
        return;
    look_away(t);
    t->rounds = t->looks = t->round_ms = 0;
    int rc = look_at(t, t->wanted[0] ? t->wanted : t->config.job, &err);
    if (rc)
        finish(t, rc, &err);
}

static int take_terminal(struct monitor_term *t)
{
    static const int signals[SIGNALS] = {SIGWINCH, SIGTSTP, SIGCONT};
    terminal_open(&t->terminal);
    int rc = 0;
    for (size_t i = 0; i < SIGNALS && !rc; i++)
        rc = loop_signal_start(&t->signals[i], t->loop, signals[i], on_signal);
    if (!rc && t->terminal.raw)
        rc = loop_poll_start(&t->keys, t->loop, STDIN_FILENO, LOOP_READ, on_keys);
    loop_timer_after_ms(&t->tick, STALE_LOOK_MS);
    return rc;
}

int monitor_term_open(struct monitor_term **ret_term, struct loop *loop,
                      const struct monitor_term_config *config, struct err *err)
{
    struct monitor_term *t = mem_zalloc(sizeof *t);
    if (!t)
        return err_set(err, TTG_ENOMEM, "out of memory");
    t->config = *config;
    t->loop = loop;
    t->config.queue.ctx = t;
    t->config.queue.on_up = on_up;
    t->config.queue.on_down = on_down;
    t->config.queue.on_lost = on_lost;
    loop_timer_init(&t->tick, loop, on_tick);
    loop_timer_init(&t->end, loop, on_end_timer);
    loop_timer_init(&t->move, loop, on_move_timer);
    queue_request_init(&t->control.call.request, QUEUE_CONTROL, on_acted, t);
    queue_request_init(&t->redrive.call.request, QUEUE_DEAD_REDRIVE, on_acted, t);
    int rc = look_at(t, config->job, err);
    if (!rc && config->full && take_terminal(t))
        rc = err_set(err, TTG_EIO, "cannot use the terminal");
    if (rc) {
        monitor_term_close(t);
        return rc;
    }
    if (config->full)
        draw(t);
    *ret_term = t;
    return 0;
}

void monitor_term_hold(struct monitor_term *t)
{
    t->hold = true;
    if (!t->held)
        feed_hurry(t->feed);
}

void monitor_term_close(struct monitor_term *t)
{
    if (!t)
        return;
    t->ended = true;
    loop_timer_stop(&t->tick);
    loop_timer_stop(&t->end);
    loop_timer_stop(&t->move);
    loop_poll_stop(&t->keys);
    for (size_t i = 0; i < SIGNALS; i++)
        if (t->signals[i].loop)
            loop_signal_stop(&t->signals[i]);
    terminal_close(&t->terminal);
    look_away(t);
    queue_request_done(&t->control.call.request);
    queue_request_done(&t->redrive.call.request);
    mem_free(t);
}

/* --- ttg monitor --- */

static const uint64_t PATIENCE_MS = UINT64_C(365) * 24 * 3600 * 1000; /* a queue may be away */

struct watching {
    struct ask ask;
    struct monitor_term *term;
    struct loop_signal signals[3];
    int signo, rc;
    struct err err;
};

static void on_end(void *ctx, int rc, const struct err *err)
{
    struct watching *w = ctx;
    w->rc = rc;
    w->err = *err;
    loop_stop(w->ask.loop);
}

static void on_stop(struct loop_signal *s)
{
    size_t which = s->signo == SIGINT ? 0 : s->signo == SIGTERM ? 1 : 2;
    struct watching *w = container_of(s - which, struct watching, signals[0]);
    w->signo = s->signo;
    loop_stop(s->loop);
}

static int watch(struct watching *w, struct command_run *r, struct err *err)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    const struct options *o = r->options;
    struct ask_config ask = {.job = r->arg_count > 0 ? r->args[0] : NULL};
    int rc = ask_open(&w->ask, r, &ask, err);
    if (rc)
        return rc;
    struct buf place;
    buf_init(&place, URL_TEXT_BYTES_MAX + RUN_DIR_BYTES);
    ask_place(&w->ask, &place);
    bool once = option_bool(o, OPT_ONCE), json = option_bool(o, OPT_JSON);
    bool repeated = option_given(o, OPT_WATCH), full = !once && !json && terminal_is_smart();
    struct monitor_term_config config = {
        .queue = w->ask.choice.config,
        .job = w->ask.job_given || w->ask.embedded ? w->ask.job : NULL,
        .management = option_text(o, OPT_MANAGEMENT),
        .place = buf_cstr(&place),
        .period_ms = option_ms(o, OPT_WATCH),
        .once = once || (!full && !repeated),
        .json = json,
        .full = full,
        .color = r->color_out,
        .ctx = w,
        .on_end = on_end,
    };
    config.queue.client_name = "monitor";
    if (!config.once)
        config.queue.retry_ms = PATIENCE_MS;
    rc = monitor_term_open(&w->term, w->ask.loop, &config, err);
    for (size_t i = 0; i < 3 && !rc; i++)
        rc = loop_signal_start(&w->signals[i], w->ask.loop, signals[i], on_stop);
    if (!rc)
        rc = loop_run(w->ask.loop);
    monitor_term_close(w->term);
    for (size_t i = 0; i < 3; i++)
        if (w->signals[i].loop)
            loop_signal_stop(&w->signals[i]);
    buf_done(&place);
    if (!rc && w->rc)
        rc = err_set(err, w->rc, "%s", w->err.text);
    return rc;
}

int monitor_term(struct command_run *r)
{
    struct watching w = {.ask = {.dir = {.lock_fd = -1}}};
    struct err err = {0};
    if (!option_given(r->options, OPT_LOG_LEVEL)) /* the screen says what there is to say */
        log_setup(&(struct log_setup){.level = LOG_ERROR});
    int rc = watch(&w, r, &err);
    ask_close(&w.ask);
    if (rc)
        return command_fail(r, &err);
    return w.signo == SIGINT ? EXIT_SIGINT : w.signo ? EXIT_SIGTERM : EXIT_DONE;
}
