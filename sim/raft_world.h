/* SPDX-License-Identifier: Apache-2.0 */
/* sim/raft_world - a cluster of raft nodes in one thread, driven by one seed.
 *
 * Network, disks, clocks and clients are virtual; raft is the real thing (src/core/raft). A plan
 * (drawn from the seed, "swarm": each fault is on, off or rare) says what goes wrong. After every
 * step the checkers (raft_check) look at what changed. After the faults everything heals, and the
 * cluster must elect, read, write and catch up within a stated number of ticks.
 *
 *   raft_world.c  time and events              raft_node.c     a node and its host
 *   raft_net.c    messages                     raft_disk.c     disks
 *   raft_fault.c  what goes wrong              raft_load.c     clients and the administrator
 *   raft_check.c  what must never happen       raft_lin.c      linearizability
 *   raft_plan.c   from seed to plan; shrinking raft_measure.c  how long writes stop */
#ifndef SIM_RAFT_WORLD_H
#define SIM_RAFT_WORLD_H

#include "base/prng.h"
#include "core/raft/beats.h"
#include "core/raft/raft.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    VW_PLACES_MAX = 12,
    VW_GROUPS_MAX = 3,
    VW_KEYS = 3,
    VW_CLIENTS_MAX = 6,
    VW_BEAT_US = 50000, /* a tick */
    VW_ELECTION_US = 300000,
    VW_LEADER_TICKS = 100, /* after healing: a read is answered within so many */
    VW_WRITE_TICKS = 100,  /* then writes flow: within so many there is a window ... */
    VW_WINDOW_TICKS = 8,   /* ... so long ... */
    VW_WINDOW_ACKS = 8,    /* ... with so many acknowledgements, one after the other */
    VW_CATCHUP_TICKS = 120 /* then everybody gets everything */
};

/* What can go wrong. The order is the order of the bits of --faults. */
#define VW_FAULTS(X)                                                                               \
    X(DROP, "drop")                                                                                \
    X(DELAY, "delay")                                                                              \
    X(REORDER, "reorder")                                                                          \
    X(DUPLICATE, "duplicate")                                                                      \
    X(ONEWAY, "one-way-cut")                                                                       \
    X(PARTITION, "partition")                                                                      \
    X(CRASH, "crash")                                                                              \
    X(KILL, "kill")                                                                                \
    X(WIPE, "wipe")                                                                                \
    X(TORN, "torn-write")                                                                          \
    X(FLIP, "bit-flip")                                                                            \
    X(FULL, "full-disk")                                                                           \
    X(SLOW, "slow-disk")                                                                           \
    X(PAUSE, "pause")                                                                              \
    X(DRIFT, "clock-drift")                                                                        \
    X(MEMBER, "membership")                                                                        \
    X(TRANSFER, "transfer")                                                                        \
    X(SNAPCUT, "interrupted-snapshot")                                                             \
    X(HUNT, "leader-hunt")                                                                         \
    X(MEMORY, "no-memory")

enum vw_fault {
#define X(name, text) VW_##name,
    VW_FAULTS(X)
#undef X
        VW_FAULT_COUNT
};
extern const char *const vw_fault_names[VW_FAULT_COUNT];

struct vw_plan {
    uint64_t seed;
    uint32_t nodes, spares, groups, clients;
    uint64_t chaos_us; /* how long things go wrong */
    uint32_t faults;   /* bits of enum vw_fault */
    double rate[VW_FAULT_COUNT];
    uint64_t delay_us, jitter_us, sync_us;
    uint64_t think_us;
    double both_ways;   /* how often a cut between two nodes is */
    bool spare_leaders; /* kill others */
    double roams;       /* how often a write goes to any node */
    double bursts;      /* how often a client sends many writes at once */
    double quick;       /* how often a node is back at once */
    bool lease_reads;
    uint32_t drift_permille;
    struct raft_options options;
};

/* Counted over a run, so that an idle one cannot pass. */
#define VW_COUNTS(X)                                                                               \
    X(elections)                                                                                   \
    X(crashes)                                                                                     \
    X(kills)                                                                                       \
    X(wipes)                                                                                       \
    X(torn_writes)                                                                                 \
    X(bit_flips)                                                                                   \
    X(full_disks)                                                                                  \
    X(slow_disks)                                                                                  \
    X(pauses)                                                                                      \
    X(clock_changes)                                                                               \
    X(partitions)                                                                                  \
    X(oneway_cuts)                                                                                 \
    X(dropped)                                                                                     \
    X(duplicated)                                                                                  \
    X(repaired_entries)                                                                            \
    X(dropped_damage)                                                                              \
    X(snapshots_taken)                                                                             \
    X(snapshots_installed)                                                                         \
    X(fetches_resumed)                                                                             \
    X(snapshots_interrupted)                                                                       \
    X(allocations_failed)                                                                          \
    X(leaders_hunted)                                                                              \
    X(member_changes)                                                                              \
    X(leaders_removed)                                                                             \
    X(transfers)                                                                                   \
    X(coalesced_beats)                                                                             \
    X(truncations)                                                                                 \
    X(writes_done)                                                                                 \
    X(writes_unknown)                                                                              \
    X(reads_done)                                                                                  \
    X(follower_reads)                                                                              \
    X(messages)

struct vw_counts {
#define X(name) uint64_t name;
    VW_COUNTS(X)
#undef X
};
void vw_counts_add(struct vw_counts *sum, const struct vw_counts *c);

struct vw_result {
    bool failed;
    char what[240];
    uint64_t at_us;  /* when it failed */
    uint64_t sim_us; /* how long the cluster lived */
    struct vw_counts counts;
};

struct world;

/* Worlds are reused from seed to seed: allocation would cost more than simulation. */
struct world *vw_new(void);
void vw_free(struct world *w);

void vw_plan_of_seed(uint64_t seed, struct vw_plan *ret_plan);
void vw_run(struct world *w, const struct vw_plan *plan, struct vw_result *ret_result);
/* A smaller plan that fails still: fewer faults, less time, fewer nodes. */
void vw_shrink(struct world *w, struct vw_plan *plan, struct vw_result *ret_result);

/* How long writes stop after a crash of the leader, or for a transfer: times, sorted. */
void vw_measure(struct world *w, uint64_t seed, bool transfer, uint32_t times, uint64_t *ret_us);

#endif
