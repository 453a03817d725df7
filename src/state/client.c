/* SPDX-License-Identifier: Apache-2.0 */
/* Who is in memory, and who leaves it. */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "state/own.h"

enum { ALIGNMENT = 16, TAIL_BYTES_MAX = 1 << 30 };

static bool is_client(const struct map_node *node, const void *key)
{
    return str_eq(state_client_id(container_of(node, struct client, node)),
                  *(const struct str *)key);
}

static uint64_t hash_of(const struct state *s, struct str id)
{
    return hash_xxh3(id.ptr, id.len, s->seed);
}

struct client *state_client_find(struct state *s, struct str id)
{
    struct map_node *node = map_find(&s->clients, hash_of(s, id), is_client, &id);
    return node ? container_of(node, struct client, node) : NULL;
}

static size_t state_at(struct str id)
{
    size_t at = offsetof(struct client, id) + id.len + 1;
    return (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static struct client *client_new(struct state *s, struct str id)
{
    struct client *c = mem_zalloc(state_at(id) + s->o.state_bytes);
    if (!c)
        return NULL;
    list_init(&c->lru);
    list_init(&c->dirty);
    list_init(&c->bulky);
    buf_init(&c->tail, TAIL_BYTES_MAX);
    ids_init(&c->ids, s->seed);
    c->id_len = id.len;
    if (id.len)
        memcpy(c->id, id.ptr, id.len);
    c->state = (char *)c + state_at(id);
    return c;
}

/* It is in no map. */
static void release(struct state *s, struct client *c)
{
    if (s->o.drop)
        s->o.drop(s->o.user, c->state);
    list_remove(&c->lru);
    list_remove(&c->dirty);
    list_remove(&c->bulky);
    buf_done(&c->tail);
    ids_done(&c->ids);
    mem_free(c);
}

void state_client_free(struct state *s, struct client *c)
{
    map_remove(&s->clients, &c->node);
    s->memory -= c->memory;
    release(s, c);
}

void state_client_weigh(struct state *s, struct client *c)
{
    uint64_t now = STATE_CLIENT_COST + state_at(state_client_id(c)) + s->o.state_bytes +
                   c->tail.cap + ids_memory(&c->ids) +
                   (s->o.memory ? s->o.memory(s->o.user, c->state) : 0);
    s->memory += now - c->memory;
    c->memory = now;
}

int state_client_get(struct state *s, struct str id, struct client **ret_client, struct err *e)
{
    struct client *c = state_client_find(s, id);
    if (c) {
        list_remove(&c->lru);
        list_push_back(&s->lru, &c->lru);
        *ret_client = c;
        return 0;
    }
    c = client_new(s, id);
    if (!c)
        return err_set(e, TTG_ENOMEM, "out of memory");
    int rc = file_load(s, c, e);
    if (rc == TTG_ENOENT)
        rc = 0;
    else if (!rc)
        s->stats.loads++;
    if (!rc && map_add(&s->clients, &c->node, hash_of(s, id)))
        rc = err_set(e, TTG_ENOMEM, "out of memory");
    if (rc) {
        release(s, c);
        return rc;
    }
    list_push_back(&s->lru, &c->lru);
    state_client_weigh(s, c);
    rc = state_client_ready_look(s, c);
    if (!rc)
        rc = state_clients_evict(s, c, e);
    if (!rc)
        *ret_client = c;
    else
        state_client_free(s, c);
    return rc;
}

static bool over(const struct state *s)
{
    return s->memory > s->o.memory_bytes ||
           (s->o.clients_max && s->clients.count > s->o.clients_max);
}

int state_clients_evict(struct state *s, const struct client *keep, struct err *e)
{
    list_each(it, &s->lru)
    {
        struct client *c = container_of(it, struct client, lru);
        if (!over(s))
            break;
        if (c == keep)
            continue;
        int rc = file_flush(s, c, e);
        if (rc)
            return rc == TTG_ENOSPC ? 0 : rc;
        state_client_free(s, c);
        s->stats.evictions++;
    }
    return 0;
}

int state_client_apply(struct state *s, struct client *c, const struct state_row *row)
{
    int rc = s->o.apply ? s->o.apply(s->o.user, state_client_id(c), c->state, row) : 0;
    if (rc)
        return rc;
    c->rows += row->rows;
    c->plain_rows++;
    /* As often as the ids double by a quarter: writing a summary costs in proportion to them. */
    if (s->o.merge && list_empty(&c->bulky) && c->plain_rows >= s->o.compact_rows &&
        c->plain_rows >= c->ids.count / 4)
        list_push_back(&s->bulky, &c->bulky);
    return 0;
}

static bool is_ready(const struct map_node *node, const void *key)
{
    const struct ready *r = container_of(node, struct ready, node);
    return str_eq(str_make(r->id, r->len), *(const struct str *)key);
}

static struct ready *ready_find(const struct state *s, struct str id)
{
    struct map_node *node = map_find(&s->readies, hash_of(s, id), is_ready, &id);
    return node ? container_of(node, struct ready, node) : NULL;
}

int state_client_ready_look(struct state *s, struct client *c)
{
    if (c->ready || c->rows == 0 || !s->o.ready ||
        !s->o.ready(s->o.user, state_client_id(c), c->state))
        return 0;
    /* One that left memory meanwhile is noted already. */
    if (!ready_find(s, state_client_id(c))) {
        struct ready *r = mem_zalloc(sizeof *r + c->id_len + 1);
        if (!r)
            return TTG_ENOMEM;
        r->position = store_last_position(s->store);
        r->len = c->id_len;
        if (c->id_len)
            memcpy(r->id, c->id, c->id_len);
        if (map_add(&s->readies, &r->node, hash_of(s, state_client_id(c)))) {
            mem_free(r);
            return TTG_ENOMEM;
        }
        list_push_back(&s->ready, &r->link);
    }
    c->ready = true;
    return 0;
}

void state_ready_forget(struct state *s, struct str id)
{
    struct ready *r = ready_find(s, id);
    if (!r)
        return;
    map_remove(&s->readies, &r->node);
    list_remove(&r->link);
    mem_free(r);
}
