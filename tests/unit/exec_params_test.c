/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters as arguments of a command: {} and {param}. */
#include "kernel_rig.h"

#include "base/mem.h"

#define TOO_LONG "the parameters are too long for arguments"

struct lines {
    struct kernel_source source;
    struct str text;
};

/* In small pieces, as a file comes. */
static int read_lines(struct kernel_source *s, struct buf *out, size_t bytes_max, bool *ret_end)
{
    struct lines *l = container_of(s, struct lines, source);
    size_t piece = l->text.len < 3 || l->text.len > bytes_max ? l->text.len : 3;
    int rc = buf_add(out, l->text.ptr, piece);
    l->text = str_make(l->text.ptr + piece, l->text.len - piece);
    *ret_end = l->text.len == 0;
    return rc;
}

static struct kernel_result *run_lines(struct str text, char separator, int64_t count)
{
    struct lines l = {{read_lines, separator}, text};
    struct kernel_task t = rig_task(0, count - 1);
    t.lines = &l.source;
    rig_start(0, t);
    return rig_wait(0);
}

static void arguments(void **state)
{
    (void)state;
    static const struct {
        const char *argv[7];
        struct str text;
        char separator;
        int64_t count;
        const char *output;
    } cases[] = {
        {{"printf", "[%s]", "{}"}, STR("a b\nc\n"), '\n', 2, "[a b][c]"},
        {{"printf", "[%s]", "{}", "-", "{}"}, STR("a\nb\n"), '\n', 2, "[a][b][-][a][b]"},
        {{"printf", "[%s]", "{}"}, STR("$(id)\n;`x`\n"), '\n', 2, "[$(id)][;`x`]"},
        {{"printf", "[%s]", "{}"}, STR("\n\n"), '\n', 2, "[][]"},
        {{"printf", "[%s]", "{}"}, STR("a\nb\0c\0"), '\0', 2, "[a\nb][c]"},
        {{"printf", "[%s]", "x{}", "{ }", "{{}}", "{}"},
         STR("a\n"),
         '\n',
         1,
         "[x{}][{ }][{{}}][a]"},
        {{"printf", "[%s]", "{param}"}, STR("a b\n"), '\n', 1, "[a b]"},
        {{"printf", "[%s]", "to/{param}-{chunk}.png", "{param}{param}"},
         STR("a{end}\n"),
         '\n',
         1,
         "[to/a{end}-42.png][a{end}a{end}]"},
        {{"cat", "/dev/stdin"}, STR("a\nb\n"), '\n', 2, "a\nb\n"},
        {{"sh", "-c", "cat; echo $#", "sh", "{}"}, STR("a\nb\n"), '\n', 2, "2\n"},
        {{"sh", "-c", "cat; echo $1", "sh", "{param}"}, STR("a\n"), '\n', 1, "a\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig_open_command(KERNEL_EXEC, (char **)(uintptr_t)cases[i].argv);
        for (int again = 0; again < 2; again++) {
            struct kernel_result *r = run_lines(cases[i].text, cases[i].separator, cases[i].count);
            if (r->status != KERNEL_OK)
                fail_msg("case %zu: %.*s", i, STR_ARG(r->reason));
            assert_str(r->output, cases[i].output);
        }
        kernel_close(rig.kernel);
        rig.kernel = NULL;
    }
}

static void integers_are_parameters_too(void **state)
{
    (void)state;
    rig_open_command(KERNEL_EXEC, RIG_ARGV("echo", "{}"));
    assert_str(rig_run(-1, 2)->output, "-1 0 1 2\n");
    assert_str(rig_run(7, 7)->output, "7\n");
    rig_start(0, rig_task(1, 50000));
    assert_int_equal(rig_wait(0)->status, KERNEL_OK);
}

static void refuse(struct str text, char separator, int64_t count, const char *reason)
{
    struct kernel_result *r = run_lines(text, separator, count);
    assert_int_equal(r->status, KERNEL_PERMANENT);
    assert_has(r->reason, reason);
}

static void what_does_not_fit_is_told(void **state)
{
    (void)state;
    enum { LONG = 128 << 10 };
    char *text = mem_array(LONG + 1, 1);
    memset(text, 'x', LONG);
    rig_open_command(KERNEL_EXEC, RIG_ARGV("echo", "{}"));
    refuse(STR("a\0b\n"), '\n', 1, "holds a NUL byte");
    text[LONG] = '\n';
    refuse(str_make(text, LONG + 1), '\n', 1, TOO_LONG);
    text[LONG - 1] = '\n';
    assert_int_equal(run_lines(str_make(text, LONG), '\n', 1)->output.len, LONG);
    assert_int_equal(rig_run(0, INT64_MAX)->status, KERNEL_PERMANENT);
    assert_has(rig.result[0].reason, TOO_LONG);
    mem_free(text);
}

static void one_parameter_needs_chunks_of_one(void **state)
{
    (void)state;
    struct err err;
    rig_open_command(KERNEL_EXEC, RIG_ARGV("echo", "x{param}"));
    assert_int_equal(kernel_check_chunk(&rig.config, 1, &err), 0);
    assert_int_equal(kernel_check_chunk(&rig.config, 2, &err), TTG_EUSAGE);
    assert_has(str_of(err.text), "--chunk 1");
    refuse(STR("a\nb\n"), '\n', 2, "--chunk 1");
    rig.config.argv = RIG_ARGV("echo", "{}", "{par}");
    assert_int_equal(kernel_check_chunk(&rig.config, 2, &err), 0);
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        rig_open_command(KERNEL_EXEC, RIG_ARGV("echo", "{}", "{param}"));
        assert_true(n < 1000);
        mem_fail_at(n);
        rig_run(7, 7);
        int failed = mem_failed();
        mem_fail_at(0);
        if (rig.result[0].status == KERNEL_OK)
            assert_str(rig.result[0].output, "7 7\n");
        else
            assert_true(failed && rig.result[0].status == KERNEL_FAILED);
        kernel_close(rig.kernel);
        rig.kernel = NULL;
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(arguments),
        RIG_TEST(integers_are_parameters_too),
        RIG_TEST(what_does_not_fit_is_told),
        RIG_TEST(one_parameter_needs_chunks_of_one),
        RIG_TEST(survives_failed_allocations),
    };
    return tap_run(tests);
}
