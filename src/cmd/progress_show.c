/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/progress_show.h"

#include "cmd/options.h"
#include "cmd/terminal.h"
#include "io/stdio.h"

#include <stdlib.h>

typedef unsigned long long number; /* for printf */

void progress_show_init(struct progress_show *s, const struct command_run *r)
{
    enum option_auto asked = option_tri(r->options, OPT_PROGRESS);
    const char *term = getenv("TERM");
    bool terminal = stdio_is_terminal(STDIO_ERR) && !(term && str_eq(str_of(term), STR("dumb")));
    *s = (struct progress_show){0};
    progress_init(&s->progress);
    s->on = asked == OPTION_YES || (asked == OPTION_UNDECIDED && terminal);
    s->bar = terminal;
}

static void add_trouble(const struct ledger_status *s, struct buf *out)
{
    buf_printf(out, "  %llu worker%s", (number)s->workers, s->workers == 1 ? "" : "s");
    if (s->failures > 0)
        buf_printf(out, "  %llu failed", (number)s->failures);
    if (s->workers_lost > 0)
        buf_printf(out, "  %llu lost", (number)s->workers_lost);
    if (s->dead + s->dropped > 0)
        buf_printf(out, "  %llu given up", (number)s->dead + s->dropped);
    if (s->state == LEDGER_PAUSED)
        buf_add_str(out, STR("  paused"));
}

/* The bytes of a text that are its first `width` characters. */
static size_t cut(struct str text, size_t width)
{
    size_t n = 0;
    for (; n < text.len && width > 0; width--) {
        size_t len = str_utf8_len(str_make(text.ptr + n, text.len - n));
        n += len > 0 ? len : 1;
    }
    return n;
}

void progress_show_bar(const struct progress_view *v, struct str before, struct str behind)
{
    struct buf text, out;
    unsigned width, height;
    terminal_size(&width, &height);
    buf_init(&text, 1024);
    buf_init(&out, 1024);
    for (int bar = 1; bar >= 0; bar--) {
        buf_clear(&text);
        buf_add_str(&text, before);
        progress_text(v, bar, &text);
        buf_add_str(&text, behind);
        if (cut(buf_str(&text), width - 1) == buf_len(&text))
            break;
    }
    buf_add_str(&out, STR("\r\033[K"));
    buf_add(&out, buf_ptr(&text), cut(buf_str(&text), width - 1));
    buf_add_char(&out, '\r');
    stdio_complain(buf_str(&out));
    buf_done(&text);
    buf_done(&out);
}

static void draw(struct progress_show *s, const struct progress_view *v,
                 const struct ledger_status *status)
{
    struct buf trouble;
    buf_init(&trouble, 1024);
    add_trouble(status, &trouble);
    progress_show_bar(v, STR(""), buf_str(&trouble));
    buf_done(&trouble);
    s->drawn = true;
}

static void print(struct progress_show *s, const struct progress_view *v,
                  const struct ledger_status *status, uint64_t now_ms)
{
    struct buf out;
    bool first = s->line_ms == 0, end = v->done >= v->total && s->line_permille < 1000;
    if (!first && !end && now_ms - s->line_ms < PROGRESS_LINES_MS &&
        v->permille < s->line_permille + PROGRESS_LINES_STEP)
        return;
    if (!first && v->permille == 1000 && s->line_permille == 1000)
        return;
    s->line_ms = now_ms;
    s->line_permille = v->permille;
    buf_init(&out, 1024);
    buf_add_str(&out, STR("ttg: "));
    progress_text(v, false, &out);
    add_trouble(status, &out);
    buf_add_char(&out, '\n');
    stdio_complain(buf_str(&out));
    buf_done(&out);
}

void progress_show_status(struct progress_show *s, const struct queue_status *status,
                          uint64_t now_ms)
{
    const struct ledger_status *l = &status->status;
    struct progress_view v;
    if (!s->on)
        return;
    progress_add(&s->progress, now_ms, l->completed + l->dead + l->dropped, l->chunks);
    progress_view(&s->progress, &v);
    if (s->bar)
        draw(s, &v, l);
    else
        print(s, &v, l, now_ms);
}

void progress_show_clear(struct progress_show *s)
{
    if (s->drawn)
        stdio_complain(STR("\r\033[K"));
    s->drawn = false;
}
