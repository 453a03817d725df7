/* SPDX-License-Identifier: Apache-2.0 */
/* state - what a node and its clients are made of, for the files of the node only. */
#ifndef TTG_NODE_STATE_H
#define TTG_NODE_STATE_H

#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "core/core.h"
#include "io/conn.h"
#include "io/http.h"
#include "io/hugeheap.h"
#include "node/node.h"
#include "store/writer.h"
#include "wire/record.h"
#include "wire/resp.h"

enum {
    NODE_MARKS = 4,
    NODE_CLIENTS_MAX = 10000,
    NODE_SPARE_FDS = 64, /* log, snapshots, listeners, standard streams */
    NODE_IN_BYTES_MAX = 1 << 30,
    NODE_OUT_BYTES_MAX = 256 << 20,
    NODE_OUT_PAUSE_BYTES = 1 << 20, /* a client that does not read is not listened to */
    NODE_MULTI_BYTES_MAX = 256 << 20,
    NODE_NAME_BYTES_MAX = 256,
    NODE_SNAPSHOT_LOG_BYTES = 16 << 20,
    NODE_BOOT_SHIFT = 32, /* client ids: boot number above, counter below */
};

struct client;
struct node_entry;

/* ---- commands ---- */
enum node_command_flags {
    NODE_NO_AUTH = 1,    /* allowed before AUTH */
    NODE_NOT_QUEUED = 2, /* runs at once inside MULTI */
    NODE_NO_MULTI = 4,   /* refused inside MULTI */
    NODE_ADMIN = 8,
    NODE_OBSERVES = 16, /* the answer shows state: it waits for what it could have seen */
};

/* A command of the node itself; the core's rows are core_command. A name with a blank is the row of
 * a subcommand and only describes. */
struct node_command {
    const char *name;
    int arity;
    unsigned flags;
    const char *group, *since, *syntax, *summary;
    void (*run)(struct client *c, size_t argc, const struct str *argv, struct reply *r);
};

extern const struct node_command *const node_command_tables[]; /* ended by NULL */

/* One name that can be called, of either table. */
struct node_entry {
    struct map_node node;
    struct str name; /* upper case */
    const struct core_command *core;
    const struct node_command *own;
    int arity;
    uint64_t calls, ns, rejected, failed;
};

/* ---- clients ---- */
/* The first `bytes` of the answers not yet released wait for this log position. */
struct client_mark {
    uint64_t position;
    size_t bytes;
};

struct client {
    struct conn conn;
    struct node *node;
    struct list link;  /* node->clients, then node->dead */
    struct list held;  /* node->held, while marks wait */
    struct list again; /* node->again: unread input or a free way out at the end of the turn */
    uint64_t id;
    uint64_t opened_ms, active_ms; /* monotonic */
    struct client_mark marks[NODE_MARKS];
    size_t mark_count;
    size_t marked; /* sum of their bytes */
    bool resp3, authed, is_unix, closing, dead, no_evict;
    bool skip_reply, mute; /* CLIENT REPLY SKIP, OFF */
    struct multi *multi;   /* NULL: not in MULTI */
    struct watch *watch;   /* NULL: nothing watched */
    struct parked *parked; /* NULL: not blocked */
    struct list presences; /* workers that joined over it */
    char *peer;            /* address */
    char *name;            /* NULL: none */
    const struct node_entry *last;
};

/* ---- figures ---- */
enum { NODE_LATENCY_BUCKETS = 24 }; /* powers of two of microseconds */

struct node_error_count {
    struct map_node node;
    char code[32];
    uint64_t count;
};

struct node_stats {
    uint64_t commands, connections, rejected_connections, in_bytes, out_bytes, errors;
    uint64_t expired_waits, evicted_outputs, auth_failures;
    uint64_t sync_us_sum, sync_count, sync_buckets[NODE_LATENCY_BUCKETS];
    uint64_t snapshot_fork_us, snapshots_failed, turn_us_max;
    struct map error_counts;
    size_t error_kinds;
};

/* ---- the node ---- */
struct node {
    struct node_options options;
    struct clock *clock;
    struct loop *loop;
    struct disk *disk;
    struct store *store;
    struct store_writer *writer;
    struct core *core;
    struct clock_steady steady; /* what now_ms is read from */
    uint64_t boot, now_ms, started_mono_ms, started_wall_ms;
    char run_id[41];

    struct listener listeners[2 * NODE_LISTEN_MAX + 2];
    char addresses[2 * NODE_LISTEN_MAX + 2][NET_TEXT_BYTES];
    size_t listener_count;
    struct tls *tls;
    struct http_server *http;

    struct loop_poll writer_poll;
    struct loop_hook turn;
    struct loop_timer due_timer;                 /* core_next_ms, store_next_ms */
    struct loop_timer full_timer;                /* a full disk: look again */
    struct loop_timer drain_timer, orphan_timer; /* stopping takes no longer */
    struct loop_poll input_poll;
    unsigned orphan_quiet;
    uint64_t due_ms;
    struct loop_timer park_timer; /* first time-out of a parked client */
    struct loop_signal sigterm, sigint, sighup;
    uint64_t lap_ns;
    uint64_t gathered;  /* the newest record at the end of the last turn that put off its batch */
    uint64_t gather_ns; /* since when it has been put off */
    uint64_t released;  /* the position up to which answers have left */

    struct list clients, held, again, dead;
    size_t client_count, clients_max, clients_limit, blocked_count, watch_count;
    uint64_t client_ids;

    struct resp_request request;
    struct buf record; /* the one being made */
    struct map entries;
    struct map park_keys;
    struct list park_ready;
    struct heap park_times;

    struct node_stats stats;
    struct log_limit slow_sync, slow_turn;
    struct snapshotter *snapshotter;
    struct hugeheap heap;
    struct presences *presences;
    uint64_t snapshot_log_bytes;

    bool serving, stopping, disk_full,
        stalled; /* stalled: a command waits for the batch under way */
    int failed_rc;
    struct err failure;
};

/* ---- node.c ---- */
/* Wall clock that never goes back; read again at each call. */
uint64_t node_now_ms(struct node *n);
/* Time since the last call: the clock is read once a command, not twice. */
uint64_t node_lap_ns(struct node *n);
/* The log has failed: stop without answering what is not on disk. */
void node_fail(struct node *n, int rc, const struct err *err);
/* Begins the end: no new connections, answers what is there, then the loop stops. */
void node_stop(struct node *n);
/* Appends n->record; room was reserved. */
void node_log(struct node *n);
/* Does what is due, and says in the log that we are there. 0, or what node_reserve says. */
int node_tick(struct node *n);
/* Sets the timer by the core's and the store's next times. */
void node_schedule(struct node *n);
/* Room for one record of `bytes`: 0, TTG_EAGAIN (try after the batch), or a refusal. */
int node_reserve(struct node *n, uint64_t bytes);
/* Collects a finished batch, starts the next one. */
void node_commit(struct node *n);

/* ---- client.c ---- */
void client_accept(struct node *n, int fd, const struct net_addr *peer, struct tls *tls);
/* No further use; the memory goes at the end of the turn. */
void client_close(struct client *c);
/* Frees those that were closed. */
void client_bury(struct node *n);
struct reply client_reply(struct client *c);
/* What was answered since the last mark waits for `position`. */
void client_mark(struct client *c, uint64_t position);
/* Takes back what was answered behind the first `from` bytes of the output. */
void client_unsay(struct client *c, size_t from);
/* Sends what may leave. */
void client_release(struct client *c);
/* Goes on with unread input and the answers at the end of the turn. */
void client_again(struct client *c);
/* Closes once all answers have left. */
void client_close_after(struct client *c);
struct client *client_find(struct node *n, uint64_t id);

/* ---- exec.c ---- */
enum exec_result { EXEC_DONE, EXEC_STALLED /* not executed: the batch is full */ };
int exec_init(struct node *n);
void exec_done(struct node *n);
struct node_entry *exec_find(struct node *n, struct str name);
enum exec_result exec_request(struct client *c, size_t argc, const struct str *argv);
/* Executes and logs; the caller has reserved room. */
void exec_core(struct node *n, const struct core_command *command, struct core_call *call);
/* Runs a command of the core without a client and logs it. `r` may be NULL. TTG_EAGAIN and what
 * else node_reserve says: not run. */
int exec_internal(struct node *n, uint64_t client, size_t argc, const struct str *argv,
                  struct reply *r);
/* Why there is no room in the log. */
void exec_refuse_full(struct reply *r, int rc);
/* For INFO errorstats: `reply` starts with the error. */
void exec_count_error(struct node *n, struct str reply);
void exec_forget_errors(struct node *n);

/* ---- transaction.c ---- */
void multi_queue(struct client *c, const struct node_entry *e, size_t argc, const struct str *argv,
                 struct reply *r);
void multi_spoil(struct client *c);
void multi_free(struct client *c);
enum exec_result multi_exec(struct client *c, struct node_entry *e);
size_t multi_count(const struct client *c);
/* A logged command touched keys: transactions that watch them fail. */
void watch_touch(struct node *n, const struct node_entry *e, size_t argc, const struct str *argv);
void watch_free(struct client *c);
void command_multi(struct client *c, size_t argc, const struct str *argv, struct reply *r);
void command_exec(struct client *c, size_t argc, const struct str *argv, struct reply *r);
void command_discard(struct client *c, size_t argc, const struct str *argv, struct reply *r);
void command_watch(struct client *c, size_t argc, const struct str *argv, struct reply *r);
void command_unwatch(struct client *c, size_t argc, const struct str *argv, struct reply *r);

/* ---- park.c ---- */
void park_init(struct node *n);
void park_done(struct node *n);
/* The core answered `blocked`; takes over call->resume, also on failure. */
int park_client(struct client *c, const struct core_command *command, const struct core_call *call);
/* From the core: who waits for this key may be served. */
void park_ready(struct node *n, struct str key);
/* Tries them again, as far as the log has room. */
void park_serve(struct node *n);
void park_free(struct client *c);
/* Answers as if the time was over, or with an error. False when it is not blocked. */
bool park_unblock(struct client *c, bool with_error);

/* ---- info.c ---- */
uint64_t info_memory_bytes(void);

/* ---- recover.c ---- */
int recover(struct node *n, struct err *err);
/* Runs the whole log on an empty core, as a start would: the digest must be that of the state. Only
 * what is written counts; TTG_ENOENT when a snapshot has replaced the beginning. */
int recover_digest(struct node *n, uint64_t *ret_digest, struct err *err);

#endif
