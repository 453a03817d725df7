/* SPDX-License-Identifier: Apache-2.0 */
/* handles - what the files of the library know of each other's handles. */
#ifndef TTG_LIB_HANDLES_H
#define TTG_LIB_HANDLES_H

#include "lib/link.h"

struct ttg_queue {
    struct link link;
    struct buf texts; /* of the last answer */
};

#endif
