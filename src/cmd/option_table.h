/* SPDX-License-Identifier: Apache-2.0 */
/* option_table - every option described once, and the meaning of its values.
 *
 * The rows are in option_rows.h. From them come parsing (options.h), help, reference, man page and
 * completions (help.h). Limits and defaults are written as a user would write the value, so that
 * what is checked is what is printed. */
#ifndef TTG_CMD_OPTION_TABLE_H
#define TTG_CMD_OPTION_TABLE_H

#include "base/buf.h"
#include "base/err.h"
#include "cmd/command.h"

enum option_type {
    OPTION_BOOL,
    OPTION_AUTO, /* a bool, or auto: decided by circumstances */
    OPTION_U64,
    OPTION_I64,
    OPTION_F64,
    OPTION_DURATION, /* nanoseconds inside */
    OPTION_SIZE,     /* bytes inside */
    OPTION_ENUM,
    OPTION_STRING,
    OPTION_NAME, /* of a job */
    OPTION_LIST, /* strings; the flag may be repeated, elsewhere they are separated by commas */
};

enum { OPTION_NAME_BYTES_MAX = 64 };

struct option_row {
    const char *flag;
    char letter;
    bool only_flag, secret, empty_ok;
    enum option_type type;
    const char *variable, *variable_else, *key;
    const char *unit, *min, *max, *def, *choices, *arg, *help;
    unsigned commands;
};

enum option_id {
#define OPTION(id, ...) OPT_##id,
#include "cmd/option_rows.h"
#undef OPTION
    OPT_COUNT
};

extern const struct option_row option_rows[OPT_COUNT];

enum option_auto { OPTION_NO, OPTION_YES, OPTION_UNDECIDED };

union option_number {
    bool b;
    enum option_auto tri;
    uint64_t u; /* also duration (ns), size (bytes), enum (index of the choice) */
    int64_t i;
    double f;
};

/* Reads a value. On failure `err` gets what is wrong with it and what is expected, without naming
 * the option. TTG_EUSAGE. */
int option_value(const struct option_row *row, struct str text, union option_number *ret,
                 struct err *err);

/* "a whole number from 1 to 65535". */
int option_expects(const struct option_row *row, struct buf *out);

/* Whether the flag takes no value. */
static inline bool option_is_switch(const struct option_row *row)
{
    return row->type == OPTION_BOOL || row->type == OPTION_AUTO;
}

/* The key in the file, NULL when it cannot stand there. */
const char *option_key(const struct option_row *row);

/* The row of a flag (without dashes), letter or key among the options of a set of commands, the
 * first one in the table; OPT_COUNT when there is none. A key may be written with _ for -. */
enum option_id option_by_flag(struct str flag, unsigned set);
enum option_id option_by_letter(char letter, unsigned set);
enum option_id option_by_key(struct str key, unsigned set);

/* The n-th of "a|b|c"; empty with NULL pointer past the end. */
struct str option_choice(const struct option_row *row, size_t n);

#endif
