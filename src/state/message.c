/* SPDX-License-Identifier: Apache-2.0 */
/* A message becomes a row: in the log, in its client's file, and in what the user made of it. Once
 * each, and all of it or nothing. */
#include "base/log.h"
#include "state/own.h"

/* ---- values ---- */

void state_values_clear(struct state_values *v)
{
    buf_clear(&v->bytes);
    v->count = 0;
    v->on_row = NULL;
}

int state_value_add(struct state_values *v, struct str value)
{
    if (v->count == STATE_COLUMNS_MAX)
        return TTG_EINVAL;
    int rc = buf_add_str(&v->bytes, value);
    if (!rc)
        rc = buf_add_char(&v->bytes, '\0');
    if (!rc)
        v->ends[v->count++] = buf_len(&v->bytes);
    if (!rc && v->on_row && v->count == v->row_values)
        rc = v->on_row(v);
    return rc == TTG_EFULL ? TTG_ERANGE : rc;
}

void state_values_view(struct state_values *v)
{
    for (size_t i = 0, from = 0; i < v->count; from = v->ends[i++])
        v->views[i] = str_make(buf_str(&v->bytes).ptr + from, v->ends[i] - from - 1);
}

int state_values_end(const struct state *s, struct state_values *v)
{
    if (v->count != s->o.column_count - 1)
        return TTG_EINVAL;
    state_values_view(v);
    return 0;
}

/* ---- rows ---- */

static int check_message(const struct state *s, const struct state_message *m, struct err *e)
{
    if (s->failed)
        return err_set(e, s->failed, "the state in %s has failed", s->rows_disk->path);
    if (m->client.len > NAME_CLIENT_BYTES_MAX)
        return err_set(e, TTG_EINVAL, "the client's id is longer than %d bytes",
                       NAME_CLIENT_BYTES_MAX);
    if (m->id.len == 0 || m->id.len > IDS_BYTES_MAX)
        return err_set(e, TTG_EINVAL, "a message's id has 1 to %d bytes", IDS_BYTES_MAX);
    return 0;
}

static int take_values(struct state *s, const struct state_message *m, struct err *e)
{
    state_values_clear(&s->values);
    int rc = s->o.extract ? s->o.extract(s->o.user, m, &s->values) : 0;
    for (size_t i = 0; i < m->value_count && !s->o.extract && !rc; i++)
        rc = state_value_add(&s->values, m->values[i]);
    if (rc)
        return err_set(e, rc, "the message's values: %s", err_text(rc));
    if (state_values_end(s, &s->values))
        return err_set(e, TTG_EINVAL, "a row has %zu values behind its id, not %zu",
                       s->o.column_count - 1, s->values.count);
    return 0;
}

/* The row of a message, and as text in s->row. Its id stands in s->scratch. */
static int make_row(struct state *s, const struct state_message *m, struct state_row *row,
                    struct err *e)
{
    size_t count = s->o.column_count - 1;
    int rc = take_values(s, m, e);
    if (rc)
        return rc;
    buf_clear(&s->row);
    buf_clear(&s->scratch);
    bool mark = m->id.ptr[0] == STATE_SUMMARY_MARK; /* doubled, or it would be a summary */
    if (mark)
        rc = buf_add_char(&s->scratch, STATE_SUMMARY_MARK);
    if (!rc)
        rc = buf_add_str(&s->scratch, m->id);
    if (!rc && !buf_cstr(&s->scratch))
        rc = TTG_ENOMEM;
    if (!rc)
        rc = csv_add(&s->row, buf_str(&s->scratch), count ? ',' : '\n');
    for (size_t i = 0; i < count && !rc; i++)
        rc = csv_add(&s->row, s->values.views[i], i + 1 < count ? ',' : '\n');
    if (rc || buf_len(&s->row) > STATE_ROW_BYTES_MAX)
        return err_set(e, rc && rc != TTG_EFULL ? rc : TTG_ERANGE, "a row is too long");
    *row = (struct state_row){str_make(buf_ptr(&s->scratch) + mark, m->id.len), s->values.views,
                              count, 1};
    return 0;
}

/* It could not be cut, as the clients' files could not be written. */
static bool is_log_full(const struct state *s)
{
    return journal_bytes(s) > s->o.log_bytes * STATE_LOG_FACTOR;
}

/* Room for everything, so that nothing can fail once the user has counted the row. */
static int make_room(struct state *s, struct client *c, const struct state_message *m,
                     struct err *e)
{
    char *at;
    if (is_log_full(s))
        return state_failed(s, TTG_ENOSPC, e, "the clients' files cannot be written");
    int rc = journal_reserve(s, m->client, buf_len(&s->row), e);
    if (rc)
        return rc;
    rc = ids_reserve(&c->ids, m->id.len);
    if (!rc)
        rc = buf_reserve(&c->tail, buf_len(&s->header) + buf_len(&s->row), &at);
    return rc ? err_set(e, rc, "a client's messages: %s", err_text(rc)) : 0;
}

static void add_tail(struct state *s, struct client *c)
{
    bool is_new = c->file_bytes == 0 && buf_len(&c->tail) == 0;
    uint64_t offset = c->file_bytes + buf_len(&c->tail);
    journal_row(s, state_client_id(c), offset, buf_str(&s->row));
    if (is_new)
        (void)buf_add_str(&c->tail, buf_str(&s->header));
    (void)buf_add_str(&c->tail, buf_str(&s->row));
    if (list_empty(&c->dirty))
        list_push_back(&s->dirty, &c->dirty);
}

static int count_row(struct state *s, struct client *c, const struct state_message *m,
                     struct err *e)
{
    struct state_row row;
    int rc = make_row(s, m, &row, e);
    if (!rc)
        rc = make_room(s, c, m, e);
    if (rc)
        return rc;
    rc = state_client_apply(s, c, &row);
    if (rc)
        return err_set(e, rc, "applying a row: %s", err_text(rc));
    ids_add(&c->ids, m->id);
    add_tail(s, c);
    s->stats.rows++;
    state_client_weigh(s, c);
    rc = state_client_ready_look(s, c);
    if (rc) /* the row counts; whoever asks for the client looks again */
        log_warn("state.ready_unseen", kv_s("client", m->client));
    if (buf_len(&c->tail) < STATE_TAIL_BYTES)
        return 0;
    rc = file_flush(s, c, NULL);
    return rc && s->failed ? err_set(e, rc, "cannot write a client's file") : 0;
}

int state_process(struct state *s, const struct state_message *m, enum state_outcome *ret_outcome,
                  struct err *e)
{
    struct client *c;
    int rc = check_message(s, m, e);
    if (!rc && is_log_full(s)) /* room may be back, and who can take nothing commits nothing */
        rc = state_cut_log(s, e);
    if (rc && rc != TTG_ENOSPC)
        return rc;
    if (tombs_has(&s->tombs, m->client)) {
        s->stats.finished++;
        *ret_outcome = STATE_FINISHED;
        return 0;
    }
    rc = state_client_get(s, m->client, &c, e);
    if (rc)
        return rc;
    if (ids_has(&c->ids, m->id)) {
        s->stats.duplicates++;
        *ret_outcome = STATE_DUPLICATE;
        return 0;
    }
    if (c->ready) {
        s->stats.late++;
        *ret_outcome = STATE_LATE;
        return 0;
    }
    rc = count_row(s, c, m, e);
    if (!rc)
        *ret_outcome = STATE_NEW;
    return rc;
}
