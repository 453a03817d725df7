/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/help.h"

static int add_flags(struct buf *out, const struct command *c, const char *between)
{
    int rc = 0;
    for (unsigned i = 0; i < OPT_COUNT && !rc; i++) {
        const struct option_row *row = &option_rows[i];
        if (!row->flag || !(row->commands & help_set(c)))
            continue;
        rc = buf_printf(out, "%s--%s", between, row->flag);
        if (!rc && row->type == OPTION_AUTO)
            rc = buf_printf(out, "%s--no-%s", between, row->flag);
    }
    return rc;
}

static int add_names(struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; i < CMD_COUNT && !rc; i++)
        rc = buf_printf(out, "%s%s", i ? " " : "", commands[i].name);
    return rc;
}

static int add_choices(struct buf *out, const struct option_row *row)
{
    int rc = 0;
    for (size_t n = 0; !rc && option_choice(row, n).ptr; n++)
        rc = buf_printf(out, "%s%.*s", n ? " " : "", STR_ARG(option_choice(row, n)));
    return rc;
}

int help_bash(struct buf *out)
{
    int rc = buf_add_str(out, STR("# bash completion for ttg, written by `ttg help --completion "
                                  "bash`\n_ttg() {\n"
                                  "    local word=${COMP_WORDS[COMP_CWORD]} "
                                  "last=${COMP_WORDS[COMP_CWORD-1]} flags=\n"
                                  "    COMPREPLY=()\n"
                                  "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                                  "        COMPREPLY=($(compgen -W '"));
    if (!rc)
        rc = add_names(out);
    if (!rc)
        rc = buf_add_str(out, STR("' -- \"$word\"))\n        return\n    fi\n"
                                  "    case $last in\n"));
    for (unsigned i = 0; i < OPT_COUNT && !rc; i++) {
        if (!option_rows[i].flag || option_rows[i].type != OPTION_ENUM)
            continue;
        rc = buf_printf(out, "    --%s) COMPREPLY=($(compgen -W '", option_rows[i].flag);
        if (!rc)
            rc = add_choices(out, &option_rows[i]);
        if (!rc)
            rc = buf_add_str(out, STR("' -- \"$word\")); return ;;\n"));
    }
    if (!rc)
        rc = buf_add_str(out, STR("    esac\n    case ${COMP_WORDS[1]} in\n"));
    for (size_t i = 0; i < CMD_COUNT && !rc; i++) {
        rc = buf_printf(out, "    %s) flags='", commands[i].name);
        if (!rc)
            rc = add_flags(out, &commands[i], " ");
        if (!rc && (i == CMD_HELP || i == CMD_CONFIG))
            rc = buf_add_char(out, ' ');
        if (!rc && (i == CMD_HELP || i == CMD_CONFIG))
            rc = add_names(out);
        if (!rc)
            rc = buf_add_str(out, STR("' ;;\n"));
    }
    return rc ? rc
              : buf_add_str(out, STR("    esac\n"
                                     "    COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n"
                                     "}\ncomplete -o default -F _ttg ttg\n"));
}

/* Inside single quotes, where zsh also gives [ ] and : a meaning. */
static int zsh_text(struct buf *out, const char *text)
{
    int rc = 0;
    for (; *text && !rc; text++) {
        if (*text == '\'')
            rc = buf_add_str(out, STR("'\\''"));
        else if (*text == '[' || *text == ']' || *text == ':' || *text == '\\')
            rc = buf_printf(out, "\\%c", *text);
        else
            rc = buf_add_char(out, *text);
    }
    return rc;
}

static int zsh_option(struct buf *out, const struct option_row *row)
{
    int rc = buf_printf(out, " \\\n            '%s--%s[", row->type == OPTION_LIST ? "*" : "",
                        row->flag);
    if (!rc)
        rc = zsh_text(out, row->help);
    if (!rc)
        rc = buf_add_char(out, ']');
    if (!rc && row->type == OPTION_ENUM) {
        rc = buf_printf(out, ":%s:(", row->flag);
        if (!rc)
            rc = add_choices(out, row);
        if (!rc)
            rc = buf_add_char(out, ')');
    } else if (!rc && !option_is_switch(row)) {
        rc = buf_printf(out, ":%s:%s", row->flag, row->type == OPTION_STRING ? "_files" : " ");
    }
    return rc ? rc : buf_add_char(out, '\'');
}

int help_zsh(struct buf *out)
{
    int rc =
        buf_add_str(out, STR("#compdef ttg\n# written by `ttg help --completion zsh`\n_ttg() {\n"
                             "    local -a names=("));
    for (size_t i = 0; i < CMD_COUNT && !rc; i++) {
        rc = buf_printf(out, "\n        '%s:", commands[i].name);
        if (!rc)
            rc = zsh_text(out, commands[i].summary);
        if (!rc)
            rc = buf_add_char(out, '\'');
    }
    if (!rc)
        rc = buf_add_str(out, STR(")\n    if (( CURRENT == 2 )); then\n"
                                  "        _describe command names\n        return\n    fi\n"
                                  "    local name=$words[2]\n    shift words\n"
                                  "    (( CURRENT-- ))\n    case $name in\n"));
    for (size_t c = 0; c < CMD_COUNT && !rc; c++) {
        rc = buf_printf(out, "    %s)\n        _arguments -s", commands[c].name);
        for (unsigned i = 0; i < OPT_COUNT && !rc; i++)
            if (option_rows[i].flag && option_rows[i].commands & help_set(&commands[c]))
                rc = zsh_option(out, &option_rows[i]);
        if (!rc)
            rc = buf_add_str(out, STR(" \\\n            '*:argument:_files' ;;\n"));
    }
    return rc ? rc : buf_add_str(out, STR("    esac\n}\n_ttg \"$@\"\n"));
}

static int fish_text(struct buf *out, const char *text)
{
    int rc = 0;
    for (; *text && !rc; text++)
        rc = *text == '\'' || *text == '\\' ? buf_printf(out, "\\%c", *text)
                                            : buf_add_char(out, *text);
    return rc;
}

static int fish_option(struct buf *out, const struct command *c, const struct option_row *row)
{
    int rc = buf_printf(out, "complete -c ttg -n '__fish_seen_subcommand_from %s' -l %s", c->name,
                        row->flag);
    if (!rc && row->letter)
        rc = buf_printf(out, " -s %c", row->letter);
    if (!rc && !option_is_switch(row))
        rc = buf_add_str(out, STR(" -r"));
    if (!rc && row->type == OPTION_ENUM) {
        rc = buf_add_str(out, STR(" -f -a '"));
        if (!rc)
            rc = add_choices(out, row);
        if (!rc)
            rc = buf_add_char(out, '\'');
    }
    if (!rc)
        rc = buf_add_str(out, STR(" -d '"));
    if (!rc)
        rc = fish_text(out, row->help);
    return rc ? rc : buf_add_str(out, STR("'\n"));
}

int help_fish(struct buf *out)
{
    int rc = buf_add_str(out, STR("# fish completion for ttg, written by `ttg help --completion "
                                  "fish`\n"));
    for (size_t c = 0; c < CMD_COUNT && !rc; c++) {
        rc = buf_printf(out, "complete -c ttg -f -n __fish_use_subcommand -a %s -d '",
                        commands[c].name);
        if (!rc)
            rc = fish_text(out, commands[c].summary);
        if (!rc)
            rc = buf_add_str(out, STR("'\n"));
        for (unsigned i = 0; i < OPT_COUNT && !rc; i++)
            if (option_rows[i].flag && option_rows[i].commands & help_set(&commands[c]))
                rc = fish_option(out, &commands[c], &option_rows[i]);
    }
    return rc;
}
