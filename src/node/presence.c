/* SPDX-License-Identifier: Apache-2.0 */
#include "node/presence.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    SILENT_MS = 2500,   /* says nothing, five beats long: another has the chunk within 3 s */
    NEW_MS = 10000,     /* the same for who has just joined: it holds nothing yet */
    AWAY_TCP_MS = 1000, /* its connection broke */
    LOOK_MS = 500,      /* we look this often, to notice that we were away ourselves */
    LATE_MS = 250,      /* so much later than that: stopped, suspended or without processor */
    GRACE_MS = 1000,    /* then nobody is lost for so long: their beats wait in the sockets */
    /* After a start of the node: its workers look for it every 0.45 s at first, and after five
     * seconds every 1.5 s. */
    BACK_MS = 3000,
    BACK_LEAST_MS = 150, /* also if it did not come in many short lives before */
    MARK_MS = CORE_MARK_MS,
};

/* One worker of one job. */
struct presence {
    struct map_node node; /* presences->all, by job, name and incarnation */
    struct heap_node due;
    struct list of_client; /* client->presences; a list of its own while away */
    struct presences *all;
    struct client *client; /* where it joined last; NULL: away */
    uint64_t seen_ms;      /* monotonic */
    bool is_new;           /* joined with no chunk in hand, and has done nothing since */
    bool missing;          /* has not come back since our start */
    const char *why;
    struct str job, worker; /* in the memory behind */
    uint64_t incarnation;
};

struct presences {
    struct node *node;
    struct map all;
    struct heap due;
    struct loop_timer timer;
    uint64_t looked_ms, grace_until_ms;
    uint64_t opened_ms;
    size_t missing;
    bool no_memory;
};

struct presence_key {
    struct str job, worker;
    uint64_t incarnation;
};

static bool key_eq(const struct map_node *node, const void *key)
{
    const struct presence *p = container_of(node, struct presence, node);
    const struct presence_key *k = key;
    return str_eq(p->job, k->job) && str_eq(p->worker, k->worker) &&
           p->incarnation == k->incarnation;
}

static uint64_t key_hash(const struct presence_key *k)
{
    uint64_t hash = hash_xxh3(k->job.ptr, k->job.len, 1);
    hash = hash_xxh3(k->worker.ptr, k->worker.len, hash);
    return hash ^ hash_u64(k->incarnation);
}

static struct presence *find(struct presences *all, const struct presence_key *k)
{
    struct map_node *m = map_find(&all->all, key_hash(k), key_eq, k);
    return m ? container_of(m, struct presence, node) : NULL;
}

static void timer_set(struct presences *all)
{
    struct heap_node *first = heap_min(&all->due);
    if (!first) {
        loop_timer_stop(&all->timer);
        return;
    }
    if (!loop_timer_is_set(&all->timer))
        all->looked_ms = loop_now_ms(all->node->loop);
    uint64_t at_ms = all->looked_ms + (all->missing > 0 ? MARK_MS : LOOK_MS);
    loop_timer_at_ns(&all->timer, (first->key < at_ms ? first->key : at_ms) * 1000000);
}

/* While the node itself is stopped it hears nothing, and that is nobody else's silence. */
static void look(struct presences *all, uint64_t now_ms)
{
    uint64_t away_ms = now_ms - all->looked_ms;
    all->looked_ms = now_ms;
    if (away_ms <= LOOK_MS + LATE_MS)
        return;
    all->grace_until_ms = now_ms + GRACE_MS;
    log_warn("node.was_away", kv_u64("ms", away_ms));
}

static void set_due(struct presence *p, uint64_t at_ms, const char *why)
{
    bool was_first = heap_min(&p->all->due) == &p->due;
    p->why = why;
    heap_set(&p->all->due, &p->due, at_ms);
    if (was_first || heap_min(&p->all->due) == &p->due)
        timer_set(p->all);
}

static uint64_t silent_at_ms(const struct presence *p)
{
    return p->seen_ms + (p->is_new ? NEW_MS : SILENT_MS);
}

static void found(struct presence *p)
{
    p->all->missing -= p->missing;
    p->missing = false;
}

static void forget(struct presence *p)
{
    found(p);
    list_remove(&p->of_client);
    heap_remove(&p->all->due, &p->due);
    map_remove(&p->all->all, &p->node);
    mem_free(p);
}

static struct presence *add(struct presences *all, const struct presence_key *k)
{
    struct presence *p = mem_zalloc(sizeof(*p) + k->job.len + k->worker.len);
    if (!p)
        return NULL;
    char *at = (char *)(p + 1);
    memcpy(at, k->job.ptr, k->job.len);
    p->job = str_make(at, k->job.len);
    memcpy(at += k->job.len, k->worker.ptr, k->worker.len);
    p->worker = str_make(at, k->worker.len);
    p->incarnation = k->incarnation;
    p->all = all;
    list_init(&p->of_client);
    if (map_add(&all->all, &p->node, key_hash(k))) {
        mem_free(p);
        return NULL;
    }
    return p;
}

/* Logs the decision. TTG_EAGAIN and the like: not now. */
static int declare_lost(struct presence *p, const char *why)
{
    char digits[20];
    struct str incarnation = str_make(digits, str_from_u64(digits, p->incarnation));
    const struct str words[] = {STR("TTG.LOST"), p->job, p->worker, incarnation, str_of(why)};
    int rc = exec_internal(p->all->node, 0, 5, words, NULL);
    if (rc)
        return rc;
    log_info("worker.lost", kv_s("job", p->job), kv_s("worker", p->worker), kv_str("reason", why));
    forget(p);
    return 0;
}

static void on_timer(struct loop_timer *t)
{
    enum { AGAIN_MS = 100 };
    struct presences *all = container_of(t, struct presences, timer);
    uint64_t now_ms = loop_now_ms(all->node->loop);
    struct heap_node *first;
    node_now_ms(all->node);
    look(all, now_ms);
    while ((first = heap_min(&all->due)) && first->key <= now_ms) {
        struct presence *p = container_of(first, struct presence, due);
        /* Bytes of its connection count as a sign of life, also while it waits for a take. */
        if (p->client && p->client->active_ms > p->seen_ms)
            p->seen_ms = p->client->active_ms;
        if (p->client && silent_at_ms(p) > now_ms)
            heap_set(&all->due, &p->due, silent_at_ms(p));
        else if (now_ms < all->grace_until_ms)
            heap_set(&all->due, &p->due, all->grace_until_ms);
        else if (declare_lost(p, p->why))
            heap_set(&all->due, &p->due, now_ms + AGAIN_MS);
    }
    /* Else who is away would be missed from the start again in our next life. */
    if (all->missing > 0 && all->node->now_ms >= core_now_ms(all->node->core) + MARK_MS)
        node_tick(all->node);
    timer_set(all);
}

static void present(struct presence *p, struct client *c, bool is_new)
{
    list_remove(&p->of_client);
    p->client = c;
    list_push_back(&c->presences, &p->of_client);
    p->seen_ms = loop_now_ms(c->node->loop);
    found(p);
    p->is_new = is_new;
    set_due(p, silent_at_ms(p), "silent");
}

/* A worker spoke. Its first words after joining: from now on its pulse beats. */
static void heard(struct presence *p, uint64_t now_ms)
{
    p->seen_ms = now_ms;
    if (!p->is_new)
        return;
    p->is_new = false;
    if (p->client)
        set_due(p, silent_at_ms(p), p->why);
}

static bool names_leases(size_t argc, const struct str *argv)
{
    for (size_t i = 4; i < argc; i += 2)
        if (str_eq_nocase(argv[i], STR("HELD")))
            return i + 1 < argc;
    return false;
}

void presence_command(struct client *c, const struct node_entry *e, size_t argc,
                      const struct str *argv, bool failed)
{
    struct presences *all = c->node->presences;
    if (argc < 4 || failed || !str_starts(e->name, STR("TTG.")))
        return;
    struct presence_key key = {argv[1], argv[2], 0};
    if (str_to_u64(argv[3], &key.incarnation))
        return;
    struct presence *p = find(all, &key);
    if (str_eq(e->name, STR("TTG.JOIN"))) {
        if (!p)
            p = add(all, &key);
        if (p)
            present(p, c, !names_leases(argc, argv));
    } else if (p && (str_eq(e->name, STR("TTG.LEAVE")) || str_eq(e->name, STR("TTG.LOST")))) {
        forget(p);
    } else if (p) {
        heard(p, loop_now_ms(c->node->loop));
    }
}

void presence_disconnected(struct client *c)
{
    uint64_t now_ms = loop_now_ms(c->node->loop);
    if (c->node->stopping || !c->node->presences)
        goto out;
    node_now_ms(c->node);
    list_each(it, &c->presences)
    {
        struct presence *p = container_of(it, struct presence, of_client);
        if (c->is_unix && declare_lost(p, "connection lost") == 0)
            continue;
        p->client = NULL;
        set_due(p, now_ms + (c->is_unix ? 1 : AWAY_TCP_MS), "connection lost");
    }
out:
    while (!list_empty(&c->presences))
        list_pop_front(&c->presences);
}

/* ---- after a restart: who worked before gets a moment to come back ---- */
static void add_away(void *ctx, const struct core_worker *w)
{
    struct presences *all = ctx;
    struct presence *p = add(all, &(struct presence_key){w->job, w->name, w->incarnation});
    if (!p) {
        all->no_memory = true;
        return;
    }
    uint64_t away_ms = w->away_ms < BACK_MS ? w->away_ms : BACK_MS;
    p->missing = true;
    all->missing++;
    p->seen_ms = all->opened_ms - away_ms; /* as if all our lives had been one */
    uint64_t left_ms = away_ms + BACK_LEAST_MS < BACK_MS ? BACK_MS - away_ms : BACK_LEAST_MS;
    set_due(p, all->opened_ms + left_ms, "not back after the restart");
}

int presence_open(struct node *n, struct err *err)
{
    struct presences *all = mem_zalloc(sizeof(*all));
    if (!all)
        return err_set(err, TTG_ENOMEM, "out of memory");
    all->node = n;
    map_init(&all->all);
    heap_init(&all->due);
    loop_timer_init(&all->timer, n->loop, on_timer);
    n->presences = all;
    all->opened_ms = loop_now_update(n->loop) / 1000000; /* recovery took its time */
    core_each_worker(n->core, add_away, all);
    return all->no_memory ? err_set(err, TTG_ENOMEM, "out of memory") : 0;
}

void presence_close(struct node *n)
{
    struct presences *all = n->presences;
    if (!all)
        return;
    for (struct map_node *m = map_next(&all->all, NULL), *next; m; m = next) {
        next = map_next(&all->all, m);
        forget(container_of(m, struct presence, node));
    }
    loop_timer_stop(&all->timer);
    heap_done(&all->due);
    map_done(&all->all);
    mem_free(all);
    n->presences = NULL;
}

size_t presence_count(const struct node *n)
{
    return n->presences ? n->presences->all.count : 0;
}
