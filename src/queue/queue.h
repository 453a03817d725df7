/* SPDX-License-Identifier: Apache-2.0 */
/* queue - where chunks wait: the one interface that jobs and workers know.
 *
 * A queue lives on an event loop. Requests are objects of the caller: fill one in, queue_send it,
 * and its on_done comes exactly once, from the loop, also when the queue is closed meanwhile. What
 * it answers with (arrays, texts) are views that live until on_done returns.
 *
 * The connection comes back by itself, with growing pauses, for `retry_ms`. Requests that may be
 * repeated as they are (all but joins, takes, beats, commits and failures) are then sent again in
 * their old order; the others end with TTG_ECLOSED at the cut. After `on_up` a worker joins again,
 * names what it holds, and then repeats commits with the epochs that it is told. A take that waits
 * holds up what is sent behind it, so a worker takes over one queue and commits over another.
 *
 * What a request ends with, beside the codes named at it: TTG_ENOENT no such job, TTG_EDONE the job
 * has ended, TTG_EUNREACH the queue is lost, TTG_ECANCELED it was closed, TTG_EPROTO an answer that
 * makes no sense, TTG_EFULL the queue refuses writes for now (disk or memory full), TTG_EINVAL. */
#ifndef TTG_QUEUE_QUEUE_H
#define TTG_QUEUE_QUEUE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "core/ledger.h"
#include "queue/history.h"
#include "queue/url.h"

struct loop;
struct queue;

enum { QUEUE_RETRY_MS = 60000, QUEUE_COMMIT_MAX = 4096, QUEUE_TAKE_MAX = LEDGER_TAKE_MAX };

/* Pointers stay the caller's and live as long as the queue. */
struct queue_config {
    const struct url *url;
    /* NULL: the engine that the address asks for. */
    struct queue *(*engine)(struct loop *loop, const struct queue_config *config, struct err *err);
    const char *client_name;                 /* shown by CLIENT LIST; NULL: none */
    const char *tls_ca, *tls_cert, *tls_key; /* NULL: the system's, none, none */
    bool tls_no_verify;
    const char *queue_type; /* of a job's queues on RabbitMQ: classic, quorum; NULL: as they are */
    const char *job; /* whose server is looked for, in a Redis Cluster; NULL: the first asked for */
    bool quiet;      /* another queue of ours to that address tells that it is out of reach */
    unsigned redis_wait;     /* Redis: replicas that have a change before it counts */
    uint64_t stale_check_ms; /* Redis: a busy worker looks after plain clients; 0: each 30 s */
    uint64_t retry_ms;       /* without a connection for so long: lost */
    uint64_t seed;           /* of the jitter */
    void *ctx;
    void (*on_up)(void *ctx);                        /* connected (again) */
    void (*on_down)(void *ctx, const struct err *e); /* cut; it will be tried again */
    void (*on_lost)(void *ctx, const struct err *e); /* for good; all requests end */
};

/* Starts connecting. TTG_EUSAGE, TTG_EUNSUPPORTED, TTG_EINVAL (certificates) with a text. */
int queue_open(struct queue **ret_queue, struct loop *loop, const struct queue_config *config,
               struct err *err);
/* The engine keeps state with its connection (deliveries to acknowledge, the collector's ledger),
 * no request holds up another, and the connection itself says who lives: one queue for everything,
 * and no beats. */
bool queue_is_one(const struct queue_config *config);
/* Certificates as the configuration has them. */
struct tls;
int queue_tls(const struct queue_config *config, struct tls **ret_tls, struct err *err);
/* Requests under way end with TTG_ECANCELED. Not from a callback of this queue. NULL is fine. */
void queue_close(struct queue *q);
bool queue_is_up(const struct queue *q);
/* Whether on_done may send the next QUEUE_RESULTS, also with the same request, before it has used
 * the lines that it got. */
bool queue_lines_stay(const struct queue *q);
/* Requests sent and not answered. */
size_t queue_pending(const struct queue *q);

enum queue_verb {
    QUEUE_CREATE,
    QUEUE_STATUS,
    QUEUE_LIST,
    QUEUE_CONTROL,
    QUEUE_JOIN,
    QUEUE_TAKE,
    QUEUE_COMMIT,
    QUEUE_FAIL,
    QUEUE_RELEASE,
    QUEUE_BEAT,
    QUEUE_LEAVE,
    QUEUE_LOST,
    QUEUE_WORKERS,
    QUEUE_RESULTS,
    QUEUE_TRIM,
    QUEUE_DEAD_LIST,
    QUEUE_DEAD_SHOW,
    QUEUE_DEAD_REDRIVE,
    QUEUE_DEAD_DROP,
    QUEUE_EVENTS,
    QUEUE_EXPLAIN,
    QUEUE_MAP,
    QUEUE_DEPTHS,
    QUEUE_VERBS,
};

struct queue_request {
    /* the caller's; the rest is private */
    enum queue_verb verb;
    void (*on_done)(struct queue_request *r, int rc, const struct err *err);
    void *ctx;

    struct list link;
    struct queue *queue;            /* NULL: not under way */
    struct buf words;               /* as sent, for sending again */
    bool sent, with_text;           /* with_text: the script itself, not its hash */
    uint8_t skip, step;             /* answers before the one that counts; which step */
    uint8_t behind;                 /* answers behind it that it needs */
    bool answered;                  /* it has come, and waits for those */
    struct err early;               /* what one of those refused */
    uint64_t deadline_ms, pause_ms; /* of a wait that the queue itself cannot do */
};

/* Before the first use. Afterwards the object may be sent again and again. */
void queue_request_init(struct queue_request *r, enum queue_verb verb,
                        void (*on_done)(struct queue_request *r, int rc, const struct err *err),
                        void *ctx);
/* Frees its memory; it is not under way. */
void queue_request_done(struct queue_request *r);
static inline bool queue_request_busy(const struct queue_request *r)
{
    return r->queue != NULL;
}

/* All that is in the request is copied. Failures come through on_done, too. */
void queue_send(struct queue *q, struct queue_request *r);

/* Each request begins with these three: */
struct queue_call {
    struct queue_request request;
    struct str job;
};

struct queue_worker {
    struct str name;
    uint64_t incarnation; /* below 2^63, drawn at start */
};

/* TTG_EEXIST: exists with another spec, TTG_EDONE: has ended. */
struct queue_create {
    struct queue_call call;
    struct ledger_spec spec;
    bool unattended;     /* no results will be asked for: hand over all chunks before answering */
    bool created;        /* false: it existed */
    uint64_t created_ms; /* out, and so the rest of such structs: below "out" */
};

/* Numbers that an engine does not know are 0. */
struct queue_status {
    struct queue_call call;
    /* out */
    struct ledger_status status; /* `name` is the job; digest and sum as there */
    int64_t first;
    uint64_t params_total, chunk_params, now_ms;
    uint32_t max_attempts, retry_min_ms, retry_max_ms, retry_jitter, stale_ms, window;
    struct str kernel, input;
};

struct queue_job_info {
    struct str job;
    enum ledger_state state;
    uint64_t chunks, completed, dead, workers, created_ms;
};
struct queue_list {
    struct queue_call call; /* without a job */
    /* out */
    const struct queue_job_info *jobs;
    size_t count;
};

enum queue_control { QUEUE_PAUSE, QUEUE_RESUME, QUEUE_CANCEL, QUEUE_FORGET };
struct queue_control_call {
    struct queue_call call;
    enum queue_control control;
};

/* TTG_EBUSY: a newer incarnation has this name. TTG_EVERSION: node and worker do not fit. */
struct queue_join {
    struct queue_call call;
    struct queue_worker worker;
    struct str host; /* for people; may be empty */
    uint32_t slots, inflight;
    struct ledger_held *held; /* in and out, see ledger_join */
    size_t held_count;
    uint64_t block_ms; /* to wait for the job where the engine can; 0: do not */
    /* out */
    enum ledger_state state;
    uint64_t created_ms;
    uint64_t protocol;  /* 0: the engine has no version of its own */
    struct str version; /* of the node */
    int64_t first;
    uint64_t params_total, chunk_params, chunks;
    uint32_t max_attempts;
    struct str kernel, input;
};

/* TTG_EAGAIN: nothing came within block_ms. TTG_ESTALE: join again. TTG_EBUSY: replaced. */
struct queue_take {
    struct queue_call call;
    struct queue_worker worker;
    uint64_t count;    /* at most QUEUE_TAKE_MAX */
    uint64_t soon;     /* so many are over in a moment: no need to share them out (Redis) */
    uint64_t block_ms; /* 0: do not wait */
    /* out */
    enum ledger_state state;
    const struct ledger_run *runs;
    size_t run_count;
};

struct queue_result {
    uint64_t chunk, epoch;
    uint64_t params; /* in the chunk */
    uint64_t duration_us;
    bool is_sum;
    __int128 sum;      /* is_sum */
    struct str output; /* otherwise: any bytes */
};
struct queue_verdict {
    uint64_t chunk;
    enum ledger_verdict verdict;
};
struct queue_commit {
    struct queue_call call;
    struct queue_worker worker;
    const struct queue_result *results;
    size_t count; /* 1 .. QUEUE_COMMIT_MAX */
    /* out: the results that were not plainly accepted */
    uint64_t accepted;
    const struct queue_verdict *verdicts;
    size_t verdict_count;
};

struct queue_fail {
    struct queue_call call;
    struct queue_worker worker;
    uint64_t chunk, epoch;
    bool final; /* do not retry */
    struct str reason;
    /* out */
    enum ledger_fate fate;
    uint64_t retry_ms;
};

struct queue_lease {
    uint64_t chunk, epoch;
};
struct queue_release {
    struct queue_call call;
    struct queue_worker worker;
    const struct queue_lease *leases; /* none: all of the worker's */
    size_t count;
};

/* "I live." TTG_ESTALE: lost, join again. */
struct queue_beat {
    struct queue_call call;
    struct queue_worker worker;
    const struct queue_lease *leases; /* those to be checked */
    size_t count;
    /* out */
    enum ledger_state state;
    uint64_t outstanding;
    const uint64_t *gone; /* chunks of those leases that are held no more */
    size_t gone_count;
};

struct queue_leave {
    struct queue_call call;
    struct queue_worker worker;
};

/* Its process has ended, says whoever started it: at once lost, if it has not said good-bye, and
 * for this reason, also when the loss is known already. TTG_ESTALE: no such worker. */
struct queue_lost {
    struct queue_call call;
    struct queue_worker worker;
    struct str reason;
};

struct queue_workers {
    struct queue_call call;
    /* out */
    const struct ledger_worker_info *workers;
    size_t count;
};

/* Committed results behind a cursor, in the form of the output: one line each. TTG_EAGAIN: none
 * came within block_ms. TTG_ERANGE: the queue has only `last` results (it went back in time).
 * TTG_ESTALE: it went back in time, and what was read is true up to the cursor `last`, the
 * `kept`-th result, of chunk `kept_chunk` (-1: unknown); chunks of later ones run again. */
struct queue_results {
    struct queue_call call;
    uint64_t cursor; /* 0: from the start */
    uint64_t count, block_ms;
    char history[HISTORY_TEXT_BYTES]; /* in and out: kept with the cursor; "" at first */
    /* What is collected already, up to the cursor: the memory of an engine that has none itself. */
    const char *collected_path; /* NULL: not kept */
    uint64_t collected_bytes;
    /* out */
    uint64_t last;  /* the new cursor */
    uint64_t first; /* of these lines; above cursor + 1: older ones are gone */
    bool ended;     /* nothing follows */
    uint64_t kept;
    int64_t kept_chunk;
    struct str lines;
    const uint64_t *cursors; /* behind each line; NULL: they count up from `first` */
};

/* Results up to `seq` are safe outside. */
struct queue_trim {
    struct queue_call call;
    uint64_t seq;
};

struct queue_reason {
    uint64_t at_ms;
    uint32_t attempt;
    struct str worker, reason;
};
struct queue_dead {
    uint64_t chunk, dead_ms;
    uint32_t attempts;
    struct str worker, reason; /* the newest */
};
struct queue_dead_list {
    struct queue_call call;
    bool from_start;
    uint64_t after, count; /* `after`: a chunk of an earlier answer, unless from_start */
    /* out */
    const struct queue_dead *dead;
    size_t dead_count;
};
/* TTG_ENOENT too when that chunk is no dead letter. */
struct queue_dead_show {
    struct queue_call call;
    uint64_t chunk;
    /* out */
    int64_t first, last;
    uint32_t attempts;
    uint64_t dead_ms;
    const struct queue_reason *reasons; /* oldest first */
    size_t reason_count;
};
struct queue_dead_redrive {
    struct queue_call call;
    bool all;
    uint64_t chunk;
    uint64_t redriven; /* out; 0 is no error */
};
struct queue_dead_drop {
    struct queue_call call;
    uint64_t chunk;
    bool dropped; /* out */
};

struct queue_event {
    uint64_t seq, at_ms, value;
    int64_t chunk; /* -1: none */
    struct str event, from, to, text;
};
struct queue_events {
    struct queue_call call;
    uint64_t after, count;
    /* out */
    const struct queue_event *events;
    size_t event_count;
};

/* What a monitor draws. Cells tell of `per_cell` chunks each, `repeat` equal neighbours together;
 * what is missing to the number of chunks was never leased. */
struct queue_cell {
    uint64_t repeat, done, leased, ready, delayed, dead;
};
struct queue_map_lease {
    struct str worker;
    uint64_t chunk, epoch, attempt, since_ms;
};
struct queue_ran {
    struct str worker;
    uint64_t chunk, attempt, end_ms, duration_us;
};
struct queue_map {
    struct queue_call call;
    uint64_t cells_max, leases_max, ran_max; /* 0: none of these */
    uint64_t since_ms;                       /* only what ran to its end from then on */
    /* out */
    uint64_t now_ms, chunks, per_cell;
    const struct queue_cell *cells;
    const struct queue_map_lease *leases; /* the oldest of each worker first */
    const struct queue_ran *ran;          /* the newest first */
    size_t cell_count, lease_count, ran_count;
};

/* How many messages wait in the job's own queues, asked without the management API: only where
 * queue_is_one(). The queues that are not there are left out. */
enum { QUEUE_DEPTHS_MAX = 5 };
struct queue_depth {
    const char *name;
    uint64_t ready, consumers;
};
struct queue_depths {
    struct queue_call call;
    /* out */
    struct queue_depth depths[QUEUE_DEPTHS_MAX];
    size_t count;
};

/* Why the job, or one chunk of it, does not run. */
struct queue_explain {
    struct queue_call call;
    bool of_chunk;
    uint64_t chunk;
    /* out; numbers 0 and texts empty where they do not apply */
    struct str place, why, worker, reason;
    uint64_t attempts, epoch, since_ms, due_ms;
};

#endif
