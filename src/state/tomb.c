/* SPDX-License-Identifier: Apache-2.0 */
#include "state/tomb.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

struct tomb {
    struct map_node node;
    struct list link;
    size_t len;
    char client[];
};

void tombs_init(struct tombs *t, uint64_t max, uint64_t seed)
{
    *t = (struct tombs){.max = max, .seed = seed};
    map_init(&t->map);
    list_init(&t->order);
}

static void drop(struct tombs *t, struct tomb *tomb)
{
    map_remove(&t->map, &tomb->node);
    list_remove(&tomb->link);
    mem_free(tomb);
}

void tombs_done(struct tombs *t)
{
    list_each(it, &t->order) drop(t, container_of(it, struct tomb, link));
    map_done(&t->map);
}

static bool is_client(const struct map_node *node, const void *key)
{
    const struct tomb *tomb = container_of(node, struct tomb, node);
    return str_eq(str_make(tomb->client, tomb->len), *(const struct str *)key);
}

static struct tomb *find(const struct tombs *t, struct str client)
{
    struct map_node *node =
        map_find(&t->map, hash_xxh3(client.ptr, client.len, t->seed), is_client, &client);
    return node ? container_of(node, struct tomb, node) : NULL;
}

bool tombs_has(const struct tombs *t, struct str client)
{
    return t->map.count > 0 && find(t, client) != NULL;
}

int tombs_add(struct tombs *t, struct str client)
{
    if (tombs_has(t, client))
        return 0;
    struct tomb *tomb = mem_alloc(sizeof *tomb + client.len);
    if (!tomb)
        return TTG_ENOMEM;
    tomb->len = client.len;
    if (client.len)
        memcpy(tomb->client, client.ptr, client.len);
    int rc = map_add(&t->map, &tomb->node, hash_xxh3(client.ptr, client.len, t->seed));
    if (rc) {
        mem_free(tomb);
        return rc;
    }
    list_push_back(&t->order, &tomb->link);
    if (t->map.count > t->max) {
        drop(t, container_of(list_first(&t->order), struct tomb, link));
        t->dropped++;
    }
    return 0;
}

bool tombs_remove(struct tombs *t, struct str client)
{
    struct tomb *tomb = find(t, client);
    if (tomb)
        drop(t, tomb);
    return tomb != NULL;
}

bool tombs_next(const struct tombs *t, const struct tomb **at, struct str *ret_client)
{
    const struct list *next = *at ? (*at)->link.next : t->order.next;
    if (next == &t->order)
        return false;
    *at = container_of(next, struct tomb, link);
    *ret_client = str_make((*at)->client, (*at)->len);
    return true;
}
