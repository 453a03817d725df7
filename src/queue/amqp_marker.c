/* SPDX-License-Identifier: Apache-2.0 */
#include "core/job.h"
#include "queue/amqp.h"
#include "wire/json.h"

#include <stdio.h>

enum { TEXTS_BYTES_MAX = 4 * LEDGER_TEXT_BYTES_MAX };

void amqp_names_of(struct amqp_names *n, struct str job)
{
    char head[AMQP_NAME_BYTES / 2];
    bool plain = job.len == 0 || str_eq(job, STR("default"));
    if (plain)
        snprintf(head, sizeof head, "ttg");
    else
        snprintf(head, sizeof head, "ttg.%.*s", STR_ARG(job));
    snprintf(n->tasks, sizeof n->tasks, "%s.tasks", head);
    snprintf(n->results, sizeof n->results, "%s.results", head);
    snprintf(n->retry, sizeof n->retry, "%s.tasks.retry", head);
    snprintf(n->suspect, sizeof n->suspect, "%s.tasks.suspect", head);
    snprintf(n->dlq, sizeof n->dlq, "%s.tasks.dlq", head);
    snprintf(n->job, sizeof n->job, "%s.job", head);
    snprintf(n->state, sizeof n->state, "%s.job.state", head);
    snprintf(n->notes, sizeof n->notes, "%s.job.notes", head);
    snprintf(n->control, sizeof n->control, "%s.job.control", head);
    snprintf(n->lock, sizeof n->lock, "%s.job.lock", head);
}

bool amqp_job_of(struct str queue, struct str kind, struct str *ret_job)
{
    static const struct str prefix = {"ttg.", 4};
    if (!str_starts(queue, prefix) || queue.len < prefix.len + kind.len)
        return false;
    struct str name = str_make(queue.ptr + prefix.len, queue.len - prefix.len - kind.len);
    if (!str_eq(str_make(name.ptr + name.len, kind.len), kind))
        return false;
    if (name.len == 0) {
        *ret_job = STR("default");
        return true;
    }
    *ret_job = str_make(name.ptr, name.len - 1);
    return name.ptr[name.len - 1] == '.' && job_name_valid(*ret_job);
}

void amqp_retry_default(struct ledger_spec *s)
{
    if (s->retry_asked)
        return;
    s->retry_min_ms = s->retry_max_ms = AMQP_RETRY_MS;
    s->retry_jitter = 0;
}

uint32_t amqp_retry_ms(const struct ledger_spec *s, uint64_t attempt, unsigned step)
{
    uint64_t ms = s->retry_min_ms;
    for (uint64_t i = 1; i < attempt && ms < s->retry_max_ms; i++)
        ms *= 2;
    ms = ms < s->retry_max_ms ? ms : s->retry_max_ms;
    uint64_t spread = ms * s->retry_jitter / 100;
    return (uint32_t)(ms - spread + 2 * spread * step / (AMQP_RETRY_STEPS - 1));
}

static bool is_among(const uint32_t *ms, size_t count, uint32_t wanted)
{
    for (size_t i = 0; i < count; i++)
        if (ms[i] == wanted)
            return true;
    return false;
}

size_t amqp_retry_all(const struct ledger_spec *s, uint32_t ret_ms[AMQP_RETRIES_MAX])
{
    size_t count = 0;
    for (uint64_t attempt = 1; attempt < s->max_attempts && attempt <= 32; attempt++) {
        for (unsigned step = 0; step < AMQP_RETRY_STEPS; step++) {
            uint32_t ms = amqp_retry_ms(s, attempt, step);
            if (ms > 0 && ms != AMQP_RETRY_MS && !is_among(ret_ms, count, ms))
                ret_ms[count++] = ms;
        }
    }
    return count;
}

void amqp_retry_name(const struct amqp_names *n, uint32_t ms, char out[AMQP_NAME_BYTES])
{
    if (ms == AMQP_RETRY_MS)
        snprintf(out, AMQP_NAME_BYTES, "%s", n->retry);
    else
        snprintf(out, AMQP_NAME_BYTES, "%.100s.%u", n->retry, ms);
}

int amqp_marker_add(struct buf *out, const struct amqp_marker *m)
{
    const struct ledger_spec *s = &m->spec;
    int rc = buf_printf(
        out,
        "{\"state\":%d,\"created_ms\":%llu,\"dead\":%llu,\"unattended\":%llu,\"quorum\":%llu,"
        "\"first\":%lld,\"params\":%llu,\"chunk_params\":%llu,\"window\":%u,\"max_attempts\":%u,"
        "\"retry_min_ms\":%u,\"retry_max_ms\":%u,\"retry_jitter\":%u,"
        "\"stale_ms\":%u,\"kernel\":",
        (int)m->state, (unsigned long long)m->created_ms, (unsigned long long)m->dead,
        (unsigned long long)m->unattended, (unsigned long long)m->quorum, (long long)s->first,
        (unsigned long long)s->params, (unsigned long long)s->chunk_params, s->window,
        s->max_attempts, s->retry_min_ms, s->retry_max_ms, s->retry_jitter, s->stale_ms);
    rc = rc ? rc : buf_add_json(out, s->kernel);
    rc = rc ? rc : buf_add_str(out, STR(",\"input\":"));
    rc = rc ? rc : buf_add_json(out, s->input);
    return rc ? rc : buf_add_char(out, '}');
}

struct numbers {
    uint64_t state, params, chunk_params, window, max_attempts, retry_min, retry_max, jitter, stale;
};

static int read_member(struct amqp_marker *m, struct numbers *n, struct json name,
                       struct json value, size_t *kernel_at, size_t *input_at)
{
    const struct {
        const char *name;
        uint64_t *to;
    } rows[] = {
        {"state", &n->state},
        {"created_ms", &m->created_ms},
        {"dead", &m->dead},
        {"unattended", &m->unattended},
        {"quorum", &m->quorum},
        {"params", &n->params},
        {"chunk_params", &n->chunk_params},
        {"window", &n->window},
        {"max_attempts", &n->max_attempts},
        {"retry_min_ms", &n->retry_min},
        {"retry_max_ms", &n->retry_max},
        {"retry_jitter", &n->jitter},
        {"stale_ms", &n->stale},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (json_is(name, str_of(rows[i].name)))
            return json_u64(value, rows[i].to);
    if (json_is(name, STR("first")))
        return json_i64(value, &m->spec.first);
    if (json_is(name, STR("kernel"))) {
        *kernel_at = buf_len(&m->texts);
        int rc = json_add_text(value, &m->texts);
        m->spec.kernel.len = buf_len(&m->texts) - *kernel_at;
        return rc;
    }
    if (json_is(name, STR("input"))) {
        *input_at = buf_len(&m->texts);
        int rc = json_add_text(value, &m->texts);
        m->spec.input.len = buf_len(&m->texts) - *input_at;
        return rc;
    }
    return 0; /* of a later version */
}

int amqp_marker_read(struct amqp_marker *m, struct str text, struct err *err)
{
    struct json all, name, value;
    struct numbers n = {0};
    size_t kernel_at = 0, input_at = 0;
    buf_done(&m->texts);
    *m = (struct amqp_marker){0};
    buf_init(&m->texts, TEXTS_BYTES_MAX);
    int rc = json_parse(text, &all, err);
    if (rc || all.type != JSON_OBJECT)
        return err_set(err, TTG_EPROTO, "the job's marker is no JSON object");
    for (struct str at = json_inside(all); !rc && json_next(&at, &name, &value);)
        rc = read_member(m, &n, name, value, &kernel_at, &input_at);
    if (rc || n.state > LEDGER_CANCELED || n.window > UINT32_MAX || n.max_attempts > UINT32_MAX ||
        n.retry_min > UINT32_MAX || n.retry_max > UINT32_MAX || n.stale > UINT32_MAX)
        return err_set(err, TTG_EPROTO, "the job's marker makes no sense");
    m->state = (enum ledger_state)n.state;
    m->spec.params = n.params;
    m->spec.chunk_params = n.chunk_params;
    m->spec.window = (uint32_t)n.window;
    m->spec.max_attempts = (uint32_t)n.max_attempts;
    m->spec.retry_min_ms = (uint32_t)n.retry_min;
    m->spec.retry_max_ms = (uint32_t)n.retry_max;
    m->spec.retry_jitter = (uint32_t)n.jitter;
    m->spec.stale_ms = (uint32_t)n.stale;
    m->spec.kernel.ptr = buf_str(&m->texts).ptr + kernel_at;
    m->spec.input.ptr = buf_str(&m->texts).ptr + input_at;
    return ledger_spec_check(&m->spec, err) ? TTG_EPROTO : 0;
}

uint64_t amqp_marker_chunks(const struct amqp_marker *m)
{
    const struct ledger_spec *s = &m->spec;
    return s->params / s->chunk_params + (s->params % s->chunk_params > 0);
}

bool amqp_marker_ended(const struct amqp_marker *m)
{
    return m->state == LEDGER_CANCELED || (m->state == LEDGER_FINISHED && m->dead == 0);
}

/* --- the history of a chunk's attempts --- */

enum { HISTORY_BYTES_MAX = 16384, HISTORY_REASON_BYTES_MAX = 1500 };

int amqp_history_add(struct buf *out, struct str old, const struct amqp_attempt *a)
{
    struct json all, name, value;
    struct err err;
    struct str reason = a->reason;
    if (reason.len > HISTORY_REASON_BYTES_MAX) /* the tail says more */
        reason =
            str_make(reason.ptr + reason.len - HISTORY_REASON_BYTES_MAX, HISTORY_REASON_BYTES_MAX);
    int rc = buf_add_char(out, '{');
    if (!rc && old.len > 0 && json_parse(old, &all, &err) == 0 && all.type == JSON_OBJECT)
        for (struct str at = json_inside(all); !rc && json_next(&at, &name, &value);) {
            if (at.len + value.raw.len > HISTORY_BYTES_MAX)
                continue; /* the oldest go */
            rc = buf_add_str(out, name.raw);
            rc = rc ? rc : buf_add_char(out, ':');
            rc = rc ? rc : buf_add_str(out, value.raw);
            rc = rc ? rc : buf_add_char(out, ',');
        }
    rc =
        rc ? rc
           : buf_printf(out, "\"%llu\":{\"at_ms\":%llu,\"worker\":", (unsigned long long)a->attempt,
                        (unsigned long long)a->at_ms);
    rc = rc ? rc : buf_add_json(out, a->worker);
    rc = rc ? rc : buf_add_str(out, STR(",\"reason\":"));
    rc = rc ? rc : buf_add_json(out, reason);
    return rc ? rc : buf_add_str(out, STR("}}"));
}

static int read_attempt(struct json item, struct amqp_attempt *a, struct buf *room)
{
    struct json name, value;
    size_t worker_at = 0, reason_at = 0;
    int rc = 0;
    for (struct str at = json_inside(item); !rc && json_next(&at, &name, &value);) {
        size_t before = buf_len(room);
        if (json_is(name, STR("at_ms"))) {
            rc = json_u64(value, &a->at_ms);
        } else if (json_is(name, STR("worker"))) {
            worker_at = before;
            rc = json_add_text(value, room);
            a->worker.len = buf_len(room) - before;
        } else if (json_is(name, STR("reason"))) {
            reason_at = before;
            rc = json_add_text(value, room);
            a->reason.len = buf_len(room) - before;
        }
    }
    a->worker.ptr = buf_str(room).ptr + worker_at;
    a->reason.ptr = buf_str(room).ptr + reason_at;
    return rc;
}

void amqp_history_each(struct str history, void (*fn)(void *ctx, const struct amqp_attempt *a),
                       void *ctx)
{
    struct json all, name, value;
    struct err err;
    struct buf room, number;
    if (history.len == 0 || json_parse(history, &all, &err) || all.type != JSON_OBJECT)
        return;
    buf_init(&room, HISTORY_BYTES_MAX);
    buf_init(&number, 32);
    for (struct str at = json_inside(all); json_next(&at, &name, &value);) {
        struct amqp_attempt a = {.worker = STR(""), .reason = STR("")};
        buf_clear(&room);
        buf_clear(&number);
        if (value.type == JSON_OBJECT && json_add_text(name, &number) == 0 &&
            str_to_u64(buf_str(&number), &a.attempt) == 0 && read_attempt(value, &a, &room) == 0)
            fn(ctx, &a);
    }
    buf_done(&room);
    buf_done(&number);
}
