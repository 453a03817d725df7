/* SPDX-License-Identifier: Apache-2.0 */
/* screen_line - a line that knows its columns: what does not fit is cut. */
#ifndef TTG_MONITOR_SCREEN_LINE_H
#define TTG_MONITOR_SCREEN_LINE_H

#include "base/buf.h"

#include <stdbool.h>

enum screen_ink {
    INK_PLAIN,
    INK_BOLD,
    INK_DIM,
    INK_RED,
    INK_GREEN,
    INK_YELLOW,
    INK_CYAN,
    INK_BAR, /* reversed */
};

struct screen_line {
    struct buf *out;
    unsigned width, at; /* columns: in all, used */
    bool color, utf8;
};

/* Text of ours: ASCII, or UTF-8 of single columns where `utf8` holds. */
void line_put(struct screen_line *l, enum screen_ink ink, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Text of others, at most `max` columns. What is not printable, not of one column or turns the
 * direction of writing becomes '?'. */
void line_foreign(struct screen_line *l, enum screen_ink ink, struct str text, unsigned max);
/* Blanks up to that column. */
void line_to(struct screen_line *l, unsigned column);
/* `text` so that it ends at the right edge, if there is room. */
void line_right(struct screen_line *l, enum screen_ink ink, const char *text);
void line_end(struct screen_line *l);
static inline unsigned line_room(const struct screen_line *l)
{
    return l->width > l->at ? l->width - l->at : 0;
}

/* "12 ms", "3.4 s", "5m 12s", "3h 07m", "12d 4h". */
enum { SPAN_BYTES = 24 };
const char *span_text(char room[SPAN_BYTES], uint64_t ms);
/* "9", "1,234", "12.3M". */
const char *count_text(char room[SPAN_BYTES], uint64_t n);
/* "0.31", "12.5", "1,234", "12.3M". */
const char *rate_text(char room[SPAN_BYTES], double rate);

/* Columns of a graph of `values`, scaled to the largest. */
void line_spark(struct screen_line *l, enum screen_ink ink, const double *values, size_t count);

#endif
