/* SPDX-License-Identifier: Apache-2.0 */
/* realclock - the machine's clock. Everybody else is handed a `struct clock`. */
#ifndef TTG_IO_REALCLOCK_H
#define TTG_IO_REALCLOCK_H

#include "base/clock.h"

/* Usable from any thread, lives for ever. */
struct clock *realclock(void);

#endif
