/* SPDX-License-Identifier: Apache-2.0 */
/* xclaim - XCLAIM and XAUTOCLAIM: pending entries change hands. */
#include "base/err.h"
#include "base/mem.h"
#include "core/xcmd.h"

enum { AUTOCLAIM_COUNT_DEFAULT = 100, AUTOCLAIM_ATTEMPTS = 10 };

struct claim {
    struct core_call *call;
    struct stream *s;
    struct stream_group *g;
    struct str who;
    struct stream_consumer *consumer; /* made when the first entry is taken */
    int64_t idle_ms_min;
    bool just_id;
    int64_t deliveries;    /* -1: count one more */
    uint64_t delivered_ms; /* what the entries get */
};

static void reply_no_group(struct core_call *call)
{
    reply_error(call->reply, "NOGROUP No such key '%.*s' or consumer group '%.*s'",
                STR_ARG(call->argv[1]), STR_ARG(call->argv[2]));
}

/* The entry of a pending one no longer exists. */
static void forget(struct claim *cl, struct stream_pending *p)
{
    if (cl->s->hooks && cl->s->hooks->on_ack)
        cl->s->hooks->on_ack(cl->s->hooks_ctx, cl->s, p, cl->call->now_ms);
    stream_pending_remove(p);
    cl->call->changed = true;
}

/* What a guardian holds for somebody whose life it watches is never idle. */
static bool idle_enough(const struct claim *cl, const struct stream_pending *p)
{
    if (p->owner)
        return false;
    return !cl->idle_ms_min || pending_idle_ms(p, cl->call->now_ms) >= cl->idle_ms_min;
}

/* Gives the entry, which exists, to the claimer and writes it out. `p` NULL: by force, it was not
 * pending. False: no memory, nothing has changed. */
static bool take(struct claim *cl, struct stream_id id, struct stream_pending *p)
{
    struct core_call *call = cl->call;
    if (!cl->consumer)
        cl->consumer = consumer_open(cl->g, cl->who, call->now_ms);
    if (!cl->consumer)
        return false;
    uint64_t deliveries = (p ? p->deliveries : 1) + (cl->just_id ? 0u : 1u);
    if (cl->deliveries >= 0)
        deliveries = (uint64_t)cl->deliveries;
    if (!p) { /* by force: the group has not read it */
        struct stream_id last_id = cl->g->last_id;
        int64_t entries_read = cl->g->entries_read;
        p = stream_deliver(cl->consumer, id, cl->delivered_ms);
        cl->g->last_id = last_id;
        cl->g->entries_read = entries_read;
    }
    if (!p)
        return false;
    stream_pending_move(p, cl->consumer, cl->delivered_ms, deliveries);
    call->changed = true;
    if (cl->just_id)
        reply_id(call->reply, id);
    else if (call->reply->out)
        reply_one(call->reply, cl->s, id);
    if (cl->s->hooks && cl->s->hooks->on_deliver)
        cl->s->hooks->on_deliver(cl->s->hooks_ctx, cl->s, p, id, call->now_ms);
    return true;
}

struct claim_options {
    bool force;
    struct stream_id last_id;
    int64_t delivered_ms; /* -1: not given */
};

static bool parse_options(struct claim *cl, size_t i, struct claim_options *o)
{
    struct core_call *call = cl->call;
    for (; i < call->argc; i++) {
        bool more = i + 1 < call->argc;
        if (arg_is(call, i, "FORCE")) {
            o->force = true;
        } else if (arg_is(call, i, "JUSTID")) {
            cl->just_id = true;
        } else if (more && arg_is(call, i, "IDLE")) {
            if (!arg_i64(call, ++i, "Invalid IDLE option argument for XCLAIM", &o->delivered_ms))
                return false;
            o->delivered_ms = (int64_t)(call->now_ms - (uint64_t)o->delivered_ms);
        } else if (more && arg_is(call, i, "TIME")) {
            if (!arg_i64(call, ++i, "Invalid TIME option argument for XCLAIM", &o->delivered_ms))
                return false;
        } else if (more && arg_is(call, i, "RETRYCOUNT")) {
            if (!arg_i64(call, ++i, "Invalid RETRYCOUNT option argument for XCLAIM",
                         &cl->deliveries))
                return false;
        } else if (more && arg_is(call, i, "LASTID")) {
            if (!arg_id(call, ++i, 0, true, &o->last_id))
                return false;
        } else {
            reply_error(call->reply, "ERR Unrecognized XCLAIM option '%.*s'",
                        STR_ARG(call->argv[i]));
            return false;
        }
    }
    return true;
}

static void claim_all(struct claim *cl, const struct claim_options *o, const struct stream_id *ids,
                      size_t count)
{
    struct reply *r = cl->call->reply;
    size_t mark = reply_open(r), claimed = 0;
    for (size_t i = 0; i < count; i++) {
        struct stream_pending *p = stream_pending_find(cl->g, ids[i]);
        if (!p && !o->force)
            continue;
        int rc = stream_lookup(cl->s, ids[i]);
        if (rc == TTG_ENOENT && p)
            forget(cl, p);
        if (rc)
            continue; /* what cannot be read stays pending */
        if ((!p || idle_enough(cl, p)) && take(cl, ids[i], p))
            claimed++;
    }
    reply_close(r, mark, claimed);
}

void xclaim(struct core *c, struct core_call *call)
{
    struct claim cl = {.call = call, .who = call->argv[3], .deliveries = -1};
    struct claim_options o = {.delivered_ms = -1};
    struct id_list l;
    if (!arg_stream(c, call, 1, &cl.s))
        return;
    cl.g = cl.s ? stream_group_find(cl.s, call->argv[2]) : NULL;
    if (!cl.g) {
        reply_no_group(call);
        return;
    }
    if (!arg_i64(call, 4, "Invalid min-idle-time argument for XCLAIM", &cl.idle_ms_min))
        return;
    cl.idle_ms_min = cl.idle_ms_min < 0 ? 0 : cl.idle_ms_min;
    if (!id_list_init(&l, call, call->argc - 5))
        return;
    size_t count = 0;
    while (count + 5 < call->argc &&
           args_parse_id(call->argv[count + 5], 0, true, NULL, &l.ids[count]))
        count++;
    if (parse_options(&cl, count + 5, &o)) {
        if (stream_id_cmp(o.last_id, cl.g->last_id) > 0) {
            cl.g->last_id = o.last_id;
            call->changed = true;
        }
        bool sane = o.delivered_ms >= 0 && (uint64_t)o.delivered_ms <= call->now_ms;
        cl.delivered_ms = sane ? (uint64_t)o.delivered_ms : call->now_ms;
        claim_all(&cl, &o, l.ids, count);
    }
    id_list_done(&l);
}

static bool parse_auto(struct claim *cl, struct stream_id *ret_from, int64_t *ret_count)
{
    struct core_call *call = cl->call;
    const int64_t count_max = INT64_MAX / (int64_t)sizeof(struct stream_id);
    if (!arg_i64(call, 4, "Invalid min-idle-time argument for XAUTOCLAIM", &cl->idle_ms_min))
        return false;
    cl->idle_ms_min = cl->idle_ms_min < 0 ? 0 : cl->idle_ms_min;
    if (!arg_range_start(call, 5, ret_from))
        return false;
    for (size_t i = 6; i < call->argc; i++) {
        if (i + 1 < call->argc && arg_is(call, i, "COUNT")) {
            if (!arg_i64(call, ++i, "COUNT must be > 0", ret_count))
                return false;
            if (*ret_count < 1 || *ret_count > count_max) {
                reply_error(call->reply, "ERR COUNT must be > 0");
                return false;
            }
        } else if (arg_is(call, i, "JUSTID")) {
            cl->just_id = true;
        } else {
            reply_syntax(call->reply);
            return false;
        }
    }
    return true;
}

/* Walks the pending entries: the claimed ones go into the answer, those whose entry is gone into
 * `gone`. Returns the id to go on from. */
static struct stream_id sweep(struct claim *cl, struct stream_id from, int64_t count,
                              struct buf *gone)
{
    struct reply *r = cl->call->reply;
    size_t mark = reply_open(r), claimed = 0;
    uint64_t attempts = (uint64_t)count * AUTOCLAIM_ATTEMPTS;
    struct stream_pending *p = stream_pending_from(cl->g, NULL, from), *next;
    for (; p && attempts > 0 && count > 0; p = next, attempts--) {
        next = stream_pending_next(p, false);
        int rc = stream_lookup(cl->s, p->id);
        if (rc == TTG_ENOENT) {
            if (buf_add(gone, &p->id, sizeof p->id))
                break;
            forget(cl, p);
            count--;
        } else if (!rc && idle_enough(cl, p)) {
            if (!take(cl, p->id, p))
                break;
            claimed++;
            count--;
        }
    }
    reply_close(r, mark, claimed);
    return p ? p->id : STREAM_ID_MIN;
}

void xautoclaim(struct core *c, struct core_call *call)
{
    struct claim cl = {
        .call = call, .who = call->argv[3], .deliveries = -1, .delivered_ms = call->now_ms};
    struct stream_id from;
    int64_t count = AUTOCLAIM_COUNT_DEFAULT;
    if (!parse_auto(&cl, &from, &count) || !arg_stream(c, call, 1, &cl.s))
        return;
    cl.g = cl.s ? stream_group_find(cl.s, call->argv[2]) : NULL;
    if (!cl.g) {
        reply_no_group(call);
        return;
    }
    struct buf claimed, gone;
    buf_init(&claimed, SIZE_MAX / 2);
    buf_init(&gone, SIZE_MAX / 2);
    struct reply *r = call->reply, part = {.out = r->out ? &claimed : NULL, .resp3 = r->resp3};
    call->reply = &part; /* the cursor goes before the entries and is known behind them */
    struct stream_id cursor = sweep(&cl, from, count, &gone);
    call->reply = r;
    reply_array(r, 3);
    reply_id(r, cursor);
    if (r->out && !r->rc)
        r->rc = part.rc ? part.rc : buf_add_str(r->out, buf_str(&claimed));
    size_t gone_count = buf_len(&gone) / sizeof(struct stream_id);
    reply_array(r, gone_count);
    for (size_t i = 0; i < gone_count; i++) {
        struct stream_id id;
        memcpy(&id, buf_ptr(&gone) + i * sizeof id, sizeof id);
        reply_id(r, id);
    }
    buf_done(&claimed);
    buf_done(&gone);
}
