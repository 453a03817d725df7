/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a client's file, and what the file is called. */
#include "tap.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/prng.h"
#include "state/csv.h"
#include "state/ids.h"
#include "state/name.h"

#include <stdio.h>

static void fields_come_back(void **state)
{
    (void)state;
    static const struct {
        struct str field;
        const char *text;
    } cases[] = {
        {STR("plain"), "plain"}, {STR(""), ""},
        {STR("a,b"), "\"a,b\""}, {STR("say \"hi\""), "\"say \"\"hi\"\"\""},
        {STR("\""), "\"\"\"\""}, {STR("two\nlines"), "\"two\nlines\""},
        {STR("\r"), "\"\r\""},   {STR(" blank "), " blank "},
        {STR("nul\0in"), "nul"}, {STR("\xff\xfe"), "\xff\xfe"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf b;
        struct csv_row row;
        size_t used;
        buf_init(&b, 1000);
        assert_int_equal(csv_add(&b, cases[i].field, ','), 0);
        assert_int_equal(csv_add(&b, cases[i].field, '\n'), 0);
        assert_memory_equal(buf_ptr(&b), cases[i].text, strlen(cases[i].text));
        /* Whatever front part of it a crash left is no row, and is not changed. */
        for (size_t len = 0; len < buf_len(&b); len++) {
            char copy[100];
            memcpy(copy, buf_ptr(&b), len);
            assert_int_equal(csv_read(copy, len, &row, &used), TTG_EAGAIN);
            assert_memory_equal(copy, buf_ptr(&b), len);
        }
        size_t len = buf_len(&b);
        assert_int_equal(csv_read(buf_ptr(&b), len, &row, &used), 0);
        assert_int_equal(used, len);
        assert_int_equal(row.count, 2);
        assert_true(str_eq(row.fields[0], cases[i].field));
        assert_true(str_eq(row.fields[1], cases[i].field));
        buf_done(&b);
    }
}

static void odd_rows(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        size_t count;
    } cases[] = {
        {"\n", 0, 0},
        {"\r\n", 0, 0},
        {"a\r\n", 0, 1},
        {",\n", 0, 2},
        {"\"\"\n", 0, 1},
        {"a,\"b\"\r\n", 0, 2},
        {"a\"b\"\n", TTG_ECORRUPT, 0},
        {"\"a\"b\n", TTG_ECORRUPT, 0},
        {"a\rb\n", TTG_ECORRUPT, 0},
        {"\"a\n", TTG_EAGAIN, 0},
        {"", TTG_EAGAIN, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char bytes[32];
        struct csv_row row;
        size_t used, len = strlen(cases[i].text);
        memcpy(bytes, cases[i].text, len);
        assert_int_equal(csv_read(bytes, len, &row, &used), cases[i].rc);
        if (!cases[i].rc)
            assert_int_equal(row.count, cases[i].count);
    }
    char many[2 * CSV_FIELDS_MAX + 2];
    struct csv_row row;
    size_t used;
    memset(many, ',', sizeof many);
    many[CSV_FIELDS_MAX] = '\n';
    assert_int_equal(csv_read(many, sizeof many, &row, &used), TTG_ECORRUPT);
    memset(many, ',', sizeof many);
    many[CSV_FIELDS_MAX - 1] = '\n';
    assert_int_equal(csv_read(many, sizeof many, &row, &used), 0);
    assert_int_equal(row.count, CSV_FIELDS_MAX);
}

static void check_name(struct str client, bool fold, const char *expected)
{
    struct buf name, back;
    bool cut;
    buf_init(&name, 20000);
    buf_init(&back, 10000);
    assert_int_equal(name_add(&name, client, fold, &cut), 0);
    if (expected)
        assert_string_equal(buf_cstr(&name), expected);
    assert_true(buf_len(&name) <= NAME_BYTES_MAX && buf_len(&name) > 0);
    assert_null(memchr(buf_ptr(&name), '/', buf_len(&name)));
    assert_null(memchr(buf_ptr(&name), '\0', buf_len(&name)));
    assert_true(buf_ptr(&name)[0] != '.');
    int rc = name_read(buf_str(&name), &back);
    assert_int_equal(rc, cut ? TTG_EAGAIN : 0);
    if (!cut)
        assert_true(str_eq(buf_str(&back), client));
    buf_done(&name);
    buf_done(&back);
}

static void names_of_clients(void **state)
{
    (void)state;
    static const struct {
        struct str client;
        const char *plain, *folded;
    } cases[] = {
        {STR("CLI1"), "CLI1", "CLI1"},
        {STR("cli1"), "cli1", "cli1%"},
        {STR("Cli1"), "Cli1", "C%6C%691"},
        {STR("7"), "7", "7"},
        {STR(""), "%", "%"},
        {STR("."), "%2E", "%2E"},
        {STR(".."), "%2E.", "%2E."},
        {STR("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd", "%2E.%2F..%2Fetc%2Fpasswd%"},
        {STR("a/b"), "a%2Fb", "a%2Fb%"},
        {STR("a b"), "a%20b", "a%20b%"},
        {STR("%"), "%25", "%25"},
        {STR("x\0y"), "x%00y", "x%00y%"},
        {STR("\xc3\xa9"), "%C3%A9", "%C3%A9"},
        {STR("a@b.example"), "a@b.example", "a@b.example%"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_name(cases[i].client, false, cases[i].plain);
        check_name(cases[i].client, true, cases[i].folded);
    }
    char longer[NAME_CLIENT_BYTES_MAX];
    for (size_t len = 60; len < sizeof longer; len += 97) {
        for (size_t i = 0; i < len; i++)
            longer[i] = i % 3 ? 'A' : '/';
        check_name(str_make(longer, len), false, NULL);
        check_name(str_make(longer, len), true, NULL);
    }
}

/* No two of many short ids have names that are the same, not even where case does not count. */
static void names_do_not_meet(void **state)
{
    (void)state;
    enum { LETTERS = 7, IDS = LETTERS * LETTERS * LETTERS };
    static const char letters[LETTERS] = "aAbB%.6";
    static char names[IDS][32];
    for (size_t i = 0; i < IDS; i++) {
        char id[3] = {letters[i % LETTERS], letters[i / LETTERS % LETTERS],
                      letters[i / LETTERS / LETTERS]};
        struct buf name;
        bool cut;
        buf_init(&name, 100);
        assert_int_equal(name_add(&name, str_make(id, 3), true, &cut), 0);
        snprintf(names[i], sizeof names[i], "%s", buf_cstr(&name));
        buf_done(&name);
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq_nocase(str_of(names[i]), str_of(names[k])));
    }
}

static void foreign_names(void **state)
{
    (void)state;
    static const char *const names[] = {"", ".x", "a b", "%2", "%zz", "%2e", "a%h12", "%%"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct buf out;
        buf_init(&out, 100);
        assert_int_equal(name_read(str_of(names[i]), &out), TTG_EPROTO);
        buf_done(&out);
    }
}

static void add(struct ids *s, struct str id)
{
    assert_false(ids_has(s, id));
    assert_int_equal(ids_reserve(s, id.len), 0);
    ids_add(s, id);
    assert_true(ids_has(s, id));
}

struct copy {
    struct ids ids;
    char text[400];
    size_t pieces;
};

static int on_piece(void *ctx, struct str text)
{
    struct copy *c = ctx;
    c->pieces++;
    snprintf(c->text, sizeof c->text, "%.*s", (int)(text.len < 390 ? text.len : 390), text.ptr);
    return ids_read(&c->ids, text);
}

static void ids_as_text(void **state)
{
    (void)state;
    static const struct {
        struct str ids[8];
        const char *text;
    } cases[] = {
        {{STR("CLI100000002"), STR("CLI100000001"), STR("CLI100000003")},
         "CLI[100000001-100000003]"},
        {{STR("7")}, "7"},
        {{STR("m-9"), STR("m-10"), STR("m-11")}, "m-9 m-[10-11]"},
        {{STR("a b"), STR("a[1]"), STR("%"), STR("x,\"y\n")}, "%25 a%20b a%5B1] x%2C%22y%0A"},
        {{STR("1-3"), STR("~")}, "1-3 ~"},
        {{STR("x"), STR("x001"), STR("x1"), STR("x2")}, "x x[1-2] x001"},
        {{STR("999999999999999999"), STR("1000000000000000000")},
         "999999999999999999 1000000000000000000"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ids ids;
        struct copy copy = {.pieces = 0};
        ids_init(&ids, 5);
        ids_init(&copy.ids, 6);
        for (size_t k = 0; k < 8 && cases[i].ids[k].len; k++)
            add(&ids, cases[i].ids[k]);
        assert_int_equal(ids_text(&ids, 5000, on_piece, &copy), 0);
        assert_string_equal(copy.text, cases[i].text);
        assert_int_equal(copy.ids.count, ids.count);
        for (size_t k = 0; k < 8 && cases[i].ids[k].len; k++)
            assert_true(ids_has(&copy.ids, cases[i].ids[k]));
        ids_done(&ids);
        ids_done(&copy.ids);
    }
}

static void many_ids(void **state)
{
    (void)state;
    struct prng p;
    struct ids ids;
    struct copy copy = {.pieces = 0};
    prng_init(&p, 3);
    ids_init(&ids, 5);
    ids_init(&copy.ids, 5);
    for (int i = 0; i < 20000; i++) {
        char id[32];
        int len = snprintf(id, sizeof id, "%c%llx", 'a' + i % 3,
                           (unsigned long long)prng_below(&p, 30000));
        if (!ids_has(&ids, str_make(id, (size_t)len)))
            add(&ids, str_make(id, (size_t)len));
    }
    assert_int_equal(ids_text(&ids, 5000, on_piece, &copy), 0);
    assert_true(copy.pieces > 1);
    assert_int_equal(copy.ids.count, ids.count);
    ids_done(&ids);
    ids_done(&copy.ids);
}

static void refuses_wrong_ids(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "a[1-2", "a[2-1]", "a[1-22]", "a[x-y]",         "a[]",     "a[1]",
        "%4",    "%GG",    "  ",      "a[0-999999999]", "a[1-2]x",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct ids ids;
        ids_init(&ids, 5);
        assert_int_equal(ids_read(&ids, str_of(texts[i])), TTG_ECORRUPT);
        ids_done(&ids);
    }
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct ids ids;
        ids_init(&ids, 5);
        mem_fail_at(n);
        int rc = ids_read(&ids, STR("a[0001-0900] b"));
        int failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        ids_done(&ids);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_come_back),
        cmocka_unit_test(odd_rows),
        cmocka_unit_test(names_of_clients),
        cmocka_unit_test(names_do_not_meet),
        cmocka_unit_test(foreign_names),
        cmocka_unit_test(ids_as_text),
        cmocka_unit_test(many_ids),
        cmocka_unit_test(refuses_wrong_ids),
        cmocka_unit_test(survives_failed_allocations),
    };
    return tap_run(tests);
}
