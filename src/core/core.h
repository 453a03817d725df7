/* SPDX-License-Identifier: Apache-2.0 */
/* core - the state machine that a node serves: keys (streams and a few small types) and jobs.
 *
 * `core_exec` runs one command against the state at the time that the caller brings. It is pure:
 * no clock, no input or output, no threads, no randomness that is not derived from the state. The
 * same commands with the same times give the same state, so the log of a node is simply the list of
 * the commands that changed something, and replay is running them again. The same core will sit
 * behind Raft unchanged. */
#ifndef TTG_CORE_CORE_H
#define TTG_CORE_CORE_H

#include "base/str.h"
#include "core/reply.h"

struct core;
struct packer;

/* Where a part of the state lies that was moved out of memory. */
struct blob_ref {
    uint64_t file, offset;
    uint32_t bytes, crc;
};

/* What the core asks of its surroundings. A NULL function: the core does without. */
/* What happened to a chunk, for logs. Numbers that do not apply are 0. */
struct core_move {
    const char *event; /* "chunk.leased" */
    struct str job, worker;
    uint64_t created_ms, chunk, epoch, attempt;
};

struct core_env {
    void *ctx;
    /* Keeps immutable bytes outside memory; the core calls `blob_free` once it no longer needs
     * them. Whether a blob is in memory or outside never changes an answer. */
    int (*blob_write)(void *ctx, struct str bytes, struct blob_ref *ret_ref);
    int (*blob_read)(void *ctx, struct blob_ref ref, struct buf *out);
    void (*blob_free)(void *ctx, struct blob_ref ref);
    /* A client that was parked on this key may be served now. Called during core_exec; the caller
     * collects the keys and tries the parked commands again after it, oldest first. */
    void (*on_ready)(void *ctx, struct str key);
    /* May be NULL. Each move of a chunk, also while a log is run again. */
    void (*on_move)(void *ctx, const struct core_move *move);
};

enum core_flags {
    CORE_WRITE = 1,    /* may change the state: needs room in the log */
    CORE_READ = 2,     /* never changes it */
    CORE_BLOCKING = 4, /* may answer CORE_BLOCK */
    CORE_EARLY = 8,    /* the answer may leave before the record is on disk (a take) */
    CORE_WORKER = 16,  /* argv[1..3] are job, worker and incarnation: a sign of life of it */
};

struct core_call {
    /* in */
    uint64_t now_ms; /* the record's time: wall clock, never going back */
    uint64_t client; /* the connection: unique for ever, as it carries the boot number */
    size_t argc;
    const struct str *argv;
    struct reply *reply;
    bool may_block; /* false inside MULTI and in replay */
    /* A command that may block gets an empty buffer from the caller, who keeps it with the parked
     * client and passes it again with `retry` set: what "new" meant when the client began to wait
     * is in it. NULL when may_block is false. */
    struct buf *resume;
    bool retry; /* a key became ready: the same words again */
    bool full;  /* the disk is: writing commands are refused; only TTG.EXPLAIN looks at it */
    /* out */
    bool changed;             /* the state changed: the command belongs into the log */
    bool blocked;             /* nothing to give yet and nothing changed; park on `keys` */
    uint64_t block_until_ms;  /* with `blocked`: 0 is for ever; later: a null array */
    uint64_t retry_ms;        /* with `blocked`: something may be due then, try again; 0: no */
    size_t key_at, key_count; /* with `blocked`: argv[key_at .. key_at + key_count) */
};

/* One row describes a command: for dispatch, COMMAND DOCS and the reference. */
struct core_command {
    const char *name; /* "XADD", "XGROUP CREATE", "TTG.TAKE" */
    int arity;        /* as in Redis: exact, or negative: at least; the name counts */
    unsigned flags;   /* enum core_flags */
    int first_key, last_key, key_step; /* as in COMMAND INFO */
    const char *group, *since, *syntax, *summary;
    void (*run)(struct core *c, struct core_call *call);
};

int core_new(const struct core_env *env, struct core **ret_core);
void core_free(struct core *c);

/* NULL when there is no such command. Container commands such as XGROUP have a row of their own. */
const struct core_command *core_find(struct str name);
/* All of them, for listings. */
const struct core_command *core_command_at(size_t i); /* NULL behind the last */

/* Whether the call may change the state: of a container command that depends on the subcommand. */
bool core_writes(const struct core_command *command, size_t argc, const struct str *argv);

/* Runs one command. Arity has been checked by the caller against the row. */
void core_exec(struct core *c, const struct core_command *command, struct core_call *call);

/* The time of the newest record, also where a snapshot has replaced it; 0: none yet. No record may
 * be older. */
uint64_t core_now_ms(const struct core *c);

/* A node starts: raises the boot number (which is part of every epoch); nobody is joined any more.
 * The caller logs it like a command. Returns the new boot number. */
uint64_t core_boot(struct core *c, uint64_t now_ms);

/* The next time at which something is due without a command (delayed retry, lease expiry of a
 * consumer without presence); UINT64_MAX when nothing is. The caller then logs and runs core_tick.
 */
uint64_t core_next_ms(const struct core *c);
void core_tick(struct core *c, uint64_t now_ms);

/* The living workers of all jobs, for whoever watches whether they are alive. `client` is the
 * connection that joined last, 0 when that was before the start of the node. Then `away_ms` is for
 * how long the node has been there without it since the end of the life in which it joined, as far
 * as there are records; while one is away, write at least a tick each CORE_MARK_MS. Plain Redis
 * consumers are not among them: their leases expire by themselves. */
enum { CORE_MARK_MS = 100 };
struct core_worker {
    struct str job, name;
    uint64_t incarnation, client, away_ms;
};
void core_each_worker(const struct core *c, void (*fn)(void *ctx, const struct core_worker *w),
                      void *ctx);

/* The whole state to bytes and back. `core_load` fills an empty core; TTG_ECORRUPT on bytes that
 * no core has written. Saving runs in a forked child and must not change the state. */
int core_save(const struct core *c, int (*write)(void *ctx, struct str bytes), void *ctx);
int core_load(struct core *c, struct str bytes);

/* Digest of the whole logical state, for tests: equal states have equal digests. The boot number
 * does not count, so a restart alone changes nothing. */
uint64_t core_digest(const struct core *c);

#endif
