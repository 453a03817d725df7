/* SPDX-License-Identifier: Apache-2.0 */
/* state - what a worker knows of each of its clients, kept over every crash.
 *
 * A worker adds up messages per client until the client is ready and its result can go out. Each
 * message becomes a row of the client's file, DIR/CLIENT.csv; a message whose id is in the file
 * already counts no second time. The user's function `apply` adds a row to the client's state in
 * memory, live and after a restart alike, so the two cannot differ.
 *
 *     state_process ...            any number of messages: rows in memory
 *     state_commit                 one sync for all of them; only now acknowledge upstream
 *     state_ready_next             clients that are complete: send their results, wait until the
 *                                  receiver has confirmed them
 *     state_finish, state_commit   tombstones, files away; then acknowledge the last messages
 *     state_forget                 the client's stream has ended: no late duplicate can come
 *
 * One sync for many files: rows go into a log of our own (src/store, in DIR/.ttg), which is synced
 * once for a commit; the files are written behind it without syncs, and synced together when the
 * log has grown enough to be cut. A start brings the files to what the log says. See
 * docs/decisions/state-files.md.
 *
 * Memory is bounded: clients that were not touched for longest leave, and come back from their
 * file. One thread; one process for a directory. */
#ifndef TTG_STATE_STATE_H
#define TTG_STATE_STATE_H

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "io/disk.h"

enum {
    STATE_COLUMNS_MAX = 64,
    STATE_ROW_BYTES_MAX = 1 << 20, /* as text */
};

struct state;

/* Values of the columns behind the message id, each with a NUL behind it. A summary (of a file that
 * was compacted) stands for `rows` rows and has no id. */
struct state_row {
    struct str id;
    const struct str *values;
    size_t count;
    uint64_t rows;
};

/* Where `extract` and `merge` put values, column by column. */
struct state_values;
int state_value_add(struct state_values *v, struct str value);

struct state_message {
    struct str client;        /* up to NAME_CLIENT_BYTES_MAX, any bytes */
    struct str id;            /* 1 .. IDS_BYTES_MAX bytes, unique among the client's messages */
    const struct str *values; /* of the columns behind the id, when there is no `extract` */
    size_t value_count;
    const void *body; /* for `extract`; we do not look at it */
};

/* Functions return 0 or an error, with which the call of ours then ends; nothing has changed. They
 * may not call state_* with the same state. */
struct state_options {
    const struct str *columns; /* the first one is the message id's */
    size_t column_count;
    size_t state_bytes; /* of a client's state; all zero at first */
    void *user;         /* handed to all functions */

    /* Adds a row to the state. Must not change it when it fails. NULL: there are only rows. */
    int (*apply)(void *user, struct str client, void *state, const struct state_row *row);
    /* The values of a message. NULL: they stand in it. */
    int (*extract)(void *user, const struct state_message *m, struct state_values *values);
    /* The values of one or more rows that, applied to a zero state one after the other, give this
     * state; the first one tells how many `rows` they stand for, the others 0. NULL: files are not
     * compacted. */
    int (*merge)(void *user, struct str client, const void *state, struct state_values *values);
    /* Whether all is there and the result can go out; no row is taken behind that. NULL: the user
     * knows otherwise. */
    bool (*ready)(void *user, struct str client, const void *state);
    /* Frees what the state points to: it leaves memory. May be NULL. */
    void (*drop)(void *user, void *state);
    /* The memory it takes beside `state_bytes`; quick, it is called for each row. May be NULL. */
    size_t (*memory)(void *user, const void *state);

    uint64_t memory_bytes;  /* of clients in memory, at most; 0: 256 MiB */
    uint64_t clients_max;   /* in memory; 0: no limit but that */
    uint64_t tombs_max;     /* 0: 1,000,000 */
    uint64_t log_bytes;     /* the files are synced and the log is cut behind so many; 0: 64 MiB */
    uint64_t compact_rows;  /* a file of so many is compacted with the next cut; 0: 10,000 */
    uint64_t ids_max;       /* a compaction keeps the newest so many ids of a client; at least a
                               quarter as many messages are known for certain. 0: all */
    struct clock *clock;    /* NULL: the machine's */
    struct disk *disk_rows; /* for tests: instead of the directory and its .ttg; the caller's */
    struct disk *disk_log;
};

/* Takes the directory (created when it is not there) and brings its files up to date. What was
 * committed is there; rows behind the last commit may be or not.
 * TTG_EBUSY: another process has it. TTG_ECORRUPT, TTG_EVERSION (other columns): see `e`. */
int state_open(const char *dir, const struct state_options *o, struct state **ret_state,
               struct err *e);
/* Commits what it can. Accepts NULL. */
void state_close(struct state *s);

/* Reads all files, in order of their names: their clients are in memory (as many as may), and those
 * that are ready will be told by state_ready_next. Without it clients come when they are asked
 * for. `on_client` may be NULL; a result other than 0 ends it. `duplicates`: rows whose id was in
 * the file twice. */
typedef int state_on_client(void *ctx, struct str client, const void *state, uint64_t rows,
                            uint64_t duplicates);
int state_rebuild(struct state *s, state_on_client *on_client, void *ctx, struct err *e);

enum state_outcome {
    STATE_NEW,       /* counted; acknowledge it after the commit */
    STATE_DUPLICATE, /* its row is there; acknowledge it after the commit too */
    STATE_LATE,      /* not counted: the client was ready without it */
    STATE_FINISHED,  /* not counted: the client is finished */
};

/* TTG_ENOSPC: the disk is full; nothing was taken, ask again later. TTG_EINVAL: no id, too long,
 * not as many values as columns. TTG_ENOMEM. TTG_EFULL: the client has too many messages. What a
 * function of the user returned. TTG_EIO and the like: the state has failed for good; what was
 * committed is safe, open it again. */
int state_process(struct state *s, const struct state_message *m, enum state_outcome *ret_outcome,
                  struct err *e);

/* All rows and ends so far are on disk afterwards. TTG_ENOSPC: not yet; call it again. The clients'
 * files may lag behind; a commit of nothing, as when no message has come for a while, writes them
 * all. */
int state_commit(struct state *s, struct err *e);

/* A client's state, until the next call; `ret_rows` may be NULL. TTG_ENOENT: there is no row.
 * TTG_EDONE: it is finished. */
int state_get(struct state *s, struct str client, void **ret_state, uint64_t *ret_rows,
              struct err *e);

/* The next client that became ready and whose rows are committed; each one once for an open. The
 * view lives until the next call of this function. TTG_EDONE: none at
 * present. TTG_ENOMEM. */
int state_ready_next(struct state *s, struct str *ret_client);

/* The client's result is out and confirmed: its file goes with the next commit, a tombstone stays.
 * Repeating it is harmless. TTG_ENOSPC. */
int state_finish(struct state *s, struct str client, struct err *e);
/* No message of the client can come any more, or it begins anew: its tombstone goes, too. An
 * unfinished client is dropped. TTG_ENOSPC. */
int state_forget(struct state *s, struct str client, struct err *e);

/* Syncs all files, cuts the log, compacts what is to be compacted. Happens by itself in commits. */
int state_checkpoint(struct state *s, struct err *e);

struct state_stats {
    uint64_t rows, duplicates, late, finished; /* messages since the open, by outcome */
    uint64_t commits, syncs;
    uint64_t clients_in_memory, memory_bytes, evictions, loads;
    uint64_t tombs, tombs_dropped;
    uint64_t checkpoints, compactions;
    uint64_t recovered_rows; /* handed from the log to the files by the open */
    uint64_t torn;           /* last lines cut */
    bool disk_full;
};
void state_stats(const struct state *s, struct state_stats *ret);

/* The id of a message that carries a client's result: the same for the same client and content, so
 * that a receiver knows a repetition. At `out`: 32 hex digits and a NUL. */
enum { STATE_RESULT_ID_BYTES = 33 };
void state_result_id(struct str client, struct str content, char *out);

#endif
