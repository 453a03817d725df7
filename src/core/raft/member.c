/* SPDX-License-Identifier: Apache-2.0 */
/* member - who belongs to the group: one change at a time (4.1-4.3).
 *
 * Any majority of a configuration meets any majority of its neighbour, so no joint phase is needed.
 * The form in the dissertation had a hole (raft-dev, July 2015): a leader must first commit an
 * entry of its own term, or two changes of different leaders can be in force at once, whose
 * majorities do not meet. */
#include "core/raft/state.h"

enum { LEARNER_PATIENCE = 4 };

const struct raft_member *member_of(const struct raft_config *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->members[i].id == id)
            return &c->members[i];
    return NULL;
}

uint32_t member_quorum(const struct raft *r)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < r->config.count; i++)
        voters += r->config.members[i].voter;
    return voters / 2 + 1;
}

/* Who may stand: a voter of the newest configuration, or, until that is committed, of the one
 * before: a node that is being removed may be the only one with the entry that removes it (4.2.2).
 * Votes decide alone, so a learner may, too, and must in the end: when the leader is lost for good
 * while it promotes, a learner can be the only one whose log is good enough for all voters. */
uint32_t member_patience(const struct raft *r)
{
    struct raft_config before;
    if (r->voter)
        return 1;
    if (r->config_index > r->commit) {
        member_at(r, r->config_index - 1, &before);
        const struct raft_member *own = member_of(&before, r->o.id);
        if (own && own->voter)
            return 1;
    }
    return member_of(&r->config, r->o.id) ? LEARNER_PATIENCE : 0;
}

static void apply(struct raft *r, const struct raft_config *c, uint64_t index)
{
    struct raft_peer old[RAFT_MEMBERS_MAX];
    uint32_t old_count = r->peer_count;
    memcpy(old, r->peers, sizeof old);
    r->config = *c;
    r->config_index = index;
    r->peer_count = c->count;
    r->voter = false;
    for (uint32_t i = 0; i < c->count; i++) {
        struct raft_peer *p = &r->peers[i];
        *p = (struct raft_peer){.next = rlog_last(&r->log) + 1, .heard_us = r->now};
        for (uint32_t k = 0; k < old_count; k++)
            if (old[k].id == c->members[i].id)
                *p = old[k];
        p->id = c->members[i].id;
        p->voter = c->members[i].voter;
        if (p->id == r->o.id)
            r->voter = p->voter;
    }
    elect_reset_timer(r);
}

static bool config_of(const struct raft_entry *e, struct raft_config *ret_config)
{
    return e->kind == RAFT_CONFIG && e->data && !e->damaged &&
           raft_config_parse(str_make(e->data->bytes, e->data->len), ret_config);
}

bool member_check(const struct raft_entry *entries, size_t count, uint64_t term, uint64_t term_max)
{
    struct raft_config c;
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *e = &entries[i];
        if (e->term < term || e->term > term_max || e->kind > RAFT_CONFIG ||
            (e->kind == RAFT_CONFIG && !config_of(e, &c)))
            return false;
        term = e->term;
    }
    return true;
}

uint64_t member_at(const struct raft *r, uint64_t index, struct raft_config *ret_config)
{
    for (uint64_t i = index; i > r->snap.index && i > r->log.base; i--)
        if (config_of(rlog_at(&r->log, i), ret_config))
            return i;
    *ret_config = r->snap.config;
    return r->snap.index;
}

void member_find(struct raft *r)
{
    struct raft_config c;
    uint64_t index = member_at(r, rlog_last(&r->log), &c);
    apply(r, &c, index);
}

void member_appended(struct raft *r)
{
    struct raft_config c;
    if (config_of(rlog_at(&r->log, rlog_last(&r->log)), &c))
        apply(r, &c, rlog_last(&r->log));
}

static enum raft_outcome apply_change(const struct raft *r, enum raft_change change, uint64_t id,
                                      struct raft_config *c)
{
    uint32_t at = 0;
    while (at < c->count && c->members[at].id != id)
        at++;
    if (change == RAFT_ADD_LEARNER) {
        if (at < c->count || c->count == RAFT_MEMBERS_MAX || id == 0)
            return RAFT_REFUSED;
        c->members[c->count++] = (struct raft_member){.id = id, .voter = false};
        return RAFT_DONE;
    }
    if (at == c->count)
        return RAFT_REFUSED;
    if (change == RAFT_PROMOTE) {
        /* Only once it has caught up (4.2.1): else it would count but not help. */
        if (c->members[at].voter)
            return RAFT_REFUSED;
        if (!raft_caught_up(r, id))
            return RAFT_BUSY;
        c->members[at].voter = true;
        return RAFT_DONE;
    }
    if (c->members[at].voter && member_quorum(r) == 1)
        return RAFT_REFUSED; /* the only voter */
    memmove(&c->members[at], &c->members[at + 1], (c->count - at - 1) * sizeof c->members[0]);
    c->count--;
    return RAFT_DONE;
}

enum raft_outcome member_change(const struct raft *r, enum raft_change change, uint64_t id,
                                struct raft_config *ret_config)
{
    if (r->role != RAFT_LEADER)
        return RAFT_NOT_LEADER;
    if ((r->config_index > r->commit && !bent(MEMBER_TWO)) ||
        (r->commit < r->noop && !bent(MEMBER_NO_NOOP)) || r->transfer_to)
        return RAFT_BUSY;
    *ret_config = r->config;
    return apply_change(r, change, id, ret_config);
}

bool raft_caught_up(const struct raft *r, uint64_t id)
{
    for (uint32_t i = 0; r->role == RAFT_LEADER && i < r->peer_count; i++)
        if (r->peers[i].id == id)
            return r->peers[i].match + r->o.batch_entries >= rlog_last(&r->log) &&
                   r->peers[i].match > 0;
    return false;
}

/* count, then for each member its id (8 bytes, little endian) and 1 for a voter */
struct raft_blob *member_pack(const struct raft_config *c)
{
    char bytes[1 + RAFT_MEMBERS_MAX * 9];
    size_t at = 0;
    bytes[at++] = (char)c->count;
    for (uint32_t i = 0; i < c->count; i++) {
        for (int k = 0; k < 8; k++)
            bytes[at++] = (char)(c->members[i].id >> (8 * k));
        bytes[at++] = (char)c->members[i].voter;
    }
    return raft_blob_new(str_make(bytes, at));
}

bool raft_config_parse(struct str s, struct raft_config *ret_config)
{
    const unsigned char *b = (const unsigned char *)s.ptr;
    if (s.len < 1 || b[0] > RAFT_MEMBERS_MAX || s.len != 1 + (size_t)b[0] * 9)
        return false;
    struct raft_config c = {.count = b[0]};
    for (uint32_t i = 0; i < c.count; i++) {
        const unsigned char *at = b + 1 + i * 9;
        for (int k = 7; k >= 0; k--)
            c.members[i].id = c.members[i].id << 8 | at[k];
        if (at[8] > 1 || c.members[i].id == 0)
            return false;
        c.members[i].voter = at[8];
    }
    *ret_config = c;
    return true;
}
