/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/help.h"

#include <ttg/version.h>

/* ---- markdown ---- */

/* Text of a table's cell. */
static int cell(struct buf *out, struct str s)
{
    int rc = 0;
    for (size_t i = 0; i < s.len && !rc; i++) {
        if (s.ptr[i] == '|')
            rc = buf_add_str(out, STR("\\|"));
        else
            rc = buf_add_char(out, s.ptr[i]);
    }
    return rc;
}

static int code_cell(struct buf *out, const char *text)
{
    int rc = buf_add_str(out, STR(" | "));
    if (rc || !text)
        return rc;
    rc = buf_add_char(out, '`');
    if (!rc)
        rc = cell(out, str_of(text));
    return rc ? rc : buf_add_char(out, '`');
}

static int markdown_flag(struct buf *out, enum option_id id)
{
    const struct option_row *row = &option_rows[id];
    struct buf placeholder;
    buf_init(&placeholder, 4096);
    int rc = buf_add_str(out, STR("| "));
    if (!rc && row->flag) {
        rc = help_placeholder(&placeholder, id);
        if (!rc && row->letter)
            rc = buf_printf(out, "`-%c`, ", row->letter);
        if (!rc)
            rc = buf_printf(out, "`--%s%s%s", row->type == OPTION_AUTO ? "[no-]" : "", row->flag,
                            buf_len(&placeholder) ? " " : "");
        if (!rc)
            rc = cell(out, buf_str(&placeholder));
        if (!rc)
            rc = buf_add_char(out, '`');
    }
    buf_done(&placeholder);
    return rc;
}

static int markdown_option(struct buf *out, enum option_id id)
{
    const struct option_row *row = &option_rows[id];
    int rc = markdown_flag(out, id);
    if (!rc)
        rc = code_cell(out, row->variable);
    if (!rc && row->variable_else)
        rc = buf_printf(out, ", `%s`", row->variable_else);
    if (!rc)
        rc = code_cell(out, option_key(row));
    if (!rc)
        rc = code_cell(out, row->def);
    if (!rc && row->def && row->unit)
        rc = buf_printf(out, " %s", row->unit);
    if (!rc)
        rc = buf_add_str(out, STR(" | "));
    if (!rc && row->min)
        rc = buf_printf(out, "%s to %s", row->min, row->max);
    if (!rc)
        rc = buf_add_str(out, STR(" | "));
    if (!rc)
        rc = cell(out, str_of(row->help));
    return rc ? rc : buf_add_str(out, STR(" |\n"));
}

static int markdown_command(struct buf *out, const struct command *c)
{
    int rc = buf_printf(out, "\n## ttg %s\n\n%s.\n\n    ttg %s [options]%s%s\n", c->name,
                        c->summary, c->name, c->usage ? " " : "", c->usage ? c->usage : "");
    if (!rc && c->details)
        rc = buf_printf(out, "\n%s\n", c->details);
    if (!rc)
        rc = buf_add_str(out, STR("\n| flag | variable | key | default | range | meaning |\n"
                                  "|---|---|---|---|---|---|\n"));
    for (unsigned i = 0; i < OPT_COUNT && !rc; i++)
        if (option_rows[i].commands & help_set(c))
            rc = markdown_option(out, i);
    return rc;
}

int help_markdown(struct buf *out)
{
    int code,
        rc = buf_add_str(
            out,
            STR("# Reference\n\n"
                "Written by `ttg help --markdown`; change the tables in `src/cmd/*_rows.h` "
                "instead of this page.\n\n"
                "A flag goes before a variable, a variable before the file, the file before the "
                "default. The file is the one named by `--config` or `TTG_CONFIG`, else "
                "`$XDG_CONFIG_HOME/ttg/config` (`~/.config/ttg/config`) when that exists; it has "
                "lines `key = value`, `#` starts a comment, double quotes keep blanks and `#`. "
                "`ttg config` shows every value and where it came from. A value that is out of "
                "its range or not of its kind ends the command with exit code 2.\n\n"
                "Switches are turned off by `--no-FLAG`. Times take the units `ns us ms s m h d`, "
                "sizes `K M G T` (powers of 1024) and `kB MB GB TB` (powers of 1000). Results go "
                "to standard output, everything else to standard error.\n\n"
                "## Exit codes\n\n| code | meaning |\n|---|---|\n"));
    const char *text;
    for (size_t i = 0; !rc && help_exit(i, &code, &text); i++)
        rc = buf_printf(out, "| %d | %s |\n", code, text);
    for (size_t i = 0; !rc && i < CMD_COUNT; i++)
        rc = markdown_command(out, &commands[i]);
    return rc;
}

/* ---- man page ---- */

/* Text for troff: no line may start with a control character, a backslash is one. */
static int roff(struct buf *out, const char *text)
{
    bool line_start = true;
    int rc = 0;
    for (; *text && !rc; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            rc = buf_add_str(out, STR("\\&"));
        if (!rc && *text == '\\')
            rc = buf_add_str(out, STR("\\e"));
        else if (!rc && *text == '-')
            rc = buf_add_str(out, STR("\\-"));
        else if (!rc && text[0] == '\n' && text[1] == '\n')
            rc = buf_add_str(out, STR("\n.PP\n")), text++;
        else if (!rc)
            rc = buf_add_char(out, *text);
        line_start = *text == '\n';
    }
    return rc;
}

static int man_option(struct buf *out, enum option_id id)
{
    const struct option_row *row = &option_rows[id];
    struct buf text;
    buf_init(&text, 4096);
    int rc = buf_add_str(out, STR(".TP\n.B "));
    if (!row->flag) {
        rc = rc ? rc : roff(out, row->variable);
    } else {
        if (!rc && row->letter)
            rc = buf_printf(&text, "-%c, ", row->letter);
        if (!rc)
            rc = buf_printf(&text, "--%s%s%s", row->type == OPTION_AUTO ? "[no-]" : "", row->flag,
                            option_is_switch(row) ? "" : " ");
        if (!rc)
            rc = help_placeholder(&text, id);
        if (!rc)
            rc = buf_cstr(&text) ? roff(out, buf_cstr(&text)) : TTG_ENOMEM;
    }
    buf_clear(&text);
    if (!rc)
        rc = buf_printf(&text, "\n%s.", row->help);
    if (!rc && row->def)
        rc = buf_printf(&text, " Default: %s%s%s.", row->def, row->unit ? " " : "",
                        row->unit ? row->unit : "");
    if (!rc && row->min)
        rc = buf_printf(&text, " Range: %s to %s.", row->min, row->max);
    if (!rc && row->variable)
        rc =
            buf_printf(&text, " Variable: %s%s%s.", row->variable, row->variable_else ? " or " : "",
                       row->variable_else ? row->variable_else : "");
    if (!rc)
        rc = buf_cstr(&text) ? roff(out, buf_cstr(&text)) : TTG_ENOMEM;
    buf_done(&text);
    return rc ? rc : buf_add_char(out, '\n');
}

static int man_command(struct buf *out, const struct command *c)
{
    int rc =
        buf_printf(out, ".SS ttg %s%s%s\n", c->name, c->usage ? " " : "", c->usage ? c->usage : "");
    if (!rc)
        rc = roff(out, c->summary);
    if (!rc)
        rc = buf_add_str(out, STR(".\n"));
    if (!rc && c->details) {
        rc = buf_add_str(out, STR(".PP\n"));
        if (!rc)
            rc = roff(out, c->details);
        if (!rc)
            rc = buf_add_char(out, '\n');
    }
    for (unsigned i = 0; i < OPT_COUNT && !rc; i++)
        if (option_rows[i].commands & help_set(c))
            rc = man_option(out, i);
    return rc;
}

int help_man(struct buf *out)
{
    int code,
        rc = buf_add_str(
            out,
            STR(".TH TTG 1 \"\" \"ttg " TTG_VERSION "\" \"User Commands\"\n.SH NAME\n"
                "ttg \\- run a big computation over many workers and lose nothing\n.SH SYNOPSIS\n"
                ".B ttg\n.I COMMAND\n[options] [arguments]\n.SH COMMANDS\n"));
    const char *text;
    for (size_t i = 0; !rc && i < CMD_COUNT; i++)
        rc = man_command(out, &commands[i]);
    if (!rc)
        rc = buf_add_str(out, STR(".SH EXIT STATUS\n"));
    for (size_t i = 0; !rc && help_exit(i, &code, &text); i++)
        rc = buf_printf(out, ".TP\n.B %d\n%s\n", code, text);
    return rc ? rc
              : buf_add_str(out, STR(".SH FILES\n.TP\n.B $XDG_CONFIG_HOME/ttg/config\n"
                                     "settings, lines of the form key = value\n"));
}
