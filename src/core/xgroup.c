/* SPDX-License-Identifier: Apache-2.0 */
/* xgroup - XGROUP: groups and consumers come and go. */
#include "base/ensure.h"
#include "base/err.h"
#include "core/parts.h"
#include "core/xcmd.h"

static bool complain(struct core_call *call, const char *what)
{
    reply_error(call->reply, "ERR %s", what);
    return false;
}

struct group_args {
    bool create; /* MKSTREAM */
    int64_t entries_read;
    struct stream *s;
    struct stream_group *g;
};

/* MKSTREAM and ENTRIESREAD, as far as the subcommand knows them. */
static bool parse_options(struct core_call *call, struct group_args *a)
{
    bool creates = arg_is(call, 1, "CREATE"), sets = arg_is(call, 1, "SETID");
    a->entries_read = STREAM_READ_UNKNOWN;
    for (size_t i = 5; i < call->argc; i++) {
        if (creates && arg_is(call, i, "MKSTREAM")) {
            a->create = true;
        } else if ((creates || sets) && i + 1 < call->argc && arg_is(call, i, "ENTRIESREAD")) {
            if (!arg_i64(call, ++i, NULL, &a->entries_read))
                return false;
            if (a->entries_read < 0 && a->entries_read != STREAM_READ_UNKNOWN)
                return complain(call, "value for ENTRIESREAD must be positive or -1");
        } else {
            struct str sub = call->argv[1];
            reply_error(call->reply,
                        "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try "
                        "XGROUP HELP.",
                        (int)(sub.len > 128 ? 128 : sub.len), sub.ptr);
            return false;
        }
    }
    return true;
}

/* The stream, and the group where the subcommand needs one. */
static bool resolve(struct core *c, struct core_call *call, struct group_args *a)
{
    if (!arg_stream(c, call, 2, &a->s))
        return false;
    if (!a->s && !a->create)
        return complain(call, "The XGROUP subcommand requires the key to exist. Note that for "
                              "CREATE you may want to use the MKSTREAM option to create an empty "
                              "stream automatically.");
    a->g = a->s ? stream_group_find(a->s, call->argv[3]) : NULL;
    if (a->g || arg_is(call, 1, "CREATE") || arg_is(call, 1, "DESTROY"))
        return true;
    reply_error(call->reply, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                STR_ARG(call->argv[3]), STR_ARG(call->argv[2]));
    return false;
}

static bool parse_start(struct core_call *call, const struct stream *s, bool strict,
                        struct stream_id *ret_id)
{
    if (!str_eq(call->argv[4], STR("$")))
        return arg_id(call, 4, 0, strict, ret_id);
    *ret_id = s ? s->last_id : STREAM_ID_MIN;
    return true;
}

static void create(struct core *c, struct core_call *call, struct group_args *a)
{
    struct stream_id id;
    bool existed = a->s;
    if (!parse_start(call, a->s, true, &id))
        return;
    if (a->g) {
        reply_error(call->reply, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    int rc = existed ? 0 : key_stream_open(c, call->argv[2], &a->s);
    if (!rc && !stream_group_add(a->s, call->argv[3], id, a->entries_read))
        rc = TTG_ENOMEM;
    if (rc) {
        if (a->s && !existed)
            key_delete(c, key_find(c, call->argv[2]));
        reply_failure(call->reply, rc);
        return;
    }
    call->changed = true;
    reply_status(call->reply, "OK");
}

static void setid(struct core_call *call, struct group_args *a)
{
    struct stream_id id;
    if (!arg_unguarded(call, a->s) || !parse_start(call, a->s, false, &id))
        return;
    ensure(a->g);
    a->g->last_id = id;
    a->g->entries_read = a->entries_read;
    call->changed = true;
    reply_status(call->reply, "OK");
}

static void destroy(struct core *c, struct core_call *call, struct group_args *a)
{
    if (!a->g) {
        reply_int(call->reply, 0);
        return;
    }
    if (!arg_unguarded(call, a->s))
        return;
    stream_group_remove(a->g);
    call->changed = true;
    reply_int(call->reply, 1);
    core_ready(c, call->argv[2]); /* who reads from the group is told that it is gone */
}

static void create_consumer(struct core_call *call, struct group_args *a)
{
    bool there = stream_consumer_find(a->g, call->argv[4]);
    if (!there && !stream_consumer_add(a->g, call->argv[4], call->now_ms)) {
        reply_no_memory(call->reply);
        return;
    }
    call->changed = !there;
    reply_int(call->reply, !there);
}

static void delete_consumer(struct core_call *call, struct group_args *a)
{
    struct stream_consumer *consumer = stream_consumer_find(a->g, call->argv[4]);
    int64_t pending = consumer ? (int64_t)consumer->pending.count : 0;
    if ((pending > 0 || (consumer && consumer->owner)) && !arg_unguarded(call, a->s))
        return;
    if (consumer) {
        stream_consumer_remove(consumer);
        call->changed = true;
    }
    reply_int(call->reply, pending);
}

static const char *const help[] = {
    "CREATE <key> <groupname> <id|$> [option]",
    "    Creates a consumer group. Options are:",
    "    * MKSTREAM",
    "      Creates an empty stream if there is none.",
    "    * ENTRIESREAD entries_read",
    "      Sets how many entries the group counts as read.",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Creates a consumer in the group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Removes the consumer with what is pending for it.",
    "DESTROY <key> <groupname>",
    "    Removes the group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Sets up to where the group counts as served.",
    NULL,
};

void xgroup(struct core *c, struct core_call *call)
{
    const struct core_command *row;
    struct group_args a = {0};
    if (!core_sub_find(call, &row))
        return;
    if (arg_is(call, 1, "HELP")) {
        reply_help(call->reply, "XGROUP", help);
        return;
    }
    if (!parse_options(call, &a) || !resolve(c, call, &a))
        return;
    if (arg_is(call, 1, "CREATE"))
        create(c, call, &a);
    else if (arg_is(call, 1, "SETID"))
        setid(call, &a);
    else if (arg_is(call, 1, "DESTROY"))
        destroy(c, call, &a);
    else if (arg_is(call, 1, "CREATECONSUMER"))
        create_consumer(call, &a);
    else
        delete_consumer(call, &a);
}
