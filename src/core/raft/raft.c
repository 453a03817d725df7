/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "core/raft/state.h"

#ifdef RAFT_PLANTED
enum raft_plant raft_plant;
#endif

uint64_t raft_identity(uint32_t node, uint64_t found, uint32_t times_formatted)
{
    if (bent(WIPED_IDENTITY))
        return (uint64_t)node << 32 | 1;
    return found ? found : (uint64_t)node << 32 | (times_formatted + 1);
}

int raft_new(const struct raft_options *o, const struct raft_boot *b, uint64_t now_us,
             struct raft **ret_raft)
{
    ensure(o->id != 0 && o->election_us > 0 && o->beat_us > 0 && o->batch_entries > 0);
    if (b->base > b->snap.index || b->snap.index > b->base + b->count ||
        !member_check(b->entries, b->count, b->base_term, b->term))
        return TTG_ECORRUPT;
    struct raft *r = mem_zalloc(sizeof *r);
    if (!r)
        return TTG_ENOMEM;
    r->o = *o;
    r->now = now_us;
    r->term = b->term;
    r->vote = b->vote;
    r->snap = b->snap;
    r->snap_damaged = b->snap_damaged;
    rlog_init(&r->log, b->base, b->base_term);
    r->fx.messages = r->messages;
    r->fx.writes = r->writes;
    r->fx.replies = mem_array(o->waiting_max + 4, sizeof *r->fx.replies);
    r->reads = mem_array(o->waiting_max + 1, sizeof *r->reads);
    if (!r->fx.replies || !r->reads || rlog_reserve(&r->log, b->count)) {
        raft_free(r);
        return TTG_ENOMEM;
    }
    size_t count = b->count;
    if (bent(DAMAGE_CUT))
        for (count = 0; count < b->count && !b->entries[count].damaged; count++)
            ;
    for (size_t i = 0; i < count; i++)
        rlog_append(&r->log, &b->entries[i], 0);
    if (r->log.hole <= r->snap.index && !r->snap_damaged)
        rlog_compact(&r->log, r->snap.index); /* the snapshot covers the damage */
    rlog_stored(&r->log, 0);
    prng_init(&r->prng, o->seed);
    r->commit = r->snap.index;
    r->applied = r->snap_damaged ? 0 : r->snap.index;
    r->fx.apply_to = r->applied;
    r->fetch.snap = b->partial;
    r->fetch.offset = b->partial_bytes;
    /* A promise to follow a leader for a while (4.2.3, and what leases rest on) may have been
     * given just before the restart. */
    r->leader_us = now_us;
    member_find(r);
    elect_reset_timer(r);
    *ret_raft = r;
    return 0;
}

void raft_free(struct raft *r)
{
    if (!r)
        return;
    rlog_done(&r->log);
    mem_free(r->fx.replies);
    mem_free(r->reads);
    mem_free(r);
}

/* The outbox. */

bool raft_room(const struct raft *r, uint32_t messages)
{
    return r->fx.message_count + messages + 2 * RAFT_MEMBERS_MAX <= RAFT_MESSAGES_MAX;
}

struct raft_message *raft_send(struct raft *r, enum raft_message_kind kind, uint64_t to)
{
    ensure(r->fx.message_count < RAFT_MESSAGES_MAX);
    struct raft_message *m = &r->messages[r->fx.message_count++];
    *m = (struct raft_message){
        .kind = (uint8_t)kind, .group = r->o.group, .from = r->o.id, .to = to, .term = r->term};
    return m;
}

struct raft_write *raft_write(struct raft *r, enum raft_write_kind kind)
{
    ensure(r->fx.write_count < RAFT_WRITES_MAX);
    if (r->fx.write_count == 0)
        r->fx.write_seq = ++r->seq;
    struct raft_write *w = &r->writes[r->fx.write_count++];
    *w = (struct raft_write){.kind = kind};
    return w;
}

void raft_reply(struct raft *r, uint64_t cookie, enum raft_outcome outcome, uint64_t index)
{
    ensure(r->fx.reply_count < r->o.waiting_max + 4);
    r->fx.replies[r->fx.reply_count++] = (struct raft_reply){
        .cookie = cookie,
        .outcome = outcome,
        .index = index,
        .leader = r->transfer_to && outcome == RAFT_BUSY ? r->transfer_to : r->leader};
}

/* Terms and roles. */

void raft_save_hard(struct raft *r)
{
    struct raft_write *w = raft_write(r, RAFT_WRITE_HARD);
    w->term = r->term;
    w->vote = bent(VOTE_NOT_KEPT) ? 0 : r->vote;
    r->hard_seq = r->seq;
}

void raft_follow(struct raft *r, uint64_t term, uint64_t leader)
{
    bool changed = r->role != RAFT_FOLLOWER || leader != r->leader;
    if (r->role == RAFT_LEADER)
        lead_stop(r);
    if (term > r->term) {
        r->term = term;
        r->vote = 0;
        r->verified = r->acked = 0;
        r->vote_reply_to = 0;
        r->ack_due = false;
        raft_save_hard(r);
    }
    if (leader != r->leader)
        read_drop_all(r);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    r->campaign_due = false;
    if (leader)
        r->leader_us = r->now;
    if (leader || changed)
        elect_reset_timer(r);
}

void raft_commit_to(struct raft *r, uint64_t index)
{
    ensure(index <= rlog_last(&r->log));
    for (; r->commit < index; r->commit++) {
        struct raft_entry *e = r->commit + 1 > r->log.base ? rlog_at(&r->log, r->commit + 1) : NULL;
        if (e && e->cookie) {
            raft_reply(r, e->cookie, RAFT_DONE, r->commit + 1);
            e->cookie = 0;
            r->waiting--;
        }
    }
    /* A leader that is no member leads until its removal is committed (4.2.2). */
    if (r->role == RAFT_LEADER && r->config_index <= r->commit && !r->voter)
        raft_follow(r, r->term, 0);
}

/* Events. */

/* A deposed leader or a late candidate learns the newer term: the real one, not one derived from
 * the request, or a node with the longest log and an old term would ask for pre-votes for ever. */
static void answer_old_term(struct raft *r, const struct raft_message *m)
{
    if (m->kind == RAFT_PREVOTE || m->kind == RAFT_VOTE)
        elect_on_request(r, m);
    else if (m->kind == RAFT_APPEND)
        raft_send(r, RAFT_APPEND_REPLY, m->from)->reject = true;
    else if (m->kind == RAFT_BEAT)
        raft_send(r, RAFT_BEAT_REPLY, m->from)->reject = true;
}

/* What the term of a message does; false: the rest of it does not count. */
static bool meet_term(struct raft *r, const struct raft_message *m)
{
    bool old_append = bent(OLD_TERM_APPEND) && m->kind == RAFT_APPEND;
    if (m->term < r->term && !old_append) {
        answer_old_term(r, m);
        return false;
    }
    bool leads = m->kind == RAFT_APPEND || m->kind == RAFT_BEAT;
    bool asks = m->kind == RAFT_PREVOTE || (m->kind == RAFT_PREVOTE_REPLY && !m->reject);
    if (m->kind == RAFT_VOTE && !m->force &&
        (r->role == RAFT_LEADER || r->now - r->leader_us < r->o.election_us))
        return false; /* we promised to follow somebody for this long (4.2.3) */
    if ((m->term > r->term && !asks) || (leads && r->role != RAFT_LEADER))
        raft_follow(r, m->term, leads ? m->from : 0);
    return true;
}

static void on_message(struct raft *r, const struct raft_message *m)
{
    if (m->kind < RAFT_OFFER && !meet_term(r, m))
        return;
    switch ((enum raft_message_kind)m->kind) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
        elect_on_request(r, m);
        break;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        elect_on_reply(r, m);
        break;
    case RAFT_APPEND:
        follow_on_append(r, m);
        break;
    case RAFT_BEAT:
        follow_on_beat(r, m);
        break;
    case RAFT_APPEND_REPLY:
    case RAFT_BEAT_REPLY:
        lead_on_reply(r, m);
        break;
    case RAFT_TIMEOUT_NOW:
        if (r->role != RAFT_LEADER && r->voter)
            elect_start(r, true);
        break;
    case RAFT_OFFER:
        snap_on_offer(r, m);
        break;
    case RAFT_PULL:
        snap_on_pull(r, m);
        break;
    case RAFT_CHUNK:
        snap_on_chunk(r, m);
        break;
    case RAFT_REPAIR:
        snap_on_repair(r, m);
        break;
    case RAFT_REPAIRED:
        snap_on_repaired(r, m);
        break;
    case RAFT_READ:
        read_start(r, m->cookie, m->from);
        break;
    case RAFT_READ_REPLY:
        read_on_reply(r, m);
        break;
    }
}

/* A disk that failed once has lost track of what it holds. Nothing is promised any more until the
 * host has read it again; whoever waits does not know. */
static void on_store_failed(struct raft *r)
{
    if (bent(FULL_DISK_GOES_ON)) {
        r->stored = r->seq;
        rlog_stored(&r->log, r->seq);
        return;
    }
    raft_follow(r, r->term, 0);
    r->fx.write_count = 0;
    r->halted = true;
}

/* What became possible: because something is durable now, a majority has answered, ... */
static void settle(struct raft *r)
{
    if (r->campaign_due && (raft_hard_stored(r) || bent(VOTE_UNSYNCED)))
        elect_send(r);
    if (r->vote_reply_to && (raft_hard_stored(r) || bent(VOTE_UNSYNCED)))
        elect_send_vote(r);
    if (r->role == RAFT_LEADER)
        lead_commit(r);
    if (r->role == RAFT_LEADER)
        lead_send_all(r);
    else
        follow_ack(r);
    read_check(r);
    uint64_t to = r->commit < r->log.hole ? r->commit : r->log.hole - 1;
    if (!r->snap_damaged && to > r->applied)
        r->applied = to;
    snap_maybe_take(r);
}

static int prepare(struct raft *r, const struct raft_event *ev, struct raft_entry *ret_entry)
{
    const struct raft_message *m = ev->kind == RAFT_EV_MESSAGE ? ev->message : NULL;
    if (m && !follow_check(m))
        return TTG_EPROTO;
    /* Without room nothing is taken in; a candidate without room does not win (elect_check). */
    bool adds = (m && m->count) || ev->kind == RAFT_EV_PROPOSE || ev->kind == RAFT_EV_MEMBER;
    if (rlog_reserve(&r->log, (m ? m->count : 0) + 2u) && adds)
        return TTG_ENOMEM;
    *ret_entry = (struct raft_entry){.kind = RAFT_DATA};
    struct raft_config c;
    if (ev->kind == RAFT_EV_PROPOSE) {
        ret_entry->data = raft_blob_new(ev->bytes);
    } else if (ev->kind == RAFT_EV_MEMBER && !r->halted) {
        enum raft_outcome no = member_change(r, ev->change, ev->to, &c);
        ret_entry->kind = RAFT_CONFIG;
        if (no != RAFT_DONE) {
            raft_reply(r, ev->cookie, no, 0);
            return 0;
        }
        ret_entry->data = member_pack(&c);
    } else {
        return 0;
    }
    return ret_entry->data ? 0 : TTG_ENOMEM;
}

static void dispatch(struct raft *r, const struct raft_event *ev, struct raft_entry *e)
{
    switch (ev->kind) {
    case RAFT_EV_TICK:
        if (r->role == RAFT_LEADER)
            lead_tick(r);
        else
            elect_tick(r);
        snap_tick(r);
        break;
    case RAFT_EV_MESSAGE:
        if (ev->message->to == r->o.id) /* else for an identity that this node had once */
            on_message(r, ev->message);
        break;
    case RAFT_EV_PROPOSE:
    case RAFT_EV_MEMBER:
        if (e->data) /* else a change that was refused */
            lead_propose(r, e, ev->cookie);
        break;
    case RAFT_EV_READ:
        read_start(r, ev->cookie, 0);
        break;
    case RAFT_EV_STORED:
        r->stored = ev->seq > r->stored ? ev->seq : r->stored;
        rlog_stored(&r->log, r->stored);
        break;
    case RAFT_EV_STORE_FAILED:
        on_store_failed(r);
        break;
    case RAFT_EV_SNAP_TAKEN:
        snap_taken(r, ev->snap);
        break;
    case RAFT_EV_SNAP_READ:
        snap_read(r, ev);
        break;
    case RAFT_EV_SNAP_STORED:
        snap_stored(r, ev);
        break;
    case RAFT_EV_TRANSFER:
        lead_transfer(r, ev->to, ev->cookie);
        break;
    }
}

int raft_step(struct raft *r, const struct raft_event *ev, uint64_t now_us)
{
    r->now = now_us > r->now ? now_us : r->now;
    r->fx.message_count = r->fx.write_count = r->fx.reply_count = 0;
    r->fx.snap_read.to = 0;
    r->fx.take_snapshot = false;
    struct raft_entry e;
    int rc = prepare(r, ev, &e);
    if (rc)
        return rc;
    if (!r->halted)
        dispatch(r, ev, &e);
    else if (ev->kind == RAFT_EV_PROPOSE || ev->kind == RAFT_EV_READ ||
             ev->kind == RAFT_EV_TRANSFER || ev->kind == RAFT_EV_MEMBER)
        raft_reply(r, ev->cookie, RAFT_NOT_LEADER, 0);
    raft_blob_unref(e.data);
    if (!r->halted)
        settle(r);
    r->fx.apply_to = r->applied;
    return 0;
}

const struct raft_effects *raft_effects(const struct raft *r)
{
    return &r->fx;
}

uint64_t raft_next_us(const struct raft *r)
{
    if (r->halted)
        return UINT64_MAX;
    uint64_t next = r->role == RAFT_LEADER ? r->beat_due_us : r->election_due_us;
    uint64_t snap = snap_next_us(r);
    return next < snap ? next : snap;
}

const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index)
{
    return rlog_at(&r->log, index);
}

void raft_status(const struct raft *r, struct raft_status *ret_status)
{
    *ret_status = (struct raft_status){.role = r->role,
                                       .id = r->o.id,
                                       .term = r->term,
                                       .leader = r->leader,
                                       .commit = r->commit,
                                       .applied = r->applied,
                                       .first = r->log.base + 1,
                                       .last = rlog_last(&r->log),
                                       .stable = r->log.stable,
                                       .snap_index = r->snap.index,
                                       .damaged = r->log.hole == UINT64_MAX ? 0 : r->log.hole,
                                       .halted = r->halted,
                                       .transfer_to = r->transfer_to,
                                       .config = &r->config};
    if (r->snap_damaged)
        ret_status->damaged = r->snap.index;
}
