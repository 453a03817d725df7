/* SPDX-License-Identifier: Apache-2.0 */
/* ledger_state - what the files of the ledger share: its structures and the moves of a chunk. */
#ifndef TTG_CORE_LEDGER_STATE_H
#define TTG_CORE_LEDGER_STATE_H

#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "core/ledger.h"

/* Bugs on purpose, for a build of the simulator alone: each must be noticed there. */
enum ledger_plant {
    LEDGER_PLANT_EPOCH = 1, /* a commit counts whatever its epoch */
    LEDGER_PLANT_NOT_DONE,  /* a commit does not end the chunk */
    LEDGER_PLANT_FORGET,    /* what a lost worker held is gone */
    LEDGER_PLANT_NO_MEMORY, /* repeated commits are not recognised */
};
#ifdef LEDGER_PLANTED
extern unsigned ledger_planted;
#define LEDGER_PLANT(rule) (ledger_planted == (rule))
#else
#define LEDGER_PLANT(rule) false
#endif

/* A worker's name, shared by what outlives the worker. */
struct ledger_name {
    uint32_t refs, len;
    char bytes[];
};

struct ledger_reason_kept {
    struct ledger_reason_kept *older;
    uint64_t at_ms;
    struct ledger_name *worker; /* or NULL */
    uint32_t attempt, len;
    char bytes[];
};

enum chunk_state {
    CHUNK_READY,
    CHUNK_DELAYED,
    CHUNK_LEASED,
    CHUNK_DEAD,
    CHUNK_DROPPED,
    CHUNK_STATES
};

struct ledger_chunk {
    struct map_node node;   /* in `chunks` */
    struct heap_node timer; /* delayed: due. Foreign lease: expiry */
    struct list link;       /* ready, dead, dropped, or the worker's leases in take order */
    uint64_t index, epoch;  /* epoch 0: none that a commit could name */
    uint64_t since_ms;      /* of the state; dead: of the death */
    union {
        struct ledger_worker *worker; /* leased */
        struct ledger_name *from;     /* else: who lost it, until it is taken again; or NULL */
    };
    struct ledger_reason_kept *reasons; /* newest first */
    uint32_t attempts;
    uint8_t state;
    bool charged; /* `attempts` includes the attempt of `epoch` */
};

struct ledger_slab {
    struct ledger_slab *next;
    struct ledger_chunk chunks[256];
};

/* How long its chunks take: see ledger_tail.c. Not a part of the state. */
#define LEDGER_PACE_US_MAX 86400000000 /* what a worker says is not believed beyond a day */
enum { LEDGER_PACE_RAN = 8 };
struct ledger_pace {
    uint64_t mean_us, spread_us, last_ms; /* last_ms: its newest commit */
    uint32_t ran; /* commits since it was last in doubt, up to LEDGER_PACE_RAN */
};

struct ledger_worker {
    struct map_node node;            /* in `workers`, while it lives */
    struct list link;                /* in `live` or `gone` */
    struct ledger_name *name, *host; /* host: as it says; NULL: it does not */
    void *owner;                     /* the mirror's */
    uint64_t incarnation, client, joined_ms;
    uint64_t away_from_ms; /* without client: since when in the node's service time */
    uint32_t slots;
    bool foreign, gone, replaced;
    uint64_t lost_ms;        /* gone because it was lost; 0: not so */
    struct ledger_name *why; /* then: as the reasons of its chunks say it; or NULL */
    struct list leases;      /* oldest first */
    uint64_t held, completed, failed, lost;
    struct ledger_pace pace;
    struct ledger_held *recent; /* ring of its last commits */
    uint32_t recent_cap, recent_count, recent_at;
};

struct ledger_event_kept {
    uint64_t at_ms, chunk, value;
    struct ledger_name *from, *to, *text;
    enum ledger_event_kind kind;
};

struct ledger_ran_kept {
    struct ledger_name *worker;
    uint64_t chunk, end_ms, duration_us;
    uint32_t attempt;
};

struct ledger {
    struct ledger_name *name;
    struct ledger_spec spec; /* its texts are owned */
    struct ledger_ops ops;
    uint64_t chunk_count;

    enum ledger_state state;
    uint64_t created_ms, started_ms, finished_ms;
    uint64_t boot, epoch; /* the last one given */
    uint64_t next, fed;

    struct map chunks;
    struct heap timers;
    struct list ready, dead, dropped;
    uint64_t count[CHUNK_STATES];
    struct ledger_slab *slabs;
    struct list free;
    size_t free_count;

    struct map workers;
    struct list live, gone;
    size_t gone_count;
    uint64_t slots;      /* of the living; a foreign consumer counts as one */
    uint64_t overloaded; /* workers that hold more leases than they have slots */
    uint64_t steal_ms;   /* when idle workers should ask again */
    uint64_t pace_us;    /* what a chunk took lately, whoever had it: see ledger_tail.c */

    uint64_t attempts, reclaimed, stolen, stale_dropped, failures, released, redriven;
    uint64_t workers_lost, params;
    bool has_sum, sum_overflow;
    __int128 sum;
    uint64_t digest[2];
    uint64_t result_seq, result_first;

    struct ledger_event_kept *events; /* ring: number seq at [seq % cap] */
    size_t event_cap;
    uint64_t event_seq, event_first;
    struct ledger_figures figures;
    struct ledger_ran_kept *ran; /* ring: result number seq at [seq % LEDGER_RAN_MAX] */

    unsigned effects;
};

/* --- names, reasons, events (ledger_view.c): best effort where memory is short --- */

struct ledger_name *ledger_name_new(struct str s); /* one reference; NULL */
struct ledger_name *ledger_name_ref(struct ledger_name *n);
void ledger_name_free(struct ledger_name *n);
static inline struct str ledger_name_str(const struct ledger_name *n)
{
    return n ? str_make(n->bytes, n->len) : str_make("", 0);
}

struct str ledger_reason_clip(struct str text); /* what is kept of it */
void ledger_reason_add(struct ledger_chunk *c, struct ledger_name *worker, struct str text,
                       uint64_t now_ms);
void ledger_reasons_free(struct ledger_chunk *c);
/* What was said of a worker's loss, in reasons and events, becomes `text`. */
void ledger_reasons_replace(struct ledger *l, const struct ledger_worker *w, struct str text);

/* `text` is copied. */
void ledger_event_add(struct ledger *l, enum ledger_event_kind kind, uint64_t now_ms,
                      uint64_t chunk, uint64_t value, struct ledger_name *from,
                      struct ledger_name *to, struct str text);
/* Takes over the references; false: no memory. */
bool ledger_event_restore(struct ledger *l, uint64_t seq, const struct ledger_event_kept *e);

/* --- the map (ledger_map.c) --- */

/* Remembers who ran the chunk of this result, as far as memory goes. `by` may be NULL. */
void ledger_ran_add(struct ledger *l, struct ledger_name *by, const struct ledger_result *r);
void ledger_ran_free(struct ledger *l);

/* --- chunks (ledger_chunk.c) --- */

/* Objects and places for `count` more chunks: what follows cannot fail. TTG_ENOMEM. */
int ledger_reserve(struct ledger *l, uint64_t count);
/* A new object of chunk `index`, in no place; room was reserved. */
struct ledger_chunk *ledger_chunk_new(struct ledger *l, uint64_t index);
void ledger_chunk_free(struct ledger *l, struct ledger_chunk *c);
struct ledger_chunk *ledger_chunk_find(const struct ledger *l, uint64_t index);

/* Takes the chunk out of its place, and puts it into one. Counters follow. */
void ledger_chunk_leave(struct ledger *l, struct ledger_chunk *c);
void ledger_chunk_ready(struct ledger *l, struct ledger_chunk *c, struct ledger_name *from,
                        uint64_t now_ms);
void ledger_chunk_delay(struct ledger *l, struct ledger_chunk *c, uint64_t due_ms, uint64_t now_ms);
void ledger_chunk_lease(struct ledger *l, struct ledger_chunk *c, struct ledger_worker *w,
                        uint64_t now_ms);
void ledger_chunk_bury(struct ledger *l, struct ledger_chunk *c, bool dropped, uint64_t now_ms);

/* Leased without a callback, for loading. */
void ledger_chunk_attach(struct ledger *l, struct ledger_chunk *c, struct ledger_worker *w);

/* Ends a lease: ready again, or dead when its attempts are used up. `charge`: the attempt had
 * started. `lost`: the holder is gone; else it gave the chunk back. */
void ledger_chunk_return(struct ledger *l, struct ledger_chunk *c, bool charge, bool lost,
                         struct str reason, uint64_t now_ms);
void ledger_chunk_charge(struct ledger *l, struct ledger_chunk *c);
/* Turns [next, chunk] into objects, all ready but the last, which is in no place. */
struct ledger_chunk *ledger_chunk_skip_to(struct ledger *l, uint64_t chunk, uint64_t now_ms);

static inline uint64_t ledger_open_count(const struct ledger *l)
{
    return l->fed - l->next + l->count[CHUNK_READY] + l->count[CHUNK_DELAYED] +
           l->count[CHUNK_LEASED];
}

static inline uint64_t ledger_takeable(const struct ledger *l)
{
    return l->count[CHUNK_READY] + (l->fed - l->next);
}

static inline bool ledger_ended(const struct ledger *l)
{
    return l->state == LEDGER_FINISHED || l->state == LEDGER_CANCELED;
}

/* --- the end of a job (ledger_tail.c) --- */

void ledger_pace_add(struct ledger *l, struct ledger_worker *w, uint64_t duration_us,
                     uint64_t now_ms);

/* --- the job (ledger.c) --- */

/* After each change: moves the window on, sees the end, wakes who waits. */
void ledger_settle(struct ledger *l, uint64_t now_ms);

/* A ledger without a history, for new and load. */
int ledger_alloc(struct str name, const struct ledger_spec *spec, struct ledger **ret_ledger);

/* --- workers (ledger_worker.c) --- */

struct ledger_worker *ledger_worker_new(struct str name, uint32_t recent);
void ledger_worker_free(struct ledger_worker *w);
void ledger_worker_enter(struct ledger *l, struct ledger_worker *w); /* into map and list */
struct ledger_worker *ledger_worker_any(const struct ledger *l, struct str name,
                                        uint64_t incarnation); /* gone ones too */
bool ledger_worker_remembers(const struct ledger_worker *w, uint64_t chunk, uint64_t epoch);
void ledger_worker_remember(struct ledger_worker *w, uint64_t chunk, uint64_t epoch);

#endif
