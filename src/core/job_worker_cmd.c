/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of a worker: join, take, commit, fail, release, beat, leave. docs/protocol.md. */
#include "base/mem.h"
#include "core/job.h"

#include <ttg/version.h>

enum { COMMIT_WORDS = 5, BATCH_MAX = LEDGER_TAKE_MAX };

static bool arg_incarnation(struct core_call *call, uint64_t *ret_incarnation)
{
    if (!arg_u64(call, 3, INT64_MAX, ret_incarnation))
        return false;
    if (*ret_incarnation == 0)
        reply_error(call->reply, "ERR an incarnation is at least 1");
    return *ret_incarnation > 0;
}

/* The living worker of argv[2] and argv[3]. */
static bool arg_worker(struct core_call *call, struct job *j, struct ledger_worker **ret_worker)
{
    uint64_t incarnation;
    if (!arg_incarnation(call, &incarnation))
        return false;
    *ret_worker = ledger_worker(j->ledger, call->argv[2], incarnation);
    if (*ret_worker)
        return true;
    if (ledger_worker_named(j->ledger, call->argv[2]))
        reply_error(call->reply, "REPLACED a newer incarnation of this worker has joined");
    else
        reply_error(call->reply, "LOST this worker is not joined (any more): join again");
    return false;
}

/* Pairs of chunk and epoch from argv[at] on. */
static bool arg_pairs(struct core_call *call, size_t at, struct ledger_held **ret_pairs,
                      size_t *ret_count)
{
    size_t count = (call->argc - at) / 2;
    if ((call->argc - at) % 2) {
        reply_error(call->reply, "ERR chunks and epochs come in pairs");
        return false;
    }
    struct ledger_held *pairs = mem_array(count, sizeof *pairs);
    if (!pairs) {
        reply_no_memory(call->reply);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!arg_u64(call, at + 2 * i, INT64_MAX, &pairs[i].chunk) ||
            !arg_u64(call, at + 2 * i + 1, INT64_MAX, &pairs[i].epoch)) {
            mem_free(pairs);
            return false;
        }
    }
    *ret_pairs = pairs;
    *ret_count = count;
    return true;
}

/* --- join --- */

struct join_args {
    uint64_t incarnation, slots, recent, block_ms;
    bool block; /* until there is such a job */
    struct str host;
    size_t held_at; /* argc: none named */
};

static bool join_parse(struct core_call *call, struct join_args *a)
{
    struct str name = call->argv[2];
    *a = (struct join_args){.recent = LEDGER_RECENT, .held_at = call->argc};
    if (name.len == 0 || name.len > LEDGER_NAME_BYTES_MAX) {
        reply_error(call->reply, "ERR a worker's name has 1 to %d bytes", LEDGER_NAME_BYTES_MAX);
        return false;
    }
    if (!arg_incarnation(call, &a->incarnation))
        return false;
    size_t i = 4;
    for (; i < call->argc && !arg_is(call, i, "HELD"); i += 2) {
        if (i + 1 == call->argc) {
            reply_syntax(call->reply);
            return false;
        }
        bool ok = true;
        if (arg_is(call, i, "SLOTS"))
            ok = arg_u64(call, i + 1, LEDGER_SLOTS_MAX, &a->slots);
        else if (arg_is(call, i, "INFLIGHT"))
            ok = arg_u64(call, i + 1, LEDGER_RECENT_MAX, &a->recent);
        else if (arg_is(call, i, "HOST"))
            a->host = call->argv[i + 1];
        else if (arg_is(call, i, "BLOCK"))
            ok = a->block = arg_u64(call, i + 1, INT64_MAX / 2, &a->block_ms);
        else if (!arg_is(call, i, "VERSION"))
            return reply_syntax(call->reply), false;
        if (!ok)
            return false;
    }
    if (i < call->argc)
        a->held_at = i + 1;
    if (a->slots == 0)
        reply_error(call->reply, "ERR SLOTS is missing or 0");
    else if (a->host.len > LEDGER_NAME_BYTES_MAX)
        reply_error(call->reply, "ERR a host's name has at most %d bytes", LEDGER_NAME_BYTES_MAX);
    else
        return true;
    return false;
}

static void join_reply(struct core_call *call, const struct job *j, const struct ledger_held *held,
                       const struct str *words, size_t count)
{
    struct reply *r = call->reply;
    const struct ledger_spec *spec = ledger_spec(j->ledger);
    struct ledger_status s;
    ledger_status(j->ledger, &s);
    reply_map(r, 13);
    reply_text(r, "state");
    reply_text(r, job_state_text(s.state));
    reply_text(r, "boot");
    reply_int(r, (int64_t)s.boot);
    reply_text(r, "protocol");
    reply_int(r, 1);
    reply_text(r, "first");
    reply_int(r, spec->first);
    reply_text(r, "chunk_params");
    reply_count(r, spec->chunk_params);
    reply_text(r, "params_total");
    reply_count(r, spec->params);
    reply_text(r, "chunks");
    reply_count(r, s.chunks);
    reply_text(r, "max_attempts");
    reply_int(r, spec->max_attempts);
    reply_text(r, "kernel");
    reply_str(r, spec->kernel);
    reply_text(r, "input");
    reply_str(r, spec->input);
    reply_text(r, "version");
    reply_text(r, TTG_VERSION);
    reply_text(r, "created_ms");
    reply_count(r, s.created_ms);
    reply_text(r, "held");
    reply_array(r, 2 * count);
    for (size_t i = 0; i < count; i++) {
        int64_t chunk = 0;
        args_parse_i64(words[2 * i], &chunk);
        reply_int(r, chunk);
        reply_int(r, (int64_t)held[i].epoch);
    }
}

void job_join(struct core *c, struct core_call *call)
{
    struct job *j;
    struct join_args a;
    struct ledger_held *held = NULL;
    size_t count = 0;
    struct ledger_worker *w;
    if (!join_parse(call, &a))
        return;
    if (a.block && call->may_block && !job_find(c, call->argv[1])) {
        job_park(call, a.block_ms);
        return;
    }
    if (!arg_job(c, call, 1, &j) || !arg_pairs(call, a.held_at, &held, &count))
        return;
    int rc = ledger_join(j->ledger, call->argv[2], a.incarnation, call->client, (uint32_t)a.slots,
                         (uint32_t)a.recent, held, count, call->now_ms, &w);
    if (rc == TTG_ESTALE) {
        reply_error(call->reply, "REPLACED a newer incarnation of this worker has joined");
    } else if (rc) {
        reply_no_memory(call->reply);
    } else {
        call->changed = true;
        ledger_worker_set_host(w, a.host); /* without memory for it: not known */
        join_reply(call, j, held, call->argv + a.held_at, count);
        job_wake(j);
    }
    mem_free(held);
}

/* --- take --- */

static bool take_parse(struct core_call *call, uint64_t *ret_count, bool *ret_block,
                       uint64_t *ret_block_ms)
{
    if (!arg_is(call, 4, "COUNT") || (call->argc != 6 && call->argc != 8)) {
        reply_syntax(call->reply);
        return false;
    }
    if (!arg_u64(call, 5, LEDGER_TAKE_MAX, ret_count))
        return false;
    *ret_block = call->argc == 8;
    if (*ret_block && !arg_is(call, 6, "BLOCK"))
        return reply_syntax(call->reply), false;
    return !*ret_block || arg_u64(call, 7, INT64_MAX / 2, ret_block_ms);
}

static void take_reply(struct core_call *call, const struct job *j, const struct ledger_run *runs,
                       size_t count)
{
    struct ledger_status s;
    struct reply *r = call->reply;
    if (!r->out)
        return;
    ledger_status(j->ledger, &s);
    reply_array(r, 1 + 4 * count);
    reply_int(r, s.state);
    for (size_t i = 0; i < count; i++) {
        reply_int(r, (int64_t)runs[i].chunk);
        reply_int(r, (int64_t)runs[i].count);
        reply_int(r, (int64_t)runs[i].epoch);
        reply_int(r, runs[i].attempt);
    }
}

void job_park(struct core_call *call, uint64_t block_ms)
{
    call->blocked = true;
    call->block_until_ms = block_ms ? call->now_ms + block_ms : 0;
    call->key_at = 1;
    call->key_count = 1;
}

void job_take(struct core *c, struct core_call *call)
{
    struct job *j;
    struct ledger_worker *w;
    uint64_t count = 0, block_ms = 0;
    bool block;
    if (!arg_job(c, call, 1, &j) || !take_parse(call, &count, &block, &block_ms) ||
        !arg_worker(call, j, &w))
        return;
    struct ledger_run few[64], *runs = few;
    size_t run_count = 0;
    if (count > sizeof few / sizeof *few)
        runs = mem_array((size_t)count, sizeof *runs);
    uint64_t wait_ms = 0;
    if (call->may_block) /* else it is a replay: what is in the log did not wait */
        wait_ms = ledger_wait_ms(j->ledger, w, call->client, call->now_ms);
    int rc = wait_ms ? TTG_EAGAIN : TTG_ENOMEM;
    if (runs && !wait_ms)
        rc = ledger_take(j->ledger, w, call->client, count, call->now_ms, runs, &run_count);
    call->changed = rc == 0;
    if (rc == TTG_EAGAIN && block && call->may_block) {
        job_park(call, block_ms);
        call->retry_ms = wait_ms;
    } else if (rc == TTG_EAGAIN && block) {
        reply_null_array(call->reply);
    } else if (rc == TTG_ENOMEM) {
        reply_no_memory(call->reply);
    } else if (rc == TTG_ESTALE) {
        reply_error(call->reply, "LOST this worker has to join on this connection before it takes");
    } else if (rc == TTG_EFULL) {
        reply_error(call->reply, "ERR epochs are used up; restart the node");
    } else {
        take_reply(call, j, runs, run_count);
    }
    if (runs != few)
        mem_free(runs);
}

/* --- commit --- */

static const char *const verdicts[] = {
    [LEDGER_ACCEPTED] = "accepted", [LEDGER_AGAIN] = "again",     [LEDGER_STALE] = "stale",
    [LEDGER_REFUSED] = "refused",   [LEDGER_INVALID] = "invalid", [LEDGER_NO_MEMORY] = "invalid",
};

static bool number_of(struct str s, uint64_t *ret_value)
{
    return str_to_u64(s, ret_value) == 0 && *ret_value <= INT64_MAX;
}

static enum ledger_verdict commit_one(struct core_call *call, struct job *j, uint64_t incarnation,
                                      const struct str *words)
{
    struct ledger_result r = {.value = words[4]};
    bool ok = number_of(words[0], &r.chunk) && number_of(words[1], &r.epoch) &&
              number_of(words[2], &r.duration_us) && words[4].len <= JOB_VALUE_BYTES_MAX &&
              words[3].len == 1 &&
              (words[3].ptr[0] == LEDGER_SUM || words[3].ptr[0] == LEDGER_OUTPUT);
    if (!ok)
        return LEDGER_INVALID;
    r.kind = (enum ledger_kind)words[3].ptr[0];
    return ledger_commit(j->ledger, call->argv[2], incarnation, &r, call->now_ms);
}

void job_commit(struct core *c, struct core_call *call)
{
    struct job *j;
    uint64_t incarnation;
    if (!arg_job(c, call, 1, &j) || !arg_incarnation(call, &incarnation))
        return;
    size_t words = call->argc - 4;
    if (words % COMMIT_WORDS || words / COMMIT_WORDS > BATCH_MAX) {
        reply_error(call->reply,
                    "ERR up to %d results of 5 words each: chunk epoch duration_us "
                    "kind value",
                    BATCH_MAX);
        return;
    }
    if (call->argv[2].len == 0 || call->argv[2].len > LEDGER_NAME_BYTES_MAX) {
        reply_error(call->reply, "ERR a worker's name has 1 to %d bytes", LEDGER_NAME_BYTES_MAX);
        return;
    }
    uint64_t accepted = 0;
    size_t exceptions = 0;
    bool stale = false;
    struct buf others; /* they come behind the count, which is known at the end */
    buf_init(&others, SIZE_MAX / 2);
    struct reply late = {.out = call->reply->out ? &others : NULL, .resp3 = call->reply->resp3};
    for (size_t i = 4; i < call->argc; i += COMMIT_WORDS) {
        enum ledger_verdict verdict = commit_one(call, j, incarnation, call->argv + i);
        stale |= verdict == LEDGER_STALE;
        if (verdict == LEDGER_ACCEPTED) {
            accepted++;
            continue;
        }
        reply_str(&late, call->argv[i]);
        reply_text(&late, verdicts[verdict]);
        exceptions++;
    }
    call->changed = accepted > 0 || stale;
    reply_array(call->reply, 1 + 2 * exceptions);
    reply_int(call->reply, (int64_t)accepted);
    reply_raw(call->reply, buf_str(&others));
    if (late.rc && !call->reply->rc)
        call->reply->rc = late.rc;
    buf_done(&others);
    job_wake(j);
}

/* --- the other ends of a lease --- */

void job_fail(struct core *c, struct core_call *call)
{
    static const char *const fates[] = {
        [LEDGER_RETRY] = "retry", [LEDGER_DEAD] = "dead", [LEDGER_FAIL_STALE] = "stale"};
    struct job *j;
    uint64_t incarnation, chunk, epoch, retry_ms;
    enum ledger_fate fate;
    if (!arg_job(c, call, 1, &j) || !arg_incarnation(call, &incarnation) ||
        !arg_u64(call, 4, INT64_MAX, &chunk) || !arg_u64(call, 5, INT64_MAX, &epoch))
        return;
    bool final = arg_is(call, 6, "FINAL");
    if (!final && !arg_is(call, 6, "RETRY")) {
        reply_syntax(call->reply);
        return;
    }
    ledger_fail(j->ledger, chunk, epoch, final, call->argv[7], call->now_ms, &fate, &retry_ms);
    call->changed = fate != LEDGER_FAIL_STALE;
    reply_array(call->reply, 2);
    reply_text(call->reply, fates[fate]);
    reply_int(call->reply, fate == LEDGER_RETRY ? (int64_t)(retry_ms - call->now_ms) : 0);
    job_wake(j);
}

void job_release(struct core *c, struct core_call *call)
{
    struct job *j;
    struct ledger_worker *w;
    struct ledger_held *pairs;
    size_t count;
    uint64_t released = 0;
    if (!arg_job(c, call, 1, &j) || !arg_worker(call, j, &w) || !arg_pairs(call, 4, &pairs, &count))
        return;
    if (count == 0)
        released = ledger_release_all(j->ledger, w, call->now_ms);
    for (size_t i = 0; i < count; i++)
        released += ledger_release(j->ledger, pairs[i].chunk, pairs[i].epoch, call->now_ms);
    mem_free(pairs);
    call->changed = released > 0;
    reply_int(call->reply, (int64_t)released);
    job_wake(j);
}

void job_beat(struct core *c, struct core_call *call)
{
    struct job *j;
    struct ledger_worker *w;
    struct ledger_held *pairs;
    struct ledger_status s;
    size_t count, lost = 0;
    if (!arg_job(c, call, 1, &j) || !arg_worker(call, j, &w) || !arg_pairs(call, 4, &pairs, &count))
        return;
    for (size_t i = 0; i < count; i++)
        if (!ledger_holds(j->ledger, pairs[i].chunk, pairs[i].epoch))
            pairs[lost++] = pairs[i];
    ledger_status(j->ledger, &s);
    reply_array(call->reply, 2 + lost);
    reply_int(call->reply, s.state);
    reply_count(call->reply, s.chunks - s.completed - s.dead - s.dropped);
    for (size_t i = 0; i < lost; i++)
        reply_int(call->reply, (int64_t)pairs[i].chunk);
    mem_free(pairs);
}

void job_leave(struct core *c, struct core_call *call)
{
    struct job *j;
    struct ledger_worker *w;
    if (!arg_job(c, call, 1, &j) || !arg_worker(call, j, &w))
        return;
    call->changed = true;
    reply_int(call->reply, (int64_t)ledger_leave(j->ledger, w, call->now_ms));
    job_wake(j);
}

void job_lost(struct core *c, struct core_call *call)
{
    struct job *j;
    struct ledger_worker *w;
    uint64_t incarnation;
    if (!arg_job(c, call, 1, &j) || !arg_incarnation(call, &incarnation))
        return;
    if (ledger_lost_reason(j->ledger, call->argv[2], incarnation, call->argv[4])) {
        call->changed = true;
        reply_int(call->reply, 0);
        return;
    }
    if (!arg_worker(call, j, &w))
        return;
    call->changed = true;
    reply_int(call->reply, (int64_t)ledger_lost(j->ledger, w, call->argv[4], call->now_ms));
    job_wake(j);
}
