/* SPDX-License-Identifier: Apache-2.0 */
/* ttg monitor: a job, live. */
#include "cmd/monitor_web.h"

int cmd_monitor(struct command_run *r)
{
    struct err err = {0};
    if (option_text(r->options, OPT_WEB))
        return monitor_web(r);
    err_set(&err, TTG_EUSAGE, "where to show it? give --web ADDR");
    return command_fail(r, &err);
}
