/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/clock.h"

#include <time.h>

static void writes_dates(void **state)
{
    (void)state;
    static const struct {
        uint64_t ms;
        const char *text, *text_ms;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"},
        {951782400000, "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z"},
        {951868799999, "2000-02-29T23:59:59Z", "2000-02-29T23:59:59.999Z"},
        {951868800000, "2000-03-01T00:00:00Z", "2000-03-01T00:00:00.000Z"},
        {1709164800001, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00.001Z"},
        {1767225599000, "2025-12-31T23:59:59Z", "2025-12-31T23:59:59.000Z"},
        {4107542400000, "2100-03-01T00:00:00Z", "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"},
        {UINT64_MAX, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[CLOCK_TEXT_BYTES];
        clock_text(text, cases[i].ms);
        assert_string_equal(text, cases[i].text);
        clock_text_ms(text, cases[i].ms);
        assert_string_equal(text, cases[i].text_ms);
    }
}

/* Every day of 1970 to 2500, at a time that differs from day to day. */
static void agrees_with_the_c_library(void **state)
{
    (void)state;
    for (uint64_t day = 0; day < 365u * 530; day++) {
        time_t s = (time_t)(day * 86400 + day * 7919 % 86400);
        struct tm tm;
        char ours[CLOCK_TEXT_BYTES], theirs[CLOCK_TEXT_BYTES];
        gmtime_r(&s, &tm);
        strftime(theirs, sizeof theirs, "%Y-%m-%dT%H:%M:%SZ", &tm);
        clock_text(ours, (uint64_t)s * 1000);
        assert_string_equal(ours, theirs);
    }
}

static void reads_what_it_writes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "x",
        "2026-02-09",
        "2026-02-09T10:00:12",
        "2026-02-09T10:00:12.5Z",
        "2026-02-09T10:00:12+01:00",
        "2026-02-09T10:00:12Z ",
        "2026-13-09T10:00:12Z",
        "2026-02-09T25:00:12Z",
        "1969-12-31T23:59:59Z",
        "2026-02-09T10:00:12Z2026-02-09T10:00:12Z",
    };
    for (uint64_t day = 0; day < 365u * 530; day++) {
        char text[CLOCK_TEXT_BYTES];
        uint64_t ms = (day * 86400 + day * 7919 % 86400) * 1000;
        clock_text(text, ms);
        assert_int_equal(clock_of_text(str_of(text)), ms);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(clock_of_text(str_of(bad[i])), 0);
}

static void virtual_time_moves_when_told(void **state)
{
    (void)state;
    struct clock_virtual v;
    clock_virtual_init(&v, 1000);
    assert_int_equal(clock_mono_ms(&v.clock), 0);
    assert_int_equal(v.clock.wall_ms(&v.clock), 1000);
    clock_virtual_advance_ms(&v, 2500);
    assert_int_equal(clock_mono_ms(&v.clock), 2500);
    assert_int_equal(v.clock.mono_ns(&v.clock), 2500000000);
    assert_int_equal(v.clock.wall_ms(&v.clock), 3500);
}

static void steady_time_goes_on_when_the_clock_is_set(void **state)
{
    (void)state;
    struct clock_steady s = {0};
    struct clock_virtual v;
    clock_virtual_init(&v, 1000000);
    clock_virtual_advance_ms(&v, 500);
    assert_int_equal(clock_steady_ms(&s, &v.clock), 1000500);
    v.wall_at_zero_ms -= 900000; /* set back */
    clock_virtual_advance_ms(&v, 7);
    assert_int_equal(clock_steady_ms(&s, &v.clock), 1000507);
    assert_int_equal(clock_steady_ms(&s, &v.clock), 1000507);
    v.wall_at_zero_ms += 900000; /* and right again: both agree */
    clock_virtual_advance_ms(&v, 3);
    assert_int_equal(clock_steady_ms(&s, &v.clock), 1000510);
    v.wall_at_zero_ms += 5000; /* set forward: it follows */
    assert_int_equal(clock_steady_ms(&s, &v.clock), 1005510);
    v.wall_at_zero_ms -= 5000;
    clock_virtual_advance_ms(&v, 10);
    assert_int_equal(clock_steady_ms(&s, &v.clock), 1005520);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_dates),
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(virtual_time_moves_when_told),
        cmocka_unit_test(steady_time_goes_on_when_the_clock_is_set),
    };
    return tap_run(tests);
}
