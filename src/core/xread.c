/* SPDX-License-Identifier: Apache-2.0 */
/* xread - XREAD and XREADGROUP, waiting included.
 *
 * A command that finds nothing and may wait changes nothing and says so; the node runs the same
 * words again when one of the keys becomes ready. `$` means the end of the stream at the first
 * run, so the ids are kept in call->resume meanwhile. A retry of XREADGROUP is an ordinary run to
 * the log, so it gives what an ordinary run would; it only words its errors differently, as the key
 * or group was there when it began. */
#include "base/err.h"
#include "base/mem.h"
#include "core/xcmd.h"

enum { READ_WOKEN_COUNT = 1000 }; /* without COUNT, to a client that has waited */

/* One stream of the command. */
struct source {
    struct str name;
    struct stream *s; /* NULL: there is none */
    struct stream_group *g;
    struct stream_id after;
    bool fresh; /* the id was ">" */
    bool serve;
};

struct read {
    bool in_group, noack, blocks, claims;
    int64_t count, timeout_ms, claim_ms;
    struct str group, consumer;
    size_t keys_at, n;
    struct source *sources;
};

static bool complain(struct core_call *call, const char *what)
{
    reply_error(call->reply, "ERR %s", what);
    return false;
}

static bool parse_timeout(struct core_call *call, size_t i, struct read *r)
{
    if (!arg_i64(call, i, "timeout is not an integer or out of range", &r->timeout_ms))
        return false;
    if (r->timeout_ms < 0)
        return complain(call, "timeout is negative");
    if (r->timeout_ms > INT64_MAX - (int64_t)call->now_ms)
        return complain(call, "timeout is out of range");
    r->blocks = true;
    return true;
}

static bool parse_claim(struct core_call *call, size_t i, struct read *r)
{
    if (!r->in_group)
        return complain(call, "The CLAIM option is only supported by XREADGROUP. You called XREAD "
                              "instead.");
    if (!arg_i64(call, i, "min-idle-time is not an integer", &r->claim_ms))
        return false;
    if (r->claim_ms < 0)
        return complain(call, "min-idle-time must be a positive integer");
    r->claims = true;
    return true;
}

static bool parse_option(struct core_call *call, size_t *i, struct read *r)
{
    size_t more = call->argc - *i - 1;
    if (more >= 1 && arg_is(call, *i, "BLOCK"))
        return parse_timeout(call, ++*i, r);
    if (more >= 1 && arg_is(call, *i, "COUNT")) {
        if (!arg_i64(call, ++*i, NULL, &r->count))
            return false;
        r->count = r->count < 0 ? 0 : r->count;
        return true;
    }
    if (more >= 1 && arg_is(call, *i, "CLAIM"))
        return parse_claim(call, ++*i, r);
    if (more >= 2 && arg_is(call, *i, "GROUP")) {
        if (!r->in_group)
            return complain(call, "The GROUP option is only supported by XREADGROUP. You called "
                                  "XREAD instead.");
        r->group = call->argv[*i + 1];
        r->consumer = call->argv[*i + 2];
        *i += 2;
        return true;
    }
    if (arg_is(call, *i, "NOACK")) {
        if (!r->in_group)
            return complain(call, "The NOACK option is only supported by XREADGROUP. You called "
                                  "XREAD instead.");
        r->noack = true;
        return true;
    }
    reply_syntax(call->reply);
    return false;
}

static bool parse(struct core_call *call, struct read *r)
{
    r->in_group = arg_is(call, 0, "XREADGROUP");
    for (size_t i = 1; i < call->argc && !r->keys_at; i++) {
        if (i + 1 < call->argc && arg_is(call, i, "STREAMS")) {
            r->keys_at = i + 1;
            r->n = (call->argc - r->keys_at) / 2;
            if ((call->argc - r->keys_at) % 2)
                return complain(call, "Unbalanced XREAD list of streams: for each stream key an "
                                      "ID or '$' must be specified.");
        } else if (!parse_option(call, &i, r)) {
            return false;
        }
    }
    if (!r->keys_at) {
        reply_syntax(call->reply);
        return false;
    }
    if (call->retry && !r->in_group && r->count == 0)
        r->count = READ_WOKEN_COUNT;
    if (r->in_group && !r->group.ptr)
        return complain(call, "Missing GROUP option for XREADGROUP");
    return true;
}

/* The group of a source; the words of the refusal depend on whether the client has waited. */
static bool find_group(struct core_call *call, const struct read *r, struct source *from)
{
    from->g = from->s ? stream_group_find(from->s, r->group) : NULL;
    if (from->g)
        return true;
    if (!call->retry)
        reply_error(call->reply,
                    "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with GROUP "
                    "option",
                    STR_ARG(from->name), STR_ARG(r->group));
    else if (!from->s)
        reply_error(call->reply, "UNBLOCKED the stream key no longer exists");
    else
        reply_error(call->reply, "NOGROUP the consumer group this client was blocked on no longer "
                                 "exists");
    return false;
}

static bool parse_id(struct core_call *call, const struct read *r, size_t at, struct source *from)
{
    struct str id = call->argv[at];
    if (str_eq(id, STR("$"))) {
        if (r->in_group)
            return complain(call,
                            "The $ ID is meaningless in the context of XREADGROUP: you want to "
                            "read the history of this consumer by specifying a proper ID, or use "
                            "the > ID to get new messages. The $ ID would just return an empty "
                            "result set.");
        from->after = from->s ? from->s->last_id : STREAM_ID_MIN;
        return true;
    }
    if (str_eq(id, STR(">"))) {
        if (!r->in_group)
            return complain(call, "The > ID can be specified only when calling XREADGROUP using "
                                  "the GROUP <group> <consumer> option.");
        from->fresh = true;
        return true;
    }
    if (!arg_id(call, at, 0, true, &from->after))
        return false;
    /* Redis takes the last possible id for ">" */
    from->fresh = r->in_group && stream_id_cmp(from->after, STREAM_ID_MAX) == 0;
    return true;
}

/* Looks up keys, groups and ids. */
static bool resolve(struct core *c, struct core_call *call, struct read *r)
{
    struct unpacker kept = {0};
    if (call->retry && call->resume)
        kept = unpack_of(buf_str(call->resume));
    for (size_t i = 0; i < r->n; i++) {
        struct source *from = &r->sources[i];
        struct key *k = key_find(c, call->argv[r->keys_at + i]);
        from->name = call->argv[r->keys_at + i];
        if (k && k->type != KEY_STREAM && !call->retry) {
            reply_wrong_type(call->reply);
            return false;
        }
        from->s = k && k->type == KEY_STREAM ? k->stream : NULL;
        if (r->in_group && !find_group(call, r, from))
            return false;
        if (!parse_id(call, r, r->keys_at + r->n + i, from))
            return false;
        if (kept.at) {
            from->after.ms = unpack_u64(&kept);
            from->after.seq = unpack_u64(&kept);
        }
    }
    return true;
}

/* What the stream's guardian wants delivered again. */
static bool has_returned(const struct read *r, const struct source *from, struct stream_id *ret_id)
{
    const struct stream *s = from->s;
    return from->fresh && !r->noack && s->hooks && s->hooks->on_read &&
           s->hooks->on_read(s->hooks_ctx, from->g, ret_id);
}

/* Whether there is something to say about this source now. */
static bool has_news(const struct core_call *call, const struct read *r, struct source *from)
{
    if (!from->s)
        return false;
    if (r->in_group && !from->fresh)
        return true; /* history: even an empty one */
    struct stream_id id;
    if (from->fresh)
        from->after = from->g->last_id;
    if (has_returned(r, from, &id))
        return true;
    if (r->claims && from->fresh && stream_idle_any(from->g, call->now_ms, (uint64_t)r->claim_ms))
        return true;
    return from->s->length > 0 && stream_id_cmp(stream_last_live(from->s), from->after) > 0;
}

/* A client that waits on a key twice waits for what it named first. */
static bool named_before(const struct read *r, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (str_eq(r->sources[k].name, r->sources[i].name))
            return true;
    return false;
}

/* What the consumer has not acknowledged yet. */
static void serve_history(struct core_call *call, const struct read *r, const struct source *from,
                          struct stream_consumer *consumer)
{
    struct stream_id start = from->after;
    struct stream_pending *p = NULL;
    size_t mark = reply_open(call->reply), count = 0;
    if (stream_id_next(&start))
        p = stream_pending_from(from->g, consumer, start);
    for (; p && (!r->count || count < (uint64_t)r->count); p = stream_pending_next(p, true)) {
        if (reply_one(call->reply, from->s, p->id)) {
            p->delivered_ms = call->now_ms;
            p->deliveries++;
        } else { /* deleted meanwhile */
            reply_array(call->reply, 2);
            reply_id(call->reply, p->id);
            reply_null_array(call->reply);
        }
        count++;
    }
    reply_close(call->reply, mark, count);
}

static void reply_claimed(struct reply *r, const struct stream *s, struct stream_id id,
                          int64_t idle_ms, uint64_t deliveries)
{
    struct stream_iter it;
    struct stream_entry e;
    stream_iter_open(&it, s, id, id, false);
    if (stream_iter_next(&it, &e))
        reply_delivery(r, &e, idle_ms, deliveries);
    stream_iter_close(&it);
}

/* Entries that have waited long with somebody, the longest wait first; those that were deleted
 * meanwhile are nobody's any more. How many. */
static size_t serve_idle(struct core_call *call, const struct read *r, const struct source *from,
                         struct stream_consumer *consumer)
{
    struct stream *s = from->s;
    struct stream_id *ids;
    size_t found, count = 0;
    if (!r->claims || stream_idle_list(from->g, call->now_ms, (uint64_t)r->claim_ms, &ids, &found))
        return 0; /* no memory: they wait on */
    for (size_t i = 0; i < found && (!r->count || count < (uint64_t)r->count); i++) {
        struct stream_pending *p = stream_pending_find(from->g, ids[i]);
        int rc = p ? stream_lookup(s, ids[i]) : TTG_EAGAIN;
        if (rc == TTG_ENOENT) {
            if (s->hooks && s->hooks->on_ack)
                s->hooks->on_ack(s->hooks_ctx, s, p, call->now_ms);
            stream_pending_remove(p);
        }
        if (rc)
            continue; /* what cannot be read stays pending */
        reply_claimed(call->reply, s, ids[i], pending_idle_ms(p, call->now_ms), p->deliveries);
        stream_pending_move(p, consumer, call->now_ms, p->deliveries + 1);
        if (s->hooks && s->hooks->on_deliver)
            s->hooks->on_deliver(s->hooks_ctx, s, p, ids[i], call->now_ms);
        count++;
    }
    mem_free(ids);
    return count;
}

/* Entries that came back to the guardian, before what is new. How many. */
static size_t serve_returned(struct core_call *call, const struct read *r,
                             const struct source *from, struct stream_consumer *consumer,
                             size_t before_count)
{
    struct stream *s = from->s;
    struct stream_id id, before = STREAM_ID_MIN;
    size_t count = 0;
    while ((!r->count || before_count + count < (uint64_t)r->count) && has_returned(r, from, &id)) {
        if (stream_id_cmp(id, before) == 0 || !stream_has(s, id))
            break; /* the guardian does not give it to this consumer */
        struct stream_pending *p = stream_deliver(consumer, id, call->now_ms);
        if (!p)
            break;
        if (r->claims)
            reply_claimed(call->reply, s, id, 0, 0);
        else
            reply_one(call->reply, s, id);
        count++;
        s->hooks->on_deliver(s->hooks_ctx, s, p, id, call->now_ms);
        before = id;
    }
    return count;
}

/* New entries for a consumer. */
static void serve_fresh(struct core_call *call, const struct read *r, const struct source *from,
                        struct stream_consumer *consumer)
{
    struct stream *s = from->s;
    struct stream_iter it;
    struct stream_entry e;
    size_t mark = reply_open(call->reply), count = serve_idle(call, r, from, consumer);
    count += serve_returned(call, r, from, consumer, count);
    struct stream_id start = from->g->last_id;
    stream_id_next(&start);
    stream_iter_open(&it, s, start, STREAM_ID_MAX, false);
    while ((!r->count || count < (uint64_t)r->count) && stream_iter_next(&it, &e)) {
        struct stream_pending *p = NULL;
        if (r->noack)
            stream_group_read(from->g, e.id);
        else if (!(p = stream_deliver(consumer, e.id, call->now_ms)))
            break; /* the rest stays for the next call */
        if (r->claims)
            reply_delivery(call->reply, &e, 0, 0);
        else
            reply_entry(call->reply, &e);
        count++;
        if (s->hooks && s->hooks->on_deliver)
            s->hooks->on_deliver(s->hooks_ctx, s, p, e.id, call->now_ms);
    }
    stream_iter_close(&it);
    reply_close(call->reply, mark, count);
}

static void serve(struct core_call *call, const struct read *r, struct source *from,
                  struct stream_consumer *consumer)
{
    if (!call->reply->resp3)
        reply_array(call->reply, 2);
    reply_str(call->reply, from->name);
    if (consumer && from->fresh) {
        serve_fresh(call, r, from, consumer);
    } else if (consumer) {
        serve_history(call, r, from, consumer);
    } else {
        struct stream_id start = from->after;
        stream_id_next(&start);
        reply_range(call->reply, from->s, start, STREAM_ID_MAX, false, (uint64_t)r->count);
    }
}

/* When an entry that waits with somebody may be had; 0: none is asked for. */
static uint64_t next_idle_ms(const struct core_call *call, const struct read *r)
{
    uint64_t next_ms = 0;
    for (size_t i = 0; r->claims && i < r->n; i++) {
        if (!r->sources[i].fresh)
            continue;
        uint64_t ms = stream_idle_next_ms(r->sources[i].g, call->now_ms, (uint64_t)r->claim_ms);
        next_ms = next_ms && next_ms < ms ? next_ms : ms;
    }
    return next_ms;
}

static void park(struct core_call *call, const struct read *r)
{
    struct packer p = {.out = call->resume};
    if (call->resume)
        buf_clear(call->resume);
    for (size_t i = 0; call->resume && i < r->n; i++) {
        pack_u64(&p, r->sources[i].after.ms);
        pack_u64(&p, r->sources[i].after.seq);
    }
    if (!call->resume || p.rc) {
        reply_no_memory(call->reply);
        return;
    }
    call->blocked = true;
    call->block_until_ms = r->timeout_ms ? call->now_ms + (uint64_t)r->timeout_ms : 0;
    call->retry_ms = next_idle_ms(call, r);
    call->key_at = r->keys_at;
    call->key_count = r->n;
}

/* All consumers first: after this nothing can fail half-way. */
static struct stream_consumer **open_consumers(struct core_call *call, const struct read *r)
{
    struct stream_consumer **consumers = mem_zalloc(r->n * sizeof(struct stream_consumer *));
    for (size_t i = 0; consumers && r->in_group && i < r->n; i++) {
        if (!r->sources[i].serve)
            continue;
        consumers[i] = consumer_open(r->sources[i].g, r->consumer, call->now_ms);
        if (!consumers[i]) {
            mem_free(consumers);
            return NULL;
        }
    }
    return consumers;
}

static void answer(struct core_call *call, struct read *r)
{
    size_t serving = 0;
    for (size_t i = 0; i < r->n; i++) {
        r->sources[i].serve = has_news(call, r, &r->sources[i]) &&
                              (r->in_group || !call->retry || !named_before(r, i));
        serving += r->sources[i].serve;
    }
    if (serving == 0 && r->blocks && call->may_block) {
        park(call, r);
        return;
    }
    if (serving == 0) {
        reply_null_array(call->reply);
        return;
    }
    struct stream_consumer **consumers = open_consumers(call, r);
    if (!consumers) {
        reply_no_memory(call->reply);
        return;
    }
    call->changed = r->in_group;
    size_t mark = reply_open(call->reply), served = 0;
    for (size_t i = 0; i < r->n; i++) {
        /* asked again: the same key may be named twice */
        if (!r->sources[i].serve || !has_news(call, r, &r->sources[i]))
            continue;
        serve(call, r, &r->sources[i], consumers[i]);
        served++;
        if (call->retry && !r->in_group)
            break; /* who has waited is told of the one key that became ready */
    }
    reply_close_map(call->reply, mark, served);
    mem_free(consumers);
}

void xread(struct core *c, struct core_call *call)
{
    struct read r = {0};
    struct source few[4];
    if (!parse(call, &r))
        return;
    memset(few, 0, sizeof few);
    bool on_stack = r.n <= sizeof few / sizeof *few;
    r.sources = on_stack ? few : mem_zalloc(r.n * sizeof *few);
    if (!r.sources)
        reply_no_memory(call->reply);
    else if (resolve(c, call, &r))
        answer(call, &r);
    if (!on_stack)
        mem_free(r.sources);
}
