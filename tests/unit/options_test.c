/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "base/suggest.h"
#include "cmd/help.h"
#include "cmd/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *test_variables[8][2];

static const char *test_variable(const char *name)
{
    for (size_t i = 0; i < 8 && test_variables[i][0]; i++)
        if (strcmp(test_variables[i][0], name) == 0)
            return test_variables[i][1];
    return NULL;
}

static void set_variable(const char *name, const char *value)
{
    for (size_t i = 0; i < 8; i++)
        if (!test_variables[i][0]) {
            test_variables[i][0] = name;
            test_variables[i][1] = value;
            return;
        }
    fail();
}

static int reset(void **state)
{
    (void)state;
    memset(test_variables, 0, sizeof test_variables);
    return 0;
}

static int parse(struct options *o, unsigned set, char **words, struct err *err)
{
    struct options_input in = {set, words, set == IN_WORKER, test_variable};
    return options_parse(o, &in, err);
}

#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})
static char *no_words[] = {NULL};

static char *word(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void assert_text(struct str s, const char *text)
{
    char *copy = mem_dup(s.ptr, s.len);
    assert_string_equal(copy, text);
    mem_free(copy);
}

/* ---- the table ---- */

static void every_row_is_sound(void **state)
{
    (void)state;
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        union option_number n;
        struct err e = {0};
        const char *texts[] = {row->def, row->min, row->max};
        for (size_t t = 0; t < 3; t++)
            if (texts[t] && option_value(row, str_of(texts[t]), &n, &e))
                fail_msg("%s: %s %s", row->flag, texts[t], e.text);
        assert_non_null(row->help);
        assert_true(row->help[strlen(row->help) - 1] != '.');
        assert_true(row->flag || row->variable);
        assert_true(row->commands != 0);
        assert_int_equal(row->min == NULL, row->max == NULL);
        assert_int_equal(row->type == OPTION_ENUM, row->choices != NULL);
        assert_true(row->type != OPTION_DURATION || row->unit);
        assert_true(row->type != OPTION_AUTO || row->def);
        for (unsigned j = 0; j < i; j++) {
            const struct option_row *other = &option_rows[j];
            if (!(row->commands & other->commands))
                continue;
            assert_false(row->flag && other->flag && strcmp(row->flag, other->flag) == 0);
            assert_false(row->letter && row->letter == other->letter);
            assert_false(row->variable && other->variable &&
                         strcmp(row->variable, other->variable) == 0);
        }
    }
}

/* Table 4.1 of the playbook. */
static void the_old_variables_have_their_defaults(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"WORKER_ID", "0"},
        {"TOTAL_WORKERS", "3"},
        {"TOTAL_PARAMETERS", "10000"},
        {"BATCH_SIZE", "500"},
        {"CHUNK_SIZE", "100"},
        {"SIMULATE_WORK_MS", "1"},
        {"LOG_LEVEL", "INFO"},
        {"LOG_FORMAT", "text"},
        {"QUEUE_MODE", "false"},
        {"QUEUE_BACKEND", "redis"},
        {"REDIS_HOST", "ttg-redis"},
        {"REDIS_PORT", "6379"},
        {"RABBITMQ_HOST", "ttg-rabbitmq"},
        {"RABBITMQ_PORT", "5672"},
        {"IDLE_TIMEOUT_SECONDS", "30"},
        {"STALE_CHECK_INTERVAL_SECONDS", "30"},
        {"STALE_THRESHOLD_MS", "60000"},
        {"SIMULATE_FAULT_RATE", "0.0"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t found = 0;
        for (unsigned n = 0; n < OPT_COUNT; n++)
            if (option_rows[n].variable && strcmp(option_rows[n].variable, table[i][0]) == 0 &&
                option_rows[n].commands & IN_WORKER) {
                assert_string_equal(option_rows[n].def, table[i][1]);
                found++;
            }
        assert_int_equal(found, 1);
    }
}

static const struct option_row
    u64 = {.type = OPTION_U64, .min = "1", .max = "100"},
    i64 = {.type = OPTION_I64, .min = "-5", .max = "9223372036854775807"},
    f64 = {.type = OPTION_F64, .min = "0", .max = "1"},
    time_s = {.type = OPTION_DURATION, .unit = "s", .min = "0", .max = "1d"},
    time_ms = {.type = OPTION_DURATION, .unit = "ms", .min = "1", .max = "365d"},
    size = {.type = OPTION_SIZE, .min = "1", .max = "1GiB"}, boolean = {.type = OPTION_BOOL},
    tri = {.type = OPTION_AUTO}, choice = {.type = OPTION_ENUM, .choices = "text|json"},
    string = {.type = OPTION_STRING}, maybe = {.type = OPTION_STRING, .empty_ok = true},
    name = {.type = OPTION_NAME};
static const struct {
    const struct option_row *row;
    struct str in;
    bool ok;
    uint64_t u;
} values[] = {
    {&u64, STR("1"), true, 1},
    {&u64, STR("100"), true, 100},
    {&u64, STR("0"), false, 0},
    {&u64, STR("101"), false, 0},
    {&u64, STR("-1"), false, 0},
    {&u64, STR(""), false, 0},
    {&u64, STR(" 1"), false, 0},
    {&u64, STR("1x"), false, 0},
    {&u64, STR("0x10"), false, 0},
    {&u64, STR("18446744073709551617"), false, 0},
    {&i64, STR("-5"), true, (uint64_t)-5},
    {&i64, STR("-6"), false, 0},
    {&i64, STR("9223372036854775808"), false, 0},
    {&f64, STR("0.5"), true, 0x3fe0000000000000u},
    {&f64, STR("nan"), false, 0},
    {&f64, STR("inf"), false, 0},
    {&f64, STR("1.01"), false, 0},
    {&f64, STR("-0.1"), false, 0},
    {&time_s, STR("25"), true, 25000000000u},
    {&time_s, STR("0.1"), true, 100000000},
    {&time_s, STR("500ms"), true, 500000000},
    {&time_s, STR("1.5h"), true, 5400000000000u},
    {&time_s, STR("25h"), false, 0},
    {&time_s, STR("-1"), false, 0},
    {&time_s, STR("5 s"), false, 0},
    {&time_s, STR("s"), false, 0},
    {&time_s, STR("5x"), false, 0},
    {&time_s, STR("99999999999999999999d"), false, 0},
    {&time_ms, STR("60000"), true, 60000000000u},
    {&time_ms, STR("0"), false, 0},
    {&size, STR("1"), true, 1},
    {&size, STR("1K"), true, 1024},
    {&size, STR("1kB"), true, 1000},
    {&size, STR("1.5MiB"), true, 1572864},
    {&size, STR("2G"), false, 0},
    {&boolean, STR("Yes"), true, 1},
    {&boolean, STR("off"), true, 0},
    {&boolean, STR("maybe"), false, 0},
    {&tri, STR("auto"), true, OPTION_UNDECIDED},
    {&tri, STR("true"), true, OPTION_YES},
    {&choice, STR("JSON"), true, 1},
    {&choice, STR("xml"), false, 0},
    {&choice, STR("text|json"), false, 0},
    {&string, STR("x"), true, 0},
    {&string, STR(""), false, 0},
    {&string, STR("a\0b"), false, 0},
    {&maybe, STR(""), true, 0},
    {&name, STR("Az09_-"), true, 0},
    {&name, STR(""), false, 0},
    {&name, STR("a b"), false, 0},
    {&name, STR("a/b"), false, 0},
    {&name, STR("@"), false, 0},
    {&name, STR("\xc3\xa9"), false, 0},
    {&name, STR("0123456789012345678901234567890123456789012345678901234567890123"), true, 0},
    {&name, STR("01234567890123456789012345678901234567890123456789012345678901234"), false, 0},
};

static void values_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        union option_number n = {.u = 0};
        struct err e = {0};
        int rc = option_value(values[i].row, values[i].in, &n, &e);
        if (rc != (values[i].ok ? 0 : TTG_EUSAGE))
            fail_msg("'%.*s': %d %s", STR_ARG(values[i].in), rc, e.text);
        assert_true(values[i].ok || strstr(e.text, "expected is"));
        if (values[i].ok)
            assert_int_equal(n.u, values[i].u);
    }
}

/* ---- flags ---- */

static void flags_take_their_forms(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    char **words =
        WORDS(word("--chunk"), word("5"), word("--batch=6"), word("-n7"), word("--queue-mode"),
              word("--no-color"), word("--"), word("cmd"), word("--chunk"));
    assert_int_equal(parse(&o, IN_WORKER, words, &e), 0);
    assert_int_equal(option_u64(&o, OPT_CHUNK), 5);
    assert_int_equal(option_u64(&o, OPT_BATCH), 6);
    assert_int_equal(option_u64(&o, OPT_PARAMS), 7);
    assert_true(option_bool(&o, OPT_QUEUE_MODE));
    assert_int_equal(option_tri(&o, OPT_COLOR), OPTION_NO);
    assert_int_equal(o.word_count, 2);
    assert_string_equal(o.words[0], "cmd");
    assert_int_equal(option_ms(&o, OPT_DRAIN), 25000);
    assert_true(option_given(&o, OPT_CHUNK));
    assert_false(option_given(&o, OPT_DRAIN));
    assert_null(option_text(&o, OPT_PLUGIN));
    options_done(&o);
}

static void the_last_flag_counts_and_words_are_kept(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    char **words = WORDS(word("worker"), word("--json"), word("--no-json"), word("-"), word("--"),
                         word("--json"));
    assert_int_equal(parse(&o, IN_CONFIG, words, &e), 0);
    assert_false(option_bool(&o, OPT_JSON));
    assert_int_equal(o.arg_count, 3);
    assert_string_equal(o.args[2], "--json");
    options_done(&o);
}

static void wrong_flags_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *says;
    } cases[] = {
        {{"--chnk", "1"}, "did you mean --chunk?"},
        {{"--verb"}, "unknown option --verb"},
        {{"--chunk"}, "--chunk needs a value"},
        {{"--chunk", "--"}, "--chunk needs a value"},
        {{"--no-chunk"}, "unknown option --no-chunk"},
        {{"--no-color=yes"}, "takes no value"},
        {{"--color=perhaps"}, "--color perhaps is not valid"},
        {{"--completion", "bash"}, "but to 'ttg help'"},
        {{"-x"}, "unknown option -x"},
        {{"-n"}, "--params needs a value"},
        {{"--chunk", "abc"}, "--chunk abc is not valid"},
        {{"--"}, "no command behind --"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options o;
        struct err e = {0};
        char *words[4] = {word(cases[i].words[0]), word(cases[i].words[1]), NULL, NULL};
        assert_int_equal(parse(&o, IN_WORKER, words, &e), TTG_EUSAGE);
        if (!strstr(e.text, cases[i].says))
            fail_msg("%s: %s", cases[i].words[0], e.text);
        options_done(&o);
    }
}

/* ---- variables and file ---- */

static char file_path[] = "/tmp/ttg-options-XXXXXX";

static void write_config(const char *text)
{
    strcpy(file_path, "/tmp/ttg-options-XXXXXX");
    int fd = mkstemp(file_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    set_variable("TTG_CONFIG", file_path);
}

static void assert_origin(const struct options *o, enum option_id id, const char *value,
                          const char *origin)
{
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(option_origin(o, id, &b), 0);
    assert_text(option_str(o, id), value);
    assert_true(strstr(buf_cstr(&b), origin));
    buf_done(&b);
}

static void sources_have_their_order(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    write_config("# settings\n\nchunk=1\n batch = 2 # as many\nworker_id = 3\n"
                 "redis-host = \"a # b\"\ntimeout = 5");
    set_variable("CHUNK_SIZE", "10");
    set_variable("BATCH_SIZE", "20");
    set_variable("JOB_COMPLETION_INDEX", "30");
    assert_int_equal(parse(&o, IN_WORKER, WORDS(word("--chunk=100")), &e), 0);
    assert_origin(&o, OPT_CHUNK, "100", "flag --chunk");
    assert_origin(&o, OPT_BATCH, "20", "variable BATCH_SIZE");
    assert_origin(&o, OPT_WORKER_ID, "30", "variable JOB_COMPLETION_INDEX");
    assert_origin(&o, OPT_REDIS_HOST, "a # b", ":6");
    assert_origin(&o, OPT_TIMEOUT, "5", ":7");
    assert_origin(&o, OPT_REDIS_PORT, "6379", "default");
    options_done(&o);
    set_variable("WORKER_ID", "31");
    assert_int_equal(parse(&o, IN_WORKER, no_words, &e), 0);
    assert_origin(&o, OPT_WORKER_ID, "31", "variable WORKER_ID");
    options_done(&o);
    unlink(file_path);
}

static void wrong_files_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"chunk\n", ":1: expected is a line"},
        {"\n= 5\n", ":2: no key"},
        {"chnk = 5\n", ":1: unknown setting 'chnk'; did you mean 'chunk'?"},
        {"json = true\n", ":1: unknown setting 'json'"},
        {"#\n\nchunk = abc\n", ":3: chunk = abc is not valid"},
        {"chunk =\n", ":1: chunk =  is empty"},
        {"chunk = 1\nchunk = 2\n", ":2: chunk = 2: line 1 has set it already"},
        {"redis-host = \"a\n", ":1: no closing quote"},
        {"redis-host = \"a\" b\n", ":1: text behind the closing quote"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options o;
        struct err e = {0};
        reset(NULL);
        write_config(cases[i][0]);
        assert_int_equal(parse(&o, IN_WORKER, no_words, &e), TTG_EUSAGE);
        if (!strstr(e.text, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], e.text);
        options_done(&o);
        unlink(file_path);
    }
}

static void a_named_file_has_to_be_there(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    set_variable("XDG_CONFIG_HOME", "/nonexistent");
    assert_int_equal(parse(&o, IN_WORKER, no_words, &e), 0);
    assert_null(o.file_path);
    options_done(&o);
    set_variable("TTG_CONFIG", "/nonexistent/file");
    assert_int_equal(parse(&o, IN_WORKER, no_words, &e), TTG_EUSAGE);
    assert_non_null(strstr(e.text, "/nonexistent/file: No such file"));
    options_done(&o);
    assert_int_equal(parse(&o, IN_VERSION, no_words, &e), 0); /* does not read it */
    options_done(&o);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    write_config("chunk=1\nbatch = 2\n");
    for (size_t n = 1;; n++) {
        struct options o;
        struct err e = {0};
        mem_fail_at(n);
        int rc = parse(&o, IN_WORKER, WORDS(word("--chunk"), word("3"), word("x")), &e);
        int failed = mem_failed();
        mem_fail_at(0);
        options_done(&o);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        if (!failed)
            break;
    }
    unlink(file_path);
}

/* ---- what is made from the tables ---- */

static void help_names_everything(void **state)
{
    (void)state;
    static int (*const writers[])(struct buf *) = {help_markdown, help_man, help_bash, help_zsh,
                                                   help_fish};
    for (size_t w = 0; w < sizeof writers / sizeof *writers; w++) {
        struct buf out;
        buf_init(&out, HELP_BYTES_MAX);
        assert_int_equal(writers[w](&out), 0);
        const char *text = buf_cstr(&out);
        for (size_t c = 0; c < CMD_COUNT; c++)
            assert_non_null(strstr(text, commands[c].name));
        assert_non_null(strstr(text, "chunk"));
        buf_done(&out);
    }
    for (size_t c = 0; c < CMD_COUNT; c++) {
        struct buf out;
        buf_init(&out, HELP_BYTES_MAX);
        assert_int_equal(help_command(&out, &commands[c], false), 0);
        for (struct str rest = buf_str(&out); rest.ptr;) {
            struct str line = str_cut(rest, '\n', &rest);
            /* Names and choices may be longer; sentences are broken. */
            assert_true(line.len <= HELP_COLUMNS || !memchr(line.ptr + 8, ' ', line.len - 8));
        }
        buf_done(&out);
    }
}

static void suggests_what_is_near(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {
        {"", "", 0},
        {"a", "", 1},
        {"worker", "worker", 0},
        {"wroker", "worker", 1},
        {"wrker", "worker", 1},
        {"kitten", "sitting", 3},
        {"ab", "ba", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(suggest_distance(str_of(cases[i].a), str_of(cases[i].b)),
                         cases[i].distance);
    struct suggest s;
    suggest_init(&s, STR("confgi"));
    suggest_offer(&s, "worker");
    suggest_offer(&s, "config");
    assert_string_equal(s.best, "config");
    suggest_init(&s, STR("zzz"));
    suggest_offer(&s, "worker");
    assert_null(s.best);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_sound),
        cmocka_unit_test(the_old_variables_have_their_defaults),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test_setup(flags_take_their_forms, reset),
        cmocka_unit_test_setup(the_last_flag_counts_and_words_are_kept, reset),
        cmocka_unit_test_setup(wrong_flags_are_refused, reset),
        cmocka_unit_test_setup(sources_have_their_order, reset),
        cmocka_unit_test_setup(wrong_files_are_refused, reset),
        cmocka_unit_test_setup(a_named_file_has_to_be_there, reset),
        cmocka_unit_test_setup(survives_failed_allocations, reset),
        cmocka_unit_test(help_names_everything),
        cmocka_unit_test(suggests_what_is_near),
    };
    return tap_run(tests);
}
