/* SPDX-License-Identifier: Apache-2.0 */
/* static_range - which parameters are one worker's when nobody coordinates.
 *
 * Every worker computes all cuts by itself, so they agree without a word. The first workers get one
 * parameter more when the division leaves a rest: 10,000 over 3 are 0-3333, 3334-6666, 6667-9999.
 */
#ifndef TTG_WORKER_STATIC_RANGE_H
#define TTG_WORKER_STATIC_RANGE_H

#include <stdint.h>

struct static_range {
    uint64_t first, count; /* count 0: more workers than parameters, nothing to do */
};

/* The part of `worker`, one of 0 .. workers-1, of the parameters 0 .. params-1. */
struct static_range static_range(uint64_t params, uint64_t workers, uint64_t worker);

#endif
