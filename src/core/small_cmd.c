/* SPDX-License-Identifier: Apache-2.0 */
/* small_cmd - the few commands on strings, lists, sets and hashes that tools and tests need. */
#include "base/err.h"
#include "base/mem.h"
#include "core/args.h"
#include "core/parts.h"
#include "core/small.h"

enum { STRING_BYTES_MAX = 512 << 20 };

/* The key when it holds this type, NULL when it does not exist. False: answered. */
static bool find(struct core *c, struct core_call *call, enum key_type type, struct key **ret_key)
{
    struct key *k = key_find(c, call->argv[1]);
    if (k && k->type != type) {
        reply_wrong_type(call->reply);
        return false;
    }
    *ret_key = k;
    return true;
}

/* Finds or creates a list, set or hash. */
static bool open_small(struct core *c, struct core_call *call, enum key_type type,
                       struct key **ret_key)
{
    if (!find(c, call, type, ret_key))
        return false;
    if (*ret_key)
        return true;
    struct small *m = small_new();
    struct key *k = m ? key_add(c, call->argv[1], type) : NULL;
    if (!k) {
        small_free(m, true);
        reply_no_memory(call->reply);
        return false;
    }
    k->small = m;
    *ret_key = k;
    return true;
}

static void free_items(struct list *items)
{
    list_each(it, items) small_item_free(container_of(it, struct small_item, link));
}

/* All new items before anything changes: a command happens as a whole or not at all. `with_values`:
 * the words are pairs. False: answered. */
static bool make_items(struct core_call *call, bool with_values, struct list *out)
{
    list_init(out);
    for (size_t i = 2; i < call->argc; i += with_values ? 2 : 1) {
        struct str value = with_values ? call->argv[i + 1] : STR("");
        struct small_item *item = small_item_new(call->argv[i], value);
        if (!item) {
            reply_no_memory(call->reply);
            free_items(out);
            return false;
        }
        list_push_back(out, &item->link);
    }
    return true;
}

static void drop_if_empty(struct core *c, struct key *k)
{
    if (k->small->count == 0)
        key_delete(c, k);
}

/* Puts a new string in place of what was there; takes `value` over. */
static bool put_string(struct core *c, struct core_call *call, struct key *k, struct str value)
{
    if (value.ptr && !k)
        k = key_add(c, call->argv[1], KEY_STRING);
    else if (value.ptr)
        key_clear(k);
    if (!value.ptr || !k) {
        mem_free((char *)(uintptr_t)value.ptr);
        reply_no_memory(call->reply);
        return false;
    }
    bool other = k->type != KEY_STRING;
    k->type = KEY_STRING;
    k->string = value;
    if (other)
        core_ready(c, k->name);
    call->changed = true;
    return true;
}

static struct str copy_of(struct str s)
{
    return str_make(mem_dup(s.ptr, s.len), s.len);
}

static void set(struct core *c, struct core_call *call)
{
    bool nx = false, xx = false, get = false;
    for (size_t i = 3; i < call->argc; i++) {
        nx |= arg_is(call, i, "NX");
        xx |= arg_is(call, i, "XX");
        get |= arg_is(call, i, "GET");
        bool known = arg_is(call, i, "NX") || arg_is(call, i, "XX") || arg_is(call, i, "GET") ||
                     arg_is(call, i, "KEEPTTL");
        if (!known || (nx && xx)) {
            reply_syntax(call->reply);
            return;
        }
    }
    struct key *k = key_find(c, call->argv[1]);
    if (get && k && k->type != KEY_STRING) {
        reply_wrong_type(call->reply);
        return;
    }
    if (k && key_guard(k)) {
        reply_error(call->reply, "ERR %s", key_guard(k));
        return;
    }
    bool store = !(nx && k) && !(xx && !k);
    struct str value = store ? copy_of(call->argv[2]) : STR("");
    if (get && k && value.ptr)
        reply_str(call->reply, k->string);
    if (store && !put_string(c, call, k, value))
        return;
    if (get ? !k : !store)
        reply_null(call->reply);
    else if (!get)
        reply_status(call->reply, "OK");
}

static void get(struct core *c, struct core_call *call)
{
    struct key *k;
    if (!find(c, call, KEY_STRING, &k))
        return;
    if (k)
        reply_str(call->reply, k->string);
    else
        reply_null(call->reply);
}

static void string_length(struct core *c, struct core_call *call)
{
    struct key *k;
    if (find(c, call, KEY_STRING, &k))
        reply_int(call->reply, k ? (int64_t)k->string.len : 0);
}

static void append(struct core *c, struct core_call *call)
{
    struct key *k;
    if (!find(c, call, KEY_STRING, &k))
        return;
    struct str old = k ? k->string : STR(""), more = call->argv[2];
    if (more.len > STRING_BYTES_MAX || old.len > STRING_BYTES_MAX - more.len) {
        reply_error(call->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    char *joined = mem_alloc(old.len + more.len + 1);
    if (joined) {
        memcpy(joined, old.ptr, old.len);
        if (more.len > 0)
            memcpy(joined + old.len, more.ptr, more.len);
    }
    if (put_string(c, call, k, str_make(joined, old.len + more.len)))
        reply_int(call->reply, (int64_t)(old.len + more.len));
}

static void add(struct core *c, struct core_call *call, int64_t delta)
{
    struct key *k;
    int64_t value = 0;
    if (!find(c, call, KEY_STRING, &k))
        return;
    if (k && !args_parse_i64(k->string, &value)) {
        reply_error(call->reply, "ERR value is not an integer or out of range");
        return;
    }
    if (__builtin_add_overflow(value, delta, &value)) {
        reply_error(call->reply, "ERR increment or decrement would overflow");
        return;
    }
    char text[20];
    if (put_string(c, call, k, copy_of(str_make(text, str_from_i64(text, value)))))
        reply_int(call->reply, value);
}

static void incr(struct core *c, struct core_call *call)
{
    add(c, call, 1);
}

static void decr(struct core *c, struct core_call *call)
{
    add(c, call, -1);
}

static void incrby(struct core *c, struct core_call *call)
{
    int64_t delta;
    if (arg_i64(call, 2, NULL, &delta))
        add(c, call, delta);
}

static void decrby(struct core *c, struct core_call *call)
{
    int64_t delta;
    if (!arg_i64(call, 2, NULL, &delta))
        return;
    if (delta == INT64_MIN)
        reply_error(call->reply, "ERR decrement would overflow");
    else
        add(c, call, -delta);
}

static struct small_item *of_link(struct list *l)
{
    return container_of(l, struct small_item, link);
}

static void push(struct core *c, struct core_call *call)
{
    struct key *k;
    struct list items;
    bool left = arg_is(call, 0, "LPUSH");
    if (!find(c, call, KEY_LIST, &k) || !make_items(call, false, &items))
        return;
    if (!open_small(c, call, KEY_LIST, &k)) {
        free_items(&items);
        return;
    }
    for (struct list *l; (l = list_pop_front(&items)); k->small->count++) {
        if (left)
            list_push_front(&k->small->items, l);
        else
            list_push_back(&k->small->items, l);
    }
    call->changed = true;
    reply_int(call->reply, (int64_t)k->small->count);
}

static void pop(struct core *c, struct core_call *call)
{
    struct key *k;
    if (!find(c, call, KEY_LIST, &k))
        return;
    if (!k) {
        reply_null(call->reply);
        return;
    }
    struct list *items = &k->small->items;
    struct small_item *item = of_link(arg_is(call, 0, "LPOP") ? items->next : items->prev);
    reply_str(call->reply, item->name);
    list_remove(&item->link);
    small_item_free(item);
    k->small->count--;
    drop_if_empty(c, k);
    call->changed = true;
}

static void count(struct core *c, struct core_call *call, enum key_type type)
{
    struct key *k;
    if (find(c, call, type, &k))
        reply_int(call->reply, k ? (int64_t)k->small->count : 0);
}

static void llen(struct core *c, struct core_call *call)
{
    count(c, call, KEY_LIST);
}

static void scard(struct core *c, struct core_call *call)
{
    count(c, call, KEY_SET);
}

static void hlen(struct core *c, struct core_call *call)
{
    count(c, call, KEY_HASH);
}

static void lrange(struct core *c, struct core_call *call)
{
    struct key *k;
    int64_t from, to;
    if (!arg_i64(call, 2, NULL, &from) || !arg_i64(call, 3, NULL, &to) ||
        !find(c, call, KEY_LIST, &k))
        return;
    int64_t length = k ? (int64_t)k->small->count : 0;
    from = from < 0 ? from + length : from;
    to = to < 0 ? to + length : to;
    from = from < 0 ? 0 : from;
    to = to >= length ? length - 1 : to;
    if (from > to) {
        reply_array(call->reply, 0);
        return;
    }
    reply_array(call->reply, (size_t)(to - from + 1));
    int64_t i = 0;
    list_each(it, &k->small->items)
    {
        if (i >= from && i <= to)
            reply_str(call->reply, of_link(it)->name);
        i++;
    }
}

/* SADD and HSET: how many names are new. */
static void add_items(struct core *c, struct core_call *call, enum key_type type)
{
    struct key *k;
    struct list items;
    int64_t added = 0;
    if (!find(c, call, type, &k) || !make_items(call, type == KEY_HASH, &items))
        return;
    if (!open_small(c, call, type, &k)) {
        free_items(&items);
        return;
    }
    for (struct list *l; (l = list_pop_front(&items));) {
        struct small_item *item = of_link(l), *old = small_find(k->small, item->name);
        added += !old;
        if (old && type == KEY_SET) {
            small_item_free(item);
            continue;
        }
        if (old)
            small_remove(k->small, old);
        small_add(k->small, item);
        call->changed = true;
    }
    reply_int(call->reply, added);
}

static void sadd(struct core *c, struct core_call *call)
{
    add_items(c, call, KEY_SET);
}

/* SREM and HDEL. */
static void remove_items(struct core *c, struct core_call *call)
{
    struct key *k;
    int64_t removed = 0;
    if (!find(c, call, arg_is(call, 0, "SREM") ? KEY_SET : KEY_HASH, &k))
        return;
    for (size_t i = 2; k && i < call->argc; i++) {
        struct small_item *item = small_find(k->small, call->argv[i]);
        if (!item)
            continue;
        small_remove(k->small, item);
        removed++;
    }
    if (k)
        drop_if_empty(c, k);
    call->changed = removed > 0;
    reply_int(call->reply, removed);
}

static void smembers(struct core *c, struct core_call *call)
{
    struct key *k;
    if (!find(c, call, KEY_SET, &k))
        return;
    reply_set(call->reply, k ? k->small->count : 0);
    for (struct tree_node *n = k ? k->small->tree.first : NULL; n; n = tree_next(n))
        reply_str(call->reply, container_of(n, struct small_item, node)->name);
}

static void sismember(struct core *c, struct core_call *call)
{
    struct key *k;
    if (find(c, call, KEY_SET, &k))
        reply_int(call->reply, k && small_find(k->small, call->argv[2]));
}

static void hset(struct core *c, struct core_call *call)
{
    if (call->argc % 2)
        reply_arity(call, "hset");
    else
        add_items(c, call, KEY_HASH);
}

static void hget(struct core *c, struct core_call *call)
{
    struct key *k;
    if (!find(c, call, KEY_HASH, &k))
        return;
    const struct small_item *item = k ? small_find(k->small, call->argv[2]) : NULL;
    if (item)
        reply_str(call->reply, item->value);
    else
        reply_null(call->reply);
}

static void hexists(struct core *c, struct core_call *call)
{
    struct key *k;
    if (find(c, call, KEY_HASH, &k))
        reply_int(call->reply, k && small_find(k->small, call->argv[2]));
}

static void hgetall(struct core *c, struct core_call *call)
{
    struct key *k;
    if (!find(c, call, KEY_HASH, &k))
        return;
    reply_map(call->reply, k ? k->small->count : 0);
    for (struct tree_node *n = k ? k->small->tree.first : NULL; n; n = tree_next(n)) {
        const struct small_item *item = container_of(n, struct small_item, node);
        reply_str(call->reply, item->name);
        reply_str(call->reply, item->value);
    }
}

#define W CORE_WRITE, 1, 1, 1
#define R CORE_READ, 1, 1, 1
const struct core_command small_commands[] = {
    {"SET", -3, W, "string", "1.0.0", "key value [NX | XX] [GET]", "Sets a string.", set},
    {"GET", 2, R, "string", "1.0.0", "key", "A string's value.", get},
    {"APPEND", 3, W, "string", "2.0.0", "key value", "Appends to a string.", append},
    {"STRLEN", 2, R, "string", "2.2.0", "key", "A string's length.", string_length},
    {"INCR", 2, W, "string", "1.0.0", "key", "Adds one to a number.", incr},
    {"DECR", 2, W, "string", "1.0.0", "key", "Takes one from a number.", decr},
    {"INCRBY", 3, W, "string", "1.0.0", "key increment", "Adds to a number.", incrby},
    {"DECRBY", 3, W, "string", "1.0.0", "key decrement", "Takes from a number.", decrby},
    {"LPUSH", -3, W, "list", "1.0.0", "key element [element ...]", "Adds at a list's head.", push},
    {"RPUSH", -3, W, "list", "1.0.0", "key element [element ...]", "Adds at a list's tail.", push},
    {"LPOP", 2, W, "list", "1.0.0", "key", "Takes a list's first element.", pop},
    {"RPOP", 2, W, "list", "1.0.0", "key", "Takes a list's last element.", pop},
    {"LLEN", 2, R, "list", "1.0.0", "key", "A list's length.", llen},
    {"LRANGE", 4, R, "list", "1.0.0", "key start stop", "A range of a list.", lrange},
    {"SADD", -3, W, "set", "1.0.0", "key member [member ...]", "Adds to a set.", sadd},
    {"SREM", -3, W, "set", "1.0.0", "key member [member ...]", "Removes from a set.", remove_items},
    {"SCARD", 2, R, "set", "1.0.0", "key", "A set's size.", scard},
    {"SMEMBERS", 2, R, "set", "1.0.0", "key", "A set's members.", smembers},
    {"SISMEMBER", 3, R, "set", "1.0.0", "key member", "Whether a set has a member.", sismember},
    {"HSET", -4, W, "hash", "2.0.0", "key field value [field value ...]", "Sets fields of a hash.",
     hset},
    {"HGET", 3, R, "hash", "2.0.0", "key field", "A field of a hash.", hget},
    {"HDEL", -3, W, "hash", "2.0.0", "key field [field ...]", "Removes fields of a hash.",
     remove_items},
    {"HEXISTS", 3, R, "hash", "2.0.0", "key field", "Whether a hash has a field.", hexists},
    {"HLEN", 2, R, "hash", "2.0.0", "key", "A hash's number of fields.", hlen},
    {"HGETALL", 2, R, "hash", "2.0.0", "key", "A hash's fields and values.", hgetall},
    {0},
};
