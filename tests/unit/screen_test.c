/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "monitor/screen.h"
#include "monitor/screen_line.h"
#include "tap.h"

#include <stdio.h>

enum { T0 = 1000000, NOW = T0 + 60000 };

/* A million chunks, three workers of which one was killed, events, dead letters. */
static struct model *busy_model(void)
{
    struct model *m = model_new();
    assert_non_null(m);
    m->connected = m->known = true;
    m->rounds = 5;
    m->now_ms = NOW;
    snprintf(m->job, sizeof m->job, "sweep");
    m->status = (struct ledger_status){.chunks = 1000000,
                                       .completed = 620000,
                                       .leased = 2,
                                       .fresh = 379996,
                                       .dead = 2,
                                       .attempts = 620007,
                                       .reclaimed = 1,
                                       .failures = 3,
                                       .workers = 2,
                                       .workers_lost = 1};
    m->rate = 28.9;
    m->eta_ms = 12345;
    m->took_p50_us = 101000;
    m->took_p95_us = 120000;
    for (size_t i = 0; i < 3; i++) {
        struct model_worker *w = &m->workers[m->worker_count++];
        snprintf(w->name, sizeof w->name, "worker-%zu", i);
        w->state = i == 1 ? MODEL_LOST : MODEL_BUSY;
        w->chunk = 620000 + i;
        w->running = i != 1;
        w->age_ms = 52;
        w->gone_ms = w->lost_at_ms = i == 1 ? NOW - 2000 : 0;
        w->completed = 1234 * i;
    }
    m->cells[0] = (struct queue_cell){.repeat = 620, .done = 1000};
    m->cells[1] = (struct queue_cell){.repeat = 1, .leased = 2, .dead = 1};
    m->cell_count = 2;
    m->per_cell = 1000;
    for (size_t i = 0; i < 100; i++)
        m->points[m->point_count++] = (struct model_point){.at_ms = T0 + i, .rate = (double)i};
    struct queue_event events[] = {
        {1, NOW - 2000, 1, -1, STR("worker.lost"), STR("worker-1"), STR(""), STR("silent")},
        {2, NOW - 1900, 96, 620001, STR("chunk.reclaimed"), STR("worker-1"), STR("worker-0"),
         STR("")},
        {3, NOW - 1000, 100, 7, STR("chunk.failed"), STR("worker-0"), STR(""), STR("exit code 1")},
        {4, NOW - 900, 5, 8, STR("chunk.dead"), STR("worker-2"), STR(""), STR("exit code 1")},
    };
    struct queue_events list = {.events = events, .event_count = COUNT(events)};
    model_events(m, &list);
    m->dead[0] =
        (struct model_dead){.chunk = 8, .attempts = 5, .worker = "worker-2", .reason = "x"};
    m->dead_count = 1;
    return m;
}

/* Columns of a line: ESC [ ... m takes none. */
static unsigned columns(struct str line)
{
    unsigned n = 0;
    for (size_t i = 0; i < line.len;) {
        if (line.ptr[i] == '\033') {
            assert_int_equal(line.ptr[i + 1], '[');
            for (i += 2; line.ptr[i] != 'm'; i++)
                assert_true(line.ptr[i] >= '0' && line.ptr[i] <= ';');
            i++;
            continue;
        }
        size_t len = str_utf8_len(str_make(line.ptr + i, line.len - i));
        assert_true(len > 0);
        assert_true(len > 1 || (line.ptr[i] >= ' ' && line.ptr[i] < 0x7f));
        i += len;
        n++;
    }
    return n;
}

static void check_size(struct str text, unsigned width, unsigned height)
{
    unsigned lines = 0;
    assert_true(text.len > 0 && text.ptr[text.len - 1] == '\n');
    while (text.len > 0) {
        struct str line = str_cut(text, '\n', &text);
        lines++;
        if (columns(line) > width || lines > height)
            fail_msg("%ux%u: line %u has %u columns: %.*s", width, height, lines, columns(line),
                     STR_ARG(line));
    }
}

static bool has(const struct buf *b, const char *text)
{
    struct str all = buf_str(b), word = str_of(text);
    for (size_t i = 0; i + word.len <= all.len; i++)
        if (memcmp(all.ptr + i, word.ptr, word.len) == 0)
            return true;
    return false;
}

static void expect(const struct buf *b, const char *text)
{
    if (!has(b, text))
        fail_msg("no '%s' in:\n%.*s", text, STR_ARG(buf_str(b)));
}

static void render(const struct screen_view *v, unsigned width, unsigned height, struct buf *out)
{
    buf_init(out, SCREEN_BYTES_MAX);
    assert_int_equal(screen_render(v, width, height, out), 0);
    check_size(buf_str(out), width, height);
}

static const unsigned sizes[][2] = {{80, 24}, {200, 60}, {40, 10},   {20, 5},
                                    {1, 1},   {5, 3},    {500, 400}, {80, 7}};

static void all_sizes(const struct model *m)
{
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int form = 0; form < 16; form++) {
            struct screen_view v = {.model = m,
                                    .place = "redis://127.0.0.1:6379",
                                    .question = form & 8 ? "really?" : NULL,
                                    .color = form & 1,
                                    .utf8 = form & 2,
                                    .keys = form & 4,
                                    .help = form == 6,
                                    .scroll = (size_t)form};
            struct buf b;
            render(&v, sizes[i][0], sizes[i][1], &b);
            buf_done(&b);
        }
}

static void it_fits_everywhere(void **state)
{
    (void)state;
    struct model *m = busy_model();
    all_sizes(m);
    m->connected = false;
    snprintf(m->link_text, sizeof m->link_text, "refused");
    all_sizes(m);
    model_free(m);
}

static void it_tells_the_story_in_80x24(void **state)
{
    (void)state;
    struct model *m = busy_model();
    struct screen_view v = {.model = m, .place = "redis://127.0.0.1:6379", .keys = true};
    struct buf b;
    render(&v, 80, 24, &b);
    expect(&b, "ttg monitor  redis://127.0.0.1:6379");
    expect(&b, "connected");
    expect(&b, "job  sweep  running");
    expect(&b, "62.0 %  620,000 of 1,000,000");
    expect(&b, "rate 28.9/s");
    expect(&b, "12.3 s left  chunk 101 ms, 95% 120 ms");
    expect(&b, "2 leases  379,996 waiting  2 dead  2 workers  1 loss");
    expect(&b, "1 taken over (620001 worker-1 -> worker-0 96 ms)");
    expect(&b, "worker-1       lost      620001    2.0 s ago");
    expect(&b, "worker-0       busy      620000    52 ms");
    expect(&b, "worker-1 is lost: silent; 1 lease free again");
    expect(&b, "chunk 620001 taken over: worker-1 -> worker-0, 96 ms after the loss");
    expect(&b, "chunk 00007 failed at worker-0, again in 100 ms: exit code 1");
    expect(&b, "chunk 00008 given up after 5 attempts: exit code 1");
    expect(&b, "DEAD LETTERS 2, r gives them fresh attempts");
    expect(&b, "q quit  p pause");
    assert_false(has(&b, "\033")); /* without colour, no sequence at all */
    buf_done(&b);
    model_free(m);
}

static void a_small_screen_keeps_what_matters(void **state)
{
    (void)state;
    struct model *m = busy_model();
    struct screen_view v = {.model = m, .place = "redis://127.0.0.1:6379", .keys = true};
    struct buf b;
    render(&v, 40, 10, &b);
    expect(&b, "sweep  running");
    expect(&b, "lost");
    expect(&b, "q quit");
    buf_done(&b);
    model_free(m);
}

static void the_map_of_a_million_chunks(void **state)
{
    (void)state;
    struct model *m = busy_model();
    struct screen_view v = {.model = m, .place = "", .utf8 = false};
    struct buf b;
    render(&v, 106, 40, &b); /* 100 columns, one row */
    char done[63] = "";
    memset(done, '#', 62);
    char expected[128];
    snprintf(expected, sizeof expected, "map   %sx.....", done);
    expect(&b, expected);
    buf_done(&b);
    render(&v, 106, 60, &b); /* three rows */
    expect(&b, "\n      ########");
    buf_done(&b);
    m->status.chunks = 5; /* as many columns as chunks */
    m->per_cell = 1;
    m->cells[0] = (struct queue_cell){.repeat = 2, .done = 1};
    m->cells[1] = (struct queue_cell){.repeat = 1, .leased = 1};
    m->cells[2] = (struct queue_cell){.repeat = 1, .ready = 1};
    m->cell_count = 3;
    render(&v, 80, 24, &b);
    expect(&b, "map   ##o!.\n");
    buf_done(&b);
    model_free(m);
}

static void hostile_bytes_do_nothing(void **state)
{
    (void)state;
    static const char evil[] = "\033[2J\r\n\x9b"
                               "31m\x07\xff\xc3(\xe2\x80\xae\xf0\x9f\x98\x80\t\x7f";
    struct model *m = busy_model();
    snprintf(m->job, sizeof m->job, "%s", evil);
    snprintf(m->link_text, sizeof m->link_text, "%s", evil);
    for (size_t i = 0; i < m->worker_count; i++) {
        snprintf(m->workers[i].name, sizeof m->workers[i].name, "%s", evil);
        snprintf(m->workers[i].host, sizeof m->workers[i].host, "%s", evil);
    }
    for (size_t i = 0; i < MODEL_EVENTS; i++) {
        struct model_event *e = &m->events[i];
        e->chunk = i % 2 ? -1 : INT64_MAX;
        e->at_ms = e->value = UINT64_MAX;
        snprintf(e->from, sizeof e->from, "%s", evil);
        snprintf(e->to, sizeof e->to, "%s", evil);
        snprintf(e->text, sizeof e->text, "%s", evil);
        if (i % 3 == 0)
            snprintf(e->event, sizeof e->event, "%s", evil);
    }
    snprintf(m->dead[0].reason, sizeof m->dead[0].reason, "%s", evil);
    snprintf(m->dead[0].worker, sizeof m->dead[0].worker, "%s", evil);
    struct screen_view v = {.model = m, .place = evil, .message = evil, .utf8 = true, .keys = true};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct buf b;
        render(&v, sizes[i][0], sizes[i][1], &b);
        assert_false(has(&b, "\033")); /* check_size has looked at the other bytes */
        assert_false(has(&b, "\xe2\x80\xae"));
        buf_done(&b);
    }
    model_free(m);
}

static void events_are_sentences(void **state)
{
    static const struct {
        const char *event, *text;
        int64_t chunk;
        uint64_t value;
        const char *shown;
    } cases[] = {
        {"job.created", "", -1, 0, " the job was created\n"},
        {"job.paused", "", -1, 0, " the job was paused\n"},
        {"job.finished", "", -1, 0, " the job is finished\n"},
        {"job.finished", "", -1, 2, " the job is finished with 2 dead letters\n"},
        {"chunk.redriven", "", 7, 0, " chunk 00007 gets fresh attempts\n"},
        {"lease.expired", "", 7, 0, " chunk 00007: the lease of w ran out\n"},
        {"chunk.dead", "exit status 1\nno such\tfile\n\n", 7, 1,
         " chunk 00007 given up after 1 attempt: exit status 1 no such file\n"},
        {"chunk.reclaimed", "", 7, 0, " chunk 00007 taken over by v\n"},
        {"chunk.failed", "its worker died", 7, 0, " chunk 00007 failed at w: its worker died\n"},
        {"new.kind", "why", 7, 1, " chunk 00007 new.kind: why\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct model *m = busy_model();
        struct queue_event e = {
            9,        NOW,     cases[i].value,       cases[i].chunk, str_of(cases[i].event),
            STR("w"), STR(""), str_of(cases[i].text)};
        struct queue_events list = {.events = &e, .event_count = 1};
        struct screen_view v = {.model = m, .place = "x"};
        struct buf b;
        if (strcmp(cases[i].event, "chunk.reclaimed") == 0) {
            e.from = STR("");
            e.to = STR("v");
        }
        model_events(m, &list);
        render(&v, 120, 30, &b);
        expect(&b, cases[i].shown);
        buf_done(&b);
        model_free(m);
    }
}

static void extreme_figures(void **state)
{
    (void)state;
    struct model *m = busy_model();
    uint64_t *figures[] = {
        &m->status.chunks, &m->status.completed, &m->status.leased, &m->status.attempts,
        &m->status.fresh,  &m->status.reclaimed, &m->eta_ms,        &m->took_p50_us,
        &m->took_p95_us,   &m->per_cell,         &m->now_ms};
    for (size_t i = 0; i < COUNT(figures); i++)
        *figures[i] = UINT64_MAX;
    m->rate = 1e300;
    for (size_t i = 0; i < m->worker_count; i++) {
        m->workers[i].chunk = m->workers[i].age_ms = m->workers[i].completed = UINT64_MAX;
        m->workers[i].rate = 1e300;
    }
    all_sizes(m);
    m->status = (struct ledger_status){0};
    all_sizes(m);
    model_free(m);
}

static void nothing_yet(void **state)
{
    (void)state;
    struct model *m = model_new();
    struct screen_view v = {.model = m, .place = "ttg+unix:/s", .keys = true};
    struct buf b;
    all_sizes(m);
    render(&v, 80, 24, &b);
    expect(&b, "not connected; it is tried again");
    buf_done(&b);
    m->connected = true;
    render(&v, 80, 24, &b);
    expect(&b, "no jobs on this queue yet");
    buf_done(&b);
    snprintf(m->job, sizeof m->job, "later");
    render(&v, 80, 24, &b);
    expect(&b, "waiting for job later");
    buf_done(&b);
    model_free(m);
}

static void memory_may_be_short(void **state)
{
    (void)state;
    struct model *m = busy_model();
    struct screen_view v = {.model = m, .place = "x", .keys = true};
    struct buf b;
    buf_init(&b, 100); /* far too small */
    assert_int_equal(screen_render(&v, 80, 24, &b), TTG_EFULL);
    buf_done(&b);
    model_free(m);
}

static void figures_read_well(void **state)
{
    (void)state;
    char t[SPAN_BYTES];
    static const struct {
        uint64_t ms;
        const char *text;
    } spans[] = {{0, "0 ms"},          {999, "999 ms"},
                 {1000, "1.0 s"},      {99999, "99.9 s"},
                 {100000, "1m 40s"},   {6000000, "1h 40m"},
                 {172800000, "2d 0h"}, {86400000ull * 1000, "1000d 0h"}};
    for (size_t i = 0; i < COUNT(spans); i++)
        assert_string_equal(span_text(t, spans[i].ms), spans[i].text);
    static const struct {
        uint64_t n;
        const char *text;
    } counts[] = {{0, "0"},
                  {999, "999"},
                  {1000, "1,000"},
                  {999999, "999,999"},
                  {1000000, "1,000,000"},
                  {12300000, "12.3M"},
                  {UINT64_MAX, "18.4E"}};
    for (size_t i = 0; i < COUNT(counts); i++)
        assert_string_equal(count_text(t, counts[i].n), counts[i].text);
    assert_string_equal(rate_text(t, 0), "0");
    assert_string_equal(rate_text(t, 0.314), "0.31");
    assert_string_equal(rate_text(t, 28.94), "28.9");
    assert_string_equal(rate_text(t, 289.4), "289");
    assert_string_equal(rate_text(t, 200000), "200,000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_fits_everywhere),
        cmocka_unit_test(it_tells_the_story_in_80x24),
        cmocka_unit_test(a_small_screen_keeps_what_matters),
        cmocka_unit_test(the_map_of_a_million_chunks),
        cmocka_unit_test(hostile_bytes_do_nothing),
        cmocka_unit_test(events_are_sentences),
        cmocka_unit_test(extreme_figures),
        cmocka_unit_test(nothing_yet),
        cmocka_unit_test(memory_may_be_short),
        cmocka_unit_test(figures_read_well),
    };
    return tap_run(tests);
}
