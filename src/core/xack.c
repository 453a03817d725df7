/* SPDX-License-Identifier: Apache-2.0 */
/* xack - XACK and XPENDING: the end of a delivery, and what is still open. */
#include "base/err.h"
#include "core/xcmd.h"

struct stream_consumer *consumer_open(struct stream_group *g, struct str name, uint64_t now_ms)
{
    struct stream_consumer *consumer = stream_consumer_find(g, name);
    if (consumer)
        consumer->seen_ms = now_ms;
    return consumer ? consumer : stream_consumer_add(g, name, now_ms);
}

void xack(struct core *c, struct core_call *call)
{
    struct stream *s;
    struct id_list l;
    int64_t acked = 0;
    if (!arg_stream(c, call, 1, &s))
        return;
    struct stream_group *g = s ? stream_group_find(s, call->argv[2]) : NULL;
    if (!g) {
        reply_int(call->reply, 0);
        return;
    }
    size_t count = call->argc - 3;
    if (!id_list_init(&l, call, count))
        return;
    for (size_t i = 0; i < count; i++)
        if (!arg_id(call, i + 3, 0, true, &l.ids[i]))
            goto out;
    for (size_t i = 0; i < count; i++) {
        struct stream_pending *p = stream_pending_find(g, l.ids[i]);
        if (!p)
            continue;
        if (s->hooks && s->hooks->on_ack)
            s->hooks->on_ack(s->hooks_ctx, s, p, call->now_ms);
        stream_pending_remove(p);
        acked++;
    }
    call->changed = acked > 0;
    reply_int(call->reply, acked);
out:
    id_list_done(&l);
}

/* How many, from where to where, and how many each consumer has. */
static void summary(struct core_call *call, const struct stream_group *g)
{
    struct reply *r = call->reply;
    reply_array(r, 4);
    reply_int(r, (int64_t)g->pending.count);
    if (g->pending.count == 0) {
        reply_null(r);
        reply_null(r);
        reply_null_array(r);
        return;
    }
    reply_id(r, container_of(g->pending.first, struct stream_pending, by_group)->id);
    reply_id(r, container_of(g->pending.last, struct stream_pending, by_group)->id);
    size_t mark = reply_open(r), count = 0;
    for (struct tree_node *n = g->consumers.first; n; n = tree_next(n)) {
        const struct stream_consumer *c = container_of(n, struct stream_consumer, node);
        char digits[20];
        if (c->pending.count == 0)
            continue;
        reply_array(r, 2);
        reply_str(r, c->name);
        reply_str(r, str_make(digits, str_from_u64(digits, c->pending.count)));
        count++;
    }
    reply_close(r, mark, count);
}

struct pending_args {
    struct stream_id from, to;
    int64_t count, idle_ms;
    struct str consumer;
};

static bool parse_pending(struct core_call *call, struct pending_args *a)
{
    size_t at = 3;
    if (call->argc < 6 || call->argc > 9) {
        reply_syntax(call->reply);
        return false;
    }
    if (arg_is(call, 3, "IDLE")) {
        if (!arg_i64(call, 4, NULL, &a->idle_ms))
            return false;
        if (call->argc < 8) {
            reply_syntax(call->reply);
            return false;
        }
        at += 2;
    }
    if (!arg_i64(call, at + 2, NULL, &a->count) || !arg_range(call, at, at + 1, &a->from, &a->to))
        return false;
    if (at + 3 < call->argc)
        a->consumer = call->argv[at + 3];
    return true;
}

int64_t pending_idle_ms(const struct stream_pending *p, uint64_t now_ms)
{
    return (int64_t)(now_ms - p->delivered_ms);
}

static void list_pending(struct core_call *call, const struct stream_group *g,
                         const struct pending_args *a)
{
    struct reply *r = call->reply;
    const struct stream_consumer *only = NULL;
    if (a->consumer.ptr && !(only = stream_consumer_find(g, a->consumer))) {
        reply_array(r, 0);
        return;
    }
    size_t mark = reply_open(r), count = 0;
    struct stream_pending *p = a->count > 0 ? stream_pending_from(g, only, a->from) : NULL;
    for (; p && (int64_t)count < a->count && stream_id_cmp(p->id, a->to) <= 0;
         p = stream_pending_next(p, only)) {
        int64_t idle_ms = pending_idle_ms(p, call->now_ms);
        if (a->idle_ms && idle_ms < a->idle_ms)
            continue;
        reply_array(r, 4);
        reply_id(r, p->id);
        reply_str(r, p->consumer->name);
        if (stream_is_released(p))
            reply_int(r, -1);
        else
            reply_int(r, idle_ms < 0 ? 0 : idle_ms);
        reply_int(r, (int64_t)p->deliveries);
        count++;
    }
    reply_close(r, mark, count);
}

void xpending(struct core *c, struct core_call *call)
{
    struct pending_args a = {0};
    struct stream *s;
    if (call->argc != 3 && !parse_pending(call, &a))
        return;
    if (!arg_stream(c, call, 1, &s))
        return;
    const struct stream_group *g = s ? stream_group_find(s, call->argv[2]) : NULL;
    if (!g)
        reply_error(call->reply, "NOGROUP No such key '%.*s' or consumer group '%.*s'",
                    STR_ARG(call->argv[1]), STR_ARG(call->argv[2]));
    else if (call->argc == 3)
        summary(call, g);
    else
        list_pending(call, g, &a);
}
