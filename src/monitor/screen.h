/* SPDX-License-Identifier: Apache-2.0 */
/* screen - a job on a terminal: a view and a size become lines of text.
 *
 * Pure: no terminal is touched here. What a queue tells (names, reasons) may hold any bytes; only
 * harmless characters of one column come out, so that a line is as wide as we think and nobody
 * steers the terminal. With few rows or columns the less important goes first. */
#ifndef TTG_MONITOR_SCREEN_H
#define TTG_MONITOR_SCREEN_H

#include "monitor/model.h"

enum { SCREEN_WIDTH_MAX = 500, SCREEN_HEIGHT_MAX = 400, SCREEN_BYTES_MAX = 1 << 22 };

struct screen_view {
    const struct model *model;
    const char *place;    /* the queue's address, for people */
    const char *message;  /* what became of an action; NULL or "": nothing */
    const char *question; /* waits for y or n; NULL: none */
    bool color, utf8;
    bool keys;               /* somebody can press keys: say which */
    bool help;               /* show them all */
    size_t scroll;           /* workers to leave out at the top */
    uint64_t since_round_ms; /* age of what is shown */
};

/* Adds at most `height` lines of at most `width` columns, each with a newline. TTG_EFULL,
 * TTG_ENOMEM. */
int screen_render(const struct screen_view *v, unsigned width, unsigned height, struct buf *out);

#endif
