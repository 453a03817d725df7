/* SPDX-License-Identifier: Apache-2.0 */
#include <ttg/plugin.h>

#undef TTG_PLUGIN_ABI
#define TTG_PLUGIN_ABI 99

static int run(void *state, struct ttg_call *call)
{
    (void)state;
    (void)call;
    return TTG_DONE;
}

TTG_PLUGIN(.name = "future", .run = run);
