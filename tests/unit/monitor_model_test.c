/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "monitor/model.h"
#include "wire/json.h"

#include <math.h>
#include <stdio.h>

enum { T0 = 1000000 };

static struct queue_status status_at(uint64_t now_ms, uint64_t completed)
{
    struct queue_status s = {.now_ms = now_ms, .params_total = 1000, .chunk_params = 10};
    s.status = (struct ledger_status){.created_ms = T0,
                                      .chunks = 100,
                                      .completed = completed,
                                      .leased = 2,
                                      .fresh = 98 - completed,
                                      .params = completed * 10,
                                      .workers = 2};
    s.kernel = s.input = STR("");
    return s;
}

static void tell_workers(struct model *m, const char *one, const char *two)
{
    struct ledger_worker_info w[2] = {
        {.name = str_of(one), .slots = 1, .held = 1, .joined_ms = T0},
        {.name = str_of(two), .slots = 1, .held = 1, .joined_ms = T0}};
    struct queue_workers list = {.workers = w, .count = two ? 2 : 1};
    model_workers(m, &list);
}

static void tell_map(struct model *m, uint64_t now_ms, const struct queue_map_lease *leases,
                     size_t lease_count, const struct queue_ran *ran, size_t ran_count)
{
    struct queue_cell cell = {.repeat = 1, .leased = 2};
    struct queue_map map = {.now_ms = now_ms,
                            .chunks = 100,
                            .per_cell = 100,
                            .cells = &cell,
                            .cell_count = 1,
                            .leases = leases,
                            .lease_count = lease_count,
                            .ran = ran,
                            .ran_count = ran_count,
                            .ran_max = 10};
    model_map(m, &map);
}

static void tell_event(struct model *m, struct queue_event e)
{
    e.from = e.from.ptr ? e.from : STR("");
    e.to = e.to.ptr ? e.to : STR("");
    e.text = e.text.ptr ? e.text : STR("");
    struct queue_events list = {.events = &e, .event_count = 1};
    model_events(m, &list);
}

/* "worker chunk from-to kind" of the i-th newest span, times from T0. */
static const char *span(const struct model *m, size_t i)
{
    static char text[128];
    const struct model_span *s = model_span_back(m, i);
    if (!s)
        return "none";
    snprintf(text, sizeof text, "%s %d %d-%d %s", m->workers[s->worker].name, (int)s->chunk,
             (int)(s->from_ms - T0), (int)(s->to_ms - T0), model_span_kind_text(s->kind));
    return text;
}

static void a_killed_workers_chunk_moves(void **state)
{
    (void)state;
    struct model *m = model_new();
    struct queue_status s = status_at(T0 + 100, 0);
    const struct queue_map_lease before[] = {{STR("a"), 0, 50, 1, T0}, {STR("b"), 1, 51, 1, T0}};
    const struct queue_map_lease after[] = {{STR("b"), 0, 52, 2, T0 + 700}};
    const struct queue_ran ran[] = {{STR("b"), 1, 1, T0 + 600, 500000}};
    model_show(m, STR("j"));
    model_status(m, &s);
    tell_workers(m, "a", "b");
    tell_map(m, T0 + 100, before, 2, NULL, 0);
    model_settle(m);
    assert_int_equal(m->running_count, 2);
    assert_int_equal(m->workers[0].state, MODEL_BUSY);
    assert_int_equal(m->workers[0].age_ms, 100);

    s = status_at(T0 + 1000, 1);
    model_status(m, &s);
    tell_workers(m, "b", NULL);
    tell_map(m, T0 + 1000, after, 1, ran, 1);
    tell_event(m, (struct queue_event){.seq = 7,
                                       .at_ms = T0 + 650,
                                       .chunk = -1,
                                       .event = STR("worker.lost"),
                                       .from = STR("a"),
                                       .text = STR("killed")});
    model_settle(m);
    assert_string_equal(span(m, 1), "b 1 100-600 ran");
    assert_string_equal(span(m, 0), "a 0 0-650 taken_away");
    assert_int_equal(m->workers[0].state, MODEL_LOST);
    assert_int_equal(m->workers[0].gone_ms, T0 + 650);
    assert_int_equal(m->workers[1].state, MODEL_BUSY);
    assert_int_equal(m->workers[1].chunk, 0);
    assert_int_equal(m->workers[1].attempt, 2);
    assert_int_equal(m->took_p50_us, 500000);

    /* The same millisecond again, and the worker comes back. */
    tell_workers(m, "a", "b");
    tell_map(m, T0 + 1100, after, 1, ran, 1);
    model_settle(m);
    assert_int_equal(m->span_seq, 2);
    assert_int_equal(m->workers[0].state, MODEL_BUSY);
    model_free(m);
}

static void leases_end_for_a_reason(void **state)
{
    (void)state;
    struct model *m = model_new();
    const struct queue_map_lease leases[] = {{STR("a"), 0, 50, 1, T0}, {STR("b"), 1, 51, 1, T0}};
    model_show(m, STR("j"));
    tell_workers(m, "a", "b");
    tell_map(m, T0, leases, 2, NULL, 0);
    model_settle(m);
    tell_map(m, T0 + 100, NULL, 0, NULL, 0);
    tell_event(m, (struct queue_event){.seq = 1,
                                       .at_ms = T0 + 90,
                                       .chunk = 0,
                                       .event = STR("chunk.failed"),
                                       .from = STR("a")});
    model_settle(m);
    assert_string_equal(span(m, 1), "a 0 0-90 failed");
    assert_string_equal(span(m, 0), "b 1 0-100 given_back");
    assert_int_equal(m->running_count, 0);
    model_free(m);
}

static void history_thins_but_stays_whole(void **state)
{
    (void)state;
    struct model *m = model_new();
    model_show(m, STR("j"));
    for (uint64_t i = 0; i < 5000; i++) {
        struct queue_status s = status_at(T0 + i * 1000, i);
        model_status(m, &s);
    }
    assert_int_equal(m->points[0].at_ms, T0);
    assert_true(m->point_count >= MODEL_POINTS / 2 - 1 && m->point_count <= MODEL_POINTS);
    assert_true(m->points[m->point_count - 1].at_ms > T0 + 4900 * 1000);
    for (size_t i = 1; i < m->point_count; i++)
        assert_true(m->points[i].at_ms > m->points[i - 1].at_ms &&
                    fabs(m->points[i].rate - 1) < 0.01);
    model_free(m);
}

static void tell_done(struct model *m, uint64_t now_ms, uint64_t completed)
{
    struct queue_status s = status_at(now_ms, completed);
    struct ledger_worker_info w = {
        .name = STR("worker-1"), .slots = 1, .held = 1, .joined_ms = T0, .completed = completed};
    struct queue_workers list = {.workers = &w, .count = 1};
    model_status(m, &s);
    model_workers(m, &list);
}

/* Of half a second at first, later of whole spans of three. */
static void a_workers_rate_is_known_soon(void **state)
{
    static const struct {
        uint64_t after_ms, completed;
        double rate;
    } steps[] = {{0, 0, 0},      {400, 4, 0},    {500, 5, 10}, {1000, 8, 8},
                 {3000, 30, 10}, {3500, 30, 10}, {6000, 36, 2}};
    (void)state;
    struct model *m = model_new();
    model_show(m, STR("j"));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        tell_done(m, T0 + steps[i].after_ms, steps[i].completed);
        assert_true(fabs(m->workers[0].rate - steps[i].rate) < 0.01);
    }
    model_free(m);
}

/* Nothing starts any more: nobody is busy, and nothing is left to wait for. */
static void a_paused_job_rests(void **state)
{
    (void)state;
    struct model *m = model_new();
    struct ledger_worker_info w = {
        .name = STR("a"), .slots = 1, .held = 1, .joined_ms = T0, .completed = 0};
    struct queue_workers list = {.workers = &w, .count = 1};
    model_show(m, STR("j"));
    for (uint64_t i = 0; i < 4; i++) {
        struct queue_status s = status_at(T0 + 500 * i, 10 * i);
        s.status.state = i < 3 ? LEDGER_RUNNING : LEDGER_PAUSED;
        w.completed = 10 * i;
        w.held = i < 3;
        model_status(m, &s);
        model_workers(m, &list);
        model_settle(m);
        if (i == 2) {
            assert_int_equal(m->workers[0].state, MODEL_BUSY);
            assert_true(m->workers[0].rate > 0);
            assert_int_not_equal(m->eta_ms, 0);
        }
    }
    assert_int_equal(m->workers[0].state, MODEL_IDLE);
    assert_true(m->workers[0].rate <= 0);
    assert_int_equal(m->eta_ms, 0);
    model_free(m);
}

static void who_worked_at_an_ended_job_of_a_broker_has_left(void **state)
{
    (void)state;
    for (int on_broker = 0; on_broker < 2; on_broker++) {
        struct model *m = model_new();
        struct ledger_worker_info w = {.name = STR("a"), .slots = 1, .completed = 9};
        struct queue_workers list = {.workers = &w, .count = 1};
        struct queue_status s = status_at(T0 + 5000, 98);
        s.status.state = LEDGER_FINISHED;
        s.status.finished_ms = T0 + 4000;
        m->unlisted = on_broker;
        model_show(m, STR("j"));
        model_status(m, &s);
        model_workers(m, &list);
        model_settle(m);
        assert_int_equal(m->workers[0].state, on_broker ? MODEL_LEFT : MODEL_IDLE);
        assert_int_equal(m->workers[0].gone_ms, on_broker ? T0 + 4000 : 0);
        assert_int_equal(m->status.workers, on_broker ? 0 : 2);
        model_free(m);
    }
}

static void who_went_before_we_looked_has_been_gone_since(void **state)
{
    (void)state;
    struct model *m = model_new();
    struct queue_status s = status_at(T0 + 900000, 5);
    model_show(m, STR("j"));
    model_status(m, &s);
    tell_workers(m, "b", NULL);
    tell_event(
        m,
        (struct queue_event){
            .seq = 1, .at_ms = T0, .chunk = -1, .event = STR("worker.joined"), .from = STR("a")});
    tell_event(
        m,
        (struct queue_event){
            .seq = 2, .at_ms = T0 + 7, .chunk = -1, .event = STR("worker.lost"), .from = STR("a")});
    tell_event(
        m,
        (struct queue_event){
            .seq = 3, .at_ms = T0 + 8, .chunk = -1, .event = STR("worker.lost"), .from = STR("b")});
    model_settle(m);
    assert_string_equal(m->workers[1].name, "a");
    assert_int_equal(m->workers[1].state, MODEL_LOST);
    assert_int_equal(m->workers[1].gone_ms, T0 + 7);
    assert_int_equal(m->workers[0].gone_ms, 0); /* it is there again */
    model_free(m);
}

static void lanes_are_given_to_others(void **state)
{
    (void)state;
    struct model *m = model_new();
    char name[32];
    model_show(m, STR("j"));
    for (int i = 0; i < MODEL_WORKERS + 10; i++) {
        snprintf(name, sizeof name, "worker-h-%05x", (unsigned)i);
        tell_workers(m, name, NULL);
        model_settle(m);
    }
    assert_int_equal(m->worker_count, MODEL_WORKERS);
    uint64_t before = m->worker_changes;
    tell_workers(m, name, "worker-big-host-0abcd");
    assert_int_equal(m->worker_changes, before + 1);
    size_t found = 0;
    for (size_t i = 0; i < m->worker_count; i++)
        found += strcmp(m->workers[i].host, "big-host") == 0;
    assert_int_equal(found, 1);
    model_free(m);
}

static void parse(struct buf *out, bool full)
{
    struct json v;
    struct err err;
    if (json_parse(buf_str(out), &v, &err))
        fail_msg("%s: %.*s", err.text, STR_ARG(buf_str(out)));
    assert_int_equal(strstr(buf_cstr(out), "\"full\":true") != NULL, full);
}

static void is_told_in_json(void **state)
{
    (void)state;
    struct model *m = model_new();
    struct model_mark mark = {0};
    struct buf out;
    struct queue_job_info info = {.job = STR("j\"\xff"), .chunks = 4};
    struct queue_list list = {.jobs = &info, .count = 1};
    struct queue_dead dead = {.chunk = 5, .worker = STR("w"), .reason = STR("exit 3\n")};
    struct queue_dead_list deads = {.dead = &dead, .dead_count = 1};
    buf_init(&out, 1 << 20);
    assert_int_equal(model_json(m, &mark, &out), 0);
    parse(&out, true);
    a_killed_workers_chunk_moves(state);
    model_show(m, STR("j"));
    model_jobs(m, &list);
    model_dead(m, &deads);
    struct queue_status s = status_at(T0 + 100, 5);
    s.status.has_sum = true;
    s.status.sum = (__int128)1 << 100;
    model_status(m, &s);
    const struct queue_ran ran[] = {{STR("b"), 1, 1, T0 + 600, 500000}};
    tell_map(m, T0 + 1000, NULL, 0, ran, 1);
    tell_event(m, (struct queue_event){.seq = 1, .at_ms = T0, .chunk = -1, .event = STR("e")});
    model_settle(m);
    buf_clear(&out);
    assert_int_equal(model_json(m, &mark, &out), 0);
    parse(&out, true);
    assert_non_null(strstr(buf_cstr(&out), "\"sum\":\"1267650600228229401496703205376\""));
    assert_non_null(strstr(buf_cstr(&out), "\"spans\":[[0,1,1,"));
    assert_non_null(strstr(buf_cstr(&out), "\"cells\":[1,0,2,0,0,0]"));
    assert_null(strstr(buf_cstr(&out), "\"broker\""));
    struct queue_depths depths = {.depths = {{"ttg.j.tasks", 7, 2}}, .count = 1};
    model_depths(m, &depths, "no \"plugin\"");
    model_place(m, STR("b"), STR("rack 7"), 3);
    model_place(m, STR("nobody"), STR("x"), 3);
    buf_clear(&out);
    assert_int_equal(model_json(m, &mark, &out), 0);
    parse(&out, false);
    assert_non_null(strstr(buf_cstr(&out), "\"spans\":[],\"events\":[]"));
    assert_non_null(strstr(buf_cstr(&out), "{\"queue\":\"ttg.j.tasks\",\"ready\":7,"));
    assert_non_null(strstr(buf_cstr(&out), "\"host\":\"rack 7\""));
    assert_non_null(strstr(buf_cstr(&out), "\"unacked\":3"));
    model_show(m, STR("j"));
    buf_clear(&out);
    assert_int_equal(model_json(m, NULL, &out), 0);
    assert_null(strstr(buf_cstr(&out), "\"broker\""));
    buf_done(&out);
    buf_init(&out, 100);
    assert_int_not_equal(model_json(m, NULL, &out), 0);
    buf_done(&out);
    for (size_t n = 1;; n++) { /* a piece that did not fit is no JSON */
        buf_init(&out, 1 << 20);
        mem_fail_at(n);
        int rc = model_json(m, NULL, &out);
        int failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        buf_done(&out);
        if (!failed)
            break;
    }
    model_free(m);
}

static void shows_the_newest_that_runs(void **state)
{
    (void)state;
    struct model *m = model_new();
    struct queue_job_info jobs[] = {
        {.job = STR("old"), .created_ms = 1, .state = LEDGER_RUNNING},
        {.job = STR("new"), .created_ms = 2, .state = LEDGER_RUNNING},
        {.job = STR("over"), .created_ms = 3, .state = LEDGER_FINISHED},
    };
    struct queue_list list = {.jobs = jobs, .count = 3};
    assert_null(model_newest(m));
    model_jobs(m, &list);
    assert_string_equal(model_newest(m)->name, "new");
    jobs[0].state = jobs[1].state = LEDGER_CANCELED;
    model_jobs(m, &list);
    assert_string_equal(model_newest(m)->name, "over");
    model_free(m);
}

static const char *elsewhere(struct model *m, struct model_job *jobs, size_t count)
{
    model_jobs_named(m, jobs, count);
    return model_elsewhere(m) ? model_elsewhere(m)->name : "";
}

static void goes_elsewhere_on_a_broker(void **state)
{
    struct model *m = model_new();
    struct model_broker broker = {.source = MODEL_MANAGEMENT};
    struct model_job jobs[MODEL_JOBS + 3] = {{"b", .named = true}, {"a", .named = true}};
    struct buf out;
    (void)state;
    assert_non_null(m);
    model_show(m, STR("default"));
    m->follows = true;
    assert_string_equal(elsewhere(m, jobs, 2), ""); /* no broker */
    model_broker(m, &broker);
    assert_string_equal(elsewhere(m, jobs, 1), "a");
    assert_string_equal(elsewhere(m, jobs, 2), ""); /* which? */
    jobs[1].workers = 2;                            /* "b", sorted */
    assert_string_equal(elsewhere(m, jobs, 2), "b");
    buf_init(&out, 1 << 20);
    assert_int_equal(model_json(m, NULL, &out), 0);
    assert_non_null(strstr(buf_cstr(&out), "{\"job\":\"b\",\"state\":null,\"workers\":2}],"
                                           "\"follows\":true,\"asked\":\"default\","
                                           "\"elsewhere\":\"b\","));
    buf_done(&out);
    jobs[0].workers = 1;
    assert_string_equal(elsewhere(m, jobs, 2), "");
    jobs[0].workers = 0;
    m->follows = false; /* it was named */
    assert_string_equal(elsewhere(m, jobs, 2), "");
    m->follows = true;
    jobs[2] = (struct model_job){"default", .named = true}; /* its status is on the way */
    assert_string_equal(elsewhere(m, jobs, 3), "");
    m->known = true; /* it runs */
    assert_string_equal(elsewhere(m, jobs, 3), "");
    m->status.state = LEDGER_FINISHED;
    assert_string_equal(elsewhere(m, jobs, 3), "b");
    assert_string_equal(elsewhere(m, jobs, 0), "");
    model_jobs_named(m, jobs, MODEL_JOBS + 3);
    assert_int_equal(m->job_count, MODEL_JOBS);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_workers_chunk_moves),
        cmocka_unit_test(leases_end_for_a_reason),
        cmocka_unit_test(history_thins_but_stays_whole),
        cmocka_unit_test(a_workers_rate_is_known_soon),
        cmocka_unit_test(a_paused_job_rests),
        cmocka_unit_test(who_worked_at_an_ended_job_of_a_broker_has_left),
        cmocka_unit_test(who_went_before_we_looked_has_been_gone_since),
        cmocka_unit_test(lanes_are_given_to_others),
        cmocka_unit_test(is_told_in_json),
        cmocka_unit_test(shows_the_newest_that_runs),
        cmocka_unit_test(goes_elsewhere_on_a_broker),
    };
    return tap_run(tests);
}
