/* SPDX-License-Identifier: Apache-2.0 */
/* ttg monitor: a job, live. */
#include "cmd/monitor_term.h"
#include "cmd/monitor_web.h"

int cmd_monitor(struct command_run *r)
{
    return option_text(r->options, OPT_WEB) ? monitor_web(r) : monitor_term(r);
}
