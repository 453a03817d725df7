/* SPDX-License-Identifier: Apache-2.0 */
/* bytes - a view of bytes, for the other headers. */
#ifndef TTG_BYTES_H
#define TTG_BYTES_H

#include <stddef.h>

/* Any bytes. Those that the library hands out have a NUL behind them. */
struct ttg_bytes {
    const char *ptr;
    size_t len;
};

#endif
