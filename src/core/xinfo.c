/* SPDX-License-Identifier: Apache-2.0 */
/* xinfo - XINFO: a look inside streams, groups and consumers. */
#include "core/parts.h"
#include "core/stream_idmp.h"
#include "core/xcmd.h"

enum { FULL_COUNT_DEFAULT = 10 };

static void field_int(struct reply *r, const char *name, int64_t value)
{
    reply_text(r, name);
    reply_int(r, value);
}

static void field_id(struct reply *r, const char *name, struct stream_id id)
{
    reply_text(r, name);
    reply_id(r, id);
}

static void field_str(struct reply *r, const char *name, struct str s)
{
    reply_text(r, name);
    reply_str(r, s);
}

/* "entries-read" and "lag": null when unknown. */
static void read_counters(struct reply *r, const struct stream_group *g)
{
    int64_t lag;
    reply_text(r, "entries-read");
    if (g->entries_read == STREAM_READ_UNKNOWN)
        reply_null(r);
    else
        reply_int(r, g->entries_read);
    reply_text(r, "lag");
    if (stream_group_lag(g, &lag))
        reply_int(r, lag);
    else
        reply_null(r);
}

static void full_pending(struct reply *r, const struct stream_group *g,
                         const struct stream_consumer *only, int64_t limit)
{
    size_t mark = reply_open(r), count = 0;
    struct stream_pending *p = stream_pending_from(g, only, STREAM_ID_MIN);
    for (; p && (!limit || (int64_t)count < limit); p = stream_pending_next(p, only)) {
        reply_array(r, only ? 3 : 4);
        reply_id(r, p->id);
        if (!only)
            reply_str(r, p->consumer->name);
        reply_int(r, (int64_t)p->delivered_ms);
        reply_int(r, (int64_t)p->deliveries);
        count++;
    }
    reply_close(r, mark, count);
}

static void full_consumer(struct reply *r, const struct stream_consumer *c, int64_t limit)
{
    reply_map(r, 4);
    field_str(r, "name", c->name);
    field_int(r, "seen-time", (int64_t)c->seen_ms);
    field_int(r, "pel-count", (int64_t)c->pending.count);
    reply_text(r, "pending");
    full_pending(r, c->group, c, limit);
}

static void full_group(struct reply *r, const struct stream_group *g, int64_t limit)
{
    reply_map(r, 7);
    field_str(r, "name", g->name);
    field_id(r, "last-delivered-id", g->last_id);
    read_counters(r, g);
    field_int(r, "pel-count", (int64_t)g->pending.count);
    reply_text(r, "pending");
    full_pending(r, g, NULL, limit);
    reply_text(r, "consumers");
    reply_array(r, g->consumers.count);
    for (struct tree_node *n = g->consumers.first; n; n = tree_next(n))
        full_consumer(r, container_of(n, struct stream_consumer, node), limit);
}

/* The first or last entry, or null. */
static void edge_entry(struct reply *r, const struct stream *s, bool last)
{
    struct stream_iter it;
    struct stream_entry e;
    stream_iter_open(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, last);
    if (stream_iter_next(&it, &e))
        reply_entry(r, &e);
    else
        reply_null(r);
    stream_iter_close(&it);
}

static void info_idmp(struct reply *r, const struct stream_idmp *m)
{
    field_int(r, "idmp-duration", (int64_t)m->duration_s);
    field_int(r, "idmp-maxsize", (int64_t)m->ids_max);
    field_int(r, "pids-tracked", (int64_t)m->producers.count);
    field_int(r, "iids-tracked", (int64_t)m->ids);
    field_int(r, "iids-added", (int64_t)m->added);
    field_int(r, "iids-duplicates", (int64_t)m->duplicates);
}

/* `limit` -1: the short form. */
static void info_stream(struct core_call *call, const struct stream *s, int64_t limit)
{
    struct reply *r = call->reply;
    bool full = limit >= 0;
    reply_map(r, (full ? 9u : 10u) + (s->idmp ? 6u : 0u));
    field_int(r, "length", (int64_t)s->length);
    field_int(r, "radix-tree-keys", (int64_t)s->count); /* blocks are our nodes */
    field_int(r, "radix-tree-nodes", (int64_t)s->count + 1);
    field_id(r, "last-generated-id", s->last_id);
    field_id(r, "max-deleted-entry-id", s->max_deleted_id);
    field_int(r, "entries-added", (int64_t)s->entries_added);
    field_id(r, "recorded-first-entry-id", s->first_id);
    if (s->idmp)
        info_idmp(r, s->idmp);
    if (!full) {
        field_int(r, "groups", (int64_t)s->groups.count);
        reply_text(r, "first-entry");
        edge_entry(r, s, false);
        reply_text(r, "last-entry");
        edge_entry(r, s, true);
        return;
    }
    reply_text(r, "entries");
    reply_range(r, s, STREAM_ID_MIN, STREAM_ID_MAX, false, (uint64_t)limit);
    reply_text(r, "groups");
    reply_array(r, s->groups.count);
    for (struct tree_node *n = s->groups.first; n; n = tree_next(n))
        full_group(r, container_of(n, struct stream_group, node), limit);
}

static void info_groups(struct core_call *call, const struct stream *s)
{
    struct reply *r = call->reply;
    reply_array(r, s->groups.count);
    for (struct tree_node *n = s->groups.first; n; n = tree_next(n)) {
        const struct stream_group *g = container_of(n, struct stream_group, node);
        reply_map(r, 6);
        field_str(r, "name", g->name);
        field_int(r, "consumers", (int64_t)g->consumers.count);
        field_int(r, "pending", (int64_t)g->pending.count);
        field_id(r, "last-delivered-id", g->last_id);
        read_counters(r, g);
    }
}

static void info_consumers(struct core_call *call, const struct stream *s)
{
    struct reply *r = call->reply;
    const struct stream_group *g = stream_group_find(s, call->argv[3]);
    if (!g) {
        reply_error(r, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                    STR_ARG(call->argv[3]), STR_ARG(call->argv[2]));
        return;
    }
    reply_array(r, g->consumers.count);
    for (struct tree_node *n = g->consumers.first; n; n = tree_next(n)) {
        const struct stream_consumer *c = container_of(n, struct stream_consumer, node);
        int64_t idle_ms = (int64_t)(call->now_ms - c->seen_ms);
        reply_map(r, 3);
        field_str(r, "name", c->name);
        field_int(r, "pending", (int64_t)c->pending.count);
        field_int(r, "idle", idle_ms < 0 ? 0 : idle_ms);
    }
}

static void reply_sub_syntax(struct core_call *call)
{
    struct str sub = call->argv[1];
    reply_error(call->reply,
                "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try XINFO HELP.",
                (int)(sub.len > 128 ? 128 : sub.len), sub.ptr);
}

/* FULL and FULL COUNT n. */
static bool parse_full(struct core_call *call, int64_t *ret_limit)
{
    *ret_limit = -1;
    if (call->argc == 3)
        return true;
    bool fits = (call->argc == 4 || call->argc == 6) && arg_is(call, 3, "FULL") &&
                (call->argc == 4 || arg_is(call, 4, "COUNT"));
    if (!fits) {
        reply_sub_syntax(call);
        return false;
    }
    *ret_limit = FULL_COUNT_DEFAULT;
    if (call->argc == 6 && !arg_i64(call, 5, NULL, ret_limit))
        return false;
    if (*ret_limit < 0)
        *ret_limit = FULL_COUNT_DEFAULT;
    return true;
}

static const char *const help[] = {
    "CONSUMERS <key> <groupname>",
    "    Shows the consumers of a group.",
    "GROUPS <key>",
    "    Shows the groups of a stream.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Shows a stream.",
    NULL,
};

void xinfo(struct core *c, struct core_call *call)
{
    const struct core_command *row;
    struct stream *s;
    int64_t limit;
    if (!core_sub_find(call, &row))
        return;
    if (arg_is(call, 1, "HELP")) {
        reply_help(call->reply, "XINFO", help);
        return;
    }
    if (!arg_stream(c, call, 2, &s))
        return;
    if (!s)
        reply_no_key(call->reply);
    else if (arg_is(call, 1, "GROUPS"))
        info_groups(call, s);
    else if (arg_is(call, 1, "CONSUMERS"))
        info_consumers(call, s);
    else if (parse_full(call, &limit))
        info_stream(call, s, limit);
}
