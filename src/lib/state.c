/* SPDX-License-Identifier: Apache-2.0 */
/* Stateful workers for programs: their functions and types around src/state. */
#include "state/state.h"

#include "base/mem.h"
#include "lib/sized.h"

#include <ttg/state.h>

struct ttg_state {
    struct state *state;
    struct ttg_state_options o;
    struct err err;
    ttg_state_on_client *on_client; /* of the rebuild under way */
    void *ctx;
};

static const char *const default_columns[] = {"msg_id", "chunk_number", "value"};

/* The two kinds of bytes look the same, so an array of one is an array of the other. */
_Static_assert(sizeof(struct str) == sizeof(struct ttg_bytes) &&
                   offsetof(struct str, ptr) == offsetof(struct ttg_bytes, ptr) &&
                   offsetof(struct str, len) == offsetof(struct ttg_bytes, len),
               "struct ttg_bytes is struct str");

static struct ttg_bytes bytes_of(struct str s)
{
    return (struct ttg_bytes){s.ptr, s.len};
}

static struct str str_from(struct ttg_bytes b)
{
    return str_make(b.ptr, b.len);
}

/* ---- the program's functions ---- */

static int on_apply(void *user, struct str client, void *state, const struct state_row *row)
{
    const ttg_state *s = user;
    const struct ttg_row theirs = {bytes_of(row->id), (const struct ttg_bytes *)row->values,
                                   row->count, row->rows};
    return s->o.rebuild(s->o.user, bytes_of(client), state, &theirs);
}

/* The message is the program's own; it goes through ours in `body`. */
static int on_extract(void *user, const struct state_message *m, struct state_values *values)
{
    const ttg_state *s = user;
    return s->o.extract(s->o.user, m->body, (ttg_values *)values);
}

static int on_merge(void *user, struct str client, const void *state, struct state_values *values)
{
    const ttg_state *s = user;
    return s->o.merge(s->o.user, bytes_of(client), state, (ttg_values *)values);
}

static bool on_ready(void *user, struct str client, const void *state)
{
    const ttg_state *s = user;
    return s->o.ready(s->o.user, bytes_of(client), state) != 0;
}

static void on_drop(void *user, void *state)
{
    const ttg_state *s = user;
    s->o.drop(s->o.user, state);
}

static size_t on_memory(void *user, const void *state)
{
    const ttg_state *s = user;
    return s->o.memory(s->o.user, state);
}

static int on_client(void *ctx, struct str client, const void *state, uint64_t rows,
                     uint64_t duplicates)
{
    const ttg_state *s = ctx;
    return s->on_client(s->ctx, bytes_of(client), state, rows, duplicates);
}

int ttg_value_add(ttg_values *values, const void *bytes, size_t len)
{
    return values ? state_value_add((struct state_values *)values, str_make(bytes, len))
                  : TTG_EINVAL;
}

/* ---- open and close ---- */

static int take_options(ttg_state *s, const struct ttg_state_options *options)
{
    int rc = sized_in(&s->o, sizeof s->o, options, &s->err);
    if (rc)
        return rc;
    if (!s->o.rebuild)
        return err_set(&s->err, TTG_EINVAL, "there is no function `rebuild`");
    if (!s->o.columns) {
        s->o.columns = default_columns;
        s->o.column_count = sizeof default_columns / sizeof *default_columns;
    }
    if (s->o.column_count > STATE_COLUMNS_MAX)
        return err_set(&s->err, TTG_EINVAL, "at most %d columns", STATE_COLUMNS_MAX);
    return 0;
}

int ttg_state_open(ttg_state **ret_state, const char *dir, const struct ttg_state_options *options)
{
    struct str columns[STATE_COLUMNS_MAX];
    if (ret_state)
        *ret_state = NULL;
    if (!ret_state || !dir)
        return TTG_EINVAL;
    ttg_state *s = *ret_state = mem_zalloc(sizeof *s);
    if (!s)
        return TTG_ENOMEM;
    int rc = take_options(s, options);
    if (rc)
        return rc;
    for (size_t i = 0; i < s->o.column_count; i++)
        columns[i] = str_of(s->o.columns[i]);
    const struct state_options o = {
        .columns = columns,
        .column_count = s->o.column_count,
        .state_bytes = s->o.state_bytes,
        .user = s,
        .apply = on_apply,
        .extract = s->o.extract ? on_extract : NULL,
        .merge = s->o.merge ? on_merge : NULL,
        .ready = s->o.ready ? on_ready : NULL,
        .drop = s->o.drop ? on_drop : NULL,
        .memory_bytes = s->o.memory_bytes,
        .clients_max = s->o.clients_max,
        .tombs_max = s->o.tombstones_max,
        .log_bytes = s->o.log_bytes,
        .compact_rows = s->o.compact_rows,
        .ids_max = s->o.ids_max,
        .memory = s->o.memory ? on_memory : NULL,
    };
    rc = state_open(dir, &o, &s->state, &s->err);
    s->o.columns = NULL; /* the program's, and only until here */
    return rc;
}

void ttg_state_close(ttg_state *s)
{
    if (!s)
        return;
    state_close(s->state);
    mem_free(s);
}

const char *ttg_state_message(const ttg_state *s)
{
    return s ? s->err.text : "";
}

/* Whether the handle can be used; forgets the last error. */
static int check(ttg_state *s)
{
    if (!s)
        return TTG_EINVAL;
    if (!s->state)
        return err_set(&s->err, TTG_EINVAL, "the state was not opened");
    s->err = (struct err){0};
    return 0;
}

/* ---- calls ---- */

int ttg_state_rebuild(ttg_state *s, ttg_state_on_client *each, void *ctx)
{
    int rc = check(s);
    if (rc)
        return rc;
    s->on_client = each;
    s->ctx = ctx;
    return state_rebuild(s->state, each ? on_client : NULL, s, &s->err);
}

int ttg_state_process(ttg_state *s, const struct ttg_state_input *message,
                      enum ttg_state_outcome *outcome)
{
    struct ttg_state_input m;
    enum state_outcome ours;
    int rc = check(s);
    if (rc)
        return rc;
    if (!message || !outcome)
        return err_set(&s->err, TTG_EINVAL, "no message, or no place for the outcome");
    rc = sized_in(&m, sizeof m, message, &s->err);
    const struct state_message inner = {str_from(m.client), str_from(m.id),
                                        (const struct str *)m.values, m.value_count, message};
    if (!rc)
        rc = state_process(s->state, &inner, &ours, &s->err);
    if (!rc)
        *outcome = (enum ttg_state_outcome)ours;
    return rc;
}

int ttg_state_commit(ttg_state *s)
{
    int rc = check(s);
    return rc ? rc : state_commit(s->state, &s->err);
}

int ttg_state_get(ttg_state *s, struct ttg_bytes client, const void **state, uint64_t *rows)
{
    void *found;
    int rc = check(s);
    if (!rc)
        rc = state_get(s->state, str_from(client), &found, rows, &s->err);
    if (!rc && state)
        *state = found;
    return rc;
}

int ttg_state_ready_next(ttg_state *s, struct ttg_bytes *client)
{
    struct str found = {0};
    int rc = check(s);
    if (!rc && !client)
        rc = err_set(&s->err, TTG_EINVAL, "no place for the client");
    if (!rc)
        rc = state_ready_next(s->state, &found);
    if (!rc)
        *client = bytes_of(found);
    return rc;
}

int ttg_state_finish(ttg_state *s, struct ttg_bytes client)
{
    int rc = check(s);
    return rc ? rc : state_finish(s->state, str_from(client), &s->err);
}

int ttg_state_forget(ttg_state *s, struct ttg_bytes client)
{
    int rc = check(s);
    return rc ? rc : state_forget(s->state, str_from(client), &s->err);
}

int ttg_state_checkpoint(ttg_state *s)
{
    int rc = check(s);
    return rc ? rc : state_checkpoint(s->state, &s->err);
}

void ttg_state_result_id(struct ttg_bytes client, struct ttg_bytes content, char *id)
{
    _Static_assert(TTG_RESULT_ID_BYTES == STATE_RESULT_ID_BYTES, "as the header says");
    if (id)
        state_result_id(str_from(client), str_from(content), id);
}

int ttg_state_stats(const ttg_state *s, struct ttg_state_counts *stats)
{
    struct state_stats now;
    if (!s || !s->state || !stats)
        return TTG_EINVAL;
    state_stats(s->state, &now);
    const struct ttg_state_counts ours = {
        .rows = now.rows,
        .duplicates = now.duplicates,
        .late = now.late,
        .finished = now.finished,
        .commits = now.commits,
        .syncs = now.syncs,
        .clients_in_memory = now.clients_in_memory,
        .memory_bytes = now.memory_bytes,
        .evictions = now.evictions,
        .loads = now.loads,
        .tombstones = now.tombs,
        .tombstones_dropped = now.tombs_dropped,
        .checkpoints = now.checkpoints,
        .compactions = now.compactions,
        .recovered_rows = now.recovered_rows,
        .torn_lines = now.torn,
        .disk_full = now.disk_full,
    };
    return sized_out(stats, &ours, sizeof ours, NULL);
}
