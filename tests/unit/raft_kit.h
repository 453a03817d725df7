/* SPDX-License-Identifier: Apache-2.0 */
/* raft_kit - a few rafts on a virtual wire, for tests that tell one story each.
 *
 * Time stands still unless a test runs it. Disks are durable at once, unless a test holds them. A
 * filter decides about every message. Random faults are the business of the simulator, sim/. */
#ifndef TESTS_RAFT_KIT_H
#define TESTS_RAFT_KIT_H

#include "tap.h"

#include "base/mem.h"
#include "core/raft/raft.h"

#include <stdlib.h>
#include <string.h>

enum { KIT_NODES_MAX = 9, KIT_MAIL_MAX = 8192, KIT_REPLIES_MAX = 4096 };

struct kit_mail {
    struct raft_message m;
    uint64_t due_us;
    struct raft_entry *entries;
    struct raft_snap snap;
    char *bytes;
};

struct kit {
    int count;
    struct raft *nodes[KIT_NODES_MAX + 1]; /* from 1; NULL: down */
    bool hold_disk[KIT_NODES_MAX + 1];
    uint64_t written[KIT_NODES_MAX + 1];
    struct raft_options options;
    struct kit_mail mail[KIT_MAIL_MAX];
    size_t mail_count;
    uint64_t now, delay_us;
    bool (*passes)(struct kit *k, struct raft_message *m); /* NULL: all */
    struct raft_reply replies[KIT_REPLIES_MAX];
    size_t reply_count;
    struct raft_write last_write[KIT_NODES_MAX + 1];
};

/* What one node starts with: terms of its entries, 0 ends. */
struct kit_boot {
    uint64_t term;
    uint64_t terms[16];
    uint64_t damaged; /* index */
};

static inline void kit_send_all(struct kit *k, const struct raft_effects *fx)
{
    for (uint32_t i = 0; i < fx->message_count; i++) {
        struct raft_message *m = &fx->messages[i];
        if ((k->passes && !k->passes(k, m)) || m->to > (uint64_t)k->count)
            continue;
        assert_true(k->mail_count < KIT_MAIL_MAX);
        struct kit_mail *mail = &k->mail[k->mail_count++];
        *mail = (struct kit_mail){.m = *m, .due_us = k->now + k->delay_us};
        if (m->count) {
            mail->entries = calloc(m->count, sizeof *mail->entries);
            memcpy(mail->entries, m->entries, m->count * sizeof *mail->entries);
            for (uint32_t e = 0; e < m->count; e++)
                raft_blob_ref(mail->entries[e].data);
        }
        if (m->snap)
            mail->snap = *m->snap;
        if (m->bytes.len)
            mail->bytes = mem_dup(m->bytes.ptr, m->bytes.len);
    }
}

static inline int kit_step(struct kit *k, int node, struct raft_event ev)
{
    struct raft *r = k->nodes[node];
    int rc = raft_step(r, &ev, k->now);
    const struct raft_effects *fx = raft_effects(r);
    if (rc)
        return rc;
    kit_send_all(k, fx);
    for (uint32_t i = 0; i < fx->reply_count && k->reply_count < KIT_REPLIES_MAX; i++)
        k->replies[k->reply_count++] = fx->replies[i];
    if (fx->write_count) {
        k->written[node] = fx->write_seq;
        k->last_write[node] = fx->writes[fx->write_count - 1];
        if (!k->hold_disk[node])
            return kit_step(k, node,
                            (struct raft_event){.kind = RAFT_EV_STORED, .seq = fx->write_seq});
    }
    return 0;
}

static inline void kit_free_mail(struct kit_mail *mail)
{
    for (uint32_t i = 0; i < mail->m.count; i++)
        raft_blob_unref(mail->entries[i].data);
    free(mail->entries);
    mem_free(mail->bytes);
}

static inline void kit_deliver(struct kit *k, size_t at)
{
    struct kit_mail mail = k->mail[at];
    memmove(&k->mail[at], &k->mail[at + 1], (k->mail_count - at - 1) * sizeof mail);
    k->mail_count--;
    mail.m.entries = mail.entries;
    mail.m.bytes.ptr = mail.bytes;
    if (mail.m.snap)
        mail.m.snap = &mail.snap;
    int to = (int)mail.m.to;
    if (k->nodes[to])
        kit_step(k, to, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &mail.m});
    kit_free_mail(&mail);
}

/* Lets the time pass: timers and messages in their order. */
static inline void kit_run(struct kit *k, uint64_t us)
{
    uint64_t end = k->now + us;
    for (;;) {
        uint64_t next = UINT64_MAX;
        int node = 0;
        size_t at = SIZE_MAX;
        for (size_t i = 0; i < k->mail_count; i++)
            if (k->mail[i].due_us < next) {
                next = k->mail[i].due_us;
                at = i;
            }
        for (int n = 1; n <= k->count; n++)
            if (k->nodes[n] && raft_next_us(k->nodes[n]) < next) {
                next = raft_next_us(k->nodes[n]);
                node = n;
                at = SIZE_MAX;
            }
        if (next > end)
            break;
        k->now = next > k->now ? next : k->now;
        if (at != SIZE_MAX)
            kit_deliver(k, at);
        else
            kit_step(k, node, (struct raft_event){.kind = RAFT_EV_TICK});
    }
    k->now = end;
}

static inline void kit_start(struct kit *k, int node, const struct kit_boot *b)
{
    struct raft_boot boot = {.term = b ? b->term : 0};
    struct raft_entry entries[16] = {0};
    boot.snap.config.count = (uint32_t)k->count;
    for (int i = 0; i < k->count; i++)
        boot.snap.config.members[i] = (struct raft_member){.id = (uint64_t)i + 1, .voter = true};
    for (; b && boot.count < 16 && b->terms[boot.count]; boot.count++) {
        char text[2] = {(char)('a' + boot.count), (char)('0' + b->terms[boot.count])};
        struct raft_entry *e = &entries[boot.count];
        *e = (struct raft_entry){.term = b->terms[boot.count], .kind = RAFT_DATA};
        e->damaged = b->damaged == boot.count + 1;
        e->data = e->damaged ? NULL : raft_blob_new(str_make(text, 2));
    }
    boot.entries = entries;
    struct raft_options o = k->options;
    o.id = (uint64_t)node;
    o.seed = (uint64_t)node * 77;
    assert_int_equal(raft_new(&o, &boot, k->now, &k->nodes[node]), 0);
    for (size_t i = 0; i < boot.count; i++)
        raft_blob_unref(entries[i].data);
}

static inline struct kit *kit_new(int count)
{
    struct kit *k = calloc(1, sizeof *k);
    k->count = count;
    k->delay_us = 1000;
    k->now = 1000000;
    k->options = (struct raft_options){.election_us = 300000,
                                       .beat_us = 50000,
                                       .resend_us = 100000,
                                       .entries_max = 100000,
                                       .waiting_max = 4000,
                                       .batch_entries = 64,
                                       .batch_bytes = 65536,
                                       .window_entries = 1024,
                                       .window_bytes = 1 << 20,
                                       .snap_entries = 1 << 30,
                                       .keep_entries = 10,
                                       .chunk_bytes = 4096};
    return k;
}

static inline void kit_free(struct kit *k)
{
    for (size_t i = 0; i < k->mail_count; i++)
        kit_free_mail(&k->mail[i]);
    for (int n = 1; n <= k->count; n++)
        raft_free(k->nodes[n]);
    free(k);
}

static inline struct raft_status kit_status(struct kit *k, int node)
{
    struct raft_status s;
    raft_status(k->nodes[node], &s);
    return s;
}

/* The leader of the highest term; 0: none. */
static inline int kit_leader(struct kit *k)
{
    int leader = 0;
    for (int n = 1; n <= k->count; n++)
        if (k->nodes[n] && kit_status(k, n).role == RAFT_LEADER &&
            (!leader || kit_status(k, n).term > kit_status(k, leader).term))
            leader = n;
    return leader;
}

/* Makes this node stand at once. */
static inline void kit_stand(struct kit *k, int node)
{
    struct raft_message now = {.kind = RAFT_TIMEOUT_NOW,
                               .from = node == 1 ? 2 : 1,
                               .to = (uint64_t)node,
                               .term = kit_status(k, node).term};
    kit_step(k, node, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &now});
}

static inline void kit_propose(struct kit *k, int node, uint64_t cookie)
{
    kit_step(k, node,
             (struct raft_event){.kind = RAFT_EV_PROPOSE, .bytes = STR("x"), .cookie = cookie});
}

static inline size_t kit_outcomes(const struct kit *k, enum raft_outcome outcome)
{
    size_t n = 0;
    for (size_t i = 0; i < k->reply_count; i++)
        n += k->replies[i].outcome == outcome;
    return n;
}

#endif
