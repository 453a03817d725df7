/* SPDX-License-Identifier: Apache-2.0 */
/* ttg explain: why a job, or one of its chunks, does not run. */
#include "base/clock.h"
#include "cmd/ask.h"

typedef unsigned long long number; /* for printf */

struct explain {
    struct ask ask;
    struct queue_explain query;
    struct buf out;
    bool json;
};

static void member(struct explain *e, const char *name, struct str value)
{
    buf_printf(&e->out, ",\"%s\":", name);
    buf_add_json(&e->out, value);
}

static void as_json(struct explain *e)
{
    const struct queue_explain *q = &e->query;
    buf_add_str(&e->out, STR("{\"job\":"));
    buf_add_json(&e->out, str_of(e->ask.job));
    if (q->of_chunk)
        buf_printf(&e->out, ",\"chunk\":%llu", (number)q->chunk);
    member(e, "place", q->place);
    member(e, "why", q->why);
    if (q->of_chunk) {
        member(e, "worker", q->worker);
        member(e, "reason", q->reason);
        buf_printf(&e->out, ",\"attempts\":%llu,\"epoch\":%llu,\"since_ms\":%llu,\"due_ms\":%llu",
                   (number)q->attempts, (number)q->epoch, (number)q->since_ms, (number)q->due_ms);
    }
    buf_add_str(&e->out, STR("}\n"));
}

/* The lines of a command's last words stand below each other. */
static void last_error(struct explain *e, struct str reason)
{
    const char *head = "last error ";
    for (struct str line; reason.len > 0; head = "           ") {
        line = str_cut(reason, '\n', &reason);
        buf_printf(&e->out, "%s%.*s\n", head, STR_ARG(line));
    }
}

static void on_explained(void *ctx)
{
    struct explain *e = ctx;
    const struct queue_explain *q = &e->query;
    char at[CLOCK_TEXT_BYTES];
    if (e->json) {
        as_json(e);
        return;
    }
    buf_printf(&e->out, "job %s", e->ask.job);
    if (q->of_chunk)
        buf_printf(&e->out, ", chunk %llu", (number)q->chunk);
    buf_printf(&e->out, ": %.*s: %.*s\n", STR_ARG(q->place), STR_ARG(q->why));
    if (q->worker.len > 0)
        buf_printf(&e->out, "worker     %.*s\n", STR_ARG(q->worker));
    if (q->attempts > 0)
        buf_printf(&e->out, "attempts   %llu\n", (number)q->attempts);
    if (q->since_ms > 0) {
        clock_text(at, q->since_ms);
        buf_printf(&e->out, "since      %s\n", at);
    }
    if (q->due_ms > 0) {
        clock_text(at, q->due_ms);
        buf_printf(&e->out, "due        %s\n", at);
    }
    if (q->reason.len > 0)
        last_error(e, q->reason);
}

int cmd_explain(struct command_run *r)
{
    struct explain e = {.json = option_bool(r->options, OPT_JSON)};
    bool job_named = option_text(r->options, OPT_JOB) != NULL;
    const char *chunk = r->arg_count == 2                ? r->args[1]
                        : r->arg_count == 1 && job_named ? r->args[0]
                                                         : NULL;
    struct ask_config config = {.job = r->arg_count > 0 && r->args[0] != chunk ? r->args[0] : NULL};
    struct err err = {0};
    uint64_t number_of_chunk = 0;
    int rc = 0;
    buf_init(&e.out, 1 << 20);
    if (chunk && str_to_u64(str_of(chunk), &number_of_chunk))
        rc = err_set(&err, TTG_EUSAGE, "'%s' is no number of a chunk", chunk);
    if (!rc) {
        rc = ask_open(&e.ask, r, &config, &err);
        if (!rc) {
            ask_init(&e.ask, &e.query.call, QUEUE_EXPLAIN);
            e.query.of_chunk = chunk != NULL;
            e.query.chunk = number_of_chunk;
            rc = ask_once(&e.ask, &e.query.call, on_explained, &e, &err);
        }
        ask_close(&e.ask);
    }
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&e.out));
    buf_done(&e.out);
    return code;
}
