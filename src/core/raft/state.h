/* SPDX-License-Identifier: Apache-2.0 */
/* state - what the files of raft share: the state of one group on one node, and the calls between
 * raft.c (events, terms, roles), elect.c, lead.c (replication, the leader's side), follow.c (the
 * follower's side), member.c, snap.c (snapshots and repair) and read.c. */
#ifndef TTG_CORE_RAFT_STATE_H
#define TTG_CORE_RAFT_STATE_H

#include "base/prng.h"
#include "core/raft/plant.h"
#include "core/raft/raft.h"
#include "core/raft/rlog.h"

enum raft_flow {
    FLOW_PROBE,  /* one append at a time, to find where the logs part */
    FLOW_STREAM, /* as many as the window takes */
    FLOW_SNAP,   /* needs what is compacted: a snapshot is on offer */
};

/* What a node knows of another member; the leader's part holds for its term only. */
struct raft_peer {
    uint64_t id;
    bool voter;
    bool vote, lacks; /* candidate: granted in this campaign; and lacks our hole */
    enum raft_flow flow;
    uint64_t since;          /* the window counts from here while match is not known yet */
    uint64_t match, next;    /* acknowledged in this term; to send next */
    uint64_t sent_us;        /* last append or offer, or progress since */
    bool probing;            /* PROBE: one is on its way */
    uint64_t heard_us;       /* any answer in this term */
    uint64_t round, echo_us; /* the newest heartbeat that it answered */
};

struct raft_waiting_read {
    uint64_t cookie, index, round, from; /* from: the follower that asked, 0: our own client */
};

struct raft_fetch {
    bool active;
    uint64_t from, offset, asked_us, moved_us;
    bool storing; /* a chunk is on its way to the disk */
    struct raft_snap snap;
};

struct raft {
    struct raft_options o;
    struct prng prng;
    uint64_t now;

    /* persistent */
    uint64_t term, vote;
    struct raft_log log;
    struct raft_snap snap;
    bool snap_damaged;
    uint64_t seq, stored, hard_seq; /* writes: given out, durable, of the hard state */

    /* volatile */
    enum raft_role role;
    uint64_t leader;
    bool halted;
    uint64_t commit, applied; /* applied: handed to the host */
    struct raft_config config;
    uint64_t config_index; /* where it stands in the log; 0 or snap.index: not in the log */
    struct raft_peer peers[RAFT_MEMBERS_MAX];
    uint32_t peer_count;
    bool voter; /* whether this node is one */
    uint64_t election_due_us, beat_due_us;

    /* follower */
    uint64_t leader_us;                 /* when a leader was last heard */
    uint64_t verified;                  /* matches the leader of this term up to here */
    uint64_t acked;                     /* in this term */
    bool ack_due;                       /* an append wants an answer */
    uint64_t vote_reply_to;             /* a granted vote that waits for the disk ... */
    uint64_t vote_hole, vote_hole_term; /* ... and the candidate's damaged entry */
    struct raft_fetch fetch;
    uint64_t repair_us;

    /* candidate */
    bool campaign_due, forced; /* the request waits for the disk; the leader asked for it */

    /* leader */
    uint64_t noop; /* the first entry of the own term */
    uint64_t transfer_to, transfer_due_us, transfer_cookie;
    bool handed_over; /* TIMEOUT_NOW has left in this transfer; lease_void: in this term */
    bool lease_void;
    uint64_t round;
    struct raft_waiting_read *reads;
    uint32_t read_count, waiting; /* waiting: entries with a cookie */

    /* own snapshot */
    uint64_t served_us;      /* when somebody last fetched from it */
    uint64_t snap_wanted_at; /* where the host was last told to take one */
    bool snap_asked;         /* another member needs a newer one */

    struct raft_effects fx;
    struct raft_message messages[RAFT_MESSAGES_MAX];
    struct raft_write writes[RAFT_WRITES_MAX];
};

/* raft.c */
struct raft_message *raft_send(struct raft *r, enum raft_message_kind kind, uint64_t to);
struct raft_write *raft_write(struct raft *r, enum raft_write_kind kind);
bool raft_room(const struct raft *r, uint32_t messages); /* in the outbox */
void raft_reply(struct raft *r, uint64_t cookie, enum raft_outcome outcome, uint64_t index);
void raft_save_hard(struct raft *r);
void raft_follow(struct raft *r, uint64_t term, uint64_t leader);
void raft_commit_to(struct raft *r, uint64_t index);
static inline bool raft_hard_stored(const struct raft *r)
{
    return r->hard_seq <= r->stored;
}

/* elect.c */
void elect_reset_timer(struct raft *r);
void elect_tick(struct raft *r);
void elect_start(struct raft *r, bool forced);
void elect_send(struct raft *r); /* the disk has the vote for ourselves */
void elect_check(struct raft *r);
void elect_on_request(struct raft *r, const struct raft_message *m);
void elect_on_reply(struct raft *r, const struct raft_message *m);
void elect_send_vote(struct raft *r);

/* lead.c */
void lead_start(struct raft *r);
void lead_stop(struct raft *r);
void lead_tick(struct raft *r);
void lead_beat(struct raft *r);
void lead_send(struct raft *r, struct raft_peer *p);
void lead_send_all(struct raft *r);
void lead_commit(struct raft *r);
void lead_propose(struct raft *r, struct raft_entry *e, uint64_t cookie);
void lead_transfer(struct raft *r, uint64_t to, uint64_t cookie);
void lead_on_reply(struct raft *r, const struct raft_message *m);
struct raft_peer *lead_peer(struct raft *r, uint64_t id); /* NULL: none */
/* The highest value of a field of raft_peer that a majority, with this node, has reached. */
uint64_t lead_quorum(const struct raft *r, size_t field);

/* follow.c */
bool follow_check(const struct raft_message *m);
void follow_on_append(struct raft *r, const struct raft_message *m);
void follow_on_beat(struct raft *r, const struct raft_message *m);
void follow_ack(struct raft *r);
void follow_cut(struct raft *r, uint64_t index); /* that and all behind */
void follow_repair(struct raft *r, uint64_t index, const struct raft_entry *e);

/* member.c */
/* Entries from outside: terms between these two that never fall, configurations that parse. */
bool member_check(const struct raft_entry *entries, size_t count, uint64_t term, uint64_t term_max);
void member_find(struct raft *r);     /* the newest in the log or snapshot, after a cut */
void member_appended(struct raft *r); /* if the last entry is one: in force at once (4.1) */
/* The configuration of the log up to `index`; returns where it stands. */
uint64_t member_at(const struct raft *r, uint64_t index, struct raft_config *ret_config);
enum raft_outcome member_change(const struct raft *r, enum raft_change change, uint64_t id,
                                struct raft_config *ret_config);
struct raft_blob *member_pack(const struct raft_config *c);
uint32_t member_quorum(const struct raft *r);
/* How many election timeouts this node waits before it stands; 0: it never does. */
uint32_t member_patience(const struct raft *r);
const struct raft_member *member_of(const struct raft_config *c, uint64_t id);

/* snap.c */
void snap_offer(struct raft *r, uint64_t to);
void snap_tick(struct raft *r);
void snap_on_offer(struct raft *r, const struct raft_message *m);
void snap_on_pull(struct raft *r, const struct raft_message *m);
void snap_on_chunk(struct raft *r, const struct raft_message *m);
void snap_on_repair(struct raft *r, const struct raft_message *m);
void snap_on_repaired(struct raft *r, const struct raft_message *m);
void snap_taken(struct raft *r, const struct raft_snap *s);
void snap_read(struct raft *r, const struct raft_event *ev);
void snap_stored(struct raft *r, const struct raft_event *ev);
void snap_maybe_take(struct raft *r);
uint64_t snap_next_us(const struct raft *r);

/* read.c */
void read_start(struct raft *r, uint64_t cookie, uint64_t from);
void read_check(struct raft *r);
void read_drop_all(struct raft *r);
void read_on_reply(struct raft *r, const struct raft_message *m);

#endif
