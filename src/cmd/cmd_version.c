/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/command.h"
#include "cmd/options.h"

#include <sys/utsname.h>
#include <ttg/version.h>

int cmd_version(struct command_run *r)
{
    if (!option_bool(r->options, OPT_JSON))
        return command_print(r, STR("ttg " TTG_VERSION "\n"));
    struct utsname u;
    struct buf out;
    buf_init(&out, 4096);
    if (uname(&u) < 0)
        u = (struct utsname){.sysname = "unknown", .machine = "unknown"};
    buf_add_str(&out, STR("{\"version\":\"" TTG_VERSION "\",\"compiler\":"));
    buf_add_json(&out, STR(__VERSION__));
    buf_add_str(&out, STR(",\"system\":"));
    buf_add_json(&out, str_of(u.sysname));
    buf_add_str(&out, STR(",\"machine\":"));
    buf_add_json(&out, str_of(u.machine));
    int code = buf_add_str(&out, STR("}\n")) ? EXIT_LOST : command_print(r, buf_str(&out));
    buf_done(&out);
    return code;
}
