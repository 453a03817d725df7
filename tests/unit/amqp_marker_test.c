/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/amqp.h"
#include "tap.h"

static void names(void **state)
{
    struct amqp_names n;
    (void)state;
    amqp_names_of(&n, STR("default"));
    assert_string_equal(n.tasks, "ttg.tasks");
    assert_string_equal(n.retry, "ttg.tasks.retry");
    assert_string_equal(n.dlq, "ttg.tasks.dlq");
    assert_string_equal(n.results, "ttg.results");
    amqp_names_of(&n, STR("sweep"));
    assert_string_equal(n.tasks, "ttg.sweep.tasks");
    assert_string_equal(n.job, "ttg.sweep.job");
    assert_string_equal(n.lock, "ttg.sweep.job.lock");
}

static void retries(void **state)
{
    struct amqp_names n;
    char queue[AMQP_NAME_BYTES];
    struct ledger_spec spec = {.retry_min_ms = LEDGER_RETRY_MIN_MS,
                               .retry_max_ms = LEDGER_RETRY_MAX_MS};
    (void)state;
    amqp_names_of(&n, STR("default"));
    assert_int_equal(amqp_retry_ms(&spec, 1), 5000); /* nobody asked: the playbook's queue */
    assert_int_equal(amqp_retry_ms(&spec, 4), 5000);
    amqp_retry_name(&n, 5000, queue);
    assert_string_equal(queue, "ttg.tasks.retry");
    spec.retry_min_ms = 400;
    assert_int_equal(amqp_retry_ms(&spec, 1), 400);
    assert_int_equal(amqp_retry_ms(&spec, 3), 1600);
    assert_int_equal(amqp_retry_ms(&spec, 60), 5000);
    amqp_retry_name(&n, 1600, queue);
    assert_string_equal(queue, "ttg.tasks.retry.1600");
}

static const struct ledger_spec some = {
    .first = INT64_MIN,
    .params = 1001,
    .chunk_params = 10,
    .window = 7,
    .max_attempts = 3,
    .retry_min_ms = 20,
    .retry_max_ms = 5000,
    .retry_jitter = 25,
    .stale_ms = 60000,
    .kernel = {"exec \"a\\b\"\n", 11},
    .input = {"lines:/x", 8},
};

static void there_and_back(void **state)
{
    struct amqp_marker m = {.state = LEDGER_FINISHED, .created_ms = 5, .dead = 2, .spec = some};
    struct amqp_marker back = {0};
    struct buf text;
    struct err err;
    (void)state;
    m.unattended = 1;
    buf_init(&text, 4096);
    assert_int_equal(amqp_marker_add(&text, &m), 0);
    assert_int_equal(amqp_marker_read(&back, buf_str(&text), &err), 0);
    assert_int_equal(back.state, LEDGER_FINISHED);
    assert_int_equal(back.created_ms, 5);
    assert_int_equal(back.dead, 2);
    assert_int_equal(back.unattended, 1);
    assert_int_equal(back.spec.first, INT64_MIN);
    assert_int_equal(back.spec.params, 1001);
    assert_int_equal(back.spec.window, 7);
    assert_true(str_eq(back.spec.kernel, some.kernel));
    assert_true(str_eq(back.spec.input, some.input));
    assert_int_equal(amqp_marker_chunks(&back), 101);
    buf_done(&back.texts);
    buf_done(&text);
}

static void what_makes_no_sense_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{",
        "{}",
        "{\"state\":9,\"params\":10,\"chunk_params\":1}",
        "{\"state\":0,\"params\":\"many\"}",
        "{\"state\":0,\"params\":10,\"chunk_params\":0,\"window\":1,\"max_attempts\":1}",
        "{\"state\":0,\"params\":10,\"chunk_params\":1,\"window\":99999999999}",
        "{\"state\":0,\"kernel\":7}",
    };
    struct amqp_marker m = {0};
    struct err err;
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(amqp_marker_read(&m, str_of(bad[i]), &err), TTG_EPROTO);
    buf_done(&m.texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(retries),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return tap_run(tests);
}
