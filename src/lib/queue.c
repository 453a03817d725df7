/* SPDX-License-Identifier: Apache-2.0 */
/* The queue handle, and what is done to jobs as a whole. */
#include "base/mem.h"
#include "io/lines.h"
#include "lib/handles.h"
#include "lib/sized.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CHUNK_PARAMS = 100,
    TEXTS_BYTES_MAX = 1 << 20,
    WAIT_MS_MIN = 5,
    WAIT_MS_MAX = 250,
};

int ttg_queue_open(ttg_queue **ret_queue, const char *url, const struct ttg_queue_options *options)
{
    struct address *a = NULL;
    if (!ret_queue)
        return TTG_EINVAL;
    struct ttg_queue *q = *ret_queue = mem_zalloc(sizeof *q);
    if (!q)
        return TTG_ENOMEM;
    buf_init(&q->texts, TEXTS_BYTES_MAX);
    int rc = address_new(&a, url, options, &q->link.err);
    if (!rc)
        link_init(&q->link, a);
    return rc;
}

void ttg_queue_close(ttg_queue *q)
{
    if (!q)
        return;
    link_done(&q->link);
    buf_done(&q->texts);
    mem_free(q);
}

const char *ttg_queue_message(const ttg_queue *q)
{
    return q ? q->link.err.text : "no queue";
}

/* Whether there is something to ask, and what the job is called. */
static int begin(ttg_queue *q, const char *job, struct str *ret_job)
{
    if (!q)
        return TTG_EINVAL;
    if (!q->link.address)
        return err_set(&q->link.err, TTG_EINVAL, "the queue was not opened");
    return link_job(job, ret_job, &q->link.err);
}

/* Sends a request and frees its memory. */
static int ask(ttg_queue *q, struct queue_request *r,
               int (*on_answer)(void *ctx, int rc, struct err *err), void *ctx)
{
    int rc = link_call(&q->link, r, on_answer, ctx);
    queue_request_done(r);
    return rc;
}

/* ---- submit ---- */

static int submit_lines(const struct ttg_job_options *o, struct ledger_spec *spec,
                        struct buf *input, struct err *err)
{
    char index[PATH_MAX], text[PATH_MAX];
    struct lines_info info;
    if (o->params > 0 || o->first != 0)
        return err_set(err, TTG_EINVAL, "input_file and a range of parameters exclude each other");
    if (snprintf(index, PATH_MAX, "%s.ttg-index", o->input_file) >= PATH_MAX ||
        snprintf(text, PATH_MAX, "%s.ttg-text", o->input_file) >= PATH_MAX)
        return err_set(err, TTG_ERANGE, "the path of the input file is too long");
    struct lines_spec lines = {.path = o->input_file,
                               .index_path = index,
                               .text_path = text,
                               .chunk_lines = spec->chunk_params,
                               .separator = '\n'};
    int rc = lines_index(&lines, &info, err);
    if (rc)
        return rc;
    spec->params = info.lines;
    rc = lines_name(input, index, &info, err);
    spec->input = buf_str(input);
    return rc;
}

static struct ledger_spec spec_of(const struct ttg_job_options *o)
{
    uint32_t retry_min_ms = o->retry_min_ms ? o->retry_min_ms : LEDGER_RETRY_MIN_MS;
    uint32_t retry_max_ms = o->retry_max_ms ? o->retry_max_ms : LEDGER_RETRY_MAX_MS;
    return (struct ledger_spec){
        .first = o->first,
        .params = o->params,
        .chunk_params = o->chunk_params ? o->chunk_params : CHUNK_PARAMS,
        .window = o->window ? o->window : LEDGER_WINDOW,
        .max_attempts = o->max_attempts ? o->max_attempts : LEDGER_MAX_ATTEMPTS,
        .retry_min_ms = retry_min_ms,
        .retry_max_ms = retry_max_ms > retry_min_ms ? retry_max_ms : retry_min_ms,
        .retry_jitter = LEDGER_RETRY_JITTER,
        .retry_asked = o->retry_min_ms > 0 || o->retry_max_ms > 0,
        .stale_ms = LEDGER_STALE_MS,
        .kernel = str_of(o->kernel ? o->kernel : "function"),
        .input = STR(""),
    };
}

int ttg_job_submit(ttg_queue *q, const char *job, const struct ttg_job_options *options)
{
    struct queue_create call = {0};
    struct ttg_job_options o;
    struct buf input;
    int rc = begin(q, job, &call.call.job);
    if (rc)
        return rc;
    struct err *err = &q->link.err;
    if (!options)
        return err_set(err, TTG_EINVAL, "no options: how many parameters?");
    rc = sized_in(&o, sizeof o, options, err);
    if (rc)
        return rc;
    buf_init(&input, LEDGER_TEXT_BYTES_MAX);
    call.spec = spec_of(&o);
    if (o.input_file)
        rc = submit_lines(&o, &call.spec, &input, err);
    if (!rc)
        rc = ledger_spec_check(&call.spec, err);
    if (!rc) {
        call.unattended = true; /* nobody may ever collect from here */
        queue_request_init(&call.call.request, QUEUE_CREATE, NULL, NULL);
        rc = ask(q, &call.call.request, NULL, NULL);
    }
    buf_done(&input);
    return rc;
}

/* ---- status ---- */

struct status_call {
    struct queue_status status;
    struct ttg_status out;
};

static int on_status(void *ctx, int rc, struct err *err)
{
    struct status_call *c = ctx;
    const struct ledger_status *s = &c->status.status;
    (void)err;
    if (rc)
        return rc;
    c->out = (struct ttg_status){
        .state = (int)s->state,
        .chunks = s->chunks,
        .completed = s->completed,
        .dead = s->dead,
        .dropped = s->dropped,
        .leased = s->leased,
        .delayed = s->delayed,
        .params_total = c->status.params_total,
        .params_completed = s->params,
        .attempts = s->attempts,
        .failures = s->failures,
        .reclaimed = s->reclaimed,
        .stale_dropped = s->stale_dropped,
        .workers = s->workers,
        .workers_lost = s->workers_lost,
        .results = s->result_seq,
        .created_ms = s->created_ms,
        .finished_ms = s->finished_ms,
        .has_sum = s->sum_overflow ? -1 : s->has_sum,
    };
    if (c->out.has_sum == 1)
        c->out.sum[str_from_i128(c->out.sum, s->sum)] = '\0';
    return 0;
}

static int get_status(ttg_queue *q, struct str job, struct ttg_status *ret_status)
{
    struct status_call c = {.status.call.job = job};
    queue_request_init(&c.status.call.request, QUEUE_STATUS, NULL, NULL);
    int rc = ask(q, &c.status.call.request, on_status, &c);
    if (!rc)
        *ret_status = c.out;
    return rc;
}

int ttg_job_status(ttg_queue *q, const char *job, struct ttg_status *status)
{
    struct ttg_status s;
    struct str name;
    int rc = begin(q, job, &name);
    if (!rc && !status)
        rc = err_set(&q->link.err, TTG_EINVAL, "no room for the status");
    if (!rc)
        rc = get_status(q, name, &s);
    return rc ? rc : sized_out(status, &s, sizeof s, &q->link.err);
}

int ttg_job_wait(ttg_queue *q, const char *job, uint64_t timeout_ms, struct ttg_status *status)
{
    struct ttg_status s;
    struct str name;
    uint64_t start_ms = 0, pause_ms = WAIT_MS_MIN;
    int rc = begin(q, job, &name);
    while (!rc) {
        rc = get_status(q, name, &s);
        uint64_t now_ms = link_now_ms(&q->link);
        if (start_ms == 0)
            start_ms = now_ms;
        if (!rc && status)
            rc = sized_out(status, &s, sizeof s, &q->link.err);
        if (rc || s.state >= TTG_JOB_FINISHED)
            break;
        uint64_t left_ms = timeout_ms - (now_ms - start_ms);
        if (now_ms - start_ms >= timeout_ms)
            rc = err_set(&q->link.err, TTG_ETIMEOUT, "the job has not ended in time");
        else
            rc = link_pause(&q->link, pause_ms < left_ms ? pause_ms : left_ms);
        pause_ms = pause_ms * 3 / 2 < WAIT_MS_MAX ? pause_ms * 3 / 2 : WAIT_MS_MAX;
    }
    return rc;
}

/* ---- control ---- */

static int control(ttg_queue *q, const char *job, enum queue_control what)
{
    struct queue_control_call call = {.control = what};
    int rc = begin(q, job, &call.call.job);
    if (rc)
        return rc;
    queue_request_init(&call.call.request, QUEUE_CONTROL, NULL, NULL);
    return ask(q, &call.call.request, NULL, NULL);
}

int ttg_job_pause(ttg_queue *q, const char *job)
{
    return control(q, job, QUEUE_PAUSE);
}

int ttg_job_resume(ttg_queue *q, const char *job)
{
    return control(q, job, QUEUE_RESUME);
}

int ttg_job_cancel(ttg_queue *q, const char *job)
{
    return control(q, job, QUEUE_CANCEL);
}

int ttg_job_forget(ttg_queue *q, const char *job)
{
    struct ttg_status s;
    struct str name;
    int rc = begin(q, job, &name);
    if (!rc)
        rc = get_status(q, name, &s);
    if (!rc && s.state < TTG_JOB_FINISHED)
        rc = err_set(&q->link.err, TTG_EBUSY, "the job has not ended; cancel it first");
    return rc ? rc : control(q, job, QUEUE_FORGET);
}

/* ---- dead letters ---- */

struct dead_call {
    struct queue_dead_list list;
    struct buf *texts;
    struct ttg_dead out;
};

/* Both texts with a NUL behind each. */
static int on_dead(void *ctx, int rc, struct err *err)
{
    struct dead_call *c = ctx;
    if (rc)
        return rc;
    if (c->list.dead_count == 0)
        return err_set(err, TTG_EDONE, "no more dead letters");
    const struct queue_dead *d = &c->list.dead[0];
    buf_clear(c->texts);
    rc = buf_add_str(c->texts, d->worker) | buf_add_char(c->texts, '\0') |
         buf_add_str(c->texts, d->reason) | buf_add_char(c->texts, '\0');
    if (rc)
        return err_set(err, TTG_ENOMEM, "out of memory");
    c->out = (struct ttg_dead){.chunk = d->chunk,
                               .dead_ms = d->dead_ms,
                               .attempts = d->attempts,
                               .worker = buf_ptr(c->texts),
                               .reason = buf_ptr(c->texts) + d->worker.len + 1};
    return 0;
}

int ttg_job_dead_next(ttg_queue *q, const char *job, uint64_t after, struct ttg_dead *dead)
{
    struct dead_call c = {.list = {.from_start = after == TTG_ALL, .count = 1}};
    int rc = begin(q, job, &c.list.call.job);
    if (!rc && !dead)
        rc = err_set(&q->link.err, TTG_EINVAL, "no room for the dead letter");
    if (rc)
        return rc;
    c.list.after = c.list.from_start ? 0 : after;
    c.texts = &q->texts;
    queue_request_init(&c.list.call.request, QUEUE_DEAD_LIST, NULL, NULL);
    rc = ask(q, &c.list.call.request, on_dead, &c);
    return rc ? rc : sized_out(dead, &c.out, sizeof c.out, &q->link.err);
}

int ttg_job_redrive(ttg_queue *q, const char *job, uint64_t chunk)
{
    struct queue_dead_redrive call = {.all = chunk == TTG_ALL, .chunk = chunk};
    int rc = begin(q, job, &call.call.job);
    if (rc)
        return rc;
    queue_request_init(&call.call.request, QUEUE_DEAD_REDRIVE, NULL, NULL);
    rc = ask(q, &call.call.request, NULL, NULL);
    if (!rc && !call.all && call.redriven == 0)
        rc = err_set(&q->link.err, TTG_ENOENT, "chunk %llu is no dead letter",
                     (unsigned long long)chunk);
    return rc;
}
