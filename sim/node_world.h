/* SPDX-License-Identifier: Apache-2.0 */
/* node_world - a node, its disk and its clients in one thread, under one seed.
 *
 * Core, store, record format and snapshots are the real ones; the host (node_host.c) takes the same
 * steps as the node around them. Time, disk and connections are virtual. For some virtual minutes
 * everything that can go wrong does; then all faults end and the job has to finish.
 *
 * Checked, always: what was acknowledged is there after every restart; the state after a replay is
 * the state before; no epoch is ever granted twice, no superseded one accepted; each chunk has
 * exactly one result and it is the one whose commit was acknowledged; a repeated commit is never
 * called stale if it is the recorded one. A worker that says nothing is lost in some seconds for
 * which the node is up, also if that is many short lives. The node's time never goes back, whatever
 * its machine's clock does. A flipped bit must be noticed or have hit nothing. */
#ifndef SIM_NODE_WORLD_H
#define SIM_NODE_WORLD_H

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/prng.h"
#include "sim/disk.h"

#include <stdio.h>

enum {
    WORLD_WORKERS = 4,
    WORLD_CHUNKS_MAX = 400,
    WORLD_FAULTS_MS = 40000,
    WORLD_HEAL_MS = 600000, /* in this time the rest of the job must get done */
    WORLD_SLOTS_MAX = 3,
};

/* Bugs on purpose, to see the checkers work. */
enum world_plant {
    PLANT_NONE,
    PLANT_SKIP_FSYNC,     /* a sync that does nothing */
    PLANT_ACK_EARLY,      /* answers before the batch is on disk */
    PLANT_NO_BOOT,        /* a start does not raise the boot number */
    PLANT_LOSE_TICKS,     /* replay leaves out what time did */
    PLANT_NO_EPOCH_CHECK, /* a commit counts whatever its epoch */
    PLANT_NOT_DONE,       /* a commit does not mark the chunk done */
    PLANT_FORGET_LEASES,  /* the leases of a lost worker are gone */
    PLANT_NO_MEMORY,      /* repeated commits are not recognised */
    PLANT_WAIT_ANEW,      /* each start waits for the lost as if it was the first */
    PLANT_COUNT,
};
const char *world_plant_name(enum world_plant plant);

struct world;
struct sim_event;
typedef void sim_event_fn(struct world *w, struct sim_event *e);

struct sim_event {
    struct heap_node at;
    sim_event_fn *fn;
};

struct sim_conn;
struct host;
struct actor;

/* What a client of the node is told. */
struct actor_ops {
    void (*on_open)(struct actor *a);
    void (*on_reply)(struct actor *a, struct str reply);
    void (*on_closed)(struct actor *a);
};

struct actor {
    struct world *world;
    const struct actor_ops *ops;
    struct sim_conn *conn; /* NULL: none */
    struct sim_event connect;
};

struct world {
    uint64_t seed;
    enum world_plant plant;
    struct prng prng;
    struct heap events;
    uint64_t now_ms, fault_end_ms, order;
    int64_t clock_error_ms; /* of the node's machine */
    uint64_t storm_ms;      /* the node does not live for longer; 0: it does */
    struct sim_disk *disk;
    struct host *host;
    struct list conns;
    struct worker *workers[WORLD_WORKERS];
    struct clients *clients;
    struct check *check;
    uint64_t chunks;
    bool finished; /* the job, seen by the collector to the end */
    bool trace;
    /* figures for the summary */
    uint64_t crashes, flips, cuts, pauses, acked, grants, records, refused, snapshots;
    uint64_t waits;    /* beside work that others will do */
    char failure[512]; /* the first violation; empty: none */
};

/* Ends the run; the first one counts. */
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

void world_at(struct world *w, struct sim_event *e, uint64_t delay_ms, sim_event_fn *fn);
void world_cancel(struct world *w, struct sim_event *e);
static inline bool world_chance(struct world *w, double p)
{
    return prng_chance(&w->prng, p);
}
static inline uint64_t world_below(struct world *w, uint64_t bound)
{
    return prng_below(&w->prng, bound);
}
bool world_healing(const struct world *w);

/* Runs one seed to its end. 0, or 1 with w->failure filled. */
int world_run(struct world *w, uint64_t seed, enum world_plant plant);

/* --- connections: node_net.c --- */

struct sim_conn {
    struct list link;
    struct world *world;
    struct actor *actor; /* NULL: the client is gone, the node may not know */
    bool host_open;
    uint64_t client;                   /* the node's id for it */
    uint64_t to_host_ms, to_client_ms; /* messages keep their order */
    uint64_t needs_position;           /* replies so far need this on disk */
};

void actor_connect(struct actor *a, uint64_t delay_ms);
/* The client's end goes; `noticed`: the node sees it soon, else it is half-open. */
void actor_cut(struct actor *a, bool noticed);
/* Words separated by NUL-free blanks: convenience for commands without binary words. */
void actor_send(struct actor *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
void conn_reply(struct sim_conn *conn, struct str reply);
/* The node is gone, or closes: the client notices soon. */
void conn_drop(struct sim_conn *conn);
void world_free_conns(struct world *w);

/* --- the node: node_host.c, node_start.c --- */

struct host *host_new(struct world *w);
void host_free(struct host *h);
bool host_up(const struct host *h);
void host_accept(struct host *h, struct sim_conn *conn);
void host_request(struct host *h, struct sim_conn *conn, size_t argc, const struct str *argv);
void host_closed(struct host *h, struct sim_conn *conn);
/* Kill -9 (`power` false) or a power cut, and a start a little later. */
void host_crash(struct host *h, bool power);
struct core *host_core(struct host *h);

/* --- workers and other clients --- */

struct worker *sim_worker_new(struct world *w, int number);
void sim_worker_free(struct worker *k);
void sim_worker_trace(struct worker *k);
void sim_worker_fault(struct worker *k); /* crash, pause, cut ... */

struct clients *clients_new(struct world *w); /* submitter, collector, a plain consumer */
void clients_free(struct clients *c);
void clients_fault(struct clients *c);

/* --- what must hold: node_check.c --- */

struct check *check_new(struct world *w);
void check_free(struct check *c);
void check_granted(struct check *c, uint64_t chunk, uint64_t epoch, int worker,
                   uint64_t incarnation, bool stands);
/* Recorded now, by a command sent then; or: recorded, now or before. */
void check_accepted(struct check *c, uint64_t chunk, uint64_t epoch, uint64_t sent_ms);
void check_committed(struct check *c, uint64_t chunk, uint64_t epoch);
void check_stale(struct check *c, uint64_t chunk, uint64_t epoch);
void check_result(struct check *c, struct str line);
void check_appended(struct check *c, uint64_t position);
void check_acknowledged(struct check *c, uint64_t position);
/* A worker spoke to the node; how long the node has been up, now and when it ends; who is silent
 * for too much of that has to be lost, however short the lives of the node are. */
void check_heard(struct check *c, struct str worker, uint64_t incarnation, uint64_t up_ms);
void check_missed(struct check *c, uint64_t up_ms);
void check_life(struct check *c, uint64_t up_ms);
/* A take of this worker waits: it has no free slot, or there is no work, or others do it and that
 * is looked at again soon. */
void check_waits(struct check *c, struct str worker, uint64_t now_ms, uint64_t retry_ms);
/* Before the boot record. False: the state is not one that can be accepted. */
bool check_recovered(struct check *c, uint64_t position);
void check_end(struct check *c);

/* --- replies --- */

struct reply_token {
    char type; /* : $ * - + _ */
    int64_t number;
    struct str text;
};
/* Takes the next token off `at`; false at the end. */
bool reply_next(struct str *at, struct reply_token *ret);

#endif
