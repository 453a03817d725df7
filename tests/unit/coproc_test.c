/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_rig.h"

#include <fcntl.h>
#include <signal.h>

#define SH(script) RIG_ARGV("sh", "-c", script)
#define ANSWER(json) "echo '" json "'"
#define EACH_LINE(script) "while read -r line; do " script "; done"

static void open_sh(char **argv)
{
    rig_open_command(KERNEL_COPROC, argv);
}

static void one_child_answers_many(void **state)
{
    (void)state;
    open_sh(SH(EACH_LINE("n=$((n+1)); echo \"{\\\"result\\\":\\\"$n $$\\\"}\"")));
    char first[32] = "";
    for (int i = 1; i <= 50; i++) {
        struct kernel_result *r = rig_run(0, 9);
        int n = 0, pid = 0;
        assert_int_equal(r->status, KERNEL_OK);
        assert_int_equal(sscanf(r->output.ptr, "%d %d", &n, &pid), 2);
        assert_int_equal(n, i);
        if (i == 1)
            snprintf(first, sizeof first, "%d", pid);
        assert_int_equal(pid, atoi(first));
    }
    rig_drain();
}

/* The child answers with the task line itself, as text. */
static void the_task_line_says_all(void **state)
{
    (void)state;
    open_sh(SH(EACH_LINE("printf '{\"result\":%s}\\n' \"$line\"")));
    struct kernel_task t = rig_task(-5, 4);
    t.job = "a\"b";
    rig_start(0, t);
    assert_str(rig_wait(0)->output,
               "{\"chunk_id\":\"00042\",\"start_param\":-5,\"end_param\":4,\"total_in_chunk\":10,"
               "\"attempt\":1,\"job\":\"a\\\"b\"}");
}

struct lines {
    struct kernel_source source;
    struct str text;
};

static int read_lines(struct kernel_source *s, struct buf *out, size_t bytes_max, bool *ret_end)
{
    (void)bytes_max;
    *ret_end = true;
    return buf_add_str(out, container_of(s, struct lines, source)->text);
}

static void lines_are_strings(void **state)
{
    (void)state;
    open_sh(SH(EACH_LINE("printf '{\"result\":%s}\\n' \"$line\"")));
    static const struct {
        struct str text;
        char separator;
        const char *params;
    } cases[] = {
        {STR("one\ntwo \"2\"\n"), '\n', ",\"params\":[\"one\",\"two \\\"2\\\"\"]}"},
        {STR("\n\n"), '\n', ",\"params\":[\"\",\"\"]}"},
        {STR(""), '\n', ",\"params\":[]}"},
        {STR("a\nb\0c\0"), '\0', ",\"params\":[\"a\\nb\",\"c\"]}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lines l = {{read_lines, cases[i].separator}, cases[i].text};
        struct kernel_task t = rig_task(0, 1);
        t.lines = &l.source;
        rig_start(0, t);
        assert_has(rig_wait(0)->output, cases[i].params);
    }
}

static void answers_of_all_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        enum kernel_status status;
        const char *output, *reason;
        bool lives; /* the same child takes the next task */
    } cases[] = {
        {ANSWER("{\"result\":\"ok\"}"), KERNEL_OK, "ok", "", true},
        {ANSWER("{\"sum\":42}"), KERNEL_OK, "", "", true},
        {ANSWER("{\"error\":\"no luck\"}"), KERNEL_FAILED, "", "no luck", true},
        {ANSWER("{\"error\":\"never\",\"permanent\":true}"), KERNEL_PERMANENT, "", "never", true},
        {ANSWER("debug print"), KERNEL_FAILED, "", "bad answer: ", false},
        {ANSWER("{\"result\":1,\"chunk_id\":\"00007\"}"), KERNEL_FAILED, "", "00007", false},
        {"printf '{\"result\":\"1\"}\\n{\"result\":2}\\n'", KERNEL_OK, "1", "", false},
        {"exit 0", KERNEL_FAILED, "", "exited without an answer", false},
        {"echo why >&2; exit 7", KERNEL_FAILED, "", "exit status 7", false},
        {"exit 100", KERNEL_PERMANENT, "", "exit status 100", false},
        {"kill -ABRT $$", KERNEL_FAILED, "", "killed by SIGABRT", false},
        {"exec 1>&-; sleep 100", KERNEL_FAILED, "", "closed its output", false},
        {ANSWER("{\"result\":\"last words\"}") "; exit 1", KERNEL_OK, "last words", "", false},
        {"head -c 100000 /dev/zero; echo", KERNEL_FAILED, "", "answer line too long", false},
        {"printf '{\"result\":\"'; head -c 2000 /dev/zero | tr '\\0' x; echo '\"}'", KERNEL_FAILED,
         "", "output over the limit of 1000 bytes (--output-max)", true},
    };
    rig.config.output_bytes_max = 1000;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char script[512];
        snprintf(script, sizeof script, "echo $$ >&2; " EACH_LINE("echo $$ >&2; %s"),
                 cases[i].script);
        open_sh(SH(script));
        for (int run = 0; run < 2; run++) {
            struct kernel_result *r = rig_run(0, 9);
            if (r->status != cases[i].status)
                fail_msg("%s: status %d, %.*s", cases[i].script, r->status, STR_ARG(r->reason));
            assert_str(r->output, cases[i].output);
            assert_has(r->reason, cases[i].reason);
        }
        kernel_close(rig.kernel);
        rig.kernel = NULL;
    }
    assert_true(rig.result[0].status == KERNEL_FAILED);
}

static void dead_children_are_replaced(void **state)
{
    (void)state;
    open_sh(SH("read -r line; echo \"{\\\"result\\\":\\\"$$\\\"}\""));
    int last = 0;
    for (int i = 0; i < 50; i++) {
        struct kernel_result *r = rig_run(0, 0);
        assert_int_equal(r->status, KERNEL_OK);
        int pid = atoi(r->output.ptr);
        assert_int_not_equal(pid, last);
        last = pid;
    }
}

static void an_answer_nobody_asked_for_ends_the_child(void **state)
{
    (void)state;
    open_sh(SH("read -r line; echo \"{\\\"result\\\":\\\"$$\\\"}\"; sleep 0.05; " ANSWER(
        "{\"result\":\"stale\"}") "; sleep 100"));
    int first = atoi(rig_run(0, 0)->output.ptr);
    uint64_t until_ns = loop_now_ns(rig.loop) + 20000000000u;
    while (kill(first, 0) == 0) {
        assert_int_equal(loop_turn(rig.loop, 20), 0);
        assert_true(loop_now_ns(rig.loop) < until_ns);
    }
    int second = atoi(rig_run(0, 0)->output.ptr);
    assert_true(first > 0 && second > 0 && second != first);
}

/* It closes its output first, and has exited when we look again, later than we wait for that. */
static void how_a_child_exited_counts_however_late_we_look(void **state)
{
    (void)state;
    char dir[] = "/tmp/ttg-coproc-XXXXXX", pid_file[64], go_file[64];
    assert_non_null(mkdtemp(dir));
    snprintf(pid_file, sizeof pid_file, "%s/pid", dir);
    snprintf(go_file, sizeof go_file, "%s/go", dir);
    setenv("PID_FILE", pid_file, 1);
    setenv("GO_FILE", go_file, 1);
    open_sh(SH("read -r line; exec 1>&-; echo $$ >$PID_FILE.new; mv $PID_FILE.new $PID_FILE; "
               "until [ -e $GO_FILE ]; do sleep 0.01; done; exit 100"));
    rig_start(0, rig_task(0, 0));
    FILE *f = NULL;
    for (int i = 0; i < 2000 && !(f = fopen(pid_file, "r")); i++)
        usleep(10000);
    int pid = 0;
    assert_true(f && fscanf(f, "%d", &pid) == 1);
    fclose(f);
    assert_int_equal(loop_turn(rig.loop, 1000), 0); /* sees the end of the output */
    assert_int_equal(rig.done[0], 0);
    assert_int_equal(close(open(go_file, O_CREAT | O_WRONLY, 0600)), 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    usleep(300000); /* what a busy machine does to us */
    assert_int_equal(rig_wait(0)->status, KERNEL_PERMANENT);
    unlink(pid_file);
    unlink(go_file);
    rmdir(dir);
}

static void a_child_that_hangs_is_ended(void **state)
{
    (void)state;
    rig.config.timeout_ms = 100;
    open_sh(SH("trap '' TERM; " EACH_LINE(
        "case $line in *'\"start_param\":1,'*) sleep 100;; *) " ANSWER("{\"sum\":1}") ";; esac")));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; rig_run(0, 9)->status != KERNEL_OK; i++) /* a busy machine is slow */
            assert_true(i < 100);
        if (round == 0)
            assert_int_equal(rig_run(1, 9)->status, KERNEL_TIMEOUT);
    }
    rig_start(0, rig_task(1, 9));
    kernel_cancel(rig.kernel, 0);
    assert_int_equal(rig_wait(0)->status, KERNEL_CANCELED);
}

/* The task line is far longer than a pipe holds, and the child writes much before it reads. */
static void big_lines_do_not_block(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20 };
    char *text = mem_alloc(BYTES + 1);
    memset(text, 'x', BYTES);
    for (int i = 79; i < BYTES; i += 80)
        text[i] = '\n';
    text[BYTES - 1] = '\n';
    text[BYTES] = '\0';
    struct lines l = {{read_lines, '\n'}, str_of(text)};
    open_sh(SH("head -c 300000 /dev/zero | tr '\\0' y >&2; n=$(head -n 1 | wc -c); "
               "echo \"{\\\"sum\\\":$n}\"; cat >/dev/null"));
    struct kernel_task t = rig_task(0, BYTES / 80 - 1);
    t.lines = &l.source;
    rig_start(0, t);
    struct kernel_result *r = rig_wait(0);
    assert_int_equal(r->status, KERNEL_OK);
    assert_true(r->sum > BYTES);
    /* An answer before the task was read: the answer counts, the child does not. */
    kernel_close(rig.kernel);
    open_sh(SH(ANSWER("{\"sum\":1}") "; sleep 0.1; cat >/dev/null"));
    for (int i = 0; i < 2; i++) {
        rig_start(0, t);
        assert_int_equal(rig_wait(0)->status, KERNEL_OK);
    }
    mem_free(text);
}

/* An answer that takes many reads, and a short one behind it. */
static void answers_come_in_pieces(void **state)
{
    (void)state;
    open_sh(SH(EACH_LINE("n=$((n+1)); printf '{\"result\":\"'; [ $((n % 2)) = 0 ] || "
                         "head -c 700000 /dev/zero | tr '\\0' x; echo 'end\"}'")));
    for (int i = 0; i < 4; i++) {
        struct kernel_result *r = rig_run(0, 9);
        assert_int_equal(r->status, KERNEL_OK);
        assert_int_equal(r->output.len, i % 2 == 0 ? 700003 : 3);
        assert_true(str_eq(str_make(r->output.ptr + r->output.len - 3, 3), STR("end")));
    }
    rig_drain();
}

static void drain_ends_the_children(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        EACH_LINE(ANSWER("{\"sum\":1}")) "; exit 0",
        EACH_LINE(ANSWER("{\"sum\":1}")) "; sleep 100",                  /* needs TERM */
        "trap '' TERM; " EACH_LINE(ANSWER("{\"sum\":1}")) "; sleep 100", /* needs KILL */
    };
    for (int i = 0; i < 3; i++) {
        rig.drained = false;
        rig.config.slots = 2;
        open_sh(SH(scripts[i]));
        for (uint32_t slot = 0; slot < 2; slot++)
            rig_start(slot, rig_task(0, 9));
        if (i != 1) /* once with the chunks running */
            for (uint32_t slot = 0; slot < 2; slot++)
                assert_int_equal(rig_wait(slot)->status, KERNEL_OK);
        rig_drain();
        assert_int_equal(rig.result[1].status, KERNEL_OK);
        kernel_close(rig.kernel);
        rig.kernel = NULL;
    }
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    rig.config.type = KERNEL_COPROC;
    rig.config.argv = SH(EACH_LINE(ANSWER("{\"result\":\"ok\"}")));
    rig.config.timeout_ms = 60000;
    for (size_t n = 1;; n++) {
        assert_true(n < 1000);
        mem_fail_at(n);
        int rc = kernel_open(&rig.kernel, rig.loop, &rig.config, NULL);
        if (!rc)
            rig_run(0, 9);
        int failed = mem_failed();
        mem_fail_at(0);
        if (rc)
            assert_int_equal(rc, TTG_ENOMEM);
        else if (rig.result[0].status != KERNEL_OK)
            assert_true(failed && rig.result[0].status == KERNEL_FAILED);
        kernel_close(rc ? NULL : rig.kernel);
        rig.kernel = NULL;
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(one_child_answers_many),
        RIG_TEST(the_task_line_says_all),
        RIG_TEST(lines_are_strings),
        RIG_TEST(answers_of_all_kinds),
        RIG_TEST(dead_children_are_replaced),
        RIG_TEST(an_answer_nobody_asked_for_ends_the_child),
        RIG_TEST(how_a_child_exited_counts_however_late_we_look),
        RIG_TEST(a_child_that_hangs_is_ended),
        RIG_TEST(big_lines_do_not_block),
        RIG_TEST(answers_come_in_pieces),
        RIG_TEST(drain_ends_the_children),
        RIG_TEST(survives_failed_allocations),
    };
    return tap_run(tests);
}
