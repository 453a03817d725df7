/* SPDX-License-Identifier: Apache-2.0 */
/* snap - snapshots (5.1), and the repair of what a disk lost (PAR).
 *
 * A snapshot is offered and then fetched: the receiver asks for one chunk after the other, as fast
 * as its disk takes them, and goes on where it was after a crash or from another member that has
 * the same. Snapshots hold committed state, so anybody may offer one.
 *
 * A damaged entry is asked for by index and term, which name its content (log matching, 3.5), so
 * any member that has it may send it, with a leader or without. */
#include "core/raft/state.h"

static bool is_damaged(const struct raft *r)
{
    return r->snap_damaged || r->log.hole != UINT64_MAX;
}

void snap_offer(struct raft *r, uint64_t to)
{
    if (r->snap_damaged || r->snap.index == 0)
        return;
    raft_send(r, RAFT_OFFER, to)->snap = &r->snap;
}

void snap_maybe_take(struct raft *r)
{
    uint64_t since = r->snap_wanted_at > r->snap.index ? r->snap_wanted_at : r->snap.index;
    bool serving = r->served_us && r->now - r->served_us < r->o.election_us;
    bool due = r->applied - r->snap.index >= r->o.snap_entries &&
               (!serving || r->applied - r->snap.index >= 4ull * r->o.snap_entries);
    if (r->snap_damaged || r->applied <= since || !(due || r->snap_asked))
        return;
    if (r->snap_wanted_at > r->snap.index && r->applied - r->snap_wanted_at < r->o.snap_entries)
        return; /* one is being taken */
    r->fx.take_snapshot = true;
    r->snap_asked = false;
    r->snap_wanted_at = r->applied;
}

void snap_taken(struct raft *r, const struct raft_snap *s)
{
    if (s->index <= r->snap.index || s->index > r->applied)
        return;
    struct raft_snap snap = *s;
    snap.term = rlog_term(&r->log, s->index);
    member_at(r, s->index, &snap.config);
    r->snap = snap;
    uint64_t base = s->index > r->o.keep_entries ? s->index - r->o.keep_entries : 0;
    if (base < r->log.base)
        base = r->log.base;
    struct raft_write *w = raft_write(r, RAFT_WRITE_COMPACT);
    w->snap = &r->snap;
    w->index = base;
    w->term = rlog_term(&r->log, base);
    rlog_compact(&r->log, base);
    if (r->config_index < r->snap.index)
        r->config_index = r->snap.index;
}

/* The receiver. */

static void pull(struct raft *r)
{
    struct raft_message *m = raft_send(r, RAFT_PULL, r->fetch.from);
    m->index = r->fetch.snap.index;
    m->offset = r->fetch.offset;
    r->fetch.asked_us = r->now;
}

/* In place of a damaged snapshot also an older one will do, if the log goes on from there. */
static bool is_wanted(const struct raft *r, const struct raft_snap *s)
{
    if (r->snap_damaged)
        return s->index >= r->snap.index || rlog_has(&r->log, s->index, s->term);
    return s->index > r->applied && r->role != RAFT_LEADER;
}

void snap_on_offer(struct raft *r, const struct raft_message *m)
{
    struct raft_fetch *f = &r->fetch;
    const struct raft_snap *s = m->snap;
    if (!s || s->bytes == 0)
        return;
    if (!is_wanted(r, s)) {
        /* Committed here: so it matches every leader. Tell ours, which seems not to know. */
        if (s->index <= r->commit && s->index > r->verified)
            r->verified = s->index;
        r->ack_due |= s->index <= r->commit;
        return;
    }
    if (f->storing)
        return; /* the offer comes again */
    bool stalled = r->now - f->moved_us >= r->o.election_us && !bent(SNAP_RESTART_NEVER);
    if (f->active && !stalled && f->snap.index >= s->index)
        return;
    bool resumes = f->snap.index == s->index && f->snap.digest == s->digest &&
                   f->snap.bytes == s->bytes && f->offset < s->bytes;
    if (!resumes) {
        f->snap = *s;
        f->offset = 0;
    }
    f->active = true;
    f->from = m->from;
    f->moved_us = r->now;
    pull(r);
}

void snap_on_chunk(struct raft *r, const struct raft_message *m)
{
    struct raft_fetch *f = &r->fetch;
    if (!f->active || f->storing || m->from != f->from || m->index != f->snap.index ||
        m->offset != f->offset || m->bytes.len == 0 || m->bytes.len > f->snap.bytes - f->offset)
        return;
    struct raft_write *w = raft_write(r, RAFT_WRITE_CHUNK);
    w->snap = &f->snap;
    w->offset = f->offset;
    w->bytes = m->bytes;
    f->storing = true;
    f->moved_us = r->now;
}

/* The fetched snapshot becomes the state (5.1, figure 5.3). If our log has its last entry, what is
 * behind it stays; else all of the log may conflict and goes. */
static void install(struct raft *r)
{
    const struct raft_snap fetched = r->fetch.snap, *s = &fetched;
    r->fetch = (struct raft_fetch){0};
    if (!is_wanted(r, s))
        return;
    const struct raft_config config = bent(SNAP_OLD_CONFIG) ? r->snap.config : s->config;
    bool keep = rlog_has(&r->log, s->index, s->term);
    if (bent(SNAP_KEEPS_LOG) && s->index <= rlog_last(&r->log) && s->index >= r->log.base)
        keep = true;
    if (keep)
        raft_commit_to(r, s->index);
    else if (s->index > r->commit)
        r->commit = s->index;
    r->snap = *s;
    r->snap.config = config;
    r->snap_damaged = false;
    struct raft_write *w = raft_write(r, RAFT_WRITE_INSTALL);
    w->snap = &r->snap;
    w->keep = keep;
    if (keep)
        rlog_compact(&r->log, s->index);
    else
        rlog_reset(&r->log, s->index, s->term);
    r->log.base_term = s->term;
    r->log.base_seq = r->seq;
    rlog_stored(&r->log, r->stored);
    r->applied = s->index;
    if (r->verified < s->index)
        r->verified = s->index;
    r->ack_due = true;
    member_find(r);
}

void snap_stored(struct raft *r, const struct raft_event *ev)
{
    struct raft_fetch *f = &r->fetch;
    if (!f->storing || ev->index != f->snap.index)
        return;
    f->storing = false;
    if (ev->failed) {
        *f = (struct raft_fetch){0};
        return;
    }
    f->offset = ev->offset;
    if (f->offset == f->snap.bytes)
        install(r);
    else if (f->active)
        pull(r);
}

/* The giver. */

void snap_on_pull(struct raft *r, const struct raft_message *m)
{
    if (m->index != r->snap.index || r->snap_damaged || m->offset >= r->snap.bytes) {
        if (m->index < r->snap.index)
            snap_offer(r, m->from);
        return;
    }
    uint64_t left = r->snap.bytes - m->offset;
    r->fx.snap_read =
        (struct raft_snap_read){.to = m->from,
                                .index = m->index,
                                .offset = m->offset,
                                .bytes = left < r->o.chunk_bytes ? left : r->o.chunk_bytes};
    r->served_us = r->now;
}

void snap_read(struct raft *r, const struct raft_event *ev)
{
    struct raft_message *m = raft_send(r, RAFT_CHUNK, ev->to);
    m->index = ev->index;
    m->offset = ev->offset;
    m->bytes = ev->bytes;
}

/* Repair. */

void snap_on_repair(struct raft *r, const struct raft_message *m)
{
    uint64_t i = m->index;
    if (!m->force && i > r->log.base && rlog_has(&r->log, i, m->log_term) &&
        !rlog_at(&r->log, i)->damaged) {
        struct raft_message *a = raft_send(r, RAFT_REPAIRED, m->from);
        a->index = i;
        a->entries = rlog_at(&r->log, i);
        while (a->count < r->o.batch_entries && i + a->count <= rlog_last(&r->log) &&
               !rlog_at(&r->log, i + a->count)->damaged)
            a->count++;
    } else if (r->snap.index >= i && r->snap.index > 0 && !r->snap_damaged) {
        snap_offer(r, m->from);
    } else if (r->applied >= i) {
        r->snap_asked = true;
    }
}

void snap_on_repaired(struct raft *r, const struct raft_message *m)
{
    for (uint32_t k = 0; k < m->count && r->fx.write_count + 4 < RAFT_WRITES_MAX; k++) {
        uint64_t i = m->index + k;
        const struct raft_entry *e = &m->entries[k];
        if (i <= r->log.base || !rlog_has(&r->log, i, e->term) || !rlog_at(&r->log, i)->damaged)
            continue;
        follow_repair(r, i, e);
    }
    elect_check(r); /* a candidate may only have waited for this */
}

static void ask(struct raft *r, uint64_t to, bool snap, uint64_t index)
{
    struct raft_message *m = raft_send(r, RAFT_REPAIR, to);
    m->force = snap;
    m->index = index;
    m->log_term = rlog_term(&r->log, index);
}

/* All members, and the leader: the entry that names the members may be behind the damage. */
static void ask_repair(struct raft *r)
{
    for (uint32_t i = 0; i <= r->peer_count && raft_room(r, 2); i++) {
        uint64_t to = i < r->peer_count ? r->peers[i].id : r->leader;
        if (to == 0 || to == r->o.id || (i == r->peer_count && lead_peer(r, to)))
            continue;
        if (r->log.hole != UINT64_MAX)
            ask(r, to, false, r->log.hole);
        if (r->snap_damaged)
            ask(r, to, true, r->log.base);
    }
    r->repair_us = r->now;
}

void snap_tick(struct raft *r)
{
    struct raft_fetch *f = &r->fetch;
    if (is_damaged(r) && r->now - r->repair_us >= r->o.resend_us)
        ask_repair(r);
    if (f->active && !f->storing && r->now - f->asked_us >= r->o.resend_us && raft_room(r, 1)) {
        if (r->now - f->moved_us >= 2 * r->o.election_us && !bent(SNAP_RESTART_NEVER))
            f->active = false; /* its giver is gone; the part stays, for the next offer */
        else
            pull(r);
    }
}

uint64_t snap_next_us(const struct raft *r)
{
    uint64_t next = UINT64_MAX;
    if (is_damaged(r))
        next = r->repair_us + r->o.resend_us;
    if (r->fetch.active && !r->fetch.storing && r->fetch.asked_us + r->o.resend_us < next)
        next = r->fetch.asked_us + r->o.resend_us;
    return next;
}
