/* SPDX-License-Identifier: Apache-2.0 */
/* ttg results: the lines of a job that runs or has run elsewhere. */
#include "cmd/ask.h"
#include "io/loop.h"
#include "job/collect.h"

struct results {
    struct ask ask;
    struct queue *queue; /* that waits */
    struct queue_status status;
    struct output *output;
    struct output_cursor cursor;
    struct collect *collect;
    struct tally tally; /* of what is in the output */
    bool ended;
    int rc;
    struct err err;
};

static void on_end(void *ctx, int rc, const struct err *err)
{
    struct results *s = ctx;
    s->ended = true;
    s->rc = rc;
    if (rc)
        s->err = *err;
}

static int on_lines(void *ctx, struct str lines, uint64_t count)
{
    struct results *s = ctx;
    (void)count;
    return tally_add(&s->tally, lines);
}

static int on_cut(void *ctx, struct err *err)
{
    struct results *s = ctx;
    tally_clear(&s->tally);
    return tally_file(&s->tally, option_text(s->ask.command->options, OPT_OUTPUT), err);
}

static int open_output(struct results *s, const struct options *o, struct err *err)
{
    struct output_spec spec = {.path = option_text(o, OPT_OUTPUT),
                               .raw = option_bool(o, OPT_RAW),
                               .resume = option_bool(o, OPT_RESULTS_RESUME)};
    ask_init(&s->ask, &s->status.call, QUEUE_STATUS);
    int rc = ask_once(&s->ask, &s->status.call, NULL, NULL, err);
    if (rc)
        return rc;
    s->tally.grid =
        (struct tally_grid){s->status.first, s->status.params_total, s->status.chunk_params};
    spec.job = s->ask.job;
    spec.job_created_ms = s->status.status.created_ms;
    rc = output_open(&s->output, &spec, &s->cursor, err);
    return rc || s->cursor.bytes == 0 ? rc : tally_file(&s->tally, spec.path, err);
}

static int collect(struct results *s, const struct options *o, struct err *err)
{
    int rc = open_output(s, o, err);
    if (!rc)
        rc = ask_open_queue(&s->ask, &s->queue, err);
    if (rc)
        return rc;
    struct collect_config config = {.queue = s->queue,
                                    .job = s->ask.job,
                                    .output = s->output,
                                    .cursor = s->cursor,
                                    .ordered = option_bool(o, OPT_ORDERED),
                                    .there = &s->tally,
                                    .follow = option_bool(o, OPT_FOLLOW),
                                    .keep = !option_bool(o, OPT_TRIM),
                                    .ctx = s,
                                    .on_lines = on_lines,
                                    .on_cut = on_cut,
                                    .on_end = on_end};
    rc = collect_start(&s->collect, s->ask.loop, &config, err);
    if (!rc)
        rc = ask_wait(&s->ask, &s->ended, UINT64_MAX, err);
    if (!rc && s->rc)
        rc = err_set(err, s->rc, "%s", s->err.text);
    return rc;
}

/* The cursor stays as long as more may come: from a job that runs, or dead letters tried again. */
static int finish(struct results *s, bool follow, struct err *err)
{
    enum ledger_state before = s->status.status.state;
    if (!follow && before != LEDGER_FINISHED && before != LEDGER_CANCELED)
        return 0;
    ask_init(&s->ask, &s->status.call, QUEUE_STATUS);
    int rc = ask_once(&s->ask, &s->status.call, NULL, NULL, err);
    return rc || s->status.status.dead > 0 ? rc : output_finish(s->output, err);
}

int cmd_results(struct command_run *r)
{
    struct results s = {0};
    struct ask_config config = {.job = r->arg_count > 0 ? r->args[0] : NULL};
    const struct options *o = r->options;
    struct err err = {0};
    int rc = 0;
    tally_init(&s.tally);
    if (!option_text(o, OPT_OUTPUT) &&
        (option_bool(o, OPT_TRIM) || option_bool(o, OPT_RESULTS_RESUME)))
        rc = err_set(&err, TTG_EUSAGE, "--trim and --resume need --output FILE");
    if (option_bool(o, OPT_RAW) && option_text(o, OPT_OUTPUT))
        rc = err_set(&err, TTG_EUSAGE, "--raw prints to standard output: not with --output");
    if (!rc) {
        rc = ask_open(&s.ask, r, &config, &err);
        if (!rc)
            rc = collect(&s, o, &err);
        if (!rc)
            rc = finish(&s, option_bool(o, OPT_FOLLOW), &err);
        queue_close(s.queue);
        collect_free(s.collect);
        output_close(s.output);
        ask_close(&s.ask);
    }
    tally_done(&s.tally);
    return rc ? command_fail(r, &err) : EXIT_DONE;
}
