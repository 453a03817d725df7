/* SPDX-License-Identifier: Apache-2.0 */
/* screen_state - what the files of the screen share: screen.c (the whole, and its text),
 * screen_map.c (the chunks), screen_workers.c (their table). */
#ifndef TTG_MONITOR_SCREEN_STATE_H
#define TTG_MONITOR_SCREEN_STATE_H

#include "monitor/screen.h"
#include "monitor/screen_line.h"

typedef unsigned long long number; /* for printf */

enum { SCREEN_NAME_COLUMNS = 24, SCREEN_LANE_MS = 30000, SCREEN_MAP_ROWS = 3 };

struct screen {
    const struct screen_view *v;
    const struct model *m;
    struct screen_line line;
    unsigned width, height, used;
};

static inline bool screen_fits(const struct screen *s, unsigned rows)
{
    return s->used + rows <= s->height;
}

/* Ends the line. */
static inline void screen_next(struct screen *s)
{
    line_end(&s->line);
    s->used++;
}

void screen_map(struct screen *s, unsigned rows);
void screen_workers(struct screen *s, unsigned rows);

#endif
