/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/resp.h"
#include "queue/resp_fields.h"

#include "base/log.h"

/* The first word of an error, and what it means for the caller. */
static int error_code(struct str text)
{
    static const struct {
        const char *word;
        int code;
    } rows[] = {
        {"NOJOB", TTG_ENOENT},      {"JOBEXISTS", TTG_EEXIST},  {"JOBENDED", TTG_EDONE},
        {"LOST", TTG_ESTALE},       {"REPLACED", TTG_EBUSY},    {"CURSOR", TTG_ERANGE},
        {"LIVEJOB", TTG_EBUSY},     {"OOM", TTG_EFULL},         {"MISCONF", TTG_EFULL},
        {"NOSPACE", TTG_EFULL},     {"VERSION", TTG_EVERSION},  {"NOAUTH", TTG_EAUTH},
        {"NOPERM", TTG_EAUTH},      {"WRONGPASS", TTG_EAUTH},   {"LOADING", TTG_EAGAIN},
        {"READONLY", TTG_EACCES},   {"NOENT", TTG_ENOENT},      {"UNKILLABLE", TTG_EAGAIN},
        {"MASTERDOWN", TTG_EAGAIN}, {"BUSY", TTG_EAGAIN},       {"CLUSTERDOWN", TTG_EAGAIN},
        {"TRYAGAIN", TTG_EAGAIN},   {"MOVED", TTG_EAGAIN},      {"ASK", TTG_EAGAIN},
        {"OUTDATED", TTG_EAGAIN},   {"NOREPLICAS", TTG_EAGAIN},
    };
    struct str rest, word = str_cut(text, ' ', &rest);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq(word, str_of(rows[i].word)))
            return rows[i].code;
    return TTG_EINVAL;
}

/* The word in front is for programs; what follows ours says all to people. */
static struct str error_text(struct str text)
{
    static const char *const ours[] = {"NOJOB", "JOBEXISTS", "JOBENDED", "NOENT", "VERSION"};
    struct str rest, word = str_cut(text, ' ', &rest);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (str_eq(word, str_of(ours[i])) && rest.len > 0)
            return rest;
    return text;
}

/* A command of one kind of server that the other kind does not know. */
static const char *other_kind(struct str text)
{
    struct str unknown = STR("ERR unknown command ");
    if (!str_starts(text, unknown) || text.len == unknown.len)
        return NULL;
    text = str_make(text.ptr + unknown.len + 1, text.len - unknown.len - 1); /* behind the quote */
    return str_starts(text, STR("TTG."))
               ? "this is no ttg node; the address of a Redis server begins with redis://"
           : str_starts(text, STR("EVAL"))
               ? "this is no Redis server; the address of a ttg node begins with ttg://"
               : NULL;
}

int resp_decode_error(struct str text, struct err *err)
{
    const char *other = other_kind(text);
    if (other)
        return err_set(err, TTG_EINVAL, "%s", other);
    return err_set(err, error_code(text), "%.*s", STR_ARG(error_text(text)));
}

static bool decode_create(struct queue_create *r, struct resp_cursor *c)
{
    static const struct resp_field fields[] = {
        FIELD(struct queue_create, "created", F_BOOL, created),
        FIELD(struct queue_create, "created_ms", F_U64, created_ms),
    };
    return resp_read_map(c, fields, COUNT(fields), r, NULL, NULL);
}

#define S(key, kind, member) FIELD(struct queue_status, key, kind, status.member)
#define Q(key, kind, member) FIELD(struct queue_status, key, kind, member)
static bool decode_status(struct queue_status *r, struct resp_cursor *c)
{
    static const struct resp_field fields[] = {
        S("job", F_STR, name),
        S("state", F_STATE_NAME, state),
        S("created_ms", F_U64, created_ms),
        S("started_ms", F_U64, started_ms),
        S("finished_ms", F_U64, finished_ms),
        S("chunks", F_U64, chunks),
        S("completed", F_U64, completed),
        S("dead_letters", F_U64, dead),
        S("dropped", F_U64, dropped),
        S("unfed", F_U64, unfed),
        S("fresh", F_U64, fresh),
        S("ready", F_U64, ready),
        S("delayed", F_U64, delayed),
        S("leased", F_U64, leased),
        S("attempts", F_U64, attempts),
        S("reclaimed", F_U64, reclaimed),
        S("stolen", F_U64, stolen),
        S("stale_dropped", F_U64, stale_dropped),
        S("failures", F_U64, failures),
        S("released", F_U64, released),
        S("redriven", F_U64, redriven),
        S("workers", F_U64, workers),
        S("workers_lost", F_U64, workers_lost),
        S("slots", F_U64, slots),
        S("params", F_U64, params),
        S("has_sum", F_BOOL, has_sum),
        S("sum", F_SUM, sum),
        S("digest", F_DIGEST, digest),
        S("result_seq", F_U64, result_seq),
        S("result_first", F_U64, result_first),
        S("event_seq", F_U64, event_seq),
        S("boot", F_U64, boot),
        Q("now_ms", F_U64, now_ms),
        Q("first", F_I64, first),
        Q("chunk_params", F_U64, chunk_params),
        Q("params_total", F_U64, params_total),
        Q("max_attempts", F_U32, max_attempts),
        Q("retry_min_ms", F_U32, retry_min_ms),
        Q("retry_max_ms", F_U32, retry_max_ms),
        Q("retry_jitter", F_U32, retry_jitter),
        Q("stale_ms", F_U32, stale_ms),
        Q("window", F_U32, window),
        Q("kernel", F_STR, kernel),
        Q("input", F_STR, input),
    };
    r->status = (struct ledger_status){0};
    r->kernel = r->input = STR("");
    return resp_read_map(c, fields, COUNT(fields), r, NULL, NULL);
}

static bool decode_list(struct queue_list *r, struct resp_cursor *c, struct buf *scratch)
{
    typedef struct queue_job_info info;
    static const struct resp_field fields[] = {
        FIELD(info, "job", F_STR, job),
        FIELD(info, "state", F_STATE_NAME, state),
        FIELD(info, "chunks", F_U64, chunks),
        FIELD(info, "completed", F_U64, completed),
        FIELD(info, "dead_letters", F_U64, dead),
        FIELD(info, "workers", F_U64, workers),
        FIELD(info, "created_ms", F_U64, created_ms),
    };
    r->jobs = resp_read_maps(c, scratch, fields, COUNT(fields), sizeof(info), &r->count);
    return r->jobs != NULL;
}

static int join_held(struct resp_cursor *c, struct str key, void *ctx)
{
    struct queue_join *r = ctx;
    size_t words;
    if (!str_eq(key, STR("held")))
        return 0;
    if (!resp_next_array(c, &words) || words != 2 * r->held_count)
        return -1;
    for (size_t i = 0; i < r->held_count; i++) {
        uint64_t chunk;
        if (!resp_next_u64(c, &chunk) || chunk != r->held[i].chunk ||
            !resp_next_u64(c, &r->held[i].epoch))
            return -1;
    }
    return 1;
}

static bool decode_join(struct queue_join *r, struct resp_cursor *c)
{
    static const struct resp_field fields[] = {
        FIELD(struct queue_join, "state", F_STATE_NAME, state),
        FIELD(struct queue_join, "first", F_I64, first),
        FIELD(struct queue_join, "params_total", F_U64, params_total),
        FIELD(struct queue_join, "chunk_params", F_U64, chunk_params),
        FIELD(struct queue_join, "chunks", F_U64, chunks),
        FIELD(struct queue_join, "max_attempts", F_U32, max_attempts),
        FIELD(struct queue_join, "kernel", F_STR, kernel),
        FIELD(struct queue_join, "input", F_STR, input),
        FIELD(struct queue_join, "created_ms", F_U64, created_ms),
        FIELD(struct queue_join, "protocol", F_U64, protocol),
        FIELD(struct queue_join, "version", F_STR, version),
    };
    r->protocol = r->created_ms = 0;
    r->version = r->kernel = r->input = STR("");
    return resp_read_map(c, fields, COUNT(fields), r, join_held, r);
}

static bool decode_take(struct queue_take *r, struct resp_cursor *c, struct buf *scratch)
{
    size_t words;
    if (!resp_next_array(c, &words) || words % 4 != 1 || !resp_next_state(c, &r->state))
        return false;
    r->run_count = words / 4;
    struct ledger_run *runs = resp_scratch(scratch, r->run_count, sizeof *runs);
    uint64_t total = 0;
    for (size_t i = 0; runs && i < r->run_count; i++) {
        if (!resp_next_u64(c, &runs[i].chunk) || !resp_next_u64(c, &runs[i].count) ||
            !resp_next_u64(c, &runs[i].epoch) || !resp_next_u32(c, &runs[i].attempt))
            return false;
        if (runs[i].count == 0 || runs[i].count > r->count || (total += runs[i].count) > r->count)
            return false;
    }
    r->runs = runs;
    return runs != NULL;
}

static bool decode_commit(struct queue_commit *r, struct resp_cursor *c, struct buf *scratch)
{
    static const char *const names[] = {[LEDGER_ACCEPTED] = "accepted",
                                        [LEDGER_AGAIN] = "again",
                                        [LEDGER_STALE] = "stale",
                                        [LEDGER_REFUSED] = "refused",
                                        [LEDGER_INVALID] = "invalid"};
    size_t words;
    if (!resp_next_array(c, &words) || words % 2 != 1 || !resp_next_u64(c, &r->accepted))
        return false;
    r->verdict_count = words / 2;
    struct queue_verdict *v = resp_scratch(scratch, r->verdict_count, sizeof *v);
    for (size_t i = 0; v && i < r->verdict_count; i++) {
        struct str name;
        if (!resp_next_u64(c, &v[i].chunk) || !resp_next_str(c, &name))
            return false;
        size_t k = 0;
        while (k < COUNT(names) && !str_eq(name, str_of(names[k])))
            k++;
        if (k == COUNT(names))
            return false;
        v[i].verdict = (enum ledger_verdict)k;
    }
    r->verdicts = v;
    return v != NULL && r->accepted <= r->count && r->verdict_count == r->count - r->accepted;
}

static bool decode_fail(struct queue_fail *r, struct resp_cursor *c)
{
    size_t words;
    struct str fate;
    if (!resp_next_array(c, &words) || words != 2 || !resp_next_str(c, &fate) ||
        !resp_next_u64(c, &r->retry_ms))
        return false;
    r->fate = str_eq(fate, STR("retry"))  ? LEDGER_RETRY
              : str_eq(fate, STR("dead")) ? LEDGER_DEAD
                                          : LEDGER_FAIL_STALE;
    return true;
}

static bool decode_beat(struct queue_beat *r, struct resp_cursor *c, struct buf *scratch)
{
    size_t words;
    if (!resp_next_array(c, &words) || words < 2 || !resp_next_state(c, &r->state) ||
        !resp_next_u64(c, &r->outstanding))
        return false;
    r->gone_count = words - 2;
    uint64_t *gone = resp_scratch(scratch, r->gone_count, sizeof *gone);
    for (size_t i = 0; gone && i < r->gone_count; i++)
        if (!resp_next_u64(c, &gone[i]))
            return false;
    r->gone = gone;
    return gone != NULL;
}

static bool decode_workers(struct queue_workers *r, struct resp_cursor *c, struct buf *scratch)
{
    typedef struct ledger_worker_info info;
    static const struct resp_field fields[] = {
        FIELD(info, "worker", F_STR, name),   FIELD(info, "incarnation", F_U64, incarnation),
        FIELD(info, "host", F_STR, host),     FIELD(info, "joined_ms", F_U64, joined_ms),
        FIELD(info, "slots", F_U32, slots),   FIELD(info, "foreign", F_BOOL, foreign),
        FIELD(info, "held", F_U64, held),     FIELD(info, "completed", F_U64, completed),
        FIELD(info, "failed", F_U64, failed), FIELD(info, "lost", F_U64, lost),
    };
    r->workers = resp_read_maps(c, scratch, fields, COUNT(fields), sizeof(info), &r->count);
    return r->workers != NULL;
}

static bool decode_results(struct queue_results *r, struct resp_cursor *c)
{
    size_t words;
    int64_t ended;
    if (!resp_next_array(c, &words) || words != 4 || !resp_next_u64(c, &r->last) ||
        !resp_next_int(c, &ended) || !resp_next_u64(c, &r->first) || !resp_next_str(c, &r->lines))
        return false;
    r->ended = ended != 0;
    r->cursors = NULL;
    return true;
}

/* "CURSOR n": the job has only n results. */
static void cursor_limit(struct queue_results *r, struct str error)
{
    struct str rest, number;
    str_cut(error, ' ', &rest);
    number = str_cut(rest, ' ', &rest);
    if (str_to_u64(number, &r->last))
        r->last = 0;
}

static bool decode_dead_list(struct queue_dead_list *r, struct resp_cursor *c, struct buf *scratch)
{
    typedef struct queue_dead dead;
    static const struct resp_field fields[] = {
        FIELD(dead, "chunk", F_U64, chunk),     FIELD(dead, "attempts", F_U32, attempts),
        FIELD(dead, "dead_ms", F_U64, dead_ms), FIELD(dead, "worker", F_STR, worker),
        FIELD(dead, "reason", F_STR, reason),
    };
    r->dead = resp_read_maps(c, scratch, fields, COUNT(fields), sizeof(dead), &r->dead_count);
    return r->dead != NULL;
}

struct show_context {
    struct queue_dead_show *show;
    struct buf *scratch;
};

static int show_reasons(struct resp_cursor *c, struct str key, void *ctx)
{
    typedef struct queue_reason reason;
    static const struct resp_field fields[] = {
        FIELD(reason, "at_ms", F_U64, at_ms),
        FIELD(reason, "attempt", F_U32, attempt),
        FIELD(reason, "worker", F_STR, worker),
        FIELD(reason, "reason", F_STR, reason),
    };
    struct show_context *s = ctx;
    if (!str_eq(key, STR("reasons")))
        return 0;
    s->show->reasons = resp_read_maps(c, s->scratch, fields, COUNT(fields), sizeof(reason),
                                      &s->show->reason_count);
    return s->show->reasons ? 1 : -1;
}

static bool decode_dead_show(struct queue_dead_show *r, struct resp_cursor *c, struct buf *scratch)
{
    static const struct resp_field fields[] = {
        FIELD(struct queue_dead_show, "first", F_I64, first),
        FIELD(struct queue_dead_show, "last", F_I64, last),
        FIELD(struct queue_dead_show, "attempts", F_U32, attempts),
        FIELD(struct queue_dead_show, "dead_ms", F_U64, dead_ms),
    };
    struct show_context s = {r, scratch};
    r->reasons = NULL;
    r->reason_count = 0;
    return resp_read_map(c, fields, COUNT(fields), r, show_reasons, &s);
}

static bool decode_events(struct queue_events *r, struct resp_cursor *c, struct buf *scratch)
{
    typedef struct queue_event event;
    static const struct resp_field fields[] = {
        FIELD(event, "seq", F_U64, seq),     FIELD(event, "at_ms", F_U64, at_ms),
        FIELD(event, "event", F_STR, event), FIELD(event, "chunk", F_I64, chunk),
        FIELD(event, "from", F_STR, from),   FIELD(event, "to", F_STR, to),
        FIELD(event, "value", F_U64, value), FIELD(event, "text", F_STR, text),
    };
    r->events = resp_read_maps(c, scratch, fields, COUNT(fields), sizeof(event), &r->event_count);
    return r->events != NULL;
}

static bool decode_explain(struct queue_explain *r, struct resp_cursor *c)
{
    typedef struct queue_explain explain;
    static const struct resp_field fields[] = {
        FIELD(explain, "place", F_STR, place),       FIELD(explain, "why", F_STR, why),
        FIELD(explain, "worker", F_STR, worker),     FIELD(explain, "reason", F_STR, reason),
        FIELD(explain, "attempts", F_U64, attempts), FIELD(explain, "epoch", F_U64, epoch),
        FIELD(explain, "since_ms", F_U64, since_ms), FIELD(explain, "due_ms", F_U64, due_ms),
    };
    r->place = r->why = r->worker = r->reason = STR("");
    r->attempts = r->epoch = r->since_ms = r->due_ms = 0;
    return resp_read_map(c, fields, COUNT(fields), r, NULL, NULL);
}

struct map_context {
    struct queue_map *map;
    char *at[3]; /* NULL: only counting */
};

static int map_rows(struct resp_cursor *c, struct str key, void *ctx)
{
    struct map_context *m = ctx;
    const struct {
        const char *key;
        bool texts;
        size_t words, bytes, *count;
    } parts[] = {
        {"cells", false, 6, sizeof(struct queue_cell), &m->map->cell_count},
        {"leases", true, 5, sizeof(struct queue_map_lease), &m->map->lease_count},
        {"ran", true, 5, sizeof(struct queue_ran), &m->map->ran_count},
    };
    for (size_t i = 0; i < COUNT(parts); i++) {
        if (!str_eq(key, str_of(parts[i].key)))
            continue;
        if (!m->at[i] && *parts[i].count > 0) /* a second time: there would be room for one */
            return -1;
        bool read = resp_read_rows(c, parts[i].texts, parts[i].words, m->at[i], parts[i].bytes,
                                   parts[i].count);
        return read ? 1 : -1;
    }
    return 0;
}

static bool decode_map(struct queue_map *r, struct resp_cursor *c, struct buf *scratch)
{
    static const struct resp_field fields[] = {
        FIELD(struct queue_map, "now_ms", F_U64, now_ms),
        FIELD(struct queue_map, "chunks", F_U64, chunks),
        FIELD(struct queue_map, "per_cell", F_U64, per_cell),
    };
    struct map_context m = {.map = r};
    struct resp_cursor again = *c;
    r->cell_count = r->lease_count = r->ran_count = 0;
    if (!resp_read_map(c, fields, COUNT(fields), r, map_rows, &m) || r->per_cell == 0)
        return false;
    size_t cells = r->cell_count * sizeof *r->cells, leases = r->lease_count * sizeof *r->leases;
    char *at = resp_scratch(scratch, cells + leases + r->ran_count * sizeof *r->ran, 1);
    if (!at)
        return false;
    m.at[0] = at;
    m.at[1] = at + cells;
    m.at[2] = at + cells + leases;
    r->cells = (const struct queue_cell *)(const void *)m.at[0];
    r->leases = (const struct queue_map_lease *)(const void *)m.at[1];
    r->ran = (const struct queue_ran *)(const void *)m.at[2];
    return resp_read_map(&again, fields, COUNT(fields), r, map_rows, &m);
}

static bool decode(struct queue_request *r, struct resp_cursor *c, struct buf *scratch)
{
    struct str text;
    uint64_t number;
    switch (r->verb) {
    case QUEUE_CREATE:
        return decode_create((struct queue_create *)r, c);
    case QUEUE_STATUS:
        return decode_status((struct queue_status *)r, c);
    case QUEUE_LIST:
        return decode_list((struct queue_list *)r, c, scratch);
    case QUEUE_CONTROL:
        return resp_next_str(c, &text);
    case QUEUE_JOIN:
        return decode_join((struct queue_join *)r, c);
    case QUEUE_TAKE:
        return decode_take((struct queue_take *)r, c, scratch);
    case QUEUE_COMMIT:
        return decode_commit((struct queue_commit *)r, c, scratch);
    case QUEUE_FAIL:
        return decode_fail((struct queue_fail *)r, c);
    case QUEUE_RELEASE:
    case QUEUE_LEAVE:
    case QUEUE_LOST:
    case QUEUE_TRIM:
        return resp_next_u64(c, &number);
    case QUEUE_BEAT:
        return decode_beat((struct queue_beat *)r, c, scratch);
    case QUEUE_WORKERS:
        return decode_workers((struct queue_workers *)r, c, scratch);
    case QUEUE_RESULTS:
        return decode_results((struct queue_results *)r, c);
    case QUEUE_DEAD_LIST:
        return decode_dead_list((struct queue_dead_list *)r, c, scratch);
    case QUEUE_DEAD_SHOW:
        return decode_dead_show((struct queue_dead_show *)r, c, scratch);
    case QUEUE_DEAD_REDRIVE:
        return resp_next_u64(c, &((struct queue_dead_redrive *)r)->redriven);
    case QUEUE_DEAD_DROP:
        if (!resp_next_u64(c, &number))
            return false;
        ((struct queue_dead_drop *)r)->dropped = number > 0;
        return true;
    case QUEUE_EVENTS:
        return decode_events((struct queue_events *)r, c, scratch);
    case QUEUE_EXPLAIN:
        return decode_explain((struct queue_explain *)r, c);
    case QUEUE_MAP:
        return decode_map((struct queue_map *)r, c, scratch);
    case QUEUE_DEPTHS:
    case QUEUE_VERBS:
        break;
    }
    return false;
}

/* What a node says that was not asked to wait. */
static bool holds_nothing(const struct queue_results *r)
{
    return r->lines.len == 0 && !r->ended && r->last == r->cursor;
}

int resp_decode(struct queue_request *r, struct str reply, struct buf *scratch, struct err *err)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    if (!resp_next(&c, &v))
        return err_set(err, TTG_EPROTO, "an empty answer");
    if (v.type == RESP_ERROR) {
        int code = error_code(v.s);
        if (code == TTG_ERANGE && r->verb == QUEUE_RESULTS)
            cursor_limit((struct queue_results *)r, v.s);
        return resp_decode_error(v.s, err);
    }
    if (v.type == RESP_NULL)
        return err_set(err, TTG_EAGAIN, "nothing came in time");
    c = resp_cursor_of(reply);
    if (!decode(r, &c, scratch)) {
        log_error("queue.answer_unknown", kv_u64("verb", r->verb), kv_u64("bytes", reply.len),
                  kv_s("front", str_make(reply.ptr, reply.len < 200 ? reply.len : 200)));
        return err_set(err, TTG_EPROTO,
                       "an answer of unknown form: is the node of another version?");
    }
    if (r->verb == QUEUE_RESULTS && holds_nothing((struct queue_results *)r))
        return err_set(err, TTG_EAGAIN, "nothing came in time");
    return 0;
}
