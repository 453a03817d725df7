/* SPDX-License-Identifier: Apache-2.0 */
/* ttg submit: creates a job; workers and a collector come when they like. Again and again is fine:
 * the same name and spec is the same job. */
#include "base/mem.h"
#include "cmd/ask.h"
#include "cmd/job_spec.h"

struct submit {
    struct ask ask;
    struct job_spec spec;
    struct queue_create create;
};

static int submit(struct submit *s, struct command_run *r, struct err *err)
{
    struct job_place place = {.resume = true};
    int rc = kernel_check(r, err);
    if (rc)
        return rc;
    if (s->ask.embedded) {
        place.index = s->ask.dir.index;
        place.text = s->ask.dir.text;
    }
    rc = job_spec_from_options(&s->spec, r, &place, err);
    if (rc)
        return rc;
    ask_init(&s->ask, &s->create.call, QUEUE_CREATE);
    s->create.spec = s->spec.spec;
    s->create.unattended = true;
    return ask_once(&s->ask, &s->create.call, NULL, NULL, err);
}

static void say(const struct submit *s, bool json, struct buf *out)
{
    const struct ledger_spec *spec = &s->spec.spec;
    unsigned long long params = spec->params, chunks = 0;
    if (params > 0)
        chunks = (params - 1) / spec->chunk_params + 1;
    if (json) {
        buf_add_str(out, STR("{\"job\":"));
        buf_add_json(out, str_of(s->ask.job));
        buf_printf(out, ",\"created\":%s,\"chunks\":%llu,\"params\":%llu}\n",
                   s->create.created ? "true" : "false", chunks, params);
        return;
    }
    buf_printf(out, "job %s %s: %llu parameters in %llu chunks\n", s->ask.job,
               s->create.created ? "created" : "exists already", params, chunks);
}

int cmd_submit(struct command_run *r)
{
    struct submit *s = mem_zalloc(sizeof *s);
    struct ask_config config = {.job = r->arg_count > 0 ? r->args[0] : NULL, .make = true};
    struct err err = {0};
    struct buf out;
    buf_init(&out, 4096);
    int rc = s ? 0 : err_set(&err, TTG_ENOMEM, "out of memory");
    if (!rc && !option_text(r->options, OPT_QUEUE) && !option_bool(r->options, OPT_QUEUE_MODE))
        rc = err_set(&err, TTG_EUSAGE,
                     "--queue is missing: where the job is to wait, as embedded:DIR, "
                     "ttg://HOST:PORT or redis://HOST");
    else if (!rc) {
        rc = ask_open(&s->ask, r, &config, &err);
        if (!rc)
            rc = submit(s, r, &err);
        if (!rc)
            say(s, option_bool(r->options, OPT_JSON), &out);
        ask_close(&s->ask);
        job_spec_done(&s->spec);
    }
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&out));
    buf_done(&out);
    mem_free(s);
    return code;
}
