/* SPDX-License-Identifier: Apache-2.0 */
/* fold - what an aggregate holds of one client, and what comes out of it.
 *
 * Rows are folded into it by the state manager (state/state.h), live and after a restart alike, and
 * it can say rows that stand for all of them, so that files stay short. There are three kinds:
 * numbers and lists built in (merge.h), a library of the user's (include/ttg/aggregate.h), and all
 * rows as they are, for the user's command, which gets them when the client has ended.
 *
 * A row is msg_id,end,key,value. An end of the client is a row too: it names its path and has no
 * key and value. The first row of a summary has the number of ends in that column. */
#ifndef TTG_PIPELINE_FOLD_H
#define TTG_PIPELINE_FOLD_H

#include "pipeline/merge.h"
#include "pipeline/message.h"
#include "state/state.h"

struct ttg_aggregate;

/* Of a client; the state manager keeps a pointer to it. */
struct held {
    uint64_t ends, rows; /* rows: without the ends */
    uint64_t ask_at;     /* command: so many in `merge`, and it is to make fewer of them */
    struct merge merge;
    _Alignas(16) char theirs[]; /* the library's */
};

struct fold {
    const struct spec_stage *stage;
    uint64_t expected, expected_all;     /* ends of a client, and of all of them */
    const struct ttg_aggregate *library; /* NULL: none */
    void *handle, *user;                 /* the library's */
    struct held *last;                   /* the one that got the last row */
};

enum { FOLD_COLUMNS = 4, FOLD_VALUES = FOLD_COLUMNS - 1 };

/* Loads the library, if there is one. TTG_EUSAGE, TTG_EVERSION with a message. */
int fold_open(struct fold *f, const struct spec_stage *stage, struct err *err);
void fold_close(struct fold *f);

/* How the state manager is to call us. */
void fold_options(struct fold *f, struct state_options *o);

/* What is kept of a message; `room` (cleared first) may hold it. TTG_EINVAL: the library refuses
 * it. */
int fold_values(const struct fold *f, const struct message *m, struct buf *room,
                struct str values[FOLD_VALUES]);

/* Whether it would count, for all that can be said without its client's state. */
bool fold_takes(const struct fold *f, const struct message *m);

/* Hands out what is to be sent of a client; not for a command. A result other than 0 ends it. */
int fold_results(const struct fold *f, struct str client, struct held *h,
                 int (*each)(void *ctx, struct str key, struct str value), void *ctx,
                 struct err *err);

/* --- fold_library.c --- */

int fold_library_open(struct fold *f, struct err *err);
int fold_library_add(const struct fold *f, struct str client, void *theirs,
                     const struct state_row *row, uint64_t rows);
int fold_library_rows(const struct fold *f, struct str client, const void *theirs,
                      int (*each)(void *ctx, struct str key, struct str value), void *ctx);
int fold_library_values(const struct fold *f, const struct message *m, struct buf *room,
                        struct str values[FOLD_VALUES]);
int fold_library_results(const struct fold *f, struct str client, const void *theirs,
                         int (*each)(void *ctx, struct str key, struct str value), void *ctx,
                         struct err *err);

#endif
