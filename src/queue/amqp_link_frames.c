/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker sends by itself: deliveries, confirms, and that it blocks, closes or cancels. */
#include "base/err.h"
#include "base/mem.h"
#include "io/realclock.h"
#include "queue/amqp_link_state.h"

#include <stdio.h>
#include <string.h>
#include <sys/time.h>

enum {
    FRAMES_MAX = 2000, /* before calls have their turn */
    REFUSED_S = 2,     /* again and again for so long: another connection may do better */
    PATIENCE_S = 4,    /* who was refused has tried again by then */
};

uint64_t link_now_s(void)
{
    struct clock *c = realclock();
    return c->mono_ns(c) / 1000000000;
}

/* --- confirms --- */

/* A quorum queue whose leader just died refuses what comes, and on a channel that met it at that
 * moment it may do so for as long as that node is away (RabbitMQ 3.10). */
static void note_refusal(struct amqp_link *l)
{
    uint64_t now_s = link_now_s();
    if (now_s > l->refused_s + PATIENCE_S)
        l->refused_since_s = now_s;
    l->refused_s = now_s;
}

static void confirmed(struct amqp_link *l, uint64_t tag, bool multiple, int rc)
{
    if (tag < l->confirm_base || tag - l->confirm_base >= l->confirm_count)
        return;
    size_t at = (size_t)(tag - l->confirm_base), gone = 0;
    if (rc)
        note_refusal(l);
    for (size_t i = multiple ? 0 : at; i <= at; i++) {
        uint64_t id = l->confirms[i].id;
        if (id > 0 && id != UINT64_MAX)
            link_tell(l, AMQP_DONE, id, rc, rc ? "the broker could not keep it" : NULL);
        l->confirms[i].id = UINT64_MAX;
    }
    while (gone < l->confirm_count && l->confirms[gone].id == UINT64_MAX)
        gone++;
    if (gone > 0) {
        l->confirm_count -= gone;
        l->confirm_base += gone;
        memmove(l->confirms, l->confirms + gone, l->confirm_count * sizeof *l->confirms);
    }
}

/* A node that lost its majority, or hangs, confirms nothing; the next one may. */
static void watch_confirms(struct amqp_link *l)
{
    struct err err;
    if (!l->conn || l->blocked)
        return;
    if (l->confirm_count > 0 && link_now_s() > l->confirms[0].at_s + AMQP_CONFIRM_S)
        err_set(&err, TTG_ECLOSED, "the broker confirms nothing since %d s", AMQP_CONFIRM_S);
    else if (l->refused_s >= l->refused_since_s + REFUSED_S)
        err_set(&err, TTG_ECLOSED, "the broker refuses what is published since %d s", REFUSED_S);
    else
        return;
    link_cut(l, &err);
}

static void unblocked(struct amqp_link *l)
{
    l->blocked = false;
    link_be_patient(l, false);
    for (size_t i = 0; i < l->confirm_count; i++)
        l->confirms[i].at_s = link_now_s();
    link_tell(l, AMQP_UNBLOCKED, 0, 0, NULL);
}

/* --- methods --- */

static enum amqp_event_kind kind_of(struct str consumer_tag)
{
    return str_eq(consumer_tag, STR("ttg-heard"))     ? AMQP_HEARD
           : str_eq(consumer_tag, STR("ttg-asked"))   ? AMQP_ASKED
           : str_eq(consumer_tag, STR("ttg-replied")) ? AMQP_REPLIED
                                                      : AMQP_DELIVERY;
}

static void on_deliver(struct amqp_link *l, const amqp_basic_deliver_t *d)
{
    l->in.method = AMQP_BASIC_DELIVER_METHOD;
    l->in.kind = kind_of(str_make(d->consumer_tag.bytes, d->consumer_tag.len));
    l->in.tag = d->delivery_tag;
    l->in.redelivered = d->redelivered;
    if (l->in.kind == AMQP_DELIVERY) /* the others need no acknowledgement */
        link_delivered(l, d->delivery_tag);
}

/* What closes a channel of ours by itself is no mistake in a setting: a delivery that was held
 * longer than consumer_timeout (406), a queue that went (404). The connection comes back. */
static void on_close(struct amqp_link *l, const amqp_method_t *m)
{
    struct err err, why;
    amqp_rpc_reply_t r = {.reply_type = AMQP_RESPONSE_SERVER_EXCEPTION, .reply = *m};
    int rc = link_explain(r, &err);
    if (m->id == AMQP_CHANNEL_CLOSE_METHOD && rc == TTG_EUSAGE)
        rc = TTG_ECLOSED;
    err_set(&why, rc, "%s", err.text);
    link_cut(l, &why);
}

static void on_method(struct amqp_link *l, const amqp_method_t *m)
{
    struct err err;
    switch (m->id) {
    case AMQP_BASIC_DELIVER_METHOD:
        on_deliver(l, m->decoded);
        break;
    case AMQP_BASIC_RETURN_METHOD: /* mandatory: no such queue; the confirm follows */
        l->in.method = m->id;
        l->in.kind = AMQP_REPLIED;
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
        link_be_patient(l, true);
        link_tell(l, AMQP_BLOCKED, 0, 0, text);
        break;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        unblocked(l);
        break;
    case AMQP_BASIC_CANCEL_METHOD: /* the queue was deleted, or its node went */
        err_set(&err, TTG_ENOENT, "the broker canceled the consumer: the queue has gone");
        link_cut(l, &err);
        break;
    case AMQP_CHANNEL_CLOSE_METHOD:
    case AMQP_CONNECTION_CLOSE_METHOD:
        on_close(l, m);
        break;
    default:
        break;
    }
}

/* --- messages --- */

static void message_end(struct amqp_link *l)
{
    struct amqp_event *e = l->in.event;
    bool returned = l->in.method == AMQP_BASIC_RETURN_METHOD, question = e->found;
    l->in.event = NULL;
    l->in.method = 0;
    e->found = false;
    if (returned && !question) {
        struct err err;
        amqp_event_free(e);
        err_set(&err, TTG_ENOENT, "a queue of the job has gone");
        link_cut(l, &err);
        return;
    }
    if (returned)
        e->rc = TTG_ENOENT;
    link_event_put(l, e);
}

static void on_header(struct amqp_link *l, const amqp_frame_t *f)
{
    if (f->payload.properties.body_size > BODY_BYTES_MAX) {
        link_cut_status(l, AMQP_STATUS_BAD_AMQP_DATA);
        return;
    }
    struct link_headers h = link_headers_of(f->payload.properties.decoded);
    struct str extra = l->in.kind == AMQP_ASKED ? h.reply_to : h.history;
    uint64_t correlation = 0;
    l->in.want = (size_t)f->payload.properties.body_size;
    l->in.have = 0;
    struct amqp_event *e = link_event_new(l, l->in.kind, h.reason.len, extra.len, l->in.want);
    l->in.event = e;
    link_fill(e->reason, h.reason);
    link_fill(e->extra, extra);
    e->attempt = h.attempt;
    e->tag = l->in.tag;
    if (l->in.kind == AMQP_ASKED || l->in.kind == AMQP_REPLIED) {
        /* A number of whoever asked; ours when it comes back. */
        e->found = h.correlation.len > 0 && str_to_u64(h.correlation, &correlation) == 0;
        e->tag = correlation;
    }
    e->redelivered = l->in.redelivered;
    if (l->in.want == 0)
        message_end(l);
}

static void on_body(struct amqp_link *l, const amqp_frame_t *f)
{
    size_t len = f->payload.body_fragment.len;
    if (len > l->in.want - l->in.have)
        len = l->in.want - l->in.have;
    memcpy((char *)(uintptr_t)l->in.event->body.ptr + l->in.have, f->payload.body_fragment.bytes,
           len);
    l->in.have += len;
    if (l->in.have == l->in.want)
        message_end(l);
}

void amqp_link_read(struct amqp_link *l)
{
    for (int i = 0; l->conn && i < FRAMES_MAX; i++) {
        struct timeval now = {0};
        amqp_frame_t frame;
        amqp_maybe_release_buffers(l->conn);
        int status = amqp_simple_wait_frame_noblock(l->conn, &frame, &now);
        if (status == AMQP_STATUS_TIMEOUT)
            break;
        if (status)
            link_cut_status(l, status);
        else if (frame.frame_type == AMQP_FRAME_METHOD)
            on_method(l, &frame.payload.method);
        else if (frame.frame_type == AMQP_FRAME_HEADER && l->in.method)
            on_header(l, &frame);
        else if (frame.frame_type == AMQP_FRAME_BODY && l->in.event)
            on_body(l, &frame);
    }
    watch_confirms(l);
}
