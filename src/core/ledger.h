/* SPDX-License-Identifier: Apache-2.0 */
/* ledger - one job: which chunks are free, leased, done or dead, and who holds what.
 *
 * Pure and deterministic: the caller brings the time, the same calls give the same state. It knows
 * no streams and no sockets; whoever mirrors it somewhere (a node into two streams) passes
 * `ledger_ops` and is told of each move.
 *
 * A chunk's life, and where it is kept:
 *
 *     unfed -> fresh -> leased -> done          unfed, fresh, done: only counters and two marks
 *                ^        |  \--> dead          leased, ready, delayed, dead: one object each
 *                |        v        |
 *              ready <- delayed    |            `next`: the lowest chunk that was never leased
 *                ^-----------------+            `fed`:  the lowest chunk outside the window
 *
 * A chunk below `next` without an object is done. So the done set needs no memory of its own, it is
 * what lies between the objects, and a job of 10^9 chunks costs what is outstanding.
 *
 * Exactly once: each lease has an epoch (boot number << 40 | counter) that is never used again. A
 * commit counts if the chunk is open and its newest epoch is the one presented, also when the lease
 * was lost meanwhile but nobody took the chunk over. Everything else is stale.
 *
 * Attempts count starts. A worker starts chunks in the order it took them, so at most its `slots`
 * oldest leases have started: they are charged when it is lost, the others return free of charge.
 *
 * Memory: each call makes room first and changes the state only when nothing can fail any more;
 * TTG_ENOMEM means that nothing has happened. Reasons and events are kept as far as memory goes. */
#ifndef TTG_CORE_LEDGER_H
#define TTG_CORE_LEDGER_H

#include "base/metric.h"
#include "base/pack.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LEDGER_WINDOW = 65536, /* chunks fed and not closed, by default */
    LEDGER_WINDOW_MAX = 4194304,
    LEDGER_TAKE_MAX = 4096, /* chunks by one take */
    LEDGER_SLOTS_MAX = 65536,
    LEDGER_RECENT = 1024, /* commits a worker may have unanswered, by default */
    LEDGER_RECENT_MAX = 65536,
    LEDGER_MAX_ATTEMPTS = 5,
    LEDGER_RETRY_MIN_MS = 100,
    LEDGER_RETRY_MAX_MS = 5000,
    LEDGER_RETRY_JITTER = 25,       /* percent, both ways */
    LEDGER_STALE_MS = 60000,        /* lease of a consumer without presence */
    LEDGER_STEAL_MS = 100,          /* age at which a prefetched lease may move to an idle worker */
    LEDGER_REASON_BYTES_MAX = 4096, /* the tail is kept */
    LEDGER_REASONS_MAX = 8,         /* per chunk, the newest */
    LEDGER_EVENTS_MAX = 1024,       /* per job, the newest */
    LEDGER_RAN_MAX = 1024,          /* of the newest results: who ran what when */
    LEDGER_GONE_MAX = 64,           /* workers remembered after they left */
    LEDGER_NAME_BYTES_MAX = 256,    /* of a worker */
    LEDGER_TEXT_BYTES_MAX = 65536,  /* of kernel and input */
    LEDGER_RESULTS_KEPT = 10000,    /* newest results that a trim leaves */
    LEDGER_EPOCH_BITS = 40,
    LEDGER_SUMMARY_BYTES = 96, /* room for the JSON text of a sum */
};

struct ledger;
struct ledger_worker;

struct ledger_spec {
    int64_t first;         /* lowest parameter */
    uint64_t params;       /* how many; 0 is a job that is finished at once; at most 2^63 */
    uint64_t chunk_params; /* parameters a chunk, the last one may have fewer; > 0 */
    uint32_t window, max_attempts;
    uint32_t retry_min_ms, retry_max_ms, retry_jitter; /* doubling from min to max, +- percent */
    bool retry_asked; /* somebody chose them; not kept. RabbitMQ has another default */
    uint32_t stale_ms;
    struct str kernel, input; /* descriptions: part of the job's identity, not interpreted */
};

enum ledger_state { LEDGER_RUNNING, LEDGER_PAUSED, LEDGER_FINISHED, LEDGER_CANCELED };

/* What the caller has to do after a call; ledger_effects collects and clears them. */
enum ledger_effect {
    LEDGER_WAKE_TAKERS = 1, /* something to take, or the job's state changed */
    LEDGER_WAKE_RESULTS = 2,
};

/* A stretch of leased chunks: chunk + i has epoch + i; all are at the same attempt. */
struct ledger_run {
    uint64_t chunk, count, epoch;
    uint32_t attempt; /* from 1 */
};

enum ledger_kind {
    LEDGER_SUM = 's',    /* `value`: a decimal number, added up */
    LEDGER_OUTPUT = 'o', /* `value`: any bytes */
    LEDGER_JSON = 'j',   /* `value`: a JSON text, from foreign consumers; `sum` when has_sum */
};

struct ledger_result {
    /* in */
    uint64_t chunk, epoch;
    uint64_t duration_us;
    enum ledger_kind kind;
    struct str value;
    bool has_sum; /* set by the ledger for LEDGER_SUM */
    __int128 sum;
    /* filled in by the ledger before on_result */
    uint64_t seq; /* 1, 2, 3, ... in order of commit */
    uint64_t now_ms;
    uint32_t attempt;
    struct str worker;
};

/* Told of each move, in order. NULL functions are skipped. They must not call the ledger. */
struct ledger_ops {
    void *ctx;
    void (*on_fed)(void *ctx, uint64_t chunk, uint64_t count);
    void (*on_leased)(void *ctx, uint64_t chunk, const struct ledger_worker *w, uint64_t now_ms);
    void (*on_returned)(void *ctx, uint64_t chunk, const struct ledger_worker *w); /* or delayed */
    void (*on_dead)(void *ctx, uint64_t chunk, const struct ledger_worker *w); /* NULL: no holder */
    void (*on_closed)(void *ctx, uint64_t chunk, const struct ledger_worker *w); /* done, dropped */
    void (*on_result)(void *ctx, const struct ledger_result *r);
    void (*on_joined)(void *ctx, const struct ledger_worker *w);
    void (*on_gone)(void *ctx, const struct ledger_worker *w); /* holds no lease any more */
};

/* TTG_EINVAL with a text when the spec makes no sense. */
struct err;
int ledger_spec_check(const struct ledger_spec *spec, struct err *err);

/* Copies name and spec. `now_ms` becomes created_ms. Feeds the window. `ops` may be NULL. */
int ledger_new(struct str name, const struct ledger_spec *spec, uint64_t boot, uint64_t now_ms,
               const struct ledger_ops *ops, struct ledger **ret_ledger);
void ledger_free(struct ledger *l);

/* For a caller that creates the mirror's context after the ledger, and after a load. */
void ledger_set_ops(struct ledger *l, const struct ledger_ops *ops);

/* Whether creating the job again with this spec means the same job: everything but the window
 * counts. 0, TTG_EEXIST with a text that names the difference, TTG_EDONE when it has ended. */
int ledger_same(const struct ledger *l, const struct ledger_spec *spec, struct err *err);

/* A node starts: raises the boot part of epochs, gives foreign leases a full term. Who had joined
 * is away from now on, which is `served_ms` of the node's service time. */
void ledger_boot(struct ledger *l, uint64_t boot, uint64_t now_ms, uint64_t served_ms);

/* When something is due without a call; UINT64_MAX: nothing. Then ledger_tick. */
uint64_t ledger_next_ms(const struct ledger *l);
/* Delayed chunks become ready, foreign leases expire. */
void ledger_tick(struct ledger *l, uint64_t now_ms);

unsigned ledger_effects(struct ledger *l); /* enum ledger_effect; clears them */

/* --- jobs --- */

/* TTG_EDONE when the job has ended (for pause, resume, cancel); repeating is harmless. */
int ledger_pause(struct ledger *l, uint64_t now_ms);
int ledger_resume(struct ledger *l, uint64_t now_ms);
int ledger_cancel(struct ledger *l, uint64_t now_ms);

/* --- workers --- */

struct ledger_held {
    uint64_t chunk, epoch; /* ledger_join: in: as granted; out: 0 when lost, else the epoch now */
};

/* A worker comes, or comes back after a cut or a restart of the node. `held` is all that it still
 * has: leases the ledger has for it and it does not name are returned (their grant got lost);
 * chunks it names that nobody had since are granted anew, since a take may be answered before it
 * is on disk: free ones, and those whose holder had them before. Another incarnation of the same
 * name is lost by this. Only this `client` may take. */
int ledger_join(struct ledger *l, struct str name, uint64_t incarnation, uint64_t client,
                uint32_t slots, uint32_t recent, struct ledger_held *held, size_t held_count,
                uint64_t now_ms, struct ledger_worker **ret_worker);

/* A consumer without presence, known by name only: its leases expire after stale_ms each. */
int ledger_join_foreign(struct ledger *l, struct str name, uint64_t now_ms,
                        struct ledger_worker **ret_worker);

/* The live worker of that name and incarnation (foreign: 0), or NULL. */
struct ledger_worker *ledger_worker(const struct ledger *l, struct str name, uint64_t incarnation);
/* The same, whatever the incarnation. */
struct ledger_worker *ledger_worker_named(const struct ledger *l, struct str name);
/* In order of joining; NULL starts and ends. */
struct ledger_worker *ledger_worker_next(const struct ledger *l, const struct ledger_worker *w);

struct ledger_worker_info {
    struct str name, host; /* host: "" when it has not said */
    uint64_t incarnation, client, joined_ms;
    uint64_t away_from_ms; /* without client: since when, in the node's service time */
    uint32_t slots;
    bool foreign;
    uint64_t held, completed, failed, lost;
};
void ledger_worker_info(const struct ledger_worker *w, struct ledger_worker_info *ret_info);

/* TTG_ENOMEM, and nothing has changed. */
int ledger_worker_set_host(struct ledger_worker *w, struct str host);

/* A place for whoever mirrors the ledger to keep its own object of that worker; not saved. */
void ledger_worker_set_owner(struct ledger_worker *w, void *owner);
void *ledger_worker_owner(const struct ledger_worker *w);

/* Leaves in order: leases return without charge. The number of them. */
uint64_t ledger_leave(struct ledger *l, struct ledger_worker *w, uint64_t now_ms);
/* Is lost: the `slots` oldest leases are charged one attempt. The number of leases reclaimed. */
uint64_t ledger_lost(struct ledger *l, struct ledger_worker *w, struct str reason, uint64_t now_ms);
/* Somebody knows better why a worker that is lost already was lost (its parent saw the signal):
 * `reason` replaces what its loss is remembered with. Repeating it is harmless. False: that worker
 * was not lost, or is forgotten. */
bool ledger_lost_reason(struct ledger *l, struct str name, uint64_t incarnation, struct str reason);

/* --- chunks --- */

/* Leases up to `count` chunks: first what came back, then fresh ones. `runs` has room for `count`.
 * A worker gets its free slots, and beyond them a share that shrinks with what is left, so that
 * nobody sits on work that an idle worker could do. When nothing is free and a slot is, the newest
 * leases of a worker that has more than slots move here once they are LEDGER_STEAL_MS old.
 * TTG_EAGAIN: nothing now. TTG_EDONE: the job has ended. TTG_ESTALE: `client` did not join last. */
int ledger_take(struct ledger *l, struct ledger_worker *w, uint64_t client, uint64_t count,
                uint64_t now_ms, struct ledger_run *runs, size_t *ret_count);

/* Whether the others will clearly have done all that is left before this worker would be through
 * with one chunk: then it had better not take. Until when that is so, if nothing happens; 0: let it
 * take. Asked before a take is made, so that a take that was logged needs no answer to this again:
 * it rests on what workers say of themselves lately, which no snapshot keeps. */
uint64_t ledger_wait_ms(const struct ledger *l, const struct ledger_worker *w, uint64_t client,
                        uint64_t now_ms);
/* The first free worker that waits so, when no free one may take; else NULL. For people. */
const struct ledger_worker *ledger_waiting(const struct ledger *l, uint64_t now_ms);

/* A foreign consumer takes over a leased or free chunk (XCLAIM), or renews its own lease. */
int ledger_claim(struct ledger *l, struct ledger_worker *w, uint64_t chunk, uint64_t now_ms);

enum ledger_verdict {
    LEDGER_ACCEPTED,
    LEDGER_AGAIN, /* this very commit was accepted before */
    LEDGER_STALE,
    LEDGER_REFUSED,   /* the job was canceled */
    LEDGER_INVALID,   /* no such chunk, not a number */
    LEDGER_NO_MEMORY, /* nothing has happened; only for foreign commits */
};
/* `name` and `incarnation` say who; only the epoch decides. Sets the filled-in part of `r`. */
enum ledger_verdict ledger_commit(struct ledger *l, struct str name, uint64_t incarnation,
                                  struct ledger_result *r, uint64_t now_ms);
/* From a foreign consumer: no epoch. Accepted when the chunk is open, whoever holds it. */
enum ledger_verdict ledger_commit_foreign(struct ledger *l, struct str name,
                                          struct ledger_result *r, uint64_t now_ms);

/* What was counted elsewhere: on a broker without a ledger a chunk carries its attempts along. */
enum ledger_note {
    LEDGER_NOTE_FAILED,
    LEDGER_NOTE_LOST,  /* with its worker: charged, but it is no failure of the work */
    LEDGER_NOTE_FINAL, /* the last one: the chunk is a dead letter */
};
/* An attempt ended without a result: the chunk, if it is open, has had at least `attempt` of them.
 * False: nothing new (told before, or the chunk is closed). */
bool ledger_note_failure(struct ledger *l, struct str worker, uint64_t chunk, uint32_t attempt,
                         enum ledger_note what, struct str reason, uint64_t now_ms);
/* Where leases are not seen, results say when work began and, once the job has ended, when that
 * was. 0: not said. */
void ledger_note_span(struct ledger *l, uint64_t started_ms, uint64_t finished_ms);
/* The commit that follows is of this attempt. `heir`: who has it from a lost worker; NULL: from
 * none. */
void ledger_note_attempt(struct ledger *l, uint64_t chunk, uint32_t attempt,
                         const struct ledger_worker *heir, uint64_t now_ms);

enum ledger_fate { LEDGER_RETRY, LEDGER_DEAD, LEDGER_FAIL_STALE };
/* The attempt failed. `ret_retry_ms`: when it will be ready again. TTG_ENOMEM. */
int ledger_fail(struct ledger *l, uint64_t chunk, uint64_t epoch, bool final, struct str reason,
                uint64_t now_ms, enum ledger_fate *ret_fate, uint64_t *ret_retry_ms);

/* Gives a lease back without charge. False: it was not held. */
bool ledger_release(struct ledger *l, uint64_t chunk, uint64_t epoch, uint64_t now_ms);
/* A foreign consumer drops its lease (XACK without result): ready again, charged. */
bool ledger_release_foreign(struct ledger *l, struct str name, uint64_t chunk, uint64_t now_ms);

/* All that a worker has. */
uint64_t ledger_release_all(struct ledger *l, struct ledger_worker *w, uint64_t now_ms);

/* The chunk that a take would give out first of those that came back; false: none, or not now. */
bool ledger_ready_first(const struct ledger *l, uint64_t *ret_chunk);
bool ledger_holds(const struct ledger *l, uint64_t chunk, uint64_t epoch);

/* Dead letters: back into the window with fresh attempts, or closed for good (the job then counts
 * them as dead, `redrive` no longer finds them). False: that chunk is no dead letter. */
bool ledger_redrive(struct ledger *l, uint64_t chunk, uint64_t now_ms);
uint64_t ledger_redrive_all(struct ledger *l, uint64_t now_ms);
bool ledger_drop(struct ledger *l, uint64_t chunk, uint64_t now_ms);

/* Results up to `seq` are safe at the collector. Returns the lowest sequence number kept. */
uint64_t ledger_trim(struct ledger *l, uint64_t seq);

/* --- looking --- */

struct ledger_status {
    struct str name;
    enum ledger_state state;
    uint64_t created_ms, started_ms, finished_ms; /* 0: not yet */
    uint64_t chunks, fed, next;
    uint64_t completed, dead, dropped; /* dropped is a part of neither */
    uint64_t fresh, ready, delayed, leased, unfed;
    uint64_t attempts, reclaimed, stolen, stale_dropped, failures, released, redriven;
    uint64_t workers, workers_lost, slots;
    uint64_t params; /* of completed chunks */
    bool has_sum, sum_overflow;
    __int128 sum;
    uint64_t digest[2];
    uint64_t result_seq, result_first; /* newest; lowest kept */
    uint64_t event_seq;
    uint64_t boot;
};
void ledger_status(const struct ledger *l, struct ledger_status *ret_status);
const struct ledger_spec *ledger_spec(const struct ledger *l);

/* The parameters of a chunk, which exists. `ret_last` is inclusive. */
void ledger_range(const struct ledger *l, uint64_t chunk, int64_t *ret_first, int64_t *ret_last);
uint64_t ledger_range_count(const struct ledger *l, uint64_t chunk);

enum ledger_place {
    LEDGER_AT_NONE, /* no such chunk */
    LEDGER_AT_UNFED,
    LEDGER_AT_FRESH,
    LEDGER_AT_READY,
    LEDGER_AT_DELAYED,
    LEDGER_AT_LEASED,
    LEDGER_AT_DONE,
    LEDGER_AT_DEAD,
    LEDGER_AT_DROPPED,
};
struct ledger_reason {
    uint64_t at_ms;
    uint32_t attempt;
    struct str worker, text;
};
struct ledger_chunk_info {
    enum ledger_place place;
    uint32_t attempts; /* charged so far */
    uint64_t epoch, since_ms, due_ms;
    const struct ledger_worker *worker;
    size_t reason_count; /* newest last, see ledger_chunk_reason */
};
void ledger_chunk_info(const struct ledger *l, uint64_t chunk, struct ledger_chunk_info *ret_info);
bool ledger_chunk_reason(const struct ledger *l, uint64_t chunk, size_t i,
                         struct ledger_reason *ret_reason);

/* The dead letter after `after` in order of death, or the first with UINT64_MAX. False: no more. */
bool ledger_dead_next(const struct ledger *l, uint64_t after, uint64_t *ret_chunk);

/* The done set as intervals, lowest first: calls `fn` with [from, to). TTG_ENOMEM. */
int ledger_done_each(const struct ledger *l, void (*fn)(void *ctx, uint64_t from, uint64_t to),
                     void *ctx);

enum ledger_event_kind {
    LEDGER_EV_CREATED,
    LEDGER_EV_JOINED,    /* from: the worker; value: slots */
    LEDGER_EV_LEFT,      /* from; value: leases returned */
    LEDGER_EV_LOST,      /* from; value: leases reclaimed; text: why */
    LEDGER_EV_EXPIRED,   /* chunk, from: a foreign lease ran out */
    LEDGER_EV_RECLAIMED, /* chunk, from, to; value: ms between the loss and this take */
    LEDGER_EV_STOLEN,    /* chunk, from, to */
    LEDGER_EV_FAILED,    /* chunk, from; value: ms until the retry; text: reason */
    LEDGER_EV_DEAD,      /* chunk, from; value: attempts; text: reason */
    LEDGER_EV_REDRIVEN,  /* chunk */
    LEDGER_EV_DROPPED,   /* chunk */
    LEDGER_EV_PAUSED,
    LEDGER_EV_RESUMED,
    LEDGER_EV_CANCELED,
    LEDGER_EV_FINISHED, /* value: dead letters */
    LEDGER_EV_COUNT,
};
struct ledger_event {
    uint64_t seq, at_ms;
    enum ledger_event_kind kind;
    uint64_t chunk; /* UINT64_MAX: of no chunk */
    uint64_t value;
    struct str from, to, text;
};
const char *ledger_event_name(enum ledger_event_kind kind); /* "chunk.reclaimed" */
/* The first kept event after `seq`. False: none yet. */
bool ledger_event_next(const struct ledger *l, uint64_t seq, struct ledger_event *ret_event);

/* The job as a strip of cells: cell i is about the chunks from i * per_cell on. What is missing to
 * the number of chunks was never leased. */
struct ledger_cell {
    uint64_t done, leased, ready, delayed, dead; /* dead: also the dropped ones */
};
/* How many chunks a cell gets, so that no more than `cells_max` (> 0) cells cover the job. */
uint64_t ledger_per_cell(const struct ledger *l, uint64_t cells_max);
/* `cells`: room for as many as cover the job. Costs O(outstanding). */
void ledger_cells(const struct ledger *l, uint64_t per_cell, struct ledger_cell *cells);

struct ledger_lease {
    uint64_t chunk, epoch, since_ms;
    uint32_t attempt; /* from 1 */
};
/* The worker's i-th lease in the order of taking. False: it has no more. O(i). */
bool ledger_lease(const struct ledger_worker *w, uint64_t i, struct ledger_lease *ret_lease);

/* Since the last ledger_boot; not a part of the state. */
struct ledger_figures {
    struct histogram took;       /* chunks that were completed */
    struct histogram taken_over; /* from the loss of a chunk to its next lease */
};
const struct ledger_figures *ledger_figures(const struct ledger *l);

/* Who ran which chunk until when: of the newest LEDGER_RAN_MAX results; forgotten by a snapshot. */
struct ledger_ran {
    struct str worker;
    uint64_t chunk, end_ms, duration_us;
    uint32_t attempt;
};
/* Of the result number `seq`. False when it is not known (any more). */
bool ledger_ran(const struct ledger *l, uint64_t seq, struct ledger_ran *ret_ran);

/* --- snapshots --- */

void ledger_save(const struct ledger *l, struct packer *p);
int ledger_load(struct unpacker *u, const struct ledger_ops *ops, struct ledger **ret_ledger);
/* Of the whole logical state but reasons and event texts. */
uint64_t ledger_digest(const struct ledger *l);
/* Checks every invariant; `ensure`s. For tests and the simulator: costs O(outstanding). */
void ledger_check(const struct ledger *l);

/* The digest of one result; the job's is the sum over all, each half for itself modulo 2^64.
 *   half i = XXH3-64(seed i, "<chunk>" 0 "<s|o>" 0 text), text being the JSON text of
 * `result_summary` as in the output line (kinds s and j), or the bytes of `output`. */
void ledger_result_digest(uint64_t chunk, char kind, struct str text, uint64_t ret_digest[2]);
/* The text of `result_summary` for a sum: {"sum":S,"count":N}. The length; room for
 * LEDGER_SUMMARY_BYTES. */
size_t ledger_summary_text(char *out, __int128 sum, uint64_t count);

#endif
