/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/amqp_link.h"

#include "base/ensure.h"
#include "base/mem.h"
#include "queue/queue.h"

#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <sys/time.h>

enum {
    CH_MAIN = 1,
    CH_ASK = 2,
    FRAME_BYTES = 131072,
    BODY_BYTES_MAX = 512 << 20, /* what a broker takes at most */
    CONNECT_S = 5,
    ANSWER_S = 10,
    FRAMES_MAX = 2000, /* before calls have their turn */
};

struct amqp_link {
    const struct queue_config *config;
    amqp_connection_state_t conn; /* NULL: none */
    uint64_t gen;
    struct list events;
    bool blocked;
    uint64_t *confirms; /* ids by publishing number, from confirm_base on */
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

/* --- events --- */

static struct amqp_event *event_new(struct amqp_link *l, enum amqp_event_kind kind, size_t reason,
                                    size_t body)
{
    struct amqp_event *e = mem_zalloc(sizeof *e + reason + body);
    ensure(e != NULL); /* nothing can be told any more without memory */
    e->kind = kind;
    e->gen = l->gen;
    e->reason = str_make(e->bytes, reason);
    e->body = str_make(e->bytes + reason, body);
    return e;
}

static void event_put(struct amqp_link *l, struct amqp_event *e)
{
    list_push_back(&l->events, &e->link);
}

static void tell(struct amqp_link *l, enum amqp_event_kind kind, uint64_t id, int rc,
                 const char *text)
{
    size_t len = text ? strlen(text) : 0;
    struct amqp_event *e = event_new(l, kind, 0, len);
    e->id = id;
    e->rc = rc;
    if (len)
        memcpy((char *)(uintptr_t)e->body.ptr, text, len);
    event_put(l, e);
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

static void disconnect(struct amqp_link *l)
{
    if (!l->conn)
        return;
    amqp_destroy_connection(l->conn);
    l->conn = NULL;
    l->blocked = false;
    l->confirm_count = 0;
    l->confirm_base = 1;
    amqp_event_free(l->in.event);
    memset(&l->in, 0, sizeof l->in);
}

static void cut(struct amqp_link *l, const struct err *why)
{
    if (!l->conn)
        return;
    disconnect(l);
    tell(l, AMQP_DOWN, 0, why->code, why->text);
}

static void cut_status(struct amqp_link *l, int status)
{
    struct err err;
    err_set(&err, TTG_ECLOSED, "%s", amqp_error_string2(status));
    cut(l, &err);
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
    return status ? err_set(err, TTG_EUNREACH, "%s:%d: %s", host, port, amqp_error_string2(status))
                  : 0;
}

static int login(struct amqp_link *l, struct err *err)
{
    const struct url *u = l->config->url;
    amqp_table_entry_t can = {.key = amqp_cstring_bytes("connection.blocked"),
                              .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
    const char *name = l->config->client_name ? l->config->client_name : "ttg";
    amqp_table_entry_t entries[] = {
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {1, &can}}},
        {.key = amqp_cstring_bytes("connection_name"),
         .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(name)}},
    };
    amqp_table_t properties = {2, entries};
    amqp_rpc_reply_t r = amqp_login_with_properties(
        l->conn, u->path, 0, FRAME_BYTES, AMQP_HEARTBEAT_S, &properties, AMQP_SASL_METHOD_PLAIN,
        u->user ? u->user : "guest", u->password ? u->password : "guest");
    int rc = explain(r, err);
    if (!rc) {
        amqp_channel_open(l->conn, CH_MAIN);
        rc = explain(amqp_get_rpc_reply(l->conn), err);
    }
    if (!rc) {
        amqp_channel_open(l->conn, CH_ASK);
        rc = explain(amqp_get_rpc_reply(l->conn), err);
    }
    if (!rc) {
        amqp_confirm_select(l->conn, CH_MAIN);
        rc = explain(amqp_get_rpc_reply(l->conn), err);
    }
    return rc;
}

static void connect_to(struct amqp_link *l, const struct amqp_call *call)
{
    const struct url *u = l->config->url;
    size_t i = call->number % u->host_count;
    struct timeval answer = {.tv_sec = ANSWER_S}, greeting = {.tv_sec = CONNECT_S};
    struct err err = {0};
    disconnect(l);
    l->gen = call->gen;
    l->conn = amqp_new_connection();
    l->confirm_base = 1;
    if (!l->conn) {
        tell(l, AMQP_DOWN, 0, TTG_ENOMEM, "out of memory");
        return;
    }
    amqp_set_handshake_timeout(l->conn, &greeting);
    amqp_set_rpc_timeout(l->conn, &answer);
    int rc = open_socket(l, u->hosts[i].name, u->hosts[i].port, &err);
    if (!rc)
        rc = login(l, &err);
    if (rc) {
        cut(l, &err);
        return;
    }
    tell(l, AMQP_UP, 0, 0, NULL);
}

/* --- calls on channel 2 --- */

static amqp_bytes_t bytes_of(struct str s)
{
    return (amqp_bytes_t){.len = s.len, .bytes = (void *)(uintptr_t)s.ptr};
}

/* After an answer on channel 2: a refusal closed it, so it is opened again. */
static int asked(struct amqp_link *l, const struct amqp_call *c)
{
    struct err err = {0};
    amqp_rpc_reply_t r = amqp_get_rpc_reply(l->conn);
    int rc = explain(r, &err);
    if (rc && r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
        r.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_ok_t ok = {0};
        amqp_send_method(l->conn, CH_ASK, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
        amqp_channel_open(l->conn, CH_ASK);
        if (explain(amqp_get_rpc_reply(l->conn), &err) == 0) {
            if (c->id)
                tell(l, AMQP_DONE, c->id, rc, err.text);
            return rc;
        }
    }
    if (rc)
        cut(l, &err);
    return rc;
}

static void declare(struct amqp_link *l, const struct amqp_call *c)
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
    amqp_queue_declare_ok_t *ok = amqp_queue_declare(l->conn, CH_ASK, bytes_of(c->queue), 0,
                                                     !exclusive, exclusive, exclusive, arguments);
    uint64_t count = ok ? ok->message_count : 0;
    if (asked(l, c) == 0 && c->id) {
        struct amqp_event *e = event_new(l, AMQP_DONE, 0, 0);
        e->id = c->id;
        e->count = count;
        event_put(l, e);
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

static void get(struct amqp_link *l, const struct amqp_call *c)
{
    struct err err = {0};
    amqp_rpc_reply_t r = amqp_basic_get(l->conn, CH_ASK, bytes_of(c->queue), 0);
    if (r.reply_type != AMQP_RESPONSE_NORMAL) {
        asked(l, c);
        return;
    }
    if (r.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) {
        tell(l, AMQP_DONE, c->id, 0, NULL);
        return;
    }
    amqp_basic_get_ok_t *ok = r.reply.decoded;
    uint64_t tag = ok->delivery_tag, count = ok->message_count, attempt;
    amqp_message_t m;
    if (explain(amqp_read_message(l->conn, CH_ASK, &m, 0), &err)) {
        cut(l, &err);
        return;
    }
    struct str reason = header_text(&m.properties, &attempt);
    struct amqp_event *e = event_new(l, AMQP_DONE, reason.len, m.body.len);
    memcpy((char *)(uintptr_t)e->reason.ptr, reason.ptr, reason.len);
    memcpy((char *)(uintptr_t)e->body.ptr, m.body.bytes, m.body.len);
    e->id = c->id;
    e->tag = tag;
    e->count = count;
    e->attempt = attempt;
    e->found = true;
    event_put(l, e);
    amqp_destroy_message(&m);
}

static void listen_to(struct amqp_link *l, const struct amqp_call *c)
{
    char name[AMQP_NAME_BYTES * 2];
    struct err err = {0};
    amqp_queue_declare_ok_t *q =
        amqp_queue_declare(l->conn, CH_ASK, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
    if (q)
        snprintf(name, sizeof name, "%.*s", (int)q->queue.len, (const char *)q->queue.bytes);
    if (asked(l, c))
        return;
    amqp_queue_bind(l->conn, CH_ASK, amqp_cstring_bytes(name), amqp_cstring_bytes("amq.direct"),
                    bytes_of(c->queue), amqp_empty_table);
    if (asked(l, c))
        return;
    amqp_basic_consume(l->conn, CH_MAIN, amqp_cstring_bytes(name), amqp_cstring_bytes("ttg-heard"),
                       0, 1, 1, amqp_empty_table);
    if (explain(amqp_get_rpc_reply(l->conn), &err))
        cut(l, &err);
    else if (c->id)
        tell(l, AMQP_DONE, c->id, 0, NULL);
}

static amqp_bytes_t consumer_tag(uint64_t number, char text[32])
{
    snprintf(text, 32, "ttg-%llu", (unsigned long long)number);
    return amqp_cstring_bytes(text);
}

static void consume(struct amqp_link *l, const struct amqp_call *c)
{
    char tag[32];
    struct err err = {0};
    amqp_basic_qos(l->conn, CH_MAIN, 0, (uint16_t)c->number, 0);
    int rc = explain(amqp_get_rpc_reply(l->conn), &err);
    if (!rc) {
        amqp_basic_consume(l->conn, CH_MAIN, bytes_of(c->queue), consumer_tag(c->tag, tag), 0, 0,
                           c->flags & AMQP_EXCLUSIVE ? 1 : 0, amqp_empty_table);
        rc = explain(amqp_get_rpc_reply(l->conn), &err);
    }
    if (rc)
        cut(l, &err);
    else if (c->id)
        tell(l, AMQP_DONE, c->id, 0, NULL);
}

static void cancel(struct amqp_link *l, const struct amqp_call *c)
{
    char tag[32];
    struct err err = {0};
    amqp_basic_cancel(l->conn, CH_MAIN, consumer_tag(c->tag, tag));
    if (explain(amqp_get_rpc_reply(l->conn), &err))
        cut(l, &err);
    else if (c->id)
        tell(l, AMQP_DONE, c->id, 0, NULL);
}

/* --- publishing and its confirms --- */

static int note_confirm(struct amqp_link *l, uint64_t id)
{
    if (l->confirm_count == l->confirm_cap) {
        size_t cap = l->confirm_cap ? l->confirm_cap * 2 : 256;
        uint64_t *more = mem_realloc(l->confirms, cap * sizeof *more);
        if (!more)
            return TTG_ENOMEM;
        l->confirms = more;
        l->confirm_cap = cap;
    }
    l->confirms[l->confirm_count++] = id;
    return 0;
}

static void publish(struct amqp_link *l, const struct amqp_call *c)
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
    if (note_confirm(l, c->id)) {
        cut_status(l, AMQP_STATUS_NO_MEMORY);
        return;
    }
    int status = amqp_basic_publish(l->conn, CH_MAIN,
                                    announce ? amqp_cstring_bytes("amq.direct") : amqp_empty_bytes,
                                    bytes_of(c->queue), !announce, 0, &p, bytes_of(c->body));
    if (status)
        cut_status(l, status);
}

static void confirmed(struct amqp_link *l, uint64_t tag, bool multiple, int rc)
{
    if (tag < l->confirm_base || tag - l->confirm_base >= l->confirm_count)
        return;
    size_t at = (size_t)(tag - l->confirm_base);
    for (size_t i = multiple ? 0 : at; i <= at; i++) {
        if (l->confirms[i] > 0)
            tell(l, AMQP_DONE, l->confirms[i], rc, rc ? "the broker could not keep it" : NULL);
        l->confirms[i] = UINT64_MAX; /* answered */
    }
    size_t gone = 0;
    while (gone < l->confirm_count && l->confirms[gone] == UINT64_MAX)
        gone++;
    if (gone > 0) {
        l->confirm_count -= gone;
        l->confirm_base += gone;
        memmove(l->confirms, l->confirms + gone, l->confirm_count * sizeof *l->confirms);
    }
}

static void settle(struct amqp_link *l, const struct amqp_call *c)
{
    amqp_channel_t channel = c->flags & AMQP_ON_GET ? CH_ASK : CH_MAIN;
    bool multiple = c->flags & AMQP_MULTIPLE;
    int status = c->op == AMQP_ACK ? amqp_basic_ack(l->conn, channel, c->tag, multiple)
                                   : amqp_basic_nack(l->conn, channel, c->tag, multiple, 1);
    if (status)
        cut_status(l, status);
}

void amqp_link_run(struct amqp_link *l, const struct amqp_call *c)
{
    if (c->op == AMQP_CONNECT) {
        connect_to(l, c);
        return;
    }
    if (!l->conn || c->gen != l->gen)
        return; /* the connection it was for has gone, and AMQP_DOWN told so */
    switch (c->op) {
    case AMQP_DECLARE:
        declare(l, c);
        break;
    case AMQP_DELETE:
        amqp_queue_delete(l->conn, CH_ASK, bytes_of(c->queue), 0, 0);
        if (asked(l, c) == 0 && c->id)
            tell(l, AMQP_DONE, c->id, 0, NULL);
        break;
    case AMQP_PURGE:
        amqp_queue_purge(l->conn, CH_ASK, bytes_of(c->queue));
        if (asked(l, c) == 0 && c->id)
            tell(l, AMQP_DONE, c->id, 0, NULL);
        break;
    case AMQP_GET:
        get(l, c);
        break;
    case AMQP_LISTEN:
        listen_to(l, c);
        break;
    case AMQP_CONSUME:
        consume(l, c);
        break;
    case AMQP_CANCEL:
        cancel(l, c);
        break;
    case AMQP_PUBLISH:
    case AMQP_ANNOUNCE:
        publish(l, c);
        break;
    case AMQP_ACK:
    case AMQP_NACK:
        settle(l, c);
        break;
    case AMQP_CONNECT:
        break;
    }
}

/* --- frames --- */

static void on_method(struct amqp_link *l, const amqp_method_t *m)
{
    struct err err;
    amqp_rpc_reply_t r = {.reply_type = AMQP_RESPONSE_SERVER_EXCEPTION, .reply = *m};
    switch (m->id) {
    case AMQP_BASIC_DELIVER_METHOD: {
        amqp_basic_deliver_t *d = m->decoded;
        l->in.method = m->id;
        l->in.tag = d->delivery_tag;
        l->in.redelivered = d->redelivered;
        l->in.heard =
            str_eq(str_make(d->consumer_tag.bytes, d->consumer_tag.len), STR("ttg-heard"));
        break;
    }
    case AMQP_BASIC_RETURN_METHOD: /* mandatory: no such queue; the confirm follows */
        l->in.method = m->id;
        break;
    case AMQP_BASIC_ACK_METHOD: {
        amqp_basic_ack_t *a = m->decoded;
        confirmed(l, a->delivery_tag, a->multiple, 0);
        break;
    }
    case AMQP_BASIC_NACK_METHOD: {
        amqp_basic_nack_t *a = m->decoded;
        confirmed(l, a->delivery_tag, a->multiple, TTG_EFULL);
        break;
    }
    case AMQP_CONNECTION_BLOCKED_METHOD: {
        amqp_connection_blocked_t *b = m->decoded;
        char text[200];
        snprintf(text, sizeof text, "%.*s", (int)b->reason.len, (const char *)b->reason.bytes);
        l->blocked = true;
        tell(l, AMQP_BLOCKED, 0, 0, text);
        break;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        l->blocked = false;
        tell(l, AMQP_UNBLOCKED, 0, 0, NULL);
        break;
    case AMQP_BASIC_CANCEL_METHOD: /* the queue was deleted, or its node went */
        err_set(&err, TTG_ECLOSED, "the broker canceled the consumer: the queue has gone");
        cut(l, &err);
        break;
    case AMQP_CHANNEL_CLOSE_METHOD:
    case AMQP_CONNECTION_CLOSE_METHOD:
        explain(r, &err);
        cut(l, &err);
        break;
    default:
        break;
    }
}

static void delivery_end(struct amqp_link *l)
{
    struct amqp_event *e = l->in.event;
    l->in.event = NULL;
    bool returned = l->in.method == AMQP_BASIC_RETURN_METHOD;
    l->in.method = 0;
    if (returned) {
        struct err err;
        amqp_event_free(e);
        err_set(&err, TTG_ECLOSED, "a queue of the job has gone");
        cut(l, &err);
        return;
    }
    event_put(l, e);
}

static void on_frame(struct amqp_link *l, const amqp_frame_t *f)
{
    if (f->frame_type == AMQP_FRAME_METHOD) {
        on_method(l, &f->payload.method);
    } else if (f->frame_type == AMQP_FRAME_HEADER && l->in.method) {
        uint64_t attempt;
        if (f->payload.properties.body_size > BODY_BYTES_MAX) {
            cut_status(l, AMQP_STATUS_BAD_AMQP_DATA);
            return;
        }
        struct str reason = header_text(f->payload.properties.decoded, &attempt);
        l->in.want = (size_t)f->payload.properties.body_size;
        l->in.have = 0;
        l->in.event =
            event_new(l, l->in.heard ? AMQP_HEARD : AMQP_DELIVERY, reason.len, l->in.want);
        memcpy((char *)(uintptr_t)l->in.event->reason.ptr, reason.ptr, reason.len);
        l->in.event->attempt = attempt;
        l->in.event->tag = l->in.tag;
        l->in.event->redelivered = l->in.redelivered;
        if (l->in.want == 0)
            delivery_end(l);
    } else if (f->frame_type == AMQP_FRAME_BODY && l->in.event) {
        size_t len = f->payload.body_fragment.len;
        if (len > l->in.want - l->in.have)
            len = l->in.want - l->in.have;
        memcpy((char *)(uintptr_t)l->in.event->body.ptr + l->in.have,
               f->payload.body_fragment.bytes, len);
        l->in.have += len;
        if (l->in.have == l->in.want)
            delivery_end(l);
    }
}

void amqp_link_read(struct amqp_link *l)
{
    for (int i = 0; l->conn && i < FRAMES_MAX; i++) {
        struct timeval now = {0};
        amqp_frame_t frame;
        amqp_maybe_release_buffers(l->conn);
        int status = amqp_simple_wait_frame_noblock(l->conn, &frame, &now);
        if (status == AMQP_STATUS_TIMEOUT)
            return;
        if (status)
            cut_status(l, status);
        else
            on_frame(l, &frame);
    }
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
