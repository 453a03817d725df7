/* SPDX-License-Identifier: Apache-2.0 */
/* output - where a job's results go, and how far they are safe.
 *
 * Lines are appended to a file. Now and then the file is synced and then a small cursor file beside
 * it says: up to this result of the queue the first N bytes hold everything. Only then may the
 * queue forget those results. After a crash the output is cut to N bytes and collecting goes on
 * from the cursor, so that no line is missing or doubled. Standard output has no cursor: it cannot
 * be cut, so the queue keeps everything until the end. */
#ifndef TTG_JOB_OUTPUT_H
#define TTG_JOB_OUTPUT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { OUTPUT_HISTORY_BYTES = 512 };

/* What the cursor file holds, beside its checksum. */
struct output_cursor {
    uint64_t job_created_ms;            /* another job of that name is not continued */
    uint64_t seq;                       /* of the queue's results */
    uint64_t bytes, lines;              /* of the output */
    char history[OUTPUT_HISTORY_BYTES]; /* of the queue, see queue/history.h; "" for none */
};

struct output;

struct output_spec {
    const char *path;        /* NULL: standard output */
    const char *cursor_path; /* NULL: beside the output, PATH.cursor; not for standard output */
    const char *job;
    uint64_t job_created_ms;
    bool raw;    /* standard output gets what the programs printed, see job/raw.h */
    bool resume; /* go on with what is there; otherwise a file that is not empty is refused */
};

/* TTG_EEXIST when there is output already (and not `resume`), TTG_ESTALE when the cursor belongs to
 * another job, TTG_ECORRUPT, TTG_ENOENT, TTG_EACCES, TTG_EBUSY (another collector writes), ....
 * `ret_cursor` says where to go on. */
int output_open(struct output **ret_output, const struct output_spec *spec,
                struct output_cursor *ret_cursor, struct err *err);
/* Without saving. NULL is fine. */
void output_close(struct output *o);

/* Whole lines. TTG_ENOSPC: room may come back, nothing was written. TTG_ECLOSED: the reader went.
 */
int output_add(struct output *o, struct str lines, uint64_t line_count, struct err *err);

/* Makes safe what was added and notes `seq`, and how the queue came to it. False in *ret_saved for
 * standard output. TTG_ECORRUPT when somebody has removed, replaced or changed the file. */
int output_save(struct output *o, uint64_t seq, const char *history, bool *ret_saved,
                struct err *err);

/* Whether lines can be taken back. */
bool output_is_file(const struct output *o);
/* The last line of those that begin the output, `lines` of them; a view until the next call. */
int output_line(struct output *o, uint64_t lines, struct buf *out, uint64_t *ret_bytes,
                struct err *err);
/* Takes back all behind the first `lines` lines, which end at `bytes`, and notes it like
 * output_save. */
int output_cut(struct output *o, uint64_t lines, uint64_t bytes, uint64_t seq, const char *history,
               struct err *err);

/* Removes the cursor file: the job is complete. TTG_ECORRUPT as above. */
int output_finish(struct output *o, struct err *err);

uint64_t output_lines(const struct output *o);

#endif
