/* SPDX-License-Identifier: Apache-2.0 */
/* sized - structs that begin with their size, so that program and library may differ in version. */
#ifndef TTG_LIB_SIZED_H
#define TTG_LIB_SIZED_H

#include "base/err.h"

#include <stddef.h>

/* Copies options of the program into `ours` (of `bytes`): what it does not know of is 0. TTG_EINVAL
 * without a sensible size, TTG_EVERSION when it sets what we do not know of. `theirs` may be NULL.
 */
int sized_in(void *ours, size_t bytes, const void *theirs, struct err *err);

/* Fills the program's struct from `ours`; what we do not know of becomes 0. */
int sized_out(void *theirs, const void *ours, size_t bytes, struct err *err);

#endif
