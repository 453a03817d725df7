/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/queue_options.h"
#include "cmd/worker_queue.h"
#include "cmd/worker_static.h"

/* An address, or QUEUE_MODE=true, makes it a worker of a queue. */
int cmd_worker(struct command_run *r)
{
    bool queue = option_text(r->options, OPT_QUEUE) || option_bool(r->options, OPT_QUEUE_MODE);
    struct err err;
    if (option_bool(r->options, OPT_RESTART) && !option_text(r->options, OPT_QUEUE)) {
        err_set(&err, TTG_EUSAGE, "--restart needs --queue");
        return command_fail(r, &err);
    }
    if (!queue && option_text(r->options, OPT_JOB)) {
        err_set(&err, TTG_EUSAGE, "--job %s is on a queue: give --queue URL or TTG_QUEUE",
                option_text(r->options, OPT_JOB));
        return command_fail(r, &err);
    }
    return queue ? worker_queue(r) : worker_static(r);
}
