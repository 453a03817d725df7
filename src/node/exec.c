/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its execution: lookup, permission, room in the log, the core, the record. */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/presence.h"
#include "node/state.h"

enum { EXEC_NAME_BYTES_MAX = 48, ERROR_KINDS_MAX = 128, RESUME_BYTES_MAX = 1 << 20 };

static bool entry_eq(const struct map_node *node, const void *key)
{
    return str_eq(container_of(node, struct node_entry, node)->name, *(const struct str *)key);
}

struct node_entry *exec_find(struct node *n, struct str name)
{
    char upper[EXEC_NAME_BYTES_MAX];
    if (name.len > sizeof(upper))
        return NULL;
    for (size_t i = 0; i < name.len; i++)
        upper[i] =
            (char)(name.ptr[i] >= 'a' && name.ptr[i] <= 'z' ? name.ptr[i] - 32 : name.ptr[i]);
    struct str key = str_make(upper, name.len);
    struct map_node *found = map_find(&n->entries, hash_xxh3(upper, name.len, 0), entry_eq, &key);
    return found ? container_of(found, struct node_entry, node) : NULL;
}

static int entry_add(struct node *n, const char *name, int arity, const struct core_command *core,
                     const struct node_command *own)
{
    struct node_entry *e = mem_zalloc(sizeof(*e));
    if (!e)
        return TTG_ENOMEM;
    e->name = str_of(name);
    e->arity = arity;
    e->core = core;
    e->own = own;
    int rc = map_add(&n->entries, &e->node, hash_xxh3(e->name.ptr, e->name.len, 0));
    if (rc)
        mem_free(e);
    return rc;
}

int exec_init(struct node *n)
{
    int rc = 0;
    map_init(&n->entries);
    map_init(&n->stats.error_counts);
    const struct core_command *core;
    for (size_t i = 0; !rc && (core = core_command_at(i)); i++)
        if (!strchr(core->name, ' '))
            rc = entry_add(n, core->name, core->arity, core, NULL);
    for (size_t t = 0; node_command_tables[t]; t++)
        for (const struct node_command *own = node_command_tables[t]; !rc && own->name; own++)
            if (!strchr(own->name, ' ') && !exec_find(n, str_of(own->name)))
                rc = entry_add(n, own->name, own->arity, NULL, own);
    return rc;
}

void exec_done(struct node *n)
{
    for (struct map_node *m = map_next(&n->entries, NULL), *next; m; m = next) {
        next = map_next(&n->entries, m);
        mem_free(container_of(m, struct node_entry, node));
    }
    map_done(&n->entries);
    exec_forget_errors(n);
}

/* ---- error statistics ---- */
static bool error_eq(const struct map_node *node, const void *key)
{
    return strcmp(container_of(node, struct node_error_count, node)->code, key) == 0;
}

void exec_forget_errors(struct node *n)
{
    struct map *m = &n->stats.error_counts;
    for (struct map_node *at = map_next(m, NULL), *next; at; at = next) {
        next = map_next(m, at);
        mem_free(container_of(at, struct node_error_count, node));
    }
    map_done(m);
    n->stats.error_kinds = 0;
}

void exec_count_error(struct node *n, struct str reply)
{
    char code[32] = "ERR";
    n->stats.errors++;
    if (reply.len < 2 || reply.ptr[0] != '-')
        return;
    size_t len = 0;
    while (len + 1 < reply.len && len < sizeof(code) - 1 && reply.ptr[1 + len] > ' ')
        len++;
    memcpy(code, reply.ptr + 1, len);
    code[len] = 0;
    uint64_t hash = hash_xxh3(code, len, 0);
    struct map_node *found = map_find(&n->stats.error_counts, hash, error_eq, code);
    if (found) {
        container_of(found, struct node_error_count, node)->count++;
        return;
    }
    struct node_error_count *e = NULL;
    if (n->stats.error_kinds < ERROR_KINDS_MAX)
        e = mem_zalloc(sizeof(*e));
    if (!e)
        return;
    memcpy(e->code, code, sizeof(code));
    e->count = 1;
    if (map_add(&n->stats.error_counts, &e->node, hash))
        mem_free(e);
    else
        n->stats.error_kinds++;
}

/* ---- execution ---- */
void exec_refuse_full(struct reply *r, int rc)
{
    if (rc == TTG_ENOSPC)
        reply_error(r, "MISCONF the disk is full: commands that write are refused until there is "
                       "room again, reading goes on");
    else if (rc == TTG_ERANGE || rc == TTG_EFULL)
        reply_error(r, "ERR the command is larger than a record of the log may be");
    else
        reply_error(r, "OOM %s", err_text(rc));
}

/* Executes and logs. The caller has reserved room. */
void exec_core(struct node *n, const struct core_command *command, struct core_call *call)
{
    core_exec(n->core, command, call);
    if (!call->changed)
        return;
    buf_clear(&n->record);
    int rc = record_begin(&n->record, RECORD_COMMANDS, call->now_ms, call->client);
    if (!rc)
        rc = record_command(&n->record, call->argc, call->argv);
    ensure(rc == 0); /* node_reserve made the room */
    node_log(n);
}

static uint64_t record_bytes(size_t argc, const struct str *argv)
{
    return RECORD_HEAD_BYTES_MAX + record_command_bytes(argc, argv);
}

/* A take that would wait for chunks is that of an idle worker; the others are ahead of need. */
static bool is_urgent(const struct core_command *command, size_t argc, const struct str *argv)
{
    bool found = false;
    for (size_t i = 1; i < argc && command->flags & CORE_EARLY && !found; i++)
        found = str_eq_nocase(argv[i], STR("BLOCK"));
    return found;
}

static enum exec_result run_core(struct client *c, struct node_entry *e, size_t argc,
                                 const struct str *argv, struct reply *r)
{
    struct node *n = c->node;
    struct buf resume;
    bool may_block = e->core->flags & CORE_BLOCKING;
    if (core_writes(e->core, argc, argv)) {
        int rc = node_reserve(n, record_bytes(argc, argv));
        if (rc == TTG_EAGAIN)
            return EXEC_STALLED;
        if (rc) {
            exec_refuse_full(r, rc);
            client_mark(c, 0);
            return EXEC_DONE;
        }
    }
    buf_init(&resume, RESUME_BYTES_MAX);
    struct core_call call = {
        .now_ms = n->now_ms,
        .client = c->id,
        .argc = argc,
        .argv = argv,
        .reply = r,
        .may_block = may_block,
        .resume = may_block ? &resume : NULL,
        .full = n->disk_full,
    };
    exec_core(n, e->core, &call);
    if (call.blocked) {
        int rc = park_client(c, e->core, &call);
        if (rc)
            reply_error(r, "OOM %s", err_text(rc));
    }
    if (may_block && !call.blocked)
        buf_done(&resume);
    if (call.changed && n->watch_count > 0)
        watch_touch(n, e, argc, argv);
    bool early = e->core->flags & CORE_EARLY;
    if (is_urgent(e->core, argc, argv))
        store_writer_urgent(n->writer);
    client_mark(c, early ? 0 : store_last_position(n->store));
    return EXEC_DONE;
}

/* Whether the client may call it at all; if not, it has been told. */
static bool admitted(struct client *c, struct node_entry *e, size_t argc, const struct str *argv,
                     struct reply *r)
{
    if (!e) {
        enum { SHOWN_MAX = 64 };
        struct str name = argv[0];
        name.len = name.len < SHOWN_MAX ? name.len : SHOWN_MAX;
        reply_error(r, "ERR unknown command '%.*s', with %zu arguments", STR_ARG(name), argc - 1);
        return false;
    }
    if ((e->arity >= 0 && argc != (size_t)e->arity) || (e->arity < 0 && argc < (size_t)-e->arity)) {
        char lower[EXEC_NAME_BYTES_MAX + 1] = {0};
        for (size_t i = 0; i < e->name.len && i < EXEC_NAME_BYTES_MAX; i++)
            lower[i] =
                (char)(e->name.ptr[i] | (e->name.ptr[i] >= 'A' && e->name.ptr[i] <= 'Z') << 5);
        reply_error(r, "ERR wrong number of arguments for '%s' command", lower);
        return false;
    }
    if (!c->authed && !(e->own && e->own->flags & NODE_NO_AUTH)) {
        reply_error(r, "NOAUTH Authentication required.");
        return false;
    }
    return true;
}

static enum exec_result run_entry(struct client *c, struct node_entry *e, size_t argc,
                                  const struct str *argv)
{
    struct node *n = c->node;
    size_t from = buf_len(&c->conn.out);
    struct reply r = client_reply(c);
    bool mute = c->mute || c->skip_reply, skipped = c->skip_reply;
    if (e->own) {
        c->skip_reply = false;
        e->own->run(c, argc, argv, &r);
        mute = c->mute || skipped; /* CLIENT REPLY ON is answered */
        if (!c->dead)
            client_mark(c, e->own->flags & NODE_OBSERVES ? store_last_position(n->store) : 0);
    } else if (run_core(c, e, argc, argv, &r) == EXEC_STALLED) {
        return EXEC_STALLED;
    }
    n->stats.commands++;
    e->calls++;
    e->ns += node_lap_ns(n);
    if (c->dead)
        return EXEC_DONE;
    if (r.failed) {
        struct str all = buf_str(&c->conn.out);
        exec_count_error(n, str_make(all.ptr + from, all.len - from));
        e->failed++;
    }
    if (e->core && !c->parked) /* a worker that waits for its job is none yet */
        presence_command(c, e, argc, argv, r.failed);
    if (mute && e->core)
        c->skip_reply = false;
    if (mute)
        client_unsay(c, from);
    if (r.rc) {
        n->stats.evicted_outputs++;
        client_close(c);
    }
    return EXEC_DONE;
}

enum exec_result exec_request(struct client *c, size_t argc, const struct str *argv)
{
    struct node *n = c->node;
    struct node_entry *e = exec_find(n, argv[0]);
    size_t from = buf_len(&c->conn.out);
    struct reply r = client_reply(c);
    if (!e && (str_eq_nocase(argv[0], STR("POST")) || str_eq_nocase(argv[0], STR("HOST:")))) {
        /* A browser that some page made talk to us. */
        log_warn("client.http", kv_u64("client", c->id), kv_str("peer", c->peer));
        client_close(c);
        return EXEC_DONE;
    }
    if (!admitted(c, e, argc, argv, &r)) {
        if (e)
            e->rejected++;
        if (c->multi)
            multi_spoil(c);
        struct str all = buf_str(&c->conn.out);
        exec_count_error(n, str_make(all.ptr + from, all.len - from));
        client_mark(c, 0);
        return EXEC_DONE;
    }
    if (c->multi && !(e->own && e->own->flags & NODE_NOT_QUEUED)) {
        multi_queue(c, e, argc, argv, &r);
        client_mark(c, 0);
        return EXEC_DONE;
    }
    enum exec_result result =
        e->own && e->own->run == command_exec ? multi_exec(c, e) : run_entry(c, e, argc, argv);
    if (result == EXEC_DONE && !c->dead)
        c->last = e;
    return result;
}

int exec_internal(struct node *n, uint64_t client, size_t argc, const struct str *argv,
                  struct reply *r)
{
    struct reply nowhere = {0};
    const struct core_command *command = core_find(argv[0]);
    if (!command)
        return TTG_EUNSUPPORTED;
    int rc = node_reserve(n, record_bytes(argc, argv));
    if (rc)
        return rc;
    struct core_call call = {
        .now_ms = n->now_ms,
        .client = client,
        .argc = argc,
        .argv = argv,
        .reply = r ? r : &nowhere,
    };
    exec_core(n, command, &call);
    return 0;
}
