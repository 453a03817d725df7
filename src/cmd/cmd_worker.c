/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/queue_options.h"
#include "cmd/worker_static.h"

int cmd_worker(struct command_run *r)
{
    struct err e = {0};
    struct buf address;
    buf_init(&address, 1 << 16);
    int rc = queue_address(r->options, &address, &e);
    if (!rc && buf_len(&address) > 0)
        rc = err_set(&e, TTG_EUNSUPPORTED, "this build has no queue, only static mode");
    buf_done(&address);
    return rc ? command_fail(r, &e) : worker_static(r);
}
