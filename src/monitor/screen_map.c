/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/screen_state.h"

/* All chunks in order, a character for one or more of them. */
struct map_column {
    double done, leased, waiting, dead, all;
};

static void spread(struct map_column *columns, size_t count, double chunks, double from, double to,
                   const struct queue_cell *cell)
{
    double of = to - from;
    size_t first = (size_t)(from / chunks * (double)count), from_column = first > 0 ? first - 1 : 0;
    for (size_t c = from_column; c < count && of > 0; c++) {
        double left = (double)c * chunks / (double)count, right = left + chunks / (double)count;
        double lo = from > left ? from : left, hi = to < right ? to : right;
        if (hi <= lo && c > first)
            break;
        if (hi <= lo) /* rounding: it begins in the next one */
            continue;
        double part = (hi - lo) / of;
        columns[c].done += part * (double)cell->done;
        columns[c].leased += part * (double)cell->leased;
        columns[c].waiting += part * (double)(cell->ready + cell->delayed);
        columns[c].dead += part * (double)cell->dead;
    }
}

static void fill_columns(const struct model *m, struct map_column *columns, size_t count)
{
    double chunks = (double)m->status.chunks, at = 0;
    for (size_t c = 0; c < count; c++)
        columns[c] = (struct map_column){.all = chunks / (double)count};
    for (size_t i = 0; i < m->cell_count; i++)
        for (uint64_t k = 0; k < m->cells[i].repeat && at < chunks; k++) {
            double to = at + (double)m->per_cell;
            spread(columns, count, chunks, at, to < chunks ? to : chunks, &m->cells[i]);
            at = to;
        }
}

static void put_column(struct screen_line *l, const struct map_column *c)
{
    bool u = l->utf8;
    if (c->dead > 0)
        line_put(l, INK_RED, "x");
    else if (c->waiting > 0)
        line_put(l, INK_YELLOW, "!");
    else if (c->leased > 0)
        line_put(l, INK_CYAN, "%s", u ? "▒" : "o");
    else if (c->done >= c->all * 0.999)
        line_put(l, INK_GREEN, "%s", u ? "█" : "#");
    else if (c->done > 0)
        line_put(l, INK_GREEN, "%s", u ? "▄" : "+");
    else
        line_put(l, INK_DIM, "%s", u ? "·" : ".");
}

void screen_map(struct screen *s, unsigned rows)
{
    struct map_column columns[SCREEN_WIDTH_MAX * SCREEN_MAP_ROWS];
    struct screen_line *l = &s->line;
    unsigned width = s->width > 6 ? s->width - 6 : 1;
    size_t count = (size_t)width * rows;
    if (rows == 0 || s->m->cell_count == 0 || s->m->status.chunks == 0)
        return;
    if (count > s->m->status.chunks)
        count = s->m->status.chunks;
    fill_columns(s->m, columns, count);
    for (size_t c = 0; c < count; c++) {
        if (c % width == 0)
            line_put(l, INK_DIM, c == 0 ? "map   " : "      ");
        put_column(l, &columns[c]);
        if (c + 1 == count || (c + 1) % width == 0)
            screen_next(s);
    }
}
