/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the connection itself. */
#include "base/log.h"
#include "base/mem.h"
#include "node/commands.h"

/* Takes as long for a wrong password as for the right one. */
static bool password_equal(struct str given, struct str right)
{
    unsigned char differ = (unsigned char)(given.len != right.len);
    for (size_t i = 0; i < right.len; i++)
        differ |= (unsigned char)(right.ptr[i] ^ (given.len > 0 ? given.ptr[i % given.len] : 0));
    return differ == 0;
}

static bool authenticate(struct client *c, struct str user, struct str password, struct reply *r)
{
    struct node *n = c->node;
    if (!n->options.password && str_eq(user, STR("default")))
        return true;
    if (n->options.password && password_equal(password, str_of(n->options.password)) &&
        str_eq(user, STR("default"))) {
        c->authed = true;
        return true;
    }
    n->stats.auth_failures++;
    log_warn("auth.failed", kv_u64("client", c->id), kv_str("peer", c->peer));
    reply_error(r, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

static void ping(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c;
    if (argc > 2)
        reply_error(r, "ERR wrong number of arguments for 'ping' command");
    else if (argc == 2)
        reply_str(r, argv[1]);
    else
        reply_status(r, "PONG");
}

static void echo(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc;
    reply_str(r, argv[1]);
}

static void auth(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    if (argc > 3) {
        reply_error(r, "ERR syntax error");
        return;
    }
    if (argc == 2 && !c->node->options.password) {
        reply_error(r, "ERR AUTH <password> called without any password configured for the default "
                       "user. Are you sure your configuration is correct?");
        return;
    }
    if (authenticate(c, argc == 3 ? argv[1] : STR("default"), argv[argc - 1], r))
        reply_status(r, "OK");
}

static bool set_name(struct client *c, struct str name, struct reply *r)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '!' || name.ptr[i] > '~') {
            reply_error(r, "ERR Client names cannot contain spaces, newlines or special "
                           "characters.");
            return false;
        }
    }
    if (name.len > NODE_NAME_BYTES_MAX) {
        reply_error(r, "ERR a client's name has at most %d bytes", NODE_NAME_BYTES_MAX);
        return false;
    }
    char *copy = name.len > 0 ? mem_dup(name.ptr, name.len) : NULL;
    if (name.len > 0 && !copy) {
        reply_error(r, "OOM out of memory");
        return false;
    }
    mem_free(c->name);
    c->name = copy;
    return true;
}

static void hello(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    int64_t version = c->resp3 ? 3 : 2;
    if (argc > 1 && (str_to_i64(argv[1], &version) || version < 2 || version > 3)) {
        reply_error(r, str_to_i64(argv[1], &version)
                           ? "ERR Protocol version is not an integer or out of range"
                           : "NOPROTO unsupported protocol version");
        return;
    }
    for (size_t i = 2; i < argc;) {
        if (str_eq_nocase(argv[i], STR("AUTH")) && argc - i > 2) {
            if (!authenticate(c, argv[i + 1], argv[i + 2], r))
                return;
            i += 3;
        } else if (str_eq_nocase(argv[i], STR("SETNAME")) && argc - i > 1) {
            if (c->authed && !set_name(c, argv[i + 1], r))
                return;
            i += 2;
        } else {
            reply_error(r, "ERR Syntax error in HELLO option '%.*s'", STR_ARG(argv[i]));
            return;
        }
    }
    if (!c->authed) {
        reply_error(r, "NOAUTH HELLO must be called with the client already authenticated, "
                       "otherwise the HELLO <proto> AUTH <user> <pass> option can be used to "
                       "authenticate the client and select the RESP protocol version at the same "
                       "time");
        return;
    }
    c->resp3 = r->resp3 = version == 3;
    reply_map(r, 7);
    reply_text(r, "server");
    reply_text(r, "redis");
    reply_text(r, "version");
    reply_text(r, NODE_REDIS_VERSION);
    reply_text(r, "proto");
    reply_int(r, version);
    reply_text(r, "id");
    reply_int(r, (int64_t)c->id);
    reply_text(r, "mode");
    reply_text(r, "standalone");
    reply_text(r, "role");
    reply_text(r, "master");
    reply_text(r, "modules");
    reply_array(r, 0);
}

static void select_db(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    int64_t db;
    (void)c, (void)argc;
    if (str_to_i64(argv[1], &db))
        reply_error(r, "ERR value is not an integer or out of range");
    else if (db != 0)
        reply_error(r, "ERR DB index is out of range");
    else
        reply_status(r, "OK");
}

static void quit(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)argc, (void)argv;
    reply_status(r, "OK");
    client_close_after(c);
}

static void reset(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)argc, (void)argv;
    multi_free(c);
    watch_free(c);
    mem_free(c->name);
    c->name = NULL;
    c->resp3 = r->resp3 = c->mute = c->skip_reply = c->no_evict = false;
    c->authed = !c->node->options.password;
    reply_status(r, "RESET");
}

/* ---- CLIENT ---- */
static void describe(struct client *c, struct buf *out)
{
    struct node *n = c->node;
    uint64_t now_ms = loop_now_ms(n->loop);
    char flags[8];
    size_t at = 0;
    if (c->multi)
        flags[at++] = 'x';
    if (c->parked)
        flags[at++] = 'b';
    if (c->is_unix)
        flags[at++] = 'U';
    if (c->no_evict)
        flags[at++] = 'e';
    if (at == 0)
        flags[at++] = 'N';
    flags[at] = 0;
    buf_printf(out,
               "id=%llu addr=%s laddr= fd=%d name=%s age=%llu idle=%llu flags=%s db=0 sub=0 "
               "psub=0 ssub=0 multi=%d qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=0 "
               "rbp=0 obl=%zu oll=0 omem=%zu tot-mem=%zu events=r cmd=",
               (unsigned long long)c->id, c->peer, c->conn.fd, c->name ? c->name : "",
               (unsigned long long)(now_ms - c->opened_ms) / 1000,
               (unsigned long long)(now_ms - c->active_ms) / 1000, flags,
               c->multi ? (int)multi_count(c) : -1, buf_len(&c->conn.in),
               c->conn.in.cap - buf_len(&c->conn.in), buf_len(&c->conn.out), c->conn.out.cap,
               sizeof(*c) + c->conn.in.cap + c->conn.out.cap);
    struct str last = c->last ? c->last->name : STR("NULL");
    for (size_t i = 0; i < last.len; i++)
        buf_add_char(
            out, (char)(last.ptr[i] >= 'A' && last.ptr[i] <= 'Z' ? last.ptr[i] | 32 : last.ptr[i]));
    buf_printf(out, " user=default redir=-1 resp=%d\n", c->resp3 ? 3 : 2);
}

static void client_list(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    struct node *n = c->node;
    struct buf out;
    buf_init(&out, NODE_OUT_BYTES_MAX);
    if (str_eq_nocase(argv[1], STR("INFO"))) {
        describe(c, &out);
    } else if (argc > 3 && str_eq_nocase(argv[2], STR("ID"))) {
        for (size_t i = 3; i < argc; i++) {
            uint64_t id;
            struct client *found = str_to_u64(argv[i], &id) ? NULL : client_find(n, id);
            if (found)
                describe(found, &out);
        }
    } else {
        list_each(it, &n->clients) describe(container_of(it, struct client, link), &out);
    }
    reply_str(r, buf_str(&out));
    buf_done(&out);
}

static void client_kill(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    struct node *n = c->node;
    bool old = argc == 3, self = false;
    uint64_t id = 0;
    struct str addr = old ? argv[2] : STR("");
    int64_t killed = 0;
    for (size_t i = 2; !old && i + 1 < argc; i += 2) {
        if (str_eq_nocase(argv[i], STR("ID")) && !str_to_u64(argv[i + 1], &id) && id > 0) {
            continue;
        } else if (str_eq_nocase(argv[i], STR("ADDR"))) {
            addr = argv[i + 1];
        } else if (!str_eq_nocase(argv[i], STR("SKIPME")) && !str_eq_nocase(argv[i], STR("TYPE")) &&
                   !str_eq_nocase(argv[i], STR("USER"))) {
            reply_error(r, "ERR syntax error");
            return;
        } else if (str_eq_nocase(argv[i], STR("SKIPME"))) {
            self = str_eq_nocase(argv[i + 1], STR("no"));
        }
    }
    list_each(it, &n->clients)
    {
        struct client *other = container_of(it, struct client, link);
        if ((id && other->id != id) || (addr.len > 0 && !str_eq(str_of(other->peer), addr)) ||
            (other == c && !old && !self))
            continue;
        killed++;
        if (other == c)
            client_close_after(c);
        else
            client_close(other);
    }
    if (!old)
        reply_int(r, killed);
    else if (killed > 0)
        reply_status(r, "OK");
    else
        reply_error(r, "ERR No such client");
}

static void client_unblock(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    uint64_t id;
    bool with_error = argc > 3 && str_eq_nocase(argv[3], STR("ERROR"));
    if (argc < 3 || str_to_u64(argv[2], &id)) {
        reply_error(r, "ERR value is not an integer or out of range");
        return;
    }
    if (argc > 3 && !with_error && !str_eq_nocase(argv[3], STR("TIMEOUT"))) {
        reply_error(r, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    struct client *other = client_find(c->node, id);
    reply_int(r, other && park_unblock(other, with_error));
}

static void client_reply_mode(struct client *c, struct str mode, struct reply *r)
{
    if (str_eq_nocase(mode, STR("ON"))) {
        c->mute = false;
        reply_status(r, "OK");
    } else if (str_eq_nocase(mode, STR("OFF"))) {
        c->mute = true;
    } else if (str_eq_nocase(mode, STR("SKIP"))) {
        c->skip_reply = !c->mute;
    } else {
        reply_error(r, "ERR syntax error");
    }
}

static void client_command(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    struct str sub = argv[1];
    if (str_eq_nocase(sub, STR("ID")) && argc == 2) {
        reply_int(r, (int64_t)c->id);
    } else if (str_eq_nocase(sub, STR("SETNAME")) && argc == 3) {
        if (set_name(c, argv[2], r))
            reply_status(r, "OK");
    } else if (str_eq_nocase(sub, STR("GETNAME")) && argc == 2) {
        c->name ? reply_text(r, c->name) : reply_null(r);
    } else if (str_eq_nocase(sub, STR("LIST")) || (str_eq_nocase(sub, STR("INFO")) && argc == 2)) {
        client_list(c, argc, argv, r);
    } else if (str_eq_nocase(sub, STR("KILL")) && argc > 2) {
        client_kill(c, argc, argv, r);
    } else if (str_eq_nocase(sub, STR("UNBLOCK"))) {
        client_unblock(c, argc, argv, r);
    } else if (str_eq_nocase(sub, STR("NO-EVICT")) && argc == 3) {
        c->no_evict = str_eq_nocase(argv[2], STR("on"));
        reply_status(r, "OK");
    } else if (str_eq_nocase(sub, STR("REPLY")) && argc == 3) {
        client_reply_mode(c, argv[2], r);
    } else if (str_eq_nocase(sub, STR("NO-TOUCH")) || str_eq_nocase(sub, STR("SETINFO")) ||
               str_eq_nocase(sub, STR("PAUSE")) || str_eq_nocase(sub, STR("UNPAUSE"))) {
        reply_status(r, "OK");
    } else {
        command_unknown_sub(r, "CLIENT", sub);
    }
}

void command_unknown_sub(struct reply *r, const char *name, struct str sub)
{
    enum { SHOWN_MAX = 64 };
    sub.len = sub.len < SHOWN_MAX ? sub.len : SHOWN_MAX;
    reply_error(r, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
                STR_ARG(sub), name);
}

#define C "connection"
const struct node_command connection_commands[] = {
    {"PING", -1, 0, C, "1.0.0", "[message]", "Answers PONG or the message.", ping},
    {"ECHO", 2, 0, C, "1.0.0", "message", "Answers the message.", echo},
    {"AUTH", -2, NODE_NO_AUTH | NODE_NO_MULTI, C, "1.0.0", "[username] password",
     "Presents the password.", auth},
    {"HELLO", -1, NODE_NO_AUTH, C, "6.0.0", "[protover [AUTH username password] [SETNAME name]]",
     "Chooses RESP2 or RESP3 and describes the server.", hello},
    {"SELECT", 2, 0, C, "1.0.0", "index", "There is one database: 0.", select_db},
    {"QUIT", -1, NODE_NO_AUTH | NODE_NOT_QUEUED, C, "1.0.0", "", "Closes the connection.", quit},
    {"RESET", 1, NODE_NO_AUTH | NODE_NOT_QUEUED, C, "6.2.0", "", "Makes the connection as new.",
     reset},
    {"CLIENT", -2, 0, C, "2.4.0", "subcommand", "About connections.", client_command},
    {"CLIENT ID", 2, 0, C, "5.0.0", "", "The number of this connection, unique for ever.", NULL},
    {"CLIENT GETNAME", 2, 0, C, "2.6.9", "", "The name of this connection.", NULL},
    {"CLIENT SETNAME", 3, 0, C, "2.6.9", "name", "Names this connection.", NULL},
    {"CLIENT INFO", 2, 0, C, "6.2.0", "", "Describes this connection.", NULL},
    {"CLIENT LIST", -2, NODE_ADMIN, C, "2.4.0", "[ID id [id ...]]", "Describes connections.", NULL},
    {"CLIENT KILL", -3, NODE_ADMIN, C, "2.4.0", "addr | [ID id] [ADDR addr] [SKIPME yes|no]",
     "Closes connections.", NULL},
    {"CLIENT UNBLOCK", -3, NODE_ADMIN, C, "5.0.0", "id [TIMEOUT | ERROR]",
     "Ends the wait of a blocked connection.", NULL},
    {"CLIENT REPLY", 3, 0, C, "3.2.0", "ON | OFF | SKIP", "Turns answers off and on.", NULL},
    {"CLIENT NO-EVICT", 3, NODE_ADMIN, C, "7.0.0", "on | off", "Accepted; nothing is evicted.",
     NULL},
    {"MULTI", 1, NODE_NOT_QUEUED, "transactions", "1.2.0", "", "Begins a transaction.",
     command_multi},
    {"EXEC", 1, NODE_NOT_QUEUED, "transactions", "1.2.0", "",
     "Runs a transaction: one record in the log.", command_exec},
    {"DISCARD", 1, NODE_NOT_QUEUED, "transactions", "2.0.0", "", "Drops a transaction.",
     command_discard},
    {"WATCH", -2, NODE_NOT_QUEUED, "transactions", "2.2.0", "key [key ...]",
     "Makes EXEC fail when a key changes before it.", command_watch},
    {"UNWATCH", 1, 0, "transactions", "2.2.0", "", "Forgets watched keys.", command_unwatch},
    {0},
};
