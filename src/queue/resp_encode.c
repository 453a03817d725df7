/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/resp.h"

#include "base/ensure.h"

#include <ttg/version.h>

/* Words with their count, since a command announces it first. The first failure stays. */
struct words {
    struct buf *out;
    size_t count;
    int rc;
};

static void word(struct words *w, struct str s)
{
    if (!w->rc)
        w->rc = resp_word(w->out, s);
    w->count++;
}

static void word_u64(struct words *w, uint64_t value)
{
    if (!w->rc)
        w->rc = resp_word_u64(w->out, value);
    w->count++;
}

static void word_i64(struct words *w, int64_t value)
{
    if (!w->rc)
        w->rc = resp_word_i64(w->out, value);
    w->count++;
}

static void option_u64(struct words *w, struct str name, uint64_t value)
{
    word(w, name);
    word_u64(w, value);
}

static void worker_words(struct words *w, const struct queue_worker *worker)
{
    word(w, worker->name);
    word_u64(w, worker->incarnation);
}

static void leases(struct words *w, const struct queue_lease *l, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        word_u64(w, l[i].chunk);
        word_u64(w, l[i].epoch);
    }
}

static void create_words(struct words *w, const struct queue_create *c)
{
    const struct ledger_spec *s = &c->spec;
    word(w, STR("FIRST"));
    word_i64(w, s->first);
    word(w, STR("LAST"));
    /* Also right for no parameters (first - 1) and for 2^63 of them: modulo 2^64. */
    word_i64(w, (int64_t)((uint64_t)s->first + s->params - 1));
    option_u64(w, STR("CHUNK"), s->chunk_params);
    option_u64(w, STR("WINDOW"), s->window);
    option_u64(w, STR("MAXATTEMPTS"), s->max_attempts);
    option_u64(w, STR("RETRYMIN"), s->retry_min_ms);
    option_u64(w, STR("RETRYMAX"), s->retry_max_ms);
    option_u64(w, STR("RETRYJITTER"), s->retry_jitter);
    option_u64(w, STR("STALE"), s->stale_ms);
    word(w, STR("KERNEL"));
    word(w, s->kernel);
    word(w, STR("INPUT"));
    word(w, s->input);
}

static void join_words(struct words *w, const struct queue_join *j)
{
    worker_words(w, &j->worker);
    option_u64(w, STR("SLOTS"), j->slots);
    option_u64(w, STR("INFLIGHT"), j->inflight);
    word(w, STR("VERSION"));
    word(w, STR(TTG_VERSION));
    if (j->host.len > 0) {
        word(w, STR("HOST"));
        word(w, j->host);
    }
    if (j->block_ms > 0)
        option_u64(w, STR("BLOCK"), j->block_ms);
    if (j->held_count > 0)
        word(w, STR("HELD"));
    for (size_t i = 0; i < j->held_count; i++) {
        word_u64(w, j->held[i].chunk);
        word_u64(w, j->held[i].epoch);
    }
}

static void commit_words(struct words *w, const struct queue_commit *c)
{
    worker_words(w, &c->worker);
    for (size_t i = 0; i < c->count; i++) {
        const struct queue_result *r = &c->results[i];
        word_u64(w, r->chunk);
        word_u64(w, r->epoch);
        word_u64(w, r->duration_us);
        if (r->is_sum) {
            char digits[41];
            word(w, STR("s"));
            word(w, str_make(digits, str_from_i128(digits, r->sum)));
        } else {
            word(w, STR("o"));
            word(w, r->output);
        }
    }
}

static void take_words(struct words *w, const struct queue_take *take)
{
    worker_words(w, &take->worker);
    option_u64(w, STR("COUNT"), take->count);
    if (take->block_ms > 0)
        option_u64(w, STR("BLOCK"), take->block_ms);
}

static void fail_words(struct words *w, const struct queue_fail *fail)
{
    worker_words(w, &fail->worker);
    word_u64(w, fail->chunk);
    word_u64(w, fail->epoch);
    word(w, fail->final ? STR("FINAL") : STR("RETRY"));
    word(w, fail->reason);
}

/* What workers say. */
static void encode_worker(struct words *w, const struct queue_request *r)
{
    const struct queue_release *release = (const struct queue_release *)r;
    const struct queue_beat *beat = (const struct queue_beat *)r;
    const struct queue_lost *lost = (const struct queue_lost *)r;
    switch ((int)r->verb) {
    case QUEUE_JOIN:
        join_words(w, (const struct queue_join *)r);
        break;
    case QUEUE_TAKE:
        take_words(w, (const struct queue_take *)r);
        break;
    case QUEUE_COMMIT:
        commit_words(w, (const struct queue_commit *)r);
        break;
    case QUEUE_FAIL:
        fail_words(w, (const struct queue_fail *)r);
        break;
    case QUEUE_RELEASE:
        worker_words(w, &release->worker);
        leases(w, release->leases, release->count);
        break;
    case QUEUE_BEAT:
        worker_words(w, &beat->worker);
        leases(w, beat->leases, beat->count);
        break;
    case QUEUE_LEAVE:
        worker_words(w, &((const struct queue_leave *)r)->worker);
        break;
    case QUEUE_LOST:
        worker_words(w, &lost->worker);
        word(w, lost->reason);
        break;
    }
}

static void results_words(struct words *w, const struct queue_results *results)
{
    word_u64(w, results->cursor);
    option_u64(w, STR("COUNT"), results->count);
    if (results->block_ms > 0)
        option_u64(w, STR("BLOCK"), results->block_ms);
    word(w, STR("JSON"));
}

static void dead_list_words(struct words *w, const struct queue_dead_list *dead)
{
    if (!dead->from_start)
        option_u64(w, STR("AFTER"), dead->after);
    option_u64(w, STR("COUNT"), dead->count);
}

static void redrive_words(struct words *w, const struct queue_dead_redrive *redrive)
{
    if (redrive->all)
        word(w, STR("ALL"));
    else
        word_u64(w, redrive->chunk);
}

static void map_words(struct words *w, const struct queue_map *map)
{
    option_u64(w, STR("CELLS"), map->cells_max);
    option_u64(w, STR("LEASES"), map->leases_max);
    option_u64(w, STR("RAN"), map->ran_max);
    option_u64(w, STR("SINCE"), map->since_ms);
}

/* What others ask; those that name nothing but the job have no case. */
static void encode_other(struct words *w, const struct queue_request *r)
{
    const struct queue_events *events = (const struct queue_events *)r;
    const struct queue_explain *explain = (const struct queue_explain *)r;
    switch ((int)r->verb) {
    case QUEUE_CREATE:
        create_words(w, (const struct queue_create *)r);
        break;
    case QUEUE_RESULTS:
        results_words(w, (const struct queue_results *)r);
        break;
    case QUEUE_TRIM:
        word_u64(w, ((const struct queue_trim *)r)->seq);
        break;
    case QUEUE_DEAD_LIST:
        dead_list_words(w, (const struct queue_dead_list *)r);
        break;
    case QUEUE_DEAD_SHOW:
        word_u64(w, ((const struct queue_dead_show *)r)->chunk);
        break;
    case QUEUE_DEAD_REDRIVE:
        redrive_words(w, (const struct queue_dead_redrive *)r);
        break;
    case QUEUE_DEAD_DROP:
        word_u64(w, ((const struct queue_dead_drop *)r)->chunk);
        break;
    case QUEUE_EVENTS:
        word_u64(w, events->after);
        option_u64(w, STR("COUNT"), events->count);
        break;
    case QUEUE_EXPLAIN:
        if (explain->of_chunk)
            word_u64(w, explain->chunk);
        break;
    case QUEUE_MAP:
        map_words(w, (const struct queue_map *)r);
        break;
    }
}

static void encode(struct words *w, const struct queue_request *r)
{
    if (r->verb != QUEUE_LIST)
        word(w, ((const struct queue_call *)r)->job);
    if (r->verb >= QUEUE_JOIN && r->verb <= QUEUE_LOST)
        encode_worker(w, r);
    else
        encode_other(w, r);
}

int resp_encode(struct queue_request *r, size_t *ret_count)
{
    struct words w = {&r->words, 0, buf_clear_behind(&r->words, RESP_FRONT_BYTES)};
    encode(&w, r);
    *ret_count = w.count;
    return w.rc;
}

void resp_verb_name(const struct queue_request *r, struct str *ret_name, struct str *ret_sub)
{
    static const char *const names[QUEUE_VERBS][2] = {
        [QUEUE_CREATE] = {"TTG.JOB", "CREATE"},   [QUEUE_STATUS] = {"TTG.JOB", "STATUS"},
        [QUEUE_LIST] = {"TTG.JOB", "LIST"},       [QUEUE_CONTROL] = {"TTG.JOB", NULL},
        [QUEUE_JOIN] = {"TTG.JOIN", NULL},        [QUEUE_TAKE] = {"TTG.TAKE", NULL},
        [QUEUE_COMMIT] = {"TTG.COMMIT", NULL},    [QUEUE_FAIL] = {"TTG.FAIL", NULL},
        [QUEUE_RELEASE] = {"TTG.RELEASE", NULL},  [QUEUE_BEAT] = {"TTG.BEAT", NULL},
        [QUEUE_LEAVE] = {"TTG.LEAVE", NULL},      [QUEUE_LOST] = {"TTG.LOST", NULL},
        [QUEUE_WORKERS] = {"TTG.WORKERS", NULL},  [QUEUE_RESULTS] = {"TTG.RESULTS", NULL},
        [QUEUE_TRIM] = {"TTG.TRIM", NULL},        [QUEUE_DEAD_LIST] = {"TTG.DEAD", "LIST"},
        [QUEUE_DEAD_SHOW] = {"TTG.DEAD", "SHOW"}, [QUEUE_DEAD_REDRIVE] = {"TTG.DEAD", "REDRIVE"},
        [QUEUE_DEAD_DROP] = {"TTG.DEAD", "DROP"}, [QUEUE_EVENTS] = {"TTG.EVENTS", NULL},
        [QUEUE_EXPLAIN] = {"TTG.EXPLAIN", NULL},  [QUEUE_MAP] = {"TTG.MAP", NULL},
    };
    static const char *const controls[] = {[QUEUE_PAUSE] = "PAUSE",
                                           [QUEUE_RESUME] = "RESUME",
                                           [QUEUE_CANCEL] = "CANCEL",
                                           [QUEUE_FORGET] = "FORGET"};
    ensure(r->verb < QUEUE_VERBS);
    *ret_name = str_of(names[r->verb][0]);
    *ret_sub = str_of(names[r->verb][1]);
    if (r->verb == QUEUE_CONTROL)
        *ret_sub = str_of(controls[((const struct queue_control_call *)r)->control]);
}

uint64_t resp_block_ms(const struct queue_request *r)
{
    return r->verb == QUEUE_TAKE      ? ((const struct queue_take *)r)->block_ms
           : r->verb == QUEUE_RESULTS ? ((const struct queue_results *)r)->block_ms
           : r->verb == QUEUE_JOIN    ? ((const struct queue_join *)r)->block_ms
                                      : 0;
}
