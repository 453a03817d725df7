/* SPDX-License-Identifier: Apache-2.0 */
/* worker_state - what the files of the worker share.
 *
 *     worker.c          its life: start, stop, the end, what happens now and then
 *     worker_join.c     the connections; joining, and joining again with what it holds
 *     worker_take.c     taking chunks, starting them, giving them back
 *     worker_outcome.c  what became of them
 *
 * Two things move independently: the phase of the life, and whether the worker is joined. A cut, a
 * pause or a restart of the node ends the join, in any phase; what runs goes on meanwhile, but no
 * chunk starts and nothing is told to the queue until the next join has said what is still ours. */
#ifndef TTG_WORKER_WORKER_STATE_H
#define TTG_WORKER_WORKER_STATE_H

#include "base/log.h"
#include "io/lines.h"
#include "io/loop.h"
#include "worker/backlog.h"
#include "worker/outbox.h"
#include "worker/pulse.h"
#include "worker/worker.h"

enum { WORKER_TICK_MS = 100 };

enum worker_phase {
    WORKER_BEGINNING, /* no join has succeeded yet */
    WORKER_RUNNING,
    WORKER_ENDING,  /* no chunk starts any more; what runs ends, results leave */
    WORKER_LEAVING, /* nothing is left to do: good-bye to the queue, the kernel's children end */
    WORKER_ENDED,   /* on_end is about to come */
};

struct worker_slot {
    bool busy, dropped; /* dropped: the lease is gone, the outcome does not count */
    bool wedged;        /* busy for ever */
    struct kernel_task task;
    uint64_t epoch, params;
    struct worker_lines {
        struct kernel_source source;
        struct lines_reader reader;
    } lines;
};

/* At most `max` lines a second, so that a job that fails everywhere can still be read. */
struct worker_log_limit {
    uint64_t second, count, left_out;
};

struct worker {
    struct worker_config config;
    struct loop *loop;
    struct queue *takes, *commits;
    struct queue_config commit_config;
    struct pulse *pulse;
    struct kernel *kernel;
    struct outbox *outbox;
    struct lines *lines; /* NULL: the parameters are numbers */
    struct backlog backlog;

    struct queue_join join;
    struct queue_take take;
    struct queue_leave leave;
    struct queue_beat check;
    struct queue_lease *checked; /* of `check` */
    struct ledger_held *held;    /* as named in `join` */

    struct loop_timer tick, resume, drain, finish;
    struct loop_async news; /* of the pulse */
    struct loop_hook hook;

    enum worker_phase phase;
    enum worker_end end;
    struct err err;
    unsigned stops;
    bool joined, again;     /* again: has been joined before */
    bool left, quiet;       /* good-bye was said; the kernel has no children */
    bool gave_up;           /* what is not answered now is lost */
    bool dry;               /* a take ahead of need found nothing; until a chunk ends */
    bool blocking;          /* the take under way waits */
    uint64_t releases;      /* under way */
    uint64_t away_since_ms; /* the queue, after we were told to stop; 0: it is there */
    uint64_t idle_since_ms; /* nothing in hand, not joined */
    uint64_t pause_ms;      /* between takes that were refused */
    uint64_t refused_since_ms;
    uint32_t busy, wedged; /* slots; the wedged are busy, too */

    /* of the job */
    int64_t first;
    uint64_t params_total, chunk_params;

    double chunk_ns, take_ns; /* measured, smoothed */
    double slowest_ns;        /* of the latest chunks */
    double trip_ns;           /* of the fastest take */
    double told_per_pace;     /* results that the queue has answered in a moment, lately */
    uint64_t pace_since_ns, pace_told;
    uint64_t take_sent_ns, join_sent_ns;
    struct worker_totals totals;
    struct worker_figures figures; /* its histograms; the rest is filled in when asked */
    struct worker_log_limit failed_lines, stale_lines;
    struct worker_slot slots[];
};

static inline struct str worker_job(const struct worker *w)
{
    return str_of(w->config.job);
}

static inline struct queue_worker worker_self(const struct worker *w)
{
    return (struct queue_worker){str_of(w->config.name), w->config.incarnation};
}

/* --- worker.c --- */

/* Does whatever can be done now. */
void worker_go_on(struct worker *w);
/* From any callback; on_end comes from the loop. */
void worker_end_now(struct worker *w, enum worker_end end, const struct err *err);
/* The good-bye was answered, or will not be. */
void worker_left(struct worker *w);
/* What runs ends first. */
void worker_begin_end(struct worker *w, enum worker_end end);
void worker_broken(struct worker *w, int rc, const char *what);
/* Whether a line may pass; *ret_left_out is how many did not since the last one. */
bool worker_log_passes(struct worker *w, struct worker_log_limit *l, uint64_t *ret_left_out);

/* --- worker_join.c --- */

int worker_connect(struct worker *w, struct err *err);
/* Sends the join when it is due and possible; harmless otherwise. */
void worker_send_join(struct worker *w);
bool worker_waits_for_job(const struct worker *w); /* a join under way may wait for it */
/* The queue says that this worker is lost. */
void worker_rejoin(struct worker *w, const char *reason);
void worker_join_init(struct worker *w);

/* --- worker_take.c --- */
/* How many chunks to have in hand beyond those that run: twice what the slots get through while a
 * take is under way, and a few where they are over in a moment. Times are smoothed, 0 is not known;
 * `max` is the user's. */
uint64_t worker_prefetch(double chunk_ns, double take_ns, uint32_t slots, uint32_t max);

/* How many chunks to have in hand at most, results that are not answered included: those that the
 * queue has lately answered in WORKER_TICK_MS, or longer where a round trip takes long. */
uint64_t worker_hand_max(double told_per_pace, double trip_ns, uint32_t slots);
/* How many chunks as slow as this are over in a moment. */
uint64_t worker_soon(double slowest_ns, uint32_t slots);
/* Each WORKER_TICK_MS. */
void worker_note_pace(struct worker *w);

void worker_take_init(struct worker *w);
void worker_fill_slots(struct worker *w);
void worker_ask(struct worker *w);
/* Asks whether prefetched chunks are still ours: some may have been moved to an idle worker. */
void worker_check_backlog(struct worker *w);
void worker_release(struct worker *w, const struct ledger_held *leases, size_t count);
void worker_release_backlog(struct worker *w);

/* --- worker_outcome.c --- */

int worker_open_outbox(struct worker *w);
void worker_log_started(const struct worker_slot *s);
/* `result` may end the slot for good (wedged). */
void worker_chunk_ended(struct worker *w, struct worker_slot *s,
                        const struct kernel_result *result);
void worker_on_chunk(void *ctx, uint32_t slot, const struct kernel_result *result);
/* Stops what runs; `drop`: the job does not want it any more. */
void worker_cancel_slots(struct worker *w, bool drop);
void worker_measure(double *mean, double value);

#endif
