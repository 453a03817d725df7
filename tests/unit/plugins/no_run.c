/* SPDX-License-Identifier: Apache-2.0 */
#include <ttg/plugin.h>

TTG_PLUGIN(.name = "nothing");
