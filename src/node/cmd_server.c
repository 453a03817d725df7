/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the server. */
#include "base/mem.h"
#include "node/commands.h"
#include "node/snapshot.h"

#include <inttypes.h>
#include <stdio.h>

static bool is(struct str word, const char *text)
{
    return str_eq_nocase(word, str_of(text));
}

static void time_command(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    char digits[24];
    uint64_t now_ms = c->node->now_ms;
    (void)argc, (void)argv;
    reply_array(r, 2);
    reply_str(r, str_make(digits, str_from_u64(digits, now_ms / 1000)));
    reply_str(r, str_make(digits, str_from_u64(digits, now_ms % 1000 * 1000)));
}

static void shutdown_command(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)argc, (void)argv, (void)r;
    node_stop(c->node);
}

static void bgsave(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    struct err err;
    (void)argc, (void)argv;
    if (snapshot_begin(c->node, &err))
        reply_error(r, "ERR %s", err.text);
    else
        reply_status(r, "Background saving started");
}

static void lastsave(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)argc, (void)argv;
    reply_int(r, (int64_t)(c->node->started_wall_ms / 1000));
}

static void reply_digest(struct reply *r, uint64_t digest)
{
    char hex[41];
    snprintf(hex, sizeof(hex), "%040" PRIx64, digest);
    reply_status(r, hex);
}

static void debug(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    struct node *n = c->node;
    if (is(argv[1], "DIGEST") && argc == 2) {
        reply_digest(r, core_digest(n->core));
    } else if (is(argv[1], "REPLAY") && argc == 2) {
        struct err err;
        uint64_t digest;
        if (recover_digest(n, &digest, &err))
            reply_error(r, "ERR %s", err.text);
        else
            reply_digest(r, digest);
    } else if (is(argv[1], "JMAP") || is(argv[1], "SET-ACTIVE-EXPIRE") || is(argv[1], "RELOAD")) {
        reply_status(r, "OK");
    } else {
        command_unknown_sub(r, "DEBUG", argv[1]);
    }
}

static void module(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc;
    if (is(argv[1], "LIST"))
        reply_array(r, 0);
    else
        command_unknown_sub(r, "MODULE", argv[1]);
}

static void function(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc;
    if (is(argv[1], "FLUSH"))
        reply_status(r, "OK");
    else if (is(argv[1], "LIST"))
        reply_array(r, 0);
    else
        command_unknown_sub(r, "FUNCTION", argv[1]);
}

static void slowlog(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc;
    if (is(argv[1], "GET"))
        reply_array(r, 0);
    else if (is(argv[1], "LEN"))
        reply_int(r, 0);
    else if (is(argv[1], "RESET"))
        reply_status(r, "OK");
    else
        command_unknown_sub(r, "SLOWLOG", argv[1]);
}

static void latency(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc;
    if (is(argv[1], "LATEST") || is(argv[1], "HISTORY"))
        reply_array(r, 0);
    else if (is(argv[1], "RESET"))
        reply_int(r, 0);
    else
        command_unknown_sub(r, "LATENCY", argv[1]);
}

static void memory(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc;
    if (is(argv[1], "USAGE") && argc > 2)
        reply_null(r); /* not counted by key */
    else if (is(argv[1], "DOCTOR"))
        reply_text(r, "No problem is known.");
    else if (is(argv[1], "PURGE"))
        mem_return_holes(), reply_status(r, "OK");
    else if (is(argv[1], "STATS"))
        reply_map(r, 0);
    else
        command_unknown_sub(r, "MEMORY", argv[1]);
}

static void acl(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc;
    if (is(argv[1], "WHOAMI")) {
        reply_text(r, "default");
    } else if (is(argv[1], "USERS") || is(argv[1], "LIST")) {
        reply_array(r, 1);
        reply_text(r, is(argv[1], "LIST") ? "user default on ~* &* +@all" : "default");
    } else {
        command_unknown_sub(r, "ACL", argv[1]);
    }
}

static void wait_command(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)c, (void)argc, (void)argv;
    reply_int(r, 0);
}

static void role(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    (void)argc, (void)argv;
    reply_array(r, 3);
    reply_text(r, "master");
    reply_int(r, (int64_t)store_last_position(c->node->store));
    reply_array(r, 0);
}

#define S "server"
const struct node_command server_commands[] = {
    {"INFO", -1, NODE_OBSERVES, S, "1.0.0", "[section [section ...]]", "Figures about the node.",
     command_info},
    {"CONFIG", -2, NODE_ADMIN, S, "2.0.0", "subcommand", "Settings.", command_config},
    {"CONFIG GET", -3, NODE_ADMIN, S, "2.0.0", "pattern [pattern ...]", "Shows settings.", NULL},
    {"CONFIG SET", -4, NODE_ADMIN, S, "2.0.0", "name value [name value ...]", "Changes settings.",
     NULL},
    {"CONFIG RESETSTAT", 2, NODE_ADMIN, S, "2.0.0", "", "Sets the counters of INFO to zero.", NULL},
    {"COMMAND", -1, 0, S, "2.8.13", "", "Describes all commands.", command_command},
    {"COMMAND COUNT", 2, 0, S, "2.8.13", "", "How many commands there are.", NULL},
    {"COMMAND DOCS", -2, 0, S, "7.0.0", "[name [name ...]]", "Help for commands.", NULL},
    {"COMMAND INFO", -2, 0, S, "2.8.13", "[name [name ...]]", "Describes commands.", NULL},
    {"COMMAND LIST", -2, 0, S, "7.0.0", "", "The names of all commands.", NULL},
    {"TIME", 1, 0, S, "2.6.0", "", "The node's clock: seconds and microseconds.", time_command},
    {"SHUTDOWN", -1, NODE_ADMIN | NODE_NO_MULTI, S, "1.0.0", "",
     "Stops the node; what was accepted is on disk.", shutdown_command},
    {"BGSAVE", -1, NODE_ADMIN | NODE_NO_MULTI, S, "1.0.0", "", "Writes a snapshot now.", bgsave},
    {"LASTSAVE", 1, 0, S, "1.0.0", "", "When the node started.", lastsave},
    {"DEBUG", -2, NODE_ADMIN | NODE_OBSERVES, S, "1.0.0", "DIGEST | REPLAY",
     "A digest of the state, as it is and as the log gives it.", debug},
    {"MODULE", -2, 0, S, "4.0.0", "LIST", "There are none.", module},
    {"FUNCTION", -2, 0, S, "7.0.0", "FLUSH | LIST", "There are none.", function},
    {"SLOWLOG", -2, NODE_ADMIN, S, "2.2.12", "GET | LEN | RESET", "Always empty.", slowlog},
    {"LATENCY", -2, NODE_ADMIN, S, "2.8.13", "LATEST | HISTORY | RESET", "Always empty.", latency},
    {"MEMORY", -2, NODE_ADMIN, S, "4.0.0", "DOCTOR | PURGE | STATS | USAGE", "About memory.",
     memory},
    {"ACL", -2, 0, S, "6.0.0", "WHOAMI | USERS | LIST", "There is one user: default.", acl},
    {"WAIT", 3, 0, S, "3.0.0", "numreplicas timeout", "There are no replicas: 0.", wait_command},
    {"ROLE", 1, 0, S, "2.8.12", "", "Always master.", role},
    {0},
};

const struct node_command *const node_command_tables[] = {connection_commands, server_commands,
                                                          NULL};
