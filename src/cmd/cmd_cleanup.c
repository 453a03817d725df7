/* SPDX-License-Identifier: Apache-2.0 */
/* ttg cleanup: shows what of ttg lies about, asks, and removes exactly that. */
#include "base/mem.h"
#include "cmd/cleanup/cleanup.h"
#include "io/stdio.h"

#include <stdio.h>
#include <unistd.h>

enum { TEXT_BYTES_MAX = 64 << 20 };

static const char *const kind_names[CLEANUP_KINDS] = {
    [CLEANUP_DEMO] = "demo",
    [CLEANUP_RUN] = "embedded job",
    [CLEANUP_JOB] = "job",
    [CLEANUP_KUBERNETES] = "kubernetes",
    [CLEANUP_CONTAINER] = "container",
    [CLEANUP_POD] = "pod",
    [CLEANUP_NETWORK] = "network",
    [CLEANUP_VOLUME] = "volume",
};

/* --- the list --- */

int cleanup_add(struct cleanup *c, const struct cleanup_item *item, struct err *err)
{
    for (size_t i = 0; i < c->count; i++) /* it may carry two labels, or be asked for twice */
        if (c->items[i].kind == item->kind && c->items[i].source == item->source &&
            strcmp(c->items[i].name, item->name) == 0)
            return 0;
    if (c->count == CLEANUP_ITEMS_MAX)
        return err_set(err, TTG_EFULL, "there are more than %d things to remove",
                       CLEANUP_ITEMS_MAX);
    if (c->count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        struct cleanup_item *more = mem_realloc(c->items, cap * sizeof *more);
        if (!more)
            return err_set(err, TTG_ENOMEM, "out of memory");
        c->items = more;
        c->cap = cap;
    }
    struct cleanup_item *to = &c->items[c->count];
    *to = *item;
    to->name = mem_strdup(item->name);
    to->note = mem_strdup(item->note);
    c->count++;
    return to->name && to->note ? 0 : err_set(err, TTG_ENOMEM, "out of memory");
}

void cleanup_trouble(struct cleanup *c, const struct err *err)
{
    int code = command_fail(c->command, err);
    if (!c->trouble)
        c->trouble = code;
}

static void add_place(struct buf *out, const struct cleanup *c, const struct cleanup_item *item)
{
    static const char *const tools[] = {"", " of podman", " of docker"};
    if (item->kind == CLEANUP_JOB)
        buf_printf(out, " on %s", c->queues[item->source].shown);
    else if (item->kind > CLEANUP_KUBERNETES)
        buf_add_str(out, str_of(tools[item->source]));
}

static void add_items(struct buf *out, const struct cleanup *c, bool stays, const char *title)
{
    bool first = true;
    for (size_t i = 0; i < c->count; i++) {
        const struct cleanup_item *item = &c->items[i];
        if (item->stays != stays)
            continue;
        if (first)
            buf_printf(out, "%s\n", title);
        first = false;
        buf_printf(out, "  %-12s %s", kind_names[item->kind], item->name);
        add_place(out, c, item);
        if (item->note[0])
            buf_printf(out, "  (%s)", item->note);
        buf_add_char(out, '\n');
    }
}

static size_t removable(const struct cleanup *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++)
        n += !c->items[i].stays;
    return n;
}

static int show(const struct cleanup *c, bool dry)
{
    struct buf out;
    buf_init(&out, TEXT_BYTES_MAX);
    add_items(&out, c, true, "stays:");
    add_items(&out, c, false, dry ? "would be removed:" : "to be removed:");
    if (removable(c) == 0)
        buf_add_str(&out, STR("nothing to remove\n"));
    int code = EXIT_DONE;
    if (option_bool(c->command->options, OPT_JSON))
        stdio_complain(buf_str(&out));
    else
        code = command_print(c->command, buf_str(&out));
    buf_done(&out);
    return code;
}

static int show_json(const struct cleanup *c, bool dry)
{
    struct buf out;
    buf_init(&out, TEXT_BYTES_MAX);
    buf_printf(&out, "{\"dry_run\":%s,\"items\":[", dry ? "true" : "false");
    for (size_t i = 0; i < c->count; i++) {
        const struct cleanup_item *item = &c->items[i];
        buf_printf(&out, "%s{\"kind\":\"%s\",\"name\":", i ? "," : "", kind_names[item->kind]);
        buf_add_json(&out, str_of(item->name));
        if (item->kind == CLEANUP_JOB) {
            buf_add_str(&out, STR(",\"queue\":"));
            buf_add_json(&out, str_of(c->queues[item->source].shown));
        }
        buf_add_str(&out, STR(",\"note\":"));
        buf_add_json(&out, str_of(item->note));
        buf_printf(&out, ",\"stays\":%s,\"removed\":%s}", item->stays ? "true" : "false",
                   item->removed ? "true" : "false");
    }
    buf_add_str(&out, STR("]}\n"));
    int code = command_print(c->command, buf_str(&out));
    buf_done(&out);
    return code;
}

/* --- the user's word --- */

static bool ask(size_t n)
{
    char line[64];
    struct buf b;
    buf_init(&b, 256);
    buf_printf(&b, "remove %s%zu of these? [y/N] ", n == 1 ? "the " : "all ", n);
    stdio_complain(buf_str(&b));
    buf_done(&b);
    ssize_t got = read(STDIN_FILENO, line, sizeof line);
    struct str word = str_trim(str_make(line, got > 0 ? (size_t)got : 0));
    return str_eq_nocase(word, STR("y")) || str_eq_nocase(word, STR("yes"));
}

static void remove_all(struct cleanup *c)
{
    size_t removed = 0, n = removable(c);
    for (size_t i = 0; i < c->count; i++) {
        struct cleanup_item *item = &c->items[i];
        struct err err = {0};
        if (item->stays)
            continue;
        int rc = item->kind <= CLEANUP_RUN   ? cleanup_local_remove(c, item, &err)
                 : item->kind == CLEANUP_JOB ? cleanup_queues_remove(c, item, &err)
                                             : cleanup_objects_remove(c, item, &err);
        item->removed = rc == 0;
        removed += item->removed;
        if (rc)
            cleanup_trouble(c, &err);
    }
    struct buf b;
    buf_init(&b, 256);
    buf_printf(&b, "removed %zu of %zu\n", removed, n);
    stdio_complain(buf_str(&b));
    buf_done(&b);
}

/* --- start --- */

static int add_queue(struct cleanup *c, const char *text, struct err *err)
{
    struct cleanup_queue *q = &c->queues[c->queue_count];
    if (c->queue_count == CLEANUP_QUEUES_MAX)
        return err_set(err, TTG_EUSAGE, "at most %d queues at once", CLEANUP_QUEUES_MAX);
    int rc = url_parse(&q->url, str_of(text), err);
    if (rc)
        return rc;
    url_show(&q->url, q->shown);
    c->queue_count += q->url.scheme != URL_EMBEDDED; /* those are directories */
    return 0;
}

static bool has_queue(const struct cleanup *c, bool amqp)
{
    for (size_t i = 0; i < c->queue_count; i++)
        if ((c->queues[i].url.scheme == URL_AMQP) == amqp)
            return true;
    return false;
}

static int configure(struct cleanup *c, struct err *err)
{
    const struct options *o = c->command->options;
    const struct option_slot *list = &o->slots[OPT_CLEANUP_QUEUE];
    c->all = option_bool(o, OPT_CLEANUP_ALL);
    c->local = c->all || option_bool(o, OPT_CLEANUP_LOCAL);
    c->pods = c->all || option_bool(o, OPT_CLEANUP_PODS);
    c->redis = c->all || option_bool(o, OPT_CLEANUP_REDIS);
    c->rabbitmq = c->all || option_bool(o, OPT_CLEANUP_RABBITMQ);
    if (!c->local && !c->pods && !c->redis && !c->rabbitmq)
        return err_set(err, TTG_EUSAGE,
                       "say what to look for: --local, --pods, --redis, --rabbitmq or --all");
    c->queues = mem_zalloc(CLEANUP_QUEUES_MAX * sizeof *c->queues);
    if (!c->queues)
        return err_set(err, TTG_ENOMEM, "out of memory");
    int rc = 0;
    for (size_t i = 0; i < list->item_count && !rc; i++)
        rc = add_queue(c, list->items[i], err);
    if (!rc && !c->all && c->redis && !has_queue(c, false))
        rc = err_set(err, TTG_EUSAGE, "--redis: name the server with --queue redis://HOST:PORT");
    if (!rc && !c->all && c->rabbitmq && !has_queue(c, true))
        rc = err_set(err, TTG_EUSAGE,
                     "--rabbitmq: name the broker with --queue amqp://USER:PASSWORD@HOST/VHOST");
    if (!rc)
        rc = loop_open(&c->loop, err);
    if (!rc)
        rc = guard_open(&c->guard, 1, err);
    return rc;
}

static int find(struct cleanup *c, struct err *err)
{
    int rc = c->local ? cleanup_local_find(c, err) : 0;
    if (!rc && (c->redis || c->rabbitmq))
        rc = cleanup_queues_find(c, err);
    if (!rc && c->pods)
        rc = cleanup_objects_find(c, err);
    return rc;
}

static int go(struct cleanup *c, struct err *err)
{
    const struct options *o = c->command->options;
    bool dry = option_bool(o, OPT_DRY_RUN), force = option_bool(o, OPT_FORCE);
    int rc = find(c, err);
    if (rc)
        return command_fail(c->command, err);
    int code = show(c, dry);
    size_t n = removable(c);
    bool terminal = stdio_is_terminal(STDIO_IN) && stdio_is_terminal(STDIO_ERR);
    if (code == EXIT_DONE && n > 0 && !dry) {
        if (!force && !terminal) {
            err_set(err, TTG_EUSAGE,
                    "nothing was removed: this is no terminal to ask on; --force does not ask");
            return command_fail(c->command, err);
        }
        if (force || ask(n))
            remove_all(c);
        else
            stdio_complain(STR("nothing was removed\n"));
    }
    if (code == EXIT_DONE && option_bool(o, OPT_JSON))
        code = show_json(c, dry);
    return code ? code : c->trouble;
}

int cmd_cleanup(struct command_run *r)
{
    struct cleanup c = {.command = r};
    struct err err = {0};
    int rc = configure(&c, &err);
    int code = rc ? command_fail(r, &err) : go(&c, &err);
    guard_close(c.guard);
    loop_close(c.loop);
    for (size_t i = 0; i < c.count; i++) {
        mem_free(c.items[i].name);
        mem_free(c.items[i].note);
    }
    mem_free(c.items);
    mem_free(c.queues);
    return code;
}
