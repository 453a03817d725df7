/* SPDX-License-Identifier: Apache-2.0 */
/* raft - several nodes agree on one log, whatever dies.
 *
 * A pure state machine: `raft_step(state, event, now)` fills an outbox of effects, the host carries
 * them out and reports back what has become durable. No input or output, no clock, no threads; the
 * only randomness is a seeded generator. So the same code runs under the simulator (sim/) and in a
 * node, and a failing history is one number.
 *
 * After "Consensus: Bridging Theory and Practice" (Ongaro 2014; section numbers in the comments are
 * of that dissertation) with pre-vote, leadership transfer, one-at-a-time membership changes with
 * their later correction, ReadIndex and lease reads; and after "Protocol-Aware Recovery for
 * Consensus-Based Storage" (FAST '18, "PAR" below) for damaged disks. docs/raft.md explains it.
 *
 * What the host promises:
 * - Effects are carried out before the next step of the same group. Writes go to disk in order;
 *   RAFT_EV_STORED says up to which sequence number they are durable. Messages need not wait for
 *   the disk: what must wait is held back inside.
 * - On start it hands over what the disk holds, after it made sure that this is durable, and tells
 *   which entries are damaged. Their index, term and kind are kept apart from their data (PAR,
 *   the local storage layer), so they are known even then. The hard state and configurations are
 * small and kept twice. A disk that lost those counts as wiped.
 * - A wiped or new disk has a new identity: see `raft_identity`.
 * - After a failed write it reports RAFT_EV_STORE_FAILED, and starts the group again from the disk
 *   when that works again: the crash path is the only recovery path. */
#ifndef TTG_CORE_RAFT_RAFT_H
#define TTG_CORE_RAFT_RAFT_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RAFT_MEMBERS_MAX = 16,
    RAFT_MESSAGES_MAX = 256, /* of one step; what does not fit is sent by a later step */
    RAFT_WRITES_MAX = 32,
};

/* Bytes of an entry, shared and never changed. */
struct raft_blob {
    uint32_t refs, len;
    char bytes[];
};

/* NULL when there is no memory. */
struct raft_blob *raft_blob_new(struct str bytes);
struct raft_blob *raft_blob_ref(struct raft_blob *b); /* accepts NULL */
void raft_blob_unref(struct raft_blob *b);            /* accepts NULL */

enum raft_kind { RAFT_NOOP, RAFT_DATA, RAFT_CONFIG };

struct raft_entry {
    uint64_t term;
    struct raft_blob *data; /* NULL: none, or damaged */
    uint8_t kind;           /* enum raft_kind */
    bool damaged;           /* the disk lost `data`; index, term and kind are known */
    uint64_t cookie;        /* whoever waits for it on this leader; 0: nobody */
    uint64_t seq;           /* the write that makes it durable */
    uint64_t total;         /* bytes of this and all entries before, to measure windows */
};

/* An identity is never used for a second disk: the node's number above, how often its disk was
 * formatted below. */
struct raft_member {
    uint64_t id;
    bool voter; /* else a learner: gets everything, counts nowhere */
};

struct raft_config {
    uint32_t count;
    struct raft_member members[RAFT_MEMBERS_MAX];
};

struct raft_snap {
    uint64_t index, term;
    uint64_t bytes, digest; /* of the content: a transfer resumes from anybody who has the same */
    struct raft_config config;
};

enum raft_message_kind {
    RAFT_PREVOTE,
    RAFT_PREVOTE_REPLY,
    RAFT_VOTE,
    RAFT_VOTE_REPLY,
    RAFT_APPEND,
    RAFT_APPEND_REPLY,
    RAFT_BEAT,
    RAFT_BEAT_REPLY,
    RAFT_TIMEOUT_NOW,
    /* The rest says nothing about terms and may come from any member. */
    RAFT_OFFER,    /* "fetch my snapshot" */
    RAFT_PULL,     /* "give me these bytes of it" */
    RAFT_CHUNK,    /* the bytes */
    RAFT_REPAIR,   /* "my disk lost this entry, who has it?" */
    RAFT_REPAIRED, /* the entry and its followers */
    RAFT_READ,     /* a follower asks the leader for a read index */
    RAFT_READ_REPLY,
};

struct raft_message {
    uint8_t kind; /* enum raft_message_kind */
    bool reject;  /* replies: no */
    bool force;   /* VOTE: asked for by the leader itself (3.10) */
    bool lacks;   /* VOTE_REPLY: has no trace of the candidate's damaged entry;
                     BEAT_REPLY: has not verified what the beat said is committed */
    uint32_t group;
    uint64_t from, to, term;
    uint64_t index, log_term; /* the entry before `entries`; last entry of a candidate; what is
                                 acknowledged or asked for */
    uint64_t commit;
    uint64_t hint, hint_term;         /* APPEND_REPLY: where to go on after a conflict;
                                         VOTE: the candidate's first damaged entry */
    uint64_t round, echo_us;          /* BEAT: read round and the leader's time of sending */
    uint64_t cookie;                  /* READ */
    const struct raft_entry *entries; /* APPEND, REPAIRED */
    uint32_t count;
    const struct raft_snap *snap; /* OFFER */
    uint64_t offset;              /* PULL, CHUNK */
    struct str bytes;             /* CHUNK */
};

enum raft_event_kind {
    RAFT_EV_TICK,         /* time has passed: at the latest at raft_next_us */
    RAFT_EV_MESSAGE,      /* `message`; bytes behind it are borrowed for the step */
    RAFT_EV_PROPOSE,      /* `bytes`, `cookie` */
    RAFT_EV_READ,         /* `cookie`: an index that a linearizable read has to wait for */
    RAFT_EV_STORED,       /* writes up to `seq` are durable */
    RAFT_EV_STORE_FAILED, /* a write failed or the disk is full */
    RAFT_EV_SNAP_TAKEN,   /* `snap` (index, bytes, digest) of the own state is durable */
    RAFT_EV_SNAP_READ,    /* answers RAFT_FX_READ_SNAP: `index`, `offset`, `bytes`, `to` */
    RAFT_EV_SNAP_STORED,  /* answers RAFT_WRITE_CHUNK: `index`, `offset` behind what is durable;
                             `failed` with the last chunk: the whole has a wrong digest */
    RAFT_EV_TRANSFER,     /* `to` shall lead; `cookie` */
    RAFT_EV_MEMBER,       /* `change` of `to`; `cookie` */
};

enum raft_change { RAFT_ADD_LEARNER, RAFT_PROMOTE, RAFT_REMOVE };

struct raft_event {
    enum raft_event_kind kind;
    const struct raft_message *message;
    struct str bytes;
    uint64_t cookie, seq, index, offset, to;
    const struct raft_snap *snap;
    enum raft_change change;
    bool failed;
};

enum raft_outcome {
    RAFT_DONE,       /* proposal: committed at `index`. Read: serve it once `index` is applied */
    RAFT_NOT_LEADER, /* surely not done; ask `leader` (0: nobody known) */
    RAFT_UNKNOWN,    /* may be done or not, now or later */
    RAFT_BUSY,       /* surely not done: a limit, a transfer or another change is in the way */
    RAFT_REFUSED,    /* surely not done and never will: not a member, caught up, ... */
};

struct raft_reply {
    uint64_t cookie;
    enum raft_outcome outcome;
    bool read;
    uint64_t index, leader;
};

enum raft_write_kind {
    RAFT_WRITE_HARD,    /* `term`, `vote` */
    RAFT_WRITE_CUT,     /* drop the entries from `index` on */
    RAFT_WRITE_APPEND,  /* `count` `entries` from `index` on */
    RAFT_WRITE_REPAIR,  /* the content of `index` again, which was damaged */
    RAFT_WRITE_CHUNK,   /* `bytes` at `offset` of the snapshot `snap` that is being fetched */
    RAFT_WRITE_INSTALL, /* the fetched snapshot `snap` is now the state; `keep`: the entries behind
                           it stay, else the log is empty. The host loads it */
    RAFT_WRITE_COMPACT, /* the own snapshot `snap` counts; entries up to `index` may go */
};

struct raft_write {
    enum raft_write_kind kind;
    bool keep;
    uint64_t index, term, vote, offset;
    const struct raft_entry *entries;
    uint32_t count;
    const struct raft_snap *snap;
    struct str bytes;
};

/* A piece of the own snapshot is wanted: answer with RAFT_EV_SNAP_READ. */
struct raft_snap_read {
    uint64_t to, index, offset, bytes;
};

/* What one step asks for. Pointers are good until the next step. */
struct raft_effects {
    struct raft_message *messages;
    struct raft_write *writes;
    struct raft_reply *replies;
    struct raft_snap_read snap_read; /* to == 0: none */
    uint32_t message_count, write_count, reply_count;
    uint64_t write_seq; /* of all writes of this step */
    uint64_t apply_to;  /* entries up to here are committed and at hand: raft_entry_at */
    bool take_snapshot; /* of the applied state, then RAFT_EV_SNAP_TAKEN */
};

struct raft_options {
    uint64_t id;
    uint32_t group;
    uint64_t seed;
    uint64_t election_us;    /* timeouts are drawn from [1, 2) of this */
    uint64_t beat_us;        /* heartbeats happen at multiples of this: groups share a message */
    uint64_t resend_us;      /* what is unanswered for so long counts as lost */
    bool lease_reads;        /* reads without a round trip (6.4.1), on the assumption that ... */
    uint32_t drift_permille; /* ... two clocks differ in speed by at most this */
    uint32_t entries_max;    /* in memory; proposals beyond are RAFT_BUSY */
    uint32_t waiting_max;    /* proposals and reads without an outcome */
    uint32_t batch_entries, batch_bytes;   /* of one message */
    uint32_t window_entries, window_bytes; /* on their way to one follower */
    uint32_t snap_entries;                 /* applied since the last snapshot: time for another */
    uint32_t keep_entries;                 /* stay behind a snapshot for slow followers */
    uint32_t chunk_bytes;
};

/* What the disk holds. */
struct raft_boot {
    uint64_t term, vote;
    struct raft_snap snap; /* index 0: no snapshot, only the configuration to begin with */
    bool snap_damaged;
    uint64_t base, base_term;         /* the entry before `entries`; base <= snap.index */
    const struct raft_entry *entries; /* term, kind, data, damaged; ids as the first header says */
    size_t count;
    struct raft_snap partial; /* a snapshot being fetched, of which ... */
    uint64_t partial_bytes;   /* ... so much is there */
};

struct raft;

/* The identity of a node whose disk holds `found` (0: blank or wiped). A blank disk never gets an
 * identity that was used before: votes and acknowledgements were given under that. */
uint64_t raft_identity(uint32_t node, uint64_t found, uint32_t times_formatted);

/* TTG_ENOMEM; TTG_ECORRUPT for a boot that contradicts itself. Takes references on the entries. */
int raft_new(const struct raft_options *o, const struct raft_boot *boot, uint64_t now_us,
             struct raft **ret_raft);
void raft_free(struct raft *r);

/* One event. 0, or nothing has happened but an empty outbox: TTG_ENOMEM (a message then counts as
 * lost; a proposal may be tried again), TTG_EPROTO for a message that no member would send.
 * `now_us` is monotonic. */
int raft_step(struct raft *r, const struct raft_event *event, uint64_t now_us);
const struct raft_effects *raft_effects(const struct raft *r);

/* When RAFT_EV_TICK is due. */
uint64_t raft_next_us(const struct raft *r);

/* Behind the compacted part and up to the last; until the next step. */
const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index);

enum raft_role { RAFT_FOLLOWER, RAFT_PRECANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_status {
    enum raft_role role;
    uint64_t id, term, leader, commit, applied, first, last, stable, snap_index;
    uint64_t damaged; /* the first damaged entry, 0: none */
    bool halted;      /* after a disk failure: waits to be started again */
    uint64_t transfer_to;
    const struct raft_config *config;
};
void raft_status(const struct raft *r, struct raft_status *ret_status);

/* Leader only: whether RAFT_PROMOTE of this learner would be accepted. */
bool raft_caught_up(const struct raft *r, uint64_t id);

/* Configurations as bytes of a RAFT_CONFIG entry. False for bytes that are none. */
bool raft_config_parse(struct str bytes, struct raft_config *ret_config);

#endif
