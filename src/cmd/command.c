/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/command.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "cmd/help.h"
#include "cmd/options.h"
#include "io/realclock.h"
#include "io/stdio.h"

#include <stdlib.h>

const struct command commands[CMD_COUNT] = {
#define COMMAND(id, title, ...) [CMD_##id] = {.name = #title, .run = cmd_##title, __VA_ARGS__},
#include "cmd/command_rows.h"
#undef COMMAND
};

const struct command *command_find(struct str name)
{
    for (size_t i = 0; i < CMD_COUNT; i++)
        if (str_eq(name, str_of(commands[i].name)))
            return &commands[i];
    return NULL;
}

int command_exit_code(int rc)
{
    switch (rc) {
    case 0:
        return EXIT_DONE;
    case TTG_EUSAGE:
    case TTG_EINVAL:
    case TTG_ERANGE:
    case TTG_EVERSION:
    case TTG_EUNSUPPORTED:
    case TTG_EEXIST:
    case TTG_EDONE:
        return EXIT_USAGE;
    default:
        return EXIT_LOST;
    }
}

int command_fail(const struct command_run *r, const struct err *e)
{
    struct buf b;
    buf_init(&b, 4 * ERR_TEXT_BYTES_MAX);
    const char *name = r->command ? r->command->name : NULL;
    buf_printf(&b, r->color_err ? "\033[31mttg%s%s:\033[0m " : "ttg%s%s: ", name ? " " : "",
               name ? name : "");
    for (const char *p = e->text; *p; p++) /* the user's bytes do not steer the terminal */
        buf_add_char(&b, (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p);
    buf_add_char(&b, '\n');
    if (e->code == TTG_EUSAGE)
        buf_printf(&b, "ttg: 'ttg help%s%s' says what is possible\n", name ? " " : "",
                   name ? name : "");
    stdio_complain(buf_str(&b));
    buf_done(&b);
    return command_exit_code(e->code);
}

int command_unknown(const struct command_run *r, const char *word)
{
    struct err e = {0};
    struct suggest s;
    suggest_init(&s, str_of(word));
    for (size_t i = 0; i < CMD_COUNT; i++)
        suggest_offer(&s, commands[i].name);
    if (*word == '-')
        err_set(&e, TTG_EUSAGE, "unknown option %s; options stand behind the command", word);
    else if (s.best)
        err_set(&e, TTG_EUSAGE, "unknown command '%s'; did you mean '%s'?", word, s.best);
    else
        err_set(&e, TTG_EUSAGE, "unknown command '%s'", word);
    return command_fail(r, &e);
}

int command_print(const struct command_run *r, struct str text)
{
    struct err e = {0};
    return stdio_write(text, &e) ? command_fail(r, &e) : EXIT_DONE;
}

/* ---- start ---- */

static const char *variable(const char *name)
{
    return getenv(name);
}

static bool wants_color(const struct options *o, enum stdio_stream stream)
{
    enum option_auto asked = o ? option_tri(o, OPT_COLOR) : OPTION_UNDECIDED;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (asked != OPTION_UNDECIDED)
        return asked == OPTION_YES;
    return !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0) &&
           stdio_is_terminal(stream);
}

static void start_log(const struct options *o)
{
    struct log_setup setup = {.clock = realclock(), .sink = stdio_log_sink};
    log_level_parse(option_str(o, OPT_LOG_LEVEL), &setup.level);
    log_format_parse(option_str(o, OPT_LOG_FORMAT), &setup.format);
    log_setup(&setup);
}

static int run(struct command_run *r, const struct options_input *in)
{
    struct options o;
    struct err e = {0};
    int rc = options_parse(&o, in, &e);
    if (rc) {
        options_done(&o);
        return command_fail(r, &e);
    }
    r->options = &o;
    r->args = o.args;
    r->arg_count = o.arg_count;
    r->words = o.words;
    r->word_count = o.word_count;
    r->color_out = wants_color(&o, STDIO_OUT);
    r->color_err = wants_color(&o, STDIO_ERR);
    if (in->set & IN_LOGGING)
        start_log(&o);
    int code;
    if (r->arg_count > r->command->args_max) {
        err_set(&e, TTG_EUSAGE, "unexpected argument '%s'%s", r->args[r->command->args_max],
                r->command->takes_command ? "; a command stands behind --" : "");
        code = command_fail(r, &e);
    } else {
        code = r->command->run(r);
    }
    options_done(&o);
    r->options = NULL;
    return code;
}

static bool asks_for_help(char **words)
{
    for (; *words && strcmp(*words, "--") != 0; words++)
        if (strcmp(*words, "--help") == 0 || strcmp(*words, "-h") == 0)
            return true;
    return false;
}

static int print_help(struct command_run *r)
{
    struct buf out;
    buf_init(&out, HELP_BYTES_MAX);
    bool color = wants_color(NULL, STDIO_OUT);
    int rc = r->command ? help_command(&out, r->command, color) : help_overview(&out, color);
    int code = rc ? command_exit_code(rc) : command_print(r, buf_str(&out));
    buf_done(&out);
    return code;
}

int command_main(int argc, char **argv)
{
    stdio_init();
    mem_return_large();
    struct command_run r = {.color_err = wants_color(NULL, STDIO_ERR)};
    if (argc < 2) {
        struct err e = {0};
        err_set(&e, TTG_EUSAGE, "a command is missing");
        return command_fail(&r, &e);
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return print_help(&r);
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = "version";
    r.command = command_find(str_of(word));
    if (!r.command)
        return command_unknown(&r, word);
    if (asks_for_help(argv + 2))
        return print_help(&r);
    struct options_input in = {help_set(r.command), argv + 2, r.command->takes_command, variable};
    if (r.command == &commands[CMD_CONFIG])
        in.set = cmd_config_set(argv + 2);
    return run(&r, &in);
}
