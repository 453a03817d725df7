/* SPDX-License-Identifier: Apache-2.0 */
/* spec - the file that describes a pipeline, read and checked.
 *
 * A JSON object with the stages in order; docs/pipelines.md explains every key. Whatever is wrong
 * is refused before anything starts, with the line, what stands there and what may. The file is
 * data for us alone: the queue never carries a command. */
#ifndef TTG_PIPELINE_SPEC_H
#define TTG_PIPELINE_SPEC_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

enum {
    SPEC_STAGES_MAX = 64,
    SPEC_PARTITIONS_MAX = 256,
    SPEC_INBOXES_MAX = 1024, /* of all stages: partitions, and each one's dead letters */
    SPEC_NAME_BYTES = 64,
    SPEC_FILE_BYTES_MAX = 1 << 20,
    SPEC_WORDS_MAX = 256,
};

enum spec_kind {
    SPEC_SOURCE,
    SPEC_EXEC,      /* a command for each batch of messages */
    SPEC_COPROC,    /* a command that stays */
    SPEC_PLUGIN,    /* a shared library */
    SPEC_AGGREGATE, /* state for each client */
    SPEC_SINK,
};

enum spec_merge {
    SPEC_SUM,
    SPEC_COUNT,
    SPEC_MIN,
    SPEC_MAX,
    SPEC_TOP,
    SPEC_COLLECT,
    SPEC_COMMAND, /* gets all of a client's messages */
    SPEC_LIBRARY, /* include/ttg/aggregate.h */
};

/* What decides which partition of a stage gets a message. */
enum spec_by { SPEC_BY_CLIENT, SPEC_BY_KEY, SPEC_BY_ID };

struct spec_stage {
    const char *name;
    int line; /* where it stands in the file */
    enum spec_kind kind;
    enum spec_merge merge;
    enum spec_by by;
    char *const *argv;    /* the command; ends with NULL. Source: NULL when it reads `path` */
    const char *path;     /* library, or file of a source or sink */
    const char *argument; /* of a library; NULL: none */
    bool merges;          /* the command of an aggregate makes fewer messages of many */
    uint64_t compact;     /* of an aggregate: rows of a client, from which on they become fewer */
    bool text;            /* of a source: lines are values, not messages */
    bool input;           /* no upstream stage: others put messages into its inbox */
    uint64_t top;         /* how many, with SPEC_TOP */
    uint64_t partitions, instances, batch, attempts, limit;
    uint64_t timeout_ms;          /* of a message or batch; 0: none */
    size_t from[SPEC_STAGES_MAX]; /* upstream stages */
    size_t from_count;
    size_t to[SPEC_STAGES_MAX]; /* downstream stages */
    size_t to_count;
};

struct spec {
    const char *name, *dir; /* dir: of the file; commands run there, paths are relative to it */
    const char *queue;      /* NULL: not said */
    const char *state;      /* NULL: not said */
    struct spec_stage *stages;
    size_t stage_count;
    char **texts; /* memory of all that is pointed to */
    size_t text_count, text_cap;
};

/* Reads and checks the file. TTG_EUSAGE with a message that starts "FILE:LINE: ". */
int spec_load(struct spec *s, const char *path, struct err *err);
/* The same for a text; `path` is for messages, `dir` is where it is said to stand. */
int spec_parse(struct spec *s, struct str text, const char *path, const char *dir, struct err *err);
void spec_done(struct spec *s);

/* SPEC_STAGES_MAX when there is none of that name. */
size_t spec_stage_of(const struct spec *s, struct str name);
const char *spec_kind_name(const struct spec_stage *st);

/* Part of the reading, in spec_graph.c: who feeds whom, and whether everybody is reached. */
int spec_connect(struct spec *s, const char *path, struct err *err);

#endif
