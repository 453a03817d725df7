/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about RabbitMQ, from its management API: the broker, its nodes, and our queues. */
#include "cmd/doctor.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "wire/json.h"

#include <stdio.h>

enum { ANSWER_MS = 10000, MANAGEMENT_PORT = 15672, MANAGEMENT_PORT_TLS = 15671 };

struct exchange {
    struct http_client client;
    const struct doctor_ask *ask;
    char host[256];
    uint16_t port;
    bool tls, done;
    int rc, status;
    struct buf body;
    struct err *err;
};

static void on_done(struct http_client *c, int rc, const struct http_answer *answer,
                    const struct err *err)
{
    struct exchange *x = c->ctx;
    x->done = true;
    x->rc = rc;
    if (rc) {
        *x->err = *err;
        return;
    }
    x->status = answer->status;
    buf_clear(&x->body);
    x->rc = buf_add_str(&x->body, answer->body);
}

static int get(struct exchange *x, const char *path, struct json *ret_value, struct err *err)
{
    const struct url *u = x->ask->config->url;
    struct http_get what = {.host = x->host,
                            .port = x->port,
                            .tls = x->tls ? x->ask->tls : NULL,
                            .path = path,
                            .user = u->user ? u->user : "guest",
                            .password = u->password ? u->password : "guest",
                            .timeout_ms = ANSWER_MS};
    x->done = false;
    x->err = err;
    int rc = http_client_start(&x->client, &what, err);
    while (!rc && !x->done)
        rc = loop_turn(x->client.loop, LOOP_FOREVER);
    rc = rc ? rc : x->rc;
    if (!rc && x->status != 200)
        rc = err_set(err, x->status == 401 || x->status == 403 ? TTG_EAUTH : TTG_EPROTO,
                     "the management API answers %d to %s", x->status, path);
    return rc ? rc : json_parse(buf_str(&x->body), ret_value, err);
}

/* --- JSON into facts --- */

static struct json member(struct json object, struct str name)
{
    struct str at = object.type == JSON_OBJECT ? json_inside(object) : STR("");
    struct json key, value;
    while (json_next(&at, &key, &value))
        if (json_is(key, name))
            return value;
    return (struct json){.type = JSON_NULL};
}

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
        struct json value = member(object, str_of(*names));
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
    int rc = text_of(member(object, STR("name")), &text);
    snprintf(out, room, "%.*s", STR_ARG(buf_str(&text)));
    buf_done(&text);
    return rc;
}

static int note_nodes(struct exchange *x, struct doctor_facts *broker, struct err *err)
{
    static const char *const names[] = {"running",   "mem_alarm",       "disk_free_alarm",
                                        "disk_free", "disk_free_limit", "partitions",
                                        "fd_total",  "fd_used",         NULL};
    struct json nodes, node;
    char name[200];
    int64_t count = 0;
    int rc = get(x, "/api/nodes", &nodes, err);
    if (rc)
        return rc;
    struct str at = nodes.type == JSON_ARRAY ? json_inside(nodes) : STR("");
    while (json_item(&at, &node)) {
        struct doctor_facts *f;
        if (name_of(node, name, sizeof name) ||
            !(f = doctor_place(x->ask->doctor, DOCTOR_RABBIT_NODE, "RabbitMQ node %s", name)) ||
            note_members(f, node, names))
            return err_set(err, TTG_ENOMEM, "out of memory");
        count++;
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

static int note_queues(struct exchange *x, int64_t nodes, struct err *err)
{
    static const char *const names[] = {"type", "durable", "effective_policy_definition", NULL};
    char path[3200] = "/api/queues/", name[200];
    struct json queues, queue;
    escape(x->ask->config->url->path, path + strlen(path), sizeof path - strlen(path));
    int rc = get(x, path, &queues, err);
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

/* --- where it is --- */

/* "http://HOST:PORT", or the host of the queue's address. */
static int choose(struct exchange *x, size_t i, struct err *err)
{
    const struct url *u = x->ask->config->url;
    const char *given = x->ask->management;
    uint64_t port = 0;
    x->tls = given ? strncmp(given, "https://", 8) == 0 : u->tls;
    x->port = x->tls ? MANAGEMENT_PORT_TLS : MANAGEMENT_PORT;
    if (!given) {
        snprintf(x->host, sizeof x->host, "%s", u->hosts[i].name);
        return 0;
    }
    struct str rest = str_of(given), end;
    rest = x->tls                              ? str_make(given + 8, rest.len - 8)
           : strncmp(given, "http://", 7) == 0 ? str_make(given + 7, rest.len - 7)
                                               : (struct str){0};
    struct str authority = str_cut(rest, '/', &end);
    const char *colon = authority.len ? memrchr(authority.ptr, ':', authority.len) : NULL;
    size_t len = colon ? (size_t)(colon - authority.ptr) : authority.len;
    if (len == 0 || len >= sizeof x->host ||
        (colon && (str_to_u64(str_make(colon + 1, authority.len - len - 1), &port) || port == 0 ||
                   port > 65535)))
        return err_set(err, TTG_EUSAGE, "--management %s is no http://HOST:PORT", given);
    if (colon)
        x->port = (uint16_t)port;
    bool six = authority.ptr[0] == '[' && len > 2;
    snprintf(x->host, sizeof x->host, "%.*s", (int)(six ? len - 2 : len),
             authority.ptr + (six ? 1 : 0));
    return 0;
}

static int look(struct exchange *x, struct doctor_facts *broker, struct err *err)
{
    static const char *const names[] = {"rabbitmq_version", "erlang_version", "cluster_name", NULL};
    struct json overview;
    int64_t nodes = 1;
    size_t tries = x->ask->management ? 1 : x->ask->config->url->host_count;
    int rc = TTG_EUNREACH;
    for (size_t i = 0; rc && i < tries; i++) {
        rc = choose(x, i, err);
        if (rc)
            return rc;
        rc = get(x, "/api/overview", &overview, err);
    }
    if (!rc && note_members(broker, overview, names))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (!rc)
        rc = note_nodes(x, broker, err);
    doctor_number(broker, "ttg.nodes", &nodes);
    return rc ? rc : note_queues(x, nodes, err);
}

int doctor_rabbit(const struct doctor_ask *a, struct err *err)
{
    struct exchange x = {.ask = a};
    char where[URL_TEXT_BYTES_MAX];
    struct err why = {0};
    url_show(a->config->url, where);
    struct doctor_facts *broker = doctor_place(a->doctor, DOCTOR_RABBIT, "%.240s", where);
    if (!broker)
        return err_set(err, TTG_ENOMEM, "out of memory");
    buf_init(&x.body, HTTP_BODY_BYTES_MAX);
    http_client_init(&x.client, a->loop, on_done, &x);
    int rc = look(&x, broker, &why);
    http_client_done(&x.client);
    buf_done(&x.body);
    if (rc == TTG_EUSAGE || rc == TTG_ENOMEM)
        return err_set(err, rc, "%s", why.text);
    if (rc && doctor_note(broker, STR("ttg.error"), str_of(why.text)))
        return err_set(err, TTG_ENOMEM, "out of memory");
    return 0;
}
