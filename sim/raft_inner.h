/* SPDX-License-Identifier: Apache-2.0 */
/* sim/raft_inner - what the files of the raft simulator share. */
#ifndef SIM_RAFT_INNER_H
#define SIM_RAFT_INNER_H

#include "sim/raft_world.h"

#include <stddef.h>

/* The replicated state: a few registers, and a digest of all that was ever applied. */
struct vw_state {
    uint64_t applied, hash;
    uint64_t keys[VW_KEYS]; /* the last value written; 0: none */
};

/* A command as bytes of an entry. The value that it writes is `op` itself, plus one. */
struct vw_command {
    uint64_t op, key;
};

enum vw_op_state { VW_OP_OPEN, VW_OP_DONE, VW_OP_NOT_DONE, VW_OP_UNKNOWN };

struct vw_op {
    uint64_t start_us, end_us; /* end: UINT64_MAX while nobody was told */
    uint64_t value;            /* written or read */
    uint64_t index;            /* where a write was committed */
    uint32_t client;
    uint8_t group, key;
    bool write;
    uint8_t state; /* enum vw_op_state */
};

/* One operation on a disk: applied to the image once it is durable. */
struct vw_record {
    uint8_t kind; /* enum raft_write_kind */
    uint8_t group;
    bool keep;
    uint64_t seq, index, term, vote, offset;
    struct raft_entry entry;
    struct raft_blob *blob;
    struct raft_snap *snap;
};

/* What is durable of one group. */
struct vw_image {
    uint64_t term, vote, base, base_term;
    struct raft_entry *entries;
    size_t count, cap;
    struct raft_snap snap, part;
    struct raft_blob *content; /* of snap */
    bool content_damaged;
    struct raft_blob *part_content;
    uint64_t part_bytes;
};

struct vw_disk {
    struct vw_image images[VW_GROUPS_MAX];
    struct vw_record *pending; /* one log for all groups, written in this order */
    size_t pending_count, pending_cap, syncing;
    bool busy, full;
    uint64_t slow_until_us;
};

struct vw_wait {
    uint32_t op;
    uint64_t index;
};

enum { VW_WAITS_MAX = 64 };

struct vw_mail {
    struct vw_mail *next;
    enum { VW_MESSAGE, VW_FRAME, VW_REQUEST } kind;
    struct raft_message m;
    struct raft_entry *entries;
    uint32_t entries_cap;
    struct raft_snap snap;
    struct raft_blob *bytes;
    struct raft_frame frame;
    struct raft_beat beats[VW_GROUPS_MAX * 4];
    uint32_t op;
};

struct vw_node {
    uint32_t place, formatted;
    uint64_t id;
    bool up, paused, broken; /* broken: a write failed, to be started again */
    uint16_t life;           /* counts starts, to tell late events */
    uint64_t timer_us;       /* when the next timer event is queued for */
    uint64_t clock_us, clock_at_us;
    uint32_t clock_permille;
    struct raft *raft[VW_GROUPS_MAX];
    struct vw_state state[VW_GROUPS_MAX];
    enum raft_role role[VW_GROUPS_MAX];
    uint64_t term[VW_GROUPS_MAX], commit[VW_GROUPS_MAX];
    uint64_t fetching[VW_GROUPS_MAX];        /* digest of what was fetched last in this life */
    struct raft_blob *taking[VW_GROUPS_MAX]; /* a snapshot on its way to the disk */
    struct raft_snap taking_snap[VW_GROUPS_MAX];
    struct vw_wait waits[VW_GROUPS_MAX][VW_WAITS_MAX];
    uint32_t wait_count[VW_GROUPS_MAX];
    struct raft_beats beats;
    struct vw_disk disk;
    struct vw_mail *mailbox, **mailbox_end; /* while paused */
};

enum vw_event_kind {
    VW_EV_MAIL,
    VW_EV_TIMER,
    VW_EV_SYNC,
    VW_EV_TAKEN,
    VW_EV_CHUNK,
    VW_EV_CLIENT,
    VW_EV_ADMIN,
    VW_EV_FAULT,
    VW_EV_END_FAULT,
    VW_EV_START,
};

struct vw_event {
    uint64_t at_us;
    uint32_t order;
    uint8_t kind, node, group;
    uint16_t life;
    uint32_t a;
    union {
        struct vw_mail *mail;
        struct raft_snap_read *read;
        uint64_t b;
    };
};

struct vw_ident {
    struct vw_ident *next;
    uint64_t term, hash, prev_term;
};

struct vw_committed {
    uint64_t term, hash, chain, by_term; /* by_term: of the leader that committed it */
};

/* What one group has promised so far. */
struct vw_history {
    struct vw_committed *committed; /* from index 1 */
    uint64_t count, cap;
    struct vw_ident **idents; /* by index */
    uint64_t ident_cap;
    uint64_t *leaders; /* by term */
    uint64_t leader_cap;
    struct raft_config config; /* the newest committed */
};

struct vw_vote {
    uint64_t id, term, candidate;
    uint32_t stamp, group;
};

enum { VW_VOTES = 8192, VW_IDENTS_BLOCK = 4096 };

struct vw_client {
    uint32_t op; /* UINT32_MAX: none */
    uint32_t leader[VW_GROUPS_MAX];
};

struct world {
    struct vw_plan plan;
    struct vw_result *result;
    uint64_t now;
    struct prng net, disk, load, chaos;
    struct vw_event *heap;
    size_t heap_count, heap_cap;
    uint32_t order;
    struct vw_node nodes[VW_PLACES_MAX + 1]; /* from 1 */
    uint32_t places;
    bool cut[VW_PLACES_MAX + 1][VW_PLACES_MAX + 1];
    uint8_t side[VW_PLACES_MAX + 1]; /* of a partition */
    bool parted, healed;
    uint32_t partition;
    uint64_t fifo_us[VW_PLACES_MAX + 1][VW_PLACES_MAX + 1];
    struct vw_mail *free_mail;
    struct vw_history history[VW_GROUPS_MAX];
    struct vw_ident **ident_blocks;
    size_t ident_count, ident_blocks_cap;
    struct vw_vote votes[VW_VOTES];
    uint32_t stamp;
    struct vw_op *ops;
    uint32_t op_count, op_cap;
    struct vw_client clients[VW_CLIENTS_MAX];
    uint64_t admin_cookie;
    bool trace;
};

/* raft_world.c */
uint64_t vw_local(const struct world *w, const struct vw_node *n);
void vw_push(struct world *w, uint64_t at_us, struct vw_event ev);
struct vw_node *vw_node_of(struct world *w, uint64_t id);
struct vw_node *vw_find_leader(struct world *w, uint32_t group);
__attribute__((format(printf, 2, 3))) void vw_fail(struct world *w, const char *format, ...);
__attribute__((format(printf, 2, 3))) void vw_trace(struct world *w, const char *format, ...);

/* raft_node.c */
void vw_step(struct world *w, struct vw_node *n, uint32_t group, const struct raft_event *ev);
void vw_start(struct world *w, struct vw_node *n);
enum vw_stop { VW_STOP_KILL, VW_STOP_CRASH };
void vw_stop(struct world *w, struct vw_node *n, enum vw_stop how);
void vw_settle(struct world *w, struct vw_node *n); /* after steps: beats leave, timers are set */
void vw_finish_reads(struct world *w, struct vw_node *n, uint32_t group);
void vw_on_timer(struct world *w, struct vw_event *ev);
void vw_on_taken(struct world *w, struct vw_event *ev);
void vw_on_chunk(struct world *w, struct vw_event *ev);

/* raft_net.c */
void vw_send(struct world *w, const struct raft_message *m);
void vw_send_frame(struct world *w, const struct raft_frame *f);
void vw_send_request(struct world *w, uint32_t place, uint32_t op);
void vw_on_mail(struct world *w, struct vw_event *ev);
void vw_receive(struct world *w, struct vw_node *n, struct vw_mail *mail); /* frees it */
void vw_mail_free(struct world *w, struct vw_mail *mail);

/* raft_disk.c */
void vw_disk_write(struct world *w, struct vw_node *n, uint32_t group, uint64_t seq,
                   const struct raft_write *write);
void vw_disk_sync(struct world *w, struct vw_node *n); /* starts one if there is need */
void vw_disk_synced(struct world *w, struct vw_node *n);
void vw_disk_stop(struct world *w, struct vw_node *n, enum vw_stop how);
void vw_disk_wipe(struct vw_disk *d);
bool vw_disk_flip(struct world *w, struct vw_node *n, uint32_t group);
bool vw_disk_may_wipe(struct world *w, struct vw_node *n);
struct raft_blob *vw_disk_part(const struct vw_node *n, uint32_t group); /* as being fetched */
enum vw_copy { VW_NONE, VW_DAMAGED, VW_INTACT };
enum vw_copy vw_image_has(const struct vw_image *i, uint64_t index, uint64_t term);
/* Was there in one piece, whatever happened to it since. */
bool vw_image_had(const struct vw_image *i, uint64_t index, uint64_t term);

/* raft_check.c */
void vw_check_start(struct world *w);
void vw_check_message(struct world *w, const struct raft_message *m);
void vw_check_append(struct world *w, const struct vw_node *n, uint32_t group,
                     const struct raft_write *write);
void vw_check_cut(struct world *w, const struct vw_node *n, uint32_t group, uint64_t index);
void vw_check_applied(struct world *w, struct vw_node *n, uint32_t group, uint64_t index,
                      const struct raft_entry *e, uint64_t chain);
/* A leader has moved its commit index. */
void vw_check_commit(struct world *w, const struct vw_node *n, uint32_t group, uint64_t from);
void vw_check_loaded(struct world *w, struct vw_node *n, uint32_t group);
void vw_check_leader(struct world *w, const struct vw_node *n, uint32_t group);
void vw_check_end(struct world *w);
uint64_t vw_entry_hash(const struct raft_entry *e);
uint64_t vw_chain(uint64_t chain, uint64_t hash);

/* raft_lin.c: the first breach of linearizability of one register, or NULL */
const char *vw_lin_check(const struct vw_op *ops, uint32_t count, uint32_t group, uint32_t key);

/* raft_load.c */
void vw_load_start(struct world *w);
void vw_on_client(struct world *w, struct vw_event *ev);
void vw_on_admin(struct world *w, struct vw_event *ev);
void vw_on_request(struct world *w, struct vw_node *n, uint32_t op);
void vw_on_reply(struct world *w, struct vw_node *n, uint32_t group, const struct raft_reply *r);
void vw_end_op(struct world *w, uint32_t op, enum vw_op_state state, uint64_t value);
void vw_lost_ops(struct world *w, struct vw_node *n);
uint32_t vw_new_op(struct world *w, uint32_t client, uint32_t group, uint32_t key, bool write);
bool vw_heal(struct world *w);

/* raft_fault.c */
void vw_fault_start(struct world *w);
void vw_on_fault(struct world *w, struct vw_event *ev);
void vw_on_end_fault(struct world *w, struct vw_event *ev);
void vw_hunt(struct world *w, struct vw_node *n); /* has just been elected */
void vw_end_all_faults(struct world *w);

static inline uint32_t vw_place(uint64_t id)
{
    return (uint32_t)(id >> 32);
}

static inline bool vw_has(const struct world *w, enum vw_fault f)
{
    return !w->healed && w->plan.faults >> f & 1;
}

bool vw_run_until(struct world *w, uint64_t end_us); /* false: failed */
void vw_open(struct world *w, const struct vw_plan *plan, struct vw_result *result);
void vw_close(struct world *w);

#endif
