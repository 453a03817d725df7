/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: in order, with delays, cut at any moment on one side or both. */
#include "base/mem.h"
#include "sim/node_world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 6000 };

enum message_kind { TO_HOST, TO_CLIENT, CLOSE_HOST, CLOSE_CLIENT };

struct message {
    struct sim_event event;
    struct sim_conn *conn;
    enum message_kind kind;
    size_t len;
    char bytes[];
};

static void deliver_request(struct world *w, const struct message *m)
{
    struct str argv[WORDS_MAX], rest = str_make(m->bytes, m->len);
    size_t argc = 0;
    while (rest.ptr && argc < WORDS_MAX)
        argv[argc++] = str_cut(rest, ' ', &rest);
    host_request(w->host, m->conn, argc, argv);
}

/* One line of a message, with the connection's number. */
static void trace_message(struct world *w, const struct message *m)
{
    char text[700];
    size_t len = 0;
    for (size_t i = 0; i < m->len && len + 1 < sizeof text; i++)
        if (m->bytes[i] != '\r')
            text[len++] = m->bytes[i] == '\n' ? ' ' : m->bytes[i];
    text[len] = '\0';
    bool heard = m->kind == TO_HOST ? m->conn->host_open : m->conn->actor != NULL;
    world_trace(w, "%llx %s%s %s", (unsigned long long)m->conn->client,
                m->kind == TO_HOST ? "->" : "<-", heard ? "" : " (lost)", text);
}

static void deliver(struct world *w, struct sim_event *e)
{
    struct message *m = container_of(e, struct message, event);
    struct sim_conn *conn = m->conn;
    if (w->trace && m->kind <= TO_CLIENT)
        trace_message(w, m);
    if (m->kind == TO_HOST && conn->host_open)
        deliver_request(w, m);
    if (m->kind == TO_CLIENT && conn->actor)
        conn->actor->ops->on_reply(conn->actor, str_make(m->bytes, m->len));
    if (m->kind == CLOSE_HOST && conn->host_open) {
        conn->host_open = false;
        host_closed(w->host, conn);
    }
    if (m->kind == CLOSE_CLIENT && conn->actor) {
        struct actor *a = conn->actor;
        conn->actor = NULL;
        a->conn = NULL;
        a->ops->on_closed(a);
    }
    mem_free(m);
}

static void post(struct sim_conn *conn, enum message_kind kind, struct str bytes, uint64_t delay_ms)
{
    struct world *w = conn->world;
    uint64_t *last =
        kind == TO_HOST || kind == CLOSE_HOST ? &conn->to_host_ms : &conn->to_client_ms;
    uint64_t at = w->now_ms + delay_ms;
    at = at > *last ? at : *last;
    *last = at;
    struct message *m = mem_zalloc(sizeof *m + bytes.len);
    if (!m)
        abort();
    m->conn = conn;
    m->kind = kind;
    m->len = bytes.len;
    if (bytes.len > 0)
        memcpy(m->bytes, bytes.ptr, bytes.len);
    world_at(w, &m->event, at - w->now_ms, deliver);
}

static uint64_t latency(struct world *w)
{
    if (!world_healing(w) && world_chance(w, 0.005))
        return world_below(w, 3000); /* a late one */
    return world_below(w, 4);
}

static void connect_now(struct world *w, struct sim_event *e)
{
    struct actor *a = container_of(e, struct actor, connect);
    if (a->conn)
        return;
    if (!host_up(w->host)) {
        actor_connect(a, 20 + world_below(w, 100));
        return;
    }
    struct sim_conn *conn = mem_zalloc(sizeof *conn);
    if (!conn)
        abort();
    conn->world = w;
    conn->actor = a;
    conn->host_open = true;
    a->conn = conn;
    list_push_back(&w->conns, &conn->link);
    host_accept(w->host, conn);
    a->ops->on_open(a);
}

void actor_connect(struct actor *a, uint64_t delay_ms)
{
    world_at(a->world, &a->connect, delay_ms, connect_now);
}

void actor_cut(struct actor *a, bool noticed)
{
    struct sim_conn *conn = a->conn;
    if (!conn)
        return;
    a->world->cuts++;
    a->conn = NULL;
    conn->actor = NULL;
    if (noticed)
        post(conn, CLOSE_HOST, STR(""), latency(a->world));
    else if (world_chance(a->world, 0.5))
        post(conn, CLOSE_HOST, STR(""), 5000);
}

void actor_send(struct actor *a, const char *format, ...)
{
    static char line[1 << 16];
    va_list args;
    if (!a->conn)
        return;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof line)
        abort();
    post(a->conn, TO_HOST, str_make(line, (size_t)len), latency(a->world));
}

void conn_reply(struct sim_conn *conn, struct str reply)
{
    if (conn->actor)
        post(conn, TO_CLIENT, reply, latency(conn->world));
}

void conn_drop(struct sim_conn *conn)
{
    conn->host_open = false;
    if (conn->actor)
        post(conn, CLOSE_CLIENT, STR(""), latency(conn->world));
}

void world_free_conns(struct world *w)
{
    list_each(it, &w->conns)
    {
        list_remove(it);
        mem_free(container_of(it, struct sim_conn, link));
    }
    /* Messages on their way are the only events that were allocated. */
    while (w->events.count > 0) {
        struct sim_event *e = container_of(heap_min(&w->events), struct sim_event, at);
        heap_remove(&w->events, &e->at);
        if (e->fn == deliver)
            mem_free(container_of(e, struct message, event));
    }
}

bool reply_next(struct str *at, struct reply_token *ret)
{
    if (at->len == 0)
        return false;
    const char *end = at->ptr + at->len, *line = memchr(at->ptr, '\r', at->len);
    if (!line)
        return false;
    *ret = (struct reply_token){.type = at->ptr[0]};
    ret->text = str_make(at->ptr + 1, (size_t)(line - at->ptr) - 1);
    if (str_to_i64(ret->text, &ret->number))
        ret->number = 0;
    line += 2;
    if (ret->type == '$' && ret->number >= 0) {
        ret->text = str_make(line, (size_t)ret->number);
        line += ret->number + 2;
        if (str_to_i64(ret->text, &ret->number))
            ret->number = -1;
    }
    *at = str_make(line, (size_t)(end - line));
    return true;
}
