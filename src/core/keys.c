/* SPDX-License-Identifier: Apache-2.0 */
#include "core/keys.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "core/parts.h"
#include "core/small.h"
#include "core/stream.h"
#include "core/xcmd.h"

/* The tree's order: by hash, then by name. */
struct order_key {
    uint64_t hash;
    struct str name;
};

static struct key *of_order(const struct tree_node *n)
{
    return n ? container_of(n, struct key, order) : NULL;
}

static int cmp_order(const struct tree_node *n, const void *key)
{
    const struct key *k = of_order(n);
    const struct order_key *o = key;
    if (k->node.hash != o->hash)
        return k->node.hash < o->hash ? -1 : 1;
    return str_cmp(k->name, o->name);
}

static bool eq_name(const struct map_node *n, const void *key)
{
    return str_eq(container_of(n, struct key, node)->name, *(const struct str *)key);
}

static uint64_t name_hash(struct str name)
{
    return hash_xxh3(name.ptr, name.len, 0);
}

struct key *key_find(const struct core *c, struct str name)
{
    struct map_node *n = map_find(&c->keys, name_hash(name), eq_name, &name);
    return n ? container_of(n, struct key, node) : NULL;
}

struct stream *key_stream(const struct core *c, struct str name)
{
    struct key *k = key_find(c, name);
    return k && k->type == KEY_STREAM ? k->stream : NULL;
}

struct key *key_from(const struct core *c, uint64_t hash)
{
    struct order_key o = {.hash = hash, .name = STR("")};
    return of_order(tree_ceil(&c->keys_order, &o, cmp_order));
}

struct key *key_next(const struct key *k)
{
    return of_order(tree_next(&k->order));
}

/* Into both indexes. TTG_ENOMEM. */
static int link_key(struct core *c, struct key *k)
{
    struct order_key o = {name_hash(k->name), k->name};
    int rc = map_add(&c->keys, &k->node, o.hash);
    if (rc)
        return rc;
    struct tree_node *there = tree_add(&c->keys_order, &k->order, &o, cmp_order);
    ensure(!there);
    return 0;
}

static void unlink_key(struct core *c, struct key *k)
{
    map_remove(&c->keys, &k->node);
    tree_remove(&c->keys_order, &k->order);
}

static void free_key(struct key *k)
{
    mem_free((char *)(uintptr_t)k->name.ptr);
    mem_free(k);
}

struct key *key_add(struct core *c, struct str name, enum key_type type)
{
    struct key *k = mem_zalloc(sizeof *k);
    char *copy = mem_dup(name.ptr, name.len);
    if (k && copy) {
        k->name = str_make(copy, name.len);
        k->type = type;
        if (link_key(c, k) == 0) {
            core_ready(c, k->name);
            return k;
        }
    }
    mem_free(k);
    mem_free(copy);
    return NULL;
}

int key_stream_open(struct core *c, struct str name, struct stream **ret_stream)
{
    struct key *k = key_find(c, name);
    if (!k) {
        struct stream *s = stream_new(&c->env, &c->streams);
        k = s ? key_add(c, name, KEY_STREAM) : NULL;
        if (!k) {
            stream_free(s);
            return TTG_ENOMEM;
        }
        k->stream = s;
    }
    if (k->type != KEY_STREAM)
        return TTG_EEXIST;
    *ret_stream = k->stream;
    return 0;
}

void key_clear(struct key *k)
{
    if (k->type == KEY_STREAM)
        stream_free(k->stream);
    else if (k->type == KEY_STRING)
        mem_free((char *)(uintptr_t)k->string.ptr);
    else
        small_free(k->small, k->type == KEY_LIST);
    k->string = (struct str){NULL, 0};
}

int key_rename(struct core *c, struct key *k, struct str name)
{
    char *copy = mem_dup(name.ptr, name.len);
    if (!copy)
        return TTG_ENOMEM;
    struct str old = k->name;
    struct key *there = key_find(c, name);
    if (there)
        key_delete(c, there);
    unlink_key(c, k);
    k->name = str_make(copy, name.len);
    int rc = link_key(c, k);
    ensure(rc == 0); /* only an empty table can fail, and it had a key */
    core_ready(c, old);
    core_ready(c, k->name);
    mem_free((char *)(uintptr_t)old.ptr);
    return 0;
}

void key_delete(struct core *c, struct key *k)
{
    unlink_key(c, k);
    key_clear(k);
    core_ready(c, k->name);
    free_key(k);
}

const char *key_guard(const struct key *k)
{
    return k->type == KEY_STREAM ? k->stream->guard : NULL;
}

const char *key_type_name(enum key_type type)
{
    static const char *const names[] = {"string", "list", "set", "hash", "stream"};
    return names[type];
}

static void keys_close(struct core *c)
{
    while (c->keys_order.first) {
        struct key *k = of_order(c->keys_order.first);
        unlink_key(c, k);
        key_clear(k);
        free_key(k);
    }
    map_done(&c->keys);
}

static void keys_save(const struct core *c, struct core_saver *s)
{
    pack_u64(&s->p, c->keys.count);
    for (struct key *k = key_from(c, 0); k; k = key_next(k)) {
        pack_str(&s->p, k->name);
        pack_u64(&s->p, k->type);
        if (k->type == KEY_STREAM)
            stream_save(k->stream, s);
        else if (k->type == KEY_STRING)
            pack_str(&s->p, k->string);
        else
            small_save(k->small, k->type == KEY_LIST, s);
        core_save_some(s);
    }
}

/* The key holds an empty value of its type from the start, so that it can be freed at any time. */
static void load_value(struct core *c, struct key *k, struct unpacker *u)
{
    if (k->type == KEY_STREAM) {
        k->stream = stream_new(&c->env, &c->streams);
        if (k->stream)
            stream_load(k->stream, u);
        else
            u->rc = TTG_ENOMEM;
    } else if (k->type == KEY_STRING) {
        struct str s = unpack_str(u);
        char *copy = mem_dup(s.ptr, s.len);
        if (copy)
            k->string = str_make(copy, s.len);
        else
            u->rc = TTG_ENOMEM;
    } else {
        k->small = small_new();
        if (k->small)
            small_load(k->small, k->type == KEY_LIST, u);
        else
            u->rc = TTG_ENOMEM;
    }
}

static void keys_load(struct core *c, struct unpacker *u)
{
    uint64_t count = unpack_count(u, 3);
    for (uint64_t i = 0; i < count && !u->rc; i++) {
        struct str name = unpack_str(u);
        uint64_t type = unpack_u64(u);
        if (!u->rc && (type > KEY_STREAM || key_find(c, name)))
            u->rc = TTG_ECORRUPT;
        if (u->rc)
            return;
        struct key *k = key_add(c, name, (enum key_type)type);
        if (!k) {
            u->rc = TTG_ENOMEM;
            return;
        }
        load_value(c, k, u);
    }
}

static uint64_t keys_digest(const struct core *c)
{
    uint64_t digest = c->keys.count;
    for (struct key *k = key_from(c, 0); k; k = key_next(k)) {
        uint64_t h = hash_u64(k->node.hash + k->type);
        if (k->type == KEY_STREAM)
            h += stream_digest(k->stream);
        else if (k->type == KEY_STRING)
            h += hash_xxh3(k->string.ptr, k->string.len, 1);
        else
            h += small_digest(k->small, k->type == KEY_LIST);
        digest += hash_u64(h);
    }
    return digest;
}

const struct core_part keys_part = {
    .name = "keys",
    .commands = key_commands,
    .close = keys_close,
    .save = keys_save,
    .load = keys_load,
    .digest = keys_digest,
};
const struct core_part streams_part = {
    .name = "streams",
    .commands = stream_commands,
    .save = xidmp_save,
    .load = xidmp_load,
    .digest = xidmp_digest,
};
const struct core_part small_part = {.name = "small", .commands = small_commands};
