/* SPDX-License-Identifier: Apache-2.0 */
/* lines - a file of parameters, one a line, cut into chunks by where they begin.
 *
 * The submitter reads the file once and writes an index beside the job: the offset at which each
 * chunk begins. Workers read only their part of the file; nothing is copied through the queue. A
 * packed file or a pipe has no offsets that one could seek to, so its text is kept in a file of its
 * own beside the index. The index knows size and time of what it was made from: a file that changed
 * meanwhile is refused instead of computed wrongly.
 *
 * A line may end in CR LF (the CR is dropped), the last one in nothing. With separator NUL a
 * parameter may hold newlines. */
#ifndef TTG_IO_LINES_H
#define TTG_IO_LINES_H

#include "base/buf.h"
#include "base/err.h"

struct lines_spec {
    const char *path;       /* "-" is standard input */
    const char *index_path; /* is made or replaced */
    const char *text_path;  /* where the text is kept if it has to be */
    uint64_t chunk_lines;   /* > 0 */
    char separator;         /* '\n' or '\0' */
};

struct lines_info {
    uint64_t lines, chunks;
    uint64_t digest; /* of the text */
};

/* Reads all and writes the index; it is on disk when this returns. */
int lines_index(const struct lines_spec *spec, struct lines_info *ret_info, struct err *err);

struct lines;

/* TTG_ESTALE when the file is not the one that was indexed, TTG_ECORRUPT for a damaged index. */
int lines_open(struct lines **ret_lines, const char *index_path, struct err *err);
void lines_close(struct lines *l);

/* An index as a job's input names it, "lines:DIGEST:PATH": adds it to `out`, and opens what such a
 * name says. Another content is another name. TTG_EVERSION: it is no such name, TTG_ESTALE: the
 * index is of other lines. */
int lines_name(struct buf *out, const char *index_path, const struct lines_info *info,
               struct err *err);
int lines_open_named(struct lines **ret_lines, struct str name, struct err *err);

const struct lines_info *lines_info(const struct lines *l);
char lines_separator(const struct lines *l);

/* Reading one chunk piece by piece; start with `at` 0. */
struct lines_reader {
    const struct lines *lines;
    uint64_t chunk, at;
};

/* Adds whole parameters or parts of one, about `bytes_max` bytes, each parameter ended by the
 * separator. *ret_end: that was the last piece. */
int lines_read(struct lines_reader *r, struct buf *out, size_t bytes_max, bool *ret_end,
               struct err *err);

#endif
