/* SPDX-License-Identifier: Apache-2.0 */
/* state - for workers that keep something per client: it survives every crash, counts each message
 * once, and tells when a client's result can go out.
 *
 *     #include <ttg/state.h>
 *
 *     struct sum { uint64_t chunks; int64_t sum; };
 *
 *     static int rebuild(void *user, struct ttg_bytes client, void *state,
 *                        const struct ttg_row *row)
 *     {
 *         struct sum *s = state;
 *         s->chunks += row->rows;
 *         s->sum += strtoll(row->values[1].ptr, NULL, 10);
 *         return 0;
 *     }
 *
 * A message becomes a row of the client's file, DIR/CLIENT.csv. `rebuild` adds a row to the
 * client's state in memory: when the message comes, and again when the worker starts anew. The
 * order of the steps that makes a result go out exactly once:
 *
 *     ttg_state_process  for each message taken       a row in memory, or a known duplicate
 *     ttg_state_commit                                all rows are on disk, with one sync
 *     acknowledge messages of clients that are not ready
 *     ttg_state_ready_next ... send the result, with the id of ttg_state_result_id, and wait until
 *                          the queue has confirmed it
 *     ttg_state_finish, ttg_state_commit              the client's file is gone, a tombstone stays
 *     acknowledge the rest
 *
 * docs/stateful.md explains it, examples/stateful has whole programs. Errors, sizes of structs,
 * threads and manners are those of <ttg/ttg.h>. */
#ifndef TTG_STATE_H
#define TTG_STATE_H

#include <ttg/bytes.h>
#include <ttg/ttg.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ttg_state ttg_state;

/* Values of the columns behind the message's id. A summary (of a file that was compacted) stands
 * for `rows` rows and has an empty id. */
struct ttg_row {
    struct ttg_bytes id;
    const struct ttg_bytes *values;
    size_t count;
    uint64_t rows;
};

struct ttg_state_input {
    size_t size;
    struct ttg_bytes client; /* up to 4,096 bytes */
    struct ttg_bytes id;     /* 1 .. 1,024 bytes; two messages of a client with one id are one */
    const struct ttg_bytes *values; /* of the columns behind the id, when there is no `extract` */
    size_t value_count;
    const void *body; /* for `extract`; the library does not look at it */
};

/* Where `extract` and `merge` put values, one for each column behind the id, row by row. */
typedef struct ttg_values ttg_values;
TTG_API int ttg_value_add(ttg_values *values, const void *bytes, size_t len);

/* The functions return 0 or a negative code, with which the call of the library then ends. They may
 * not call the library with the same handle. */
struct ttg_state_options {
    size_t size;
    const char *const *columns; /* the first is the message's id; default: msg_id, chunk_number,
                                   value */
    size_t column_count;        /* up to 64 */
    size_t state_bytes;         /* of a client's state: zeros at first */
    void *user;                 /* handed to all functions */
    /* Adds a row to the state; must not change it when it fails. Required. */
    int (*rebuild)(void *user, struct ttg_bytes client, void *state, const struct ttg_row *row);
    /* Adds the values of a message. Default: they stand in it. */
    int (*extract)(void *user, const struct ttg_state_input *message, ttg_values *values);
    /* Adds the values of one or more rows that, one after the other, do to a new state what all
     * rows so far did: the first one's `rows` will be their number, the others' 0. Default: files
     * are not compacted. */
    int (*merge)(void *user, struct ttg_bytes client, const void *state, ttg_values *values);
    /* Not 0: all is there, the result can go out. Rows that come later do not count. Default:
     * never; the program looks at ttg_state_get. */
    int (*ready)(void *user, struct ttg_bytes client, const void *state);
    /* Frees what the state points to. Default: nothing. */
    void (*drop)(void *user, void *state);
    uint64_t memory_bytes;   /* clients in memory, the others come from their files; 256 MiB */
    uint64_t clients_max;    /* in memory; default: as many as fit */
    uint64_t tombstones_max; /* the oldest are forgotten; default 1,000,000 */
    uint64_t log_bytes;      /* of the log before the files are synced; default 64 MiB */
    uint64_t compact_rows;   /* a file of so many rows becomes a summary; default 10,000 */
    uint64_t ids_max; /* a summary keeps the newest so many message ids; of at least a quarter as
                         many messages a copy is known. Default: all */
    /* What the state points to takes so many bytes (they count for memory_bytes). Called for each
     * row. Default: nothing. */
    size_t (*memory)(void *user, const void *state);
};

/* Takes the directory, creating it, for this process alone; brings its files up to what was
 * committed. TTG_EBUSY: another process has it. TTG_ECORRUPT, TTG_ENOSPC, TTG_EACCES, TTG_EVERSION,
 * TTG_EINVAL (options): see the message. */
TTG_API int ttg_state_open(ttg_state **ret_state, const char *dir,
                           const struct ttg_state_options *options);
/* Commits first, if it can. */
TTG_API void ttg_state_close(ttg_state *s);
TTG_API const char *ttg_state_message(const ttg_state *s);

/* Takes up all files: ttg_state_ready_next then knows the clients that are ready. `on_client` may
 * be NULL; `duplicates` are rows whose id was there already. TTG_EVERSION: a file has other
 * columns; TTG_ECORRUPT: a line is no row. */
typedef int ttg_state_on_client(void *ctx, struct ttg_bytes client, const void *state,
                                uint64_t rows, uint64_t duplicates);
TTG_API int ttg_state_rebuild(ttg_state *s, ttg_state_on_client *on_client, void *ctx);

enum ttg_state_outcome {
    TTG_STATE_NEW,       /* it counts */
    TTG_STATE_DUPLICATE, /* it counted before */
    TTG_STATE_LATE,      /* it does not count: the client was ready without it */
    TTG_STATE_FINISHED,  /* it does not count: the client is finished */
};

/* Acknowledge the message after the next commit, whatever the outcome. TTG_ENOSPC: the disk is
 * full, the message is not taken; ask again later. TTG_EIO and other codes that no retry helps:
 * open the state again; what was committed is safe. */
TTG_API int ttg_state_process(ttg_state *s, const struct ttg_state_input *message,
                              enum ttg_state_outcome *outcome);

/* TTG_ENOSPC: the rows are not on disk yet; call it again later. While many clients are busy their
 * files lag behind what is committed; a commit with nothing new, as when no message has come for a
 * while, writes them all. */
TTG_API int ttg_state_commit(ttg_state *s);

/* A client's state, until the next call. TTG_ENOENT: it has no row. TTG_EDONE: it is finished. */
TTG_API int ttg_state_get(ttg_state *s, struct ttg_bytes client, const void **state,
                          uint64_t *rows);

/* The next client that is ready and committed; each comes once for an open. It lives until the next
 * call of this function. TTG_EDONE: none at present. */
TTG_API int ttg_state_ready_next(ttg_state *s, struct ttg_bytes *client);

/* The client's result is out and confirmed. Repeating it is harmless. */
TTG_API int ttg_state_finish(ttg_state *s, struct ttg_bytes client);

/* The client's stream has ended: its tombstone goes, too, and a message would begin it anew. An
 * unfinished client is dropped. On disk when it returns. */
TTG_API int ttg_state_forget(ttg_state *s, struct ttg_bytes client);

/* Syncs all files and cuts the log; happens by itself. */
TTG_API int ttg_state_checkpoint(ttg_state *s);

/* The id of the message that carries a client's result: the same for the same client and content.
 * At `id`: 32 hex digits and a NUL. */
#define TTG_RESULT_ID_BYTES 33
TTG_API void ttg_state_result_id(struct ttg_bytes client, struct ttg_bytes content, char *id);

struct ttg_state_counts {
    size_t size;
    uint64_t rows, duplicates, late, finished; /* messages since the open, by outcome */
    uint64_t commits, syncs;
    uint64_t clients_in_memory, memory_bytes, evictions, loads;
    uint64_t tombstones, tombstones_dropped;
    uint64_t checkpoints, compactions;
    uint64_t recovered_rows; /* that the open brought from the log to the files */
    uint64_t torn_lines;     /* cut */
    int disk_full;
};
TTG_API int ttg_state_stats(const ttg_state *s, struct ttg_state_counts *stats);

#ifdef __cplusplus
}
#endif

#endif
