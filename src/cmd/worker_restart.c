/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/worker_restart.h"

#include "base/log.h"
#include "cmd/queue_choice.h"
#include "io/file_read.h"
#include "io/loop.h"
#include "job/obituary.h"

#include <signal.h>

enum { LINE_BYTES_MAX = 4 << 20, WORDS_MAX = 65536, TELL_MS = 2000 };

struct restart {
    struct command_run *command;
    struct loop *loop;
    struct crew *crew;
    struct queue *queue; /* NULL: nothing was to be told yet */
    struct queue_choice choice;
    struct obituaries obituaries;
    struct loop_timer tell_limit;
    struct loop_signal sigterm, sigint;
    struct buf line, words; /* our command line; pointers into it */
    unsigned untold;
    int signal, code;
    struct err err;
};

/* --- the worker's command line: ours, without --restart, with a name and an incarnation --- */

static int add_word(struct restart *w, const char *word)
{
    return buf_add(&w->words, &word, sizeof word);
}

static int worker_line(struct restart *w, const char *name)
{
    bool ours = true; /* not yet behind -- */
    int rc = file_read("/proc/self/cmdline", &w->line, &w->err);
    if (!rc)
        rc = buf_add_char(&w->line, '\0');
    size_t count = 0;
    for (struct str rest = buf_str(&w->line); !rc && rest.len > 1; count++) {
        const char *word = rest.ptr;
        str_cut(rest, '\0', &rest);
        ours = ours && strcmp(word, "--") != 0;
        if (!(ours && strcmp(word, "--restart") == 0))
            rc = add_word(w, word);
        if (!rc && count == 1) { /* behind "ttg worker" */
            rc = add_word(w, "--incarnation") | add_word(w, CREW_INCARNATION);
            if (!option_given(w->command->options, OPT_NAME))
                rc |= add_word(w, "--name") | add_word(w, name);
        }
    }
    return rc ? rc : add_word(w, NULL);
}

/* --- what it died of --- */

static void on_told(void *ctx)
{
    struct restart *w = ctx;
    if (w->untold > 0) {
        w->untold--;
        crew_release(w->crew);
    }
}

static void on_tell_limit(struct loop_timer *t)
{
    struct restart *w = container_of(t, struct restart, tell_limit);
    while (w->untold > 0)
        on_told(w);
}

static void on_death(void *ctx, const struct crew_death *death)
{
    struct restart *w = ctx;
    struct err err;
    if (!w->queue && queue_open(&w->queue, w->loop, &w->choice.config, &err))
        return;
    w->obituaries = (struct obituaries){w->queue, w->choice.job, w, on_told};
    w->untold++;
    crew_keep(w->crew);
    loop_timer_after_ms(&w->tell_limit, TELL_MS);
    if (!obituary_send(&w->obituaries, death))
        on_told(w);
}

/* --- its life --- */

/* What it ended with when it ended on purpose; the others are deaths. */
static bool on_exit_code(void *ctx, int status)
{
    struct restart *w = ctx;
    w->code = status;
    return status == EXIT_DONE || status == EXIT_USAGE || status == EXIT_LOST;
}

static void on_failed(void *ctx, const struct err *err)
{
    struct restart *w = ctx;
    if (w->code != EXIT_USAGE && w->code != EXIT_LOST) { /* else it has said why */
        w->err = *err;
        w->code = EXIT_LOST;
    }
    crew_stop(w->crew);
}

static void on_worker(void *ctx, const char *name, pid_t pid, bool died)
{
    struct restart *w = ctx;
    (void)name;
    if (pid == 0 && !died && !w->signal)
        crew_stop(w->crew); /* it has ended in order */
}

static void on_stopped(void *ctx)
{
    loop_stop(((struct restart *)ctx)->loop);
}

static void on_signal(struct loop_signal *s)
{
    struct restart *w = s->signo == SIGTERM ? container_of(s, struct restart, sigterm)
                                            : container_of(s, struct restart, sigint);
    if (!w->signal)
        w->signal = s->signo;
    crew_stop(w->crew);
}

static int go(struct restart *w, const char *name)
{
    const struct options *o = w->command->options;
    enum log_level level = LOG_INFO;
    log_level_parse(option_str(o, OPT_LOG_LEVEL), &level);
    struct crew_config config = {.worker = (char *const *)(void *)buf_ptr(&w->words),
                                 .workers = 1,
                                 .worker_name = name,
                                 .log_level = level,
                                 .drain_ms = option_ms(o, OPT_DRAIN),
                                 .ctx = w,
                                 .is_final = on_exit_code,
                                 .on_failed = on_failed,
                                 .on_stopped = on_stopped,
                                 .on_worker = on_worker,
                                 .on_death = on_death};
    int rc = crew_start(&w->crew, w->loop, &config, &w->err);
    if (!rc)
        rc = loop_signal_start(&w->sigterm, w->loop, SIGTERM, on_signal);
    if (!rc)
        rc = loop_signal_start(&w->sigint, w->loop, SIGINT, on_signal);
    if (rc)
        return w->err.code ? rc
                           : err_set(&w->err, rc, "cannot listen to signals: %s", err_text(rc));
    crew_start_workers(w->crew);
    return loop_run(w->loop);
}

int worker_restart(struct command_run *r, const char *name)
{
    struct restart w = {.command = r};
    buf_init(&w.line, LINE_BYTES_MAX);
    buf_init(&w.words, WORDS_MAX * sizeof(char *));
    int rc = queue_choose(&w.choice, r, &w.err);
    if (!rc && (rc = worker_line(&w, name)) && !w.err.code)
        err_set(&w.err, rc, "--restart: %s", err_text(rc));
    if (!rc)
        rc = loop_open(&w.loop, &w.err);
    if (!rc) {
        loop_timer_init(&w.tell_limit, w.loop, on_tell_limit);
        rc = go(&w, name);
        w.untold = 0;
        queue_close(w.queue);
        loop_timer_stop(&w.tell_limit);
        crew_free(w.crew);
        loop_signal_stop(&w.sigterm);
        loop_signal_stop(&w.sigint);
        loop_close(w.loop);
    }
    buf_done(&w.line);
    buf_done(&w.words);
    if (rc || w.err.code)
        return command_fail(r, &w.err);
    return w.signal ? (w.signal == SIGTERM ? EXIT_SIGTERM : EXIT_SIGINT) : w.code;
}
