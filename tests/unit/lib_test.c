/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "lib/sized.h"

#include <string.h>
#include <ttg/ttg.h>

static const char url[] = "ttg+unix:/nowhere/ttg.sock";

static int run(void *state, struct ttg_call *call)
{
    (void)state;
    (void)call;
    return TTG_DONE;
}

static void without_a_handle_the_answer_is_einval(void **state)
{
    (void)state;
    struct ttg_status status = {.size = sizeof status};
    struct ttg_dead dead = {.size = sizeof dead};
    struct ttg_totals totals = {.size = sizeof totals};
    const struct ttg_result *result;
    ttg_results *results;
    ttg_worker *worker;
    const int codes[] = {
        ttg_queue_open(NULL, url, NULL),
        ttg_job_submit(NULL, "x", NULL),
        ttg_job_status(NULL, "x", &status),
        ttg_job_wait(NULL, "x", 1, &status),
        ttg_job_pause(NULL, "x"),
        ttg_job_resume(NULL, "x"),
        ttg_job_cancel(NULL, "x"),
        ttg_job_forget(NULL, "x"),
        ttg_job_dead_next(NULL, "x", TTG_ALL, &dead),
        ttg_job_redrive(NULL, "x", TTG_ALL),
        ttg_results_open(&results, NULL, "x", NULL),
        ttg_results_next(NULL, &result),
        ttg_results_forget(NULL),
        ttg_worker_open(&worker, NULL, "x", NULL),
        ttg_worker_run(NULL),
        ttg_worker_totals(NULL, &totals),
    };
    for (size_t i = 0; i < COUNT(codes); i++)
        assert_int_equal(codes[i], TTG_EINVAL);
    assert_null(results);
    assert_null(worker);
    ttg_queue_close(NULL);
    ttg_results_close(NULL);
    ttg_worker_close(NULL);
    ttg_worker_stop(NULL);
    assert_int_equal(ttg_results_cursor(NULL), 0);
    assert_string_equal(ttg_queue_message(NULL), "no queue");
    assert_string_equal(ttg_results_message(NULL), "no results");
    assert_string_equal(ttg_worker_message(NULL), "no worker");
}

static void wrong_addresses_are_explained_and_leave_a_handle(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int code;
        const char *says;
    } cases[] = {
        {NULL, TTG_EINVAL, "no address"},
        {"nonsense", TTG_EUSAGE, "queue"},
        {"ftp://x", TTG_EUSAGE, "ftp"},
        {"ttg://:secret@host:99999", TTG_EUSAGE, "port"},
        {"embedded:/tmp/x", TTG_EUNSUPPORTED, "ttg node"},
        {"amqp://:secret@h:99999", TTG_EUSAGE, "port"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ttg_status status = {.size = sizeof status};
        ttg_queue *q;
        ttg_results *r;
        ttg_worker *w;
        assert_int_equal(ttg_queue_open(&q, cases[i].url, NULL), cases[i].code);
        assert_non_null(strstr(ttg_queue_message(q), cases[i].says));
        assert_null(strstr(ttg_queue_message(q), "secret"));
        assert_int_equal(ttg_job_status(q, "x", &status), TTG_EINVAL);
        assert_int_equal(ttg_results_open(&r, q, "x", NULL), TTG_EINVAL);
        assert_string_equal(ttg_results_message(r), "the queue was not opened");
        ttg_results_close(r);
        assert_int_equal(ttg_worker_open(&w, q, "x", NULL), TTG_EINVAL);
        assert_string_equal(ttg_worker_message(w), "the queue was not opened");
        assert_int_equal(ttg_worker_run(w), TTG_EINVAL);
        ttg_worker_stop(w);
        ttg_worker_close(w);
        ttg_queue_close(q);
    }
}

static void wrong_arguments_are_explained(void **state)
{
    (void)state;
    struct ttg_job_options jobs[] = {
        {.size = 0, .params = 1},
        {.size = sizeof *jobs, .params = UINT64_MAX},
        {.size = sizeof *jobs, .first = INT64_MAX, .params = 2},
        {.size = sizeof *jobs, .params = 1, .window = UINT32_MAX},
        {.size = sizeof *jobs, .params = 1, .input_file = "/etc/hostname"},
    };
    struct ttg_worker_options workers[] = {
        {.size = sizeof *workers},
        {.size = sizeof *workers, .run = run, .slots = 1025},
        {.size = sizeof *workers, .run = run, .name = ""},
        {.size = 4, .run = run},
    };
    ttg_queue *q;
    assert_int_equal(ttg_queue_open(&q, url, NULL), 0);
    assert_string_equal(ttg_queue_message(q), "");
    assert_int_equal(ttg_job_submit(q, "x", NULL), TTG_EINVAL);
    assert_int_equal(ttg_job_submit(q, "a b", &jobs[1]), TTG_EINVAL);
    assert_int_equal(ttg_job_status(q, "x", NULL), TTG_EINVAL);
    assert_int_equal(ttg_job_dead_next(q, "x", 0, NULL), TTG_EINVAL);
    for (size_t i = 0; i < COUNT(jobs); i++) {
        assert_int_equal(ttg_job_submit(q, "x", &jobs[i]), TTG_EINVAL);
        assert_true(ttg_queue_message(q)[0] != '\0');
    }
    for (size_t i = 0; i < COUNT(workers); i++) {
        ttg_worker *w;
        assert_int_equal(ttg_worker_open(&w, q, NULL, &workers[i]), TTG_EINVAL);
        assert_true(ttg_worker_message(w)[0] != '\0');
        ttg_worker_close(w);
    }
    ttg_queue_close(q);
}

static void nobody_there_is_found_out_in_time(void **state)
{
    (void)state;
    struct ttg_queue_options options = {.size = sizeof options, .retry_ms = 20};
    struct ttg_worker_options work = {.size = sizeof work, .run = run};
    struct ttg_status status = {.size = sizeof status};
    const struct ttg_result *result;
    ttg_results *r;
    ttg_worker *w;
    ttg_queue *q;
    assert_int_equal(ttg_queue_open(&q, url, &options), 0);
    for (int again = 0; again < 2; again++)
        assert_int_equal(ttg_job_status(q, "x", &status), TTG_EUNREACH);
    assert_non_null(strstr(ttg_queue_message(q), "/nowhere/ttg.sock"));
    assert_int_equal(ttg_results_open(&r, q, "x", NULL), 0);
    assert_int_equal(ttg_results_next(r, NULL), TTG_EINVAL);
    assert_int_equal(ttg_results_next(r, &result), TTG_EUNREACH);
    assert_int_equal(ttg_worker_open(&w, q, "x", &work), 0);
    ttg_queue_close(q); /* the others do not need it */
    assert_int_equal(ttg_worker_run(w), TTG_EUNREACH);
    assert_int_equal(ttg_worker_run(w), TTG_EINVAL);
    ttg_worker_close(w);
    assert_int_equal(ttg_results_next(r, &result), TTG_EUNREACH);
    ttg_results_close(r);
}

static void a_worker_may_be_stopped_before_it_runs(void **state)
{
    (void)state;
    struct ttg_worker_options work = {.size = sizeof work, .run = run};
    ttg_worker *w;
    ttg_queue *q;
    assert_int_equal(ttg_queue_open(&q, url, NULL), 0);
    assert_int_equal(ttg_worker_open(&w, q, "x", &work), 0);
    ttg_worker_stop(w);
    assert_int_equal(ttg_worker_run(w), TTG_ECANCELED);
    ttg_worker_close(w);
    ttg_queue_close(q);
}

/* Each allocation fails once: no leak, no crash, and what can be said is said. */
static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    struct ttg_queue_options options = {
        .size = sizeof options, .retry_ms = 1, .client_name = "x", .tls_ca_file = "y"};
    struct ttg_worker_options work = {.size = sizeof work, .run = run};
    struct ttg_status status = {.size = sizeof status};
    const struct ttg_result *result;
    for (size_t n = 1;; n++) {
        ttg_queue *q = NULL;
        ttg_results *r = NULL;
        ttg_worker *w = NULL;
        mem_fail_at(n);
        int rc = ttg_queue_open(&q, url, &options);
        if (!rc)
            rc = ttg_results_open(&r, q, "x", NULL);
        if (!rc)
            rc = ttg_worker_open(&w, q, "x", &work);
        if (!rc)
            rc = ttg_job_status(q, "x", &status);
        if (rc == TTG_EUNREACH)
            rc = ttg_results_next(r, &result);
        if (rc == TTG_EUNREACH)
            rc = ttg_worker_run(w);
        bool failed = mem_failed();
        mem_fail_at(0);
        ttg_worker_close(w);
        ttg_results_close(r);
        ttg_queue_close(q);
        assert_true(rc == TTG_ENOMEM || rc == TTG_EUNREACH);
        if (!failed)
            break;
        assert_true(n < 1000);
    }
}

static void sizes_bridge_versions(void **state)
{
    (void)state;
    struct older {
        size_t size;
        int a;
    } older = {sizeof older, 1};
    struct ours {
        size_t size;
        int a, unused;
        uint64_t b;
    } ours, theirs = {sizeof theirs, 1, 2, 3};
    struct newer {
        size_t size;
        int a, unused;
        uint64_t b, c;
    } newer = {sizeof newer, 1, 2, 3, 4};
    struct err err;
    assert_int_equal(sized_in(&ours, sizeof ours, &older, &err), 0);
    assert_true(ours.a == 1 && ours.b == 0);
    assert_int_equal(sized_in(&ours, sizeof ours, NULL, &err), 0);
    assert_true(ours.a == 0 && ours.b == 0);
    assert_int_equal(sized_in(&ours, sizeof ours, &newer, &err), TTG_EVERSION);
    newer.c = 0;
    assert_int_equal(sized_in(&ours, sizeof ours, &newer, &err), 0);
    assert_true(ours.a == 1 && ours.b == 3);
    newer.size = (size_t)-1;
    assert_int_equal(sized_in(&ours, sizeof ours, &newer, &err), TTG_EINVAL);
    newer = (struct newer){.size = sizeof newer, .c = 9};
    assert_int_equal(sized_out(&newer, &theirs, sizeof theirs, &err), 0);
    assert_true(newer.size == sizeof newer && newer.a == 1 && newer.b == 3 && newer.c == 0);
    older.a = 0;
    assert_int_equal(sized_out(&older, &theirs, sizeof theirs, &err), 0);
    assert_true(older.size == sizeof older && older.a == 1);
    older.size = 0;
    assert_int_equal(sized_out(&older, &theirs, sizeof theirs, &err), TTG_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_handle_the_answer_is_einval),
        cmocka_unit_test(wrong_addresses_are_explained_and_leave_a_handle),
        cmocka_unit_test(wrong_arguments_are_explained),
        cmocka_unit_test(nobody_there_is_found_out_in_time),
        cmocka_unit_test(a_worker_may_be_stopped_before_it_runs),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(sizes_bridge_versions),
    };
    return tap_run(tests);
}
