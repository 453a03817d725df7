/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct buf lines;

static void keep(void *ctx, const char *line, size_t len)
{
    assert_ptr_equal(ctx, &lines);
    assert_int_equal(line[len - 1], '\n');
    assert_null(memchr(line, '\n', len - 1));
    assert_int_equal(buf_add(&lines, line, len), 0);
}

static void setup(enum log_level level, enum log_format format, struct clock *clock)
{
    const struct log_setup s = {level, format, clock, keep, &lines};
    log_setup(&s);
    buf_clear(&lines);
}

static void expect(const char *text)
{
    assert_string_equal(buf_cstr(&lines), text);
    buf_clear(&lines);
}

static void writes_text(void **state)
{
    (void)state;
    struct clock_virtual v;
    clock_virtual_init(&v, 1770631212345);
    setup(LOG_INFO, LOG_TEXT, &v.clock);
    log_info("lease.expired", kv_u64("task", 17), kv_str("worker", "w3"), kv_i64("delta", -5),
             kv_bool("last", true), kv_f64("share", 0.25));
    expect("2026-02-09T10:00:12.345Z INFO lease.expired task=17 worker=w3 delta=-5 last=true "
           "share=0.25\n");
    setup(LOG_INFO, LOG_TEXT, NULL);
    log_warn("bare");
    expect("WARN bare\n");
    log_error("null", kv_str("value", NULL), (struct kv){.key = "none"});
    expect("ERROR null value=\"\"\n");
    log_warn("again", kv_left_out(0));
    log_warn("again", kv_left_out(7));
    expect("WARN again\nWARN again left_out=7\n");
}

static void knows_the_level_of_a_line(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int level; /* -1: none of ours */
    } cases[] = {
        {"2026-02-09T10:00:12.345Z INFO lease.expired task=17", LOG_INFO},
        {"ERROR bare", LOG_ERROR},
        {"{\"time\":\"2026-02-09T10:00:12.345Z\",\"level\":\"WARN\",\"event\":\"e\"}", LOG_WARN},
        {"{\"level\":\"DEBUG\",\"event\":\"e\"}", LOG_DEBUG},
        {"INFORMATION", -1},
        {"something went wrong", -1},
        {"2026-02-09 ERRORS", -1},
        {"{\"message\":\"INFO\"}", -1},
        {"{", -1},
        {"{\"time\":\"", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum log_level level = LOG_DEBUG;
        bool ours = log_line_level(str_of(cases[i].line), &level);
        assert_int_equal(ours ? (int)level : -1, cases[i].level);
    }
}

static void writes_json(void **state)
{
    (void)state;
    struct clock_virtual v;
    clock_virtual_init(&v, 0);
    setup(LOG_INFO, LOG_JSON, &v.clock);
    log_info("e", kv_u64("n", UINT64_MAX), kv_str("s", "a \"b\""), kv_bool("b", false),
             kv_f64("nan", NAN), kv_f64("inf", -INFINITY), kv_f64("f", 1e100));
    expect("{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"INFO\",\"event\":\"e\","
           "\"n\":18446744073709551615,\"s\":\"a \\\"b\\\"\",\"b\":false,\"nan\":null,"
           "\"inf\":null,\"f\":1e+100}\n");
    setup(LOG_INFO, LOG_JSON, NULL);
    log_info("bare");
    expect("{\"level\":\"INFO\",\"event\":\"bare\"}\n");
}

static void any_bytes_stay_on_the_line(void **state)
{
    (void)state;
    static const struct {
        struct str value;
        const char *text;
    } cases[] = {
        {STR("plain/1.2-x"), "plain/1.2-x"},
        {STR("two words"), "\"two words\""},
        {STR("a=b"), "\"a=b\""},
        {STR("x\ny\r"), "\"x\\ny\\r\""},
        {STR("\0\x1b[31m\x7f"), "\"\\u0000\\u001b[31m\\u007f\""},
        {STR("gr\xc3\xbc\xff"), "\"gr\xc3\xbc\xef\xbf\xbd\""},
        {STR(""), "\"\""},
    };
    for (int format = LOG_TEXT; format <= LOG_JSON; format++)
        for (size_t i = 0; i < COUNT(cases); i++) {
            setup(LOG_INFO, (enum log_format)format, NULL);
            log_info("e", kv_s("v", cases[i].value));
            assert_true(str_is_utf8(buf_str(&lines)));
            char text[100];
            bool quoted = cases[i].text[0] == '"';
            const char *q = format == LOG_JSON && !quoted ? "\"" : "";
            snprintf(text, sizeof text,
                     format == LOG_JSON ? "{\"level\":\"INFO\",\"event\":\"e\",\"v\":%s%s%s}\n"
                                        : "INFO e v=%s%s%s\n",
                     q, cases[i].text, q);
            expect(text);
        }
}

static void level_decides(void **state)
{
    (void)state;
    setup(LOG_WARN, LOG_TEXT, NULL);
    log_debug("a");
    log_info("b");
    log_warn("c");
    log_error("d");
    expect("WARN c\nERROR d\n");
    assert_true(log_enabled(LOG_WARN));
    assert_false(log_enabled(LOG_INFO));
    log_setup(&(struct log_setup){.level = LOG_DEBUG});
    assert_false(log_enabled(LOG_ERROR)); /* no sink */
    log_error("silent");
    expect("");
}

static void names_are_parsed(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        bool known;
        enum log_level level;
    } cases[] = {
        {STR("debug"), true, LOG_DEBUG}, {STR("INFO"), true, LOG_INFO},
        {STR("Warn"), true, LOG_WARN},   {STR("WARNING"), true, LOG_WARN},
        {STR("error"), true, LOG_ERROR}, {STR(""), false, LOG_INFO},
        {STR("loud"), false, LOG_INFO},  {STR("info "), false, LOG_INFO},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum log_level level = LOG_INFO;
        assert_int_equal(log_level_parse(cases[i].text, &level), cases[i].known);
        assert_int_equal(level, cases[i].level);
    }
    enum log_format format = LOG_TEXT;
    assert_true(log_format_parse(STR("Json"), &format) && format == LOG_JSON);
    assert_false(log_format_parse(STR("xml"), &format) || format != LOG_JSON);
    assert_true(log_format_parse(STR("text"), &format) && format == LOG_TEXT);
}

static void context_is_on_each_line(void **state)
{
    (void)state;
    setup(LOG_INFO, LOG_TEXT, NULL);
    log_context("worker", "w 1");
    log_context("job", "sweep");
    log_context("host", "h");
    log_info("a", kv_u64("n", 1));
    log_context("job", "other");
    log_context("worker", NULL);
    log_context("worker", NULL);
    log_info("b");
    expect("INFO a worker=\"w 1\" job=sweep host=h n=1\nINFO b job=other host=h\n");
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    log_context("host", longer);
    log_info("c");
    assert_int_equal(buf_len(&lines), strlen("INFO c job=other host=\n") + 64);
    static const char *const more[] = {"c3", "c4", "c5", "c6", "c7", "c8", "c9", "c10"};
    for (size_t i = 0; i < COUNT(more); i++)
        log_context(more[i], "v"); /* what has no room is left out */
    buf_clear(&lines);
    log_info("d");
    assert_non_null(strstr(buf_cstr(&lines), " c8=v\n"));
    log_context("host", NULL);
    log_context("job", NULL);
    for (size_t i = 0; i < COUNT(more); i++)
        log_context(more[i], NULL);
}

static void a_long_value_does_not_hide_the_event(void **state)
{
    (void)state;
    static char longer[100000];
    memset(longer, 'x', sizeof longer - 1);
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        setup(LOG_INFO, (enum log_format)format, NULL);
        log_info("big", kv_str("v", longer), kv_u64("after", 1));
        expect(format == LOG_JSON ? "{\"level\":\"INFO\",\"event\":\"big\",\"after\":1}\n"
                                  : "INFO big after=1\n");
        for (size_t len = 16300; len < 16400; len++) { /* around the limit */
            log_info("big", kv_s("v", str_make(longer, len)));
            assert_true(buf_len(&lines) >= strlen("INFO big\n"));
            char last = buf_ptr(&lines)[buf_len(&lines) - 2];
            assert_true(format == LOG_TEXT || last == '}');
            buf_clear(&lines);
        }
    }
}

static void needs_no_memory(void **state)
{
    (void)state;
    setup(LOG_INFO, LOG_TEXT, NULL);
    assert_int_equal(buf_add(&lines, "", 0), 0);
    mem_fail_at(1);
    log_info("oom", kv_str("text", "a longer value, to be quoted"));
    assert_false(mem_failed());
    mem_fail_at(0);
    expect("INFO oom text=\"a longer value, to be quoted\"\n");
}

static void repeats_are_limited(void **state)
{
    (void)state;
    struct log_limit l = {0};
    uint64_t left_out = 99;
    assert_true(log_limit_pass(&l, 5000, &left_out));
    assert_int_equal(left_out, 0);
    for (uint64_t t = 5000; t < 6000; t += 100)
        assert_false(log_limit_pass(&l, t, &left_out));
    assert_true(log_limit_pass(&l, 6000, &left_out));
    assert_int_equal(left_out, 10);
    assert_true(log_limit_pass(&l, 7000, &left_out));
    l = (struct log_limit){0};
    assert_true(log_limit_minute(&l, 5000));
    assert_false(log_limit_minute(&l, 64999));
    assert_true(log_limit_minute(&l, 65000));
    assert_int_equal(left_out, 0);
}

static void a_forked_child_can_log(void **state)
{
    (void)state;
    setup(LOG_INFO, LOG_TEXT, NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        log_info("child");
        _exit(buf_len(&lines) == strlen("INFO child\n") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int done(void **state)
{
    (void)state;
    buf_done(&lines);
    return 0;
}

int main(void)
{
    buf_init(&lines, 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text),
        cmocka_unit_test(writes_json),
        cmocka_unit_test(knows_the_level_of_a_line),
        cmocka_unit_test(any_bytes_stay_on_the_line),
        cmocka_unit_test(level_decides),
        cmocka_unit_test(names_are_parsed),
        cmocka_unit_test(context_is_on_each_line),
        cmocka_unit_test(a_long_value_does_not_hide_the_event),
        cmocka_unit_test(needs_no_memory),
        cmocka_unit_test(repeats_are_limited),
        cmocka_unit_test_teardown(a_forked_child_can_log, done),
    };
    return tap_run(tests);
}
