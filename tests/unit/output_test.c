/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/buf.h"
#include "io/file_read.h"
#include "job/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char dir[64], path[96], cursor[112];
};

static int setup(void **state)
{
    static struct place p;
    snprintf(p.dir, sizeof p.dir, "/tmp/ttg-output-XXXXXX");
    assert_non_null(mkdtemp(p.dir));
    snprintf(p.path, sizeof p.path, "%s/out", p.dir);
    snprintf(p.cursor, sizeof p.cursor, "%s/out.cursor", p.dir);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    char aside[128];
    snprintf(aside, sizeof aside, "%s.new", p->cursor);
    unlink(aside);
    unlink(p->cursor);
    unlink(p->path);
    return rmdir(p->dir);
}

static int open_output(const struct place *p, const char *job, uint64_t created_ms, bool resume,
                       struct output **o, struct output_cursor *cursor)
{
    struct err err = {0};
    struct output_spec spec = {
        .path = p->path, .job = job, .job_created_ms = created_ms, .resume = resume};
    return output_open(o, &spec, cursor, &err);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

static void assert_text(const char *path, const char *wanted)
{
    struct buf text;
    struct err err;
    buf_init(&text, 1 << 20);
    assert_int_equal(file_read(path, &text, &err), 0);
    assert_string_equal(buf_cstr(&text), wanted);
    buf_done(&text);
}

static void add(struct output *o, const char *lines, uint64_t count)
{
    struct err err;
    assert_int_equal(output_add(o, str_of(lines), count, &err), 0);
}

static void save(struct output *o, uint64_t seq)
{
    struct err err;
    bool saved;
    assert_int_equal(output_save(o, seq, "", &saved, &err), 0);
    assert_true(saved);
}

/* Whatever was written behind the last save is cut: a crash at each step gives the same. */
static void goes_on_behind_the_cursor(void **state)
{
    struct place *p = *state;
    struct output *o;
    struct output_cursor c;
    for (int crash = 0; crash < 4; crash++) {
        struct err err;
        unlink(p->path);
        unlink(p->cursor);
        assert_int_equal(open_output(p, "j", 5, false, &o, &c), 0);
        assert_true(c.seq == 0 && c.bytes == 0 && c.lines == 0);
        if (crash > 0)
            add(o, "one\ntwo\n", 2);
        if (crash > 1)
            save(o, 2);
        if (crash > 2)
            add(o, "three\nhal", 1);
        output_close(o); /* a crash: nothing more is saved */
        assert_int_equal(open_output(p, "j", 5, true, &o, &c), 0);
        assert_int_equal(c.seq, crash > 1 ? 2 : 0);
        assert_int_equal(c.lines, crash > 1 ? 2 : 0);
        assert_text(p->path, crash > 1 ? "one\ntwo\n" : "");
        add(o, crash > 1 ? "three\n" : "one\ntwo\nthree\n", 3 - c.lines);
        save(o, 3);
        assert_int_equal(output_lines(o), 3);
        assert_int_equal(output_finish(o, &err), 0);
        output_close(o);
        assert_text(p->path, "one\ntwo\nthree\n");
        assert_int_not_equal(access(p->cursor, F_OK), 0);
    }
}

/* The queue lost results: lines go back, at any place, and the cursor says so. */
static void lines_are_taken_back(void **state)
{
    struct place *p = *state;
    struct output *o;
    struct output_cursor c;
    struct buf line, all;
    struct err err;
    uint64_t bytes;
    buf_init(&line, 1 << 20);
    buf_init(&all, 1 << 20);
    for (uint64_t keep = 0; keep <= 5; keep++) {
        unlink(p->path);
        unlink(p->cursor);
        assert_int_equal(open_output(p, "j", 5, false, &o, &c), 0);
        buf_clear(&all);
        for (uint64_t i = 0; i < 5; i++) { /* longer than a block of reading back */
            buf_clear(&line);
            for (int k = 0; k < (i % 2 ? 70000 : 3); k++)
                buf_add_char(&line, (char)('a' + (int)i));
            buf_add_char(&line, '\n');
            assert_int_equal(output_add(o, buf_str(&line), 1, &err), 0);
            if (i < keep)
                buf_add_str(&all, buf_str(&line));
        }
        save(o, 50);
        assert_int_equal(output_line(o, 6, &line, &bytes, &err), TTG_ECORRUPT);
        assert_int_equal(output_line(o, keep, &line, &bytes, &err), 0);
        assert_int_equal(bytes, buf_len(&all));
        if (keep > 0)
            assert_int_equal(buf_str(&line).ptr[0], 'a' + (int)keep - 1);
        assert_int_equal(output_cut(o, keep, bytes, 7, "1:a:0:0:-1", &err), 0);
        assert_int_equal(output_lines(o), keep);
        buf_add_str(&all, STR("more\n"));
        add(o, "more\n", 1);
        output_close(o);
        assert_int_equal(open_output(p, "j", 5, true, &o, &c), 0); /* "more" was not saved */
        assert_true(c.seq == 7 && c.lines == keep);
        assert_string_equal(c.history, "1:a:0:0:-1");
        add(o, "more\n", 1);
        save(o, 8);
        output_close(o);
        assert_text(p->path, buf_cstr(&all));
    }
    buf_done(&line);
    buf_done(&all);
}

static void leaves_other_files_alone(void **state)
{
    struct place *p = *state;
    struct output *o;
    struct output_cursor c;
    write_text(p->path, "mine\n");
    assert_int_equal(open_output(p, "j", 5, false, &o, &c), TTG_EEXIST);
    assert_int_equal(open_output(p, "j", 5, true, &o, &c), TTG_EEXIST);
    assert_text(p->path, "mine\n");
    write_text(p->path, "");
    assert_int_equal(open_output(p, "j", 5, false, &o, &c), 0);
    struct output *second;
    assert_int_equal(open_output(p, "j", 5, true, &second, &c), TTG_EBUSY);
    output_close(o);
}

/* What it holds was trimmed from the queue: whoever says "done" then has to look first. */
static void a_file_that_others_change_is_noticed(void **state)
{
    struct place *p = *state;
    for (int what = 0; what < 8; what++) {
        struct output *o;
        struct output_cursor c;
        struct err err;
        char other[128];
        bool saved;
        unlink(p->path);
        unlink(p->cursor);
        assert_int_equal(open_output(p, "j", 5, false, &o, &c), 0);
        add(o, "one\ntwo\n", 2);
        save(o, 2);
        snprintf(other, sizeof other, "%s.new", p->cursor);
        write_text(other, "one\ntwo\n");
        if (what % 4 == 0)
            unlink(p->path);
        else if (what % 4 == 1)
            rename(other, p->path);
        else if (what % 4 == 2)
            write_text(p->path, "");
        else
            write_text(p->path, "one\ntwo\nthree\n");
        if (what < 4)
            add(o, "three\n", 1);
        int rc = what < 4 ? output_save(o, 3, "", &saved, &err) : output_finish(o, &err);
        assert_int_equal(rc, TTG_ECORRUPT);
        assert_int_equal(access(p->cursor, F_OK), 0);
        output_close(o);
    }
}

static void belongs_to_one_job(void **state)
{
    struct place *p = *state;
    struct output *o;
    struct output_cursor c;
    assert_int_equal(open_output(p, "j", 5, false, &o, &c), 0);
    add(o, "one\n", 1);
    save(o, 1);
    output_close(o);
    assert_int_equal(open_output(p, "j", 6, true, &o, &c), TTG_ESTALE);
    assert_int_equal(open_output(p, "k", 5, true, &o, &c), TTG_ESTALE);
    write_text(p->path, "on");
    assert_int_equal(open_output(p, "j", 5, true, &o, &c), TTG_ECORRUPT);
    assert_text(p->path, "on");
}

/* Every changed byte of the cursor is noticed. */
static void a_damaged_cursor_is_refused(void **state)
{
    struct place *p = *state;
    struct output *o;
    struct output_cursor c;
    struct buf good;
    struct err err;
    buf_init(&good, 4096);
    assert_int_equal(open_output(p, "j", 5, false, &o, &c), 0);
    add(o, "one\n", 1);
    save(o, 1);
    output_close(o);
    assert_int_equal(file_read(p->cursor, &good, &err), 0);
    for (size_t i = 0; i < buf_len(&good); i++) {
        char text[512];
        snprintf(text, sizeof text, "%.*s", STR_ARG(buf_str(&good)));
        text[i] ^= 1;
        write_text(p->cursor, text);
        assert_int_equal(open_output(p, "j", 5, true, &o, &c), TTG_ECORRUPT);
        text[i] = '\0';
        write_text(p->cursor, text);
        assert_int_equal(open_output(p, "j", 5, true, &o, &c), TTG_ECORRUPT);
    }
    assert_text(p->path, "one\n");
    buf_done(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(goes_on_behind_the_cursor, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_are_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_other_files_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_others_change_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(belongs_to_one_job, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_cursor_is_refused, setup, teardown),
    };
    return tap_run(tests);
}
