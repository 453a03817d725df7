/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/help.h"
#include "cmd/options.h"

int cmd_help(struct command_run *r)
{
    static int (*const completions[])(struct buf *) = {help_bash, help_zsh, help_fish};
    const struct command *c = r->arg_count ? command_find(str_of(r->args[0])) : NULL;
    if (r->arg_count && !c)
        return command_unknown(r, r->args[0]);
    struct buf out;
    buf_init(&out, HELP_BYTES_MAX);
    int rc;
    if (option_given(r->options, OPT_COMPLETION))
        rc = completions[option_u64(r->options, OPT_COMPLETION)](&out);
    else if (option_bool(r->options, OPT_MAN))
        rc = help_man(&out);
    else if (option_bool(r->options, OPT_MARKDOWN))
        rc = help_markdown(&out);
    else
        rc = c ? help_command(&out, c, r->color_out) : help_overview(&out, r->color_out);
    struct err e = {0};
    int code = rc ? (err_set(&e, rc, "%s", err_text(rc)), command_fail(r, &e))
                  : command_print(r, buf_str(&out));
    buf_done(&out);
    return code;
}
