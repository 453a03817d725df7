/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about a job and commands to it, from here or from another process: they are the
 * commands of a node's protocol, run against the ledger. What they change is carried to the broker
 * before they are answered: the marker says what the job's state is, a dead letter goes back to the
 * tasks or away. Each step may be repeated, so a command that was cut off is simply sent again. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/job.h"
#include "queue/amqp_collector.h"
#include "queue/resp.h"
#include "wire/message.h"
#include "wire/resp.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPLY_BYTES_MAX = 64 << 20, REPLY_TO_BYTES = 300, ARGS_MAX = 16 };

struct verb {
    struct queue_request *request; /* of ours, or */
    char reply_to[REPLY_TO_BYTES];
    uint64_t tag;
    struct buf reply;
    unsigned left; /* steps under way */
    int rc;
    bool drop, yields;
    uint64_t *chunks; /* dead letters to move, sorted; those that are done are at the end */
    size_t count;
    bool *met;
    uint64_t *kept; /* letters that are not meant: they go back */
    size_t kept_count, kept_cap;
};

static void verb_end(struct amqp_engine *e, struct verb *v)
{
    struct err err = {0};
    bool gone = v->rc == TTG_ECLOSED || v->rc == TTG_ECANCELED, yields = v->yields;
    struct queue_request *r = v->request;
    if (v->rc && !gone) {
        struct reply reply = {.out = &v->reply};
        buf_clear(&v->reply);
        reply_error(&reply, "MISCONF the broker could not keep it");
    }
    if (r && !gone) {
        int rc = resp_decode(r, buf_str(&v->reply), &e->scratch, &err);
        /* Dead letters that were moved back are known only after the letters were looked at. */
        if (!rc && r->verb == QUEUE_STATUS && e->collector->stage == CREATED)
            ((struct queue_status *)r)->status.state = e->marker.state;
        queue_finish(r, rc, rc ? &err : NULL);
    } else if (!gone) {
        struct amqp_call call = {.op = AMQP_REPLY,
                                 .queue = str_of(v->reply_to),
                                 .tag = v->tag,
                                 .body = buf_str(&v->reply)};
        amqp_post(e, &call, NULL, NULL);
    }
    buf_done(&v->reply);
    mem_free(v->chunks);
    mem_free(v->met);
    mem_free(v->kept);
    mem_free(v);
    if (yields && !gone) {
        err_set(&err, TTG_ECLOSED, "a collector comes");
        amqp_cut(e, &err);
    }
}

static void step_done(struct amqp_engine *e, struct verb *v, int rc)
{
    if (rc && !v->rc)
        v->rc = rc;
    if (--v->left == 0)
        verb_end(e, v);
}

static void on_step(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)event;
    step_done(e, ctx, rc);
}

/* Deleting what is not there is fine. */
static void on_deleted(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    (void)event;
    step_done(e, ctx, rc == TTG_ENOENT ? 0 : rc);
}

/* --- the job's state --- */

static void state_changed(struct amqp_engine *e, struct verb *v)
{
    struct amqp_collector *c = e->collector;
    struct ledger_status s;
    ledger_status(c->ledger, &s);
    if (e->marker.state == s.state)
        return;
    e->marker.state = s.state;
    e->marker.dead = s.state == LEDGER_FINISHED ? s.dead : 0;
    v->left++;
    collector_mark(e, on_step, v);
    amqp_announce(e, s.state == LEDGER_PAUSED    ? STR("paused")
                     : s.state == LEDGER_RUNNING ? STR("running")
                                                 : STR("ended"));
    if (s.state == LEDGER_CANCELED)
        collector_purge_tasks(e);
    collector_feed(e);
    collector_check_end(e);
}

static void forget_queue(struct amqp_engine *e, struct verb *v, const char *queue)
{
    struct amqp_call call = {.op = AMQP_DELETE, .queue = str_of(queue)};
    v->left++;
    amqp_post(e, &call, on_deleted, v);
}

/* The marker goes last: who was cut off on the way finds a job that has ended, and goes on. */
static void forget(struct amqp_engine *e, struct verb *v, struct reply *r)
{
    const struct amqp_names *n = &e->names;
    const char *queues[] = {n->tasks, n->suspect, n->retry, n->results,
                            n->dlq,   n->notes,   n->state, n->job};
    uint32_t ms[AMQP_RETRIES_MAX];
    size_t count = amqp_retry_all(&e->marker.spec, ms);
    struct ledger_status s;
    ledger_status(e->collector->ledger, &s);
    if (s.state < LEDGER_FINISHED && !amqp_marker_ended(&e->marker)) {
        reply_error(r, "ERR the job has not ended; cancel it first");
        return;
    }
    collector_consume_no_more(e);
    for (size_t i = 0; i < count; i++) {
        char queue[AMQP_NAME_BYTES];
        amqp_retry_name(n, ms[i], queue);
        forget_queue(e, v, queue);
    }
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++)
        forget_queue(e, v, queues[i]);
    v->yields = true; /* nothing is left to look at */
    reply_status(r, "OK");
}

/* --- dead letters --- */

static int compare_chunks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Before the ledger forgets which they were. */
static void choose_letters(struct amqp_engine *e, struct verb *v, const struct core_call *call)
{
    const struct ledger *l = e->collector->ledger;
    struct ledger_chunk_info info;
    uint64_t chunk, after = UINT64_MAX;
    size_t cap = 0;
    if (call->argc < 4)
        return;
    if (str_to_u64(call->argv[3], &chunk) == 0) {
        ledger_chunk_info(l, chunk, &info);
        if (info.place != LEDGER_AT_DEAD)
            return;
        v->chunks = collector_room(NULL, 0, &cap, sizeof *v->chunks);
        v->chunks[v->count++] = chunk;
    } else {
        for (; ledger_dead_next(l, after, &chunk); after = chunk) {
            v->chunks = collector_room(v->chunks, v->count, &cap, sizeof *v->chunks);
            v->chunks[v->count++] = chunk;
        }
    }
    if (v->count > 0) {
        qsort(v->chunks, v->count, sizeof *v->chunks, compare_chunks);
        v->met = mem_zalloc(v->count * sizeof *v->met);
        ensure(v->met != NULL);
    }
}

struct letter {
    struct verb *verb;
    uint64_t tag; /* 0: there was none */
};

/* The chunk waits again, or a note says that it is dropped: now the letter may go. */
static void on_moved(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct letter *l = ctx;
    struct amqp_call call = {.op = AMQP_ACK, .tag = l->tag, .flags = AMQP_ON_GET};
    (void)event;
    if (!rc && l->tag > 0)
        amqp_post(e, &call, NULL, NULL);
    step_done(e, l->verb, rc);
    mem_free(l);
}

static void move_letter(struct amqp_engine *e, struct verb *v, uint64_t chunk, uint64_t tag,
                        struct str history)
{
    struct letter *l = mem_zalloc(sizeof *l);
    char id[MESSAGE_CHUNK_ID_BYTES], now[CLOCK_TEXT_BYTES];
    ensure(l != NULL);
    *l = (struct letter){v, tag};
    struct amqp_call call;
    if (v->drop) {
        clock_text(now, amqp_wall_ms());
        struct message_result m = {.chunk_id = str_make(id, message_chunk_id(id, chunk)),
                                   .status = STR("dropped"),
                                   .completed_at = str_of(now)};
        buf_clear(&e->text);
        int rc = message_add_result(&e->text, &m);
        ensure(rc == 0);
        call = (struct amqp_call){
            .op = AMQP_PUBLISH, .queue = str_of(e->names.notes), .body = buf_str(&e->text)};
    } else {
        call = collector_task(e, chunk, true);
        call.history = history;
        if (chunk < e->collector->next)
            e->collector->open++;
    }
    v->left++;
    amqp_post(e, &call, on_moved, l);
}

/* Whoever counts results, because nobody collects, counts this chunk no more. */
static void take_notices(struct amqp_engine *e, const struct verb *v)
{
    struct amqp_collector *c = e->collector;
    for (size_t i = 0; i < c->notice_count; i++) {
        const struct notice *n = &c->notices[i];
        struct amqp_call call = {.op = AMQP_ACK, .tag = n->tag};
        if (n->gen == e->gen &&
            bsearch(&n->chunk, v->chunks, v->count, sizeof *v->chunks, compare_chunks)) {
            amqp_post(e, &call, NULL, NULL);
            c->notices[i--] = c->notices[--c->notice_count];
        }
    }
}

static void next_letter(struct amqp_engine *e, struct verb *v);

static void letters_end(struct amqp_engine *e, struct verb *v)
{
    for (size_t i = 0; i < v->kept_count; i++) {
        struct amqp_call call = {.op = AMQP_NACK, .tag = v->kept[i], .flags = AMQP_ON_GET};
        amqp_post(e, &call, NULL, NULL);
    }
    for (size_t i = 0; i < v->count; i++)
        if (!v->met[i])
            move_letter(e, v, v->chunks[i], 0, STR(""));
    if (!v->drop)
        take_notices(e, v);
    step_done(e, v, 0);
}

static void on_letter(struct amqp_engine *e, void *ctx, int rc, const struct amqp_event *event)
{
    struct verb *v = ctx;
    struct message_task task;
    struct buf room;
    struct err err;
    uint64_t chunk, *at = NULL;
    if (rc || !event) {
        step_done(e, v, rc ? rc : TTG_ECLOSED);
        return;
    }
    if (!event->found) {
        letters_end(e, v);
        return;
    }
    buf_init(&room, MESSAGE_EXTRA_BYTES_MAX);
    if (message_read_task(&task, event->body, &room, &err) == 0 &&
        message_chunk_number(task.chunk_id, &chunk) == 0)
        at = bsearch(&chunk, v->chunks, v->count, sizeof *v->chunks, compare_chunks);
    buf_done(&room);
    if (at && !v->met[at - v->chunks]) {
        v->met[at - v->chunks] = true;
        move_letter(e, v, *at, event->tag, event->extra);
    } else if (at) { /* a second letter of the same chunk */
        struct amqp_call call = {.op = AMQP_ACK, .tag = event->tag, .flags = AMQP_ON_GET};
        amqp_post(e, &call, NULL, NULL);
    } else {
        v->kept = collector_room(v->kept, v->kept_count, &v->kept_cap, sizeof *v->kept);
        v->kept[v->kept_count++] = event->tag;
    }
    next_letter(e, v);
}

static void next_letter(struct amqp_engine *e, struct verb *v)
{
    struct amqp_call call = {.op = AMQP_GET, .queue = str_of(e->names.dlq)};
    amqp_post(e, &call, on_letter, v);
}

static bool is_word(const struct core_call *call, size_t i, const char *word)
{
    return i < call->argc && str_eq_nocase(call->argv[i], str_of(word));
}

/* --- results for onlookers --- */

/* What is safe in the output stays in its order, also when the collector dies; so that much is
 * shown. */
static void show_results(struct amqp_engine *e, const struct core_call *call)
{
    struct amqp_collector *c = e->collector;
    struct reply *r = call->reply;
    struct ledger_status s;
    uint64_t cursor, count, last;
    if (call->argc < 5 || str_to_u64(call->argv[2], &cursor) || str_to_u64(call->argv[4], &count)) {
        reply_error(r, "ERR syntax error");
        return;
    }
    ledger_status(c->ledger, &s);
    uint64_t newest = c->visiting ? c->seq : c->saved_seq > 0 ? c->saved_seq : c->given_seq;
    struct str lines = amqp_lines_behind(&c->lines, cursor, count, newest, &last);
    bool ended = s.state >= LEDGER_FINISHED && last >= c->seq;
    bool gap = is_word(call, 5, "BLOCK") && collector_is_awaited(e, cursor);
    if (gap || (lines.len == 0 && !ended)) {
        reply_null_array(r);
        return;
    }
    reply_array(r, 4);
    reply_int(r, (int64_t)last);
    reply_int(r, ended);
    reply_int(r, (int64_t)(cursor + 1 > c->lines.first ? cursor + 1 : c->lines.first));
    reply_str(r, lines);
}

/* --- running a command --- */

static void run_ledger(struct amqp_engine *e, struct verb *v, struct core_call *call)
{
    bool redrive = is_word(call, 0, "TTG.DEAD") && is_word(call, 1, "REDRIVE");
    v->drop = is_word(call, 0, "TTG.DEAD") && is_word(call, 1, "DROP");
    if (redrive || v->drop)
        choose_letters(e, v, call);
    if (!job_exec_ledger(e->collector->ledger, call)) {
        reply_error(call->reply, "ERR a job on RabbitMQ does not do that");
        return;
    }
    if (!call->changed)
        return;
    if (v->count > 0) {
        v->left++;
        next_letter(e, v);
    }
    state_changed(e, v);
}

static void run_command(struct amqp_engine *e, struct verb *v, struct core_call *call)
{
    struct amqp_collector *c = e->collector;
    bool here = v->request != NULL;
    if (is_word(call, 0, "TTG.YIELD") && c->visiting) {
        v->yields = true;
        c->yield_until_ms = loop_now_ms(e->queue.loop) + YIELD_MS;
        reply_status(call->reply, "OK");
    } else if (is_word(call, 0, "TTG.YIELD")) {
        reply_error(call->reply, "JOBBUSY the job's results are being collected");
    } else if (c->stage < (here && !c->visiting ? CREATED : RUNNING) ||
               (c->stage >= ENDING && !here)) {
        reply_error(call->reply, "LOADING the ledger is on its way");
    } else if (is_word(call, 0, "TTG.RESULTS")) {
        show_results(e, call);
    } else if (is_word(call, 0, "TTG.TRIM")) {
        reply_error(call->reply, "ERR the job's results are being collected by another process");
    } else if (is_word(call, 1, "FORGET")) {
        if (c->visiting)
            forget(e, v, call->reply);
        else
            reply_error(call->reply, "LIVEJOB the job's results are being collected");
    } else {
        run_ledger(e, v, call);
    }
}

static void run(struct amqp_engine *e, struct verb *v, struct str words)
{
    static const struct resp_limits limits = {.args_max = ARGS_MAX, .bulk_bytes_max = 1 << 20};
    struct resp_request parsed;
    struct reply reply = {.out = &v->reply};
    struct core_call call = {.now_ms = amqp_wall_ms(), .reply = &reply};
    struct err err;
    size_t bytes;
    resp_request_init(&parsed);
    v->left = 1;
    if (resp_parse(&parsed, &limits, words, &bytes, &err) == 1 && parsed.argc > 0) {
        call.argc = parsed.argc;
        call.argv = parsed.argv;
        run_command(e, v, &call);
    } else {
        reply_error(&reply, "ERR this is no command");
    }
    resp_request_done(&parsed);
    step_done(e, v, 0);
}

static struct verb *verb_new(void)
{
    struct verb *v = mem_zalloc(sizeof *v);
    ensure(v != NULL); /* as in amqp_post */
    buf_init(&v->reply, REPLY_BYTES_MAX);
    return v;
}

int collector_words(struct queue_request *r, struct buf *out)
{
    struct str name, sub;
    size_t count;
    int rc = resp_encode(r, &count);
    resp_verb_name(r, &name, &sub);
    rc = rc ? rc : resp_command(out, count + (sub.len > 0 ? 2 : 1));
    rc = rc ? rc : resp_word(out, name);
    if (!rc && sub.len > 0)
        rc = resp_word(out, sub);
    return rc ? rc : buf_add_str(out, buf_str(&r->words));
}

void collector_run(struct amqp_engine *e, struct queue_request *r)
{
    struct verb *v = verb_new();
    struct buf words;
    buf_init(&words, REPLY_BYTES_MAX);
    v->request = r;
    int rc = collector_words(r, &words);
    ensure(rc == 0);
    run(e, v, buf_str(&words));
    buf_done(&words);
}

void collector_asked(struct amqp_engine *e, const struct amqp_event *event)
{
    struct verb *v = verb_new();
    snprintf(v->reply_to, sizeof v->reply_to, "%.*s", STR_ARG(event->extra));
    v->tag = event->tag;
    run(e, v, event->body);
}
