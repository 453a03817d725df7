/* SPDX-License-Identifier: Apache-2.0 */
/* ttg verify: every chunk has exactly one result, and it is the one that was committed.
 *
 * Compares what is there (an output file, or the results that the queue still has) with what the
 * ledger counted (or, offline, with a number of chunks). Shares nothing with the code that wrote
 * the results but the form of a line. */
#include "cmd/ask.h"
#include "cmd/summary.h"
#include "job/tally.h"

typedef unsigned long long number; /* for printf */

enum { BATCH = 10000, REPORT_BYTES_MAX = 1 << 16 };

struct verify {
    struct command_run *command;
    struct ask ask;
    struct queue_status status;
    struct queue_results results;
    struct tally tally;
    struct tally_truth truth;
    const char *output;
    bool offline;
    uint64_t dead;
    int rc; /* of the tally */
    struct buf report;
};

/* --- what is there --- */

static void on_results(void *ctx)
{
    struct verify *v = ctx;
    v->rc = tally_add(&v->tally, v->results.lines);
}

/* Up to the result that the ledger's status counted as its last one. */
static int read_queue(struct verify *v, struct err *err)
{
    const struct ledger_status *s = &v->status.status;
    uint64_t cursor = 0;
    if (s->result_first > 1 && s->result_seq > 0)
        return err_set(err, TTG_EINVAL,
                       "results 1 to %llu of job %s are in the collector's output and no more in "
                       "the queue: name that file with --output",
                       (number)s->result_first - 1, v->ask.job);
    /* Counted by lines: on Redis a cursor is no number of a result. */
    while (v->tally.lines < s->result_seq) {
        uint64_t left = s->result_seq - v->tally.lines;
        ask_init(&v->ask, &v->results.call, QUEUE_RESULTS);
        v->results.cursor = cursor;
        v->results.count = left < BATCH ? left : BATCH;
        v->results.block_ms = 1000;
        int rc = ask_once(&v->ask, &v->results.call, on_results, v, err);
        if (rc)
            return rc;
        if (v->rc)
            return err_set(err, v->rc, "%s", err_text(v->rc));
        if (v->results.last <= cursor)
            break;
        cursor = v->results.last;
    }
    return 0;
}

static int ask_truth(struct verify *v, struct err *err)
{
    const struct ledger_status *s = &v->status.status;
    ask_init(&v->ask, &v->status.call, QUEUE_STATUS);
    int rc = ask_once(&v->ask, &v->status.call, NULL, NULL, err);
    if (rc)
        return rc;
    v->dead = s->dead + s->dropped;
    v->tally.grid =
        (struct tally_grid){v->status.first, v->status.params_total, v->status.chunk_params};
    v->truth.chunks = s->chunks;
    v->truth.completed = s->completed;
    v->truth.digest[0] = s->digest[0];
    v->truth.digest[1] = s->digest[1];
    /* A job that plain Redis clients worked on has no digest. */
    v->truth.has_digest = s->digest[0] != 0 || s->digest[1] != 0 || s->completed == 0;
    return 0;
}

static int read_output(struct verify *v, struct err *err)
{
    int rc = tally_file(&v->tally, v->output, err);
    if (rc == TTG_ENOENT || rc == TTG_EACCES)
        err->code = rc = TTG_EINVAL; /* a wrong path, not a lost one */
    return rc;
}

static int look(struct verify *v, struct err *err)
{
    if (v->offline) {
        v->truth.chunks = option_u64(v->command->options, OPT_CHUNKS);
        v->truth.completed = v->truth.chunks;
        return read_output(v, err);
    }
    int rc = ask_truth(v, err);
    if (rc)
        return rc;
    return v->output ? read_output(v, err) : read_queue(v, err);
}

/* --- what is said --- */

static void as_json(const struct verify *v, bool proven, struct buf *out)
{
    const struct tally *t = &v->tally;
    char sum[41];
    buf_add_char(out, '{');
    if (!v->offline) {
        buf_add_str(out, STR("\"job\":"));
        buf_add_json(out, str_of(v->ask.job));
        buf_printf(out, ",\"state\":\"%s\",", summary_state(v->status.status.state));
    }
    buf_printf(out,
               "\"verified\":%s,\"chunks\":%llu,\"completed\":%llu,\"dead_letters\":%llu,"
               "\"lines\":%llu,\"doubled\":%llu,\"misplaced\":%llu,\"garbled\":%llu,\"sum\":",
               proven ? "true" : "false", (number)v->truth.chunks, (number)t->chunks,
               (number)v->dead, (number)t->lines, (number)t->doubled, (number)t->misplaced,
               (number)t->garbled);
    if (t->has_sum && !t->sum_overflow)
        buf_add(out, sum, str_from_i128(sum, t->sum));
    else
        buf_add_str(out, STR("null"));
    buf_printf(out, ",\"digest\":\"%016llx%016llx\",\"report\":", (number)t->digest[0],
               (number)t->digest[1]);
    buf_add_json(out, buf_str(&v->report));
    buf_add_str(out, STR("}\n"));
}

static void for_people(const struct verify *v, bool proven, struct buf *out)
{
    const struct tally *t = &v->tally;
    char sum[41];
    if (!proven) {
        buf_printf(out, "NOT verified: %llu of %llu chunks have a result\n%.*s", (number)t->chunks,
                   (number)v->truth.chunks, STR_ARG(buf_str(&v->report)));
        return;
    }
    buf_printf(out, "verified: %llu of %llu chunks have exactly one result", (number)t->chunks,
               (number)v->truth.chunks);
    if (v->dead > 0)
        buf_printf(out, ", %llu were given up", (number)v->dead);
    if (t->has_sum && !t->sum_overflow)
        buf_printf(out, ", sum %.*s", (int)str_from_i128(sum, t->sum), sum);
    buf_printf(out, "\n%s %016llx%016llx\n",
               v->truth.has_digest ? "digest as in the ledger:"
                                   : "digest, nothing to compare with:",
               (number)t->digest[0], (number)t->digest[1]);
}

static int judge(struct verify *v)
{
    struct buf out;
    bool proven = tally_compare(&v->tally, &v->truth, &v->report) == TALLY_PROVEN;
    const struct ledger_status *s = &v->status.status;
    if (!v->offline && s->completed + v->dead < s->chunks && s->state != LEDGER_CANCELED) {
        proven = false;
        buf_printf(&v->report, "the job is %s: %llu chunks are still to be done\n",
                   summary_state(s->state), (number)(s->chunks - s->completed - v->dead));
    }
    buf_init(&out, 2 * REPORT_BYTES_MAX);
    if (option_bool(v->command->options, OPT_JSON))
        as_json(v, proven, &out);
    else
        for_people(v, proven, &out);
    int code = command_print(v->command, buf_str(&out));
    buf_done(&out);
    return code ? code : proven ? EXIT_DONE : EXIT_UNVERIFIED;
}

int cmd_verify(struct command_run *r)
{
    struct verify v = {.command = r, .output = option_text(r->options, OPT_VERIFY_OUTPUT)};
    struct ask_config config = {.job = r->arg_count > 0 ? r->args[0] : NULL};
    struct err err = {0};
    int rc = 0;
    v.offline = option_given(r->options, OPT_CHUNKS);
    tally_init(&v.tally);
    buf_init(&v.report, REPORT_BYTES_MAX);
    if (v.offline && !v.output)
        rc =
            err_set(&err, TTG_EUSAGE, "--chunks needs --output FILE; without both the queue tells");
    else if (!v.offline)
        rc = ask_open(&v.ask, r, &config, &err);
    if (!rc)
        rc = look(&v, &err);
    if (!v.offline)
        ask_close(&v.ask);
    int code = rc ? command_fail(r, &err) : judge(&v);
    buf_done(&v.report);
    tally_done(&v.tally);
    return code;
}
