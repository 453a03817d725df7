/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "wire/resp.h"

#include <stdio.h>

static const struct resp_limits limits = {RESP_ARGS_MAX, RESP_BULK_BYTES_MAX};

/* "a|b|" for the words a and b; nothing when incomplete; "!" and the text for an error. */
static const char *parse(struct resp_request *r, struct str bytes, size_t *ret_len)
{
    static char shown[4096];
    struct err err = {0};
    size_t at = 0;
    int rc = resp_parse(r, &limits, bytes, ret_len, &err);
    if (rc < 0) {
        snprintf(shown, sizeof(shown), "!%s", err.text);
        return shown;
    }
    if (rc == 0)
        return NULL;
    for (size_t i = 0; i < r->argc; i++) {
        memcpy(shown + at, r->argv[i].ptr, r->argv[i].len);
        at += r->argv[i].len;
        shown[at++] = '|';
    }
    shown[at] = 0;
    return shown;
}

static void takes_requests(void **state)
{
    static const struct {
        struct str in;
        const char *words;
    } cases[] = {
        {STR("*1\r\n$4\r\nPING\r\n"), "PING|"},
        {STR("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n"), "ECHO||"},
        {STR("*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\n"), "ECHO|a\r\nb|"},
        {STR("*0\r\n"), ""},
        {STR("*-1\r\n"), ""},
        {STR("PING\r\n"), "PING|"},
        {STR("PING\n"), "PING|"},
        {STR("\r\n"), ""},
        {STR("  set  a   b \r\n"), "set|a|b|"},
        {STR("set \"a b\" 'c d'\r\n"), "set|a b|c d|"},
        {STR("set \"\\x41\\n\\\"\\q\" 'it\\'s'\r\n"), "set|A\n\"q|it's|"},
        {STR("set ab\"c d\"\r\n"), "set|abc d|"},
        {STR("set \"\"\r\n"), "set||"},
    };
    struct resp_request r;
    (void)state;
    resp_request_init(&r);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len, needed = 0;
        const char *words = parse(&r, cases[i].in, &len);
        assert_non_null(words);
        assert_string_equal(words, cases[i].words);
        assert_int_equal(len, cases[i].in.len);
        /* Every beginning asks for more, never for more than there is. */
        for (size_t k = 0; k < cases[i].in.len; k++) {
            assert_null(parse(&r, str_make(cases[i].in.ptr, k), &needed));
            assert_in_range(needed, k + 1, cases[i].in.len);
        }
    }
    resp_request_done(&r);
}

static void refuses_nonsense(void **state)
{
    static const struct {
        struct str in;
        const char *text;
    } cases[] = {
        {STR("*x\r\n"), "!Protocol error: invalid multibulk length"},
        {STR("*1048577\r\n"), "!Protocol error: invalid multibulk length"},
        {STR("*99999999999999999999\r\n"), "!Protocol error: invalid multibulk length"},
        {STR("*0000000000000000000000000000000001"), "!Protocol error: invalid multibulk length"},
        {STR("*1\r\n:4\r\n"), "!Protocol error: expected '$', got ':'"},
        {STR("*1\r\n\x01"), "!Protocol error: expected '$', got '?'"},
        {STR("*1\r\n$-1\r\n"), "!Protocol error: invalid bulk length"},
        {STR("*1\r\n$536870913\r\n"), "!Protocol error: invalid bulk length"},
        {STR("*1\r\n$1x\r\n"), "!Protocol error: invalid bulk length"},
        {STR("*1\r\n$1\r\nabc"), "!Protocol error: bulk string without its line end"},
        {STR("set \"a\r\n"), "!Protocol error: unbalanced quotes in request"},
        {STR("set \"a\"b\r\n"), "!Protocol error: unbalanced quotes in request"},
    };
    struct resp_request r;
    (void)state;
    resp_request_init(&r);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len;
        const char *text = parse(&r, cases[i].in, &len);
        assert_non_null(text);
        assert_string_equal(text, cases[i].text);
    }
    resp_request_done(&r);
}

static void limits_lines_and_strangers(void **state)
{
    static char line[RESP_LINE_BYTES_MAX + 2];
    static const struct resp_limits few = {2, 3};
    struct resp_request r;
    struct err err;
    size_t len;
    (void)state;
    resp_request_init(&r);
    memset(line, 'x', sizeof(line));
    assert_int_equal(resp_parse(&r, &limits, str_make(line, RESP_LINE_BYTES_MAX), &len, &err), 0);
    assert_int_equal(resp_parse(&r, &limits, str_make(line, sizeof(line)), &len, &err), TTG_EPROTO);
    assert_int_equal(resp_parse(&r, &few, STR("*2\r\n$3\r\nabc\r\n$0\r\n\r\n"), &len, &err), 1);
    assert_int_equal(resp_parse(&r, &few, STR("*3\r\n"), &len, &err), TTG_EPROTO);
    assert_int_equal(resp_parse(&r, &few, STR("*1\r\n$4\r\n"), &len, &err), TTG_EPROTO);
    resp_request_done(&r);
}

static void announces_cost_nothing(void **state)
{
    struct resp_request r;
    struct err err;
    size_t len;
    (void)state;
    resp_request_init(&r);
    assert_int_equal(resp_parse(&r, &limits, STR("*1048576\r\n$536870912\r\n"), &len, &err), 0);
    /* It says how much it waits for, and allocates nothing for words that are not there. */
    assert_true(len > 536870912);
    assert_int_equal(r.cap, 0);
    resp_request_done(&r);
}

static void survives_failing_allocations(void **state)
{
    struct str in = STR("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    (void)state;
    for (size_t n = 1;; n++) {
        struct resp_request r;
        struct err err;
        size_t len;
        resp_request_init(&r);
        mem_fail_at(n);
        int rc = resp_parse(&r, &limits, in, &len, &err);
        if (!rc || rc == 1)
            rc = resp_split(&r, STR("a \"b c\" d")) ? TTG_ENOMEM : rc;
        int failed = mem_failed();
        mem_fail_at(0);
        resp_request_done(&r);
        if (!failed)
            break;
        assert_int_equal(rc, TTG_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_requests),
        cmocka_unit_test(refuses_nonsense),
        cmocka_unit_test(limits_lines_and_strangers),
        cmocka_unit_test(announces_cost_nothing),
        cmocka_unit_test(survives_failing_allocations),
    };
    return tap_run(tests);
}
