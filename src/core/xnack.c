/* SPDX-License-Identifier: Apache-2.0 */
/* xnack - XNACK of Redis 8.8: pending entries go back to the group, for anybody to claim at once.
 */
#include "base/err.h"
#include "core/xcmd.h"

enum mode { SILENT, FAIL, FATAL }; /* one delivery less, as many, so many that nobody tries again */

struct nack {
    enum mode mode;
    size_t ids_at, count;
    int64_t deliveries; /* -1: by the mode */
    bool force;
};

static bool parse_mode(struct core_call *call, enum mode *ret_mode)
{
    static const char *const names[] = {[SILENT] = "SILENT", [FAIL] = "FAIL", [FATAL] = "FATAL"};
    for (int i = SILENT; i <= FATAL; i++) {
        if (!arg_is(call, 3, names[i]))
            continue;
        *ret_mode = (enum mode)i;
        return true;
    }
    reply_syntax(call->reply);
    return false;
}

static bool parse_options(struct core_call *call, size_t at, struct nack *n)
{
    for (; at < call->argc; at++) {
        if (arg_is(call, at, "FORCE")) {
            n->force = true;
        } else if (at + 1 < call->argc && arg_is(call, at, "RETRYCOUNT")) {
            if (!arg_i64(call, ++at, "Invalid RETRYCOUNT option argument for XNACK",
                         &n->deliveries))
                return false;
            if (n->deliveries < 0) {
                reply_error(call->reply, "ERR RETRYCOUNT must be a positive integer");
                return false;
            }
        } else {
            reply_syntax(call->reply);
            return false;
        }
    }
    return true;
}

static bool parse(struct core_call *call, struct nack *n)
{
    int64_t count;
    *n = (struct nack){.ids_at = 6, .deliveries = -1};
    if (!parse_mode(call, &n->mode))
        return false;
    if (!arg_is(call, 4, "IDS")) {
        reply_syntax(call->reply);
        return false;
    }
    if (!arg_i64(call, 5, "Number of IDs must be a positive integer", &count))
        return false;
    if (count < 1 || (uint64_t)count > call->argc - n->ids_at) {
        reply_error(call->reply, "ERR The `numids` parameter must match the number of arguments");
        return false;
    }
    n->count = (size_t)count;
    return parse_options(call, n->ids_at + n->count, n);
}

static uint64_t deliveries(const struct nack *n, uint64_t now)
{
    if (n->deliveries >= 0)
        return (uint64_t)n->deliveries;
    if (n->mode == FATAL)
        return INT64_MAX;
    return n->mode == SILENT && now > 0 ? now - 1 : now;
}

/* Also without `p`, by force: as if it had been delivered and released. */
static bool release(struct stream_group *g, struct stream_pending *p, struct stream_id id,
                    const struct nack *n)
{
    if (p) {
        stream_release(p, deliveries(n, p->deliveries));
        return true;
    }
    if (!n->force || !stream_has(g->stream, id))
        return false;
    struct stream_id last_id = g->last_id;
    int64_t entries_read = g->entries_read;
    p = stream_deliver(&g->nobody, id, 0);
    g->last_id = last_id;
    g->entries_read = entries_read;
    if (p)
        stream_release(p, deliveries(n, 0));
    return p != NULL;
}

void xnack(struct core *c, struct core_call *call)
{
    struct nack n;
    struct stream *s;
    struct id_list l;
    int64_t released = 0;
    if (!parse(call, &n) || !arg_stream(c, call, 1, &s) || !arg_unguarded(call, s))
        return;
    struct stream_group *g = s ? stream_group_find(s, call->argv[2]) : NULL;
    if (!g) {
        reply_error(call->reply, "NOGROUP No such key '%.*s' or consumer group '%.*s'",
                    STR_ARG(call->argv[1]), STR_ARG(call->argv[2]));
        return;
    }
    if (!id_list_init(&l, call, n.count))
        return;
    for (size_t i = 0; i < n.count; i++)
        if (!arg_id(call, n.ids_at + i, 0, true, &l.ids[i]))
            goto out;
    for (size_t i = 0; i < n.count; i++)
        released += release(g, stream_pending_find(g, l.ids[i]), l.ids[i], &n);
    call->changed = released > 0;
    reply_int(call->reply, released);
    if (released > 0)
        core_ready(c, call->argv[1]); /* who reads with CLAIM waits for it */
out:
    id_list_done(&l);
}
