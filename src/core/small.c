/* SPDX-License-Identifier: Apache-2.0 */
#include "core/small.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

static struct small_item *of_node(const struct tree_node *n)
{
    return container_of(n, struct small_item, node);
}

static int cmp_item(const struct tree_node *n, const void *key)
{
    return str_cmp(of_node(n)->name, *(const struct str *)key);
}

struct small *small_new(void)
{
    struct small *m = mem_zalloc(sizeof *m);
    if (m)
        list_init(&m->items);
    return m;
}

void small_free(struct small *m, bool is_list)
{
    if (!m)
        return;
    if (is_list) {
        list_each(it, &m->items) small_item_free(container_of(it, struct small_item, link));
    } else {
        while (m->tree.first)
            small_remove(m, of_node(m->tree.first));
    }
    mem_free(m);
}

struct small_item *small_item_new(struct str name, struct str value)
{
    struct small_item *item = mem_zalloc(sizeof *item);
    char *name_copy = mem_dup(name.ptr, name.len), *value_copy = mem_dup(value.ptr, value.len);
    if (!item || !name_copy || !value_copy) {
        mem_free(item);
        mem_free(name_copy);
        mem_free(value_copy);
        return NULL;
    }
    item->name = str_make(name_copy, name.len);
    item->value = str_make(value_copy, value.len);
    return item;
}

void small_item_free(struct small_item *item)
{
    if (!item)
        return;
    mem_free((char *)(uintptr_t)item->name.ptr);
    mem_free((char *)(uintptr_t)item->value.ptr);
    mem_free(item);
}

struct small_item *small_find(const struct small *m, struct str name)
{
    struct tree_node *n = tree_find(&m->tree, &name, cmp_item);
    return n ? of_node(n) : NULL;
}

void small_add(struct small *m, struct small_item *item)
{
    struct tree_node *there = tree_add(&m->tree, &item->node, &item->name, cmp_item);
    ensure(!there);
    m->count++;
}

void small_remove(struct small *m, struct small_item *item)
{
    tree_remove(&m->tree, &item->node);
    m->count--;
    small_item_free(item);
}

static void save_item(const struct small_item *item, struct core_saver *out)
{
    pack_str(&out->p, item->name);
    pack_str(&out->p, item->value);
    core_save_some(out);
}

void small_save(const struct small *m, bool is_list, struct core_saver *out)
{
    pack_u64(&out->p, m->count);
    if (is_list) {
        list_each(it, &m->items) save_item(container_of(it, struct small_item, link), out);
    } else {
        for (struct tree_node *n = m->tree.first; n; n = tree_next(n))
            save_item(of_node(n), out);
    }
}

void small_load(struct small *m, bool is_list, struct unpacker *u)
{
    uint64_t count = unpack_count(u, 2);
    for (uint64_t i = 0; i < count && !u->rc; i++) {
        struct str name = unpack_str(u), value = unpack_str(u);
        if (u->rc)
            return;
        if (!is_list && small_find(m, name)) {
            u->rc = TTG_ECORRUPT;
            return;
        }
        struct small_item *item = small_item_new(name, value);
        if (!item) {
            u->rc = TTG_ENOMEM;
        } else if (is_list) {
            list_push_back(&m->items, &item->link);
            m->count++;
        } else {
            small_add(m, item);
        }
    }
}

static uint64_t digest_item(const struct small_item *item, uint64_t seed)
{
    uint64_t h = hash_xxh3(item->name.ptr, item->name.len, seed);
    return hash_xxh3(item->value.ptr, item->value.len, h);
}

uint64_t small_digest(const struct small *m, bool is_list)
{
    uint64_t h = m->count;
    if (is_list) {
        list_each(it, &m->items) h = digest_item(container_of(it, struct small_item, link), h);
    } else {
        for (struct tree_node *n = m->tree.first; n; n = tree_next(n))
            h = digest_item(of_node(n), h);
    }
    return h;
}
