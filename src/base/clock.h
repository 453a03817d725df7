/* SPDX-License-Identifier: Apache-2.0 */
/* clock - where time comes from.
 *
 * Nobody calls clock_gettime: the real clock is in io, the simulator and the tests bring a virtual
 * one. `now` is read once per turn of a loop and travels with the event. */
#ifndef TTG_BASE_CLOCK_H
#define TTG_BASE_CLOCK_H

#include "base/str.h"

#include <stdint.h>

struct clock {
    uint64_t (*mono_ns)(struct clock *c); /* never goes back */
    uint64_t (*wall_ms)(struct clock *c); /* since 1970, may jump */
};

struct clock_virtual {
    struct clock clock;
    uint64_t ns, wall_at_zero_ms;
};

static inline uint64_t clock_mono_ms(struct clock *c)
{
    return c->mono_ns(c) / 1000000;
}

/* A wall clock that never stands still: when the machine's is set back, or was ahead for a while,
 * this one goes on from where it was. Zeroed it begins with the machine's. */
struct clock_steady {
    uint64_t ms, mono_ms;
};

uint64_t clock_steady_ms(struct clock_steady *s, struct clock *c);

void clock_virtual_init(struct clock_virtual *v, uint64_t wall_ms);
void clock_virtual_advance_ms(struct clock_virtual *v, uint64_t ms);

/* "2026-02-09T10:00:12Z" at `out`, which has room for CLOCK_TEXT_BYTES. Years past 9999 are cut to
 * the last instant of 9999. */
enum { CLOCK_TEXT_BYTES = 32 };
void clock_text(char *out, uint64_t wall_ms);
/* The same with milliseconds: "2026-02-09T10:00:12.345Z". */
void clock_text_ms(char *out, uint64_t wall_ms);

/* The instant of a date of the years 1970 to 9999, in ms; month and day from 1. 0: no such date. */
uint64_t clock_of_date(unsigned year, unsigned month, unsigned day, unsigned hour, unsigned minute,
                       unsigned second);
/* The instant of "2026-02-09T10:00:12Z", in ms; 0: anything else. */
uint64_t clock_of_text(struct str text);

#endif
