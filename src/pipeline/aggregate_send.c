/* SPDX-License-Identifier: Apache-2.0 */
/* aggregate_send - the results of clients that have ended go out.
 *
 * Built-in aggregates and libraries answer at once. A command is asked, client by client, with all
 * of the client's rows in one line; the partition waits for it, as it does in every stage with a
 * command. The rows come in an order of their own, so a command that is asked again, after a crash,
 * is asked the same, and what it makes of it has the same ids. */
#include "base/log.h"
#include "pipeline/aggregate.h"
#include "wire/json.h"

enum { RETRY_MS_MIN = 100, RETRY_MS_MAX = 5000, DEAD_BYTES_MAX = 1 << 20 };

static struct str client_of(const struct live *l)
{
    return str_make(l->client, l->len);
}

static void fail(struct aggregate *a, int rc, const char *what, const char *why)
{
    struct err err;
    err_set(&err, rc, "%s: %s%s%s", a->part->name, what, why[0] ? ": " : "", why);
    part_fail(a->part, &err);
}

/* Two messages of a client may be the same: a command's are numbered. */
static int send_message(struct aggregate *a, struct message m)
{
    struct part *p = a->part;
    char id[STATE_RESULT_ID_BYTES];
    struct buf content;
    buf_init(&content, 1 << 29);
    int rc = a->ask ? buf_printf(&content, "%s %llu %zu ", p->name, (unsigned long long)a->sent++,
                                 m.key.len)
                    : buf_printf(&content, "%s %zu ", p->name, m.key.len);
    if (!rc)
        rc = buf_add_str(&content, m.key);
    if (!rc)
        rc = buf_add_str(&content, m.value);
    if (!rc) {
        state_result_id(client_of(a->sending), buf_str(&content), id);
        m.id = str_of(id);
        rc = part_send(p, &m);
    }
    buf_done(&content);
    return rc;
}

static int send_one(void *ctx, struct str key, struct str value)
{
    struct aggregate *a = ctx;
    struct message m = {.client = client_of(a->sending), .key = key, .value = value};
    return send_message(a, m);
}

/* The client's held state, or NULL for none. */
static int held_of(struct aggregate *a, const struct live *l, struct held **ret_held,
                   struct err *err)
{
    void *state;
    *ret_held = NULL;
    int rc = state_get(a->state, client_of(l), &state, NULL, err);
    if (!rc)
        *ret_held = *(struct held **)state;
    return rc == TTG_ENOENT || rc == TTG_EDONE ? 0 : rc;
}

/* All messages of the client are there; its end follows, and it is gone with the next commit. */
static int send_end(struct aggregate *a, struct live *l)
{
    int rc = part_send_end(a->part, client_of(l), STR(""));
    list_remove(&l->ask);
    list_remove(&l->link);
    list_push_back(&a->gone, &l->link);
    return rc;
}

static int send_client(struct aggregate *a, struct live *l)
{
    struct held *h;
    struct err err = {0};
    a->sending = l;
    int rc = held_of(a, l, &h, &err);
    if (!rc && h)
        rc = fold_results(&a->fold, client_of(l), h, send_one, a, &err);
    if (!rc)
        rc = send_end(a, l);
    if (rc)
        fail(a, rc, "result of a client", err.code ? err.text : err_text(rc));
    return rc;
}

static struct live *first_of(const struct list *list, bool asking)
{
    struct list *it = list_first(list);
    if (!it)
        return NULL;
    return asking ? container_of(it, struct live, ask) : container_of(it, struct live, link);
}

bool aggregate_has_to_send(const struct aggregate *a)
{
    return !list_empty(&a->going) || !list_empty(&a->asking) ||
           (a->all_ready && !a->part->finished);
}

/* The turn ends: with the end of all behind the last client's. */
static void finish_turn(struct aggregate *a)
{
    struct part *p = a->part;
    if (a->all_ready && !p->finished && list_empty(&a->going) && !part_is_enough(p)) {
        int rc = part_send_end(p, MESSAGE_ALL, STR(""));
        if (rc) {
            fail(a, rc, err_text(rc), "");
            return;
        }
        a->ending = true;
    }
    part_commit(p);
}

/* --- a command --- */

/* {"client":"fox","rows":[...]}; with "merge":true it is to make fewer rows of them. */
static int add_rows(void *ctx, struct str key, struct str value)
{
    (void)key;
    return buf_add_str(ctx, value);
}

static int make_question(struct aggregate *a, const struct live *l, struct held *h)
{
    struct buf *b = asker_line(a->ask);
    buf_clear(b);
    int rc = buf_add_str(b, STR("{\"client\":"));
    if (!rc)
        rc = buf_add_json(b, client_of(l));
    if (!rc)
        rc = buf_add_str(b, a->merging ? STR(",\"merge\":true,\"rows\":") : STR(",\"rows\":"));
    if (!rc)
        rc = merge_each(&h->merge, SPEC_COLLECT, add_rows, b);
    return rc ? rc : buf_add_str(b, STR("}\n"));
}

/* Hands out the messages of an answer. */
static int each_made(struct aggregate *a, struct str text, struct err *err,
                     int (*on_made)(void *ctx, struct message *m), void *ctx)
{
    struct json root, value;
    text = str_trim(text);
    if (str_eq(text, STR("null")) || text.len == 0)
        return 0;
    int rc = json_parse(text, &root, err);
    if (!rc && root.type != JSON_ARRAY)
        rc = err_set(err, TTG_EPROTO, "not a list of messages");
    struct str at = rc ? STR("") : json_inside(root);
    while (!rc && json_item(&at, &value)) {
        struct message m;
        rc = message_parse(value.raw, true, &m, &a->room, err);
        if (!rc && m.end)
            rc = err_set(err, TTG_EPROTO, "a stage does not end clients; ends pass by themselves");
        if (!rc && (rc = on_made(ctx, &m)))
            err_set(err, rc, "%s", err_text(rc));
    }
    return rc;
}

static int on_result(void *ctx, struct message *m)
{
    struct aggregate *a = ctx;
    if (!m->has_client)
        m->client = client_of(a->sending);
    return send_message(a, *m);
}

static int use_result(struct aggregate *a, struct live *l, struct str text, struct err *err)
{
    struct part *p = a->part;
    size_t sends = p->send_count, bytes = buf_len(&p->bytes);
    uint64_t sent = p->sent;
    a->sending = l;
    a->sent = 0;
    int rc = each_made(a, text, err, on_result, a);
    if (!rc)
        return send_end(a, l);
    p->send_count = sends; /* all of a client's result, or nothing */
    p->sent = sent;
    if (buf_len(&p->bytes) > bytes)
        buf_truncate(&p->bytes, bytes);
    return rc;
}

static int on_fewer(void *ctx, struct message *m)
{
    return merge_add(ctx, SPEC_COLLECT, 0, m->key, m->value);
}

static int use_merge(struct aggregate *a, struct live *l, struct str text, struct err *err)
{
    struct held *h = NULL;
    struct merge fewer;
    merge_init(&fewer);
    int rc = each_made(a, text, err, on_fewer, &fewer);
    if (!rc && fewer.count == 0)
        rc = err_set(err, TTG_EPROTO, "no row is left of many");
    if (!rc)
        rc = held_of(a, l, &h, err);
    if (rc || !h) {
        merge_done(&fewer);
        return rc;
    }
    merge_done(&h->merge);
    h->merge = fewer;
    uint64_t twice = 2 * (uint64_t)fewer.count, compact = a->part->stage->compact;
    h->ask_at = twice > compact ? twice : compact;
    list_remove(&l->ask);
    return 0;
}

/* The command has no answer for this client, once more or for good. */
static void use_failure(struct aggregate *a, struct live *l, bool permanent, struct str reason)
{
    struct part *p = a->part;
    struct str text = buf_str(asker_line(a->ask));
    if (!permanent && ++a->attempts < p->stage->attempts) {
        uint64_t ms = RETRY_MS_MIN;
        for (uint64_t i = 1; i < a->attempts && ms < RETRY_MS_MAX; i++)
            ms *= 2;
        a->retry_ms = loop_now_ms(p->config.loop) + (ms < RETRY_MS_MAX ? ms : RETRY_MS_MAX);
        p->counts.retries++;
        return;
    }
    if (a->merging) { /* then it has to do with many rows */
        log_warn("aggregate.not_merged", kv_str("partition", p->name), kv_s("client", client_of(l)),
                 kv_s("reason", reason));
        struct held *h;
        if (held_of(a, l, &h, NULL) == 0 && h)
            h->ask_at = 2 * (uint64_t)h->merge.count;
        list_remove(&l->ask);
        a->attempts = 0;
        return;
    }
    text = str_trim(str_make(text.ptr, text.len < DEAD_BYTES_MAX ? text.len : DEAD_BYTES_MAX));
    int rc = part_send_dead(p, text, reason, permanent ? a->attempts + 1 : a->attempts);
    if (!rc)
        rc = send_end(a, l);
    a->attempts = 0;
    if (rc)
        fail(a, rc, err_text(rc), "");
}

static void use_answer(struct aggregate *a, const struct kernel_result *r)
{
    struct live *l = first_of(a->merging ? &a->asking : &a->going, a->merging);
    struct err err = {0};
    struct buf reason;
    int rc = 0;
    if (r->status == KERNEL_OK)
        rc = a->merging ? use_merge(a, l, r->output, &err) : use_result(a, l, r->output, &err);
    if (r->status == KERNEL_OK && !rc) {
        a->attempts = 0;
        return;
    }
    if (rc && rc != TTG_EPROTO) {
        fail(a, rc, err.code ? err.text : err_text(rc), "");
        return;
    }
    buf_init(&reason, 8192);
    if (rc)
        buf_printf(&reason, "bad output: %s", err.text);
    else
        buf_printf(&reason, "%.*s%s%.*s", STR_ARG(r->reason), r->stderr_tail.len ? ": " : "",
                   STR_ARG(r->stderr_tail));
    use_failure(a, l, r->status == KERNEL_PERMANENT, str_trim(buf_str(&reason)));
    buf_done(&reason);
}

/* Asks for the next client, or once more for the same; true: the answer was used, or none was
 * needed. */
static bool ask_next(struct aggregate *a)
{
    struct kernel_result result;
    struct held *h;
    struct err err = {0};
    if (a->attempts == 0)
        a->merging = !list_empty(&a->asking);
    struct live *l = first_of(a->merging ? &a->asking : &a->going, a->merging);
    int rc = held_of(a, l, &h, &err);
    if (!rc && (!h || h->merge.count == 0)) {
        a->attempts = 0;
        if (a->merging)
            list_remove(&l->ask);
        else
            rc = send_end(a, l);
    } else if (!rc) {
        rc = make_question(a, l, h);
        if (!rc && !asker_start(a->ask, (uint32_t)a->attempts + 1, &result))
            return false;
        if (!rc)
            use_answer(a, &result);
    }
    if (rc)
        fail(a, rc, "result of a client", err.code ? err.text : err_text(rc));
    return true;
}

static void ask_on(struct aggregate *a)
{
    struct part *p = a->part;
    while (!p->over && !part_is_enough(p) && !(list_empty(&a->going) && list_empty(&a->asking))) {
        uint64_t now_ms = loop_now_ms(p->config.loop);
        if (a->retry_ms > now_ms) {
            part_pause(p, a->retry_ms - now_ms);
            return;
        }
        if (!ask_next(a))
            return; /* on_answer goes on */
    }
    if (!p->over)
        finish_turn(a);
}

static void on_answer(void *ctx, const struct kernel_result *answer)
{
    struct aggregate *a = ctx;
    use_answer(a, answer);
    if (!a->part->over)
        ask_on(a);
}

int aggregate_send_open(struct aggregate *a, struct err *err)
{
    return a->part->stage->merge == SPEC_COMMAND ? asker_open(&a->ask, a->part, on_answer, a, err)
                                                 : 0;
}

void aggregate_send(struct aggregate *a)
{
    if (a->ask) {
        ask_on(a);
        return;
    }
    while (!part_is_enough(a->part) && !list_empty(&a->going))
        if (send_client(a, first_of(&a->going, false)))
            return;
    finish_turn(a);
}
