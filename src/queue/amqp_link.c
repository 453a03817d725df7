/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/net.h"
#include "queue/amqp_link_state.h"
#include "queue/queue.h"

#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    FRAME_BYTES = 131072,
    HOST_BYTES = 65,
    CONNECT_S = 3,
    ANSWER_S = 10,
    ANSWER_SHORT_S = 2, /* of a cluster: a node that waits for one that was cut off is left */
    SLOW_MAX = 4,       /* such timeouts; then the cluster is slow altogether */
    SLOW_S = 60,        /* so long they are remembered */
    PATIENCE_MS = 2500,
};

/* --- events --- */

struct amqp_event *link_event_new(struct amqp_link *l, enum amqp_event_kind kind, size_t reason,
                                  size_t extra, size_t body)
{
    struct amqp_event *e = mem_zalloc(sizeof *e + reason + extra + body);
    ensure(e != NULL); /* nothing can be told any more without memory */
    e->kind = kind;
    e->gen = l->gen;
    e->reason = str_make(e->bytes, reason);
    e->extra = str_make(e->bytes + reason, extra);
    e->body = str_make(e->bytes + reason + extra, body);
    return e;
}

void link_fill(struct str to, struct str from)
{
    if (from.len > 0)
        memcpy((char *)(uintptr_t)to.ptr, from.ptr, from.len);
}

void link_event_put(struct amqp_link *l, struct amqp_event *e)
{
    list_push_back(&l->events, &e->link);
}

void link_tell(struct amqp_link *l, enum amqp_event_kind kind, uint64_t id, int rc,
               const char *text)
{
    struct str s = str_of(text);
    struct amqp_event *e = link_event_new(l, kind, 0, 0, s.len);
    e->id = id;
    e->rc = rc;
    link_fill(e->body, s);
    link_event_put(l, e);
}

/* --- what the broker says --- */

/* A queue whose node is away for now, or a vhost that is just starting: not a mistake of ours. */
static bool passes_by(struct str text)
{
    static const char *const signs[] = {"is down", "down or inaccessible", "timeout", "timed out"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (memmem(text.ptr, text.len, signs[i], strlen(signs[i])))
            return true;
    return false;
}

static int code_of(int amqp_code, struct str text)
{
    if (passes_by(text))
        return TTG_ECLOSED;
    switch (amqp_code) {
    case AMQP_ACCESS_REFUSED:
        return TTG_EAUTH;
    case AMQP_NOT_FOUND:
        return TTG_ENOENT;
    case AMQP_RESOURCE_LOCKED:
        return TTG_EBUSY;
    case AMQP_PRECONDITION_FAILED:
    case AMQP_NOT_ALLOWED:
        return TTG_EUSAGE;
    default:
        return TTG_ECLOSED;
    }
}

int link_explain(amqp_rpc_reply_t r, struct err *err)
{
    int code;
    amqp_bytes_t text;
    switch (r.reply_type) {
    case AMQP_RESPONSE_NORMAL:
        return 0;
    case AMQP_RESPONSE_NONE:
        return err_set(err, TTG_ECLOSED, "the broker closed the connection");
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
        return err_set(err,
                       r.library_error == AMQP_STATUS_SSL_PEER_VERIFY_FAILED ||
                               r.library_error == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED
                           ? TTG_EAUTH
                           : TTG_ECLOSED,
                       "%s", amqp_error_string2(r.library_error));
    case AMQP_RESPONSE_SERVER_EXCEPTION:
        break;
    }
    if (r.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        amqp_connection_close_t *m = r.reply.decoded;
        code = m->reply_code;
        text = m->reply_text;
    } else if (r.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_t *m = r.reply.decoded;
        code = m->reply_code;
        text = m->reply_text;
    } else {
        return err_set(err, TTG_EPROTO, "an answer that does not belong here: method %08x",
                       r.reply.id);
    }
    struct str words = str_make(text.bytes, text.len);
    return err_set(err, code_of(code, words), "the broker says: %d %.*s", code, STR_ARG(words));
}

int link_answer(struct amqp_link *l, amqp_rpc_reply_t r, struct err *err)
{
    if (r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && r.library_error == AMQP_STATUS_TIMEOUT) {
        l->slow_count++;
        l->slow_at_s = link_now_s();
    }
    return link_explain(r, err);
}

/* --- the connection --- */

static void disconnect(struct amqp_link *l)
{
    if (!l->conn)
        return;
    amqp_destroy_connection(l->conn);
    l->conn = NULL;
    l->blocked = l->replies = false;
    l->confirm_count = 0;
    l->confirm_base = 1;
    l->refused_since_s = l->refused_s = 0;
    l->tags.first = l->tags.count = l->tags.held = 0;
    amqp_event_free(l->in.event);
    memset(&l->in, 0, sizeof l->in);
}

void link_cut(struct amqp_link *l, const struct err *why)
{
    if (!l->conn)
        return;
    disconnect(l);
    link_tell(l, AMQP_DOWN, 0, why->code, why->text);
}

void link_cut_status(struct amqp_link *l, int status)
{
    struct err err;
    err_set(&err, TTG_ECLOSED, "%s", amqp_error_string2(status));
    link_cut(l, &err);
}

void link_be_patient(struct amqp_link *l, bool yes)
{
    net_set_patience(amqp_get_sockfd(l->conn), yes ? 0 : PATIENCE_MS);
}

void link_wait_long(struct amqp_link *l, bool yes)
{
    struct timeval limit = {.tv_sec = yes ? ANSWER_S : l->answer_s};
    if (l->conn)
        amqp_set_rpc_timeout(l->conn, &limit);
}

static int open_socket(struct amqp_link *l, const char *host, int port, struct err *err)
{
    const struct queue_config *c = l->config;
    struct timeval limit = {.tv_sec = CONNECT_S};
    amqp_socket_t *s = c->url->tls ? amqp_ssl_socket_new(l->conn) : amqp_tcp_socket_new(l->conn);
    if (!s)
        return err_set(err, TTG_ENOMEM, "out of memory");
    int status = 0;
    if (c->url->tls) {
        amqp_ssl_socket_set_verify_peer(s, !c->tls_no_verify);
        amqp_ssl_socket_set_verify_hostname(s, !c->tls_no_verify);
        const char *ca = c->tls_ca ? c->tls_ca : "/etc/ssl/certs/ca-certificates.crt";
        if (!c->tls_no_verify || c->tls_ca)
            status = amqp_ssl_socket_set_cacert(s, ca);
        if (!status && c->tls_cert)
            status = amqp_ssl_socket_set_key(s, c->tls_cert, c->tls_key);
        if (status)
            return err_set(err, TTG_EINVAL, "the certificates cannot be used: %s",
                           amqp_error_string2(status));
    }
    status = amqp_socket_open_noblock(s, host, port, &limit);
    bool untrusted = status == AMQP_STATUS_SSL_PEER_VERIFY_FAILED ||
                     status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED;
    return status ? err_set(err, untrusted ? TTG_EAUTH : TTG_EUNREACH, "%s:%d: %s", host, port,
                            amqp_error_string2(status))
                  : 0;
}

static int login(struct amqp_link *l, struct err *err)
{
    const struct url *u = l->config->url;
    amqp_table_entry_t can[] = {
        {.key = amqp_cstring_bytes("connection.blocked"),
         .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}},
        {.key = amqp_cstring_bytes("consumer_cancel_notify"),
         .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}},
    };
    const char *name = l->config->client_name ? l->config->client_name : "ttg";
    char host[HOST_BYTES] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    amqp_table_entry_t entries[] = {
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {2, can}}},
        {.key = amqp_cstring_bytes("connection_name"),
         .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(name)}},
        {.key = amqp_cstring_bytes("host"), /* for people who look at the broker, or a monitor */
         .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(host)}},
    };
    amqp_table_t properties = {3, entries};
    amqp_rpc_reply_t r = amqp_login_with_properties(
        l->conn, u->path, 0, FRAME_BYTES, AMQP_HEARTBEAT_S, &properties, AMQP_SASL_METHOD_PLAIN,
        u->user ? u->user : "guest", u->password ? u->password : "guest");
    int rc = link_explain(r, err);
    for (amqp_channel_t ch = 1; !rc && ch <= CHANNELS; ch++) {
        amqp_channel_open(l->conn, ch);
        rc = link_explain(amqp_get_rpc_reply(l->conn), err);
    }
    if (!rc) {
        amqp_confirm_select(l->conn, CH_MAIN);
        rc = link_explain(amqp_get_rpc_reply(l->conn), err);
    }
    return rc;
}

/* "3.10.8" as 31008; 0: it does not say. */
static uint64_t server_version(struct amqp_link *l)
{
    const amqp_table_t *t = amqp_get_server_properties(l->conn);
    unsigned a = 0, b = 0, c = 0;
    char text[32];
    for (int i = 0; t && i < t->num_entries; i++) {
        const amqp_table_entry_t *e = &t->entries[i];
        if (!str_eq(str_make(e->key.bytes, e->key.len), STR("version")) ||
            e->value.kind != AMQP_FIELD_KIND_UTF8)
            continue;
        snprintf(text, sizeof text, "%.*s", (int)e->value.value.bytes.len,
                 (const char *)e->value.value.bytes.bytes);
        if (sscanf(text, "%u.%u.%u", &a, &b, &c) < 2)
            return 0;
    }
    return a * 10000UL + b * 100UL + c;
}

void amqp_link_connect(struct amqp_link *l, const struct amqp_call *call)
{
    const struct url *u = l->config->url;
    size_t i = call->number % u->host_count;
    struct timeval greeting = {.tv_sec = CONNECT_S};
    struct err err = {0};
    disconnect(l);
    if (link_now_s() > l->slow_at_s + SLOW_S)
        l->slow_count = 0;
    l->answer_s = u->host_count > 1 && l->slow_count < SLOW_MAX ? ANSWER_SHORT_S : ANSWER_S;
    l->gen = call->gen;
    l->conn = amqp_new_connection();
    l->confirm_base = 1;
    if (!l->conn) {
        link_tell(l, AMQP_DOWN, 0, TTG_ENOMEM, "out of memory");
        return;
    }
    amqp_set_handshake_timeout(l->conn, &greeting);
    link_wait_long(l, false);
    int rc = open_socket(l, u->hosts[i].name, u->hosts[i].port, &err);
    if (!rc) {
        link_be_patient(l, false);
        rc = login(l, &err);
    }
    if (rc) {
        link_cut(l, &err);
        return;
    }
    struct amqp_event *e = link_event_new(l, AMQP_UP, 0, 0, 0);
    e->count = l->version = server_version(l);
    link_event_put(l, e);
}

/* --- life --- */

struct amqp_link *amqp_link_new(const struct queue_config *config)
{
    struct amqp_link *l = mem_zalloc(sizeof *l);
    if (!l)
        return NULL;
    l->config = config;
    list_init(&l->events);
    return l;
}

void amqp_link_close(struct amqp_link *l)
{
    if (l->conn && !l->blocked)
        amqp_connection_close(l->conn, AMQP_REPLY_SUCCESS);
    disconnect(l);
    for (struct list *it; (it = list_first(&l->events));) {
        list_remove(it);
        amqp_event_free(container_of(it, struct amqp_event, link));
    }
    mem_free(l->confirms);
    mem_free(l->tags.all);
    mem_free(l);
}

int amqp_link_fd(const struct amqp_link *l)
{
    return l->conn ? amqp_get_sockfd(l->conn) : -1;
}

bool amqp_link_has_more(const struct amqp_link *l)
{
    return l->conn && (amqp_data_in_buffer(l->conn) || amqp_frames_enqueued(l->conn));
}

bool amqp_link_blocked(const struct amqp_link *l, uint64_t gen)
{
    return l->blocked && l->gen == gen;
}

struct list *amqp_link_events(struct amqp_link *l)
{
    return &l->events;
}
