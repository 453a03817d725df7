/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "wire/message.h"

#include <math.h>
#include <stdio.h>

static struct buf out, room;

static int setup(void **state)
{
    (void)state;
    buf_init(&out, 1 << 20);
    buf_init(&room, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_done(&out);
    buf_done(&room);
    return 0;
}

static void assert_out(const char *text)
{
    assert_string_equal(buf_cstr(&out), text);
    buf_clear(&out);
}

static void numbers_chunks(void **state)
{
    (void)state;
    static const struct {
        uint64_t chunk;
        const char *id;
    } cases[] = {{0, "00000"},
                 {42, "00042"},
                 {99999, "99999"},
                 {100000, "100000"},
                 {UINT64_MAX, "18446744073709551615"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[MESSAGE_CHUNK_ID_BYTES];
        uint64_t chunk;
        size_t len = message_chunk_id(id, cases[i].chunk);
        assert_true(str_eq(str_make(id, len), str_of(cases[i].id)));
        assert_int_equal(message_chunk_number(str_make(id, len), &chunk), 0);
        assert_true(chunk == cases[i].chunk);
    }
    uint64_t chunk;
    assert_int_equal(message_chunk_number(STR("x1"), &chunk), TTG_EINVAL);
}

/* The playbook's example, with what nobody knows and in the spelling of Python's json module. */
static void a_task_comes_back(void **state)
{
    (void)state;
    struct message_task t;
    struct err e = {0};
    assert_int_equal(
        message_read_task(
            &t,
            STR("{\"chunk_id\": \"00042\", \"start_param\": 4100, \"note\": \"a\\n\", "
                "\"end_param\": 4199, \"total_in_chunk\": 100, \"more\": {\"x\": [1]}, "
                "\"created_at\": \"2026-02-09T10:00:00Z\"}"),
            &room, &e),
        0);
    assert_true(str_eq(t.chunk_id, STR("00042")));
    assert_int_equal(t.start_param, 4100);
    assert_int_equal(t.end_param, 4199);
    assert_int_equal(t.total_in_chunk, 100);
    assert_int_equal(message_add_task(&out, &t), 0);
    assert_out("{\"chunk_id\":\"00042\",\"start_param\":4100,\"end_param\":4199,"
               "\"total_in_chunk\":100,\"created_at\":\"2026-02-09T10:00:00Z\","
               "\"note\":\"a\\n\",\"more\":{\"x\": [1]}}");
}

static void wrong_tasks_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "not JSON"},
        {"[]", "not a JSON object"},
        {"{\"chunk_id\":\"1\",\"start_param\":0}", "end_param is missing"},
        {"{\"start_param\":0,\"end_param\":0}", "chunk_id is missing"},
        {"{\"chunk_id\":\"\",\"start_param\":0,\"end_param\":0}", "chunk_id is not"},
        {"{\"chunk_id\":\"1\",\"start_param\":0.5,\"end_param\":0}", "start_param is not"},
        {"{\"chunk_id\":\"1\",\"start_param\":5,\"end_param\":4}", "below start_param"},
        {"{\"chunk_id\":\"1\",\"start_param\":0,\"end_param\":9223372036854775808}",
         "end_param is not"},
        {"{\"chunk_id\":\"1\",\"start_param\":0,\"end_param\":[]}", "end_param is not"},
        {"{\"chunk_id\":\"1\",\"start_param\":0,\"end_param\":9,\"total_in_chunk\":9}",
         "total_in_chunk does not fit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct message_task t;
        struct err e = {0};
        assert_int_equal(message_read_task(&t, str_of(cases[i].text), &room, &e), TTG_EPROTO);
        if (!strstr(e.text, cases[i].says))
            fail_msg("%s: %s", cases[i].text, e.text);
    }
}

static struct message_result sample(void)
{
    return (struct message_result){
        .chunk_id = STR("00042"),
        .has_range = true,
        .start_param = -100,
        .end_param = -1,
        .worker_id = STR("worker-0"),
        .attempt = 2,
        .status = STR("complete"),
        .params_processed = 100,
        .duration_seconds = 0.35,
        .completed_at = STR("2026-02-09T10:00:12Z"),
    };
}

static void a_sum_comes_back(void **state)
{
    (void)state;
    struct message_result r = sample(), m;
    r.value = MESSAGE_SUM;
    r.sum = -(__int128)INT64_MAX * INT64_MAX;
    r.count = 100;
    assert_int_equal(message_add_result(&out, &r), 0);
    char *text = mem_strdup(buf_cstr(&out));
    assert_out("{\"chunk_id\":\"00042\",\"start_param\":-100,\"end_param\":-1,"
               "\"worker_id\":\"worker-0\",\"attempt\":2,\"status\":\"complete\","
               "\"params_processed\":100,\"duration_seconds\":0.35,"
               "\"completed_at\":\"2026-02-09T10:00:12Z\",\"result_summary\":"
               "{\"sum\":-85070591730234615847396907784232501249,\"count\":100}}");
    assert_int_equal(message_read_result(&m, str_of(text), &room, NULL), 0);
    assert_int_equal(m.value, MESSAGE_SUM);
    assert_true(m.sum == r.sum && m.count == 100 && m.has_range && m.attempt == 2);
    assert_true(fabs(m.duration_seconds - 0.35) < 1e-9);
    assert_int_equal(message_add_result(&out, &m), 0);
    assert_string_equal(buf_cstr(&out), text);
    mem_free(text);
}

static void seconds_are_short(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {0.35, "0.35"},
        {1, "1.0"},
        {0.000001, "0.000001"},
        {12.5, "12.5"},
        {0.0000004, "0.0"},
        {0.1000005, "0.100001"},
        {59.9999999, "60.0"},
        {-1, "0.0"},
        {1e300, "0.0"},
        {NAN, "0.0"},
        {100.010, "100.01"},
        {31536000.123456, "31536000.123456"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char wanted[64];
        struct message_result r = sample();
        r.duration_seconds = cases[i].seconds;
        buf_clear(&out);
        assert_int_equal(message_add_result(&out, &r), 0);
        snprintf(wanted, sizeof wanted, "\"duration_seconds\":%s,", cases[i].text);
        if (!strstr(buf_cstr(&out), wanted))
            fail_msg("%s in %s", wanted, buf_cstr(&out));
    }
}

static void output_comes_back(void **state)
{
    (void)state;
    static const struct {
        struct str output;
        const char *member;
    } cases[] = {
        {STR(""), "\"output\":\"\"}"},
        {STR("a\"\n\0\xc3\xa9"), "\"output\":\"a\\\"\\n\\u0000\xc3\xa9\"}"},
        {STR("\xff\0"), "\"output_base64\":\"/wA=\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct message_result r = sample(), m;
        r.value = MESSAGE_OUTPUT;
        r.text = cases[i].output;
        buf_clear(&out);
        assert_int_equal(message_add_result(&out, &r), 0);
        assert_non_null(strstr(buf_cstr(&out), cases[i].member));
        assert_int_equal(message_read_result(&m, buf_str(&out), &room, NULL), 0);
        if (m.value == MESSAGE_OUTPUT)
            assert_true(str_eq(m.text, cases[i].output));
        else
            assert_true(str_eq(m.text, STR("/wA=")));
    }
}

static void summaries_of_others_are_kept(void **state)
{
    (void)state;
    struct message_result m;
    assert_int_equal(message_read_result(&m,
                                         STR("{\"chunk_id\":7,\"result_summary\":{\"mean\": 1.5},"
                                             "\"worker_id\":null,\"host\":\"a\"}"),
                                         &room, NULL),
                     0);
    assert_int_equal(m.value, MESSAGE_SUMMARY);
    assert_true(str_eq(m.text, STR("{\"mean\": 1.5}")));
    assert_true(str_eq(m.chunk_id, STR("7")));
    assert_true(str_eq(m.extra, STR("\"host\":\"a\"")));
    assert_false(m.has_range);
    m.status = STR("complete");
    assert_int_equal(message_add_result(&out, &m), 0);
    assert_out("{\"chunk_id\":\"7\",\"status\":\"complete\",\"params_processed\":0,"
               "\"duration_seconds\":0.0,\"result_summary\":{\"mean\": 1.5},\"host\":\"a\"}");
}

static void flat_fields_mean_the_same(void **state)
{
    (void)state;
    static const struct str fields[][2] = {
        {STR("chunk_id"), STR("00003")},
        {STR("host"), STR("a\"b")},
        {STR("worker_id"), STR("worker-1")},
        {STR("status"), STR("complete")},
        {STR("params_processed"), STR("9")},
        {STR("duration_seconds"), STR("1.5")},
        {STR("result_summary"), STR("{\"sum\": 36, \"count\": 9}")},
        {STR("total_in_chunk"), STR("9")},
    };
    struct message_reader r;
    struct message_result m = {0};
    struct err e = {0};
    message_reader_init(&r, &room, &e);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        assert_int_equal(message_result_field(&r, &m, fields[i][0], fields[i][1]), 0);
    assert_int_equal(message_result_end(&r, &m), 0);
    assert_int_equal(m.value, MESSAGE_SUM);
    assert_true(m.sum == 36);
    assert_true(str_eq(m.extra, STR("\"host\":\"a\\\"b\",\"total_in_chunk\":\"9\"")));
    assert_int_equal(message_result_field(&r, &m, STR("params_processed"), STR("-9")), TTG_EPROTO);
    assert_int_equal(message_result_field(&r, &m, STR("result_summary"), STR("{")), TTG_EPROTO);

    struct message_task t = {0};
    message_reader_init(&r, &room, &e);
    assert_int_equal(message_task_field(&r, &t, STR("chunk_id"), STR("00003")), 0);
    assert_int_equal(message_task_field(&r, &t, STR("start_param"), STR("-5")), 0);
    assert_int_equal(message_task_end(&r, &t), TTG_EPROTO);
    assert_int_equal(message_task_field(&r, &t, STR("end_param"), STR("-5")), 0);
    assert_int_equal(message_task_field(&r, &t, STR("x"), STR("y")), 0);
    assert_int_equal(message_task_end(&r, &t), 0);
    assert_true(str_eq(t.extra, STR("\"x\":\"y\"")));
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    static const struct str text = STR("{\"chunk_id\":\"1\\n\",\"output\":\"\\u0001\",\"x\":{}}");
    for (size_t n = 1;; n++) {
        struct message_result m = sample();
        struct buf a, b;
        buf_init(&a, 4096);
        buf_init(&b, 4096);
        mem_fail_at(n);
        int rc = message_read_result(&m, text, &a, NULL);
        if (!rc)
            rc = message_add_result(&b, &m);
        int failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        buf_done(&a);
        buf_done(&b);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_chunks),
        cmocka_unit_test_setup_teardown(a_task_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_tasks_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sum_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(seconds_are_short, setup, teardown),
        cmocka_unit_test_setup_teardown(output_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(summaries_of_others_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(flat_fields_mean_the_same, setup, teardown),
        cmocka_unit_test(survives_failed_allocations),
    };
    return tap_run(tests);
}
