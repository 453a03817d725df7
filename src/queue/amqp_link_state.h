/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_link_state - what the files of the link share, and the only place that includes
 * librabbitmq's headers:
 *
 *     amqp_link.c         the connection: open, log in, cut
 *     amqp_link_calls.c   what we ask of the broker
 *     amqp_link_frames.c  what the broker sends by itself
 *     amqp_link_acks.c    acknowledgements of deliveries */
#ifndef TTG_QUEUE_AMQP_LINK_STATE_H
#define TTG_QUEUE_AMQP_LINK_STATE_H

#include "base/list.h"
#include "queue/amqp_link.h"

#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>

struct err;

enum {
    CH_MAIN = 1,
    CH_ASK = 2,
    CH_PULL = 3,
    CHANNELS = 3,
    BODY_BYTES_MAX = 512 << 20, /* what a broker takes at most */
};

/* A publishing that waits for its confirm. */
struct amqp_confirm {
    uint64_t id;   /* 0: nobody asks; UINT64_MAX: it was answered */
    uint64_t at_s; /* when it was published */
};

/* Deliveries that are to be acknowledged, in their order. */
enum amqp_tag_state { TAG_OPEN, TAG_HELD /* acknowledged, and not yet told */, TAG_SETTLED };
struct amqp_tag {
    uint64_t tag;
    enum amqp_tag_state state;
};
struct amqp_tags {
    struct amqp_tag *all;
    size_t first, count, cap, held;
};

struct amqp_link {
    const struct queue_config *config;
    amqp_connection_state_t conn; /* NULL: none */
    uint64_t gen, version;        /* version: of the broker */
    struct list events;
    bool blocked, replies;          /* replies: answers to questions are listened to */
    int answer_s;                   /* so long an answer is waited for */
    uint64_t slow_count, slow_at_s; /* answers that did not come in time; the last of them */
    struct amqp_confirm *confirms;  /* by publishing number, from confirm_base on */
    size_t confirm_count, confirm_cap;
    uint64_t confirm_base;
    uint64_t refused_since_s, refused_s; /* what was published: since when, and the last time */
    struct amqp_tags tags;
    struct {
        amqp_method_number_t method;
        struct amqp_event *event;
        enum amqp_event_kind kind;
        size_t want, have;
        uint64_t tag;
        bool redelivered;
    } in; /* the delivery being put together */
};

/* --- amqp_link.c --- */

/* The lengths of the event's texts; their bytes are to be filled in. */
struct amqp_event *link_event_new(struct amqp_link *l, enum amqp_event_kind kind, size_t reason,
                                  size_t extra, size_t body);
void link_event_put(struct amqp_link *l, struct amqp_event *e);
void link_tell(struct amqp_link *l, enum amqp_event_kind kind, uint64_t id, int rc,
               const char *text);
/* What a refusal or a failure of the library means; 0 when it is none. */
int link_explain(amqp_rpc_reply_t r, struct err *err);
void link_cut(struct amqp_link *l, const struct err *why);
void link_cut_status(struct amqp_link *l, int status);
/* The same of an answer to a question; how long the next ones are waited for depends on it. */
int link_answer(struct amqp_link *l, amqp_rpc_reply_t r, struct err *err);
/* With a broker that takes nothing for now. One that is out of reach is given up sooner than the
 * heartbeats do it, as nothing that we send is acknowledged. */
void link_be_patient(struct amqp_link *l, bool yes);
/* How long the next answer is waited for: as long as it takes, or as usual. */
void link_wait_long(struct amqp_link *l, bool yes);
/* Fills a text of an event. */
void link_fill(struct str to, struct str from);
static inline amqp_bytes_t link_bytes(struct str s)
{
    return (amqp_bytes_t){.len = s.len, .bytes = (void *)(uintptr_t)s.ptr};
}

void amqp_link_connect(struct amqp_link *l, const struct amqp_call *call);

/* --- amqp_link_calls.c --- */

/* What we put into the headers and properties of a message. */
struct link_headers {
    uint64_t attempt;
    struct str reason, history;
    struct str reply_to, correlation;
};
struct link_headers link_headers_of(const amqp_basic_properties_t *p);

/* --- amqp_link_frames.c --- */

/* A clock that only goes forward. */
uint64_t link_now_s(void);

/* --- amqp_link_acks.c --- */

void link_delivered(struct amqp_link *l, uint64_t tag);
/* Told with amqp_link_flush. False: it is not known, and has to be told as it is. */
bool link_hold_ack(struct amqp_link *l, uint64_t tag);
/* Somebody told the broker, when nothing was held. */
void link_settled(struct amqp_link *l, uint64_t tag, bool multiple);

#endif
