/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_rig.h"

#include <limits.h>

/* The libraries of tests/unit/plugins are built beside this program. */
static const char *library(const char *name)
{
    static char path[PATH_MAX + 64];
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/plugins/%s.so", self, name);
    return path;
}

static void open_good(const char *arg)
{
    rig.config.type = KERNEL_PLUGIN;
    rig.config.plugin = library("good");
    rig.config.plugin_arg = arg;
    rig_open();
}

static struct kernel_result *run_chunk(uint64_t chunk, int64_t start, int64_t end)
{
    struct kernel_task t = rig_task(start, end);
    t.chunk = chunk;
    rig_start(0, t);
    return rig_wait(0);
}

static void says_what_is_wrong_with_a_library(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int rc;
        const char *text;
    } cases[] = {
        {"missing", TTG_EUSAGE, "cannot load plugin"},
        {"no_symbol", TTG_EUSAGE, "exports no ttg_plugin"},
        {"other_abi", TTG_EVERSION, "interface version 99, this ttg 1"},
        {"no_run", TTG_EVERSION, "no run function"},
    };
    rig.config.type = KERNEL_PLUGIN;
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig.config.plugin = library(cases[i].name);
        assert_int_equal(kernel_open(&rig.kernel, rig.loop, &rig.config, &err), cases[i].rc);
        assert_has(str_of(err.text), cases[i].text);
    }
    rig.config.plugin = "/dev/null";
    assert_int_equal(kernel_open(&rig.kernel, rig.loop, &rig.config, &err), TTG_EUSAGE);
    rig.config.plugin = "libc.so.6"; /* a file here, not the system's */
    assert_int_equal(kernel_open(&rig.kernel, rig.loop, &rig.config, &err), TTG_EUSAGE);
    assert_has(str_of(err.text), "./libc.so.6");
    rig.config.plugin = NULL;
    assert_int_equal(kernel_open(&rig.kernel, rig.loop, &rig.config, &err), TTG_EUSAGE);
    rig.config.plugin = library("good");
    rig.config.plugin_arg = "refuse";
    assert_int_equal(kernel_open(&rig.kernel, rig.loop, &rig.config, &err), TTG_EUSAGE);
    assert_has(str_of(err.text), "slot 0 has no licence");
}

static void computes(void **state)
{
    (void)state;
    open_good("arg");
    struct kernel_result *r = run_chunk(0, 0, 9999);
    assert_int_equal(r->status, KERNEL_OK);
    assert_true(r->has_sum && r->sum == 49995000 && r->params == 10000);
    r = run_chunk(0, INT64_MAX - 1, INT64_MAX);
    assert_true(r->sum == (__int128)INT64_MAX * 2 - 1);
    r = run_chunk(1, 3, 7);
    assert_false(r->has_sum);
    assert_str(r->output, "arg 0 sweep worker-7 1 3-7 0");
}

static void reports_failures(void **state)
{
    (void)state;
    static const struct {
        uint64_t chunk;
        enum kernel_status status;
        const char *reason;
    } cases[] = {
        {2, KERNEL_FAILED, "try again"},
        {3, KERNEL_PERMANENT, "never"},
        {4, KERNEL_FAILED, "no reason was given"},
        {5, KERNEL_FAILED, "run returned 77, which means nothing"},
        {6, KERNEL_FAILED, "output over the limit of 1000 bytes (--output-max)"},
        {7, KERNEL_PERMANENT, "run gave a sum and output; it must choose one"},
    };
    rig.config.output_bytes_max = 1000;
    open_good("");
    for (int round = 0; round < 8; round++) /* in the thread first, then at once */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct kernel_result *r = run_chunk(cases[i].chunk, 0, 0);
            assert_int_equal(r->status, cases[i].status);
            assert_str(r->reason, cases[i].reason);
        }
}

static void quick_chunks_run_at_once(void **state)
{
    (void)state;
    open_good("");
    bool at_once = false;
    for (int i = 0; i < 100000 && !at_once; i++) { /* on a busy machine few chunks are quick */
        at_once = rig_start(0, rig_task(0, 9));
        assert_true((at_once ? rig.result[0] : *rig_wait(0)).sum == 45);
    }
    assert_true(at_once);
    kernel_close(rig.kernel);
    rig.config.timeout_ms = 60000; /* must be watched */
    open_good("");
    for (int i = 0; i < 100; i++)
        assert_false(rig_start(0, rig_task(0, 9)) || rig_wait(0)->status != KERNEL_OK);
}

static void a_stopped_call_does_not_count(void **state)
{
    (void)state;
    rig.config.timeout_ms = 30;
    open_good("");
    assert_int_equal(run_chunk(8, 0, 0)->status, KERNEL_TIMEOUT);
    for (int i = 0; run_chunk(0, 0, 0)->status != KERNEL_OK; i++) /* a busy machine is slow */
        assert_true(i < 100);
    kernel_close(rig.kernel);
    rig.config.timeout_ms = 0;
    open_good("");
    struct kernel_task t = rig_task(0, 0);
    t.chunk = 8;
    rig_start(0, t);
    kernel_cancel(rig.kernel, 0);
    assert_int_equal(rig_wait(0)->status, KERNEL_CANCELED);
    rig_start(0, t); /* close stops it too */
}

/* Its call lasts until the file is removed. */
static void wedge(char *file)
{
    close(mkstemp(file));
    rig.config.kill_grace_ms = 20;
    rig.config.slots = 2;
    open_good(file);
    struct kernel_task t = rig_task(0, 0);
    t.chunk = 9;
    rig_start(0, t);
    kernel_cancel(rig.kernel, 0);
    struct kernel_result *r = rig_wait(0);
    assert_int_equal(r->status, KERNEL_CANCELED);
    assert_true(r->wedged);
    assert_int_equal(kernel_busy(rig.kernel), 1);
    rig_start(1, rig_task(0, 9));
    assert_int_equal(rig_wait(1)->status, KERNEL_OK);
}

static void a_call_that_does_not_listen_wedges_its_slot(void **state)
{
    (void)state;
    char file[] = "/tmp/ttg-plugin-XXXXXX";
    wedge(file);
    unlink(file);
}

static unsigned threads(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* The leak checker has seen to it, if the thread is gone before the program. */
static void a_call_that_comes_back_too_late_cleans_up(void **state)
{
    (void)state;
    unsigned before = threads();
    char file[] = "/tmp/ttg-plugin-XXXXXX";
    wedge(file);
    kernel_close(rig.kernel);
    rig.kernel = NULL;
    unlink(file);
    uint64_t until_ns = loop_now_ns(rig.loop) + 20000000000u;
    while (threads() > before) {
        assert_int_equal(loop_turn(rig.loop, 1), 0);
        assert_true(loop_now_ns(rig.loop) < until_ns);
    }
}

static void slots_run_at_the_same_time(void **state)
{
    (void)state;
    rig.config.slots = 3;
    open_good("");
    for (int i = 0; i < 300; i++) {
        for (uint32_t slot = 0; slot < 3; slot++)
            rig_start(slot, rig_task(slot, 1000));
        for (uint32_t slot = 0; slot < 3; slot++)
            assert_true(rig_wait(slot)->sum == 500500 - (slot == 2 ? 1 : 0));
    }
}

struct lines {
    struct kernel_source source;
    int rc;
};

static int read_lines(struct kernel_source *s, struct buf *out, size_t bytes_max, bool *ret_end)
{
    (void)bytes_max;
    *ret_end = true;
    int rc = container_of(s, struct lines, source)->rc;
    return rc ? rc : buf_add_str(out, STR("one\ntwo\n"));
}

static void gets_lines(void **state)
{
    (void)state;
    open_good("");
    struct lines l = {{read_lines}, 0};
    struct kernel_task t = rig_task(0, 1);
    t.chunk = 1;
    t.lines = &l.source;
    rig_start(0, t);
    assert_has(rig_wait(0)->output, "0-1 8");
    l.rc = TTG_EIO;
    rig_start(0, t);
    assert_has(rig_wait(0)->reason, "input/output error");
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    rig.config.type = KERNEL_PLUGIN;
    rig.config.plugin = library("good");
    rig.config.slots = 2;
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
        kernel_close(rc ? NULL : rig.kernel);
        rig.kernel = NULL;
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(says_what_is_wrong_with_a_library),
        RIG_TEST(computes),
        RIG_TEST(reports_failures),
        RIG_TEST(quick_chunks_run_at_once),
        RIG_TEST(a_stopped_call_does_not_count),
        RIG_TEST(a_call_that_comes_back_too_late_cleans_up),
        RIG_TEST(a_call_that_does_not_listen_wedges_its_slot),
        RIG_TEST(slots_run_at_the_same_time),
        RIG_TEST(gets_lines),
        RIG_TEST(survives_failed_allocations),
    };
    return tap_run(tests);
}
