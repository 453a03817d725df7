/* SPDX-License-Identifier: Apache-2.0 */
/* random - numbers that no other process has, for incarnations and seeds. */
#ifndef TTG_IO_RANDOM_H
#define TTG_IO_RANDOM_H

#include <stddef.h>
#include <stdint.h>

uint64_t random_u64(void);

/* For secrets: `count` hex digits and a NUL. TTG_EIO when the system has no good ones. */
int random_secret(char *out, size_t count);

#endif
