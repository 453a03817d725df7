/* SPDX-License-Identifier: Apache-2.0 */
/* The dialect of the RESP engine for Redis 6.2 and later, without anything installed there.
 *
 * Each TTG.* command is a script (src/queue/redis/), so that it is atomic and no process has to
 * survive. Scripts are called by their hash; a server that does not know one (it restarted, or
 * SCRIPT FLUSH) says NOSCRIPT and gets the text. Results are read without a script: a look, which
 * also takes in what plain clients added, and an XRANGE, in one MULTI. The cursor of a result is
 * its entry's id, 42 bits of milliseconds and 22 of sequence.
 *
 * Each call names the server that the connection was made to, so that the first one on another
 * server notices (docs/decisions/redis-failover.md). With `redis_wait` a change counts, and so does
 * what was read, once that many replicas have it: a WAIT follows. */
#include "queue/redis.h"

#include "base/ensure.h"
#include "queue/resp.h"
#include "wire/message.h"

#include <stdio.h>

enum { KEY_BYTES = 128, WAIT_MS = 1000 };

static bool on_cluster(const struct queue *q)
{
    return q->config->url->scheme == URL_REDIS_CLUSTER;
}

/* ttg:job for the default job, ttg:{NAME}:job for others and on a cluster: the hash tag keeps a
 * job's keys in one slot. */
static struct str job_key(const struct queue *q, char out[KEY_BYTES], struct str job,
                          const char *what)
{
    int n = str_eq(job, STR("default")) && !on_cluster(q)
                ? snprintf(out, KEY_BYTES, "ttg:%s", what)
                : snprintf(out, KEY_BYTES, "ttg:{%.*s}:%s", STR_ARG(job), what);
    return str_make(out, (size_t)n);
}

static const struct redis_script *script_of(const struct queue_request *r)
{
    static const char *const names[QUEUE_VERBS] = {
        [QUEUE_CREATE] = "create",       [QUEUE_STATUS] = "status",
        [QUEUE_LIST] = "list",           [QUEUE_CONTROL] = "control",
        [QUEUE_JOIN] = "join",           [QUEUE_TAKE] = "take",
        [QUEUE_COMMIT] = "commit",       [QUEUE_FAIL] = "fail",
        [QUEUE_RELEASE] = "release",     [QUEUE_BEAT] = "beat",
        [QUEUE_LEAVE] = "leave",         [QUEUE_LOST] = "lost",
        [QUEUE_WORKERS] = "workers",     [QUEUE_RESULTS] = "look",
        [QUEUE_TRIM] = "trim",           [QUEUE_DEAD_LIST] = "dead_list",
        [QUEUE_DEAD_SHOW] = "dead_show", [QUEUE_DEAD_REDRIVE] = "dead_redrive",
        [QUEUE_DEAD_DROP] = "dead_drop", [QUEUE_EVENTS] = "events",
        [QUEUE_EXPLAIN] = "explain",     [QUEUE_MAP] = "map",
    };
    const struct redis_script *s = redis_scripts;
    while (s->name && strcmp(s->name, names[r->verb]) != 0)
        s++;
    ensure(s->name);
    return s;
}

/* --- requests --- */

static int put_id(struct buf *out, const char *before, uint64_t cursor)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s%llu-%llu", before,
                     (unsigned long long)(cursor >> REDIS_SEQ_BITS),
                     (unsigned long long)(cursor & ((1u << REDIS_SEQ_BITS) - 1)));
    return resp_word(out, str_make(text, (size_t)n));
}

static int option(struct buf *b, const char *name, uint64_t value)
{
    int rc = resp_word(b, str_of(name));
    return rc ? rc : resp_word_u64(b, value);
}

/* What the scripts cannot compute: numbers past 2^53. */
static int create_more(struct queue_create *c, struct buf *b, size_t *count)
{
    const struct ledger_spec *s = &c->spec;
    uint64_t whole = s->params / s->chunk_params, rest = s->params % s->chunk_params;
    uint64_t last = rest ? rest : s->params ? s->chunk_params : 0;
    *count += 6;
    int rc = option(b, "CHUNKS", whole + (rest > 0));
    if (!rc)
        rc = option(b, "LASTCOUNT", last);
    return rc ? rc : option(b, "PARAMS", s->params);
}

/* One result as the script takes it. A script has no way to tell bytes from text, nor XXH3, and
 * makes texts of numbers slowly: all that is done here. `digest` gets what it adds. */
static int result_words(const struct queue_result *r, struct buf *b, struct buf *packed,
                        uint64_t digest[2])
{
    char summary[LEDGER_SUMMARY_BYTES], seconds[48];
    struct str field = STR("output"), value = r->output;
    int rc = 0, len;
    if (r->is_sum) {
        field = STR("result_summary");
        value = str_make(summary, ledger_summary_text(summary, r->sum, r->params));
    }
    ledger_result_digest(r->chunk, r->is_sum ? 's' : 'o', value, digest);
    if (!r->is_sum && !str_is_utf8(value)) {
        field = STR("output_base64");
        buf_clear(packed);
        rc = buf_add_base64(packed, value);
        value = buf_str(packed);
    }
    if (!rc)
        rc = resp_word_u64(b, r->chunk);
    if (!rc)
        rc = resp_word_u64(b, r->epoch);
    len = snprintf(seconds, sizeof seconds, "%llu.%06llu",
                   (unsigned long long)r->duration_us / 1000000,
                   (unsigned long long)r->duration_us % 1000000);
    if (!rc)
        rc = resp_word(b, str_make(seconds, (size_t)len));
    if (!rc)
        rc = resp_word(b, field);
    return rc ? rc : resp_word(b, value);
}

/* What it adds to the totals, for the case that not all are accepted. */
static int add_parts(struct buf *parts, const struct queue_result *r, const uint64_t digest[2])
{
    char digits[41] = "";
    size_t len = r->is_sum ? str_from_i128(digits, r->sum) : 0;
    return buf_printf(parts, "%lld %lld %.*s;", (long long)digest[0], (long long)digest[1],
                      (int)len, digits);
}

/* job worker incarnation sum digest0 digest1 parts, then five words for each result. The totals
 * save the script adding them up; sum is empty without one, ? when the total exceeds 128 bits. */
static int commit_words(const struct queue_commit *c, struct buf *b, size_t *count)
{
    struct buf results, packed, parts;
    uint64_t digest[2] = {0, 0}, part[2];
    __int128 sum = 0;
    char digits[41];
    bool has_sum = false, too_big = false;
    int rc = 0;
    buf_init(&results, SIZE_MAX);
    buf_init(&packed, SIZE_MAX);
    buf_init(&parts, SIZE_MAX);
    for (size_t i = 0; !rc && i < c->count; i++) {
        const struct queue_result *r = &c->results[i];
        rc = result_words(r, &results, &packed, part);
        if (!rc)
            rc = add_parts(&parts, r, part);
        digest[0] += part[0];
        digest[1] += part[1];
        has_sum |= r->is_sum;
        if (r->is_sum)
            too_big |= __builtin_add_overflow(sum, r->sum, &sum);
    }
    buf_clear(b);
    if (!rc)
        rc = resp_word(b, c->call.job);
    if (!rc)
        rc = resp_word(b, c->worker.name);
    if (!rc)
        rc = resp_word_u64(b, c->worker.incarnation);
    if (!rc)
        rc = resp_word(b, too_big   ? STR("?")
                          : has_sum ? str_make(digits, str_from_i128(digits, sum))
                                    : STR(""));
    if (!rc)
        rc = resp_word_i64(b, (int64_t)digest[0]);
    if (!rc)
        rc = resp_word_i64(b, (int64_t)digest[1]);
    if (!rc)
        rc = resp_word(b, buf_str(&parts));
    if (!rc)
        rc = buf_add_str(b, buf_str(&results));
    buf_done(&results);
    buf_done(&packed);
    buf_done(&parts);
    *count = 7 + 5 * c->count;
    return rc;
}

static int take_more(const struct resp_engine *e, const struct queue_take *t, struct buf *b,
                     size_t *count)
{
    uint64_t look_ms = e->queue.config->stale_check_ms;
    int rc = 0;
    if (look_ms > 0) {
        *count += 2;
        rc = option(b, "LOOK", look_ms);
    }
    if (!rc && t->soon > 0) {
        *count += 2;
        rc = option(b, "SOON", t->soon);
    }
    return rc;
}

static int fail_more(struct resp_engine *e, struct buf *b, size_t *count)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%.6f", prng_unit(&e->prng));
    int rc = resp_word(b, STR("RANDOM"));
    *count += 2;
    return rc ? rc : resp_word(b, str_make(text, (size_t)n));
}

/* The words differ from the node's in a few places. */
static int adapt(struct resp_engine *e, struct queue_request *r, size_t *count)
{
    int rc;
    struct str name, sub;
    switch (r->verb) {
    case QUEUE_CREATE:
        return create_more((struct queue_create *)r, &r->words, count);
    case QUEUE_TAKE:
        return take_more(e, (const struct queue_take *)r, &r->words, count);
    case QUEUE_COMMIT:
        return commit_words((const struct queue_commit *)r, &r->words, count);
    case QUEUE_FAIL:
        return fail_more(e, &r->words, count);
    case QUEUE_CONTROL: /* on a node it is a part of the name */
        resp_verb_name(r, &name, &sub);
        ++*count;
        return resp_word(&r->words, sub);
    case QUEUE_TRIM:
        buf_clear(&r->words);
        *count = 2;
        rc = resp_word(&r->words, ((const struct queue_call *)r)->job);
        return rc ? rc : put_id(&r->words, "", ((const struct queue_trim *)r)->seq);
    case QUEUE_RESULTS:
        buf_clear(&r->words);
        *count = 1;
        return resp_word(&r->words, ((const struct queue_call *)r)->job);
    default:
        return 0;
    }
}

static int put_call(struct resp_engine *e, struct queue_request *r, size_t count, struct buf *out)
{
    const struct redis_script *s = script_of(r);
    struct str job = ((const struct queue_call *)r)->job;
    bool named = e->server[0] != '\0';
    char key[KEY_BYTES], server[sizeof e->server + 1];
    snprintf(server, sizeof server, "@%s", e->server);
    int rc = resp_command(out, count + (named ? 5 : 4));
    if (!rc)
        rc = resp_word(out, r->with_text ? STR("EVAL") : STR("EVALSHA"));
    if (!rc)
        rc = resp_word(out, str_of(r->with_text ? s->text : s->sha));
    if (!rc)
        rc = resp_word(out, named ? STR("2") : STR("1"));
    if (!rc)
        rc = resp_word(out, job_key(&e->queue, key, job, "job"));
    if (!rc && named)
        rc = resp_word(out, job_key(&e->queue, key, job, server));
    return rc ? rc : buf_add_str(out, buf_str(&r->words));
}

static int put_results(struct resp_engine *e, struct queue_request *r, size_t count,
                       struct buf *out)
{
    const struct queue_results *q = (const struct queue_results *)r;
    char key[KEY_BYTES];
    int rc = resp_command(out, 1);
    if (!rc)
        rc = resp_word(out, STR("MULTI"));
    if (!rc)
        rc = put_call(e, r, count, out);
    if (!rc)
        rc = resp_command(out, 6);
    if (!rc)
        rc = resp_word(out, STR("XRANGE"));
    if (!rc)
        rc = resp_word(out, job_key(&e->queue, key, q->call.job, "results"));
    if (!rc)
        rc = put_id(out, "(", q->cursor);
    if (!rc)
        rc = resp_word(out, STR("+"));
    if (!rc)
        rc = option(out, "COUNT", q->count);
    if (!rc)
        rc = resp_command(out, 1);
    r->skip = 3; /* OK, QUEUED, QUEUED */
    return rc ? rc : resp_word(out, STR("EXEC"));
}

/* The jobs are known by a set of their names: first that, then their hashes. */
static int put_list(struct queue_request *r, struct buf *out)
{
    (void)r;
    int rc = resp_command(out, 2);
    if (!rc)
        rc = resp_word(out, STR("SMEMBERS"));
    return rc ? rc : resp_word(out, STR("ttg:jobs"));
}

/* On a cluster the names of all jobs have no place of their own: keys are looked through. */
static int put_create(struct resp_engine *e, struct queue_request *r, size_t count, struct buf *out)
{
    if (on_cluster(&e->queue))
        return put_call(e, r, count, out);
    int rc = resp_command(out, 3);
    if (!rc)
        rc = resp_word(out, STR("SADD"));
    if (!rc)
        rc = resp_word(out, STR("ttg:jobs"));
    if (!rc)
        rc = resp_word(out, ((const struct queue_call *)r)->job);
    r->skip = 1;
    return rc ? rc : put_call(e, r, count, out);
}

/* WAIT looks at the connection's own last write, so there has to be one. */
static int put_wait(struct resp_engine *e, struct queue_request *r, struct buf *out)
{
    char key[KEY_BYTES];
    int rc = resp_command(out, 5);
    if (!rc)
        rc = resp_word(out, STR("SET"));
    if (!rc)
        rc = resp_word(out,
                       job_key(&e->queue, key, ((const struct queue_call *)r)->job, "replicated"));
    if (!rc)
        rc = resp_word(out, STR("1"));
    if (!rc)
        rc = option(out, "EX", 3600);
    if (!rc)
        rc = resp_command(out, 3);
    if (!rc)
        rc = option(out, "WAIT", e->queue.config->redis_wait);
    r->behind = 2;
    return rc ? rc : resp_word_u64(out, WAIT_MS);
}

/* What somebody relies on once it is answered. Leases are not: lost ones are given anew. */
static bool needs_wait(const struct queue_request *r)
{
    switch (r->verb) {
    case QUEUE_CREATE:
    case QUEUE_CONTROL:
    case QUEUE_COMMIT:
    case QUEUE_FAIL:
    case QUEUE_RESULTS:
    case QUEUE_DEAD_REDRIVE:
    case QUEUE_DEAD_DROP:
        return true;
    default:
        return false;
    }
}

static int redis_confirm(struct resp_engine *e, struct str reply, struct err *err)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    unsigned wanted = e->queue.config->redis_wait;
    if (!resp_next(&c, &v) || v.type == RESP_ERROR)
        return resp_decode_error(v.s, err);
    if (v.type != RESP_INT)
        return err_set(err, TTG_EPROTO, "an unexpected answer to WAIT");
    if (v.number >= wanted)
        return 0;
    return err_set(err, TTG_EFULL,
                   "NOREPLICAS %lld of %u replicas (--redis-wait) have the newest changes",
                   (long long)v.number, wanted);
}

static int redis_command(struct resp_engine *e, struct queue_request *r, size_t count,
                         struct buf *out)
{
    size_t before = buf_len(out);
    r->skip = 0;
    int rc = adapt(e, r, &count);
    if (!rc)
        rc = r->verb == QUEUE_RESULTS  ? put_results(e, r, count, out)
             : r->verb == QUEUE_CREATE ? put_create(e, r, count, out)
             : r->verb == QUEUE_LIST   ? put_list(r, out)
                                       : put_call(e, r, count, out);
    if (!rc && e->queue.config->redis_wait > 0 && needs_wait(r))
        rc = put_wait(e, r, out);
    if (rc && out->data)
        buf_truncate(out, before);
    return rc;
}

/* --- answers --- */

/* One entry to one line. What a plain client wrote and makes no sense is passed over: its chunk
 * has a result, that much the ledger knows, and `extra` shows what is not understood. */
static int add_line(struct resp_cursor *c, struct buf *lines, uint64_t *ret_cursor)
{
    struct buf room;
    struct err err;
    struct message_reader reader;
    struct message_result m = {0};
    struct str id, name, value;
    size_t two, words;
    if (!resp_next_array(c, &two) || two != 2 || !resp_next_str(c, &id) ||
        !redis_cursor_of(id, ret_cursor) || !resp_next_array(c, &words) || words % 2)
        return TTG_EPROTO;
    buf_init(&room, MESSAGE_EXTRA_BYTES_MAX);
    message_reader_init(&reader, &room, &err);
    int rc = 0;
    for (size_t i = 0; i < words; i += 2) {
        if (!resp_next_str(c, &name) || !resp_next_str(c, &value)) {
            buf_done(&room);
            return TTG_EPROTO;
        }
        if (!rc)
            rc = message_result_field(&reader, &m, name, value);
    }
    if (!rc)
        rc = message_result_end(&reader, &m);
    if (!rc)
        rc = message_add_result(lines, &m);
    if (!rc)
        rc = buf_add_char(lines, '\n');
    buf_done(&room);
    return rc == TTG_EPROTO || rc == TTG_EINVAL || rc == TTG_ERANGE ? 0 : rc;
}

/* Before version 7 that stands at the end:
 * "ERR Error running script (call to f_...): @user_script:1: -READONLY You can't write ..." */
struct str resp_refusal(struct str text)
{
    if (str_starts(text, STR("ERR Error running script")))
        for (size_t i = text.len; i-- > 3;)
            if (memcmp(text.ptr + i - 3, ": -", 3) == 0)
                return str_make(text.ptr + i, text.len - i);
    return text;
}

static int decode_results(struct resp_engine *e, struct queue_results *r, struct resp_cursor *c,
                          struct err *err)
{
    struct history history;
    size_t parts, entries;
    int64_t ended;
    struct str newest, trimmed;
    uint64_t newest_cursor, trimmed_cursor;
    struct resp_value v;
    struct buf *lines = &e->scratch;
    struct resp_cursor look = *c;
    if (!resp_next_array(&look, &parts) || parts != 2)
        return err_set(err, TTG_EPROTO, "an unexpected answer to EXEC");
    *c = look;
    if (resp_next(&look, &v) && v.type == RESP_ERROR)
        return resp_decode_error(resp_refusal(v.s), err);
    if (!resp_next_array(c, &parts) || parts != 4 || !resp_next_int(c, &ended) ||
        !resp_next_str(c, &newest) || !redis_cursor_of(newest, &newest_cursor) ||
        !resp_next_str(c, &trimmed) || !redis_cursor_of(trimmed, &trimmed_cursor) ||
        !redis_read_history(c, &history) || !resp_next_array(c, &entries))
        return err_set(err, TTG_EPROTO, "an unexpected answer about results");
    int rc = redis_check_history(r, &history, err);
    if (rc)
        return rc;
    if (r->cursor > newest_cursor) {
        r->last = newest_cursor;
        return err_set(err, TTG_ERANGE, "CURSOR %llu", (unsigned long long)newest_cursor);
    }
    buf_clear(lines);
    buf_clear(&e->cursors);
    r->last = r->cursor;
    r->first = 1 + (r->cursor < trimmed_cursor ? trimmed_cursor : r->cursor);
    for (size_t i = 0; i < entries; i++) {
        size_t before = buf_len(lines);
        rc = add_line(c, lines, &r->last);
        if (!rc && buf_len(lines) > before)
            rc = buf_add(&e->cursors, &r->last, sizeof r->last);
        if (rc)
            return err_set(err, rc, "a result that cannot be read: %s", err_text(rc));
    }
    r->ended = ended != 0 && r->last >= newest_cursor;
    r->lines = buf_str(lines);
    r->cursors = (const uint64_t *)(const void *)buf_str(&e->cursors).ptr;
    return entries == 0 && !r->ended ? err_set(err, TTG_EAGAIN, "no result yet") : 0;
}

static int redis_decode(struct resp_engine *e, struct queue_request *r, struct str reply,
                        struct err *err)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    bool refused = resp_next(&c, &v) && v.type == RESP_ERROR;
    if (refused && str_starts(v.s, STR("EXECABORT")) && r->early.code) {
        *err = r->early;
        return err->code;
    }
    if (refused && resp_refusal(v.s).ptr != v.s.ptr)
        return resp_decode_error(resp_refusal(v.s), err);
    if (r->verb == QUEUE_RESULTS && v.type == RESP_ARRAY) {
        c = resp_cursor_of(reply);
        return decode_results(e, (struct queue_results *)r, &c, err);
    }
    return resp_decode(r, reply, &e->scratch, err);
}

/* The hash is unknown there, alone or inside EXEC's array. */
static bool redis_wants_text(const struct queue_request *r, struct str reply)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    if (!resp_next(&c, &v))
        return false;
    if (r->verb == QUEUE_RESULTS && v.type == RESP_ARRAY && !resp_next(&c, &v))
        return false;
    return v.type == RESP_ERROR && str_starts(v.s, STR("NOSCRIPT"));
}

/* A transaction is refused by EXECABORT alone; what was wrong with it came before. */
static bool redis_unfit(const struct queue_request *r, struct str reply)
{
    static const char *const words[] = {"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN",
                                        "TRYAGAIN", "BUSY",    "NOREPLICAS", "MOVED",
                                        "ASK",      "OUTDATED"};
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    struct str rest;
    bool found = resp_next(&c, &v);
    if (found && v.type == RESP_ARRAY) /* EXEC's */
        found = resp_next(&c, &v);
    if (!found || v.type != RESP_ERROR)
        return false;
    struct str word = str_cut(resp_refusal(v.s), ' ', &rest);
    if (str_eq(word, STR("EXECABORT")) && r->early.code)
        word = str_cut(str_of(r->early.text), ' ', &rest);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq(word, str_of(words[i])))
            return true;
    return false;
}

/* The list takes a second step: the hashes of the names that came. */
static int redis_next_step(struct queue_request *r, struct str reply, struct buf *out)
{
    struct resp_cursor c = resp_cursor_of(reply);
    const struct redis_script *s = script_of(r);
    struct resp_value v;
    size_t count;
    char key[KEY_BYTES];
    if (r->verb != QUEUE_LIST || r->step > 0 || !resp_next(&c, &v) || v.type != RESP_ARRAY)
        return 0;
    r->step = 1;
    count = v.count;
    int rc = resp_command(out, 3 + count);
    if (!rc)
        rc = resp_word(out, STR("EVAL"));
    if (!rc)
        rc = resp_word(out, str_of(s->text));
    if (!rc)
        rc = resp_word_u64(out, count);
    for (struct str name; !rc && count > 0 && resp_next_str(&c, &name); count--)
        rc = resp_word(out, job_key(r->queue, key, name, "job"));
    return rc ? rc : 1;
}

unsigned resp_redis_slot(const struct queue *q)
{
    char key[KEY_BYTES];
    struct list *first = list_first(&((struct queue *)(uintptr_t)q)->requests);
    struct str job = q->config->job ? str_of(q->config->job) : STR("default");
    if (first)
        job = ((const struct queue_call *)container_of(first, struct queue_request, link))->job;
    return resp_key_slot(job_key(q, key, job, "job"));
}

const struct resp_dialect resp_redis_dialect = {.greet = redis_greet,
                                                .greeted = redis_greeted,
                                                .confirm = redis_confirm,
                                                .command = redis_command,
                                                .decode = redis_decode,
                                                .wants_text = redis_wants_text,
                                                .next_step = redis_next_step,
                                                .unfit = redis_unfit,
                                                .polls = true};
