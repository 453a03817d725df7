/* SPDX-License-Identifier: Apache-2.0 */
/* progress_show - a job's progress on standard error: a bar that stays in its line on a terminal,
 * now and then a line elsewhere. */
#ifndef TTG_CMD_PROGRESS_SHOW_H
#define TTG_CMD_PROGRESS_SHOW_H

#include "cmd/command.h"
#include "job/progress.h"
#include "queue/queue.h"

enum {
    PROGRESS_BAR_MS = 200,     /* between looks, with a bar */
    PROGRESS_LINES_MS = 10000, /* between lines, unless */
    PROGRESS_LINES_STEP = 100, /* so many thousandths were done meanwhile */
};

struct progress_show {
    struct progress progress;
    bool on, bar, drawn;
    uint64_t line_ms;
    unsigned line_permille;
};

/* From --progress: by itself on a terminal. */
void progress_show_init(struct progress_show *s, const struct command_run *r);
void progress_show_status(struct progress_show *s, const struct queue_status *status,
                          uint64_t now_ms);
/* Draws a bar with something before and behind it. The cursor goes back to the front, so that a
 * line of somebody else covers it. A second line would stay: a narrow terminal gets no bar, a very
 * narrow one the front of the text. */
void progress_show_bar(const struct progress_view *v, struct str before, struct str behind);
/* Takes the bar away, so that something else can be said. */
void progress_show_clear(struct progress_show *s);

#endif
