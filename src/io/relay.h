/* SPDX-License-Identifier: Apache-2.0 */
/* relay - passes on what a process writes to its standard error, and keeps the last lines.
 *
 * Whole lines go to our own standard error as they end, those of a log only from a level on: so a
 * process can say more than is shown, for the case that it dies. Who reads our messages slowly
 * slows down the process, not us: what cannot be written at once stays in the pipe. */
#ifndef TTG_IO_RELAY_H
#define TTG_IO_RELAY_H

#include "base/log.h"
#include "base/tail.h"
#include "io/loop.h"

#include <stdbool.h>

enum { RELAY_BYTES = 4096 }; /* a pipe's atomic write; longer lines are cut */

struct relay {
    int fd; /* of the pipe; -1: closed */
    enum log_level level;
    bool quiet; /* nothing is passed on: set it behind relay_init */
    struct loop *loop;
    struct loop_poll poll;
    struct loop_timer again;
    struct tail tail;
    bool ended, inside, hidden; /* inside a line that was cut; hidden: which is not passed on */
    size_t ready, held;         /* bytes to be written; behind them the line that has not ended */
    char bytes[RELAY_BYTES];
};

/* Memory that was never opened. */
void relay_init(struct relay *r, struct loop *l, enum log_level level);
/* *ret_theirs becomes the standard error of the process; the caller closes it afterwards. */
int relay_open(struct relay *r, int *ret_theirs, struct err *err);
/* The process has ended: passes on what is left, as far as that goes at once. The tail stays. */
void relay_close(struct relay *r);

#endif
