/* SPDX-License-Identifier: Apache-2.0 */
/* ttg cancel, pause and resume: one request each, and one more to forget a job. */
#include "cmd/ask.h"
#include "cmd/options.h"

static int control(struct command_run *r, enum queue_control what, const char *done)
{
    struct ask ask;
    struct ask_config config = {.job = r->arg_count > 0 ? r->args[0] : NULL};
    bool forget = what == QUEUE_CANCEL && option_bool(r->options, OPT_FORGET);
    struct err err = {0};
    struct buf out;
    buf_init(&out, 1024);
    int rc = ask_open(&ask, r, &config, &err);
    if (!rc)
        rc = ask_control(&ask, what, &err);
    if (forget && (!rc || rc == TTG_EDONE)) {
        rc = ask_control(&ask, QUEUE_FORGET, &err);
        rc = rc == TTG_ENOENT ? 0 : rc; /* asked again after a cut, or somebody else was quicker */
    }
    if (!rc)
        buf_printf(&out, "job %s %s\n", ask.job, done);
    ask_close(&ask);
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&out));
    buf_done(&out);
    return code;
}

int cmd_cancel(struct command_run *r)
{
    bool forget = option_bool(r->options, OPT_FORGET);
    return control(r, QUEUE_CANCEL,
                   forget ? "forgotten: the queue has nothing of it any more"
                          : "canceled: no chunk starts or is committed any more");
}

int cmd_pause(struct command_run *r)
{
    return control(r, QUEUE_PAUSE, "paused: running chunks end, no new one starts");
}

int cmd_resume(struct command_run *r)
{
    return control(r, QUEUE_RESUME, "goes on");
}
