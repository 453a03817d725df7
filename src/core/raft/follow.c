/* SPDX-License-Identifier: Apache-2.0 */
/* follow - the follower's side of replication (3.5). */
#include "core/raft/state.h"

enum { ENTRIES_SPARE = 1024 }; /* past the limit for proposals: no-ops of many leaders fit */

/* Bytes from a peer: refused before anything changes when no member would send them. */
bool follow_check(const struct raft_message *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->entries[i].damaged)
            return false;
    bool append = m->kind == RAFT_APPEND;
    return member_check(m->entries, m->count, append ? m->log_term : 0,
                        append ? m->term : UINT64_MAX);
}

/* Where the leader should look next: our last entry that is not newer than its own at this place,
 * so that it can skip a whole term at a time (3.5, end). */
static void reject(struct raft *r, const struct raft_message *m)
{
    struct raft_message *a = raft_send(r, RAFT_APPEND_REPLY, m->from);
    a->reject = true;
    a->index = m->index;
    a->hint = rlog_floor(&r->log, m->index, m->log_term);
    a->hint_term = rlog_term(&r->log, a->hint);
}

void follow_cut(struct raft *r, uint64_t index)
{
    raft_write(r, RAFT_WRITE_CUT)->index = index;
    rlog_cut(&r->log, index);
    if (r->config_index >= index && !bent(MEMBER_NO_ROLLBACK))
        member_find(r);
}

void follow_repair(struct raft *r, uint64_t index, const struct raft_entry *e)
{
    struct raft_write *w = raft_write(r, RAFT_WRITE_REPAIR);
    rlog_fill(&r->log, index, e->data, r->seq);
    w->index = index;
    w->entries = rlog_at(&r->log, index);
    w->count = 1;
}

/* Adds entries[0..count) as index+1 ... and returns the last that is verified now. Entries that
 * are here already stay, and so does what is behind them: only a conflict cuts, or a late copy of
 * an old message would undo what was acknowledged since (3.5; the errata of the figure). */
static uint64_t add(struct raft *r, uint64_t index, const struct raft_entry *entries,
                    uint32_t count)
{
    uint32_t i = 0;
    for (; i < count && index + 1 + i <= rlog_last(&r->log); i++) {
        struct raft_entry *own = rlog_at(&r->log, index + 1 + i);
        if (own->term != entries[i].term) {
            follow_cut(r, index + 1 + i);
            break;
        }
        if (own->damaged) {
            if (r->fx.write_count + 4 > RAFT_WRITES_MAX)
                return index + i;
            follow_repair(r, index + 1 + i, &entries[i]);
        }
    }
    if (bent(CUT_ALWAYS) && i == count && index + count < rlog_last(&r->log) &&
        index + count + 1 > r->commit)
        follow_cut(r, index + count + 1);
    size_t most = (size_t)r->o.entries_max + ENTRIES_SPARE;
    uint32_t room = most > r->log.count ? (uint32_t)(most - r->log.count) : 0;
    uint32_t left = count - i < room ? count - i : room;
    if (left == 0)
        return index + i;
    struct raft_write *w = raft_write(r, RAFT_WRITE_APPEND);
    w->index = index + 1 + i;
    w->count = left;
    for (uint32_t end = i + left; i < end; i++) {
        rlog_append(&r->log, &entries[i], r->seq);
        member_appended(r);
    }
    w->entries = rlog_at(&r->log, w->index);
    return index + i;
}

/* The leader's commit index counts here as far as our log is known to match its log (3.5). */
static void believe_commit(struct raft *r, uint64_t commit, uint64_t match)
{
    uint64_t last = rlog_last(&r->log), to = commit;
    if (to > match && !bent(COMMIT_UNVERIFIED))
        to = match;
    raft_commit_to(r, to < last ? to : last);
}

void follow_on_append(struct raft *r, const struct raft_message *m)
{
    uint64_t index = m->index;
    const struct raft_entry *entries = m->entries;
    uint32_t count = m->count;
    if (r->role == RAFT_LEADER)
        return; /* of our own term: nobody else can be */
    if (index < r->log.base) {
        /* All up to the base is committed, hence the same at every leader. */
        uint64_t skip = r->log.base - index;
        skip = skip < count ? skip : count;
        index += skip;
        entries += skip;
        count -= (uint32_t)skip;
    }
    if (index >= r->log.base) {
        bool skipped = index != m->index || (bent(NO_PREV_CHECK) && index <= rlog_last(&r->log));
        if (!skipped && !rlog_has(&r->log, index, m->log_term)) {
            reject(r, m);
            return;
        }
        /* What is committed here cannot conflict with a leader's log; if it does, the message is
         * not from one. */
        for (uint32_t i = 0; i < count && index + 1 + i <= r->commit; i++)
            if (rlog_term(&r->log, index + 1 + i) != entries[i].term)
                return;
        index = add(r, index, entries, count);
    }
    if (index > r->verified)
        r->verified = index;
    r->ack_due = true;
    believe_commit(r, m->commit, index);
}

void follow_on_beat(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_LEADER)
        return;
    believe_commit(r, m->commit, r->verified);
    struct raft_message *a = raft_send(r, RAFT_BEAT_REPLY, m->from);
    a->round = m->round;
    a->echo_us = m->echo_us;
    a->lacks = r->verified < m->commit;
    a->index = rlog_last(&r->log); /* for people who look at the wire: it promises nothing */
}

/* An acknowledgement promises two things: the entries match the leader's, and this node will not
 * forget them (3.8), nor the term that they came in. */
void follow_ack(struct raft *r)
{
    if (!r->leader || r->role != RAFT_FOLLOWER || !raft_room(r, 1))
        return;
    uint64_t upto = r->verified;
    if (bent(ACK_STORED))
        upto = rlog_last(&r->log);
    if (!bent(ACK_UNSYNCED)) {
        if (!raft_hard_stored(r))
            return;
        upto = upto < r->log.stable ? upto : r->log.stable;
    }
    bool waits = upto < r->verified && r->log.hole == UINT64_MAX; /* for the disk */
    if (upto <= r->acked && (!r->ack_due || waits))
        return;
    struct raft_message *a = raft_send(r, RAFT_APPEND_REPLY, r->leader);
    a->index = upto;
    r->acked = upto;
    r->ack_due = false;
}
