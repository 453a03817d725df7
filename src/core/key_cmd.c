/* SPDX-License-Identifier: Apache-2.0 */
/* key_cmd - commands that work on keys of any type. */
#include "base/hash.h"
#include "core/args.h"
#include "core/glob.h"
#include "core/parts.h"

#include <inttypes.h>

enum { SCAN_COUNT_DEFAULT = 10 };

static bool key_unguarded(struct core_call *call, const struct key *k)
{
    const char *why = k ? key_guard(k) : NULL;
    if (why)
        reply_error(call->reply, "ERR %s", why);
    return !why;
}

static void del(struct core *c, struct core_call *call)
{
    int64_t count = 0;
    for (size_t i = 1; i < call->argc; i++)
        if (!key_unguarded(call, key_find(c, call->argv[i])))
            return;
    for (size_t i = 1; i < call->argc; i++) {
        struct key *k = key_find(c, call->argv[i]);
        if (!k)
            continue;
        key_delete(c, k);
        count++;
    }
    call->changed = count > 0;
    reply_int(call->reply, count);
}

static void exists(struct core *c, struct core_call *call)
{
    int64_t count = 0;
    for (size_t i = 1; i < call->argc; i++)
        count += key_find(c, call->argv[i]) != NULL;
    reply_int(call->reply, count);
}

static void type(struct core *c, struct core_call *call)
{
    const struct key *k = key_find(c, call->argv[1]);
    reply_status(call->reply, k ? key_type_name(k->type) : "none");
}

static void keys(struct core *c, struct core_call *call)
{
    size_t mark = reply_open(call->reply), count = 0;
    for (struct key *k = key_from(c, 0); k; k = key_next(k)) {
        if (!glob_matches(call->argv[1], k->name))
            continue;
        reply_str(call->reply, k->name);
        count++;
    }
    reply_close(call->reply, mark, count);
}

struct scan {
    uint64_t cursor;
    int64_t count;
    struct str match, type;
};

static bool scan_parse(struct core_call *call, struct scan *s)
{
    if (str_to_u64(call->argv[1], &s->cursor)) {
        reply_error(call->reply, "ERR invalid cursor");
        return false;
    }
    for (size_t i = 2; i < call->argc; i += 2) {
        if (i + 1 == call->argc) {
            reply_syntax(call->reply);
            return false;
        }
        if (arg_is(call, i, "COUNT")) {
            if (!arg_i64(call, i + 1, NULL, &s->count))
                return false;
        } else if (arg_is(call, i, "MATCH")) {
            s->match = call->argv[i + 1];
        } else if (arg_is(call, i, "TYPE")) {
            s->type = call->argv[i + 1];
        } else {
            s->count = 0;
        }
        if (s->count < 1) {
            reply_syntax(call->reply);
            return false;
        }
    }
    return true;
}

/* The cursor is the hash of the next key: what is added or removed meanwhile does not disturb the
 * walk, and each key that is there all the time is seen exactly once. */
static void scan(struct core *c, struct core_call *call)
{
    struct scan s = {.count = SCAN_COUNT_DEFAULT};
    if (!scan_parse(call, &s))
        return;
    struct key *k = key_from(c, s.cursor), *end = k;
    for (int64_t left = s.count; end && left > 0; left--)
        end = key_next(end);
    while (end && end != k && key_from(c, end->node.hash) != end)
        end = key_next(end); /* keys of one hash go together */
    char text[20];
    reply_array(call->reply, 2);
    reply_str(call->reply, str_make(text, str_from_u64(text, end ? end->node.hash : 0)));
    size_t mark = reply_open(call->reply), count = 0;
    for (; k != end; k = key_next(k)) {
        if (s.match.ptr && !glob_matches(s.match, k->name))
            continue;
        if (s.type.ptr && !str_eq_nocase(s.type, str_of(key_type_name(k->type))))
            continue;
        reply_str(call->reply, k->name);
        count++;
    }
    reply_close(call->reply, mark, count);
}

/* RENAME and RENAMENX; the latter leaves a taken name alone. */
static void rename_key(struct core *c, struct core_call *call)
{
    bool only_new = arg_is(call, 0, "RENAMENX");
    struct key *from = key_find(c, call->argv[1]), *to = key_find(c, call->argv[2]);
    if (!from) {
        reply_no_key(call->reply);
        return;
    }
    bool move = from != to && !(only_new && to);
    if (move) {
        if (!key_unguarded(call, from) || !key_unguarded(call, to))
            return;
        if (key_rename(c, from, call->argv[2])) {
            reply_no_memory(call->reply);
            return;
        }
        call->changed = true;
    }
    if (only_new)
        reply_int(call->reply, move);
    else
        reply_status(call->reply, "OK");
}

static void dbsize(struct core *c, struct core_call *call)
{
    reply_int(call->reply, (int64_t)c->keys.count);
}

static void randomkey(struct core *c, struct core_call *call)
{
    struct key *k = key_from(c, hash_u64(call->now_ms));
    if (!k)
        k = key_from(c, 0);
    if (k)
        reply_str(call->reply, k->name);
    else
        reply_null(call->reply);
}

static void flush(struct core *c, struct core_call *call)
{
    if (call->argc > 2 ||
        (call->argc == 2 && !arg_is(call, 1, "ASYNC") && !arg_is(call, 1, "SYNC"))) {
        reply_syntax(call->reply);
        return;
    }
    const char *why = core_flush_refused(c);
    if (why) {
        reply_error(call->reply, "ERR %s", why);
        return;
    }
    core_flush(c);
    call->changed = true;
    for (struct key *k; (k = key_from(c, 0));)
        key_delete(c, k);
    reply_status(call->reply, "OK");
}

/* Keys never expire here; tools ask all the same. */
static void ttl(struct core *c, struct core_call *call)
{
    reply_int(call->reply, key_find(c, call->argv[1]) ? -1 : -2);
}

static const char *encoding(const struct key *k)
{
    static const char *const names[] = {"raw", "quicklist", "hashtable", "hashtable", "stream"};
    int64_t number;
    if (k->type != KEY_STRING)
        return names[k->type];
    if (args_parse_i64(k->string, &number))
        return "int";
    return k->string.len <= 44 ? "embstr" : "raw";
}

static void object(struct core *c, struct core_call *call)
{
    static const char *const help[] = {"ENCODING <key>",
                                       "    How the value is kept.",
                                       "FREQ <key>",
                                       "    Always 0.",
                                       "IDLETIME <key>",
                                       "    Always 0.",
                                       "REFCOUNT <key>",
                                       "    Always 1.",
                                       NULL};
    const struct core_command *row;
    if (!core_sub_find(call, &row))
        return;
    if (arg_is(call, 1, "HELP")) {
        reply_help(call->reply, "OBJECT", help);
        return;
    }
    const struct key *k = key_find(c, call->argv[2]);
    if (!k)
        reply_null(call->reply);
    else if (arg_is(call, 1, "ENCODING"))
        reply_text(call->reply, encoding(k));
    else
        reply_int(call->reply, arg_is(call, 1, "REFCOUNT"));
}

/* What the node's CONFIG SET writes into the log for the settings that replay depends on. */
static void config(struct core *c, struct core_call *call)
{
    int64_t value;
    uint64_t *setting = NULL;
    if (arg_is(call, 1, "stream-node-max-entries"))
        setting = &c->streams.node_entries_max;
    else if (arg_is(call, 1, "stream-node-max-bytes"))
        setting = &c->streams.node_bytes_max;
    if (!setting || call->argc > 3) {
        reply_error(call->reply, "ERR no such setting of the core");
        return;
    }
    if (call->argc == 2) {
        reply_int(call->reply, (int64_t)*setting);
        return;
    }
    if (!arg_i64(call, 2, NULL, &value))
        return;
    if (value < 0) {
        reply_error(call->reply, "ERR argument must be between 0 and %" PRId64 " inclusive",
                    INT64_MAX);
        return;
    }
    call->changed = *setting != (uint64_t)value;
    *setting = (uint64_t)value;
    reply_status(call->reply, "OK");
}

#define G "generic"
const struct core_command key_commands[] = {
    {"DEL", -2, CORE_WRITE, 1, -1, 1, G, "1.0.0", "key [key ...]", "Deletes keys.", del},
    {"UNLINK", -2, CORE_WRITE, 1, -1, 1, G, "4.0.0", "key [key ...]", "Deletes keys.", del},
    {"EXISTS", -2, CORE_READ, 1, -1, 1, G, "1.0.0", "key [key ...]", "Counts the keys that exist.",
     exists},
    {"TOUCH", -2, CORE_READ, 1, -1, 1, G, "3.2.1", "key [key ...]", "Counts the keys that exist.",
     exists},
    {"TYPE", 2, CORE_READ, 1, 1, 1, G, "1.0.0", "key", "The type of a key's value.", type},
    {"KEYS", 2, CORE_READ, 0, 0, 0, G, "1.0.0", "pattern", "The keys that match a pattern.", keys},
    {"SCAN", -2, CORE_READ, 0, 0, 0, G, "2.8.0", "cursor [MATCH pattern] [COUNT count] [TYPE type]",
     "Walks over the keys.", scan},
    {"RENAME", 3, CORE_WRITE, 1, 2, 1, G, "1.0.0", "key newkey", "Renames a key.", rename_key},
    {"RENAMENX", 3, CORE_WRITE, 1, 2, 1, G, "1.0.0", "key newkey",
     "Renames a key unless the new name is taken.", rename_key},
    {"RANDOMKEY", 1, CORE_READ, 0, 0, 0, G, "1.0.0", "", "Some key.", randomkey},
    {"TTL", 2, CORE_READ, 1, 1, 1, G, "1.0.0", "key", "Always -1: keys do not expire.", ttl},
    {"PTTL", 2, CORE_READ, 1, 1, 1, G, "2.6.0", "key", "Always -1: keys do not expire.", ttl},
    {"OBJECT", -2, CORE_READ, 2, 2, 1, G, "2.2.3", "subcommand", "About how a value is kept.",
     object},
    {"OBJECT ENCODING", 3, CORE_READ, 2, 2, 1, G, "2.2.3", "key", "How a value is kept.", object},
    {"OBJECT FREQ", 3, CORE_READ, 2, 2, 1, G, "4.0.0", "key", "Always 0.", object},
    {"OBJECT IDLETIME", 3, CORE_READ, 2, 2, 1, G, "2.2.3", "key", "Always 0.", object},
    {"OBJECT REFCOUNT", 3, CORE_READ, 2, 2, 1, G, "2.2.3", "key", "Always 1.", object},
    {"OBJECT HELP", 2, CORE_READ, 0, 0, 0, G, "6.2.0", "", "Shows help.", object},
    {"DBSIZE", 1, CORE_READ, 0, 0, 0, "server", "1.0.0", "", "The number of keys.", dbsize},
    {"FLUSHALL", -1, CORE_WRITE, 0, 0, 0, "server", "1.0.0", "[ASYNC | SYNC]", "Deletes all keys.",
     flush},
    {"FLUSHDB", -1, CORE_WRITE, 0, 0, 0, "server", "1.0.0", "[ASYNC | SYNC]", "Deletes all keys.",
     flush},
    {"TTG.CONFIG", -2, CORE_WRITE, 0, 0, 0, "ttg", "1.0.0", "name [value]",
     "Reads or sets a setting that is part of the replicated state.", config},
    {0},
};
