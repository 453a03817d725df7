/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "base/list.h"

#include <stdio.h>

static uint64_t virtual_mono_ns(struct clock *c)
{
    return container_of(c, struct clock_virtual, clock)->ns;
}

static uint64_t virtual_wall_ms(struct clock *c)
{
    struct clock_virtual *v = container_of(c, struct clock_virtual, clock);
    return v->wall_at_zero_ms + v->ns / 1000000;
}

uint64_t clock_steady_ms(struct clock_steady *s, struct clock *c)
{
    uint64_t mono_ms = clock_mono_ms(c), wall_ms = c->wall_ms(c);
    if (s->ms > 0)
        s->ms += mono_ms - s->mono_ms;
    s->mono_ms = mono_ms;
    if (s->ms < wall_ms)
        s->ms = wall_ms;
    return s->ms;
}

void clock_virtual_init(struct clock_virtual *v, uint64_t wall_ms)
{
    *v = (struct clock_virtual){{virtual_mono_ns, virtual_wall_ms}, 0, wall_ms};
}

void clock_virtual_advance_ms(struct clock_virtual *v, uint64_t ms)
{
    v->ns += ms * 1000000;
}

static const uint64_t CLOCK_LAST_S = 253402300799u; /* 9999-12-31T23:59:59Z */

struct civil {
    unsigned year, month, day, hour, minute, second;
};

/* Days to a civil date by the era method: no tables, no locale, no lock as in gmtime. */
static struct civil civil_from_s(uint64_t s)
{
    if (s > CLOCK_LAST_S)
        s = CLOCK_LAST_S;
    uint64_t days = s / 86400 + 719468, era = days / 146097, doe = days % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    struct civil c;
    c.day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    c.month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    c.year = (unsigned)(yoe + era * 400 + (c.month <= 2));
    c.hour = (unsigned)(s % 86400 / 3600);
    c.minute = (unsigned)(s % 3600 / 60);
    c.second = (unsigned)(s % 60);
    return c;
}

void clock_text(char *out, uint64_t wall_ms)
{
    struct civil c = civil_from_s(wall_ms / 1000);
    snprintf(out, CLOCK_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02uZ", c.year % 10000u,
             c.month % 100u, c.day % 100u, c.hour % 100u, c.minute % 100u, c.second % 100u);
}

void clock_text_ms(char *out, uint64_t wall_ms)
{
    struct civil c = civil_from_s(wall_ms / 1000);
    snprintf(out, CLOCK_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", c.year % 10000u,
             c.month % 100u, c.day % 100u, c.hour % 100u, c.minute % 100u, c.second % 100u,
             wall_ms / 1000 > CLOCK_LAST_S ? 999 : (unsigned)(wall_ms % 1000));
}

uint64_t clock_of_date(unsigned year, unsigned month, unsigned day, unsigned hour, unsigned minute,
                       unsigned second)
{
    if (year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
        minute > 59 || second > 60)
        return 0;
    uint64_t y = month > 2 ? year : year - 1, era = y / 400, yoe = y % 400;
    uint64_t doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    uint64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

uint64_t clock_of_text(struct str text)
{
    char line[CLOCK_TEXT_BYTES];
    unsigned year, month, day, hour, minute, second;
    int end = 0;
    snprintf(line, sizeof line, "%.*s", STR_ARG(text));
    return sscanf(line, "%4u-%2u-%2uT%2u:%2u:%2uZ%n", &year, &month, &day, &hour, &minute, &second,
                  &end) == 6 &&
                   end > 0 && line[end] == '\0'
               ? clock_of_date(year, month, day, hour, minute, second)
               : 0;
}
