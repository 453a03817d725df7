/* SPDX-License-Identifier: Apache-2.0 */
/* beats - the heartbeats of all groups of a node travel in one message for each other node.
 *
 * A thousand groups on five nodes would send 4,000 heartbeats and as many answers each interval.
 * All groups beat at multiples of the interval, so the host collects what its groups send, and
 * flushes once. Everything is allocated at open; a heartbeat that finds no room goes by itself. */
#ifndef TTG_CORE_RAFT_BEATS_H
#define TTG_CORE_RAFT_BEATS_H

#include "core/raft/raft.h"

struct raft_beat {
    uint32_t group;
    uint8_t kind; /* RAFT_BEAT or RAFT_BEAT_REPLY */
    bool reject, lacks;
    uint64_t term, index, commit, round, echo_us;
};

struct raft_frame {
    uint64_t from, to;
    uint32_t count;
    struct raft_beat *beats;
};

struct raft_beats {
    uint32_t frame_count, frames_max, beats_max;
    struct raft_frame *frames;
    struct raft_beat *store;
};

/* For so many other nodes and beats to each of them. TTG_ENOMEM. */
int raft_beats_init(struct raft_beats *b, uint32_t nodes, uint32_t beats_max);
void raft_beats_done(struct raft_beats *b);

/* False when the message is no heartbeat or there is no room: send it by itself. */
bool raft_beats_add(struct raft_beats *b, const struct raft_message *m);
/* After all groups had their turn: send `frames`, then clear. */
void raft_beats_clear(struct raft_beats *b);
/* The receiving side: the i-th message of a frame. */
void raft_beats_get(const struct raft_frame *f, uint32_t i, struct raft_message *ret_message);

#endif
