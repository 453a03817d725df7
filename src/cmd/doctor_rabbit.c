/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about RabbitMQ, from its management API: the broker, its nodes, and our queues. */
#include "cmd/doctor.h"
#include "io/loop.h"
#include "io/realclock.h"
#include "queue/management.h"

#include <stdio.h>

enum { KNOCK_MS = 5000, DATE_MS = 2000 /* how exact an HTTP server tells the time */ };

struct look {
    struct management management;
    const struct doctor_ask *ask;
};

/* --- JSON into facts --- */

static int text_of(struct json value, struct buf *out)
{
    buf_clear(out);
    return value.type == JSON_STRING ? json_add_text(value, out) : buf_add_str(out, value.raw);
}

/* The members that a rule may ask for; objects and lists as they stand. */
static int note_members(struct doctor_facts *f, struct json object, const char *const *names)
{
    struct buf text;
    int rc = 0;
    buf_init(&text, 1 << 16);
    for (; !rc && *names; names++) {
        struct json value = management_member(object, str_of(*names));
        if (value.type == JSON_NULL)
            continue;
        rc = text_of(value, &text);
        if (!rc)
            rc = doctor_note(f, str_of(*names), buf_str(&text));
    }
    buf_done(&text);
    return rc;
}

static int name_of(struct json object, char *out, size_t room)
{
    struct buf text;
    buf_init(&text, room - 1);
    int rc = text_of(management_member(object, STR("name")), &text);
    snprintf(out, room, "%.*s", STR_ARG(buf_str(&text)));
    buf_done(&text);
    return rc;
}

static int note_nodes(struct look *x, struct doctor_facts *broker, struct err *err)
{
    static const char *const names[] = {
        "running",    "mem_alarm", "disk_free_alarm", "disk_free",    "disk_free_limit",
        "partitions", "fd_total",  "fd_used",         "net_ticktime", NULL};
    struct json nodes, node;
    char name[200];
    int64_t count = 0;
    int rc = management_get(&x->management, "/api/nodes", &nodes, err);
    if (rc)
        return rc;
    struct str at = nodes.type == JSON_ARRAY ? json_inside(nodes) : STR("");
    for (struct str all = at; json_item(&all, &node);)
        count++;
    while (json_item(&at, &node)) {
        struct doctor_facts *f;
        if (name_of(node, name, sizeof name) ||
            !(f = doctor_place(x->ask->doctor, DOCTOR_RABBIT_NODE, "RabbitMQ node %s", name)) ||
            note_members(f, node, names) || doctor_note_i64(f, "ttg.nodes", count))
            return err_set(err, TTG_ENOMEM, "out of memory");
    }
    return doctor_note_i64(broker, "ttg.nodes", count) ? err_set(err, TTG_ENOMEM, "out of memory")
                                                       : 0;
}

/* A virtual host in a path. */
static void escape(const char *text, char *out, size_t room)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 4 < room; p++)
        n += (size_t)snprintf(out + n, room - n, "%%%02X", *p);
}

static int note_queues(struct look *x, int64_t nodes, struct err *err)
{
    static const char *const names[] = {
        "type", "durable", "members", "online", "effective_policy_definition", NULL};
    char path[3200] = "/api/queues/", name[200];
    struct json queues, queue;
    escape(x->ask->config->url->path, path + strlen(path), sizeof path - strlen(path));
    int rc = management_get(&x->management, path, &queues, err);
    if (rc)
        return rc;
    struct str at = queues.type == JSON_ARRAY ? json_inside(queues) : STR("");
    while (json_item(&at, &queue)) {
        struct doctor_facts *f;
        if (name_of(queue, name, sizeof name) || strncmp(name, "ttg.", 4) != 0)
            continue;
        f = doctor_place(x->ask->doctor, DOCTOR_RABBIT_QUEUE, "queue %s", name);
        if (!f)
            break; /* more than can be listed */
        if (note_members(f, queue, names) || doctor_note_i64(f, "ttg.nodes", nodes))
            return err_set(err, TTG_ENOMEM, "out of memory");
    }
    return 0;
}

/* --- clocks --- */

static struct doctor_facts *node_named(struct doctor *d, const char *name)
{
    char where[DOCTOR_WHERE_BYTES];
    snprintf(where, sizeof where, "RabbitMQ node %s", name);
    for (size_t i = 0; i < d->place_count; i++)
        if (d->places[i]->kind == DOCTOR_RABBIT_NODE && strcmp(d->places[i]->where, where) == 0)
            return d->places[i];
    return NULL;
}

/* Each host of the address answers for the node that runs there. One that does not answer, or does
 * not say the time, is left out; so is what the header is too coarse for. */
static int note_clocks(struct look *x, struct err *err)
{
    struct management *m = &x->management;
    struct clock *clock = realclock();
    size_t hosts = x->ask->management ? 1 : x->ask->config->url->host_count;
    struct err why = {0};
    m->one_host = true;
    for (size_t i = 0; i < hosts; i++) {
        struct json overview;
        struct buf name;
        m->at = i;
        uint64_t before_ms = clock->wall_ms(clock);
        if (management_get(m, "/api/overview?columns=node", &overview, &why) || m->date_ms == 0)
            continue;
        uint64_t after_ms = clock->wall_ms(clock);
        int64_t theirs_ms = (int64_t)m->date_ms + 500;
        buf_init(&name, DOCTOR_WHERE_BYTES);
        int rc = text_of(management_member(overview, STR("node")), &name);
        struct doctor_facts *f = rc ? NULL : node_named(x->ask->doctor, buf_cstr(&name));
        rc = f && doctor_note_clock(f, theirs_ms, DATE_MS, before_ms, after_ms);
        buf_done(&name);
        if (rc)
            return err_set(err, TTG_ENOMEM, "out of memory");
    }
    return 0;
}

static int look(struct look *x, struct doctor_facts *broker, struct err *err)
{
    static const char *const names[] = {"rabbitmq_version", "erlang_version", "cluster_name", NULL};
    struct json overview;
    int64_t nodes = 1;
    int rc = management_get(&x->management, "/api/overview", &overview, err);
    if (!rc && note_members(broker, overview, names))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (!rc)
        rc = note_nodes(x, broker, err);
    doctor_number(broker, "ttg.nodes", &nodes);
    if (!rc)
        rc = note_queues(x, nodes, err);
    return rc ? rc : note_clocks(x, err);
}

/* --- whether it is there at all --- */

struct knock {
    bool up, lost;
    struct err why;
};

static void on_up(void *ctx)
{
    ((struct knock *)ctx)->up = true;
}

static void on_lost(void *ctx, const struct err *why)
{
    struct knock *k = ctx;
    k->lost = true;
    k->why = *why;
}

/* As a worker connects, and no more. */
static int knock_at(const struct doctor_ask *a, struct err *err)
{
    struct knock k = {0};
    struct queue *queue = NULL;
    struct queue_config config = *a->config;
    config.ctx = &k;
    config.on_up = on_up;
    config.on_down = NULL;
    config.on_lost = on_lost;
    if (config.retry_ms > KNOCK_MS)
        config.retry_ms = KNOCK_MS;
    int rc = queue_open(&queue, a->loop, &config, err);
    while (!rc && !k.up && !k.lost)
        rc = loop_turn(a->loop, LOOP_FOREVER) ? err_set(err, TTG_EIO, "event loop") : 0;
    queue_close(queue);
    return rc || k.up ? rc : err_set(err, k.why.code, "%s", k.why.text);
}

int doctor_rabbit(const struct doctor_ask *a, struct err *err)
{
    struct look x = {.ask = a};
    char where[URL_TEXT_BYTES_MAX];
    struct err why = {0};
    url_show(a->config->url, where);
    int there = knock_at(a, err);
    if (there)
        return there;
    struct doctor_facts *broker = doctor_place(a->doctor, DOCTOR_RABBIT, "%.240s", where);
    if (!broker)
        return err_set(err, TTG_ENOMEM, "out of memory");
    int rc = management_open(&x.management, a->loop, a->config, a->management, &why);
    if (!rc)
        rc = look(&x, broker, &why);
    management_close(&x.management);
    if (rc == TTG_EUSAGE || rc == TTG_ENOMEM)
        return err_set(err, rc, "%s", why.text);
    if (rc && doctor_note(broker, STR("ttg.error"), str_of(why.text)))
        return err_set(err, TTG_ENOMEM, "out of memory");
    return 0;
}
