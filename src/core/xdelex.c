/* SPDX-License-Identifier: Apache-2.0 */
/* xdelex - XDELEX and XACKDEL of Redis 8.2: deletion that looks after the groups' references. */
#include "base/err.h"
#include "core/xcmd.h"

enum refs { KEEP, DELETE, ACKED }; /* what happens to pending entries of a deleted entry */
enum outcome { NO_ENTRY = -1, DELETED = 1, REFERENCED = 2 };

/* "[KEEPREF | DELREF | ACKED] IDS numids id ..." from argv[at] on. */
static bool parse(struct core_call *call, size_t at, enum refs *ret_refs, size_t *ret_ids_at)
{
    int64_t count;
    *ret_refs = KEEP;
    for (; at < call->argc && !arg_is(call, at, "IDS"); at++) {
        if (arg_is(call, at, "DELREF")) {
            *ret_refs = DELETE;
        } else if (arg_is(call, at, "ACKED")) {
            *ret_refs = ACKED;
        } else if (!arg_is(call, at, "KEEPREF")) {
            reply_syntax(call->reply);
            return false;
        }
    }
    if (at + 2 >= call->argc) {
        reply_syntax(call->reply);
        return false;
    }
    if (!arg_i64(call, at + 1, "Number of IDs must be a positive integer", &count))
        return false;
    if (count < 1 || (uint64_t)count != call->argc - at - 2) {
        reply_error(call->reply, "ERR The `numids` parameter must match the number of arguments");
        return false;
    }
    *ret_ids_at = at + 2;
    return true;
}

/* Whether a group has still to read the entry or to acknowledge it; without groups, too. */
static bool referenced(const struct stream *s, struct stream_id id)
{
    for (struct tree_node *n = s->groups.first; n; n = tree_next(n)) {
        const struct stream_group *g = container_of(n, struct stream_group, node);
        if (stream_id_cmp(g->last_id, id) < 0 || stream_pending_find(g, id))
            return true;
    }
    return s->groups.count == 0;
}

static void drop_refs(struct core_call *call, struct stream *s, struct stream_id id)
{
    for (struct tree_node *n = s->groups.first; n; n = tree_next(n)) {
        struct stream_pending *p =
            stream_pending_find(container_of(n, struct stream_group, node), id);
        if (!p)
            continue;
        stream_pending_remove(p);
        call->changed = true;
    }
}

static enum outcome delete_one(struct core_call *call, struct stream *s, enum refs refs,
                               struct stream_id id)
{
    if (refs == DELETE)
        drop_refs(call, s, id);
    if (refs == ACKED && stream_has(s, id) && referenced(s, id))
        return REFERENCED;
    if (stream_remove(s, id, true))
        return NO_ENTRY;
    call->changed = true;
    return DELETED;
}

/* `g` NULL: XDELEX. With a group, only what was pending there is deleted. */
static void delete_all(struct core_call *call, struct stream *s, struct stream_group *g,
                       enum refs refs, const struct stream_id *ids, size_t count)
{
    reply_array(call->reply, count);
    for (size_t i = 0; i < count; i++) {
        struct stream_pending *p = g ? stream_pending_find(g, ids[i]) : NULL;
        if (g && !p) {
            if (refs == DELETE)
                drop_refs(call, s, ids[i]);
            reply_int(call->reply, NO_ENTRY);
            continue;
        }
        if (p) {
            stream_pending_remove(p);
            call->changed = true;
        }
        reply_int(call->reply, delete_one(call, s, refs, ids[i]));
    }
}

void xdelex(struct core *c, struct core_call *call)
{
    bool acks = arg_is(call, 0, "XACKDEL");
    enum refs refs;
    size_t at;
    struct stream *s;
    struct id_list l;
    if (!parse(call, acks ? 3 : 2, &refs, &at) || !arg_stream(c, call, 1, &s) ||
        !arg_unguarded(call, s))
        return;
    struct stream_group *g = s && acks ? stream_group_find(s, call->argv[2]) : NULL;
    size_t count = call->argc - at;
    if (!id_list_init(&l, call, count))
        return;
    for (size_t i = 0; i < count; i++)
        if (!arg_id(call, at + i, 0, true, &l.ids[i]))
            goto out;
    if (s && (g || !acks)) {
        delete_all(call, s, g, refs, l.ids, count);
    } else {
        reply_array(call->reply, count);
        for (size_t i = 0; i < count; i++)
            reply_int(call->reply, NO_ENTRY);
    }
out:
    id_list_done(&l);
}
