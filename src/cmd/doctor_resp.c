/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about servers that speak the Redis protocol: Redis, its Sentinels and Clusters, ttg nodes.
 */
#include "cmd/doctor.h"
#include "io/loop.h"
#include "io/realclock.h"
#include "queue/resp.h"

#include <stdio.h>

enum { ANSWER_MS = 3000, MASTERS_MAX = 64 };

/* --- one exchange, waited for --- */

struct exchange {
    struct resp_ask ask;
    bool done;
    int rc;
    struct err *err;
};

static void on_done(struct resp_ask *a, int rc, const struct err *err)
{
    struct exchange *x = a->ctx;
    x->done = true;
    x->rc = rc;
    if (rc)
        *x->err = *err;
}

static int exchange(struct exchange *x, const struct resp_server *server, struct err *err)
{
    x->done = false;
    x->err = err;
    int rc = resp_ask_start(&x->ask, server, ANSWER_MS, err);
    while (!rc && !x->done)
        rc = loop_turn(x->ask.loop, LOOP_FOREVER);
    return rc ? rc : x->rc;
}

/* Commands of words between blanks, NULL at the end; AUTH goes in front. */
static int put_all(struct exchange *x, const char *user, const char *password,
                   const char *const *commands)
{
    resp_ask_reset(&x->ask);
    int rc = resp_ask_auth(&x->ask, user, password);
    for (; !rc && *commands; commands++) {
        char text[512];
        const char *words[8];
        size_t count = 0;
        snprintf(text, sizeof text, "%s", *commands);
        for (char *save, *w = strtok_r(text, " ", &save); w && count < 8;
             w = strtok_r(NULL, " ", &save))
            words[count++] = w;
        rc = resp_ask_put(&x->ask, count, words);
    }
    return rc;
}

/* An answer as a value; an error is returned as one. */
static int reply_of(const struct exchange *x, size_t i, struct resp_cursor *c, struct err *err)
{
    struct resp_cursor look = resp_cursor_of(resp_ask_reply(&x->ask, i));
    struct resp_value v;
    *c = look;
    if (resp_next(&look, &v) && v.type == RESP_ERROR)
        return resp_decode_error(v.s, err);
    return 0;
}

/* --- what answers say --- */

/* "name:value" lines. */
static int note_info(struct doctor_facts *f, struct resp_cursor c)
{
    struct str text, line, value;
    int rc = 0;
    if (!resp_next_str(&c, &text))
        return 0;
    while (!rc && text.ptr && text.len > 0) {
        line = str_cut(text, '\n', &text);
        struct str name = str_cut(line, ':', &value);
        if (value.ptr)
            rc = doctor_note(f, name, str_trim(value));
    }
    return rc;
}

/* Names and values in turn. */
static int note_pairs(struct doctor_facts *f, struct resp_cursor c)
{
    struct str name, value;
    size_t count;
    int rc = 0;
    if (!resp_next_array(&c, &count))
        return 0;
    for (; !rc && count >= 2 && resp_next_str(&c, &name) && resp_next_str(&c, &value); count -= 2)
        rc = doctor_note(f, name, value);
    return rc;
}

/* TIME against ours. */
static int note_clock(struct doctor_facts *f, struct resp_cursor c, uint64_t before_ms,
                      uint64_t after_ms)
{
    int64_t seconds, us;
    size_t count;
    if (!resp_next_array(&c, &count) || count != 2 || !resp_next_int(&c, &seconds) ||
        !resp_next_int(&c, &us))
        return 0;
    return doctor_note_clock(f, seconds * 1000 + us / 1000, 0, before_ms, after_ms);
}

/* --- one server --- */

static const char *const server_questions[] = {
    "INFO",
    "TIME",
    "CONFIG GET append*",
    "CONFIG GET maxmemory*",
    "CONFIG GET min-replicas*",
    "CONFIG GET no-appendfsync-on-rewrite",
    "CONFIG GET maxclients",
    NULL,
};

static int look_at(const struct doctor_ask *a, struct exchange *x, const struct resp_server *server,
                   bool failover, struct err *err)
{
    const struct url *u = a->config->url;
    struct clock *clock = realclock();
    struct resp_cursor c;
    size_t at = u->password ? 1 : 0;
    int rc = put_all(x, u->user, u->password, server_questions);
    uint64_t before_ms = clock->wall_ms(clock);
    if (!rc)
        rc = exchange(x, server, err);
    uint64_t after_ms = clock->wall_ms(clock);
    for (size_t i = 0; !rc && i <= at; i++)
        if (resp_hello_check(resp_ask_reply(&x->ask, i), err) == TTG_EAUTH)
            rc = TTG_EAUTH;
    if (!rc)
        rc = reply_of(x, at, &c, err);
    if (rc)
        return rc;
    struct doctor_facts *f =
        server->host ? doctor_place(a->doctor, DOCTOR_REDIS, "%s:%u", server->host, server->port)
                     : doctor_place(a->doctor, DOCTOR_REDIS, "%s", server->path);
    rc = f ? note_info(f, c) : TTG_ENOMEM;
    if (!rc && doctor_text(f, "ttg_version"))
        f->kind = DOCTOR_NODE;
    if (!rc)
        rc = doctor_note_i64(f, "ttg.failover", failover);
    if (!rc)
        rc = doctor_note_i64(f, "ttg.redis_wait", a->config->redis_wait);
    for (size_t i = 1; !rc && server_questions[i]; i++) {
        struct err refused;
        if (reply_of(x, at + i, &c, &refused))
            continue; /* a rule says so */
        rc = i == 1 ? note_clock(f, c, before_ms, after_ms) : note_pairs(f, c);
    }
    return rc ? err_set(err, rc, "out of memory") : 0;
}

/* --- Sentinels --- */

static int note_error(struct doctor_facts *f, const struct err *why)
{
    return doctor_note(f, STR("ttg.error"), str_of(why->text));
}

/* *node is the master that the first of them named. */
static int ask_sentinel(const struct doctor_ask *a, struct exchange *x, size_t i,
                        struct resp_node *node, struct err *err)
{
    const struct url *u = a->config->url;
    struct resp_server server = {.host = u->hosts[i].name, .port = u->hosts[i].port, .tls = a->tls};
    struct doctor_facts *f =
        doctor_place(a->doctor, DOCTOR_SENTINEL, "sentinel %s:%u", server.host, server.port);
    struct resp_cursor c;
    struct err why;
    int64_t port = 0;
    bool own = u->sentinel_password;
    const char *password = own ? u->sentinel_password : u->password;
    resp_ask_reset(&x->ask);
    int rc = resp_ask_auth(&x->ask, own ? u->sentinel_user : u->user, password);
    if (!rc)
        rc = resp_ask_put(&x->ask, 3, (const char *const[]){"SENTINEL", "MASTER", u->path});
    if (rc || !f)
        return err_set(err, TTG_ENOMEM, "out of memory");
    rc = exchange(x, &server, &why);
    if (!rc)
        rc = reply_of(x, password ? 1 : 0, &c, &why);
    if (rc)
        return note_error(f, &why) ? err_set(err, TTG_ENOMEM, "out of memory") : 0;
    if (note_pairs(f, c))
        return err_set(err, TTG_ENOMEM, "out of memory");
    const char *host = doctor_text(f, "ip");
    if (!host || !doctor_number(f, "port", &port))
        return 0;
    if (!node->port)
        resp_node_set(node, str_of(host), port);
    else if (node->port != port || strcmp(node->host, host) != 0) {
        char other[RESP_HOST_BYTES + 8];
        snprintf(other, sizeof other, "%s:%lld", host, (long long)port);
        if (doctor_note(f, STR("ttg.other_master"), str_of(other)))
            return err_set(err, TTG_ENOMEM, "out of memory");
    }
    return 0;
}

static int look_behind_sentinels(const struct doctor_ask *a, struct exchange *x, struct err *err)
{
    struct resp_node node = {0};
    const struct url *u = a->config->url;
    for (size_t i = 0; i < u->host_count; i++) {
        int rc = ask_sentinel(a, x, i, &node, err);
        if (rc)
            return rc;
    }
    if (!node.port)
        return err_set(err, TTG_EUNREACH, "no sentinel names a master called %s", u->path);
    return look_at(a, x, &(struct resp_server){.host = node.host, .port = node.port, .tls = a->tls},
                   true, err);
}

/* --- clusters --- */

static int find_masters(struct exchange *x, size_t at, const struct resp_node *from,
                        struct resp_node *masters, size_t *ret_count, struct err *err)
{
    struct resp_slots s;
    struct resp_node node;
    unsigned first, last;
    size_t count = 0;
    if (!resp_slots_begin(&s, resp_ask_reply(&x->ask, at)))
        return err_set(err, TTG_EUNSUPPORTED, "%s:%u is no node of a Redis Cluster", from->host,
                       from->port);
    while (count < MASTERS_MAX && resp_slots_next(&s, from, &first, &last, &node)) {
        size_t i = 0;
        while (i < count &&
               (masters[i].port != node.port || strcmp(masters[i].host, node.host) != 0))
            i++;
        if (i == count)
            masters[count++] = node;
    }
    *ret_count = count;
    return 0;
}

static int look_at_cluster(const struct doctor_ask *a, struct exchange *x, struct err *err)
{
    static const char *const questions[] = {"CLUSTER SLOTS", "CLUSTER INFO", NULL};
    struct resp_node masters[MASTERS_MAX], from;
    const struct url *u = a->config->url;
    struct resp_cursor c;
    size_t count = 0, at = u->password ? 1 : 0;
    int rc = TTG_EUNREACH;
    for (size_t i = 0; rc && i < u->host_count; i++) {
        rc =
            !resp_node_set(&from, str_of(u->hosts[i].name), u->hosts[i].port) ||
                    put_all(x, u->user, u->password, questions)
                ? err_set(err, TTG_ENOMEM, "out of memory")
                : exchange(
                      x, &(struct resp_server){.host = from.host, .port = from.port, .tls = a->tls},
                      err);
        if (!rc)
            rc = reply_of(x, at, &c, err);
    }
    if (!rc)
        rc = find_masters(x, at, &from, masters, &count, err);
    if (rc)
        return rc;
    struct doctor_facts *f =
        doctor_place(a->doctor, DOCTOR_CLUSTER, "cluster, as %s:%u sees it", from.host, from.port);
    if (!f || reply_of(x, at + 1, &c, err) || note_info(f, c))
        return err_set(err, TTG_ENOMEM, "out of memory");
    for (size_t i = 0; !rc && i < count; i++)
        rc = look_at(
            a, x,
            &(struct resp_server){.host = masters[i].host, .port = masters[i].port, .tls = a->tls},
            true, err);
    return rc;
}

int doctor_resp(const struct doctor_ask *a, struct err *err)
{
    const struct url *u = a->config->url;
    struct exchange x = {0};
    int rc = TTG_EUNREACH;
    resp_ask_init(&x.ask, a->loop, on_done, &x);
    if (u->scheme == URL_REDIS_SENTINEL)
        rc = look_behind_sentinels(a, &x, err);
    else if (u->scheme == URL_REDIS_CLUSTER)
        rc = look_at_cluster(a, &x, err);
    else if (u->scheme == URL_TTG_UNIX)
        rc = look_at(a, &x, &(struct resp_server){.path = u->path}, false, err);
    else
        for (size_t i = 0; rc && i < u->host_count; i++)
            rc = look_at(a, &x,
                         &(struct resp_server){
                             .host = u->hosts[i].name, .port = u->hosts[i].port, .tls = a->tls},
                         false, err);
    resp_ask_done(&x.ask);
    return rc;
}
