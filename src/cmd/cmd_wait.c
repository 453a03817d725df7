/* SPDX-License-Identifier: Apache-2.0 */
/* ttg wait: until a job has ended. */
#include "cmd/ask.h"
#include "cmd/summary.h"
#include "io/loop.h"

enum { LOOK_MS_MIN = 20, LOOK_MS_MAX = 500 };

struct wait {
    struct ask ask;
    struct queue_status status;
    struct buf out;
    bool ended;
    int code;
};

static void on_status(void *ctx)
{
    struct wait *w = ctx;
    const struct ledger_status *s = &w->status.status;
    struct summary summary = {w->ask.job, &w->status, summary_seconds(&w->status),
                              0,          false,      SUMMARY_UNKNOWN};
    w->ended = s->state == LEDGER_FINISHED || s->state == LEDGER_CANCELED;
    w->code = s->completed == s->chunks ? EXIT_DONE : EXIT_FAILED_CHUNKS;
    buf_clear(&w->out);
    if (option_bool(w->ask.command->options, OPT_JSON)) {
        buf_add_char(&w->out, '{');
        summary_json(&w->out, &summary);
        buf_add_str(&w->out, STR("}\n"));
    } else {
        summary_people(&w->out, &summary);
    }
}

/* Looks again and again, less often as time goes by. TTG_ETIMEOUT. */
static int wait_for_end(struct wait *w, uint64_t limit_ms, struct err *err)
{
    uint64_t start_ms = loop_now_update(w->ask.loop) / 1000000, pause_ms = LOOK_MS_MIN;
    const bool never = false;
    for (;;) {
        ask_init(&w->ask, &w->status.call, QUEUE_STATUS);
        int rc = ask_once(&w->ask, &w->status.call, on_status, w, err);
        if (rc || w->ended)
            return rc;
        uint64_t now_ms = loop_now_update(w->ask.loop) / 1000000;
        if (limit_ms > 0 && now_ms - start_ms >= limit_ms)
            return err_set(err, TTG_ETIMEOUT, "job %s has not ended after %.1f s", w->ask.job,
                           (double)(now_ms - start_ms) / 1000);
        uint64_t until_ms = now_ms + pause_ms;
        if (limit_ms > 0 && until_ms > start_ms + limit_ms)
            until_ms = start_ms + limit_ms;
        rc = ask_wait(&w->ask, &never, until_ms, err);
        if (rc != TTG_ETIMEOUT)
            return rc;
        pause_ms = pause_ms * 3 / 2 < LOOK_MS_MAX ? pause_ms * 3 / 2 : LOOK_MS_MAX;
    }
}

int cmd_wait(struct command_run *r)
{
    struct wait w = {.code = EXIT_DONE};
    struct ask_config config = {.job = r->arg_count > 0 ? r->args[0] : NULL};
    struct err err = {0};
    buf_init(&w.out, 1 << 16);
    int rc = ask_open(&w.ask, r, &config, &err);
    if (!rc)
        rc = wait_for_end(&w, option_ms(r->options, OPT_WAIT_TIMEOUT), &err);
    ask_close(&w.ask);
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&w.out));
    buf_done(&w.out);
    if (rc)
        return rc == TTG_ETIMEOUT ? EXIT_TIMEOUT : code;
    return code ? code : w.code;
}
