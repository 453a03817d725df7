/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_options - from the options of a command to the settings of its kernel. */
#ifndef TTG_CMD_KERNEL_OPTIONS_H
#define TTG_CMD_KERNEL_OPTIONS_H

#include "cmd/options.h"
#include "worker/kernel.h"

/* Which kernel, and its settings: everything but worker, on_done and ctx. The texts live as long as
 * the options. TTG_EUSAGE when the options contradict each other. */
int kernel_from_options(struct kernel_config *ret_config, const struct command_run *r,
                        struct err *err);

#endif
