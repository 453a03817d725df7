/* SPDX-License-Identifier: Apache-2.0 */
/* spec_read - what the reading of a pipeline's file is made of; spec*.c alone include it.
 *
 *     spec_value.c   single values: texts, names, numbers, paths, commands; objects with known keys
 *     spec_stage.c   the keys of a stage, and what goes together
 *     spec.c         the keys of the whole, and who feeds whom
 *     spec_graph.c   the stages as a graph
 *
 * Functions return 0, or TTG_EUSAGE with the message "FILE:LINE: ..." (or TTG_ENOMEM). */
#ifndef TTG_PIPELINE_SPEC_READ_H
#define TTG_PIPELINE_SPEC_READ_H

#include "pipeline/spec.h"
#include "wire/json.h"

struct spec_reader {
    struct spec *spec;
    struct str text;
    const char *path;
    struct err *err;
    struct spec_stage *stage; /* NULL: the top level */
    struct json from[SPEC_STAGES_MAX];
};

/* Zeros that live as long as the spec; NULL: out of memory. */
void *spec_keep(struct spec *s, size_t bytes);
int spec_no_memory(const struct spec_reader *r);
int spec_line_of(const struct spec_reader *r, const char *at);

/* A mistake at this place. */
int spec_wrong(const struct spec_reader *r, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* it cannot see into it, and would assume that it may return 0 */
#define spec_wrong(r, at, ...) ((void)spec_wrong(r, at, __VA_ARGS__), TTG_EUSAGE)
#endif

int spec_text(struct spec_reader *r, struct json v, const char **ret_text);
int spec_name(struct spec_reader *r, struct json v, const char **ret_name);
int spec_number(struct spec_reader *r, struct json v, uint64_t min, uint64_t max,
                uint64_t *ret_value);
/* A text for people. */
int spec_remark(struct spec_reader *r, struct json v);
int spec_flag(struct spec_reader *r, struct json v, bool *ret_flag);
/* Relative to the file. */
int spec_path(struct spec_reader *r, struct json v, const char **ret_path);
int spec_command(struct spec_reader *r, struct json v, char *const **ret_argv);

struct spec_key {
    const char *name;
    int (*set)(struct spec_reader *r, struct json v);
    bool is_kind; /* says what the stage is */
    int kinds;    /* of stages that may have it */
};

/* Sets every member; each once, and only known ones. *ret_seen: a bit for each. */
int spec_object(struct spec_reader *r, struct json object, const struct spec_key *keys,
                size_t count, unsigned *ret_seen);

int spec_stage_read(struct spec_reader *r, struct json v, struct spec_stage *st);

#endif
