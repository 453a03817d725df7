/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "wire/job_metrics.h"

static void durations_fall_into_buckets(void **state)
{
    (void)state;
    struct histogram h = {0};
    struct buf out;
    histogram_add(&h, 0);
    histogram_add(&h, 100);
    histogram_add(&h, 101);
    histogram_add(&h, 3600000000u);
    histogram_add(&h, 3600000001u);
    buf_init(&out, 1 << 16);
    metric_histogram(&out, "x_seconds", "a=\"b\"", &h);
    const char *text = buf_cstr(&out);
    assert_non_null(strstr(text, "x_seconds_bucket{a=\"b\",le=\"0.0001\"} 2\n"));
    assert_non_null(strstr(text, "x_seconds_bucket{a=\"b\",le=\"0.00025\"} 3\n"));
    assert_non_null(strstr(text, "x_seconds_bucket{a=\"b\",le=\"600\"} 3\n"));
    assert_non_null(strstr(text, "x_seconds_bucket{a=\"b\",le=\"3600\"} 4\n"));
    assert_non_null(strstr(text, "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 5\n"));
    assert_non_null(strstr(text, "x_seconds_sum{a=\"b\"} 7200.000202\n"));
    assert_non_null(strstr(text, "x_seconds_count{a=\"b\"} 5\n"));
    buf_done(&out);
}

/* A queue of others may call its jobs as it likes. */
static void names_of_strangers_stay_one_label(void **state)
{
    (void)state;
    struct job_metrics jobs[] = {{.job = STR("a\"} 1\nevil 2")}, {.job = STR("fine")}};
    struct buf out;
    buf_init(&out, 1 << 16);
    job_metrics_write(&out, jobs, 2);
    assert_null(strstr(buf_cstr(&out), "evil"));
    assert_non_null(strstr(buf_cstr(&out), "ttg_job_workers{job_name=\"a\"} 0\n"));
    assert_non_null(strstr(buf_cstr(&out), "ttg_job_chunks{job_name=\"fine\",state=\"done\"} 0\n"));
    buf_clear(&out);
    job_metrics_write(&out, jobs, 0);
    assert_int_equal(buf_len(&out), 0);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_fall_into_buckets),
        cmocka_unit_test(names_of_strangers_stay_one_label),
    };
    return tap_run(tests);
}
