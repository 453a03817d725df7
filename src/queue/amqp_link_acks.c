/* SPDX-License-Identifier: Apache-2.0 */
/* Acknowledgements of deliveries, as few frames as possible: those of one turn are held, and what
 * is settled from the oldest delivery on is told with one "up to here". A delivery that is still
 * open ends that; those behind it are acknowledged one by one. */
#include "base/ensure.h"
#include "base/mem.h"
#include "queue/amqp_link_state.h"

#include <string.h>

void link_delivered(struct amqp_link *l, uint64_t tag)
{
    struct amqp_tags *t = &l->tags;
    if (t->first + t->count == t->cap && t->first > t->count) {
        memmove(t->all, t->all + t->first, t->count * sizeof *t->all);
        t->first = 0;
    }
    if (t->first + t->count == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 256;
        struct amqp_tag *more = mem_realloc(t->all, cap * sizeof *more);
        ensure(more != NULL); /* as in link_event_new */
        t->all = more;
        t->cap = cap;
    }
    t->all[t->first + t->count++] = (struct amqp_tag){tag, TAG_OPEN};
}

/* They come in ascending order. NULL: it was settled long ago. */
static struct amqp_tag *find(struct amqp_tags *t, uint64_t tag)
{
    size_t from = t->first, to = t->first + t->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (t->all[middle].tag < tag)
            from = middle + 1;
        else
            to = middle;
    }
    return from < t->first + t->count && t->all[from].tag == tag ? &t->all[from] : NULL;
}

bool link_hold_ack(struct amqp_link *l, uint64_t tag)
{
    struct amqp_tag *at = find(&l->tags, tag);
    if (!at || at->state != TAG_OPEN)
        return false;
    at->state = TAG_HELD;
    l->tags.held++;
    return true;
}

void link_settled(struct amqp_link *l, uint64_t tag, bool multiple)
{
    struct amqp_tags *t = &l->tags;
    struct amqp_tag *at = find(t, tag);
    ensure(t->held == 0);
    if (at && !multiple)
        at->state = TAG_SETTLED;
    while (multiple && t->count > 0 && t->all[t->first].tag <= tag) {
        t->first++;
        t->count--;
    }
}

static void send_ack(struct amqp_link *l, uint64_t tag, bool multiple)
{
    int status = l->conn ? amqp_basic_ack(l->conn, CH_MAIN, tag, multiple) : 0;
    if (status)
        link_cut_status(l, status);
}

void amqp_link_flush(struct amqp_link *l)
{
    struct amqp_tags *t = &l->tags;
    size_t held = 0;
    uint64_t last = 0;
    if (t->held == 0)
        return;
    for (; t->count > 0 && t->all[t->first].state != TAG_OPEN; t->first++, t->count--) {
        if (t->all[t->first].state == TAG_SETTLED)
            continue;
        last = t->all[t->first].tag;
        held++;
    }
    t->held -= held;
    if (held > 0)
        send_ack(l, last, held > 1);
    for (size_t i = t->first; t->held > 0 && i < t->first + t->count; i++) {
        if (t->all[i].state != TAG_HELD)
            continue;
        t->all[i].state = TAG_SETTLED;
        t->held--;
        send_ack(l, t->all[i].tag, false); /* a cut empties the list */
    }
}
