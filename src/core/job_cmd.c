/* SPDX-License-Identifier: Apache-2.0 */
/* TTG.JOB: creating, looking at and ending jobs. docs/protocol.md. */
#include "core/job.h"
#include "core/parts.h"

#include <inttypes.h>
#include <stdio.h>

const char *job_state_text(enum ledger_state state)
{
    static const char *const texts[] = {"running", "paused", "finished", "canceled"};
    return texts[state];
}

void reply_count(struct reply *r, uint64_t value)
{
    char digits[24];
    if (value <= INT64_MAX)
        reply_int(r, (int64_t)value);
    else /* the parameters of the greatest job: RESP has no such integer */
        reply_str(r, str_make(digits, str_from_u64(digits, value)));
}

bool arg_job(struct core *c, struct core_call *call, size_t i, struct job **ret_job)
{
    *ret_job = job_find(c, call->argv[i]);
    if (!*ret_job)
        reply_error(call->reply, "NOJOB there is no job of that name");
    return *ret_job != NULL;
}

bool arg_u64(struct core_call *call, size_t i, uint64_t max, uint64_t *ret_value)
{
    uint64_t value;
    if (str_to_u64(call->argv[i], &value) || value > max) {
        reply_error(call->reply, "ERR argument %zu is not a number from 0 to %" PRIu64, i, max);
        return false;
    }
    *ret_value = value;
    return true;
}

/* --- create --- */

static bool create_option(struct core_call *call, size_t i, struct ledger_spec *spec, int64_t *last,
                          unsigned *seen)
{
    static const struct {
        const char *name;
        size_t offset;
    } numbers[] = {
        {"WINDOW", offsetof(struct ledger_spec, window)},
        {"MAXATTEMPTS", offsetof(struct ledger_spec, max_attempts)},
        {"RETRYMIN", offsetof(struct ledger_spec, retry_min_ms)},
        {"RETRYMAX", offsetof(struct ledger_spec, retry_max_ms)},
        {"RETRYJITTER", offsetof(struct ledger_spec, retry_jitter)},
        {"STALE", offsetof(struct ledger_spec, stale_ms)},
    };
    uint64_t value;
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        if (!arg_is(call, i, numbers[k].name))
            continue;
        if (!arg_u64(call, i + 1, UINT32_MAX, &value))
            return false;
        *(uint32_t *)(void *)((char *)spec + numbers[k].offset) = (uint32_t)value;
        return true;
    }
    if (arg_is(call, i, "KERNEL"))
        return spec->kernel = call->argv[i + 1], true;
    if (arg_is(call, i, "INPUT"))
        return spec->input = call->argv[i + 1], true;
    if (arg_is(call, i, "FIRST"))
        return *seen |= 1, arg_i64(call, i + 1, NULL, &spec->first);
    if (arg_is(call, i, "LAST"))
        return *seen |= 2, arg_i64(call, i + 1, NULL, last);
    if (arg_is(call, i, "CHUNK"))
        return *seen |= 4, arg_u64(call, i + 1, INT64_MAX, &spec->chunk_params);
    reply_syntax(call->reply);
    return false;
}

static bool create_parse(struct core_call *call, struct ledger_spec *spec)
{
    int64_t last = 0;
    unsigned seen = 0;
    *spec = (struct ledger_spec){.window = LEDGER_WINDOW,
                                 .max_attempts = LEDGER_MAX_ATTEMPTS,
                                 .retry_min_ms = LEDGER_RETRY_MIN_MS,
                                 .retry_max_ms = LEDGER_RETRY_MAX_MS,
                                 .retry_jitter = LEDGER_RETRY_JITTER,
                                 .stale_ms = LEDGER_STALE_MS,
                                 .kernel = STR(""),
                                 .input = STR("")};
    if (!job_name_valid(call->argv[2])) {
        reply_error(call->reply, "ERR a job's name has 1 to %d of A-Z a-z 0-9 _ -",
                    JOB_NAME_BYTES_MAX);
        return false;
    }
    for (size_t i = 3; i < call->argc; i += 2) {
        if (i + 1 == call->argc)
            return reply_syntax(call->reply), false;
        if (!create_option(call, i, spec, &last, &seen))
            return false;
    }
    if (seen != 7) {
        reply_error(call->reply, "ERR FIRST, LAST and CHUNK are needed");
        return false;
    }
    /* last = first - 1 says: none. The whole range of 64 bits wraps to none, and is too much. */
    spec->params = (uint64_t)last - (uint64_t)spec->first + 1;
    bool none = spec->params == 0 && last < spec->first;
    if (spec->params == 0 && !none)
        spec->params = UINT64_MAX;
    struct err err;
    if (last < spec->first && !none) {
        reply_error(call->reply, "ERR LAST lies before FIRST");
        return false;
    }
    if (ledger_spec_check(spec, &err)) {
        reply_error(call->reply, "ERR %s", err.text);
        return false;
    }
    return true;
}

static void create_reply(struct core_call *call, const struct job *j, bool created)
{
    struct ledger_status s;
    struct reply *r = call->reply;
    ledger_status(j->ledger, &s);
    reply_map(r, 5);
    reply_text(r, "job");
    reply_str(r, j->name);
    reply_text(r, "created");
    reply_int(r, created);
    reply_text(r, "created_ms");
    reply_count(r, s.created_ms);
    reply_text(r, "chunks");
    reply_count(r, s.chunks);
    reply_text(r, "state");
    reply_text(r, job_state_text(s.state));
}

void job_create(struct core *c, struct core_call *call)
{
    struct ledger_spec spec;
    struct err err;
    if (!create_parse(call, &spec))
        return;
    struct job *j = job_find(c, call->argv[2]);
    bool created = !j;
    int rc = j ? ledger_same(j->ledger, &spec, &err)
               : job_new(c, call->argv[2], &spec, call->now_ms, &j, &err);
    if (rc == TTG_ENOMEM) {
        reply_no_memory(call->reply);
    } else if (rc) {
        reply_error(call->reply, "%s %s", rc == TTG_EDONE ? "JOBENDED" : "JOBEXISTS", err.text);
    } else {
        call->changed = created;
        create_reply(call, j, created);
        job_wake(j);
        if (created)
            core_ready(c, j->name);
    }
}

/* --- status --- */

static void status_row(struct reply *r, const char *name, uint64_t value)
{
    reply_text(r, name);
    reply_count(r, value);
}

static void status_sum(struct reply *r, const struct ledger_status *s)
{
    char text[48];
    reply_text(r, "has_sum");
    reply_int(r, s->has_sum);
    reply_text(r, "sum");
    reply_str(r, str_make(text, s->sum_overflow ? 0 : str_from_i128(text, s->sum)));
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, s->digest[0], s->digest[1]);
    reply_text(r, "digest");
    reply_text(r, text);
}

struct status_figure {
    const char *name;
    uint64_t value;
};

static void status_rows(struct reply *r, const struct status_figure *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        status_row(r, rows[i].name, rows[i].value);
}
#define STATUS_ROWS(r, rows) status_rows(r, rows, sizeof(rows) / sizeof *(rows))

enum { STATUS_TIMES = 4, STATUS_CHUNKS = 22, STATUS_REST = 9 };

static void status_times(struct reply *r, const struct ledger_status *s, uint64_t now_ms)
{
    const struct status_figure rows[STATUS_TIMES] = {
        {"created_ms", s->created_ms},
        {"started_ms", s->started_ms},
        {"finished_ms", s->finished_ms},
        {"now_ms", now_ms},
    };
    STATUS_ROWS(r, rows);
}

static void status_chunks(struct reply *r, const struct ledger_status *s,
                          const struct ledger_spec *spec)
{
    const struct status_figure rows[STATUS_CHUNKS] = {
        {"chunk_params", spec->chunk_params},
        {"params_total", spec->params},
        {"chunks", s->chunks},
        {"completed", s->completed},
        {"dead_letters", s->dead},
        {"dropped", s->dropped},
        {"unfed", s->unfed},
        {"fresh", s->fresh},
        {"ready", s->ready},
        {"delayed", s->delayed},
        {"leased", s->leased},
        {"attempts", s->attempts},
        {"reclaimed", s->reclaimed},
        {"stolen", s->stolen},
        {"stale_dropped", s->stale_dropped},
        {"failures", s->failures},
        {"released", s->released},
        {"redriven", s->redriven},
        {"workers", s->workers},
        {"workers_lost", s->workers_lost},
        {"slots", s->slots},
        {"params", s->params},
    };
    STATUS_ROWS(r, rows);
}

static void status_rest(struct reply *r, const struct ledger_status *s,
                        const struct ledger_spec *spec)
{
    const struct status_figure rows[STATUS_REST] = {
        {"result_seq", s->result_seq},
        {"result_first", s->result_first},
        {"event_seq", s->event_seq},
        {"max_attempts", spec->max_attempts},
        {"retry_min_ms", spec->retry_min_ms},
        {"retry_max_ms", spec->retry_max_ms},
        {"retry_jitter", spec->retry_jitter},
        {"stale_ms", spec->stale_ms},
        {"window", spec->window},
    };
    STATUS_ROWS(r, rows);
}

void job_view_status(struct job *j, struct core_call *call)
{
    struct ledger_status s;
    struct reply *r = call->reply;
    ledger_status(j->ledger, &s);
    const struct ledger_spec *spec = ledger_spec(j->ledger);
    reply_map(r, 2 + STATUS_TIMES + 2 + STATUS_CHUNKS + 3 + STATUS_REST + 3);
    reply_text(r, "job");
    reply_str(r, s.name);
    reply_text(r, "state");
    reply_text(r, job_state_text(s.state));
    status_times(r, &s, call->now_ms);
    reply_text(r, "first");
    reply_int(r, spec->first);
    reply_text(r, "last");
    reply_int(r, (int64_t)((uint64_t)spec->first + spec->params - 1));
    status_chunks(r, &s, spec);
    status_sum(r, &s);
    status_rest(r, &s, spec);
    reply_text(r, "kernel");
    reply_str(r, spec->kernel);
    reply_text(r, "input");
    reply_str(r, spec->input);
    status_row(r, "boot", s.boot);
}

void job_status(struct core *c, struct core_call *call)
{
    struct job *j;
    if (arg_job(c, call, 2, &j))
        job_view_status(j, call);
}

void job_list(struct core *c, struct core_call *call)
{
    struct jobs *jobs = core_jobs(c);
    reply_array(call->reply, jobs->by_name.count);
    list_each(it, &jobs->all)
    {
        struct job *j = container_of(it, struct job, link);
        struct ledger_status s;
        ledger_status(j->ledger, &s);
        reply_map(call->reply, 7);
        reply_text(call->reply, "job");
        reply_str(call->reply, j->name);
        reply_text(call->reply, "state");
        reply_text(call->reply, job_state_text(s.state));
        status_row(call->reply, "chunks", s.chunks);
        status_row(call->reply, "completed", s.completed);
        status_row(call->reply, "dead_letters", s.dead);
        status_row(call->reply, "workers", s.workers);
        status_row(call->reply, "created_ms", s.created_ms);
    }
}

/* --- moves --- */

static void job_move(struct job *j, struct core_call *call,
                     int (*move)(struct ledger *l, uint64_t now_ms))
{
    struct ledger_status before, after;
    ledger_status(j->ledger, &before);
    if (move(j->ledger, call->now_ms)) {
        reply_error(call->reply, "JOBENDED the job has %s already",
                    before.state == LEDGER_FINISHED ? "finished" : "been canceled");
        return;
    }
    ledger_status(j->ledger, &after);
    call->changed = before.state != after.state;
    reply_status(call->reply, "OK");
    job_wake(j);
}

void job_view_pause(struct job *j, struct core_call *call)
{
    job_move(j, call, ledger_pause);
}

void job_pause(struct core *c, struct core_call *call)
{
    struct job *j;
    if (arg_job(c, call, 2, &j))
        job_view_pause(j, call);
}

void job_view_resume(struct job *j, struct core_call *call)
{
    job_move(j, call, ledger_resume);
}

void job_resume(struct core *c, struct core_call *call)
{
    struct job *j;
    if (arg_job(c, call, 2, &j))
        job_view_resume(j, call);
}

void job_view_cancel(struct job *j, struct core_call *call)
{
    job_move(j, call, ledger_cancel);
}

void job_cancel(struct core *c, struct core_call *call)
{
    struct job *j;
    if (arg_job(c, call, 2, &j))
        job_view_cancel(j, call);
}

void job_forget(struct core *c, struct core_call *call)
{
    struct job *j;
    struct ledger_status s;
    if (!arg_job(c, call, 2, &j))
        return;
    ledger_status(j->ledger, &s);
    if (s.state == LEDGER_RUNNING || s.state == LEDGER_PAUSED) {
        reply_error(call->reply, "ERR the job has not ended; cancel it first");
        return;
    }
    job_delete(c, j);
    call->changed = true;
    reply_status(call->reply, "OK");
}

static void dispatch(struct core *c, struct core_call *call)
{
    const struct core_command *row;
    if (core_sub_find(call, &row))
        row->run(c, call);
}

/* --- the table --- */

#define G "ttg", "1.0.0"
#define W CORE_WRITE, 0, 0, 0, G
#define R CORE_READ, 0, 0, 0, G
#define WORKER CORE_WRITE | CORE_WORKER, 0, 0, 0, G

const struct core_command job_commands[] = {
    {"TTG.JOB", -2, W, "subcommand", "Creates, shows and ends jobs.", dispatch},
    {"TTG.JOB CREATE", -9, W,
     "job FIRST first LAST last CHUNK parameters [WINDOW chunks] [MAXATTEMPTS n] [RETRYMIN ms] "
     "[RETRYMAX ms] [RETRYJITTER percent] [STALE ms] [KERNEL text] [INPUT text]",
     "Creates a job, or joins in when it exists with the same spec.", job_create},
    {"TTG.JOB STATUS", 3, R, "job", "All figures of a job.", job_status},
    {"TTG.JOB LIST", 2, R, "", "All jobs.", job_list},
    {"TTG.JOB PAUSE", 3, W, "job", "Hands out no more chunks.", job_pause},
    {"TTG.JOB RESUME", 3, W, "job", "Hands out chunks again.", job_resume},
    {"TTG.JOB CANCEL", 3, W, "job", "Ends a job; later commits are refused.", job_cancel},
    {"TTG.JOB FORGET", 3, W, "job", "Deletes an ended job with its streams.", job_forget},
    {"TTG.JOIN", -6, CORE_WRITE | CORE_BLOCKING | CORE_WORKER, 0, 0, 0, G,
     "job worker incarnation SLOTS n [INFLIGHT n] [VERSION text] [HOST text] [BLOCK ms] "
     "[HELD chunk epoch [chunk epoch ...]]",
     "A worker enters a job, or comes back with what it still holds.", job_join},
    {"TTG.TAKE", -6, CORE_WRITE | CORE_BLOCKING | CORE_EARLY | CORE_WORKER, 0, 0, 0, G,
     "job worker incarnation COUNT n [BLOCK ms]", "Leases chunks.", job_take},
    {"TTG.COMMIT", -9, WORKER,
     "job worker incarnation chunk epoch duration-us <s | o> value [chunk epoch duration-us <s | "
     "o> value ...]",
     "Records results, each once.", job_commit},
    {"TTG.FAIL", 8, WORKER, "job worker incarnation chunk epoch <RETRY | FINAL> reason",
     "An attempt failed.", job_fail},
    {"TTG.RELEASE", -4, WORKER, "job worker incarnation [chunk epoch ...]",
     "Gives leases back without charge.", job_release},
    {"TTG.BEAT", -4, CORE_READ | CORE_WORKER, 0, 0, 0, G,
     "job worker incarnation [chunk epoch ...]",
     "A sign of life; says which of the chunks named are no longer held.", job_beat},
    {"TTG.LEAVE", 4, W, "job worker incarnation", "A worker goes; its leases return.", job_leave},
    {"TTG.LOST", 5, W, "job worker incarnation reason",
     "A worker is lost; what it had started is charged an attempt.", job_lost},
    {"TTG.WORKERS", 2, R, "job", "The workers of a job.", job_workers},
    {"TTG.RESULTS", -5, CORE_READ | CORE_BLOCKING, 0, 0, 0, G,
     "job cursor COUNT n [BLOCK ms] [JSON]", "Results behind a cursor.", job_results},
    {"TTG.TRIM", 3, W, "job seq", "Results up to there are safe elsewhere.", job_trim},
    {"TTG.DEAD", -2, W, "subcommand", "Dead letters.", dispatch},
    {"TTG.DEAD LIST", -3, R, "job [AFTER chunk] [COUNT n]", "Dead letters, oldest first.",
     job_dead_list},
    {"TTG.DEAD SHOW", 4, R, "job chunk", "A dead letter with its reasons.", job_dead_show},
    {"TTG.DEAD REDRIVE", 4, W, "job <ALL | chunk>", "Puts dead letters back into the queue.",
     job_dead_redrive},
    {"TTG.DEAD DROP", 4, W, "job chunk", "Gives a dead letter up for good.", job_dead_drop},
    {"TTG.EVENTS", 5, R, "job after COUNT n", "What happened to workers and chunks.", job_events},
    {"TTG.MAP", -4, R, "job CELLS n [LEASES n] [RAN n] [SINCE ms]",
     "The chunks as a strip of cells, the leases, and who ran what.", job_map},
    {"TTG.EXPLAIN", -2, R, "job [chunk]", "Why the job, or a chunk of it, is not running.",
     job_explain},
    {0},
};
