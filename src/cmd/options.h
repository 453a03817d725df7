/* SPDX-License-Identifier: Apache-2.0 */
/* options - the values that hold for this run, and where each came from.
 *
 * A flag goes before a variable, a variable before the file, the file before the default. Only the
 * options of the command that runs are looked at, so that a mistake in a variable of another
 * command does no harm; the file is checked whole. */
#ifndef TTG_CMD_OPTIONS_H
#define TTG_CMD_OPTIONS_H

#include "cmd/option_table.h"

enum { OPTIONS_FILE_BYTES_MAX = 1 << 20 };

enum option_source {
    OPTION_FROM_DEFAULT,
    OPTION_FROM_FILE,
    OPTION_FROM_VARIABLE,
    OPTION_FROM_FLAG,
};

struct option_slot {
    enum option_source source;
    const char *variable; /* with OPTION_FROM_VARIABLE */
    unsigned line;        /* with OPTION_FROM_FILE */
    const char *text;     /* as given; NULL: not set and without default */
    union option_number number;
    const char **items; /* OPTION_LIST */
    size_t item_count;
};

struct options {
    unsigned set; /* commands whose options count */
    struct option_slot slots[OPT_COUNT];
    char *file_path; /* NULL: there is none */
    struct buf file;
    char **args;
    size_t arg_count;
    char **words; /* behind `--`: see command_run */
    size_t word_count;
};

struct options_input {
    unsigned set;
    char **words; /* behind the command's name, ends with NULL; used until options_done */
    bool takes_command;
    const char *(*variable)(const char *name); /* NULL: not set */
};

/* Fills `o`, which is to be freed with options_done also after a failure. TTG_EUSAGE with a message
 * that names the option as the user wrote it, TTG_ENOMEM. */
int options_parse(struct options *o, const struct options_input *in, struct err *err);
void options_done(struct options *o);

/* Whether anything but the default says something. */
bool option_given(const struct options *o, enum option_id id);

bool option_bool(const struct options *o, enum option_id id);
enum option_auto option_tri(const struct options *o, enum option_id id);
uint64_t option_u64(const struct options *o, enum option_id id); /* also sizes (bytes) */
int64_t option_i64(const struct options *o, enum option_id id);
double option_f64(const struct options *o, enum option_id id);
uint64_t option_ns(const struct options *o, enum option_id id); /* a duration */
uint64_t option_ms(const struct options *o, enum option_id id); /* the same, rounded up */
/* The text as given, NULL when not set. Until options_done. */
const char *option_text(const struct options *o, enum option_id id);
/* The same; of an enum the choice as the table spells it. */
struct str option_str(const struct options *o, enum option_id id);

/* "flag --chunk", "variable CHUNK_SIZE", "file /etc/x:3", "default". */
int option_origin(const struct options *o, enum option_id id, struct buf *out);

#endif
