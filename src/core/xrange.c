/* SPDX-License-Identifier: Apache-2.0 */
/* xrange - XLEN, XRANGE, XREVRANGE, and how entries are written into answers. */
#include "base/err.h"
#include "core/xcmd.h"

static void entry_content(struct reply *r, struct stream_entry *e)
{
    reply_id(r, e->id);
    reply_array(r, e->pairs * 2);
    for (size_t i = 0; i < e->pairs; i++) {
        struct str name, value;
        stream_entry_field(e, &name, &value);
        reply_str(r, name);
        reply_str(r, value);
    }
}

void reply_entry(struct reply *r, struct stream_entry *e)
{
    if (!r->out)
        return;
    reply_array(r, 2);
    entry_content(r, e);
}

void reply_delivery(struct reply *r, struct stream_entry *e, int64_t idle_ms, uint64_t deliveries)
{
    if (!r->out)
        return;
    reply_array(r, 4);
    entry_content(r, e);
    reply_int(r, idle_ms < 0 ? 0 : idle_ms);
    reply_int(r, (int64_t)deliveries);
}

bool reply_range(struct reply *r, const struct stream *s, struct stream_id from,
                 struct stream_id to, bool reverse, uint64_t limit)
{
    struct stream_iter it;
    struct stream_entry e;
    if (!r->out)
        return true;
    size_t mark = reply_open(r), count = 0;
    stream_iter_open(&it, s, from, to, reverse);
    while ((!limit || count < limit) && stream_iter_next(&it, &e)) {
        reply_entry(r, &e);
        count++;
    }
    int rc = it.rc;
    stream_iter_close(&it);
    if (rc) { /* what was read so far stands; the error is the last element */
        reply_failure(r, rc);
        count++;
    }
    reply_close(r, mark, count);
    return rc == 0;
}

bool reply_one(struct reply *r, const struct stream *s, struct stream_id id)
{
    struct stream_iter it;
    struct stream_entry e;
    stream_iter_open(&it, s, id, id, false);
    bool found = stream_iter_next(&it, &e);
    if (found)
        reply_entry(r, &e);
    stream_iter_close(&it);
    return found;
}

void xlen(struct core *c, struct core_call *call)
{
    struct stream *s;
    if (arg_stream(c, call, 1, &s))
        reply_int(call->reply, s ? (int64_t)s->length : 0);
}

void xrange(struct core *c, struct core_call *call)
{
    bool reverse = arg_is(call, 0, "XREVRANGE");
    struct stream_id from, to;
    struct stream *s;
    int64_t count = -1;
    if (!arg_range(call, reverse ? 3 : 2, reverse ? 2 : 3, &from, &to))
        return;
    for (size_t i = 4; i < call->argc; i += 2) {
        if (!arg_is(call, i, "COUNT") || i + 1 == call->argc) {
            reply_syntax(call->reply);
            return;
        }
        if (!arg_i64(call, i + 1, NULL, &count))
            return;
        count = count < 0 ? 0 : count;
    }
    if (!arg_stream(c, call, 1, &s))
        return;
    if (!s)
        reply_array(call->reply, 0);
    else if (count == 0)
        reply_null_array(call->reply);
    else
        reply_range(call->reply, s, from, to, reverse, count < 0 ? 0 : (uint64_t)count);
}
