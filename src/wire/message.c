/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/message.h"

#include "wire/json.h"

/* ---- names ---- */

enum field {
    CHUNK_ID,
    START_PARAM,
    END_PARAM,
    TOTAL_IN_CHUNK,
    CREATED_AT,
    WORKER_ID,
    ATTEMPT,
    STATUS,
    PARAMS_PROCESSED,
    DURATION_SECONDS,
    COMPLETED_AT,
    RESULT_SUMMARY,
    OUTPUT,
    OUTPUT_BASE64,
    FIELD_COUNT,
};

enum {
    TASK_FIELDS =
        1 << CHUNK_ID | 1 << START_PARAM | 1 << END_PARAM | 1 << TOTAL_IN_CHUNK | 1 << CREATED_AT,
    RESULT_FIELDS = ((1 << FIELD_COUNT) - 1) & ~(1 << TOTAL_IN_CHUNK | 1 << CREATED_AT),
};

static const struct str field_names[] = {
    [CHUNK_ID] = {"chunk_id", sizeof "chunk_id" - 1},
    [START_PARAM] = {"start_param", sizeof "start_param" - 1},
    [END_PARAM] = {"end_param", sizeof "end_param" - 1},
    [TOTAL_IN_CHUNK] = {"total_in_chunk", sizeof "total_in_chunk" - 1},
    [CREATED_AT] = {"created_at", sizeof "created_at" - 1},
    [WORKER_ID] = {"worker_id", sizeof "worker_id" - 1},
    [ATTEMPT] = {"attempt", sizeof "attempt" - 1},
    [STATUS] = {"status", sizeof "status" - 1},
    [PARAMS_PROCESSED] = {"params_processed", sizeof "params_processed" - 1},
    [DURATION_SECONDS] = {"duration_seconds", sizeof "duration_seconds" - 1},
    [COMPLETED_AT] = {"completed_at", sizeof "completed_at" - 1},
    [RESULT_SUMMARY] = {"result_summary", sizeof "result_summary" - 1},
    [OUTPUT] = {"output", sizeof "output" - 1},
    [OUTPUT_BASE64] = {"output_base64", sizeof "output_base64" - 1},
};

static enum field field_find(struct str name, unsigned set)
{
    for (unsigned f = 0; f < FIELD_COUNT; f++)
        if (name.len == field_names[f].len && set & 1u << f && str_eq(name, field_names[f]))
            return f;
    return FIELD_COUNT;
}

size_t message_chunk_id(char *out, uint64_t chunk)
{
    char digits[20];
    size_t len = str_from_u64(digits, chunk), zeros = len < 5 ? 5 - len : 0;
    memset(out, '0', zeros);
    memcpy(out + zeros, digits, len);
    return zeros + len;
}

int message_chunk_number(struct str chunk_id, uint64_t *ret_chunk)
{
    return str_to_u64(chunk_id, ret_chunk);
}

/* ---- writing ---- */

static int add_name(struct buf *out, enum field f)
{
    char text[32] = {',', '"'};
    size_t len = field_names[f].len;
    memcpy(text + 2, field_names[f].ptr, len);
    text[len + 2] = '"';
    text[len + 3] = ':';
    return buf_add(out, text, len + 4);
}

static int add_text(struct buf *out, enum field f, struct str text)
{
    int rc = add_name(out, f);
    return rc ? rc : buf_add_json(out, text);
}

static int add_i64(struct buf *out, enum field f, int64_t value)
{
    int rc = add_name(out, f);
    return rc ? rc : buf_add_i64(out, value);
}

static int add_u64(struct buf *out, enum field f, uint64_t value)
{
    int rc = add_name(out, f);
    return rc ? rc : buf_add_u64(out, value);
}

/* Microseconds are enough; no zeros at the end. Results come by the hundred thousand a second, so
 * this is not printf. */
static int add_seconds(struct buf *out, enum field f, double seconds)
{
    char text[32];
    bool sane = seconds >= 0 && seconds < 1e12;
    uint64_t us = sane ? (uint64_t)(seconds * 1e6 + 0.5) : 0, rest = us % 1000000;
    size_t n = str_from_u64(text, us / 1000000);
    text[n++] = '.';
    for (uint64_t digit = 100000; digit > 0; digit /= 10) {
        text[n++] = (char)('0' + rest / digit % 10);
        if (rest % digit == 0)
            break;
    }
    int rc = add_name(out, f);
    return rc ? rc : buf_add(out, text, n);
}

static int add_end(struct buf *out, struct str extra)
{
    int rc = 0;
    if (extra.len > 0)
        rc = buf_add_char(out, ',');
    if (!rc)
        rc = buf_add_str(out, extra);
    return rc ? rc : buf_add_char(out, '}');
}

static int add_head(struct buf *out, struct str chunk_id, bool range, int64_t start, int64_t end)
{
    int rc = buf_add_str(out, STR("{\"chunk_id\":"));
    if (!rc)
        rc = buf_add_json(out, chunk_id);
    if (!rc && range)
        rc = add_i64(out, START_PARAM, start);
    if (!rc && range)
        rc = add_i64(out, END_PARAM, end);
    return rc;
}

int message_add_task(struct buf *out, const struct message_task *t)
{
    size_t before = buf_len(out);
    int rc = add_head(out, t->chunk_id, true, t->start_param, t->end_param);
    if (!rc)
        rc = add_u64(out, TOTAL_IN_CHUNK, t->total_in_chunk);
    if (!rc && t->created_at.len > 0)
        rc = add_text(out, CREATED_AT, t->created_at);
    if (!rc)
        rc = add_end(out, t->extra);
    if (rc && out->data)
        buf_truncate(out, before);
    return rc;
}

static int add_sum(struct buf *out, __int128 sum, uint64_t count)
{
    char digits[40];
    int rc = add_name(out, RESULT_SUMMARY);
    if (!rc)
        rc = buf_add_str(out, STR("{\"sum\":"));
    if (!rc)
        rc = buf_add(out, digits, str_from_i128(digits, sum));
    if (!rc)
        rc = buf_add_str(out, STR(",\"count\":"));
    if (!rc)
        rc = buf_add_u64(out, count);
    return rc ? rc : buf_add_char(out, '}');
}

static int add_output(struct buf *out, struct str text)
{
    if (str_is_utf8(text))
        return add_text(out, OUTPUT, text);
    int rc = add_name(out, OUTPUT_BASE64);
    if (!rc)
        rc = buf_add_char(out, '"');
    if (!rc)
        rc = buf_add_base64(out, text);
    return rc ? rc : buf_add_char(out, '"');
}

static int add_value(struct buf *out, const struct message_result *r)
{
    int rc = 0;
    switch (r->value) {
    case MESSAGE_NOTHING:
        break;
    case MESSAGE_SUM:
        return add_sum(out, r->sum, r->count);
    case MESSAGE_SUMMARY:
        rc = add_name(out, RESULT_SUMMARY);
        return rc ? rc : buf_add_str(out, r->text);
    case MESSAGE_OUTPUT:
        return add_output(out, r->text);
    case MESSAGE_OUTPUT_BASE64:
        return add_text(out, OUTPUT_BASE64, r->text);
    }
    return rc;
}

int message_add_result(struct buf *out, const struct message_result *r)
{
    size_t before = buf_len(out);
    int rc = add_head(out, r->chunk_id, r->has_range, r->start_param, r->end_param);
    if (!rc && r->worker_id.len > 0)
        rc = add_text(out, WORKER_ID, r->worker_id);
    if (!rc && r->attempt > 0)
        rc = add_u64(out, ATTEMPT, r->attempt);
    if (!rc)
        rc = add_text(out, STATUS, r->status);
    if (!rc)
        rc = add_u64(out, PARAMS_PROCESSED, r->params_processed);
    if (!rc)
        rc = add_seconds(out, DURATION_SECONDS, r->duration_seconds);
    if (!rc && r->completed_at.len > 0)
        rc = add_text(out, COMPLETED_AT, r->completed_at);
    if (!rc)
        rc = add_value(out, r);
    if (!rc)
        rc = add_end(out, r->extra);
    if (rc && out->data)
        buf_truncate(out, before);
    return rc;
}

/* ---- reading ---- */

void message_reader_init(struct message_reader *r, struct buf *room, struct err *err)
{
    *r = (struct message_reader){room, 0, err};
    buf_clear(room);
}

static int wrong(struct message_reader *r, enum field f)
{
    return err_set(r->err, TTG_EPROTO, "%s is not as it should be", field_names[f].ptr);
}

/* `value` is JSON, or with `text` a string to be put into quotes. */
static int keep_extra(struct message_reader *r, struct str name, struct str value, bool text)
{
    int rc = buf_len(r->room) > 0 ? buf_add_char(r->room, ',') : 0;
    if (!rc)
        rc = buf_add_json(r->room, name);
    if (!rc)
        rc = buf_add_char(r->room, ':');
    if (!rc)
        rc = text ? buf_add_json(r->room, value) : buf_add_str(r->room, value);
    return rc ? err_set(r->err, rc, "message: %s", err_text(rc)) : 0;
}

static int set_task(struct message_reader *r, struct message_task *t, enum field f,
                    struct str value)
{
    int rc = 0;
    r->seen |= 1u << f;
    if (f == CHUNK_ID)
        t->chunk_id = value;
    else if (f == START_PARAM)
        rc = str_to_i64(value, &t->start_param);
    else if (f == END_PARAM)
        rc = str_to_i64(value, &t->end_param);
    else if (f == TOTAL_IN_CHUNK)
        rc = str_to_u64(value, &t->total_in_chunk);
    else
        t->created_at = value;
    return rc ? wrong(r, f) : 0;
}

int message_task_field(struct message_reader *r, struct message_task *t, struct str name,
                       struct str value)
{
    enum field f = field_find(name, TASK_FIELDS);
    return f == FIELD_COUNT ? keep_extra(r, name, value, true) : set_task(r, t, f, value);
}

static int need(struct message_reader *r, unsigned fields)
{
    for (unsigned f = 0; f < FIELD_COUNT; f++)
        if (fields & ~r->seen & 1u << f)
            return err_set(r->err, TTG_EPROTO, "%s is missing", field_names[f].ptr);
    return 0;
}

static int task_check(struct message_reader *r, struct message_task *t)
{
    int rc = need(r, 1 << CHUNK_ID | 1 << START_PARAM | 1 << END_PARAM);
    if (rc)
        return rc;
    uint64_t total = (uint64_t)t->end_param - (uint64_t)t->start_param + 1;
    if (t->chunk_id.len == 0)
        return wrong(r, CHUNK_ID);
    if (t->end_param < t->start_param)
        return err_set(r->err, TTG_EPROTO, "end_param is below start_param");
    if (r->seen & 1u << TOTAL_IN_CHUNK && t->total_in_chunk != total)
        return err_set(r->err, TTG_EPROTO, "total_in_chunk does not fit start_param and end_param");
    return 0;
}

int message_task_end(struct message_reader *r, struct message_task *t)
{
    t->extra = buf_str(r->room);
    return task_check(r, t);
}

/* result_summary is a JSON text; one that is just a sum and a count is taken apart. */
static int set_summary(struct message_reader *r, struct message_result *m, struct str text)
{
    struct json root, name, value;
    m->text = text;
    m->value = MESSAGE_SUMMARY;
    if (json_parse(text, &root, NULL))
        return wrong(r, RESULT_SUMMARY);
    if (root.type != JSON_OBJECT)
        return 0;
    unsigned seen = 0;
    for (struct str at = json_inside(root); json_next(&at, &name, &value);) {
        if (json_is(name, STR("sum")) && !json_i128(value, &m->sum))
            seen |= 1;
        else if (json_is(name, STR("count")) && !json_u64(value, &m->count))
            seen |= 2;
        else
            return 0;
    }
    if (seen == 3)
        m->value = MESSAGE_SUM;
    return 0;
}

static int set_result(struct message_reader *r, struct message_result *m, enum field f,
                      struct str value)
{
    int rc = 0;
    r->seen |= 1u << f;
    switch (f) {
    case CHUNK_ID:
        m->chunk_id = value;
        break;
    case START_PARAM:
        rc = str_to_i64(value, &m->start_param);
        break;
    case END_PARAM:
        rc = str_to_i64(value, &m->end_param);
        break;
    case WORKER_ID:
        m->worker_id = value;
        break;
    case ATTEMPT:
        rc = str_to_u64(value, &m->attempt);
        break;
    case STATUS:
        m->status = value;
        break;
    case PARAMS_PROCESSED:
        rc = str_to_u64(value, &m->params_processed);
        break;
    case DURATION_SECONDS:
        rc = str_to_f64(value, &m->duration_seconds);
        break;
    case COMPLETED_AT:
        m->completed_at = value;
        break;
    case RESULT_SUMMARY:
        return set_summary(r, m, value);
    case OUTPUT:
    case OUTPUT_BASE64:
        m->value = f == OUTPUT ? MESSAGE_OUTPUT : MESSAGE_OUTPUT_BASE64;
        m->text = value;
        break;
    default:
        break;
    }
    return rc ? wrong(r, f) : 0;
}

int message_result_field(struct message_reader *r, struct message_result *m, struct str name,
                         struct str value)
{
    enum field f = field_find(name, RESULT_FIELDS);
    return f == FIELD_COUNT ? keep_extra(r, name, value, true) : set_result(r, m, f, value);
}

static int result_check(struct message_reader *r, struct message_result *m)
{
    int rc = need(r, 1 << CHUNK_ID);
    if (rc)
        return rc;
    if (m->chunk_id.len == 0)
        return wrong(r, CHUNK_ID);
    m->has_range = r->seen & 1u << START_PARAM && r->seen & 1u << END_PARAM;
    if (m->has_range && m->end_param < m->start_param)
        return err_set(r->err, TTG_EPROTO, "end_param is below start_param");
    return 0;
}

int message_result_end(struct message_reader *r, struct message_result *m)
{
    m->extra = buf_str(r->room);
    return result_check(r, m);
}

/* ---- reading JSON: the members become fields ---- */

typedef int message_set(struct message_reader *r, void *message, enum field f, struct str value);

static int set_task_of(struct message_reader *r, void *message, enum field f, struct str value)
{
    return set_task(r, message, f, value);
}

static int set_result_of(struct message_reader *r, void *message, enum field f, struct str value)
{
    return set_result(r, message, f, value);
}

/* Our names hold nothing that needs an escape, though somebody may write them with one. */
static enum field member_field(struct json name, unsigned set)
{
    struct str plain = str_make(name.raw.ptr + 1, name.raw.len - 2);
    if (!memchr(name.raw.ptr, '\\', name.raw.len))
        return field_find(plain, set);
    for (unsigned f = 0; f < FIELD_COUNT; f++)
        if (set & 1u << f && json_is(name, field_names[f]))
            return f;
    return FIELD_COUNT;
}

/* Text of a string, any other value as it stands. */
static int member_text(struct message_reader *r, struct json value, struct str *ret_text)
{
    *ret_text = value.raw;
    if (value.type != JSON_STRING)
        return 0;
    *ret_text = str_make(value.raw.ptr + 1, value.raw.len - 2);
    if (!memchr(value.raw.ptr, '\\', value.raw.len))
        return 0;
    size_t start = buf_len(r->room);
    int rc = json_add_text(value, r->room);
    *ret_text = str_make(buf_ptr(r->room) + start, buf_len(r->room) - start);
    return rc ? err_set(r->err, rc, "message: %s", err_text(rc)) : 0;
}

static int read_members(struct message_reader *r, struct json object, unsigned fields,
                        message_set *set, void *message)
{
    struct json name, value;
    struct str text;
    for (struct str at = json_inside(object); json_next(&at, &name, &value);) {
        enum field f = member_field(name, fields);
        if (f == FIELD_COUNT || value.type == JSON_NULL)
            continue;
        bool nested = value.type == JSON_OBJECT || value.type == JSON_ARRAY;
        if (nested && f != RESULT_SUMMARY)
            return wrong(r, f);
        int rc = member_text(r, value, &text);
        if (!rc)
            rc = set(r, message, f, text);
        if (rc)
            return rc;
    }
    return 0;
}

/* Behind the texts in `room`, so that they are in one piece. */
static int read_extra(struct message_reader *r, struct json object, unsigned fields,
                      struct str *ret_extra)
{
    struct json name, value;
    size_t start = buf_len(r->room);
    int rc = 0;
    for (struct str at = json_inside(object); !rc && json_next(&at, &name, &value);) {
        if (member_field(name, fields) != FIELD_COUNT)
            continue;
        if (buf_len(r->room) > start)
            rc = buf_add_char(r->room, ',');
        if (!rc)
            rc = buf_add_str(r->room, name.raw);
        if (!rc)
            rc = buf_add_char(r->room, ':');
        if (!rc)
            rc = buf_add_str(r->room, value.raw);
    }
    if (rc)
        return err_set(r->err, rc, "message: %s", err_text(rc));
    *ret_extra = str_make(buf_ptr(r->room) + start, buf_len(r->room) - start);
    return 0;
}

static int read_object(struct message_reader *r, struct str json, unsigned fields, message_set *set,
                       void *message, struct str *ret_extra)
{
    struct json root;
    char *unused;
    int rc = json_parse(json, &root, r->err);
    if (rc)
        return rc;
    if (root.type != JSON_OBJECT)
        return err_set(r->err, TTG_EPROTO, "not a JSON object");
    /* Nothing gets longer by reading, so the views stay where they are. */
    rc = buf_reserve(r->room, json.len, &unused);
    if (rc)
        return err_set(r->err, rc, "message: %s", err_text(rc));
    rc = read_members(r, root, fields, set, message);
    return rc ? rc : read_extra(r, root, fields, ret_extra);
}

int message_read_task(struct message_task *ret_task, struct str json, struct buf *room,
                      struct err *err)
{
    struct message_reader r;
    struct message_task t = {0};
    message_reader_init(&r, room, err);
    int rc = read_object(&r, json, TASK_FIELDS, set_task_of, &t, &t.extra);
    if (!rc)
        rc = task_check(&r, &t);
    if (!rc)
        *ret_task = t;
    return rc;
}

int message_read_result(struct message_result *ret_result, struct str json, struct buf *room,
                        struct err *err)
{
    struct message_reader r;
    struct message_result m = {0};
    message_reader_init(&r, room, err);
    int rc = read_object(&r, json, RESULT_FIELDS, set_result_of, &m, &m.extra);
    if (!rc)
        rc = result_check(&r, &m);
    if (!rc)
        *ret_result = m;
    return rc;
}
