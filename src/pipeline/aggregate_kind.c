/* SPDX-License-Identifier: Apache-2.0 */
/* aggregate_kind - messages become rows of their client's state; when the client has ended on all
 * paths its result goes out, once.
 *
 *     1. a batch of messages becomes rows, one sync for all        (state_process, state_commit)
 *     2. they are acknowledged, and results of complete clients sent, in one commit of the pipe
 *     3. the clients whose results are out are finished            (state_finish, state_commit)
 *
 * Killed before 1 is done, the messages come again; between 1 and 2 they come again and are known;
 * between 2 and 3 the result goes out again, under the same ids, which the receiver knows. An end
 * is a row like any other, so counting paths survives too. The end of all clients ("*") sends out
 * whoever is left. */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/aggregate.h"
#include "pipeline/claim.h"

#include <stdio.h>
#include <unistd.h>

enum { FULL_PAUSE_MS = 500 };

static struct aggregate *aggregate_of(const struct part *p)
{
    return p->own;
}

/* --- who is not finished --- */

static bool is_client(const struct map_node *n, const void *key)
{
    const struct live *l = container_of(n, struct live, node);
    const struct str *client = key;
    return str_eq(str_make(l->client, l->len), *client);
}

static struct live *live_find(const struct aggregate *a, struct str client)
{
    struct map_node *n =
        map_find(&a->live, hash_xxh3(client.ptr, client.len, 0), is_client, &client);
    return n ? container_of(n, struct live, node) : NULL;
}

static int live_add(struct aggregate *a, struct str client)
{
    if (live_find(a, client) || str_eq(client, MESSAGE_ALL))
        return 0;
    struct live *l = mem_zalloc(sizeof *l + client.len);
    if (!l)
        return TTG_ENOMEM;
    l->len = client.len;
    memcpy(l->client, client.ptr, client.len);
    list_init(&l->link);
    list_init(&l->ask);
    int rc = map_add(&a->live, &l->node, hash_xxh3(client.ptr, client.len, 0));
    if (rc)
        mem_free(l);
    return rc;
}

static void live_remove(struct aggregate *a, struct live *l)
{
    list_remove(&l->link);
    list_remove(&l->ask);
    map_remove(&a->live, &l->node);
    mem_free(l);
}

static int on_client(void *ctx, struct str client, const void *state, uint64_t rows,
                     uint64_t duplicates)
{
    (void)state;
    (void)rows;
    (void)duplicates;
    return live_add(ctx, client);
}

static void queue(struct aggregate *a, struct live *l)
{
    if (l->queued)
        return;
    l->queued = true;
    list_push_back(&a->going, &l->link);
}

/* Who became ready, by its ends or by the end of all. */
static void queue_ready(struct aggregate *a)
{
    struct str client;
    while (state_ready_next(a->state, &client) == 0) {
        struct live *l = live_find(a, client);
        a->all_ready |= str_eq(client, MESSAGE_ALL);
        if (l)
            queue(a, l);
    }
    if (a->all_ready)
        for (struct map_node *n = NULL; (n = map_next(&a->live, n));)
            queue(a, container_of(n, struct live, node));
}

/* --- taking --- */

/* So many rows of a client are a burden; its command can make fewer of them. */
static void look_at_rows(struct aggregate *a, struct str client)
{
    const struct held *h = a->fold.last;
    if (!a->ask || !a->part->stage->merges || !h || h->merge.count < h->ask_at)
        return;
    struct live *l = live_find(a, client);
    if (l && list_empty(&l->ask))
        list_push_back(&a->asking, &l->ask);
}

/* One message into the state. What can never be taken becomes a dead letter. */
static int take(struct aggregate *a, struct part_message *pm, struct err *err)
{
    struct part *p = a->part;
    struct message m;
    enum state_outcome outcome = STATE_FINISHED;
    struct str text = str_make(pm->bytes, pm->len);
    if (message_parse(text, false, &m, &p->room, err))
        return part_send_dead(p, text, str_of(err->text), 0);
    struct str values[FOLD_VALUES];
    int rc = fold_values(&a->fold, &m, &a->room, values);
    struct state_message row = {
        .client = m.client, .id = m.id, .values = values, .value_count = FOLD_VALUES};
    if (!rc && !p->finished) /* all have ended: a copy, and its client's tombstone may be gone */
        rc = state_process(a->state, &row, &outcome, err);
    /* Who died between the rows and the commit has sent no dead letters. */
    if (!rc && (outcome == STATE_LATE || outcome == STATE_FINISHED) && !fold_takes(&a->fold, &m))
        rc = TTG_EINVAL;
    if (rc == TTG_EINVAL)
        return part_send_dead(p, text,
                              a->fold.library
                                  ? STR("the library refuses it, or a text is too long")
                                  : STR("the value is no number, or a text is too long"),
                              0);
    if (rc)
        return rc;
    p->counts.ends += m.end;
    p->counts.in += !m.end;
    p->counts.duplicates += !m.end && outcome != STATE_NEW;
    if (outcome != STATE_NEW && outcome != STATE_DUPLICATE)
        return 0;
    rc = live_add(a, m.client);
    if (!rc && outcome == STATE_NEW)
        look_at_rows(a, m.client);
    return rc;
}

/* All messages there are become rows on disk. They are acknowledged only then. */
static int take_batch(struct aggregate *a, struct err *err)
{
    struct part *p = a->part;
    size_t taken = 0;
    int rc = 0;
    list_each(it, &p->messages)
    {
        if (taken == PART_CREDIT || part_is_enough(p))
            break;
        rc = take(a, container_of(it, struct part_message, link), err);
        if (rc)
            break;
        taken++;
    }
    if ((!rc || rc == TTG_ENOSPC) && taken > 0) {
        int commit = state_commit(a->state, err);
        rc = commit ? commit : taken < p->message_count ? 0 : rc;
        for (size_t i = 0; i < taken && !commit; i++)
            part_done(p, part_first(p));
    }
    return rc;
}

/* --- a turn --- */

static bool aggregate_wants(const struct part *p)
{
    return aggregate_has_to_send(aggregate_of(p));
}

static void aggregate_work(struct part *p)
{
    struct aggregate *a = aggregate_of(p);
    struct err err = {0};
    int rc = take_batch(a, &err);
    bool full = rc == TTG_ENOSPC;
    if (full && !a->told_full)
        log_warn("aggregate.full", kv_str("partition", p->name), kv_str("reason", err.text),
                 kv_str("then", "it takes no more until there is room"));
    a->told_full = full;
    if (full) {
        part_unsend(p);
        part_pause(p, FULL_PAUSE_MS);
    } else if (rc) {
        part_fail(p, err.code ? &err : &(struct err){.code = rc, .text = "out of memory"});
    } else {
        queue_ready(a);
        aggregate_send(a);
    }
}

static int aggregate_committed(struct part *p, struct err *err)
{
    struct aggregate *a = aggregate_of(p);
    struct list *it;
    bool any = !list_empty(&a->gone);
    int rc = 0;
    while (!rc && (it = list_first(&a->gone))) {
        struct live *l = container_of(it, struct live, link);
        rc = state_finish(a->state, str_make(l->client, l->len), err);
        if (!rc)
            live_remove(a, l);
    }
    if (!rc && a->ending)
        rc = state_finish(a->state, MESSAGE_ALL, err);
    if (!rc && (any || a->ending))
        rc = state_commit(a->state, err);
    if (!rc && a->ending)
        p->finished = true;
    /* Without room for a tombstone it stays as it is: the result goes out again, under its ids. */
    return rc == TTG_ENOSPC ? 0 : rc;
}

/* --- life --- */

static int open_state(struct aggregate *a, struct err *err)
{
    struct part *p = a->part;
    struct state_options o;
    fold_options(&a->fold, &o);
    struct buf base, dir;
    buf_init(&base, 4096);
    buf_init(&dir, 4096);
    int rc = buf_printf(&base, "%s/%s", p->config.state, p->name);
    if (!rc)
        rc = claim_dir(buf_cstr(&base), p->config.epoch, &dir, &a->lock, err);
    if (!rc)
        rc = buf_add_str(&dir, STR("/clients"));
    if (!rc)
        rc = state_open(buf_cstr(&dir), &o, &a->state, err);
    if (!rc)
        rc = state_rebuild(a->state, on_client, a, err);
    if (rc == TTG_EFULL || rc == TTG_ENOMEM)
        err_set(err, rc, "%s: state: %s", p->name, err_text(rc));
    buf_done(&base);
    buf_done(&dir);
    return rc;
}

/* Whether the end of all was sent before: a tombstone says so. */
static void recall_end(struct aggregate *a)
{
    void *state;
    a->part->finished = state_get(a->state, MESSAGE_ALL, &state, NULL, NULL) == TTG_EDONE;
}

static int aggregate_ready(struct part *p, struct err *err)
{
    struct aggregate *a = aggregate_of(p);
    for (struct list *it; (it = list_first(&a->gone));) { /* not known to be out */
        list_remove(it);
        list_push_back(&a->going, it);
    }
    a->ending = false;
    a->attempts = a->retry_ms = 0;
    if (a->ask && !asker_forget(a->ask))
        return TTG_EAGAIN;
    if (a->state)
        return 0;
    int rc = open_state(a, err);
    if (!rc) {
        recall_end(a);
        queue_ready(a);
    }
    return rc;
}

static int aggregate_open(struct part *p, struct err *err)
{
    struct aggregate *a = p->own = mem_zalloc(sizeof *a);
    if (!a)
        return err_set(err, TTG_ENOMEM, "out of memory");
    a->part = p;
    a->lock = -1;
    map_init(&a->live);
    list_init(&a->going);
    list_init(&a->gone);
    list_init(&a->asking);
    buf_init(&a->room, MESSAGE_BYTES_MAX);
    a->fold.expected = route_ends(p->config.spec, p->config.stage, false);
    a->fold.expected_all = route_ends(p->config.spec, p->config.stage, true);
    int rc = fold_open(&a->fold, p->stage, err);
    return rc ? rc : aggregate_send_open(a, err);
}

static void aggregate_close(struct part *p)
{
    struct aggregate *a = aggregate_of(p);
    if (!a)
        return;
    asker_close(a->ask);
    state_close(a->state);
    fold_close(&a->fold);
    if (a->lock >= 0)
        close(a->lock);
    for (struct map_node *n; (n = map_next(&a->live, NULL));)
        live_remove(a, container_of(n, struct live, node));
    map_done(&a->live);
    buf_done(&a->room);
    mem_free(a);
    p->own = NULL;
}

const struct part_kind aggregate_kind = {.open = aggregate_open,
                                         .close = aggregate_close,
                                         .ready = aggregate_ready,
                                         .work = aggregate_work,
                                         .wants = aggregate_wants,
                                         .committed = aggregate_committed};
