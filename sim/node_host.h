/* SPDX-License-Identifier: Apache-2.0 */
/* node_host - what the two files of the simulated node share; nobody else includes it.
 *
 * node_host.c runs commands and writes the log, node_start.c is crash and start. */
#ifndef TTG_SIM_NODE_HOST_H
#define TTG_SIM_NODE_HOST_H

#include "base/clock.h"
#include "core/core.h"
#include "sim/node_world.h"
#include "store/store.h"

enum { PRESENCES = 64, BLOCKED_MAX = 64, NAME_BYTES = 64 };

struct presence {
    char name[NAME_BYTES];
    uint64_t incarnation, due_ms; /* then it is lost; by the world's time */
    struct sim_conn *conn;        /* NULL: away */
    bool used, missing;           /* missing: has not come back since the start */
};

struct parked {
    struct sim_conn *conn;
    uint64_t until_ms; /* 0: for ever */
    uint64_t retry_ms; /* something may be due then; 0: no */
    char line[256];
};

struct held {
    struct list link;
    struct sim_conn *conn;
    uint64_t position;
    size_t len;
    char bytes[];
};

struct host {
    struct world *w;
    struct store *store;
    struct core *core;
    bool up;
    struct clock clock; /* the machine's: the world's time and an error */
    struct clock_steady steady;
    uint64_t now_ms, boot, next_client, up_from_ms;
    struct store_batch *batch;
    bool batch_written, ready, failed;
    struct buf record, out;
    struct list held;
    struct presence presences[PRESENCES];
    struct parked parked[BLOCKED_MAX];
    size_t parked_count;
    uint64_t records_until_snapshot;
    bool snapshot_waits;
    int snapshot_rc;
    struct sim_event batch_event, beat_event, start_event;
};

/* By the clock of the node, which never goes back. */
uint64_t host_now_ms(struct host *h);
/* Appends h->record to the log. */
void host_log(struct host *h);
/* Looks for silent workers and for what is due; comes again by itself. */
void host_beat(struct world *w, struct sim_event *e);

/* From what is on the disk; what cannot be (full, gone again) is another crash. */
void host_start(struct world *w, struct sim_event *e);
/* Forgets all but the disk. */
void host_close(struct host *h);

#endif
