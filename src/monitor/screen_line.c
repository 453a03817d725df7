/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/screen_line.h"

#include <stdio.h>

enum { PIECE_BYTES = 2048 };

static const char *const inks[] = {
    [INK_PLAIN] = "",         [INK_BOLD] = "\033[1m",   [INK_DIM] = "\033[2m",
    [INK_RED] = "\033[1;31m", [INK_GREEN] = "\033[32m", [INK_YELLOW] = "\033[33m",
    [INK_CYAN] = "\033[36m",  [INK_BAR] = "\033[7m",
};

static void begin(struct screen_line *l, enum screen_ink ink)
{
    if (l->color && ink != INK_PLAIN)
        buf_add_str(l->out, str_of(inks[ink]));
}

static void end(struct screen_line *l, enum screen_ink ink)
{
    if (l->color && ink != INK_PLAIN)
        buf_add_str(l->out, STR("\033[0m"));
}

/* One character, of one column. */
static bool put(struct screen_line *l, const char *bytes, size_t len)
{
    if (l->at >= l->width)
        return false;
    buf_add(l->out, bytes, len);
    l->at++;
    return true;
}

void line_put(struct screen_line *l, enum screen_ink ink, const char *format, ...)
{
    char piece[PIECE_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    struct str rest = str_make(piece, n < 0 ? 0 : n < PIECE_BYTES ? (size_t)n : PIECE_BYTES - 1);
    begin(l, ink);
    while (rest.len > 0) {
        size_t len = str_utf8_len(rest);
        len = len ? len : 1;
        if (!put(l, rest.ptr, len))
            break;
        rest = str_make(rest.ptr + len, rest.len - len);
    }
    end(l, ink);
}

/* Latin, Greek, Cyrillic and Armenian letters: one column each, written from left to right. */
static bool is_harmless(struct str s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    if (len == 1)
        return p[0] >= ' ' && p[0] < 0x7f;
    if (len != 2)
        return false;
    unsigned c = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    return (c >= 0xa1 && c < 0x300 && c != 0xad) || (c >= 0x386 && c < 0x483) ||
           (c >= 0x48a && c < 0x530);
}

void line_foreign(struct screen_line *l, enum screen_ink ink, struct str text, unsigned max)
{
    unsigned until = l->at + max;
    text = str_trim(text);
    begin(l, ink);
    while (text.len > 0 && l->at < until && l->at < l->width) {
        size_t len = str_utf8_len(text);
        bool good = len > 0 && is_harmless(text, len) && (len == 1 || l->utf8);
        bool blank = *text.ptr == '\n' || *text.ptr == '\t';
        bool last = l->at + 1 == until || l->at + 1 == l->width;
        len = len ? len : 1;
        if (last && text.len > len)
            put(l, "~", 1); /* cut */
        else
            put(l, good ? text.ptr : blank ? " " : "?", good ? len : 1);
        text = str_make(text.ptr + len, text.len - len);
    }
    end(l, ink);
}

void line_to(struct screen_line *l, unsigned column)
{
    while (l->at < column && put(l, " ", 1))
        ;
}

void line_right(struct screen_line *l, enum screen_ink ink, const char *text)
{
    unsigned len = (unsigned)strlen(text);
    if (l->at + len > l->width)
        return;
    line_to(l, l->width - len);
    line_put(l, ink, "%s", text);
}

void line_end(struct screen_line *l)
{
    buf_add_char(l->out, '\n');
    l->at = 0;
}

/* --- figures --- */

const char *span_text(char room[SPAN_BYTES], uint64_t ms)
{
    typedef unsigned long long number;
    uint64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(room, SPAN_BYTES, "%llu ms", (number)ms);
    else if (s < 100)
        snprintf(room, SPAN_BYTES, "%llu.%llu s", (number)s, (number)(ms % 1000 / 100));
    else if (s < 6000)
        snprintf(room, SPAN_BYTES, "%llum %02llus", (number)(s / 60), (number)(s % 60));
    else if (s < 172800)
        snprintf(room, SPAN_BYTES, "%lluh %02llum", (number)(s / 3600), (number)(s / 60 % 60));
    else
        snprintf(room, SPAN_BYTES, "%llud %lluh", (number)(s / 86400), (number)(s / 3600 % 24));
    return room;
}

static const char *large(char room[SPAN_BYTES], double n)
{
    static const char units[] = "MGTPE";
    size_t unit = 0;
    n /= 1e6;
    while (n >= 1000 && unit < sizeof units - 2) {
        n /= 1000;
        unit++;
    }
    snprintf(room, SPAN_BYTES, n < 100 ? "%.1f%c" : "%.0f%c", n, units[unit]);
    return room;
}

const char *count_text(char room[SPAN_BYTES], uint64_t n)
{
    if (n >= 10000000)
        return large(room, (double)n);
    if (n >= 1000000)
        snprintf(room, SPAN_BYTES, "%u,%03u,%03u", (unsigned)(n / 1000000),
                 (unsigned)(n / 1000 % 1000), (unsigned)(n % 1000));
    else if (n >= 1000)
        snprintf(room, SPAN_BYTES, "%u,%03u", (unsigned)(n / 1000), (unsigned)(n % 1000));
    else
        snprintf(room, SPAN_BYTES, "%u", (unsigned)n);
    return room;
}

const char *rate_text(char room[SPAN_BYTES], double rate)
{
    if (!(rate > 0))
        snprintf(room, SPAN_BYTES, "0");
    else if (rate >= 1e6)
        return large(room, rate < 1e24 ? rate : 1e24);
    else if (rate >= 1000)
        return count_text(room, (uint64_t)rate);
    else
        snprintf(room, SPAN_BYTES, rate >= 100 ? "%.0f" : rate >= 10 ? "%.1f" : "%.2f", rate);
    return room;
}

void line_spark(struct screen_line *l, enum screen_ink ink, const double *values, size_t count)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ascii[] = {" ", "_", ".", "-", "=", "+", "*", "#", "@"};
    double top = 0;
    for (size_t i = 0; i < count; i++)
        top = values[i] > top ? values[i] : top;
    begin(l, ink);
    for (size_t i = 0; i < count; i++) {
        double part = top > 0 && values[i] > 0 ? values[i] / top : 0;
        int level = part > 0 ? 1 + (int)(part * 7.999) : 0;
        level = level > 8 ? 8 : level;
        const char *c = l->utf8 ? blocks[level] : ascii[level];
        if (!put(l, c, strlen(c)))
            break;
    }
    end(l, ink);
}
