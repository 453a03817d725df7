/* SPDX-License-Identifier: Apache-2.0 */
/* COMMAND: the tables described themselves, for clients and for docs/commands.md. */
#include "node/commands.h"

#include <stdio.h>

/* A row of either table. */
struct row {
    const char *name, *group, *since, *syntax, *summary;
    int arity, first_key, last_key, key_step;
    const char *flags[6];
    size_t flag_count;
};

static struct row row_of_core(const struct core_command *c)
{
    struct row r = {c->name,      c->group,    c->since,    c->syntax, c->summary, c->arity,
                    c->first_key, c->last_key, c->key_step, {0},       0};
    r.flags[r.flag_count++] = c->flags & CORE_WRITE ? "write" : "readonly";
    if (c->flags & CORE_WRITE)
        r.flags[r.flag_count++] = "denyoom";
    if (c->flags & CORE_BLOCKING)
        r.flags[r.flag_count++] = "blocking";
    if (c->first_key == 0 && (c->flags & CORE_BLOCKING))
        r.flags[r.flag_count++] = "movablekeys";
    return r;
}

static struct row row_of_node(const struct node_command *c)
{
    struct row r = {c->name, c->group, c->since, c->syntax, c->summary, c->arity, 0, 0, 0, {0}, 0};
    if (c->flags & NODE_ADMIN)
        r.flags[r.flag_count++] = "admin";
    if (c->flags & NODE_NO_AUTH)
        r.flags[r.flag_count++] = "no_auth";
    if (c->flags & NODE_NO_MULTI)
        r.flags[r.flag_count++] = "no_multi";
    r.flags[r.flag_count++] = "noscript";
    return r;
}

/* The i-th row of all tables; false behind the last. */
static bool row_at(size_t i, struct row *ret_row)
{
    const struct core_command *core;
    size_t at = 0;
    for (; (core = core_command_at(at)); at++) {
        if (at == i) {
            *ret_row = row_of_core(core);
            return true;
        }
    }
    for (size_t t = 0; node_command_tables[t]; t++) {
        for (const struct node_command *own = node_command_tables[t]; own->name; own++, at++) {
            if (at == i) {
                *ret_row = row_of_node(own);
                return true;
            }
        }
    }
    return false;
}

static bool is_sub(const char *name)
{
    return strchr(name, ' ') != NULL;
}

/* "XGROUP CREATE" is one of XGROUP. */
static bool sub_of(const char *name, const char *container)
{
    size_t len = strlen(container);
    return strncmp(name, container, len) == 0 && name[len] == ' ';
}

/* Lower case, and a bar instead of the blank as Redis writes it. */
static void reply_name(struct reply *r, const char *name)
{
    char lower[64];
    size_t len = 0;
    for (; len < sizeof lower && name[len]; len++) {
        char c = name[len];
        lower[len] = (char)(c == ' ' ? '|' : c >= 'A' && c <= 'Z' ? c | 32 : c);
    }
    reply_str(r, str_make(lower, len));
}

static size_t count_where(const char *container)
{
    struct row row;
    size_t count = 0;
    for (size_t i = 0; row_at(i, &row); i++)
        count += container ? sub_of(row.name, container) : !is_sub(row.name);
    return count;
}

static void reply_info(struct reply *r, const struct row *row)
{
    reply_array(r, 10);
    reply_name(r, row->name);
    reply_int(r, row->arity);
    reply_set(r, row->flag_count);
    for (size_t i = 0; i < row->flag_count; i++)
        reply_status(r, row->flags[i]);
    reply_int(r, row->first_key);
    reply_int(r, row->last_key);
    reply_int(r, row->key_step);
    reply_set(r, 0);
    reply_array(r, 0);
    reply_array(r, 0);
    size_t subs = is_sub(row->name) ? 0 : count_where(row->name);
    reply_array(r, subs);
    struct row sub;
    for (size_t i = 0; subs > 0 && row_at(i, &sub); i++)
        if (sub_of(sub.name, row->name))
            reply_info(r, &sub);
}

static void reply_docs(struct reply *r, const struct row *row)
{
    size_t subs = is_sub(row->name) ? 0 : count_where(row->name);
    reply_name(r, row->name);
    reply_map(r, 3u + (row->syntax[0] && subs == 0) + (subs > 0));
    reply_text(r, "summary");
    reply_text(r, row->summary);
    reply_text(r, "since");
    reply_text(r, row->since);
    reply_text(r, "group");
    reply_text(r, row->group);
    if (row->syntax[0] && subs == 0) {
        /* The syntax as one argument; redis-cli shows it as the hint. */
        reply_text(r, "arguments");
        reply_array(r, 1);
        reply_map(r, 3);
        reply_text(r, "name");
        reply_text(r, row->syntax);
        reply_text(r, "type");
        reply_text(r, "string");
        reply_text(r, "display_text");
        reply_text(r, row->syntax);
    }
    if (subs > 0) {
        struct row sub;
        reply_text(r, "subcommands");
        reply_map(r, subs);
        for (size_t i = 0; row_at(i, &sub); i++)
            if (sub_of(sub.name, row->name))
                reply_docs(r, &sub);
    }
}

static bool row_find(struct str name, struct row *ret_row)
{
    for (size_t i = 0; row_at(i, ret_row); i++)
        if (!is_sub(ret_row->name) && str_eq_nocase(str_of(ret_row->name), name))
            return true;
    return false;
}

static void docs(size_t argc, const struct str *argv, struct reply *r)
{
    struct row row;
    size_t found = 0;
    for (size_t i = 2; i < argc; i++)
        found += row_find(argv[i], &row);
    reply_map(r, argc > 2 ? found : count_where(NULL));
    if (argc > 2) {
        for (size_t i = 2; i < argc; i++)
            if (row_find(argv[i], &row))
                reply_docs(r, &row);
        return;
    }
    for (size_t i = 0; row_at(i, &row); i++)
        if (!is_sub(row.name))
            reply_docs(r, &row);
}

void command_command(struct client *c, size_t argc, const struct str *argv, struct reply *r)
{
    struct row row;
    (void)c;
    if (argc > 1 && str_eq_nocase(argv[1], STR("DOCS"))) {
        docs(argc, argv, r);
    } else if (argc > 1 && str_eq_nocase(argv[1], STR("COUNT"))) {
        reply_int(r, (int64_t)count_where(NULL));
    } else if (argc > 2 && str_eq_nocase(argv[1], STR("INFO"))) {
        reply_array(r, argc - 2);
        for (size_t i = 2; i < argc; i++)
            row_find(argv[i], &row) ? reply_info(r, &row) : reply_null_array(r);
    } else if (argc > 1 && str_eq_nocase(argv[1], STR("LIST"))) {
        reply_array(r, count_where(NULL));
        for (size_t i = 0; row_at(i, &row); i++)
            if (!is_sub(row.name))
                reply_name(r, row.name);
    } else if (argc == 1 || str_eq_nocase(argv[1], STR("INFO"))) {
        reply_array(r, count_where(NULL));
        for (size_t i = 0; row_at(i, &row); i++)
            if (!is_sub(row.name))
                reply_info(r, &row);
    } else {
        command_unknown_sub(r, "COMMAND", argv[1]);
    }
}

/* ---- docs/commands.md ---- */
static int cell(struct buf *out, const char *text)
{
    int rc = 0;
    for (; *text && !rc; text++)
        rc = *text == '|' ? buf_add_str(out, STR("\\|")) : buf_add_char(out, *text);
    return rc;
}

int node_commands_markdown(struct buf *out)
{
    static const char *const groups[] = {"ttg",        "stream", "generic", "string",
                                         "list",       "set",    "hash",    "transactions",
                                         "connection", "server", NULL};
    struct row row;
    int rc = buf_add_str(out, STR("# The commands of a node\n\nWritten by `ttg node "
                                  "--commands`; the words of a command are described in the "
                                  "tables that also run it.\n"));
    for (size_t g = 0; groups[g] && !rc; g++) {
        bool head = false;
        for (size_t i = 0; row_at(i, &row) && !rc; i++) {
            if (strcmp(row.group, groups[g]) != 0)
                continue;
            if (!head)
                rc = buf_printf(out, "\n## %s\n\n| command | |\n|---|---|\n", groups[g]);
            head = true;
            rc = rc ? rc : buf_printf(out, "| `%s%s", row.name, row.syntax[0] ? " " : "");
            rc = rc ? rc : cell(out, row.syntax);
            rc = rc ? rc : buf_add_str(out, STR("` | "));
            rc = rc ? rc : cell(out, row.summary);
            rc = rc ? rc : buf_add_str(out, STR(" |\n"));
        }
    }
    return rc;
}
