/* SPDX-License-Identifier: Apache-2.0 */
/* read - linearizable reads without a log entry (6.4), and on followers (6.4, end).
 *
 * A read waits for two things: the leader has committed an entry of its own term, so its commit
 * index covers all that was ever acknowledged; and a majority has answered a heartbeat that left
 * after the read came, so nobody else led meanwhile. With leases (6.4.1) the second is replaced by
 * time: a follower that answered a heartbeat votes for nobody until its clock has advanced by the
 * election timeout. The lease runs from when the heartbeat left, is cut by how much two clocks may
 * differ in speed, and ends when leadership is handed over on purpose. */
#include "core/raft/state.h"

#include <stddef.h>

static void answer(struct raft *r, const struct raft_waiting_read *w, enum raft_outcome outcome)
{
    if (w->from) {
        struct raft_message *m = raft_send(r, RAFT_READ_REPLY, w->from);
        m->cookie = w->cookie;
        m->index = w->index;
        m->reject = outcome != RAFT_DONE;
        return;
    }
    raft_reply(r, w->cookie, outcome, w->index);
    r->fx.replies[r->fx.reply_count - 1].read = true;
}

static bool has_lease(const struct raft *r)
{
    if (!r->o.lease_reads || ((r->lease_void || r->transfer_to) && !bent(LEASE_TRANSFER)))
        return false;
    uint64_t since = lead_quorum(r, offsetof(struct raft_peer, echo_us));
    uint64_t lease = r->o.election_us * 1000 / (1000 + r->o.drift_permille);
    return since == UINT64_MAX || (since > 0 && r->now < since + lease);
}

void read_start(struct raft *r, uint64_t cookie, uint64_t from)
{
    struct raft_waiting_read w = {.cookie = cookie, .from = from};
    bool full = r->waiting + r->read_count >= r->o.waiting_max;
    if (full || (r->role != RAFT_LEADER && (from || !r->leader))) {
        answer(r, &w, full ? RAFT_BUSY : RAFT_NOT_LEADER);
        return;
    }
    if (r->role != RAFT_LEADER) {
        raft_send(r, RAFT_READ, r->leader)->cookie = cookie;
        w.round = r->now; /* given up after a while: see read_check */
    } else {
        w.round = bent(READ_OLD_ROUND) ? r->round : r->round + 1;
    }
    r->reads[r->read_count++] = w;
}

/* Safe to ask again elsewhere: a read changes nothing. */
void read_drop_all(struct raft *r)
{
    for (uint32_t i = 0; i < r->read_count; i++)
        if (!r->reads[i].from || raft_room(r, 1)) /* an asking follower gives up by itself */
            answer(r, &r->reads[i], RAFT_NOT_LEADER);
    r->read_count = 0;
}

void read_check(struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        if (r->read_count > 0 && r->now - r->reads[0].round >= r->o.election_us)
            read_drop_all(r); /* the question or the answer was lost */
        return;
    }
    if (r->read_count == 0 || (r->commit < r->noop && !bent(READ_EARLY)))
        return;
    bool lease = has_lease(r) || bent(READ_NO_ROUND), underway = false, more = false;
    uint64_t acked = lead_quorum(r, offsetof(struct raft_peer, round));
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->read_count; i++) {
        struct raft_waiting_read w = r->reads[i];
        if (w.index == 0)
            w.index = r->commit;
        if ((lease || w.round <= acked) && (!w.from || raft_room(r, 1))) {
            answer(r, &w, RAFT_DONE);
            continue;
        }
        more |= w.round > r->round;
        underway |= w.round <= r->round;
        r->reads[kept++] = w;
    }
    r->read_count = kept;
    if (more && !underway) /* reads that come meanwhile share the next round */
        lead_beat(r);
}

void read_on_reply(struct raft *r, const struct raft_message *m)
{
    for (uint32_t i = 0; i < r->read_count; i++) {
        struct raft_waiting_read w = r->reads[i];
        if (w.cookie != m->cookie || w.from || r->role == RAFT_LEADER)
            continue;
        w.index = m->index;
        r->reads[i] = r->reads[--r->read_count];
        answer(r, &w, m->reject ? RAFT_NOT_LEADER : RAFT_DONE);
        return;
    }
}
