/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_rig.h"

#include "base/log.h"
#include "base/tail.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define SH(script) RIG_ARGV("sh", "-c", script)

static void open_sh(char *const *argv)
{
    rig_open_command(KERNEL_EXEC, argv);
}

static void results_of_commands(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        enum kernel_status status;
        const char *output, *reason, *said;
    } cases[] = {
        {"echo {start}-{end}:{chunk}:{attempt}:{job}:{other}", KERNEL_OK,
         "3-7:42:1:sweep:{other}\n", "", ""},
        {"echo $TTG_START $TTG_END $TTG_CHUNK $TTG_ATTEMPT $TTG_JOB $TTG_WORKER", KERNEL_OK,
         "3 7 42 1 sweep worker-7\n", "", ""},
        {"cat", KERNEL_OK, "3\n4\n5\n6\n7\n", "", ""},
        {"true", KERNEL_OK, "", "", ""},
        {"echo out; echo oops >&2; exit 3", KERNEL_FAILED, "", "exit status 3", "oops\n"},
        {"exit 100", KERNEL_PERMANENT, "", "exit status 100: not to be retried", ""},
        {"printf unfinished >&2; kill -SEGV $$", KERNEL_FAILED, "", "killed by SIGSEGV",
         "unfinished\n"},
        {"kill -KILL $$", KERNEL_FAILED, "", "killed by SIGKILL", ""},
        {"exec 0<&-; echo no input", KERNEL_OK, "no input\n", "", ""},
        {"exec 1>&-; exit 0", KERNEL_OK, "", "", ""},
        {"exec 1>&-; sleep 0.05; exit 4", KERNEL_FAILED, "", "exit status 4", ""},
        {"echo fine; echo warning >&2", KERNEL_OK, "fine\n", "", "warning\n"},
        {"test -e /proc/$$/fd/50 || echo closed", KERNEL_OK, "closed\n", "", ""},
        {"grep -c 'SigBlk:.0000000000000000' /proc/self/status", KERNEL_OK, "1\n", "", ""},
        {"kill -PIPE $$", KERNEL_FAILED, "", "killed by SIGPIPE", ""}, /* ours is ignored */
    };
    assert_int_equal(dup2(2, 50), 50); /* not marked close-on-exec */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_sh(SH(cases[i].script));
        struct kernel_result *r = rig_run(3, 7);
        if (r->status != cases[i].status)
            fail_msg("%s: status %d, %.*s", cases[i].script, r->status, STR_ARG(r->reason));
        assert_str(r->output, cases[i].output);
        assert_str(r->reason, cases[i].reason);
        assert_str(r->stderr_tail, cases[i].said);
        kernel_close(rig.kernel);
        rig.kernel = NULL;
    }
    close(50);
}

static void runs_chunk_after_chunk(void **state)
{
    (void)state;
    rig.config.slots = 3;
    open_sh(SH("echo $TTG_START"));
    for (int64_t i = 0; i < 60; i += 3) {
        for (uint32_t slot = 0; slot < 3; slot++)
            assert_false(rig_start(slot, rig_task(i + slot, i + slot)));
        for (uint32_t slot = 0; slot < 3; slot++) {
            char want[24];
            snprintf(want, sizeof want, "%d\n", (int)(i + slot));
            assert_str(rig_wait(slot)->output, want);
        }
    }
}

/* Four million parameters through a pipe that holds 64 KiB, and back. */
static void streams_big_input_and_output_together(void **state)
{
    (void)state;
    rig.config.output_bytes_max = 64 << 20;
    open_sh(RIG_ARGV("cat"));
    struct kernel_result *r = rig_run(1000000, 4999999);
    assert_int_equal(r->status, KERNEL_OK);
    assert_int_equal(r->output.len, 4000000 * 8);
    assert_memory_equal(r->output.ptr + r->output.len - 8, "4999999\n", 8);
    assert_true(r->params == 4000000);
}

static void endless_input_is_not_held_in_memory(void **state)
{
    (void)state;
    open_sh(SH("head -c 20000000 | tail -c 10 | wc -c"));
    assert_str(rig_run(0, INT64_MAX)->output, "10\n");
}

static void any_bytes_come_through(void **state)
{
    (void)state;
    open_sh(SH("printf 'a\\000b\\377'"));
    struct kernel_result *r = rig_run(0, 0);
    assert_int_equal(r->output.len, 4);
    assert_memory_equal(r->output.ptr, "a\0b\xff", 4);
    assert_false(r->output_is_utf8);
    kernel_close(rig.kernel);
    open_sh(SH("printf 'gr\\303\\274n'"));
    assert_true(rig_run(0, 0)->output_is_utf8);
}

static void output_has_a_limit(void **state)
{
    (void)state;
    rig.config.output_bytes_max = 1000;
    open_sh(RIG_ARGV("yes"));
    struct kernel_result *r = rig_run(0, 0);
    assert_int_equal(r->status, KERNEL_FAILED);
    assert_str(r->reason, "output over the limit of 1000 bytes (--output-max)");
    kernel_close(rig.kernel);
    open_sh(SH("head -c 1000 /dev/zero")); /* exactly the limit */
    assert_int_equal(rig_run(0, 0)->output.len, 1000);
    kernel_close(rig.kernel);
    open_sh(SH("head -c 1001 /dev/zero"));
    assert_int_equal(rig_run(0, 0)->status, KERNEL_FAILED);
}

static void last_lines_of_stderr_are_kept(void **state)
{
    (void)state;
    open_sh(SH("seq 1000 >&2; exit 1"));
    struct kernel_result *r = rig_run(0, 0);
    assert_int_equal(r->stderr_tail.len, 19 * 4 + 5); /* 981..1000 */
    assert_memory_equal(r->stderr_tail.ptr, "981\n", 4);
    kernel_close(rig.kernel);
    open_sh(SH("head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2; exit 1"));
    r = rig_run(0, 0);
    assert_in_range(r->stderr_tail.len, 2000, TAIL_BYTES_MAX);
}

static char logged[4096];

static void sink(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%.*s", (int)len, line);
}

static void stderr_goes_to_the_log_line_by_line(void **state)
{
    (void)state;
    logged[0] = '\0';
    log_setup(&(struct log_setup){.level = LOG_INFO, .sink = sink});
    open_sh(SH("echo one >&2; echo two >&2"));
    rig_run(0, 0);
    log_setup(&(struct log_setup){0});
    assert_has(str_of(logged), "command.stderr job=sweep chunk=42 attempt=1 line=one\n");
    assert_has(str_of(logged), "line=two\n");
}

static void a_running_command_is_heard(void **state)
{
    (void)state;
    logged[0] = '\0';
    log_setup(&(struct log_setup){.level = LOG_INFO, .sink = sink});
    open_sh(SH("echo early >&2; exec sleep 100"));
    rig_start(0, rig_task(0, 0));
    uint64_t until_ns = loop_now_ns(rig.loop) + 20000000000u;
    while (!strstr(logged, "line=early\n") && loop_now_ns(rig.loop) < until_ns)
        assert_int_equal(loop_turn(rig.loop, 100), 0);
    log_setup(&(struct log_setup){0});
    assert_has(str_of(logged), "line=early\n");
    assert_int_equal(rig.done[0], 0);
}

static void a_noisy_command_does_not_flood_the_log(void **state)
{
    (void)state;
    logged[0] = '\0';
    log_setup(&(struct log_setup){.level = LOG_WARN, .sink = sink});
    open_sh(SH("seq 3000 >&2; exit 1"));
    assert_has(rig_run(0, 0)->stderr_tail, "2999\n3000\n");
    log_setup(&(struct log_setup){0});
    assert_str(str_of(logged), "WARN command.stderr_cut job=sweep chunk=42 lines=1000\n");
}

static void missing_descriptors_fail_a_chunk_only(void **state)
{
    (void)state;
    open_sh(RIG_ARGV("echo", "ok"));
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){(rlim_t)rig_fds() + 1, old.rlim_max};
    for (; low.rlim_cur < (rlim_t)rig_fds_before + 20; low.rlim_cur++) {
        setrlimit(RLIMIT_NOFILE, &low);
        struct kernel_result *r = rig_run(0, 0);
        if (r->status == KERNEL_OK)
            break;
        assert_has(r->reason, "Too many open files");
    }
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(rig.result[0].status, KERNEL_OK);
}

/* ---- ends ---- */

/* Waits until /proc says that the process is gone (a zombie of somebody else counts as gone). */
static bool gone(pid_t pid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    for (int i = 0; i < 2000; i++) {
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            return true;
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        char *state = n > 0 ? strrchr(text, ')') : NULL;
        if (!state || state[2] == 'Z' || state[2] == 'X')
            return true;
        usleep(10000);
    }
    return false;
}

static char dir[64], pid_file[96];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/ttg-exec-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(pid_file, sizeof pid_file, "%s/pid", dir);
    setenv("PID_FILE", pid_file, 1);
}

static void remove_dir(void)
{
    unlink(pid_file);
    rmdir(dir);
}

/* The number that a command wrote to $PID_FILE; the loop goes on meanwhile. */
static pid_t read_pid(void)
{
    for (int i = 0; i < 1000; i++) {
        FILE *f = fopen(pid_file, "r");
        int pid = 0;
        int n = f ? fscanf(f, "%d", &pid) : 0;
        if (f)
            fclose(f);
        if (n == 1)
            return pid;
        if (rig.done[0]) /* on a busy machine its time was over before it came to that */
            rig_start(0, rig_task(0, 0));
        loop_turn(rig.loop, 10);
    }
    fail_msg("no pid came");
    return 0;
}

#define SAY_PID "echo $! >$PID_FILE.new; mv $PID_FILE.new $PID_FILE; "

static void the_group_ends(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        bool cancel;
        uint64_t timeout_ms;
        enum kernel_status status;
    } cases[] = {
        {"sleep 100 & " SAY_PID "wait", true, 0, KERNEL_CANCELED},
        {"sleep 100 & " SAY_PID "wait", false, 300, KERNEL_TIMEOUT},
        /* TERM is ignored by all */
        {"trap '' TERM; sleep 100 & " SAY_PID "while :; do sleep 1; done", true, 0,
         KERNEL_CANCELED},
        /* half a result on TERM does not count */
        {"trap 'echo half; exit 0' TERM; sleep 100 & " SAY_PID "wait", true, 0, KERNEL_CANCELED},
        /* stopped processes end too */
        {"sleep 100 & " SAY_PID "kill -STOP $$", true, 0, KERNEL_CANCELED},
        /* what a command leaves behind goes with it, and does not hold up the result */
        {"sleep 100 & " SAY_PID "echo done", false, 0, KERNEL_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_dir();
        rig.config.timeout_ms = cases[i].timeout_ms;
        open_sh(SH(cases[i].script));
        rig_start(0, rig_task(0, 0));
        pid_t grandchild = read_pid();
        if (cases[i].cancel)
            kernel_cancel(rig.kernel, 0);
        assert_int_equal(rig_wait(0)->status, cases[i].status);
        assert_true(gone(grandchild));
        kernel_close(rig.kernel);
        rig.kernel = NULL;
        remove_dir();
    }
}

static void close_ends_what_runs(void **state)
{
    (void)state;
    make_dir();
    open_sh(SH("sleep 100 & " SAY_PID "wait"));
    rig_start(0, rig_task(0, 0));
    pid_t grandchild = read_pid();
    kernel_close(rig.kernel);
    rig.kernel = NULL;
    assert_true(gone(grandchild));
    assert_int_equal(rig.done[0], 0);
    remove_dir();
}

static void process_1_collects_the_orphans(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* as good as process 1 */
    open_sh(SH("sleep 100 & echo ok"));
    for (int i = 0; i < 3; i++)
        assert_str(rig_run(0, 0)->output, "ok\n");
    kernel_close(rig.kernel);
    rig.kernel = NULL;
    int rc = waitpid(-1, NULL, WNOHANG); /* neither a zombie nor a process */
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    assert_int_equal(rc, -1);
}

/* A worker process with two slots, in a fork: it tells nobody that it dies. */
static void worker_main(void)
{
    rig.config.slots = 2;
    rig.config.type = KERNEL_EXEC;
    rig.config.argv = SH("(trap '' TERM HUP; sleep 100) & " SAY_PID "wait");
    if (kernel_open(&rig.kernel, rig.loop, &rig.config, NULL))
        _exit(1);
    rig_start(0, rig_task(0, 0));
    loop_run(rig.loop);
    _exit(2);
}

static void nothing_survives_a_killed_worker(void **state)
{
    (void)state;
    make_dir();
    pid_t worker = fork();
    if (worker == 0) {
        loop_open(&rig.loop, NULL);
        worker_main();
    }
    pid_t grandchild = read_pid();
    assert_int_equal(kill(grandchild, 0), 0);
    kill(worker, SIGKILL);
    waitpid(worker, NULL, 0);
    assert_true(gone(grandchild));
    remove_dir();
}

/* ---- what cannot be started ---- */

static void refuses_what_is_no_command(void **state)
{
    (void)state;
    make_dir();
    int fd = open(pid_file, O_CREAT | O_WRONLY, 0600);
    close(fd);
    const struct {
        const char *command, *text;
    } cases[] = {
        {"no-such-command-ttg", "is in no directory of PATH"},
        {"./no/such/file", "no such file"},
        {"", "is in no directory of PATH"},
        {dir, "is a directory"},
        {pid_file, "is not executable"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *argv[] = {(char *)(uintptr_t)cases[i].command, NULL};
        struct err err;
        rig.config.type = KERNEL_EXEC;
        rig.config.argv = argv;
        assert_int_equal(kernel_open(&rig.kernel, rig.loop, &rig.config, &err), TTG_EUSAGE);
        assert_has(str_of(err.text), cases[i].text);
    }
    rig.config.argv = (char *[]){NULL};
    assert_int_equal(kernel_open(&rig.kernel, rig.loop, &rig.config, NULL), TTG_EUSAGE);
    remove_dir();
}

static void a_script_that_cannot_run_fails_its_chunk(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"echo hello\n", "#!/bin/sh"},
        {"#!/no/such/interpreter\n", "interpreter"},
    };
    for (int i = 0; i < 2; i++) {
        make_dir();
        int fd = open(pid_file, O_CREAT | O_WRONLY, 0700);
        assert_true(write(fd, cases[i][0], strlen(cases[i][0])) > 0);
        close(fd);
        open_sh(RIG_ARGV(pid_file));
        assert_true(rig_start(0, rig_task(0, 0)));
        assert_int_equal(rig.result[0].status, KERNEL_FAILED);
        assert_has(rig.result[0].reason, cases[i][1]);
        kernel_close(rig.kernel);
        rig.kernel = NULL;
        remove_dir();
    }
}

static void works_in_a_directory(void **state)
{
    (void)state;
    rig.config.dir = "/proc";
    open_sh(SH("pwd"));
    assert_str(rig_run(0, 0)->output, "/proc\n");
    kernel_close(rig.kernel);
    assert_int_equal(chdir("/bin"), 0); /* a relative path means from here */
    open_sh(RIG_ARGV("./echo", "found"));
    assert_str(rig_run(0, 0)->output, "found\n");
    kernel_close(rig.kernel);
    rig.config.dir = "/no/such/dir";
    open_sh(SH("pwd"));
    assert_has(rig_run(0, 0)->reason, "in /no/such/dir");
}

struct three_lines {
    struct kernel_source source;
    int next, rc;
};

static int read_line(struct kernel_source *s, struct buf *out, size_t bytes_max, bool *ret_end)
{
    struct three_lines *t = container_of(s, struct three_lines, source);
    (void)bytes_max;
    *ret_end = ++t->next == 3;
    return t->rc && t->next == 2 ? t->rc : buf_printf(out, "line %d\n", t->next);
}

static void lines_are_parameters_too(void **state)
{
    (void)state;
    open_sh(RIG_ARGV("cat"));
    struct three_lines t = {.source = {read_line}};
    struct kernel_task task = rig_task(10, 12);
    task.lines = &t.source;
    rig_start(0, task);
    assert_str(rig_wait(0)->output, "line 1\nline 2\nline 3\n");
    t = (struct three_lines){.source = {read_line}, .rc = TTG_EIO};
    rig_start(0, task);
    assert_int_equal(rig_wait(0)->status, KERNEL_FAILED);
}

static void a_killed_guard_is_replaced(void **state)
{
    (void)state;
    open_sh(SH("echo ok"));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    FILE *f = fopen(path, "r");
    int guard = 0;
    assert_int_equal(fscanf(f, "%d", &guard), 1);
    fclose(f);
    kill(guard, SIGKILL);
    assert_true(gone(guard));
    assert_str(rig_run(0, 0)->output, "ok\n");
    assert_str(rig_run(0, 0)->output, "ok\n");
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    rig.config.type = KERNEL_EXEC;
    rig.config.argv = SH("cat; echo {start} >&2");
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
        else if (rig.result[0].status != KERNEL_OK) /* a lost log line does no harm */
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
        RIG_TEST(results_of_commands),
        RIG_TEST(runs_chunk_after_chunk),
        RIG_TEST(streams_big_input_and_output_together),
        RIG_TEST(endless_input_is_not_held_in_memory),
        RIG_TEST(any_bytes_come_through),
        RIG_TEST(output_has_a_limit),
        RIG_TEST(last_lines_of_stderr_are_kept),
        RIG_TEST(stderr_goes_to_the_log_line_by_line),
        RIG_TEST(a_running_command_is_heard),
        RIG_TEST(a_noisy_command_does_not_flood_the_log),
        RIG_TEST(missing_descriptors_fail_a_chunk_only),
        RIG_TEST(the_group_ends),
        RIG_TEST(close_ends_what_runs),
        RIG_TEST(process_1_collects_the_orphans),
        RIG_TEST(nothing_survives_a_killed_worker),
        RIG_TEST(refuses_what_is_no_command),
        RIG_TEST(a_script_that_cannot_run_fails_its_chunk),
        RIG_TEST(works_in_a_directory),
        RIG_TEST(lines_are_parameters_too),
        RIG_TEST(a_killed_guard_is_replaced),
        RIG_TEST(survives_failed_allocations),
    };
    return tap_run(tests);
}
