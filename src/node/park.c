/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that wait: parked on the names of keys, tried again, oldest first, when a key is ready.
 */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "node/presence.h"
#include "node/state.h"

enum { RETRY_FULL_MS = 1 }; /* the log had no room */

struct park_key {
    struct map_node node;
    struct list waits; /* struct park_wait, oldest first */
    struct list ready; /* node->park_ready */
    bool is_ready, serving;
    struct str name;
};

struct park_wait {
    struct list link;
    struct park_key *key;
    struct parked *parked;
};

struct parked {
    struct client *client;
    const struct core_command *command;
    struct heap_node time;
    uint64_t until_ms; /* 0: for ever. `time` may come earlier, to try again */
    struct buf resume;
    struct str *argv;
    size_t argc, wait_count;
    struct park_wait waits[];
};

static bool key_eq(const struct map_node *node, const void *name)
{
    return str_eq(container_of(node, struct park_key, node)->name, *(const struct str *)name);
}

static struct park_key *key_find(struct node *n, struct str name)
{
    struct map_node *m = map_find(&n->park_keys, hash_xxh3(name.ptr, name.len, 0), key_eq, &name);
    return m ? container_of(m, struct park_key, node) : NULL;
}

static struct park_key *key_open(struct node *n, struct str name)
{
    struct park_key *k = key_find(n, name);
    if (k)
        return k;
    k = mem_zalloc(sizeof(*k) + name.len);
    if (!k)
        return NULL;
    memcpy(k + 1, name.ptr, name.len);
    k->name = str_make(k + 1, name.len);
    list_init(&k->waits);
    if (map_add(&n->park_keys, &k->node, hash_xxh3(name.ptr, name.len, 0))) {
        mem_free(k);
        return NULL;
    }
    return k;
}

static void key_free_if_idle(struct node *n, struct park_key *k)
{
    if (!list_empty(&k->waits) || k->serving)
        return;
    if (k->is_ready)
        list_remove(&k->ready);
    map_remove(&n->park_keys, &k->node);
    mem_free(k);
}

/* The words in one block of memory. */
static struct str *words_copy(size_t argc, const struct str *argv)
{
    size_t bytes = argc * sizeof(*argv);
    for (size_t i = 0; i < argc; i++)
        bytes += argv[i].len;
    struct str *copy = mem_alloc(bytes);
    if (!copy)
        return NULL;
    char *at = (char *)(copy + argc);
    for (size_t i = 0; i < argc; i++) {
        if (argv[i].len > 0)
            memcpy(at, argv[i].ptr, argv[i].len);
        copy[i] = str_make(at, argv[i].len);
        at += argv[i].len;
    }
    return copy;
}

static void timer_set(struct node *n)
{
    struct heap_node *first = heap_min(&n->park_times);
    if (!first)
        loop_timer_stop(&n->park_timer);
    else
        loop_timer_after_ms(&n->park_timer, first->key > n->now_ms ? first->key - n->now_ms : 0);
}

static int time_set(struct parked *p, const struct core_call *call)
{
    struct heap *times = &p->client->node->park_times;
    uint64_t at_ms = p->until_ms;
    if (call->retry_ms && (!at_ms || call->retry_ms < at_ms))
        at_ms = call->retry_ms;
    if (at_ms)
        return heap_set(times, &p->time, at_ms);
    heap_remove(times, &p->time);
    return 0;
}

int park_client(struct client *c, const struct core_command *command, const struct core_call *call)
{
    struct node *n = c->node;
    ensure(!c->parked && call->key_at + call->key_count <= call->argc);
    struct parked *p = mem_zalloc(sizeof(*p) + call->key_count * sizeof(struct park_wait));
    if (p)
        p->argv = words_copy(call->argc, call->argv);
    if (!p || !p->argv) {
        mem_free(p);
        buf_done(call->resume);
        return TTG_ENOMEM;
    }
    p->client = c;
    p->command = command;
    p->argc = call->argc;
    p->resume = *call->resume;
    c->parked = p;
    n->blocked_count++;
    int rc = 0;
    for (size_t i = 0; i < call->key_count && !rc; i++) {
        struct park_key *k = key_open(n, call->argv[call->key_at + i]);
        rc = k ? 0 : TTG_ENOMEM;
        if (rc)
            break;
        p->waits[i] = (struct park_wait){.key = k, .parked = p};
        list_push_back(&k->waits, &p->waits[i].link);
        p->wait_count++;
    }
    p->until_ms = call->block_until_ms;
    if (!rc)
        rc = time_set(p, call);
    if (rc)
        park_free(c);
    else
        timer_set(n);
    return rc;
}

void park_free(struct client *c)
{
    struct parked *p = c->parked;
    if (!p)
        return;
    for (size_t i = 0; i < p->wait_count; i++) {
        list_remove(&p->waits[i].link);
        /* A key can be named twice: it goes with its last wait. */
        key_free_if_idle(c->node, p->waits[i].key);
    }
    heap_remove(&c->node->park_times, &p->time);
    buf_done(&p->resume);
    mem_free(p->argv);
    mem_free(p);
    c->parked = NULL;
    c->node->blocked_count--;
}

void park_ready(struct node *n, struct str key)
{
    struct park_key *k = n->park_keys.count > 0 ? key_find(n, key) : NULL;
    if (!k || k->is_ready)
        return;
    k->is_ready = true;
    list_push_back(&n->park_ready, &k->ready);
}

/* Ends the wait with what was answered. */
static void unpark(struct client *c, struct reply *r, size_t from, uint64_t position)
{
    struct node *n = c->node;
    struct node_entry *e = exec_find(n, c->parked->argv[0]);
    park_free(c);
    if (r->failed) {
        e->failed++;
        struct str all = buf_str(&c->conn.out);
        exec_count_error(n, str_make(all.ptr + from, all.len - from));
    }
    if (c->mute)
        client_unsay(c, from);
    client_mark(c, position);
    client_again(c);
    if (r->rc)
        client_close(c);
}

/* False: the log has no room now, nothing was tried. */
static bool retry(struct parked *p)
{
    struct client *c = p->client;
    struct node *n = c->node;
    size_t from = buf_len(&c->conn.out);
    struct reply r = client_reply(c);
    if (p->command->flags & CORE_WRITE) {
        int rc = node_reserve(n, RECORD_HEAD_BYTES_MAX + record_command_bytes(p->argc, p->argv));
        if (rc == TTG_EAGAIN)
            return false;
        if (rc) {
            exec_refuse_full(&r, rc);
            unpark(c, &r, from, 0);
            return true;
        }
    }
    struct core_call call = {
        .now_ms = n->now_ms,
        .client = c->id,
        .argc = p->argc,
        .argv = p->argv,
        .reply = &r,
        .may_block = true,
        .resume = &p->resume,
        .retry = true,
    };
    exec_core(n, p->command, &call);
    if (!call.blocked) {
        presence_command(c, exec_find(n, p->argv[0]), p->argc, p->argv, r.failed);
        unpark(c, &r, from, p->command->flags & CORE_EARLY ? 0 : store_last_position(n->store));
        return true;
    }
    int rc = time_set(p, &call);
    ensure(rc == 0 || !heap_has(&p->time)); /* without memory it waits for its keys only */
    return true;
}

/* Tries all that wait for the key. False: no room in the log, the rest stays ready. */
static bool key_serve(struct node *n, struct park_key *k)
{
    struct list todo;
    bool room = true;
    list_init(&todo);
    while (!list_empty(&k->waits)) {
        struct list *first = k->waits.next;
        list_remove(first);
        list_push_back(&todo, first);
    }
    k->serving = true;
    while (!list_empty(&todo)) {
        struct list *first = todo.next;
        list_remove(first);
        list_push_back(&k->waits, first);
        if (room)
            room = retry(container_of(first, struct park_wait, link)->parked);
    }
    k->serving = false;
    if (!room)
        park_ready(n, k->name);
    key_free_if_idle(n, k);
    return room;
}

void park_serve(struct node *n)
{
    while (!list_empty(&n->park_ready)) {
        struct park_key *k = container_of(n->park_ready.next, struct park_key, ready);
        list_remove(&k->ready);
        k->is_ready = false;
        if (!key_serve(n, k))
            return;
    }
}

bool park_unblock(struct client *c, bool with_error)
{
    if (!c->parked)
        return false;
    size_t from = buf_len(&c->conn.out);
    struct reply r = client_reply(c);
    if (with_error)
        reply_error(&r, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    else
        reply_null_array(&r);
    unpark(c, &r, from, 0);
    return true;
}

/* Its wait is over, or something may have become due. */
static void time_came(struct parked *p, uint64_t now_ms)
{
    struct node *n = p->client->node;
    if (p->until_ms && p->until_ms <= now_ms) {
        n->stats.expired_waits++;
        park_unblock(p->client, false);
    } else if (!retry(p)) {
        int rc = heap_set(&n->park_times, &p->time, now_ms + RETRY_FULL_MS);
        ensure(rc == 0); /* it was set */
    }
}

static void on_park_timer(struct loop_timer *t)
{
    struct node *n = container_of(t, struct node, park_timer);
    uint64_t now_ms = node_now_ms(n);
    struct heap_node *first;
    while ((first = heap_min(&n->park_times)) && first->key <= now_ms)
        time_came(container_of(first, struct parked, time), now_ms);
    timer_set(n);
}

void park_init(struct node *n)
{
    map_init(&n->park_keys);
    list_init(&n->park_ready);
    heap_init(&n->park_times);
    loop_timer_init(&n->park_timer, n->loop, on_park_timer);
}

void park_done(struct node *n)
{
    loop_timer_stop(&n->park_timer);
    heap_done(&n->park_times);
    map_done(&n->park_keys);
}
