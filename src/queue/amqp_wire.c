/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/amqp_wire.h"

#include "base/ensure.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/realclock.h"
#include "queue/queue.h"

#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CH_MAIN = 1,
    CH_ASK = 2,
    FRAME_BYTES = 131072,
    BODY_BYTES_MAX = 512 << 20, /* what a broker takes at most */
    CONNECT_S = 5,
    ANSWER_S = 10,
    CLOSE_S = 3,       /* then a thread that hangs in a write is cut off */
    IDLE_MS = 500,     /* heartbeats need a look now and then */
    FRAMES_MAX = 2000, /* before calls have their turn */
};

struct posted {
    struct list link;
    struct amqp_call call;
    char bytes[];
};

struct amqp_wire {
    const struct queue_config *config;
    struct loop_async *news;
    pthread_t thread;
    pthread_mutex_t lock;
    int wake;
    /* under the lock */
    struct list calls, events;
    bool stop;
    int fd; /* of the connection, -1 */

    /* the thread's */
    amqp_connection_state_t conn;
    uint64_t gen;
    struct list fresh, held; /* events not handed over yet; publishing while blocked */
    bool blocked;
    uint64_t *confirms; /* ids by publishing number, from confirm_base on; 0: confirmed */
    size_t confirm_count, confirm_cap;
    uint64_t confirm_base;
    struct {
        amqp_method_number_t method;
        struct amqp_event *event;
        size_t want, have;
        uint64_t tag;
        bool redelivered, heard;
    } in; /* the delivery being put together */
};

void amqp_event_free(struct amqp_event *e)
{
    mem_free(e);
}

/* --- events --- */

static struct amqp_event *event_new(struct amqp_wire *w, enum amqp_event_kind kind, size_t reason,
                                    size_t body)
{
    struct amqp_event *e = mem_zalloc(sizeof *e + reason + body);
    ensure(e != NULL); /* nothing can be told any more without memory */
    e->kind = kind;
    e->gen = w->gen;
    e->reason = str_make(e->bytes, reason);
    e->body = str_make(e->bytes + reason, body);
    return e;
}

static void event_put(struct amqp_wire *w, struct amqp_event *e)
{
    list_push_back(&w->fresh, &e->link);
}

static void tell(struct amqp_wire *w, enum amqp_event_kind kind, uint64_t id, int rc,
                 const char *text)
{
    size_t len = text ? strlen(text) : 0;
    struct amqp_event *e = event_new(w, kind, 0, len);
    e->id = id;
    e->rc = rc;
    if (len)
        memcpy((char *)(uintptr_t)e->body.ptr, text, len);
    event_put(w, e);
}

static void hand_over(struct amqp_wire *w)
{
    if (list_empty(&w->fresh))
        return;
    pthread_mutex_lock(&w->lock);
    for (struct list *it; (it = list_first(&w->fresh));) {
        list_remove(it);
        list_push_back(&w->events, it);
    }
    pthread_mutex_unlock(&w->lock);
    loop_async_send(w->news);
}

/* --- what the broker says --- */

static int code_of(int amqp_code)
{
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

static int explain(amqp_rpc_reply_t r, struct err *err)
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
    return err_set(err, code_of(code), "the broker says: %.*s", (int)text.len,
                   (const char *)text.bytes);
}

/* --- the connection --- */

static void set_fd(struct amqp_wire *w, int fd)
{
    pthread_mutex_lock(&w->lock);
    w->fd = fd;
    pthread_mutex_unlock(&w->lock);
}

static void drop_held(struct amqp_wire *w)
{
    list_each(it, &w->held)
    {
        list_remove(it);
        mem_free(container_of(it, struct posted, link));
    }
}

static void disconnect(struct amqp_wire *w)
{
    if (!w->conn)
        return;
    set_fd(w, -1);
    amqp_destroy_connection(w->conn);
    w->conn = NULL;
    w->blocked = false;
    w->confirm_count = 0;
    w->confirm_base = 1;
    amqp_event_free(w->in.event);
    memset(&w->in, 0, sizeof w->in);
    drop_held(w);
}

static void cut(struct amqp_wire *w, const struct err *why)
{
    if (!w->conn)
        return;
    disconnect(w);
    tell(w, AMQP_DOWN, 0, why->code, why->text);
}

static void cut_status(struct amqp_wire *w, int status)
{
    struct err err;
    err_set(&err, TTG_ECLOSED, "%s", amqp_error_string2(status));
    cut(w, &err);
}

static int open_socket(struct amqp_wire *w, const char *host, int port, struct err *err)
{
    const struct queue_config *c = w->config;
    struct timeval limit = {.tv_sec = CONNECT_S};
    amqp_socket_t *s = c->url->tls ? amqp_ssl_socket_new(w->conn) : amqp_tcp_socket_new(w->conn);
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
    return status ? err_set(err, TTG_EUNREACH, "%s:%d: %s", host, port, amqp_error_string2(status))
                  : 0;
}

static int login(struct amqp_wire *w, struct err *err)
{
    const struct url *u = w->config->url;
    amqp_table_entry_t can = {.key = amqp_cstring_bytes("connection.blocked"),
                              .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
    const char *name = w->config->client_name ? w->config->client_name : "ttg";
    amqp_table_entry_t entries[] = {
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {1, &can}}},
        {.key = amqp_cstring_bytes("connection_name"),
         .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(name)}},
    };
    amqp_table_t properties = {2, entries};
    amqp_rpc_reply_t r = amqp_login_with_properties(
        w->conn, u->path, 0, FRAME_BYTES, AMQP_HEARTBEAT_S, &properties, AMQP_SASL_METHOD_PLAIN,
        u->user ? u->user : "guest", u->password ? u->password : "guest");
    int rc = explain(r, err);
    if (!rc) {
        amqp_channel_open(w->conn, CH_MAIN);
        rc = explain(amqp_get_rpc_reply(w->conn), err);
    }
    if (!rc) {
        amqp_channel_open(w->conn, CH_ASK);
        rc = explain(amqp_get_rpc_reply(w->conn), err);
    }
    if (!rc) {
        amqp_confirm_select(w->conn, CH_MAIN);
        rc = explain(amqp_get_rpc_reply(w->conn), err);
    }
    return rc;
}

static void connect_to(struct amqp_wire *w, const struct amqp_call *call)
{
    const struct url *u = w->config->url;
    size_t i = call->number % u->host_count;
    struct timeval answer = {.tv_sec = ANSWER_S}, greeting = {.tv_sec = CONNECT_S};
    struct err err = {0};
    disconnect(w);
    w->gen = call->gen;
    w->conn = amqp_new_connection();
    w->confirm_base = 1;
    if (!w->conn) {
        tell(w, AMQP_DOWN, 0, TTG_ENOMEM, "out of memory");
        return;
    }
    amqp_set_handshake_timeout(w->conn, &greeting);
    amqp_set_rpc_timeout(w->conn, &answer);
    int rc = open_socket(w, u->hosts[i].name, u->hosts[i].port, &err);
    if (!rc)
        rc = login(w, &err);
    if (rc) {
        cut(w, &err);
        return;
    }
    set_fd(w, amqp_get_sockfd(w->conn));
    tell(w, AMQP_UP, 0, 0, NULL);
}

/* --- calls on channel 2 --- */

static amqp_bytes_t bytes_of(struct str s)
{
    return (amqp_bytes_t){.len = s.len, .bytes = (void *)(uintptr_t)s.ptr};
}

/* After an answer on channel 2: a refusal closed it, so it is opened again. */
static int asked(struct amqp_wire *w, const struct amqp_call *c)
{
    struct err err = {0};
    amqp_rpc_reply_t r = amqp_get_rpc_reply(w->conn);
    int rc = explain(r, &err);
    if (rc && r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
        r.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_ok_t ok = {0};
        amqp_send_method(w->conn, CH_ASK, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
        amqp_channel_open(w->conn, CH_ASK);
        if (explain(amqp_get_rpc_reply(w->conn), &err) == 0) {
            if (c->id)
                tell(w, AMQP_DONE, c->id, rc, err.text);
            return rc;
        }
    }
    if (rc)
        cut(w, &err);
    return rc;
}

static void declare(struct amqp_wire *w, const struct amqp_call *c)
{
    amqp_table_entry_t entries[3];
    int n = 0;
    if (c->number > 0)
        entries[n++] = (amqp_table_entry_t){
            .key = amqp_cstring_bytes("x-message-ttl"),
            .value = {.kind = AMQP_FIELD_KIND_I32, .value.i32 = (int32_t)c->number}};
    if (c->dead_to.len > 0) {
        entries[n++] = (amqp_table_entry_t){
            .key = amqp_cstring_bytes("x-dead-letter-exchange"),
            .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_empty_bytes}};
        entries[n++] = (amqp_table_entry_t){
            .key = amqp_cstring_bytes("x-dead-letter-routing-key"),
            .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(c->dead_to)}};
    }
    bool exclusive = c->flags & AMQP_EXCLUSIVE;
    amqp_table_t arguments = {n, entries};
    amqp_queue_declare_ok_t *ok = amqp_queue_declare(w->conn, CH_ASK, bytes_of(c->queue), 0,
                                                     !exclusive, exclusive, exclusive, arguments);
    uint64_t count = ok ? ok->message_count : 0;
    if (asked(w, c) == 0 && c->id) {
        struct amqp_event *e = event_new(w, AMQP_DONE, 0, 0);
        e->id = c->id;
        e->count = count;
        event_put(w, e);
    }
}

static struct str header_text(const amqp_basic_properties_t *p, uint64_t *ret_attempt)
{
    struct str reason = STR("");
    *ret_attempt = 0;
    if (!(p->_flags & AMQP_BASIC_HEADERS_FLAG))
        return reason;
    for (int i = 0; i < p->headers.num_entries; i++) {
        const amqp_table_entry_t *t = &p->headers.entries[i];
        struct str key = str_make(t->key.bytes, t->key.len);
        if (str_eq(key, STR("x-ttg-attempt")) && t->value.kind == AMQP_FIELD_KIND_I64)
            *ret_attempt = t->value.value.i64 > 0 ? (uint64_t)t->value.value.i64 : 0;
        else if (str_eq(key, STR("x-ttg-attempt")) && t->value.kind == AMQP_FIELD_KIND_I32)
            *ret_attempt = t->value.value.i32 > 0 ? (uint64_t)t->value.value.i32 : 0;
        else if (str_eq(key, STR("x-ttg-reason")) && t->value.kind == AMQP_FIELD_KIND_UTF8)
            reason = str_make(t->value.value.bytes.bytes, t->value.value.bytes.len);
    }
    return reason;
}

static void get(struct amqp_wire *w, const struct amqp_call *c)
{
    struct err err = {0};
    amqp_rpc_reply_t r = amqp_basic_get(w->conn, CH_ASK, bytes_of(c->queue), 0);
    if (r.reply_type != AMQP_RESPONSE_NORMAL) {
        asked(w, c);
        return;
    }
    if (r.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) {
        tell(w, AMQP_DONE, c->id, 0, NULL);
        return;
    }
    amqp_basic_get_ok_t *ok = r.reply.decoded;
    uint64_t tag = ok->delivery_tag, count = ok->message_count, attempt;
    amqp_message_t m;
    if (explain(amqp_read_message(w->conn, CH_ASK, &m, 0), &err)) {
        cut(w, &err);
        return;
    }
    struct str reason = header_text(&m.properties, &attempt);
    struct amqp_event *e = event_new(w, AMQP_DONE, reason.len, m.body.len);
    memcpy((char *)(uintptr_t)e->reason.ptr, reason.ptr, reason.len);
    memcpy((char *)(uintptr_t)e->body.ptr, m.body.bytes, m.body.len);
    e->id = c->id;
    e->tag = tag;
    e->count = count;
    e->attempt = attempt;
    e->found = true;
    event_put(w, e);
    amqp_destroy_message(&m);
}

static void listen_to(struct amqp_wire *w, const struct amqp_call *c)
{
    char name[AMQP_NAME_BYTES * 2];
    struct err err = {0};
    amqp_queue_declare_ok_t *q =
        amqp_queue_declare(w->conn, CH_ASK, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
    if (q)
        snprintf(name, sizeof name, "%.*s", (int)q->queue.len, (const char *)q->queue.bytes);
    if (asked(w, c))
        return;
    amqp_queue_bind(w->conn, CH_ASK, amqp_cstring_bytes(name), amqp_cstring_bytes("amq.direct"),
                    bytes_of(c->queue), amqp_empty_table);
    if (asked(w, c))
        return;
    amqp_basic_consume(w->conn, CH_MAIN, amqp_cstring_bytes(name), amqp_cstring_bytes("ttg-heard"),
                       0, 1, 1, amqp_empty_table);
    if (explain(amqp_get_rpc_reply(w->conn), &err))
        cut(w, &err);
    else if (c->id)
        tell(w, AMQP_DONE, c->id, 0, NULL);
}

static amqp_bytes_t consumer_tag(uint64_t number, char text[32])
{
    snprintf(text, 32, "ttg-%llu", (unsigned long long)number);
    return amqp_cstring_bytes(text);
}

static void consume(struct amqp_wire *w, const struct amqp_call *c)
{
    char tag[32];
    struct err err = {0};
    amqp_basic_qos(w->conn, CH_MAIN, 0, (uint16_t)c->number, 0);
    int rc = explain(amqp_get_rpc_reply(w->conn), &err);
    if (!rc) {
        amqp_basic_consume(w->conn, CH_MAIN, bytes_of(c->queue), consumer_tag(c->tag, tag), 0, 0, 0,
                           amqp_empty_table);
        rc = explain(amqp_get_rpc_reply(w->conn), &err);
    }
    if (rc)
        cut(w, &err);
    else if (c->id)
        tell(w, AMQP_DONE, c->id, 0, NULL);
}

static void cancel(struct amqp_wire *w, const struct amqp_call *c)
{
    char tag[32];
    struct err err = {0};
    amqp_basic_cancel(w->conn, CH_MAIN, consumer_tag(c->tag, tag));
    if (explain(amqp_get_rpc_reply(w->conn), &err))
        cut(w, &err);
    else if (c->id)
        tell(w, AMQP_DONE, c->id, 0, NULL);
}

/* --- publishing and its confirms --- */

static int note_confirm(struct amqp_wire *w, uint64_t id)
{
    if (w->confirm_count == w->confirm_cap) {
        size_t cap = w->confirm_cap ? w->confirm_cap * 2 : 256;
        uint64_t *more = mem_realloc(w->confirms, cap * sizeof *more);
        if (!more)
            return TTG_ENOMEM;
        w->confirms = more;
        w->confirm_cap = cap;
    }
    w->confirms[w->confirm_count++] = id;
    return 0;
}

static void publish(struct amqp_wire *w, const struct amqp_call *c)
{
    bool announce = c->op == AMQP_ANNOUNCE;
    amqp_table_entry_t entries[2];
    int n = 0;
    if (c->attempt > 0)
        entries[n++] = (amqp_table_entry_t){
            .key = amqp_cstring_bytes("x-ttg-attempt"),
            .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = (int64_t)c->attempt}};
    if (c->reason.len > 0)
        entries[n++] = (amqp_table_entry_t){
            .key = amqp_cstring_bytes("x-ttg-reason"),
            .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(c->reason)}};
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
                                           AMQP_BASIC_DELIVERY_MODE_FLAG |
                                           (n ? AMQP_BASIC_HEADERS_FLAG : 0),
                                 .content_type = amqp_cstring_bytes("application/json"),
                                 .delivery_mode = 2,
                                 .headers = {n, entries}};
    if (note_confirm(w, c->id)) {
        cut_status(w, AMQP_STATUS_NO_MEMORY);
        return;
    }
    int status = amqp_basic_publish(w->conn, CH_MAIN,
                                    announce ? amqp_cstring_bytes("amq.direct") : amqp_empty_bytes,
                                    bytes_of(c->queue), !announce, 0, &p, bytes_of(c->body));
    if (status)
        cut_status(w, status);
}

static void confirmed(struct amqp_wire *w, uint64_t tag, bool multiple, int rc)
{
    if (tag < w->confirm_base || tag - w->confirm_base >= w->confirm_count)
        return;
    size_t at = (size_t)(tag - w->confirm_base);
    for (size_t i = multiple ? 0 : at; i <= at; i++) {
        if (w->confirms[i] > 0)
            tell(w, AMQP_DONE, w->confirms[i], rc, rc ? "the broker could not keep it" : NULL);
        w->confirms[i] = UINT64_MAX; /* answered */
    }
    size_t gone = 0;
    while (gone < w->confirm_count && w->confirms[gone] == UINT64_MAX)
        gone++;
    if (gone > 0) {
        w->confirm_count -= gone;
        w->confirm_base += gone;
        memmove(w->confirms, w->confirms + gone, w->confirm_count * sizeof *w->confirms);
    }
}

static void settle(struct amqp_wire *w, const struct amqp_call *c)
{
    amqp_channel_t channel = c->flags & AMQP_ON_GET ? CH_ASK : CH_MAIN;
    bool multiple = c->flags & AMQP_MULTIPLE;
    int status = c->op == AMQP_ACK ? amqp_basic_ack(w->conn, channel, c->tag, multiple)
                                   : amqp_basic_nack(w->conn, channel, c->tag, multiple, 1);
    if (status)
        cut_status(w, status);
}

static void run_call(struct amqp_wire *w, const struct amqp_call *c)
{
    if (c->op == AMQP_CONNECT) {
        connect_to(w, c);
        return;
    }
    if (!w->conn || c->gen != w->gen)
        return; /* the connection it was for has gone, and AMQP_DOWN told so */
    switch (c->op) {
    case AMQP_DECLARE:
        declare(w, c);
        break;
    case AMQP_DELETE:
        amqp_queue_delete(w->conn, CH_ASK, bytes_of(c->queue), 0, 0);
        if (asked(w, c) == 0 && c->id)
            tell(w, AMQP_DONE, c->id, 0, NULL);
        break;
    case AMQP_PURGE:
        amqp_queue_purge(w->conn, CH_ASK, bytes_of(c->queue));
        if (asked(w, c) == 0 && c->id)
            tell(w, AMQP_DONE, c->id, 0, NULL);
        break;
    case AMQP_GET:
        get(w, c);
        break;
    case AMQP_LISTEN:
        listen_to(w, c);
        break;
    case AMQP_CONSUME:
        consume(w, c);
        break;
    case AMQP_CANCEL:
        cancel(w, c);
        break;
    case AMQP_PUBLISH:
    case AMQP_ANNOUNCE:
        publish(w, c);
        break;
    case AMQP_ACK:
    case AMQP_NACK:
        settle(w, c);
        break;
    case AMQP_CONNECT:
        break;
    }
}

/* --- frames --- */

static void on_method(struct amqp_wire *w, const amqp_method_t *m)
{
    struct err err;
    amqp_rpc_reply_t r = {.reply_type = AMQP_RESPONSE_SERVER_EXCEPTION, .reply = *m};
    switch (m->id) {
    case AMQP_BASIC_DELIVER_METHOD: {
        amqp_basic_deliver_t *d = m->decoded;
        w->in.method = m->id;
        w->in.tag = d->delivery_tag;
        w->in.redelivered = d->redelivered;
        w->in.heard =
            str_eq(str_make(d->consumer_tag.bytes, d->consumer_tag.len), STR("ttg-heard"));
        break;
    }
    case AMQP_BASIC_RETURN_METHOD: /* mandatory: no such queue; the confirm follows */
        w->in.method = m->id;
        break;
    case AMQP_BASIC_ACK_METHOD: {
        amqp_basic_ack_t *a = m->decoded;
        confirmed(w, a->delivery_tag, a->multiple, 0);
        break;
    }
    case AMQP_BASIC_NACK_METHOD: {
        amqp_basic_nack_t *a = m->decoded;
        confirmed(w, a->delivery_tag, a->multiple, TTG_EFULL);
        break;
    }
    case AMQP_CONNECTION_BLOCKED_METHOD: {
        amqp_connection_blocked_t *b = m->decoded;
        char text[200];
        snprintf(text, sizeof text, "%.*s", (int)b->reason.len, (const char *)b->reason.bytes);
        w->blocked = true;
        tell(w, AMQP_BLOCKED, 0, 0, text);
        break;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        w->blocked = false;
        tell(w, AMQP_UNBLOCKED, 0, 0, NULL);
        break;
    case AMQP_BASIC_CANCEL_METHOD: /* the queue was deleted, or its node went */
        err_set(&err, TTG_ECLOSED, "the broker canceled the consumer: the queue has gone");
        cut(w, &err);
        break;
    case AMQP_CHANNEL_CLOSE_METHOD:
    case AMQP_CONNECTION_CLOSE_METHOD:
        explain(r, &err);
        cut(w, &err);
        break;
    default:
        break;
    }
}

static void delivery_end(struct amqp_wire *w)
{
    struct amqp_event *e = w->in.event;
    w->in.event = NULL;
    bool returned = w->in.method == AMQP_BASIC_RETURN_METHOD;
    w->in.method = 0;
    if (returned) {
        struct err err;
        amqp_event_free(e);
        err_set(&err, TTG_ECLOSED, "a queue of the job has gone");
        cut(w, &err);
        return;
    }
    event_put(w, e);
}

static void on_frame(struct amqp_wire *w, const amqp_frame_t *f)
{
    if (f->frame_type == AMQP_FRAME_METHOD) {
        on_method(w, &f->payload.method);
    } else if (f->frame_type == AMQP_FRAME_HEADER && w->in.method) {
        uint64_t attempt;
        if (f->payload.properties.body_size > BODY_BYTES_MAX) {
            cut_status(w, AMQP_STATUS_BAD_AMQP_DATA);
            return;
        }
        struct str reason = header_text(f->payload.properties.decoded, &attempt);
        w->in.want = (size_t)f->payload.properties.body_size;
        w->in.have = 0;
        w->in.event =
            event_new(w, w->in.heard ? AMQP_HEARD : AMQP_DELIVERY, reason.len, w->in.want);
        memcpy((char *)(uintptr_t)w->in.event->reason.ptr, reason.ptr, reason.len);
        w->in.event->attempt = attempt;
        w->in.event->tag = w->in.tag;
        w->in.event->redelivered = w->in.redelivered;
        if (w->in.want == 0)
            delivery_end(w);
    } else if (f->frame_type == AMQP_FRAME_BODY && w->in.event) {
        size_t len = f->payload.body_fragment.len;
        if (len > w->in.want - w->in.have)
            len = w->in.want - w->in.have;
        memcpy((char *)(uintptr_t)w->in.event->body.ptr + w->in.have,
               f->payload.body_fragment.bytes, len);
        w->in.have += len;
        if (w->in.have == w->in.want)
            delivery_end(w);
    }
}

static void read_frames(struct amqp_wire *w)
{
    for (int i = 0; w->conn && i < FRAMES_MAX; i++) {
        struct timeval now = {0};
        amqp_frame_t frame;
        amqp_maybe_release_buffers(w->conn);
        int status = amqp_simple_wait_frame_noblock(w->conn, &frame, &now);
        if (status == AMQP_STATUS_TIMEOUT)
            return;
        if (status)
            cut_status(w, status);
        else
            on_frame(w, &frame);
    }
}

/* --- the thread --- */

/* False: stop. */
static bool run_calls(struct amqp_wire *w)
{
    struct list todo;
    list_init(&todo);
    if (!w->blocked)
        for (struct list *it; (it = list_first(&w->held));) {
            list_remove(it);
            list_push_back(&todo, it);
        }
    pthread_mutex_lock(&w->lock);
    for (struct list *it; (it = list_first(&w->calls));) {
        list_remove(it);
        list_push_back(&todo, it);
    }
    bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    for (struct list *it; (it = list_first(&todo));) {
        struct posted *p = container_of(it, struct posted, link);
        list_remove(it);
        bool publishes = p->call.op == AMQP_PUBLISH || p->call.op == AMQP_ANNOUNCE;
        if (publishes && w->blocked && p->call.gen == w->gen) {
            list_push_back(&w->held, it);
            continue;
        }
        run_call(w, &p->call);
        mem_free(p);
    }
    return !stop;
}

static void wait_for_something(struct amqp_wire *w)
{
    struct pollfd fds[2] = {{.fd = w->wake, .events = POLLIN},
                            {.fd = w->conn ? amqp_get_sockfd(w->conn) : -1, .events = POLLIN}};
    uint64_t count;
    bool waiting = w->conn && (amqp_data_in_buffer(w->conn) || amqp_frames_enqueued(w->conn));
    if (poll(fds, 2, waiting ? 0 : IDLE_MS) > 0 && (fds[0].revents & POLLIN) &&
        read(w->wake, &count, sizeof count) < 0)
        return; /* somebody else's signal; the next turn looks again */
}

static void *thread_main(void *arg)
{
    struct amqp_wire *w = arg;
    while (run_calls(w)) {
        read_frames(w);
        hand_over(w);
        wait_for_something(w);
    }
    if (w->conn && !w->blocked)
        amqp_connection_close(w->conn, AMQP_REPLY_SUCCESS);
    disconnect(w);
    return NULL;
}

static void poke(struct amqp_wire *w)
{
    uint64_t one = 1;
    ssize_t n = write(w->wake, &one, sizeof one);
    (void)n; /* full: it is awake already */
}

/* --- the owner's side --- */

int amqp_wire_open(struct amqp_wire **ret_wire, const struct queue_config *config,
                   struct loop_async *news, struct err *err)
{
    struct amqp_wire *w = mem_zalloc(sizeof *w);
    sigset_t all, old;
    if (!w)
        return err_set(err, TTG_ENOMEM, "out of memory");
    w->config = config;
    w->news = news;
    w->fd = -1;
    list_init(&w->calls);
    list_init(&w->events);
    list_init(&w->fresh);
    list_init(&w->held);
    pthread_mutex_init(&w->lock, NULL);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the loop's */
    int rc = w->wake < 0 ? errno : pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        if (w->wake >= 0)
            close(w->wake);
        mem_free(w);
        return err_set_errno(err, rc, "cannot start a thread");
    }
    *ret_wire = w;
    return 0;
}

int amqp_wire_post(struct amqp_wire *w, const struct amqp_call *call)
{
    struct str *views[] = {NULL, NULL, NULL, NULL};
    size_t bytes = call->queue.len + call->dead_to.len + call->reason.len + call->body.len, at = 0;
    struct posted *p = mem_alloc(sizeof *p + bytes);
    if (!p)
        return TTG_ENOMEM;
    p->call = *call;
    list_init(&p->link);
    views[0] = &p->call.queue;
    views[1] = &p->call.dead_to;
    views[2] = &p->call.reason;
    views[3] = &p->call.body;
    for (int i = 0; i < 4; i++) {
        if (views[i]->len > 0)
            memcpy(p->bytes + at, views[i]->ptr, views[i]->len);
        views[i]->ptr = p->bytes + at;
        at += views[i]->len;
    }
    pthread_mutex_lock(&w->lock);
    bool first = list_empty(&w->calls);
    list_push_back(&w->calls, &p->link);
    pthread_mutex_unlock(&w->lock);
    if (first)
        poke(w);
    return 0;
}

void amqp_wire_events(struct amqp_wire *w, struct list *to)
{
    pthread_mutex_lock(&w->lock);
    for (struct list *it; (it = list_first(&w->events));) {
        list_remove(it);
        list_push_back(to, it);
    }
    pthread_mutex_unlock(&w->lock);
}

static void free_events(struct list *events)
{
    for (struct list *it; (it = list_first(events));) {
        list_remove(it);
        amqp_event_free(container_of(it, struct amqp_event, link));
    }
}

void amqp_wire_close(struct amqp_wire *w)
{
    struct timespec limit;
    struct clock *clock = realclock();
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_mutex_unlock(&w->lock);
    poke(w);
    limit = (struct timespec){.tv_sec = (time_t)(clock->wall_ms(clock) / 1000) + CLOSE_S};
    if (pthread_timedjoin_np(w->thread, NULL, &limit) != 0) {
        pthread_mutex_lock(&w->lock);
        if (w->fd >= 0)
            shutdown(w->fd, SHUT_RDWR);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    free_events(&w->events);
    free_events(&w->fresh);
    for (struct list *it; (it = list_first(&w->calls));) {
        list_remove(it);
        mem_free(container_of(it, struct posted, link));
    }
    close(w->wake);
    pthread_mutex_destroy(&w->lock);
    mem_free(w->confirms);
    mem_free(w);
}
