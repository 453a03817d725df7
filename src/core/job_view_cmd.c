/* SPDX-License-Identifier: Apache-2.0 */
/* Results, dead letters, events and explanations. docs/protocol.md. */
#include "core/job.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    RESULTS_BYTES_MAX = 4 << 20,
    RESULTS_COUNT_MAX = 65536,
    LIST_COUNT = 100,
    FRONT_BYTES_MAX = 256
};

static void row_str(struct reply *r, const char *name, struct str value)
{
    reply_text(r, name);
    reply_str(r, value);
}

static void row_count(struct reply *r, const char *name, uint64_t value)
{
    reply_text(r, name);
    reply_count(r, value);
}

static void view_workers(struct job *j, struct core_call *call)
{
    struct reply *r = call->reply;
    size_t mark = reply_open(r), count = 0;
    for (struct ledger_worker *w = NULL; (w = ledger_worker_next(j->ledger, w)); count++) {
        struct ledger_worker_info info;
        ledger_worker_info(w, &info);
        reply_map(r, 10);
        row_str(r, "worker", info.name);
        row_count(r, "incarnation", info.incarnation);
        row_count(r, "slots", info.slots);
        row_count(r, "foreign", info.foreign);
        row_count(r, "held", info.held);
        row_count(r, "completed", info.completed);
        row_count(r, "failed", info.failed);
        row_count(r, "lost", info.lost);
        row_count(r, "joined_ms", info.joined_ms);
        row_str(r, "host", info.host);
    }
    reply_close(r, mark, count);
}

/* --- results --- */

struct results_args {
    uint64_t cursor, count, block_ms;
    bool block, json;
};

static bool results_parse(struct core_call *call, struct results_args *a)
{
    *a = (struct results_args){0};
    if (!arg_u64(call, 2, INT64_MAX, &a->cursor))
        return false;
    if (!arg_is(call, 3, "COUNT"))
        return reply_syntax(call->reply), false;
    if (!arg_u64(call, 4, RESULTS_COUNT_MAX, &a->count))
        return false;
    for (size_t i = 5; i < call->argc; i++) {
        if (arg_is(call, i, "JSON")) {
            a->json = true;
        } else if (arg_is(call, i, "BLOCK") && i + 1 < call->argc) {
            a->block = true;
            if (!arg_u64(call, ++i, INT64_MAX / 2, &a->block_ms))
                return false;
        } else {
            return reply_syntax(call->reply), false;
        }
    }
    return true;
}

static size_t entry_bytes(struct stream_entry e)
{
    struct str name, value;
    size_t bytes = 64;
    for (size_t i = 0; i < e.pairs; i++) {
        stream_entry_field(&e, &name, &value);
        bytes += name.len + value.len + 16;
    }
    return bytes;
}

/* The entries behind the cursor, at the end of the reply: as lines or as entries. */
static int results_walk(struct reply *r, const struct job *j, const struct results_args *a,
                        uint64_t from, uint64_t *ret_last, size_t *ret_count)
{
    struct stream_iter it;
    struct stream_entry e;
    size_t bytes = 0;
    int rc = 0;
    stream_iter_open(&it, j->results, (struct stream_id){j->created_ms, from},
                     (struct stream_id){j->created_ms, UINT64_MAX}, false);
    while (*ret_count < a->count && bytes < RESULTS_BYTES_MAX && stream_iter_next(&it, &e)) {
        bytes += entry_bytes(e);
        *ret_last = e.id.seq;
        (*ret_count)++;
        if (a->json) {
            rc = job_result_line(r->out, &e);
            if (rc)
                break;
            continue;
        }
        reply_array(r, 2);
        reply_count(r, e.id.seq);
        reply_array(r, 2 * e.pairs);
        for (size_t i = 0; i < e.pairs; i++) {
            struct str name, value;
            stream_entry_field(&e, &name, &value);
            reply_str(r, name);
            reply_str(r, value);
        }
    }
    rc = rc ? rc : r->rc ? r->rc : it.rc;
    stream_iter_close(&it);
    return rc;
}

/* The array around what the walk has left behind `mark`. */
static int results_front(struct reply *r, size_t mark, const struct results_args *a, uint64_t from,
                         uint64_t last, bool ended, size_t count)
{
    struct buf front;
    buf_init(&front, FRONT_BYTES_MAX);
    struct reply inner = {.out = &front, .resp3 = r->resp3};
    reply_array(&inner, 4);
    reply_count(&inner, last);
    reply_int(&inner, ended);
    reply_count(&inner, from);
    if (a->json) {
        reply_str_head(&inner, buf_len(r->out) - mark);
        reply_str_end(r);
    } else {
        reply_array(&inner, count);
    }
    if (!inner.rc)
        reply_insert(r, mark, buf_str(&front));
    buf_done(&front);
    return inner.rc ? inner.rc : r->rc;
}

/* What stands before the entries is known only behind them. They are megabytes: it is put in front
 * of them, so that memory has them once. */
static void results_reply(struct core_call *call, const struct job *j, const struct results_args *a,
                          const struct ledger_status *s)
{
    struct reply *r = call->reply;
    uint64_t from = a->cursor + 1 > s->result_first ? a->cursor + 1 : s->result_first;
    uint64_t last = from - 1;
    size_t count = 0;
    if (!r->out || r->rc)
        return;
    size_t mark = buf_len(r->out);
    int rc = results_walk(r, j, a, from, &last, &count);
    bool ended =
        (s->state == LEDGER_FINISHED || s->state == LEDGER_CANCELED) && last == s->result_seq;
    if (!rc)
        rc = results_front(r, mark, a, from, last, ended, count);
    if (!rc)
        return;
    buf_truncate(r->out, mark);
    r->rc = rc == TTG_EFULL ? rc : 0; /* more than the client may have waiting: it has to go */
    if (!r->rc)
        reply_failure(r, rc);
}

void job_results(struct core *c, struct core_call *call)
{
    struct job *j;
    struct results_args a;
    struct ledger_status s;
    if (!arg_job(c, call, 1, &j) || !results_parse(call, &a))
        return;
    ledger_status(j->ledger, &s);
    if (a.cursor > s.result_seq) {
        reply_error(call->reply, "CURSOR %" PRIu64 " is the newest result of this job",
                    s.result_seq);
        return;
    }
    bool waits = a.cursor == s.result_seq && s.state != LEDGER_FINISHED &&
                 s.state != LEDGER_CANCELED && a.block;
    if (waits && call->may_block)
        job_park(call, a.block_ms);
    else if (waits)
        reply_null_array(call->reply);
    else
        results_reply(call, j, &a, &s);
}

void job_trim(struct core *c, struct core_call *call)
{
    struct job *j;
    struct ledger_status s;
    uint64_t seq;
    if (!arg_job(c, call, 1, &j) || !arg_u64(call, 2, INT64_MAX, &seq))
        return;
    ledger_status(j->ledger, &s);
    uint64_t first = ledger_trim(j->ledger, seq);
    call->changed = first != s.result_first;
    /* Entries that cannot be read back are dropped by a later trim, with their block. */
    if (call->changed)
        stream_trim_below(j->results, (struct stream_id){j->created_ms, first}, NULL);
    reply_count(call->reply, first);
}

/* --- dead letters --- */

static bool arg_dead(struct core_call *call, struct job *j, uint64_t *ret_chunk,
                     struct ledger_chunk_info *ret_info)
{
    if (!arg_u64(call, 3, INT64_MAX, ret_chunk))
        return false;
    ledger_chunk_info(j->ledger, *ret_chunk, ret_info);
    return true;
}

static void view_dead_list(struct job *j, struct core_call *call)
{
    struct reply *r = call->reply;
    uint64_t after = UINT64_MAX, limit = LIST_COUNT;
    for (size_t i = 3; i < call->argc; i += 2) {
        bool is_after = arg_is(call, i, "AFTER");
        if (i + 1 == call->argc || (!is_after && !arg_is(call, i, "COUNT"))) {
            reply_syntax(r);
            return;
        }
        if (!arg_u64(call, i + 1, INT64_MAX, is_after ? &after : &limit))
            return;
    }
    size_t mark = reply_open(r), count = 0;
    for (uint64_t chunk; count < limit && ledger_dead_next(j->ledger, after, &chunk);
         after = chunk, count++) {
        struct ledger_chunk_info info;
        struct ledger_reason reason = {.worker = STR(""), .text = STR("")};
        ledger_chunk_info(j->ledger, chunk, &info);
        if (info.reason_count > 0)
            ledger_chunk_reason(j->ledger, chunk, info.reason_count - 1, &reason);
        reply_map(r, 5);
        row_count(r, "chunk", chunk);
        row_count(r, "attempts", info.attempts);
        row_count(r, "dead_ms", info.since_ms);
        row_str(r, "worker", reason.worker);
        row_str(r, "reason", reason.text);
    }
    reply_close(r, mark, count);
}

static void reply_reasons(struct reply *r, const struct ledger *l, uint64_t chunk, size_t count)
{
    reply_text(r, "reasons");
    reply_array(r, count);
    for (size_t i = 0; i < count; i++) {
        struct ledger_reason reason;
        ledger_chunk_reason(l, chunk, i, &reason);
        reply_map(r, 4);
        row_count(r, "at_ms", reason.at_ms);
        row_count(r, "attempt", reason.attempt);
        row_str(r, "worker", reason.worker);
        row_str(r, "reason", reason.text);
    }
}

static void view_dead_show(struct job *j, struct core_call *call)
{
    uint64_t chunk;
    struct ledger_chunk_info info;
    struct reply *r = call->reply;
    if (!arg_dead(call, j, &chunk, &info))
        return;
    if (info.place != LEDGER_AT_DEAD) {
        reply_error(r, "NOENT that chunk is no dead letter");
        return;
    }
    int64_t first, last;
    ledger_range(j->ledger, chunk, &first, &last);
    reply_map(r, 6);
    row_count(r, "chunk", chunk);
    reply_text(r, "first");
    reply_int(r, first);
    reply_text(r, "last");
    reply_int(r, last);
    row_count(r, "attempts", info.attempts);
    row_count(r, "dead_ms", info.since_ms);
    reply_reasons(r, j->ledger, chunk, info.reason_count);
}

static void view_dead_redrive(struct job *j, struct core_call *call)
{
    uint64_t chunk, count;
    struct ledger_chunk_info info;
    if (arg_is(call, 3, "ALL"))
        count = ledger_redrive_all(j->ledger, call->now_ms);
    else if (arg_dead(call, j, &chunk, &info))
        count = ledger_redrive(j->ledger, chunk, call->now_ms);
    else
        return;
    call->changed = count > 0;
    reply_count(call->reply, count);
    job_wake(j);
}

static void view_dead_drop(struct job *j, struct core_call *call)
{
    uint64_t chunk;
    struct ledger_chunk_info info;
    if (!arg_dead(call, j, &chunk, &info))
        return;
    call->changed = ledger_drop(j->ledger, chunk, call->now_ms);
    reply_int(call->reply, call->changed);
    job_wake(j);
}

/* --- events, explanations --- */

static void view_events(struct job *j, struct core_call *call)
{
    uint64_t seq, limit;
    struct ledger_event e;
    struct reply *r = call->reply;
    if (!arg_u64(call, 2, INT64_MAX, &seq))
        return;
    if (!arg_is(call, 3, "COUNT")) {
        reply_syntax(r);
        return;
    }
    if (!arg_u64(call, 4, INT64_MAX, &limit))
        return;
    size_t mark = reply_open(r), count = 0;
    for (; count < limit && ledger_event_next(j->ledger, seq, &e); seq = e.seq, count++) {
        reply_map(r, 8);
        row_count(r, "seq", e.seq);
        row_count(r, "at_ms", e.at_ms);
        reply_text(r, "event");
        reply_text(r, ledger_event_name(e.kind));
        reply_text(r, "chunk");
        reply_int(r, e.chunk == UINT64_MAX ? -1 : (int64_t)e.chunk);
        row_str(r, "from", e.from);
        row_str(r, "to", e.to);
        row_count(r, "value", e.value);
        row_str(r, "text", e.text);
    }
    reply_close(r, mark, count);
}

#define DISK_FULL "the node's disk is full: it takes nothing until there is room"
#define NO_WORKER "no worker is here: `ttg worker` starts one"

/* Of a job on RabbitMQ there is only a ledger: the broker knows who has which chunk. */
static bool leases_are_known(const struct job *j)
{
    return j->core != NULL;
}

/* Room for a reason that names a worker. */
struct why {
    char text[LEDGER_NAME_BYTES_MAX + 160];
};

/* A chunk that could be taken and is not: it waits for a free worker, or one is free but slow. */
static const char *left_to_quicker(const struct job *j, uint64_t now_ms, struct why *why)
{
    struct ledger_worker_info info;
    const struct ledger_worker *w = leases_are_known(j) ? ledger_waiting(j->ledger, now_ms) : NULL;
    if (!w)
        return NULL;
    ledger_worker_info(w, &info);
    snprintf(why->text, sizeof why->text,
             "left to quicker workers on purpose: %.*s is free, but they will have ended all that "
             "is left before it would be through with one chunk",
             STR_ARG(info.name));
    return why->text;
}

static const char *explain_why(const struct job *j, const struct ledger_status *s,
                               const struct core_call *call, struct why *room)
{
    bool full = call->full;
    if (s->state == LEDGER_FINISHED)
        return s->dead + s->dropped ? "it ended with dead letters: `ttg dlq list` shows them"
                                    : "every chunk has its result";
    if (s->state == LEDGER_CANCELED)
        return "it was canceled: no chunk runs any more";
    if (s->state == LEDGER_PAUSED)
        return "it is paused: `ttg resume` goes on";
    if (full)
        return DISK_FULL;
    if (s->workers == 0)
        return NO_WORKER;
    if (s->ready + s->fresh > 0) {
        const char *left = left_to_quicker(j, call->now_ms, room);
        return left                  ? left
               : leases_are_known(j) ? "chunks wait for a free worker"
                                     : "chunks are with workers, or wait for one that is free";
    }
    if (s->leased == 0 && s->delayed > 0)
        return "all open chunks wait for their retry";
    return s->delayed > 0 ? "workers run all open chunks but those that wait for their retry"
                          : "workers run all open chunks";
}

static void explain_job(struct core_call *call, const struct job *j)
{
    struct ledger_status s;
    struct why why;
    struct reply *r = call->reply;
    ledger_status(j->ledger, &s);
    reply_map(r, 8);
    row_str(r, "place", str_of(job_state_text(s.state)));
    row_str(r, "why", str_of(explain_why(j, &s, call, &why)));
    row_count(r, "workers", s.workers);
    row_count(r, "leased", s.leased);
    row_count(r, "waiting", s.ready + s.fresh + s.unfed);
    row_count(r, "delayed", s.delayed);
    row_count(r, "dead_letters", s.dead);
    row_count(r, "completed", s.completed);
}

static const struct place_text {
    const char *name, *why;
} place_texts[] = {
    [LEDGER_AT_NONE] = {"none", "the job has no such chunk"},
    [LEDGER_AT_UNFED] = {"unfed", "the window has not reached it: earlier chunks are open"},
    [LEDGER_AT_FRESH] = {"fresh", "it waits for a free worker"},
    [LEDGER_AT_READY] = {"ready", "it came back and is next in line for a free worker"},
    [LEDGER_AT_DELAYED] = {"delayed", "its last attempt failed: it waits until it is due"},
    [LEDGER_AT_LEASED] = {"leased", "the worker runs it, or has it in advance"},
    [LEDGER_AT_DONE] = {"done", "its result is recorded"},
    [LEDGER_AT_DEAD] = {"dead", "it was given up: `ttg dlq redrive` tries it again"},
    [LEDGER_AT_DROPPED] = {"dropped", "it was given up for good"},
};

/* What holds up the job holds up a chunk that waits. */
static const char *place_why(const struct job *j, enum ledger_place place,
                             const struct core_call *call, struct why *room)
{
    struct ledger_status s;
    bool full = call->full;
    bool waits = place == LEDGER_AT_UNFED || place == LEDGER_AT_FRESH || place == LEDGER_AT_READY;
    ledger_status(j->ledger, &s);
    if ((waits || place == LEDGER_AT_DELAYED) && s.state == LEDGER_CANCELED)
        return "the job was canceled: it does not run any more";
    if ((waits || place == LEDGER_AT_DELAYED) && s.state == LEDGER_PAUSED)
        return "the job is paused: `ttg resume` goes on";
    if (full && (waits || place == LEDGER_AT_DELAYED || place == LEDGER_AT_LEASED))
        return DISK_FULL;
    if (waits && s.workers == 0)
        return NO_WORKER;
    if (place == LEDGER_AT_FRESH && !leases_are_known(j))
        return "it waits for a free worker, or a worker has it: only the broker knows";
    if (place == LEDGER_AT_READY && !leases_are_known(j))
        return "it is tried again: it waits for that, or a worker has it: only the broker knows";
    bool free = place == LEDGER_AT_FRESH || place == LEDGER_AT_READY;
    const char *left = free ? left_to_quicker(j, call->now_ms, room) : NULL;
    return left ? left : place_texts[place].why;
}

static void explain_chunk(struct core_call *call, const struct job *j, uint64_t chunk)
{
    struct ledger_chunk_info info;
    struct ledger_worker_info worker = {.name = STR("")};
    struct ledger_reason reason = {.text = STR("")};
    struct why why;
    struct reply *r = call->reply;
    ledger_chunk_info(j->ledger, chunk, &info);
    if (info.worker)
        ledger_worker_info(info.worker, &worker);
    if (info.reason_count > 0)
        ledger_chunk_reason(j->ledger, chunk, info.reason_count - 1, &reason);
    reply_map(r, 8);
    row_str(r, "place", str_of(place_texts[info.place].name));
    row_str(r, "why", str_of(place_why(j, info.place, call, &why)));
    row_str(r, "worker", worker.name);
    row_count(r, "attempts", info.attempts);
    row_count(r, "epoch", info.epoch);
    row_count(r, "since_ms", info.since_ms);
    row_count(r, "due_ms", info.due_ms);
    row_str(r, "reason", reason.text);
}

static void view_explain(struct job *j, struct core_call *call)
{
    uint64_t chunk;
    if (call->argc == 2)
        explain_job(call, j);
    else if (call->argc > 3)
        reply_syntax(call->reply);
    else if (arg_u64(call, 2, INT64_MAX, &chunk))
        explain_chunk(call, j, chunk);
}

/* --- the same for a node's job, and for a ledger alone --- */

typedef void job_view(struct job *j, struct core_call *call);

static void with_job(struct core *c, struct core_call *call, size_t i, job_view *view)
{
    struct job *j;
    if (arg_job(c, call, i, &j))
        view(j, call);
}

void job_workers(struct core *c, struct core_call *call)
{
    with_job(c, call, 1, view_workers);
}

void job_dead_list(struct core *c, struct core_call *call)
{
    with_job(c, call, 2, view_dead_list);
}

void job_dead_show(struct core *c, struct core_call *call)
{
    with_job(c, call, 2, view_dead_show);
}

void job_dead_redrive(struct core *c, struct core_call *call)
{
    with_job(c, call, 2, view_dead_redrive);
}

void job_dead_drop(struct core *c, struct core_call *call)
{
    with_job(c, call, 2, view_dead_drop);
}

void job_events(struct core *c, struct core_call *call)
{
    with_job(c, call, 1, view_events);
}

void job_explain(struct core *c, struct core_call *call)
{
    with_job(c, call, 1, view_explain);
}

bool job_exec_ledger(struct ledger *l, struct core_call *call)
{
    static const struct {
        const char *name, *sub;
        size_t argc;
        job_view *view;
    } rows[] = {
        {"TTG.JOB", "STATUS", 3, job_view_status}, {"TTG.JOB", "PAUSE", 3, job_view_pause},
        {"TTG.JOB", "RESUME", 3, job_view_resume}, {"TTG.JOB", "CANCEL", 3, job_view_cancel},
        {"TTG.WORKERS", NULL, 2, view_workers},    {"TTG.DEAD", "LIST", 3, view_dead_list},
        {"TTG.DEAD", "SHOW", 4, view_dead_show},   {"TTG.DEAD", "REDRIVE", 4, view_dead_redrive},
        {"TTG.DEAD", "DROP", 4, view_dead_drop},   {"TTG.EVENTS", NULL, 5, view_events},
        {"TTG.EXPLAIN", NULL, 2, view_explain},    {"TTG.MAP", NULL, 4, job_view_map},
    };
    struct job job = {.ledger = l};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (call->argc < rows[i].argc || !arg_is(call, 0, rows[i].name) ||
            (rows[i].sub && !arg_is(call, 1, rows[i].sub)))
            continue;
        rows[i].view(&job, call);
        return true;
    }
    return false;
}
