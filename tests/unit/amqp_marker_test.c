/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/amqp.h"
#include "queue/amqp_lines.h"
#include "tap.h"

#include <stdio.h>

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

static void jobs_of_queues(void **state)
{
    static const struct {
        const char *queue, *kind, *job;
    } cases[] = {
        {"ttg.job", "job", "default"},
        {"ttg.sweep.job", "job", "sweep"},
        {"ttg.tasks", "tasks", "default"},
        {"ttg.tasks.job", "job", "tasks"},
        {"ttg.job.tasks", "tasks", "job"},
        {"ttg.sweep.tasks", "job", NULL},
        {"ttg.sweep.job.lock", "job", NULL},
        {"ttg.a.b.job", "job", NULL},
        {"ttg..job", "job", NULL},
        {"ttg.xjob", "job", NULL},
        {"ttg.", "job", NULL},
        {"ttgjob", "job", NULL},
        {"other.job", "job", NULL},
        {"ttg.a b.job", "job", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str job;
        bool is = amqp_job_of(str_of(cases[i].queue), str_of(cases[i].kind), &job);
        assert_int_equal(is, cases[i].job != NULL);
        if (is)
            assert_true(str_eq(job, str_of(cases[i].job)));
    }
}

static void retries(void **state)
{
    struct amqp_names n;
    char queue[AMQP_NAME_BYTES];
    struct ledger_spec spec = {.retry_min_ms = LEDGER_RETRY_MIN_MS,
                               .retry_max_ms = LEDGER_RETRY_MAX_MS,
                               .retry_jitter = LEDGER_RETRY_JITTER};
    struct ledger_spec asked = spec;
    (void)state;
    amqp_names_of(&n, STR("default"));
    amqp_retry_default(&spec); /* nobody asked: the playbook's queue */
    for (unsigned step = 0; step < AMQP_RETRY_STEPS; step++) {
        assert_int_equal(amqp_retry_ms(&spec, 1, step), 5000);
        assert_int_equal(amqp_retry_ms(&spec, 4, step), 5000);
    }
    amqp_retry_name(&n, 5000, queue);
    assert_string_equal(queue, "ttg.tasks.retry");
    asked.retry_asked = true;
    amqp_retry_default(&asked);
    static const struct {
        uint64_t attempt;
        uint32_t ms[AMQP_RETRY_STEPS];
    } rows[] = {
        {1, {75, 91, 108, 125}},        {2, {150, 183, 216, 250}},
        {3, {300, 366, 433, 500}},      {7, {3750, 4583, 5416, 6250}}, /* the longest */
        {60, {3750, 4583, 5416, 6250}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (unsigned step = 0; step < AMQP_RETRY_STEPS; step++)
            assert_int_equal(amqp_retry_ms(&asked, rows[i].attempt, step), rows[i].ms[step]);
    amqp_retry_name(&n, 366, queue);
    assert_string_equal(queue, "ttg.tasks.retry.366");
    uint32_t all[AMQP_RETRIES_MAX];
    spec.max_attempts = asked.max_attempts = 3;
    assert_int_equal(amqp_retry_all(&spec, all), 0);
    assert_int_equal(amqp_retry_all(&asked, all), 8);
    assert_int_equal(all[7], 250);
    asked.max_attempts = 100000;
    assert_int_equal(amqp_retry_all(&asked, all), 28);
    asked.retry_min_ms = 1;
    asked.retry_max_ms = 86400000;
    assert_true(amqp_retry_all(&asked, all) < AMQP_RETRIES_MAX);
    assert_int_equal(all[0], 1);
    asked.retry_min_ms = 0;
    assert_int_equal(amqp_retry_all(&asked, all), 0);
    asked.retry_min_ms = asked.retry_max_ms = 86400000; /* no overflow */
    asked.retry_jitter = 100;
    assert_int_equal(amqp_retry_ms(&asked, 3, 0), 0);
    assert_int_equal(amqp_retry_ms(&asked, 3, AMQP_RETRY_STEPS - 1), 172800000);
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
    struct amqp_marker m = {
        .state = LEDGER_FINISHED, .created_ms = 5, .dead = 2, .quorum = 1, .spec = some};
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
    assert_false(amqp_marker_ended(&back));
    back.dead = 0;
    assert_true(amqp_marker_ended(&back));
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

struct seen {
    size_t count;
    uint64_t attempts[8];
    char last[64];
};

static void see(void *ctx, const struct amqp_attempt *a)
{
    struct seen *s = ctx;
    assert_true(s->count < COUNT(s->attempts));
    s->attempts[s->count++] = a->attempt;
    snprintf(s->last, sizeof s->last, "%.*s:%.*s:%u", STR_ARG(a->worker), STR_ARG(a->reason),
             (unsigned)a->at_ms);
}

static void histories_grow_and_forget_the_oldest(void **state)
{
    struct buf a, b, *old = &a, *new = &b;
    struct seen seen = {0};
    static char reason[3000];
    (void)state;
    memset(reason, 'x', sizeof reason);
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    for (unsigned i = 1; i <= 3; i++) {
        struct amqp_attempt attempt = {i, i, STR("w\"1"), STR("no\nluck")};
        struct buf *swap = old;
        buf_clear(new);
        assert_int_equal(amqp_history_add(new, buf_str(old), &attempt), 0);
        old = new, new = swap;
    }
    amqp_history_each(buf_str(old), see, &seen);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.attempts[0], 1);
    assert_string_equal(seen.last, "w\"1:no\nluck:3");
    for (unsigned i = 4; i <= 40; i++) {
        struct amqp_attempt attempt = {i, i, STR("w"), str_make(reason, sizeof reason)};
        struct buf *swap = old;
        buf_clear(new);
        assert_int_equal(amqp_history_add(new, buf_str(old), &attempt), 0);
        assert_true(buf_len(new) < 20000);
        old = new, new = swap;
    }
    buf_clear(new);
    assert_int_equal(
        amqp_history_add(new, STR("[1"), &(struct amqp_attempt){1, 9, STR(""), STR("")}), 0);
    seen = (struct seen){0};
    amqp_history_each(buf_str(new), see, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.attempts[0], 9);
    amqp_history_each(STR("{\"x\":{},\"2\":7,\"3\":{\"worker\":4}}"), see, &seen);
    assert_int_equal(seen.count, 1);
    buf_done(&a);
    buf_done(&b);
}

static void add_line(struct amqp_lines *l, const char *text)
{
    assert_int_equal(buf_add_str(&l->bytes, str_of(text)), 0);
    assert_int_equal(amqp_lines_end(l), 0);
}

static void lines_are_found_by_their_number(void **state)
{
    struct amqp_lines l;
    uint64_t last;
    (void)state;
    amqp_lines_init(&l, 11);
    assert_int_equal(amqp_lines_behind(&l, 10, 9, UINT64_MAX, &last).len, 0);
    assert_int_equal(last, 10);
    add_line(&l, "a\n");
    add_line(&l, "bb\n");
    add_line(&l, "c\n");
    assert_true(str_eq(amqp_lines_behind(&l, 10, 2, UINT64_MAX, &last), STR("a\nbb\n")));
    assert_int_equal(last, 12);
    assert_true(str_eq(amqp_lines_behind(&l, 11, 9, 12, &last), STR("bb\n")));
    assert_true(str_eq(amqp_lines_behind(&l, 0, 9, 99, &last), STR("a\nbb\nc\n")));
    assert_int_equal(amqp_lines_behind(&l, 13, 9, 99, &last).len, 0);
    assert_int_equal(last, 13);
    amqp_lines_drop(&l, 12);
    assert_int_equal(l.first, 13);
    assert_true(str_eq(amqp_lines_behind(&l, 0, 9, 99, &last), STR("c\n")));
    for (int i = 0; i < 5000; i++) {
        add_line(&l, "d\n");
        amqp_lines_drop(&l, 13 + (uint64_t)i);
    }
    assert_int_equal(l.first, 5013);
    assert_true(str_eq(amqp_lines_behind(&l, 5012, 9, 99999, &last), STR("d\n")));
    assert_int_equal(last, 5013);
    amqp_lines_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(jobs_of_queues),
        cmocka_unit_test(retries),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(histories_grow_and_forget_the_oldest),
        cmocka_unit_test(lines_are_found_by_their_number),
    };
    return tap_run(tests);
}
