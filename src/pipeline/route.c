/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/route.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"

enum { SEED = 0x7474670a }; /* part of the contract: another one would move every client */

size_t route_partition(const struct spec_stage *to, const struct message *m)
{
    struct str by = to->by == SPEC_BY_CLIENT ? m->client : to->by == SPEC_BY_KEY ? m->key : m->id;
    return (size_t)(hash_xxh3(by.ptr, by.len, SEED) % to->partitions);
}

bool route_end_to_all(const struct spec_stage *to, struct str client)
{
    return to->by != SPEC_BY_CLIENT || str_eq(client, MESSAGE_ALL);
}

static uint64_t times(uint64_t a, uint64_t b)
{
    return a >= ROUTE_ENDS_MAX || b >= ROUTE_ENDS_MAX || a * b > ROUTE_ENDS_MAX ? ROUTE_ENDS_MAX
                                                                                : a * b;
}

uint64_t route_ends(const struct spec *s, size_t stage, bool all)
{
    const struct spec_stage *st = &s->stages[stage];
    uint64_t sum = st->input ? 1 : 0;
    for (size_t k = 0; k < st->from_count; k++) {
        const struct spec_stage *up = &s->stages[st->from[k]];
        uint64_t partitions = all || up->by != SPEC_BY_CLIENT ? up->partitions : 1;
        bool keeps = up->kind == SPEC_SOURCE || up->kind == SPEC_AGGREGATE;
        sum += times(partitions, keeps ? 1 : route_ends(s, st->from[k], all));
        if (sum > ROUTE_ENDS_MAX)
            return ROUTE_ENDS_MAX;
    }
    return sum;
}

/* --- counting --- */

struct client_ends {
    struct map_node node;
    uint64_t *paths; /* hashes; NULL when complete */
    uint64_t count;
    size_t cap;
    size_t len;
    char client[];
};

void ends_init(struct ends *e)
{
    map_init(&e->clients);
}

void ends_done(struct ends *e)
{
    for (struct map_node *n; (n = map_next(&e->clients, NULL));) {
        struct client_ends *c = container_of(n, struct client_ends, node);
        map_remove(&e->clients, n);
        mem_free(c->paths);
        mem_free(c);
    }
    map_done(&e->clients);
}

static bool is_client(const struct map_node *n, const void *key)
{
    const struct client_ends *c = container_of(n, struct client_ends, node);
    const struct str *client = key;
    return str_eq(str_make(c->client, c->len), *client);
}

static struct client_ends *find(const struct ends *e, struct str client)
{
    struct map_node *n =
        map_find(&e->clients, hash_xxh3(client.ptr, client.len, 0), is_client, &client);
    return n ? container_of(n, struct client_ends, node) : NULL;
}

static struct client_ends *find_or_add(struct ends *e, struct str client)
{
    struct client_ends *c = find(e, client);
    if (c)
        return c;
    c = mem_zalloc(sizeof *c + client.len);
    if (!c)
        return NULL;
    c->len = client.len;
    memcpy(c->client, client.ptr, client.len);
    if (map_add(&e->clients, &c->node, hash_xxh3(client.ptr, client.len, 0))) {
        mem_free(c);
        return NULL;
    }
    return c;
}

int ends_add(struct ends *e, struct str client, struct str path, uint64_t expected,
             enum ends_outcome *ret_outcome)
{
    struct client_ends *c = find_or_add(e, client);
    uint64_t hash = hash_xxh3(path.ptr, path.len, 0);
    if (!c)
        return TTG_ENOMEM;
    *ret_outcome = ENDS_KNOWN;
    if (c->count >= expected)
        return 0;
    for (uint64_t i = 0; i < c->count; i++)
        if (c->paths[i] == hash)
            return 0;
    if (c->count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 4;
        uint64_t *more = mem_realloc(c->paths, cap * sizeof *more);
        if (!more)
            return TTG_ENOMEM;
        c->paths = more;
        c->cap = cap;
    }
    c->paths[c->count++] = hash;
    *ret_outcome = c->count == expected ? ENDS_COMPLETE : ENDS_WAITING;
    if (c->count == expected) { /* the number is all that is asked for from now on */
        mem_free(c->paths);
        c->paths = NULL;
        c->cap = 0;
    }
    return 0;
}

bool ends_is_complete(const struct ends *e, struct str client, uint64_t expected)
{
    const struct client_ends *c = find(e, client);
    return c && c->count >= expected;
}
