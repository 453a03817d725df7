/* SPDX-License-Identifier: Apache-2.0 */
/* progress - how far a job is, how fast it goes, and when it will be done.
 *
 * Pure: fed with (time, chunks closed), it keeps the last while of it. The time left is what is
 * left over the rate of that while; its spread follows from how much the rate went up and down.
 * Nothing is claimed before something was done, and 100 % only when nothing is left. */
#ifndef TTG_JOB_PROGRESS_H
#define TTG_JOB_PROGRESS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { PROGRESS_POINTS = 32, PROGRESS_GAP_MS = 1000, PROGRESS_BAR_CELLS = 24 };

struct progress {
    struct {
        uint64_t ms, done;
    } points[PROGRESS_POINTS]; /* a ring; the newest is the present */
    uint32_t count, newest;
    uint64_t total;
};

void progress_init(struct progress *p);
/* `done` of `total` chunks need no more work at `now_ms`. */
void progress_add(struct progress *p, uint64_t now_ms, uint64_t done, uint64_t total);

struct progress_view {
    uint64_t done, total;
    unsigned permille; /* rounded down: 1000 only when all are done */
    bool has_rate;     /* something was done in the while that is remembered */
    double rate;       /* chunks a second */
    double eta_s, spread_s;
    bool has_spread;
};
void progress_view(const struct progress *p, struct progress_view *ret_view);

/* "[#####...................]  20.8 %  208/1000 chunks  103/s  7.7 s left ± 0.4 s" */
void progress_text(const struct progress_view *v, bool bar, struct buf *out);

#endif
