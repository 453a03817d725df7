/* SPDX-License-Identifier: Apache-2.0 */
/* lead - the leader's side: replication (3.5), commit (3.6.2), heartbeats and check-quorum (6.2),
 * transfer (3.10). */
#include "core/raft/state.h"

#include <stddef.h>
#include <stdlib.h>

struct raft_peer *lead_peer(struct raft *r, uint64_t id)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i].id == id)
            return &r->peers[i];
    return NULL;
}

static int compare_down(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The highest value that a majority of the voters has reached; `own` is this node's. */
static uint64_t majority(const struct raft *r, size_t field, uint64_t own, bool counts_learners)
{
    uint64_t values[RAFT_MEMBERS_MAX + 1];
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        const struct raft_peer *p = &r->peers[i];
        if (p->id == r->o.id || (!p->voter && !counts_learners))
            continue;
        values[n++] = *(const uint64_t *)(const void *)((const char *)p + field);
    }
    if (r->voter || bent(REMOVED_COUNTS))
        values[n++] = own;
    uint32_t quorum = member_quorum(r);
    if (n < quorum)
        return 0;
    qsort(values, n, sizeof *values, compare_down);
    return values[quorum - 1];
}

uint64_t lead_quorum(const struct raft *r, size_t field)
{
    return majority(r, field, UINT64_MAX, false);
}

static void set_beat_due(struct raft *r)
{
    r->beat_due_us = (r->now / r->o.beat_us + 1) * r->o.beat_us;
}

static void append(struct raft *r, struct raft_entry *e, uint64_t cookie)
{
    struct raft_write *w = raft_write(r, RAFT_WRITE_APPEND);
    e->term = r->term;
    rlog_append(&r->log, e, r->seq);
    w->index = rlog_last(&r->log);
    w->count = 1;
    w->entries = rlog_at(&r->log, w->index);
    rlog_at(&r->log, w->index)->cookie = cookie;
    r->waiting += cookie != 0;
    member_appended(r);
}

void lead_start(struct raft *r)
{
    r->role = RAFT_LEADER;
    r->leader = r->o.id;
    r->transfer_to = r->transfer_cookie = 0;
    r->handed_over = r->lease_void = false;
    r->round = 0;
    r->fetch.active = r->fetch.active && r->snap_damaged;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        /* Optimistic: most followers have what we have. Who has not says so. */
        *p = (struct raft_peer){.id = p->id,
                                .voter = p->voter,
                                .flow = FLOW_STREAM,
                                .next = rlog_last(&r->log) + 1,
                                .since = rlog_last(&r->log),
                                .heard_us = r->now,
                                .sent_us = r->now};
    }
    set_beat_due(r);
    /* Only an entry of the own term can be committed by counting; with it all before (3.6.2). It
     * also tells what is committed, for reads (6.4) and for membership changes. */
    r->noop = rlog_last(&r->log) + 1;
    if (!bent(NO_NOOP)) {
        struct raft_entry noop = {.kind = RAFT_NOOP};
        append(r, &noop, 0);
    }
}

/* Whoever waits learns that nobody knows: a later leader may have the entry or not. */
void lead_stop(struct raft *r)
{
    for (uint64_t i = r->commit + 1; i <= rlog_last(&r->log) && r->waiting > 0; i++) {
        struct raft_entry *e = rlog_at(&r->log, i);
        if (!e->cookie)
            continue;
        raft_reply(r, e->cookie, bent(UNKNOWN_IS_NO) ? RAFT_REFUSED : RAFT_UNKNOWN, i);
        e->cookie = 0;
        r->waiting--;
    }
    if (r->transfer_to && r->transfer_cookie)
        raft_reply(r, r->transfer_cookie, r->handed_over ? RAFT_DONE : RAFT_UNKNOWN, 0);
    r->transfer_to = r->transfer_cookie = 0;
}

void lead_propose(struct raft *r, struct raft_entry *e, uint64_t cookie)
{
    bool leads = r->role == RAFT_LEADER;
    if (!leads || r->transfer_to || r->log.count >= r->o.entries_max ||
        r->waiting + r->read_count >= r->o.waiting_max)
        raft_reply(r, cookie, leads ? RAFT_BUSY : RAFT_NOT_LEADER, 0);
    else
        append(r, e, cookie);
}

/* How many entries behind p->next fit into a message and into the window. */
static uint32_t batch(const struct raft *r, const struct raft_peer *p)
{
    uint64_t last = rlog_last(&r->log), from = p->match > p->since ? p->match : p->since;
    uint64_t flying = p->next - 1 - from, bytes = rlog_bytes(&r->log, from, p->next - 1);
    uint32_t n = 0, most = r->o.batch_entries;
    if (p->flow == FLOW_STREAM) {
        if (flying >= r->o.window_entries || bytes >= r->o.window_bytes)
            return 0;
        if (most > r->o.window_entries - flying)
            most = (uint32_t)(r->o.window_entries - flying);
    }
    while (n < most && p->next + n <= last &&
           (n == 0 || rlog_bytes(&r->log, p->next - 1, p->next + n) <= r->o.batch_bytes))
        n++;
    return n;
}

static void send_append(struct raft *r, struct raft_peer *p, uint32_t count)
{
    struct raft_message *m = raft_send(r, RAFT_APPEND, p->id);
    m->index = p->next - 1;
    m->log_term = rlog_term(&r->log, m->index);
    m->commit = r->commit;
    m->count = count;
    m->entries = count ? rlog_at(&r->log, p->next) : NULL;
}

void lead_send(struct raft *r, struct raft_peer *p)
{
    while (p->id != r->o.id && p->flow != FLOW_SNAP && raft_room(r, 1)) {
        if (p->flow == FLOW_PROBE && p->probing)
            return;
        if (p->next <= r->log.base) {
            p->flow = FLOW_SNAP;
            p->sent_us = r->now;
            snap_offer(r, p->id);
            return;
        }
        uint32_t count = batch(r, p);
        if (p->flow == FLOW_STREAM && count == 0)
            return; /* it has everything, or the window is full */
        send_append(r, p, count);
        if (p->flow == FLOW_PROBE) {
            p->probing = true;
            p->sent_us = r->now;
            return;
        }
        if (p->next == p->match + 1)
            p->sent_us = r->now;
        p->next += count;
    }
}

void lead_send_all(struct raft *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        lead_send(r, &r->peers[i]);
}

/* An entry is committed when a majority has it on disk and it is of the own term; all before it
 * are then, too. Older ones are never counted: figure 3.7 (figure 8 of the paper) shows one that a
 * majority has and that is lost nevertheless. */
void lead_commit(struct raft *r)
{
    uint64_t own = bent(LEADER_UNSYNCED) ? rlog_last(&r->log) : r->log.stable;
    uint64_t index = majority(r, offsetof(struct raft_peer, match), own, bent(LEARNER_COUNTS));
    if (index <= r->commit || (bent(COMMIT_LAST_ONLY) && index != rlog_last(&r->log)))
        return;
    if (rlog_term(&r->log, index) == r->term || bent(COMMIT_OLD_TERM))
        raft_commit_to(r, index);
}

/* One message a peer that only says "I lead"; what is committed goes as far as the peer is known to
 * match. Beats of all groups leave at the same time, so that a host packs them together. */
void lead_beat(struct raft *r)
{
    r->round++;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        if (p->id == r->o.id || !raft_room(r, 0))
            continue;
        struct raft_message *m = raft_send(r, RAFT_BEAT, p->id);
        m->commit = p->match < r->commit && !bent(COMMIT_UNVERIFIED) ? p->match : r->commit;
        m->round = r->round;
        m->echo_us = r->now;
    }
}

static void to_probe(struct raft_peer *p)
{
    p->flow = FLOW_PROBE;
    p->probing = false;
}

/* Unanswered for too long: lost. After a loss one probe goes, not the whole window again. */
static void resend(struct raft *r, struct raft_peer *p)
{
    if (p->id == r->o.id || r->now - p->sent_us < r->o.resend_us || bent(NO_RESEND))
        return;
    if (p->flow == FLOW_STREAM && p->next > p->match + 1) {
        p->next = (p->match > p->since ? p->match : p->since) + 1;
        to_probe(p);
    } else if (p->flow == FLOW_PROBE) {
        p->probing = false;
    } else if (p->flow == FLOW_SNAP) {
        p->sent_us = r->now;
        snap_offer(r, p->id);
    }
}

void lead_tick(struct raft *r)
{
    if (r->now < r->beat_due_us)
        return;
    set_beat_due(r);
    /* A leader that a majority does not answer steps down (6.2): clients look elsewhere, and a cut
     * off leader does not hold its followers. */
    uint64_t heard_us = lead_quorum(r, offsetof(struct raft_peer, heard_us));
    if (heard_us < r->now && r->now - heard_us > r->o.election_us) {
        raft_follow(r, r->term, 0);
        return;
    }
    if (r->transfer_to && r->now >= r->transfer_due_us) {
        if (r->transfer_cookie)
            raft_reply(r, r->transfer_cookie, RAFT_UNKNOWN, 0);
        r->transfer_to = r->transfer_cookie = 0;
    }
    lead_beat(r);
    for (uint32_t i = 0; i < r->peer_count; i++)
        resend(r, &r->peers[i]);
}

static void hand_over(struct raft *r, const struct raft_peer *p)
{
    if (r->transfer_to != p->id || p->match != rlog_last(&r->log) || r->handed_over)
        return;
    raft_send(r, RAFT_TIMEOUT_NOW, p->id);
    /* The target may stand at any later time and its voters are told to forget their promise: no
     * lease in this term any more. */
    r->handed_over = r->lease_void = true;
}

/* 3.10: take no more proposals, bring the target up to date, tell it to stand at once. */
void lead_transfer(struct raft *r, uint64_t to, uint64_t cookie)
{
    struct raft_peer *p = lead_peer(r, to);
    enum raft_outcome no = r->role != RAFT_LEADER                ? RAFT_NOT_LEADER
                           : r->transfer_to                      ? RAFT_BUSY
                           : !p || !p->voter || p->id == r->o.id ? RAFT_REFUSED
                                                                 : RAFT_DONE;
    if (no != RAFT_DONE) {
        raft_reply(r, cookie, no, 0);
        return;
    }
    r->transfer_to = to;
    r->transfer_cookie = cookie;
    r->transfer_due_us = r->now + r->o.election_us;
    r->handed_over = false;
    hand_over(r, p);
}

static void on_reject(struct raft *r, struct raft_peer *p, const struct raft_message *m)
{
    bool late = p->flow == FLOW_PROBE ? m->index != p->next - 1 : m->index <= p->match;
    if (late || p->flow == FLOW_SNAP || m->hint > m->index)
        return;
    /* Our last entry that is not newer than the follower's at that place: one round trip a term. */
    uint64_t next = m->hint + 1;
    if (m->hint >= r->log.base) {
        next = rlog_floor(&r->log, m->hint, m->hint_term) + 1;
        if (next == r->log.base + 1 && r->log.base_term > m->hint_term)
            next = r->log.base; /* even the base differs: it takes a snapshot */
    }
    if (next > m->index)
        next = m->index;
    p->next = next > p->match ? next : p->match + 1;
    p->since = 0;
    to_probe(p);
}

static void on_ack(struct raft *r, struct raft_peer *p, const struct raft_message *m)
{
    if (m->index > rlog_last(&r->log))
        return; /* nobody can have verified that */
    if (m->index > p->match) {
        p->match = m->index;
        p->sent_us = r->now;
    }
    if (p->next <= p->match)
        p->next = p->match + 1;
    if (p->flow == FLOW_PROBE || (p->flow == FLOW_SNAP && p->match >= r->log.base))
        p->flow = FLOW_STREAM;
    hand_over(r, p);
}

static void on_beat_reply(struct raft *r, struct raft_peer *p, const struct raft_message *m)
{
    if (m->round > p->round)
        p->round = m->round;
    uint64_t echo_us = bent(LEASE_FROM_REPLY) ? r->now : m->echo_us;
    if (echo_us > p->echo_us && echo_us <= r->now)
        p->echo_us = echo_us;
    if (bent(BEAT_IS_MATCH) && m->index <= rlog_last(&r->log) && m->index > p->match) {
        p->match = m->index;
        p->next = p->next > p->match ? p->next : p->match + 1;
    }
    /* Restarted since: it has what it acknowledged, but does not know that this is ours. */
    if (m->lacks && p->flow == FLOW_STREAM && p->next == p->match + 1)
        to_probe(p);
}

void lead_on_reply(struct raft *r, const struct raft_message *m)
{
    struct raft_peer *p = lead_peer(r, m->from);
    if (r->role != RAFT_LEADER || !p || p->id == r->o.id)
        return;
    p->heard_us = r->now;
    if (m->kind == RAFT_BEAT_REPLY)
        on_beat_reply(r, p, m);
    else if (m->reject)
        on_reject(r, p, m);
    else
        on_ack(r, p, m);
}
