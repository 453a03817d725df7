/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/options.h"

int cmd_worker(struct command_run *r)
{
    struct err e = {0};
    err_set(&e, TTG_EUNSUPPORTED, "this build has no kernels");
    return command_fail(r, &e);
}
