/* SPDX-License-Identifier: Apache-2.0 */
/* resp_locate - which of several Redis servers has the job: asked of Sentinels, or of a Cluster.
 *
 * One look asks one of the hosts of the address, the next look the next one: who fails, lies or is
 * silent costs one try. Nodes of a cluster that were named in an answer are asked, too. */
#ifndef TTG_QUEUE_RESP_LOCATE_H
#define TTG_QUEUE_RESP_LOCATE_H

#include "queue/resp_ask.h"
#include "queue/url.h"

enum { RESP_HOST_BYTES = 256 };

struct resp_node {
    char host[RESP_HOST_BYTES];
    uint16_t port;
};

struct resp_locate {
    struct resp_ask ask;
    const struct url *url;
    struct tls *tls;
    unsigned slot;          /* a cluster's, that is looked for */
    size_t seed;            /* which host is asked next */
    struct resp_node asked; /* now */
    struct resp_node found;
    struct resp_node learned[URL_HOSTS_MAX];
    size_t learned_count;
    void *ctx;
    /* Once for each start, from the loop. NULL: `found` is set. */
    void (*on_done)(struct resp_locate *l, const struct err *err);
};

void resp_locate_init(struct resp_locate *l, struct loop *loop, const struct url *url,
                      struct tls *tls, void (*on_done)(struct resp_locate *l, const struct err *e),
                      void *ctx);
void resp_locate_done(struct resp_locate *l);
/* One look, which on_done ends, at the latest after a second or two. An error is returned, and
 * on_done does not come, when it cannot even begin. */
int resp_locate_start(struct resp_locate *l, struct err *err);
void resp_locate_stop(struct resp_locate *l);

/* False: no such node can be. */
bool resp_node_set(struct resp_node *n, struct str host, int64_t port);

/* The slot of a key: of what stands between its first { and the next }, if anything does. */
unsigned resp_key_slot(struct str key);

/* The next node of CLUSTER SLOTS' answer that masters slots; `from` is who answered. False: no
 * more, or an answer that makes no sense. */
struct resp_slots {
    struct resp_cursor at;
    size_t left;
};
bool resp_slots_begin(struct resp_slots *s, struct str reply);
bool resp_slots_next(struct resp_slots *s, const struct resp_node *from, unsigned *ret_first,
                     unsigned *ret_last, struct resp_node *ret_node);

#endif
