/* SPDX-License-Identifier: Apache-2.0 */
/* elect - who leads: pre-vote (9.6), vote (3.4), and the votes of a node whose disk is damaged. */
#include "core/raft/state.h"

/* Randomized, so that rarely two nodes ask at once (3.4, 9.2). */
void elect_reset_timer(struct raft *r)
{
    uint32_t patience = member_patience(r);
    r->election_due_us =
        patience ? r->now + patience * r->o.election_us + prng_below(&r->prng, r->o.election_us)
                 : UINT64_MAX;
}

static void ask(struct raft *r, enum raft_message_kind kind, uint64_t term)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        p->vote = p->lacks = false;
        if (p->id == r->o.id || !p->voter)
            continue;
        struct raft_message *m = raft_send(r, kind, p->id);
        m->term = term;
        m->force = r->forced;
        m->index = rlog_last(&r->log);
        m->log_term = rlog_term(&r->log, m->index);
        if (r->log.hole != UINT64_MAX) {
            m->hint = r->log.hole;
            m->hint_term = rlog_term(&r->log, r->log.hole);
        }
    }
    elect_check(r);
}

void elect_tick(struct raft *r)
{
    if (r->now < r->election_due_us)
        return;
    elect_reset_timer(r);
    if (member_patience(r) == 0)
        return;
    if (r->leader)
        read_drop_all(r);
    r->role = RAFT_PRECANDIDATE;
    r->leader = 0;
    r->campaign_due = false;
    r->forced = false;
    ask(r, RAFT_PREVOTE, r->term + 1);
}

void elect_start(struct raft *r, bool forced)
{
    raft_follow(r, r->term + 1, 0);
    r->role = RAFT_CANDIDATE;
    r->vote = r->o.id;
    raft_save_hard(r);
    r->forced = forced;
    r->campaign_due = true; /* only then: after a crash we might stand again with a shorter log */
    elect_reset_timer(r);
}

void elect_send(struct raft *r)
{
    r->campaign_due = false;
    ask(r, RAFT_VOTE, r->term);
}

/* A candidate with a damaged entry may lead only if a majority of the voters, itself not among
 * them, has no trace of it and now follows this term: then it was never committed and never can be,
 * and it is dropped with all behind it (PAR, recovery of a log at its leader). Otherwise somebody
 * has it: wait for the repair. */
static bool drop_damage(struct raft *r, uint32_t lacking)
{
    if (lacking < member_quorum(r) && !bent(DAMAGE_LEAD))
        return false;
    if (r->log.hole <= r->commit)
        return false;
    follow_cut(r, r->log.hole);
    return true;
}

void elect_check(struct raft *r)
{
    for (;;) {
        uint32_t votes = r->voter, lacking = 0;
        for (uint32_t i = 0; i < r->peer_count; i++) {
            const struct raft_peer *p = &r->peers[i];
            votes += p->voter && p->vote && p->id != r->o.id;
            lacking += p->voter && p->vote && p->lacks && p->id != r->o.id;
        }
        if (votes + bent(MINORITY_WINS) < member_quorum(r))
            return;
        if (r->role == RAFT_PRECANDIDATE) {
            elect_start(r, false);
            return;
        }
        if (r->role != RAFT_CANDIDATE || r->campaign_due)
            return;
        if (r->log.hole == UINT64_MAX) {
            if (rlog_has_room(&r->log, 1))
                lead_start(r);
            return;
        }
        /* The cut may have brought an older configuration back: count again. */
        if (!drop_damage(r, lacking))
            return;
    }
}

/* The candidate's log is at least as good as ours (3.6.1). Damaged entries count: we may have
 * acknowledged them. */
static bool is_up_to_date(const struct raft *r, const struct raft_message *m)
{
    uint64_t last = rlog_last(&r->log), term = rlog_term(&r->log, last);
    if (bent(VOTE_ANY_LOG))
        return true;
    if (bent(VOTE_BY_LENGTH))
        return m->index >= last;
    return m->log_term != term ? m->log_term > term : m->index >= last;
}

static void on_prevote(struct raft *r, const struct raft_message *m)
{
    bool follows = r->role == RAFT_LEADER || r->now - r->leader_us < r->o.election_us;
    bool grant = m->term > r->term && !follows && is_up_to_date(r, m);
    struct raft_message *a = raft_send(r, RAFT_PREVOTE_REPLY, m->from);
    a->reject = !grant;
    if (grant)
        a->term = m->term;
    else if (bent(PREVOTE_NO_TERM))
        a->term = m->term - 1;
}

void elect_on_request(struct raft *r, const struct raft_message *m)
{
    if (m->kind == RAFT_PREVOTE) {
        on_prevote(r, m);
        return;
    }
    bool free = r->vote == 0 || r->vote == m->from || bent(VOTE_TWICE);
    if (m->term < r->term || !free || r->leader || !is_up_to_date(r, m)) {
        raft_send(r, RAFT_VOTE_REPLY, m->from)->reject = true;
        return;
    }
    if (r->vote != m->from) {
        r->vote = m->from;
        raft_save_hard(r);
    }
    r->role = RAFT_FOLLOWER; /* a pre-vote of our own that is under way is void */
    r->vote_reply_to = m->from;
    r->vote_hole = m->hint;
    r->vote_hole_term = m->hint_term;
    elect_reset_timer(r);
}

void elect_send_vote(struct raft *r)
{
    struct raft_message *a = raft_send(r, RAFT_VOTE_REPLY, r->vote_reply_to);
    /* What we compacted was committed: surely not lacking. */
    a->lacks = r->vote_hole > r->log.base && !rlog_has(&r->log, r->vote_hole, r->vote_hole_term);
    r->vote_reply_to = 0;
}

void elect_on_reply(struct raft *r, const struct raft_message *m)
{
    bool pre = m->kind == RAFT_PREVOTE_REPLY;
    struct raft_peer *p = lead_peer(r, m->from);
    if (!p || m->reject)
        return;
    if (bent(VOTES_OF_PREVOTE) && pre && r->role == RAFT_CANDIDATE && m->term >= r->term)
        pre = false;
    if (pre ? r->role != RAFT_PRECANDIDATE || m->term != r->term + 1
            : r->role != RAFT_CANDIDATE || m->term != r->term)
        return;
    p->vote = true;
    p->lacks = m->lacks;
    elect_check(r);
}
