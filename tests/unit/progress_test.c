/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "job/progress.h"

#include <math.h>

static const char *text_of(const struct progress *p, struct buf *out)
{
    struct progress_view v;
    progress_view(p, &v);
    buf_clear(out);
    progress_text(&v, false, out);
    return buf_cstr(out);
}

/* Nothing is claimed at 0, and 100 % only at the end. */
static void is_honest(void **state)
{
    (void)state;
    struct progress p;
    struct progress_view v;
    struct buf out;
    buf_init(&out, 1024);
    progress_init(&p);
    progress_view(&p, &v);
    assert_false(v.has_rate);
    progress_add(&p, 0, 0, 1000000);
    assert_string_equal(text_of(&p, &out), "0.0 %  0/1000000 chunks  time left unknown");
    progress_add(&p, 5000, 0, 1000000);
    assert_string_equal(text_of(&p, &out), "0.0 %  0/1000000 chunks  time left unknown");
    progress_add(&p, 6000, 999999, 1000000);
    progress_view(&p, &v);
    assert_int_equal(v.permille, 999);
    progress_add(&p, 7000, 1000000, 1000000);
    assert_string_equal(text_of(&p, &out), "100.0 %  1000000/1000000 chunks");
    progress_init(&p);
    progress_add(&p, 0, 0, 0);
    assert_string_equal(text_of(&p, &out), "100.0 %  0/0 chunks");
    buf_done(&out);
}

static void a_steady_job(void **state)
{
    (void)state;
    struct progress p;
    struct progress_view v;
    struct buf out;
    buf_init(&out, 1024);
    progress_init(&p);
    for (uint64_t s = 0; s <= 100; s++)
        progress_add(&p, 1000 + s * 1000, s * 5, 1000);
    progress_view(&p, &v);
    assert_true(v.has_rate && v.has_spread);
    assert_true(fabs(v.rate - 5) < 1e-9);
    assert_true(fabs(v.eta_s - 100) < 1e-9);
    assert_true(v.spread_s < 1e-9);
    assert_string_equal(text_of(&p, &out), "50.0 %  500/1000 chunks  5.0/s  2 min left ± 0.0 s");
    buf_clear(&out);
    progress_text(&v, true, &out);
    assert_true(str_starts(buf_str(&out), STR("[############............] 50.0 %")));
    buf_done(&out);
}

/* The spread covers what really comes, and an unsteady job has a greater one. */
static void the_spread_grows_with_the_noise(void **state)
{
    (void)state;
    double before = 0;
    for (uint64_t noise = 0; noise <= 8; noise += 4) {
        struct progress p;
        struct progress_view v;
        uint64_t done = 0;
        progress_init(&p);
        for (uint64_t s = 0; s < 30; s++) {
            progress_add(&p, s * 1000, done, 1000);
            done += 10 + (s % 2 ? noise : 0) - (s % 2 ? 0 : noise);
        }
        progress_view(&p, &v);
        assert_true(v.spread_s >= before);
        assert_true(noise == 0 || v.spread_s > before);
        before = v.spread_s;
    }
}

/* Looks come more often than points are kept; a rate of long ago is forgotten. */
static void remembers_a_while(void **state)
{
    (void)state;
    struct progress p;
    struct progress_view v;
    progress_init(&p);
    for (uint64_t i = 0; i < 1000; i++)
        progress_add(&p, i * 200, i * 100, 1000000);
    progress_view(&p, &v);
    assert_true(fabs(v.rate - 500) < 1);
    for (uint64_t i = 0; i < 1000; i++)
        progress_add(&p, 200000 + i * 200, 100000 + i, 1000000);
    progress_view(&p, &v);
    assert_true(fabs(v.rate - 5) < 0.1);
}

/* Dead letters that are tried again make it less; a clock may stand still. */
static void goes_back(void **state)
{
    (void)state;
    struct progress p;
    struct progress_view v;
    progress_init(&p);
    progress_add(&p, 0, 0, 10);
    progress_add(&p, 1000, 10, 10);
    progress_add(&p, 2000, 5, 10);
    progress_view(&p, &v);
    assert_int_equal(v.permille, 500);
    assert_false(v.has_rate);
    progress_add(&p, 2000, 6, 10);
    progress_add(&p, 1500, 7, 10);
    progress_view(&p, &v);
    assert_int_equal(v.done, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_honest),
        cmocka_unit_test(a_steady_job),
        cmocka_unit_test(the_spread_grows_with_the_noise),
        cmocka_unit_test(remembers_a_while),
        cmocka_unit_test(goes_back),
    };
    return tap_run(tests);
}
