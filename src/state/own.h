/* SPDX-License-Identifier: Apache-2.0 */
/* own - what the files of src/state share; nobody else includes it. */
#ifndef TTG_STATE_OWN_H
#define TTG_STATE_OWN_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "state/csv.h"
#include "state/ids.h"
#include "state/name.h"
#include "state/state.h"
#include "state/tomb.h"
#include "store/store.h"

enum {
    STATE_TAIL_BYTES = 16 << 10,     /* a tail that long is written at once */
    STATE_FLUSHES_PER_COMMIT = 16,   /* files written behind a busy commit, the oldest first */
    STATE_LOG_FACTOR = 4,            /* a log so many times too long (a full disk) takes no more */
    STATE_READ_BYTES = 64 << 10,     /* of a file at a time */
    STATE_SUMMARY_IDS_BYTES = 64000, /* of ids in one row: python's csv takes 128 KiB a field */
    STATE_SUMMARY_BYTES_MAX = 1 << 30, /* of all its rows */
    STATE_CLIENT_COST = 200,           /* of memory: allocations' own, table */
};

/* A row whose first field begins with it is a summary; an id that does has it twice. */
#define STATE_SUMMARY_MARK '~'

struct client {
    struct map_node node;
    struct list lru;     /* in state.lru, least recently used first */
    struct list dirty;   /* in state.dirty while the tail is not empty */
    struct list bulky;   /* in state.bulky while it is to be compacted */
    uint64_t file_bytes; /* of the file: rows up to there */
    struct buf tail;     /* rows behind, and the header when there is no file yet */
    struct ids ids;
    uint64_t rows, plain_rows; /* counted; written since the last summary */
    uint64_t duplicates;       /* rows that were in the file twice */
    uint64_t memory;           /* as accounted */
    bool ready;
    size_t id_len;
    void *state; /* behind the id */
    char id[];
};

/* A client whose result can go out; until it is finished or forgotten. */
struct ready {
    struct map_node node;
    struct list link;  /* in state.ready, in order, until it was told */
    uint64_t position; /* of the log: it may go when this is durable */
    size_t len;
    char id[];
};

/* A file that goes when its client's end is durable. */
struct removal {
    struct list link;
    uint64_t position;
    size_t len;
    char id[];
};

struct state_values {
    struct buf bytes;
    size_t count;
    size_t ends[STATE_COLUMNS_MAX];
    struct str views[STATE_COLUMNS_MAX];
    /* Of a merge: takes each row as soon as it is whole. NULL: there is one. */
    int (*on_row)(struct state_values *v);
    size_t row_values;
    struct buf rows; /* as text behind the id, a length in front of each */
};

struct state {
    struct state_options o;
    struct str columns[STATE_COLUMNS_MAX];
    char *column_text;
    struct buf header; /* the first line of each file */
    struct disk *rows_disk, *log_disk;
    bool own_disks, fold_case;
    struct store *store;
    struct clock *clock;
    int failed; /* sticky */
    uint64_t seed;
    uint64_t cut_again_ms; /* no sooner, after there was no room for it */

    struct map clients;
    struct list lru, dirty, bulky;
    uint64_t memory;
    struct tombs tombs;
    struct map readies;
    struct list ready, removals;

    struct buf row, record, name, scratch; /* of the call under way */
    struct buf told;                       /* the ready client last handed out */
    struct state_values values;
    struct state_stats stats;
    uint64_t new_files; /* numbers those being written */
};

static inline struct str state_client_id(const struct client *c)
{
    return str_make(c->id, c->id_len);
}

/* Sets the sticky failure, except for what may pass (no room, no memory). Returns rc. */
int state_failed(struct state *s, int rc, struct err *e, const char *what);
/* A checkpoint, but none within a second after there was no room for one. */
int state_cut_log(struct state *s, struct err *e);

/* ---- message.c: values of a row (a message's is made by state_process) ---- */

void state_values_clear(struct state_values *v);
/* Fills the views; there must be as many as columns behind the id. TTG_EINVAL. */
int state_values_end(const struct state *s, struct state_values *v);
/* The views of those there are. */
void state_values_view(struct state_values *v);

/* ---- client.c: who is in memory ---- */

/* In memory or from its file, else new (without rows). Becomes the most recently used. */
int state_client_get(struct state *s, struct str id, struct client **ret_client, struct err *e);
struct client *state_client_find(struct state *s, struct str id);
/* Leaves memory; what is not in the file is gone. */
void state_client_free(struct state *s, struct client *c);
/* Accounts for what it takes now. */
void state_client_weigh(struct state *s, struct client *c);
/* Makes room by the limits; `keep` stays. No room on disk: they stay too. */
int state_clients_evict(struct state *s, const struct client *keep, struct err *e);
/* Counts a row in memory; `values` as many as columns but one. */
int state_client_apply(struct state *s, struct client *c, const struct state_row *row);
/* Looks whether it became ready, and notes that. TTG_ENOMEM. */
int state_client_ready_look(struct state *s, struct client *c);
/* It need not be told any more. */
void state_ready_forget(struct state *s, struct str id);

/* ---- file.c: one client's file ---- */

/* Reads the file into `c`, which is new. TTG_ENOENT: there is none. */
int file_load(struct state *s, struct client *c, struct err *e);
/* Writes the tail. TTG_ENOSPC: it stays. */
int file_flush(struct state *s, struct client *c, struct err *e);
/* Makes the file `base` bytes long (0: with a header, created) and adds the rows. */
int file_restore(struct state *s, struct str client, uint64_t base, struct str rows, struct err *e);
/* No file is no error. */
int file_remove(struct state *s, struct str client, struct err *e);
/* The file with all rows in one summary, synced under a name of its own, then renamed. */
int file_compact(struct state *s, struct client *c, struct err *e);
/* All clients that have files, in order of their names. */
int files_each(struct state *s, int (*on_client)(void *ctx, struct str client), void *ctx,
               struct err *e);
/* Removes what a compaction that a crash has ended left behind. */
int files_clean(struct state *s, struct err *e);

/* ---- journal.c: the log ---- */

/* Opens the log and brings the files up to it. */
int journal_open(struct state *s, struct err *e);
/* Room for a record about this client with so many bytes of row. */
int journal_reserve(struct state *s, struct str client, size_t row_bytes, struct err *e);
void journal_row(struct state *s, struct str client, uint64_t offset, struct str row);
void journal_end(struct state *s, struct str client);
void journal_forget(struct state *s, struct str client);
/* Bytes since it was cut. */
uint64_t journal_bytes(const struct state *s);
/* The files are synced: the log may begin anew. */
int journal_cut(struct state *s, struct err *e);

#endif
