/* SPDX-License-Identifier: Apache-2.0 */
/* model - a job as a monitor shows it: what is, how it went, and who ran what when.
 *
 * Pure: it is told the answers of a queue (feed.h asks for them) and shown by whoever likes, as a
 * page, on a terminal or as JSON. All times are the queue's, in milliseconds, so that clocks of
 * other machines do not matter. Everything has a limit, and the newest stays.
 *
 * A round of answers ends with model_settle: only then leases that vanished are explained, since
 * the reason (a result, a failure, a lost worker) may have come in another answer. */
#ifndef TTG_MONITOR_MODEL_H
#define TTG_MONITOR_MODEL_H

#include "queue/queue.h"

enum {
    MODEL_JOBS = 200,
    MODEL_WORKERS = 512, /* lanes; who is gone makes room first */
    MODEL_RUNNING = 1024,
    MODEL_CELLS = 2048,
    MODEL_POINTS = 600, /* at least half of them are used: the time between them doubles */
    MODEL_SPANS = 4096,
    MODEL_EVENTS = 512,
    MODEL_DEAD = 100,
    MODEL_DEPTHS = 16,
    MODEL_RAN_MAX = 1024, /* to be asked for at once */
    MODEL_NAME_BYTES = 96,
    MODEL_TEXT_BYTES = 256,
    MODEL_KERNEL_BYTES = 256,
};

struct model_job {
    char name[MODEL_NAME_BYTES];
    bool named; /* only its name and `workers` are known */
    enum ledger_state state;
    uint64_t chunks, completed, dead, workers, created_ms;
};

enum model_worker_state {
    MODEL_IDLE,
    MODEL_BUSY,
    MODEL_STRAGGLING, /* at its chunk for far longer than others took */
    MODEL_LEFT,
    MODEL_LOST, /* killed, hung or cut off */
    MODEL_WORKER_STATES,
};

struct model_worker {
    char name[MODEL_NAME_BYTES], host[MODEL_NAME_BYTES];
    enum model_worker_state state;
    bool foreign, seen; /* seen: in the newest answer */
    uint32_t slots;
    uint64_t incarnation, held, completed, failed, lost, joined_ms, gone_ms;
    uint64_t lost_at_ms;             /* 0: never; it may have come back since */
    uint64_t chunk, attempt, age_ms; /* of the oldest that it runs */
    uint64_t running;                /* how many it runs; 0: chunk says nothing */
    uint64_t unacked;                /* as a RabbitMQ broker counts */
    double rate;                     /* chunks a second, of late */
    uint64_t rate_completed, rate_ms, ended_ms;
    bool rate_is_first; /* of a span that is not over */
};

/* Taken and started. */
struct model_running {
    size_t worker; /* index in `workers` */
    uint64_t chunk, epoch, attempt, from_ms;
    bool seen;
};

enum model_span_kind { MODEL_RAN, MODEL_FAILED, MODEL_TAKEN_AWAY, MODEL_GIVEN_BACK };
struct model_span {
    uint64_t seq; /* 1, 2, ... */
    size_t worker;
    uint64_t chunk, attempt, from_ms, to_ms, took_us;
    enum model_span_kind kind;
};

struct model_point {
    uint64_t at_ms, completed, params, leased, waiting, delayed, dead, failures, reclaimed, workers;
    double rate, params_rate; /* since the point before */
};

struct model_event {
    uint64_t seq, at_ms, value;
    int64_t chunk;
    char event[32], from[MODEL_NAME_BYTES], to[MODEL_NAME_BYTES], text[MODEL_TEXT_BYTES];
};

struct model_dead {
    uint64_t chunk, dead_ms;
    uint32_t attempts;
    char worker[MODEL_NAME_BYTES], reason[MODEL_TEXT_BYTES];
};

/* What a RabbitMQ broker says of its own; other queues have nothing of the kind. */
enum model_broker_source { MODEL_NO_BROKER, MODEL_DECLARED, MODEL_MANAGEMENT };
struct model_depth {
    char name[MODEL_NAME_BYTES];
    uint64_t ready, unacked, consumers;
    double in, out; /* messages a second */
};
struct model_broker {
    enum model_broker_source source; /* declared: only `ready` and `consumers` are known */
    char why[MODEL_TEXT_BYTES];      /* declared: what the management API said */
    char version[32], alarms[MODEL_TEXT_BYTES];
    uint64_t nodes, nodes_running; /* 0: we may not ask */
    struct model_depth queues[MODEL_DEPTHS];
    size_t queue_count;
};

struct model {
    bool connected;
    char link_text[MODEL_TEXT_BYTES]; /* why not */
    uint64_t rounds;                  /* settled; 0: nothing is known yet */

    struct model_job jobs[MODEL_JOBS];
    size_t job_count;
    bool follows;  /* nobody named a job */
    bool unlisted; /* RabbitMQ: workers are known by their results, and not who of them is there */

    /* The job in view; `status` has no texts, they are below. */
    char job[MODEL_NAME_BYTES], kernel[MODEL_KERNEL_BYTES], input[MODEL_KERNEL_BYTES];
    bool known; /* the queue has that job */
    struct ledger_status status;
    int64_t first;
    uint64_t params_total, chunk_params, now_ms;
    uint32_t max_attempts;
    double rate, params_rate;          /* over the last seconds */
    uint64_t eta_ms;                   /* 0: nobody knows */
    uint64_t took_p50_us, took_p95_us; /* of the newest results; 0: none */

    struct model_worker workers[MODEL_WORKERS];
    size_t worker_count;
    uint64_t worker_changes; /* lanes were given to others: indexes mean something new */
    struct model_running running[MODEL_RUNNING];
    size_t running_count;
    struct queue_cell cells[MODEL_CELLS];
    size_t cell_count;
    uint64_t per_cell;

    /* Rings: element number n at [n % size]; the newest has the number ..._seq, the oldest kept
     * ..._first. Points are an array from the oldest on. */
    struct model_point points[MODEL_POINTS];
    size_t point_count;
    uint64_t point_period_ms;
    struct model_span spans[MODEL_SPANS];
    uint64_t span_seq, span_first;
    struct model_event events[MODEL_EVENTS];
    uint64_t event_count; /* ever; their own seq is the queue's */
    uint64_t event_seq;   /* of the newest, as the queue counts */
    struct model_dead dead[MODEL_DEAD];
    size_t dead_count;
    struct model_broker broker;
    uint64_t ran_until_ms; /* results that ended before are known */
    bool ran_partial;      /* of this round only the newest results are known */
};

struct model *model_new(void); /* NULL: no memory */
void model_free(struct model *m);
/* Another job comes into view; all that is known of the present one goes. */
void model_show(struct model *m, struct str job);

/* The queue is there, or not. */
void model_link(struct model *m, bool connected, const char *text);
void model_jobs(struct model *m, const struct queue_list *list);
/* A RabbitMQ broker knows no more of the jobs that are not in view. Sorts `jobs`. */
void model_jobs_named(struct model *m, struct model_job *jobs, size_t count);
/* A job made anew under the same name starts from nothing. */
void model_status(struct model *m, const struct queue_status *s);
void model_workers(struct model *m, const struct queue_workers *list);
void model_map(struct model *m, const struct queue_map *map);
void model_events(struct model *m, const struct queue_events *e);
void model_dead(struct model *m, const struct queue_dead_list *d);
void model_depths(struct model *m, const struct queue_depths *d, const char *why);
void model_broker(struct model *m, const struct model_broker *b);
/* Where that worker is, and how many chunks the broker says it has. */
void model_place(struct model *m, struct str worker, struct str host, uint64_t unacked);
void model_settle(struct model *m);

/* Newest first: i = 0 is the newest. NULL: no more. */
const struct model_event *model_event_back(const struct model *m, size_t i);
const struct model_span *model_span_back(const struct model *m, size_t i);

const char *model_worker_state_text(enum model_worker_state s); /* "busy" */
const char *model_span_kind_text(enum model_span_kind k);       /* "ran" */
/* The job to look at when none is named: the newest that runs, else the newest. NULL: none. */
const struct model_job *model_newest(const struct model *m);
/* On RabbitMQ, when no job was named and the one in view is not there or has ended: the only other
 * one that workers work at, or the only other one. NULL: stay, or let people choose. */
const struct model_job *model_elsewhere(const struct model *m);

/* As JSON, one object without a newline (docs/monitor.md). `since`: only what came after these
 * numbers; NULL: all. It is moved on. TTG_EFULL, TTG_ENOMEM. */
struct model_mark {
    uint64_t span_seq, event_count, point_ms, worker_changes;
};
int model_json(const struct model *m, struct model_mark *since, struct buf *out);

#endif
