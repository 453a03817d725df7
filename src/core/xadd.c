/* SPDX-License-Identifier: Apache-2.0 */
/* xadd - XADD, XTRIM, XDEL, XSETID: what changes the entries of a stream. */
#include "base/err.h"
#include "core/stream_idmp.h"
#include "core/xcmd.h"

enum { TRIM_BLOCKS_DEFAULT = 100, TRIM_LIMIT_DEFAULT = 10000, TRIM_LIMIT_MAX = 1000000 };

struct add_args {
    bool trims, limit_given, no_create, idempotent, iid_auto;
    struct str pid, iid;
    struct stream_trim trim;
    bool id_given, seq_auto;
    struct stream_id id;
    size_t fields_at;
};

static bool complain(struct core_call *call, const char *what)
{
    reply_error(call->reply, "ERR %s", what);
    return false;
}

/* MAXLEN or MINID at argv[*i], which moves to the last word of the option. */
static bool parse_strategy(struct core_call *call, struct add_args *a, size_t *i)
{
    bool by_id = arg_is(call, *i, "MINID");
    int64_t length = 0;
    if (a->trims)
        return complain(
            call, "syntax error, MAXLEN and MINID options at the same time are not compatible");
    a->trims = true;
    a->trim.by_id = by_id;
    if (*i + 2 < call->argc &&
        (str_eq(call->argv[*i + 1], STR("~")) || str_eq(call->argv[*i + 1], STR("=")))) {
        a->trim.whole_blocks = call->argv[*i + 1].ptr[0] == '~';
        ++*i;
    }
    ++*i;
    if (by_id)
        return arg_id(call, *i, 0, true, &a->trim.id_min);
    if (!arg_i64(call, *i, NULL, &length))
        return false;
    if (length < 0)
        return complain(call, "The MAXLEN argument must be >= 0.");
    a->trim.length_max = (uint64_t)length;
    return true;
}

static bool parse_limit(struct core_call *call, struct add_args *a, size_t i)
{
    int64_t limit;
    if (!arg_i64(call, i, NULL, &limit))
        return false;
    if (limit < 0)
        return complain(call, "The LIMIT argument must be >= 0.");
    a->trim.limit = (uint64_t)limit;
    a->limit_given = true;
    return true;
}

static bool check_limit(struct core *c, struct core_call *call, struct add_args *a, bool is_add)
{
    if (a->trim.limit && !a->trims)
        return complain(
            call, "syntax error, LIMIT cannot be used without specifying a trimming strategy");
    if (!is_add && !a->trims)
        return complain(call, "syntax error, XTRIM must be called with a trimming strategy");
    if (a->limit_given && !a->trim.whole_blocks)
        return complain(call, "syntax error, LIMIT cannot be used without the special ~ option");
    if (a->limit_given || !a->trim.whole_blocks)
        return true;
    uint64_t entries = c->streams.node_entries_max;
    a->trim.limit = entries == 0 ? TRIM_LIMIT_DEFAULT
                    : entries > TRIM_LIMIT_MAX / TRIM_BLOCKS_DEFAULT
                        ? TRIM_LIMIT_MAX
                        : entries * TRIM_BLOCKS_DEFAULT;
    return true;
}

/* IDMP and IDMPAUTO at argv[*i], which moves to the last word of the option. */
static bool parse_idmp(struct core_call *call, struct add_args *a, size_t *i)
{
    bool is_auto = arg_is(call, *i, "IDMPAUTO");
    if (a->idempotent)
        return complain(call, "IDMP/IDMPAUTO specified multiple times");
    a->idempotent = true;
    a->iid_auto = is_auto;
    a->pid = call->argv[++*i];
    if (a->pid.len == 0)
        return complain(call, is_auto ? "IDMPAUTO requires a non-empty producer ID"
                                      : "IDMP requires a non-empty producer ID");
    if (is_auto)
        return true;
    a->iid = call->argv[++*i];
    return a->iid.len > 0 || complain(call, "IDMP requires a non-empty idempotent ID");
}

/* The options of XADD and XTRIM, up to the id of the former. */
static bool parse(struct core *c, struct core_call *call, bool is_add, struct add_args *a)
{
    *a = (struct add_args){0};
    size_t i = 2;
    for (; i < call->argc; i++) {
        bool more = i + 1 < call->argc;
        struct str word = call->argv[i];
        if (is_add && str_eq(word, STR("*")))
            break;
        if (more && (arg_is(call, i, "MAXLEN") || arg_is(call, i, "MINID"))) {
            if (!parse_strategy(call, a, &i))
                return false;
        } else if (more && arg_is(call, i, "LIMIT")) {
            if (!parse_limit(call, a, ++i))
                return false;
        } else if (is_add && ((i + 2 < call->argc && arg_is(call, i, "IDMP")) ||
                              (more && arg_is(call, i, "IDMPAUTO")))) {
            if (!parse_idmp(call, a, &i))
                return false;
        } else if (is_add && arg_is(call, i, "NOMKSTREAM")) {
            a->no_create = true;
        } else if (is_add) {
            a->id_given = args_parse_id(word, 0, true, &a->seq_auto, &a->id);
            if (!a->id_given)
                return complain(call, "Invalid stream ID specified as stream command argument");
            break;
        } else {
            reply_syntax(call->reply);
            return false;
        }
    }
    a->fields_at = i + 1;
    return check_limit(c, call, a, is_add);
}

/* Which id the new entry gets. False: answered. */
static bool choose_id(struct core_call *call, const struct stream *s, const struct add_args *a,
                      struct stream_id *ret_id)
{
    struct stream_id last = s ? s->last_id : STREAM_ID_MIN, id = a->id;
    const char *exhausted =
        "The stream has exhausted the last possible ID, unable to add more items";
    if (stream_id_cmp(last, STREAM_ID_MAX) == 0)
        return complain(call, exhausted);
    if (!a->id_given) {
        id = last;
        if (call->now_ms > last.ms)
            id = (struct stream_id){call->now_ms, 0};
        else
            stream_id_next(&id);
    } else if (a->seq_auto && id.ms == last.ms) {
        id.seq = last.seq == UINT64_MAX ? 0 : last.seq + 1;
    }
    if (stream_id_cmp(id, last) <= 0)
        return complain(
            call, "The ID specified in XADD is equal or smaller than the target stream top item");
    *ret_id = id;
    return true;
}

/* On a guarded stream the guardian hears of it first. True: go on and add. */
static bool ask_guardian(struct core_call *call, struct stream *s, const struct add_args *a,
                         struct stream_id id, const struct str *fields, size_t pairs)
{
    if (!s)
        return true;
    bool asks = s->hooks && s->hooks->on_add;
    if (s->guard && (!asks || a->trims))
        return arg_unguarded(call, s);
    if (s->guard && a->idempotent) /* the guardian knows its messages itself */
        return arg_unguarded(call, s);
    if (!asks)
        return true;
    if (s->hooks->on_add(s->hooks_ctx, s, id, fields, pairs, call->now_ms))
        return true;
    call->changed = true;
    reply_id(call->reply, id);
    return false;
}

/* A message that is known already: told the entry it became. */
static bool is_repeated(struct core_call *call, struct stream *s, const struct add_args *a)
{
    struct stream_id entry;
    if (!s || !a->idempotent || !idmp_find(s->idmp, a->pid, a->iid, call->now_ms, &entry))
        return false;
    s->idmp->duplicates++;
    call->changed = true;
    reply_id(call->reply, entry);
    return true;
}

/* All that may fail; the stream is as before then. */
static int append(struct core_call *call, struct stream *s, const struct add_args *a,
                  struct stream_id id, const struct str *fields, size_t pairs)
{
    struct idmp_note note;
    if (!a->idempotent)
        return stream_append(s, id, fields, pairs);
    struct stream_idmp *m = s->idmp ? s->idmp : idmp_new();
    int rc = m ? idmp_prepare(m, a->pid, a->iid, &note) : TTG_ENOMEM;
    if (!rc) {
        rc = stream_append(s, id, fields, pairs);
        if (rc)
            idmp_cancel(&note);
        else
            idmp_commit(m, &note, id, call->now_ms);
    }
    if (rc && !s->idmp)
        idmp_free(m);
    else
        s->idmp = m;
    return rc;
}

void xadd(struct core *c, struct core_call *call)
{
    struct add_args a;
    struct stream *s, *existing;
    struct stream_id id;
    if (!parse(c, call, true, &a))
        return;
    size_t words = call->argc > a.fields_at ? call->argc - a.fields_at : 0, pairs = words / 2;
    if (pairs == 0 || words % 2) {
        reply_arity(call, "xadd");
        return;
    }
    if (a.id_given && !a.seq_auto && stream_id_zero(a.id)) {
        complain(call, "The ID specified in XADD must be greater than 0-0");
        return;
    }
    if (a.idempotent && a.id_given) {
        complain(call, "IDMP/IDMPAUTO can be used only with auto-generated IDs");
        return;
    }
    if (!arg_stream(c, call, 1, &existing))
        return;
    s = existing;
    if (!s && a.no_create) {
        reply_null(call->reply);
        return;
    }
    const struct str *fields = call->argv + a.fields_at;
    char iid[IDMP_AUTO_BYTES];
    if (a.iid_auto) {
        idmp_auto(fields, pairs, iid);
        a.iid = str_make(iid, sizeof iid);
    }
    if (is_repeated(call, s, &a))
        return;
    if (!choose_id(call, s, &a, &id) || !ask_guardian(call, s, &a, id, fields, pairs))
        return;
    int rc = s ? 0 : key_stream_open(c, call->argv[1], &s);
    if (!rc)
        rc = append(call, s, &a, id, fields, pairs);
    if (rc) {
        if (!existing && s)
            key_delete(c, key_find(c, call->argv[1]));
        reply_failure(call->reply, rc);
        return;
    }
    call->changed = true;
    if (a.trims)
        stream_trim(s, &a.trim, NULL); /* if old entries cannot be read, they stay */
    reply_id(call->reply, id);
    core_ready(c, call->argv[1]);
}

void xtrim(struct core *c, struct core_call *call)
{
    struct add_args a;
    struct stream *s;
    uint64_t removed = 0;
    if (!parse(c, call, false, &a) || !arg_stream(c, call, 1, &s) || !arg_unguarded(call, s))
        return;
    int rc = s ? stream_trim(s, &a.trim, &removed) : 0;
    if (rc) {
        reply_failure(call->reply, rc);
        return;
    }
    call->changed = removed > 0;
    reply_int(call->reply, (int64_t)removed);
}

void xdel(struct core *c, struct core_call *call)
{
    struct stream *s;
    struct id_list l;
    int64_t removed = 0;
    if (!arg_stream(c, call, 1, &s) || !arg_unguarded(call, s))
        return;
    if (!s) {
        reply_int(call->reply, 0);
        return;
    }
    size_t count = call->argc - 2;
    if (!id_list_init(&l, call, count))
        return;
    int rc = 0;
    for (size_t i = 0; i < count; i++)
        if (!arg_id(call, i + 2, 0, true, &l.ids[i]))
            goto out;
    for (size_t i = 0; i < count && rc != TTG_ENOMEM; i++) {
        rc = stream_remove(s, l.ids[i], true);
        removed += rc == 0;
    }
    call->changed = removed > 0;
    if (rc && rc != TTG_ENOENT && removed == 0)
        reply_failure(call->reply, rc);
    else
        reply_int(call->reply, removed);
out:
    id_list_done(&l);
}

void xsetid(struct core *c, struct core_call *call)
{
    struct stream_id id, deleted = STREAM_ID_MIN;
    int64_t added = -1;
    struct stream *s;
    if (!arg_id(call, 2, 0, true, &id))
        return;
    for (size_t i = 3; i < call->argc; i += 2) {
        bool more = i + 1 < call->argc;
        if (more && arg_is(call, i, "ENTRIESADDED")) {
            if (!arg_i64(call, i + 1, NULL, &added))
                return;
            if (added < 0) {
                complain(call, "entries_added must be positive");
                return;
            }
        } else if (more && arg_is(call, i, "MAXDELETEDID")) {
            if (!arg_id(call, i + 1, 0, true, &deleted))
                return;
            if (stream_id_cmp(id, deleted) < 0) {
                complain(call, "The ID specified in XSETID is smaller than the provided "
                               "max_deleted_entry_id");
                return;
            }
        } else {
            reply_syntax(call->reply);
            return;
        }
    }
    if (!arg_stream(c, call, 1, &s))
        return;
    if (!s) {
        reply_no_key(call->reply);
        return;
    }
    if (!arg_unguarded(call, s))
        return;
    if (s->length > 0 && stream_id_cmp(id, stream_last_live(s)) < 0) {
        complain(call, "The ID specified in XSETID is smaller than the target stream top item");
        return;
    }
    if (s->length > 0 && added != -1 && s->length > (uint64_t)added) {
        complain(call,
                 "The entries_added specified in XSETID is smaller than the target stream length");
        return;
    }
    int rc = stream_setid(s, id, added, deleted);
    if (rc) {
        reply_failure(call->reply, rc);
        return;
    }
    call->changed = true;
    reply_status(call->reply, "OK");
}
