/* SPDX-License-Identifier: Apache-2.0 */
/* worker_static - `ttg worker` without a queue. */
#ifndef TTG_CMD_WORKER_STATIC_H
#define TTG_CMD_WORKER_STATIC_H

#include "cmd/command.h"

int worker_static(struct command_run *r);

#endif
