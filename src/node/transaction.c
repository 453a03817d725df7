/* SPDX-License-Identifier: Apache-2.0 */
/* MULTI and EXEC: commands are kept as the record that they will become, then run in one go and
 * logged as one record. WATCH notes keys; a logged command that names one spoils the EXEC. */
#include "base/ensure.h"
#include "base/mem.h"
#include "node/presence.h"
#include "node/state.h"

struct multi {
    struct buf commands; /* as record_command writes them */
    size_t count;
    bool writes, spoiled;
};

struct watch {
    struct buf keys; /* one record_command */
    bool touched;
};

void multi_free(struct client *c)
{
    if (!c->multi)
        return;
    buf_done(&c->multi->commands);
    mem_free(c->multi);
    c->multi = NULL;
}

size_t multi_count(const struct client *c)
{
    return c->multi->count;
}

void multi_spoil(struct client *c)
{
    c->multi->spoiled = true;
}

void multi_queue(struct client *c, const struct node_entry *e, size_t argc, const struct str *argv,
                 struct reply *r)
{
    int rc = 0;
    if (e->own && e->own->flags & NODE_NO_MULTI) {
        reply_error(r, "ERR %.*s is not allowed inside MULTI", STR_ARG(e->name));
        rc = TTG_EINVAL;
    } else {
        rc = record_command(&c->multi->commands, argc, argv);
        if (rc)
            reply_error(r, "OOM the transaction is too large: %s", err_text(rc));
    }
    if (rc) {
        c->multi->spoiled = true;
        return;
    }
    c->multi->count++;
    c->multi->writes |= e->core && core_writes(e->core, argc, argv);
    reply_status(r, "QUEUED");
}

void command_multi(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)argc, (void)argv;
    if (c->multi) {
        reply_error(r, "ERR MULTI calls can not be nested");
        return;
    }
    c->multi = mem_zalloc(sizeof(*c->multi));
    if (!c->multi) {
        reply_error(r, "OOM out of memory");
        return;
    }
    buf_init(&c->multi->commands, NODE_MULTI_BYTES_MAX);
    reply_status(r, "OK");
}

void command_discard(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)argc, (void)argv;
    if (!c->multi) {
        reply_error(r, "ERR DISCARD without MULTI");
        return;
    }
    multi_free(c);
    watch_free(c);
    reply_status(r, "OK");
}

/* Runs one queued command; what it changed goes into the record under way. */
static void multi_step(struct client *c, size_t argc, const struct str *argv, struct reply *r,
                       bool *logging)
{
    struct node *n = c->node;
    struct node_entry *e = exec_find(n, argv[0]);
    size_t from = buf_len(&c->conn.out);
    r->failed = false;
    if (e->own) {
        e->own->run(c, argc, argv, r);
    } else {
        struct core_call call = {
            .now_ms = n->now_ms, .client = c->id, .argc = argc, .argv = argv, .reply = r};
        core_exec(n->core, e->core, &call);
        int rc = 0;
        if (call.changed && !*logging) {
            buf_clear(&n->record);
            rc = record_begin(&n->record, RECORD_COMMANDS, n->now_ms, c->id);
            *logging = true;
        }
        if (call.changed && !rc)
            rc = record_command(&n->record, argc, argv);
        ensure(rc == 0); /* node_reserve made the room */
        if (call.changed && n->watch_count > 0)
            watch_touch(n, e, argc, argv);
    }
    if (e->core)
        presence_command(c, e, argc, argv, r->failed);
    e->calls++;
    n->stats.commands++;
    if (r->failed && !c->dead) {
        struct str all = buf_str(&c->conn.out);
        exec_count_error(n, str_make(all.ptr + from, all.len - from));
        e->failed++;
    }
}

static void multi_run(struct client *c, struct reply *r)
{
    struct node *n = c->node;
    struct record queued = {.rest = buf_str(&c->multi->commands)};
    struct str *argv = NULL;
    size_t cap = 0, argc;
    bool logging = false;
    reply_array(r, c->multi->count);
    while (!c->dead && record_next(&queued, &argv, &cap, &argc) == 1)
        multi_step(c, argc, argv, r, &logging);
    mem_free(argv);
    if (logging)
        node_log(n);
}

enum exec_result multi_exec(struct client *c, struct node_entry *e)
{
    struct node *n = c->node;
    struct reply r = client_reply(c);
    bool ran = false;
    if (!c->multi) {
        reply_error(&r, "ERR EXEC without MULTI");
    } else if (c->multi->spoiled) {
        reply_error(&r, "EXECABORT Transaction discarded because of previous errors.");
    } else if (c->watch && c->watch->touched) {
        reply_null_array(&r);
    } else {
        int rc = 0;
        if (c->multi->writes)
            rc = node_reserve(n, RECORD_HEAD_BYTES_MAX + buf_len(&c->multi->commands) +
                                     RECORD_NUMBER_BYTES_MAX * (c->multi->count + 1) * 2);
        if (rc == TTG_EAGAIN)
            return EXEC_STALLED;
        if (rc)
            exec_refuse_full(&r, rc);
        else
            multi_run(c, &r);
        ran = !rc;
    }
    if (c->dead)
        return EXEC_DONE;
    e->calls++;
    if (!ran && r.failed) {
        struct str all = buf_str(&c->conn.out);
        exec_count_error(n, all);
        e->failed++;
    }
    client_mark(c, store_last_position(n->store));
    multi_free(c);
    watch_free(c);
    if (r.rc)
        client_close(c);
    return EXEC_DONE;
}

/* Only its address counts: exec_request turns it into multi_exec, which can be put off. */
void command_exec(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc, (void)argv;
    reply_error(r, "ERR EXEC without MULTI");
}

/* ---- WATCH ---- */
void watch_free(struct client *c)
{
    if (!c->watch)
        return;
    buf_done(&c->watch->keys);
    mem_free(c->watch);
    c->watch = NULL;
    c->node->watch_count--;
}

void command_watch(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    if (c->multi) {
        reply_error(r, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!c->watch) {
        c->watch = mem_zalloc(sizeof(*c->watch));
        if (!c->watch) {
            reply_error(r, "OOM out of memory");
            return;
        }
        buf_init(&c->watch->keys, NODE_OUT_PAUSE_BYTES);
        c->node->watch_count++;
    }
    int rc = record_command(&c->watch->keys, argc - 1, argv + 1);
    if (rc)
        reply_error(r, "OOM too many watched keys");
    else
        reply_status(r, "OK");
}

void command_unwatch(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)argc, (void)argv;
    watch_free(c);
    reply_status(r, "OK");
}

static bool watches(const struct watch *w, struct str key)
{
    struct record keys = {.rest = buf_str(&w->keys)};
    struct str *argv = NULL;
    size_t cap = 0, argc;
    bool found = false;
    while (!found && record_next(&keys, &argv, &cap, &argc) == 1)
        for (size_t i = 0; i < argc && !found; i++)
            found = str_eq(argv[i], key);
    mem_free(argv);
    return found;
}

void watch_touch(struct node *n, const struct node_entry *e, size_t argc, const struct str *argv)
{
    const struct core_command *row = e->core;
    size_t last = row->last_key < 0 ? argc - 1 : (size_t)row->last_key;
    /* Where the keys cannot be told from the row, every watched key counts as changed. */
    bool all = row->first_key <= 0 || row->key_step <= 0;
    list_each(it, &n->clients)
    {
        struct watch *w = container_of(it, struct client, link)->watch;
        if (!w || w->touched)
            continue;
        w->touched = all;
        for (size_t i = (size_t)row->first_key; !all && i <= last && i < argc;
             i += (size_t)row->key_step)
            w->touched |= watches(w, argv[i]);
    }
}
