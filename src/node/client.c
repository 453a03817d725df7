/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's life, and answers that wait until the log has what they tell. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/presence.h"
#include "node/state.h"

#include <unistd.h>

/* Before a password was given, nobody may make us keep much. */
static const struct resp_limits limits_open = {RESP_ARGS_MAX, RESP_BULK_BYTES_MAX};
static const struct resp_limits limits_stranger = {10, 16384};

struct reply client_reply(struct client *c)
{
    return (struct reply){.out = &c->conn.out, .resp3 = c->resp3};
}

static size_t unmarked(const struct client *c)
{
    return buf_len(&c->conn.out) - c->conn.sendable - c->marked;
}

void client_mark(struct client *c, uint64_t position)
{
    size_t bytes = c->dead ? 0 : unmarked(c);
    if (bytes == 0)
        return;
    struct client_mark *last = c->mark_count > 0 ? &c->marks[c->mark_count - 1] : NULL;
    if (last && (position <= last->position || c->mark_count == NODE_MARKS)) {
        /* Answers leave in order, so this one waits for the last one at least. */
        last->bytes += bytes;
        if (position > last->position)
            last->position = position;
    } else {
        c->marks[c->mark_count++] = (struct client_mark){position, bytes};
    }
    c->marked += bytes;
}

void client_unsay(struct client *c, size_t from)
{
    size_t marked_to = c->conn.sendable + c->marked;
    if (from < marked_to) {
        /* The answer was marked already: it is the end of the last mark. */
        struct client_mark *last = &c->marks[c->mark_count - 1];
        ensure(last->bytes >= marked_to - from);
        last->bytes -= marked_to - from;
        c->marked -= marked_to - from;
        if (last->bytes == 0)
            c->mark_count--;
    }
    buf_truncate(&c->conn.out, from);
}

/* A client that does not read its answers is not listened to until it does, and one that sends on
 * while it waits for a key not beyond a limit. */
static void flow_control(struct client *c)
{
    size_t waiting = buf_len(&c->conn.out);
    if (c->node->stopping || (c->parked && buf_len(&c->conn.in) > NODE_OUT_PAUSE_BYTES))
        return;
    if (!c->conn.paused && waiting > NODE_OUT_PAUSE_BYTES) {
        conn_pause(&c->conn);
    } else if (c->conn.paused && waiting <= NODE_OUT_PAUSE_BYTES / 2) {
        conn_resume(&c->conn);
        client_again(c);
    }
}

void client_release(struct client *c)
{
    if (c->dead)
        return;
    uint64_t ack = store_ack_position(c->node->store);
    size_t free = 0, gone = 0;
    while (gone < c->mark_count && c->marks[gone].position <= ack)
        free += c->marks[gone++].bytes;
    if (gone > 0) {
        c->mark_count -= gone;
        c->marked -= free;
        memmove(c->marks, c->marks + gone, c->mark_count * sizeof(*c->marks));
        conn_send(&c->conn, free);
    }
    bool listed = !list_empty(&c->held);
    if (c->mark_count > 0 && !listed) {
        list_push_back(&c->node->held, &c->held);
    } else if (c->mark_count == 0 && listed) {
        list_remove(&c->held);
    }
    if (c->closing && buf_len(&c->conn.out) == 0)
        client_close(c);
    else
        flow_control(c);
}

void client_again(struct client *c)
{
    if (!c->dead && list_empty(&c->again))
        list_push_back(&c->node->again, &c->again);
}

void client_close_after(struct client *c)
{
    c->closing = true;
    client_again(c);
}

static void refuse_protocol(struct client *c, const struct err *err)
{
    struct reply r = client_reply(c);
    size_t from = buf_len(&c->conn.out);
    reply_error(&r, "ERR %s", err->text);
    struct str all = buf_str(&c->conn.out);
    exec_count_error(c->node, str_make(all.ptr + from, all.len - from));
    client_mark(c, 0);
    client_close_after(c);
}

static size_t on_bytes(struct conn *conn, struct str bytes)
{
    struct client *c = container_of(conn, struct client, conn);
    struct node *n = c->node;
    struct err err;
    size_t used = 0;
    node_now_ms(n);
    node_lap_ns(n);
    c->active_ms = loop_now_ms(n->loop);
    while (used < bytes.len && !c->parked && !c->closing && !c->dead && !conn->paused) {
        size_t len;
        int rc = resp_parse(&n->request, c->authed ? &limits_open : &limits_stranger,
                            str_make(bytes.ptr + used, bytes.len - used), &len, &err);
        if (rc < 0) {
            refuse_protocol(c, &err);
            used = bytes.len;
            break;
        }
        if (rc == 0) {
            conn->in_needed = len;
            break;
        }
        if (n->request.argc > 0 &&
            exec_request(c, n->request.argc, n->request.argv) == EXEC_STALLED) {
            n->stalled = true;
            client_again(c);
            break;
        }
        used += len;
        if (!list_empty(&n->park_ready))
            park_serve(n);
        if (!c->dead && buf_len(&conn->out) > NODE_OUT_PAUSE_BYTES)
            conn_pause(conn);
    }
    /* What cannot be executed now stays with the client, except for the rest of one large command.
     */
    if (!c->dead && conn->in_needed == 0 && bytes.len - used > NODE_OUT_PAUSE_BYTES)
        conn_pause(conn);
    client_release(c);
    return used;
}

static void on_over(struct conn *conn, const struct err *err)
{
    struct client *c = container_of(conn, struct client, conn);
    if (err->code == TTG_ECLOSED && c->mark_count > 0 && !c->parked && !c->closing) {
        /* It may only have finished sending: what it asked is still answered. */
        c->closing = true;
        return;
    }
    if (err->code != TTG_ECLOSED)
        log_info("client.lost", kv_u64("client", c->id), kv_str("peer", c->peer),
                 kv_str("reason", err->text));
    client_close(c);
}

static void on_sent(struct conn *conn)
{
    client_release(container_of(conn, struct client, conn));
}

static const struct conn_handler handler = {
    .on_bytes = on_bytes,
    .on_over = on_over,
    .on_sent = on_sent,
};

static void refuse_connection(struct node *n, int fd, const char *text)
{
    n->stats.rejected_connections++;
    ssize_t written = write(fd, text, strlen(text));
    (void)written; /* it is closed either way */
    close(fd);
}

void client_accept(struct node *n, int fd, const struct net_addr *peer, struct tls *tls)
{
    char text[NET_TEXT_BYTES];
    n->stats.connections++;
    if (n->client_count >= n->clients_max) {
        refuse_connection(n, fd, "-ERR max number of clients reached\r\n");
        return;
    }
    struct client *c = mem_zalloc(sizeof(*c));
    if (!c) {
        refuse_connection(n, fd, "-OOM out of memory\r\n");
        return;
    }
    net_addr_text(peer, text);
    c->is_unix = net_addr_is_unix(peer);
    c->node = n;
    c->conn.fd = -1;
    c->id = n->boot << NODE_BOOT_SHIFT | ++n->client_ids;
    c->opened_ms = c->active_ms = loop_now_ms(n->loop);
    c->authed = !n->options.password;
    c->peer = mem_strdup(c->is_unix && n->options.unix_path ? n->options.unix_path : text);
    list_init(&c->held);
    list_init(&c->again);
    list_init(&c->presences);
    list_push_back(&n->clients, &c->link);
    n->client_count++;
    if (!c->peer || conn_open(&c->conn, n->loop, fd, tls, &handler, NODE_IN_BYTES_MAX,
                              n->options.client_out_bytes_max)) {
        if (!c->peer)
            close(fd);
        client_close(c);
    }
}

void client_close(struct client *c)
{
    struct node *n = c->node;
    if (c->dead)
        return;
    c->dead = true;
    presence_disconnected(c);
    n->stats.in_bytes += c->conn.in_bytes;
    n->stats.out_bytes += c->conn.out_bytes;
    conn_close(&c->conn);
    park_free(c);
    multi_free(c);
    watch_free(c);
    list_remove(&c->held);
    list_remove(&c->again);
    list_remove(&c->link);
    list_push_back(&n->dead, &c->link);
    n->client_count--;
}

void client_bury(struct node *n)
{
    while (!list_empty(&n->dead)) {
        struct client *c = container_of(n->dead.next, struct client, link);
        list_remove(&c->link);
        mem_free(c->peer);
        mem_free(c->name);
        mem_free(c);
    }
}

struct client *client_find(struct node *n, uint64_t id)
{
    list_each(it, &n->clients)
    {
        struct client *c = container_of(it, struct client, link);
        if (c->id == id)
            return c;
    }
    return NULL;
}
