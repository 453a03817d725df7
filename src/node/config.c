/* SPDX-License-Identifier: Apache-2.0 */
/* CONFIG: the settings of Redis that tools ask for, as far as they mean something here. */
#include "core/glob.h"
#include "node/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUE_BYTES_MAX = 4096 };

struct setting {
    const char *name;
    void (*get)(struct node *n, const char *name, struct buf *out);
    /* NULL: fixed. 0, or the reply has the error. */
    int (*set)(struct client *c, const char *name, struct str value, struct reply *r);
};

/* ---- what replay depends on belongs to the core and goes through the log ---- */
static void core_get(struct node *n, const char *name, struct buf *out)
{
    struct buf answer;
    const struct str words[] = {STR("TTG.CONFIG"), str_of(name)};
    const struct core_command *command = core_find(words[0]);
    buf_init(&answer, VALUE_BYTES_MAX);
    struct reply r = {.out = &answer};
    struct core_call call = {.now_ms = n->now_ms, .argc = 2, .argv = words, .reply = &r};
    if (command)
        core_exec(n->core, command, &call);
    struct str value = str_trim(buf_str(&answer));
    if (value.len > 1)
        buf_add(out, value.ptr + 1, value.len - 1);
    buf_done(&answer);
}

static int core_set(struct client *c, const char *name, struct str value, struct reply *r)
{
    struct buf answer;
    const struct str words[] = {STR("TTG.CONFIG"), str_of(name), value};
    buf_init(&answer, VALUE_BYTES_MAX);
    struct reply inner = {.out = &answer};
    int rc = exec_internal(c->node, c->id, 3, words, &inner);
    if (rc)
        exec_refuse_full(r, rc);
    else if (inner.failed)
        reply_error(r, "ERR CONFIG SET failed (possibly related to argument '%s') - %.*s", name,
                    STR_ARG(str_trim(buf_str(&answer))));
    rc = rc ? rc : inner.failed ? TTG_EINVAL : 0;
    buf_done(&answer);
    return rc;
}

/* ---- the node's own ---- */
static int number(const char *name, struct str value, uint64_t min, uint64_t *ret, struct reply *r)
{
    if (str_to_u64(value, ret) == 0 && *ret >= min)
        return 0;
    reply_error(r,
                "ERR CONFIG SET failed (possibly related to argument '%s') - argument must be "
                "a number from %" PRIu64,
                name, min);
    return TTG_EINVAL;
}

static void clients_get(struct node *n, const char *name, struct buf *out)
{
    (void)name;
    buf_add_u64(out, n->clients_max);
}

static int clients_set(struct client *c, const char *name, struct str value, struct reply *r)
{
    uint64_t wanted;
    int rc = number(name, value, 1, &wanted, r);
    if (!rc && wanted > c->node->clients_limit) {
        reply_error(r,
                    "ERR CONFIG SET failed (possibly related to argument 'maxclients') - the "
                    "limit of open files allows %zu clients",
                    c->node->clients_limit);
        return TTG_EINVAL;
    }
    if (!rc)
        c->node->clients_max = wanted;
    return rc;
}

static void snapshot_get(struct node *n, const char *name, struct buf *out)
{
    (void)name;
    buf_add_u64(out, n->snapshot_log_bytes);
}

static int snapshot_set(struct client *c, const char *name, struct str value, struct reply *r)
{
    return number(name, value, 4096, &c->node->snapshot_log_bytes, r);
}

static void output_get(struct node *n, const char *name, struct buf *out)
{
    uint64_t bytes = n->options.client_out_bytes_max;
    (void)name;
    buf_printf(out, "normal %" PRIu64 " 0 0 slave 0 0 0 pubsub 0 0 0", bytes);
}

/* "normal HARD SOFT SECONDS": the hard limit counts, for connections to come. */
static int output_set(struct client *c, const char *name, struct str value, struct reply *r)
{
    struct str rest = value;
    uint64_t bytes;
    struct str class = str_cut(rest, ' ', &rest), hard = str_cut(rest, ' ', &rest);
    if (!str_eq_nocase(class, STR("normal")))
        return 0;
    int rc = number(name, hard, 0, &bytes, r);
    if (!rc)
        c->node->options.client_out_bytes_max = bytes > 0 ? bytes : NODE_OUT_BYTES_MAX;
    return rc;
}

static void dir_get(struct node *n, const char *name, struct buf *out)
{
    (void)name;
    buf_add_str(out, str_of(n->options.data_dir));
}

static void sync_get(struct node *n, const char *name, struct buf *out)
{
    (void)name;
    const char *sync = n->options.sync ? n->options.sync : "always";
    bool interval = strncmp(sync, "interval", 8) == 0;
    buf_add_str(out, interval                             ? STR("everysec")
                     : str_eq(str_of(sync), STR("never")) ? STR("no")
                                                          : STR("always"));
}

static void ignore_get(struct node *n, const char *name, struct buf *out)
{
    static const char *const fixed[][2] = {
        {"databases", "1"},
        {"appendonly", "yes"},
        {"save", ""},
        {"maxmemory", "0"},
        {"maxmemory-policy", "noeviction"},
        {"timeout", "0"},
        {"tcp-keepalive", "60"},
        {"slowlog-max-len", "128"},
        {"slowlog-log-slower-than", "-1"},
        {"proto-max-bulk-len", "536870912"},
        {"list-max-listpack-size", "-2"},
        {"loglevel", "notice"},
        {"cluster-enabled", "no"},
        {"port", "0"},
        {"bind", ""},
    };
    (void)n;
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        if (strcmp(fixed[i][0], name) == 0)
            buf_add_str(out, str_of(fixed[i][1]));
}

/* Test suites and tools set these; what they would change does not exist here. */
static int ignore_set(struct client *c, const char *name, struct str value, struct reply *r)
{
    (void)c, (void)name, (void)value, (void)r;
    return 0;
}

static const struct setting settings[] = {
    {"stream-node-max-entries", core_get, core_set},
    {"stream-node-max-bytes", core_get, core_set},
    {"maxclients", clients_get, clients_set},
    {"client-output-buffer-limit", output_get, output_set},
    {"snapshot-log-bytes", snapshot_get, snapshot_set},
    {"dir", dir_get, NULL},
    {"appendfsync", sync_get, NULL},
    {"appendonly", ignore_get, ignore_set},
    {"save", ignore_get, ignore_set},
    {"databases", ignore_get, NULL},
    {"maxmemory", ignore_get, ignore_set},
    {"maxmemory-policy", ignore_get, ignore_set},
    {"timeout", ignore_get, ignore_set},
    {"tcp-keepalive", ignore_get, ignore_set},
    {"slowlog-max-len", ignore_get, ignore_set},
    {"slowlog-log-slower-than", ignore_get, ignore_set},
    {"proto-max-bulk-len", ignore_get, ignore_set},
    {"list-max-listpack-size", ignore_get, ignore_set},
    {"loglevel", ignore_get, ignore_set},
    {"cluster-enabled", ignore_get, NULL},
    {"port", ignore_get, NULL},
    {"bind", ignore_get, NULL},
};

enum { SETTINGS = sizeof(settings) / sizeof(settings[0]) };

static bool asked(size_t i, size_t argc, const struct str *argv)
{
    char lower[128];
    for (size_t a = 2; a < argc; a++) {
        if (argv[a].len > sizeof(lower))
            continue;
        for (size_t k = 0; k < argv[a].len; k++)
            lower[k] = (char)(argv[a].ptr[k] >= 'A' && argv[a].ptr[k] <= 'Z' ? argv[a].ptr[k] | 32
                                                                             : argv[a].ptr[k]);
        if (glob_matches(str_make(lower, argv[a].len), str_of(settings[i].name)))
            return true;
    }
    return false;
}

static void get(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    size_t count = 0;
    struct buf value;
    for (size_t i = 0; i < SETTINGS; i++)
        count += asked(i, argc, argv);
    reply_map(r, count);
    buf_init(&value, VALUE_BYTES_MAX);
    for (size_t i = 0; i < SETTINGS; i++) {
        if (!asked(i, argc, argv))
            continue;
        buf_clear(&value);
        settings[i].get(c->node, settings[i].name, &value);
        reply_text(r, settings[i].name);
        reply_str(r, buf_str(&value));
    }
    buf_done(&value);
}

static void set(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    for (size_t a = 2; a + 1 < argc; a += 2) {
        size_t i = 0;
        while (i < SETTINGS && !str_eq_nocase(argv[a], str_of(settings[i].name)))
            i++;
        if (i == SETTINGS || !settings[i].set) {
            reply_error(r,
                        i == SETTINGS ? "ERR Unknown option or number of arguments for CONFIG "
                                        "SET - '%.*s'"
                                      : "ERR CONFIG SET failed (possibly related to argument "
                                        "'%.*s') - can't set immutable config",
                        argv[a].len < 64 ? (int)argv[a].len : 64, argv[a].ptr);
            return;
        }
        if (settings[i].set(c, settings[i].name, argv[a + 1], r))
            return;
    }
    reply_status(r, "OK");
}

static void reset_stats(struct node *n)
{
    struct node_stats *s = &n->stats;
    for (struct map_node *m = map_next(&n->entries, NULL); m; m = map_next(&n->entries, m)) {
        struct node_entry *e = container_of(m, struct node_entry, node);
        e->calls = e->ns = e->rejected = e->failed = 0;
    }
    exec_forget_errors(n);
    s->commands = s->connections = s->rejected_connections = 0;
    s->in_bytes = s->out_bytes = s->errors = s->auth_failures = s->evicted_outputs = 0;
}

void command_config(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    if (str_eq_nocase(argv[1], STR("GET")) && argc > 2) {
        get(c, argc, argv, r);
    } else if (str_eq_nocase(argv[1], STR("SET")) && argc > 3 && argc % 2 == 0) {
        set(c, argc, argv, r);
    } else if (str_eq_nocase(argv[1], STR("RESETSTAT")) && argc == 2) {
        reset_stats(c->node);
        reply_status(r, "OK");
    } else if (str_eq_nocase(argv[1], STR("REWRITE")) && argc == 2) {
        reply_error(r, "ERR The server is running without a config file");
    } else {
        command_unknown_sub(r, "CONFIG", argv[1]);
    }
}
