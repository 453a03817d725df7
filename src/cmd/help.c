/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/help.h"

#include <string.h>

enum { HELP_INDENT = 6 };

unsigned help_set(const struct command *c)
{
    return 1u << (unsigned)(c - commands);
}

bool help_exit(size_t n, int *ret_code, const char **ret_text)
{
    static const struct {
        int code;
        const char *text;
    } exits[] = {
        {EXIT_DONE, "done"},
        {EXIT_FAILED_CHUNKS, "the job ended with chunks that were given up"},
        {EXIT_USAGE, "wrong usage: an option, a variable or a file is wrong or missing"},
        {EXIT_LOST, "queue, node or output not reachable or lost"},
        {EXIT_UNVERIFIED, "verification failed"},
        {EXIT_TIMEOUT, "`ttg wait --timeout`: the time is over"},
        {EXIT_SIGINT, "stopped by SIGINT (Ctrl-C)"},
        {EXIT_SIGTERM, "stopped by SIGTERM"},
    };
    if (n >= sizeof exits / sizeof *exits)
        return false;
    *ret_code = exits[n].code;
    *ret_text = exits[n].text;
    return true;
}

int help_placeholder(struct buf *out, enum option_id id)
{
    static const char *const names[] = {
        [OPTION_U64] = "N",         [OPTION_I64] = "N",     [OPTION_F64] = "X",
        [OPTION_DURATION] = "TIME", [OPTION_SIZE] = "SIZE", [OPTION_STRING] = "TEXT",
        [OPTION_NAME] = "NAME",     [OPTION_LIST] = "TEXT",
    };
    const struct option_row *row = &option_rows[id];
    if (option_is_switch(row))
        return 0;
    if (row->type == OPTION_ENUM)
        return buf_add_str(out, str_of(row->choices));
    if (row->arg)
        return buf_add_str(out, str_of(row->arg));
    return buf_add_str(out, str_of(names[row->type]));
}

/* Breaks `text` into lines of HELP_COLUMNS behind `indent` blanks; an empty line keeps its sense.
 */
static int wrap(struct buf *out, const char *text, size_t indent)
{
    size_t column = 0;
    int rc = 0;
    while (*text && !rc) {
        if (*text == '\n') {
            rc = buf_add_char(out, '\n');
            column = 0;
            text++;
            continue;
        }
        size_t blanks = strspn(text, " "), len = strcspn(text + blanks, " \n");
        if (column > 0 && column + blanks + len > HELP_COLUMNS) {
            rc = buf_add_char(out, '\n');
            column = 0;
        }
        if (!rc && column == 0)
            rc = buf_printf(out, "%*s", (int)indent, "");
        else if (!rc)
            rc = buf_printf(out, "%*s", (int)blanks, "");
        column += column == 0 ? indent : blanks;
        if (!rc)
            rc = buf_add(out, text + blanks, len);
        column += len;
        text += blanks + len;
    }
    return rc ? rc : buf_add_char(out, '\n');
}

static int heading(struct buf *out, const char *text, bool color)
{
    return buf_printf(out, color ? "\n\033[1m%s\033[0m\n" : "\n%s\n", text);
}

static int exits(struct buf *out, bool color)
{
    int code, rc = heading(out, "Exit codes", color);
    const char *text;
    for (size_t i = 0; !rc && help_exit(i, &code, &text); i++)
        rc = buf_printf(out, "  %-4d %s\n", code, text);
    return rc;
}

int help_overview(struct buf *out, bool color)
{
    int rc =
        buf_add_str(out, STR("ttg - run a big computation over many workers and lose nothing\n\n"
                             "usage: ttg COMMAND [options] [arguments]\n"));
    if (!rc)
        rc = heading(out, "Commands", color);
    for (size_t i = 0; i < CMD_COUNT && !rc; i++) {
        rc = buf_printf(out, "  %s\n", commands[i].name);
        if (!rc)
            rc = wrap(out, commands[i].summary, HELP_INDENT);
    }
    if (!rc)
        rc = exits(out, color);
    return rc ? rc : buf_add_str(out, STR("\n'ttg help COMMAND' explains a command.\n"));
}

/* "(default 100, 1 to 65535; CHUNK_SIZE)": what the sentence does not say. */
static int facts(struct buf *out, const struct option_row *row)
{
    const char *between = " (";
    int rc = 0;
    if (row->def) {
        rc = buf_printf(out, "%sdefault %s%s%s", between, row->def,
                        row->unit && row->type != OPTION_SIZE ? " " : "",
                        row->unit ? row->unit : "");
        between = "; ";
    }
    if (!rc && row->min) {
        rc = buf_printf(out, "%s%s to %s", between, row->min, row->max);
        between = "; ";
    }
    if (!rc && row->variable && row->flag) {
        rc = buf_printf(out, "%s%s", between, row->variable);
        if (!rc && row->variable_else)
            rc = buf_printf(out, " or %s", row->variable_else);
        between = "; ";
    }
    return rc || *between == ' ' ? rc : buf_add_char(out, ')');
}

static int option_entry(struct buf *out, enum option_id id)
{
    const struct option_row *row = &option_rows[id];
    struct buf text;
    int rc;
    if (!row->flag)
        rc = buf_printf(out, "  %s (variable)", row->variable);
    else if (row->letter)
        rc = buf_printf(out, "  -%c, --%s", row->letter, row->flag);
    else
        rc = buf_printf(out, "  --%s%s", row->type == OPTION_AUTO ? "[no-]" : "", row->flag);
    if (!rc && row->flag && !option_is_switch(row)) {
        rc = buf_add_char(out, ' ');
        if (!rc)
            rc = help_placeholder(out, id);
    }
    if (rc || (rc = buf_add_char(out, '\n')))
        return rc;
    buf_init(&text, HELP_BYTES_MAX);
    rc = buf_add_str(&text, str_of(row->help));
    if (!rc)
        rc = facts(&text, row);
    const char *whole = rc ? NULL : buf_cstr(&text);
    if (!rc)
        rc = whole ? wrap(out, whole, HELP_INDENT) : TTG_ENOMEM;
    buf_done(&text);
    return rc;
}

int help_command(struct buf *out, const struct command *c, bool color)
{
    int rc = buf_printf(out, "ttg %s - %s\n\nusage: ttg %s [options]%s%s\n", c->name, c->summary,
                        c->name, c->usage ? " " : "", c->usage ? c->usage : "");
    if (!rc && c->details)
        rc = buf_add_char(out, '\n');
    if (!rc && c->details)
        rc = wrap(out, c->details, 0);
    if (!rc)
        rc = heading(out, "Options", color);
    for (unsigned i = 0; i < OPT_COUNT && !rc; i++)
        if (option_rows[i].commands & help_set(c))
            rc = option_entry(out, i);
    return rc ? rc : exits(out, color);
}
