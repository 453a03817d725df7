/* SPDX-License-Identifier: Apache-2.0 */
/* What we ask of the broker. Declaring and looking happens on channel 2: what the broker refuses
 * there (404, 405, 406 close a channel) disturbs no delivery, and the channel is opened again. */
#include "base/err.h"
#include "base/mem.h"
#include "queue/amqp_link_state.h"
#include "queue/queue.h"

#include <stdio.h>
#include <string.h>

enum {
    ARGUMENTS_MAX = 10,
    VERSION_CONSUMER_TIMEOUT = 31200, /* since then a queue may have its own */
    VERSION_LIMIT_OFF = 40000,        /* since then there is a limit of deliveries by default */
    CONSUMER_TIMEOUT_MS = 7 * 24 * 3600 * 1000,
};

static amqp_channel_t channel_of(const struct amqp_call *c)
{
    return c->flags & AMQP_ON_PULL ? CH_PULL : c->flags & AMQP_ON_GET ? CH_ASK : CH_MAIN;
}

/* After an answer on channel 2 or 3: a refusal closed it, so it is opened again. */
static int asked_on(struct amqp_link *l, const struct amqp_call *c, amqp_channel_t channel)
{
    struct err err = {0}, again = {0};
    amqp_rpc_reply_t r = amqp_get_rpc_reply(l->conn);
    int rc = link_answer(l, r, &err);
    if (rc && r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
        r.reply.id == AMQP_CHANNEL_CLOSE_METHOD && rc != TTG_ECLOSED) {
        amqp_channel_close_ok_t ok = {0};
        amqp_send_method(l->conn, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
        amqp_channel_open(l->conn, channel);
        if (link_explain(amqp_get_rpc_reply(l->conn), &again) == 0) {
            if (c->id)
                link_tell(l, AMQP_DONE, c->id, rc, err.text);
            return rc;
        }
    }
    if (rc)
        link_cut(l, &err);
    return rc;
}

static int asked(struct amqp_link *l, const struct amqp_call *c)
{
    return asked_on(l, c, CH_ASK);
}

/* --- queues --- */

struct arguments {
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    int count;
};

static void add_text(struct arguments *a, const char *key, struct str value)
{
    a->entries[a->count++] = (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = link_bytes(value)}};
}

static void add_number(struct arguments *a, const char *key, int32_t value)
{
    a->entries[a->count++] = (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key), .value = {.kind = AMQP_FIELD_KIND_I32, .value.i32 = value}};
}

/* Dead-lettering of a quorum queue loses nothing only with a strategy that a classic one lacks. */
static void add_quorum(const struct amqp_link *l, struct arguments *a, const struct amqp_call *c)
{
    add_text(a, "x-queue-type", STR("quorum"));
    if (c->flags & AMQP_LIMITED)
        add_number(a, "x-delivery-limit", AMQP_DELIVERY_LIMIT);
    else if (c->flags & AMQP_LOOKED_AT && l->version >= VERSION_LIMIT_OFF)
        add_number(a, "x-delivery-limit", -1);
    if (c->dead_to.len > 0) {
        add_text(a, "x-overflow", STR("reject-publish"));
        add_text(a, "x-dead-letter-strategy", STR("at-least-once"));
    }
}

static void declare(struct amqp_link *l, const struct amqp_call *c)
{
    struct arguments a = {.count = 0};
    bool exclusive = c->flags & AMQP_EXCLUSIVE;
    if (c->flags & AMQP_QUORUM)
        add_quorum(l, &a, c);
    if (c->flags & AMQP_LIMITED && l->version >= VERSION_CONSUMER_TIMEOUT)
        add_number(&a, "x-consumer-timeout", CONSUMER_TIMEOUT_MS);
    if (c->flags & AMQP_NEWEST)
        add_number(&a, "x-max-length", 1);
    if (c->number > 0)
        add_number(&a, "x-message-ttl", (int32_t)c->number);
    if (c->dead_to.len > 0) {
        add_text(&a, "x-dead-letter-exchange", STR(""));
        add_text(&a, "x-dead-letter-routing-key", c->dead_to);
    }
    amqp_table_t arguments = {a.count, a.entries};
    amqp_queue_declare_ok_t *ok = amqp_queue_declare(l->conn, CH_ASK, link_bytes(c->queue), 0,
                                                     !exclusive, exclusive, exclusive, arguments);
    uint64_t count = ok ? ok->message_count : 0;
    if (asked(l, c) == 0 && c->id) {
        struct amqp_event *e = link_event_new(l, AMQP_DONE, 0, 0, 0);
        e->id = c->id;
        e->count = count;
        link_event_put(l, e);
    }
}

static void count_messages(struct amqp_link *l, const struct amqp_call *c)
{
    amqp_queue_declare_ok_t *ok =
        amqp_queue_declare(l->conn, CH_ASK, link_bytes(c->queue), 1, 0, 0, 0, amqp_empty_table);
    uint64_t count = ok ? ok->message_count : 0, consumers = ok ? ok->consumer_count : 0;
    if (asked(l, c) == 0 && c->id) {
        struct amqp_event *e = link_event_new(l, AMQP_DONE, 0, 0, 0);
        e->id = c->id;
        e->count = count;
        e->tag = consumers;
        link_event_put(l, e);
    }
}

/* --- messages that are looked at --- */

static struct str text_of(const amqp_field_value_t *v)
{
    return v->kind == AMQP_FIELD_KIND_UTF8 ? str_make(v->value.bytes.bytes, v->value.bytes.len)
                                           : STR("");
}

static uint64_t number_of(const amqp_field_value_t *v)
{
    int64_t n = v->kind == AMQP_FIELD_KIND_I64   ? v->value.i64
                : v->kind == AMQP_FIELD_KIND_I32 ? v->value.i32
                : v->kind == AMQP_FIELD_KIND_I16 ? v->value.i16
                : v->kind == AMQP_FIELD_KIND_I8  ? v->value.i8
                                                 : 0;
    return n > 0 ? (uint64_t)n : 0;
}

struct link_headers link_headers_of(const amqp_basic_properties_t *p)
{
    struct link_headers h = {.reason = STR(""), .history = STR(""), .reply_to = STR("")};
    if (p->_flags & AMQP_BASIC_REPLY_TO_FLAG)
        h.reply_to = str_make(p->reply_to.bytes, p->reply_to.len);
    if (p->_flags & AMQP_BASIC_CORRELATION_ID_FLAG)
        h.correlation = str_make(p->correlation_id.bytes, p->correlation_id.len);
    for (int i = 0; p->_flags & AMQP_BASIC_HEADERS_FLAG && i < p->headers.num_entries; i++) {
        const amqp_table_entry_t *t = &p->headers.entries[i];
        struct str key = str_make(t->key.bytes, t->key.len);
        if (str_eq(key, STR("x-ttg-attempt")))
            h.attempt = number_of(&t->value);
        else if (str_eq(key, STR("x-ttg-reason")))
            h.reason = text_of(&t->value);
        else if (str_eq(key, STR("x-ttg-history")))
            h.history = text_of(&t->value);
    }
    return h;
}

static void get(struct amqp_link *l, const struct amqp_call *c)
{
    struct err err = {0};
    amqp_channel_t channel = c->flags & AMQP_ON_PULL ? CH_PULL : CH_ASK;
    amqp_rpc_reply_t r = amqp_basic_get(l->conn, channel, link_bytes(c->queue), 0);
    if (r.reply_type != AMQP_RESPONSE_NORMAL) {
        asked_on(l, c, channel);
        return;
    }
    if (r.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) {
        link_tell(l, AMQP_DONE, c->id, 0, NULL);
        return;
    }
    amqp_basic_get_ok_t *ok = r.reply.decoded;
    uint64_t tag = ok->delivery_tag, count = ok->message_count;
    bool redelivered = ok->redelivered;
    amqp_message_t m;
    if (link_explain(amqp_read_message(l->conn, channel, &m, 0), &err)) {
        link_cut(l, &err);
        return;
    }
    struct link_headers h = link_headers_of(&m.properties);
    struct amqp_event *e = link_event_new(l, AMQP_DONE, h.reason.len, h.history.len, m.body.len);
    link_fill(e->reason, h.reason);
    link_fill(e->extra, h.history);
    link_fill(e->body, str_make(m.body.bytes, m.body.len));
    e->id = c->id;
    e->tag = tag;
    e->count = count;
    e->attempt = h.attempt;
    e->redelivered = redelivered;
    e->found = true;
    link_event_put(l, e);
    amqp_destroy_message(&m);
}

/* --- consumers --- */

/* Answers the call; a refusal on channel 1 has taken the deliveries with it. */
static int on_main(struct amqp_link *l, const struct amqp_call *c, bool last)
{
    struct err err = {0};
    int rc = link_answer(l, amqp_get_rpc_reply(l->conn), &err);
    if (rc)
        link_cut(l, &err);
    else if (last && c->id)
        link_tell(l, AMQP_DONE, c->id, 0, NULL);
    return rc;
}

static void listen_to(struct amqp_link *l, const struct amqp_call *c)
{
    char name[AMQP_NAME_BYTES * 2];
    amqp_queue_declare_ok_t *q =
        amqp_queue_declare(l->conn, CH_ASK, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
    if (q)
        snprintf(name, sizeof name, "%.*s", (int)q->queue.len, (const char *)q->queue.bytes);
    if (asked(l, c))
        return;
    amqp_queue_bind(l->conn, CH_ASK, amqp_cstring_bytes(name), amqp_cstring_bytes("amq.direct"),
                    link_bytes(c->queue), amqp_empty_table);
    if (asked(l, c))
        return;
    amqp_basic_consume(l->conn, CH_MAIN, amqp_cstring_bytes(name), amqp_cstring_bytes("ttg-heard"),
                       0, 1, 1, amqp_empty_table);
    on_main(l, c, true);
}

static void serve(struct amqp_link *l, const struct amqp_call *c)
{
    amqp_queue_declare(l->conn, CH_ASK, link_bytes(c->queue), 0, 0, 1, 1, amqp_empty_table);
    if (asked(l, c))
        return;
    amqp_basic_consume(l->conn, CH_MAIN, link_bytes(c->queue), amqp_cstring_bytes("ttg-asked"), 0,
                       1, 1, amqp_empty_table);
    on_main(l, c, true);
}

static amqp_bytes_t consumer_tag(uint64_t number, char text[32])
{
    snprintf(text, 32, "ttg-%llu", (unsigned long long)number);
    return amqp_cstring_bytes(text);
}

static void consume(struct amqp_link *l, const struct amqp_call *c)
{
    char tag[32];
    amqp_basic_qos(l->conn, CH_MAIN, 0, (uint16_t)c->number, 0);
    if (on_main(l, c, false))
        return;
    amqp_basic_consume(l->conn, CH_MAIN, link_bytes(c->queue), consumer_tag(c->tag, tag), 0, 0,
                       c->flags & AMQP_EXCLUSIVE ? 1 : 0, amqp_empty_table);
    on_main(l, c, true);
}

static void cancel(struct amqp_link *l, const struct amqp_call *c)
{
    char tag[32];
    amqp_basic_cancel(l->conn, CH_MAIN, consumer_tag(c->tag, tag));
    if (on_main(l, c, false))
        return;
    /* What was delivered before the broker heard of it lies in librabbitmq: first that. */
    do
        amqp_link_read(l);
    while (l->conn && amqp_frames_enqueued(l->conn));
    if (l->conn && c->id)
        link_tell(l, AMQP_DONE, c->id, 0, NULL);
}

/* --- publishing --- */

static int note_confirm(struct amqp_link *l, uint64_t id)
{
    if (l->confirm_count == l->confirm_cap) {
        size_t cap = l->confirm_cap ? l->confirm_cap * 2 : 256;
        struct amqp_confirm *more = mem_realloc(l->confirms, cap * sizeof *more);
        if (!more)
            return TTG_ENOMEM;
        l->confirms = more;
        l->confirm_cap = cap;
    }
    l->confirms[l->confirm_count++] = (struct amqp_confirm){id, link_now_s()};
    return 0;
}

static void send_message(struct amqp_link *l, const struct amqp_call *c, const char *exchange,
                         bool mandatory, const amqp_basic_properties_t *p)
{
    if (note_confirm(l, c->id)) {
        link_cut_status(l, AMQP_STATUS_NO_MEMORY);
        return;
    }
    int status = amqp_basic_publish(l->conn, CH_MAIN, amqp_cstring_bytes(exchange),
                                    link_bytes(c->queue), mandatory, 0, p, link_bytes(c->body));
    if (status)
        link_cut_status(l, status);
}

static void publish(struct amqp_link *l, const struct amqp_call *c)
{
    bool announce = c->op == AMQP_ANNOUNCE;
    struct arguments headers = {.count = 0};
    if (c->attempt > 0)
        headers.entries[headers.count++] = (amqp_table_entry_t){
            .key = amqp_cstring_bytes("x-ttg-attempt"),
            .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = (int64_t)c->attempt}};
    if (c->reason.len > 0)
        add_text(&headers, "x-ttg-reason", c->reason);
    if (c->history.len > 0)
        add_text(&headers, "x-ttg-history", c->history);
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
                                           AMQP_BASIC_DELIVERY_MODE_FLAG |
                                           (headers.count ? AMQP_BASIC_HEADERS_FLAG : 0),
                                 .content_type = amqp_cstring_bytes("application/json"),
                                 .delivery_mode = announce ? 1 : 2,
                                 .headers = {headers.count, headers.entries}};
    send_message(l, c, announce ? "amq.direct" : "", !announce, &p);
}

/* A question comes back (basic.return) when nobody serves that queue; a reply may get lost. */
static void question(struct amqp_link *l, const struct amqp_call *c)
{
    char correlation[24];
    snprintf(correlation, sizeof correlation, "%llu", (unsigned long long)c->tag);
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_CORRELATION_ID_FLAG,
                                 .correlation_id = amqp_cstring_bytes(correlation)};
    if (c->op == AMQP_ASK) {
        p._flags |= AMQP_BASIC_REPLY_TO_FLAG;
        p.reply_to = amqp_cstring_bytes("amq.rabbitmq.reply-to");
        if (!l->replies) {
            amqp_basic_consume(l->conn, CH_MAIN, p.reply_to, amqp_cstring_bytes("ttg-replied"), 0,
                               1, 0, amqp_empty_table);
            if (on_main(l, c, false))
                return;
            l->replies = true;
        }
    }
    send_message(l, c, "", c->op == AMQP_ASK, &p);
}

static void settle(struct amqp_link *l, const struct amqp_call *c)
{
    bool multiple = c->flags & AMQP_MULTIPLE, main = channel_of(c) == CH_MAIN;
    if (main && c->op == AMQP_ACK && !multiple && link_hold_ack(l, c->tag))
        return;
    if (main) {
        amqp_link_flush(l);
        if (!l->conn)
            return;
        link_settled(l, c->tag, multiple);
    }
    int status = c->op == AMQP_ACK ? amqp_basic_ack(l->conn, channel_of(c), c->tag, multiple)
                                   : amqp_basic_nack(l->conn, channel_of(c), c->tag, multiple, 1);
    if (status)
        link_cut_status(l, status);
}

static void run_queue_call(struct amqp_link *l, const struct amqp_call *c)
{
    link_wait_long(l, c->flags & AMQP_SLOW);
    if (c->op == AMQP_DECLARE)
        declare(l, c);
    else if (c->op == AMQP_COUNT)
        count_messages(l, c);
    else {
        if (c->op == AMQP_DELETE)
            amqp_queue_delete(l->conn, CH_ASK, link_bytes(c->queue), 0, 0);
        else
            amqp_queue_purge(l->conn, CH_ASK, link_bytes(c->queue));
        if (asked(l, c) == 0 && c->id)
            link_tell(l, AMQP_DONE, c->id, 0, NULL);
    }
    link_wait_long(l, false);
}

void amqp_link_run(struct amqp_link *l, const struct amqp_call *c)
{
    if (c->op == AMQP_CONNECT) {
        amqp_link_connect(l, c);
        return;
    }
    if (!l->conn || c->gen != l->gen)
        return; /* the connection it was for has gone, and AMQP_DOWN told so */
    switch (c->op) {
    case AMQP_DECLARE:
    case AMQP_COUNT:
    case AMQP_DELETE:
    case AMQP_PURGE:
        run_queue_call(l, c);
        break;
    case AMQP_GET:
        get(l, c);
        break;
    case AMQP_LISTEN:
        listen_to(l, c);
        break;
    case AMQP_SERVE:
        serve(l, c);
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
    case AMQP_ASK:
    case AMQP_REPLY:
        question(l, c);
        break;
    case AMQP_ACK:
    case AMQP_NACK:
        settle(l, c);
        break;
    case AMQP_CONNECT:
        break;
    }
}
