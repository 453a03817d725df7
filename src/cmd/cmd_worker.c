/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/options.h"
#include "cmd/worker_static.h"

int cmd_worker(struct command_run *r)
{
    struct err e = {0};
    if (!option_bool(r->options, OPT_QUEUE_MODE))
        return worker_static(r);
    err_set(&e, TTG_EUNSUPPORTED, "QUEUE_MODE=true: this build has no queue");
    return command_fail(r, &e);
}
