/* SPDX-License-Identifier: Apache-2.0 */
/* random - numbers that no other process has, for incarnations and seeds. Not for secrets. */
#ifndef TTG_IO_RANDOM_H
#define TTG_IO_RANDOM_H

#include <stdint.h>

uint64_t random_u64(void);

#endif
