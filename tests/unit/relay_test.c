/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "io/relay.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Standard error is a file, or a pipe that can be full. */
static struct {
    int saved, theirs, file;
    struct loop *loop;
    struct relay relay;
} rig;

static int setup(void **state)
{
    char name[] = "/tmp/ttg-relay-XXXXXX";
    (void)state;
    rig.saved = dup(2);
    rig.file = mkstemp(name);
    unlink(name);
    dup2(rig.file, 2);
    assert_int_equal(loop_open(&rig.loop, NULL), 0);
    relay_init(&rig.relay, rig.loop, LOG_WARN);
    assert_int_equal(relay_open(&rig.relay, &rig.theirs, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    relay_close(&rig.relay);
    loop_close(rig.loop);
    dup2(rig.saved, 2);
    close(rig.saved);
    close(rig.file);
    return 0;
}

static void say(const char *text)
{
    assert_int_equal(write(rig.theirs, text, strlen(text)), strlen(text));
}

static void end(void)
{
    close(rig.theirs);
    relay_close(&rig.relay);
}

/* What went to standard error, in static storage. */
static const char *shown(void)
{
    static char text[65536];
    ssize_t n = pread(rig.file, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void turn(void)
{
    assert_int_equal(loop_turn(rig.loop, 0), 0);
}

static void shows_lines_as_they_end(void **state)
{
    (void)state;
    say("one\ntw");
    turn();
    assert_string_equal(shown(), "one\n");
    say("o\n");
    turn();
    assert_string_equal(shown(), "one\ntwo\n");
    say("last words");
    end();
    assert_string_equal(shown(), "one\ntwo\nlast words");
    assert_true(str_eq(tail_str(&rig.relay.tail), STR("one\ntwo\nlast words\n")));
}

static void hides_what_is_below_the_level_but_keeps_it(void **state)
{
    (void)state;
    say("INFO quiet a=1\nWARN loud b=2\n2026-02-09T10:00:12.345Z INFO "
        "more\n{\"level\":\"INFO\"}\n");
    turn();
    say("INFO begins");
    turn();
    say(" and ends\nplain\n");
    end();
    assert_string_equal(shown(), "WARN loud b=2\nplain\n");
    assert_true(str_starts(tail_str(&rig.relay.tail), STR("INFO quiet a=1\nWARN loud b=2\n")));
}

static void shows_nothing_of_a_quiet_one_but_keeps_it(void **state)
{
    (void)state;
    rig.relay.quiet = true;
    say("one\nERROR loud b=2\nlast words");
    end();
    assert_string_equal(shown(), "");
    assert_true(str_eq(tail_str(&rig.relay.tail), STR("one\nERROR loud b=2\nlast words\n")));
}

static void cuts_endless_lines(void **state)
{
    (void)state;
    char part[1001];
    memset(part, 'x', 1000);
    part[1000] = '\0';
    for (int i = 0; i < 10; i++) {
        say(part);
        turn();
    }
    assert_int_equal(strlen(shown()), 2 * RELAY_BYTES);
    say("\n");
    say("INFO ");
    for (int i = 0; i < 10; i++) {
        say(part);
        turn();
    }
    say("\nend\n");
    end();
    assert_int_equal(strlen(shown()), 10005);
    assert_string_equal(shown() + 9995, "xxxxx\nend\n");
}

static void does_not_wait_for_a_reader(void **state)
{
    (void)state;
    int fds[2];
    char line[101];
    assert_int_equal(pipe(fds), 0);
    fcntl(fds[1], F_SETPIPE_SZ, 4096);
    fcntl(rig.theirs, F_SETFL, O_NONBLOCK);
    dup2(fds[1], 2);
    memset(line, 'y', 99);
    line[99] = '\n';
    size_t said = 0, read_back = 0;
    for (int i = 0; i < 2000; i++) {
        ssize_t n = write(rig.theirs, line, 100);
        said += n > 0 ? (size_t)n : 0;
        turn(); /* would hang here */
    }
    assert_in_range(said, 8192, 199999);
    char bytes[4096];
    for (int i = 0; read_back < said && i < 1000; i++) {
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        ssize_t n = read(fds[0], bytes, sizeof bytes);
        read_back += n > 0 ? (size_t)n : 0;
        assert_int_equal(loop_turn(rig.loop, 30), 0);
    }
    assert_int_equal(read_back, said);
    end();
    close(fds[0]);
    close(fds[1]);
    dup2(rig.file, 2);
}

static void the_newest_lines_that_fit(void **state)
{
    (void)state;
    struct tail t;
    tail_start(&t);
    tail_add(&t, STR("first\nsecond\nthird"), NULL, NULL);
    tail_end(&t, NULL, NULL);
    assert_true(str_eq(tail_within(&t, 100), STR("first\nsecond\nthird\n")));
    assert_true(str_eq(tail_within(&t, 13), STR("second\nthird\n")));
    assert_true(str_eq(tail_within(&t, 12), STR("third\n")));
    assert_true(str_eq(tail_within(&t, 3), STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shows_lines_as_they_end, setup, teardown),
        cmocka_unit_test_setup_teardown(hides_what_is_below_the_level_but_keeps_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(shows_nothing_of_a_quiet_one_but_keeps_it, setup, teardown),
        cmocka_unit_test_setup_teardown(cuts_endless_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(does_not_wait_for_a_reader, setup, teardown),
        cmocka_unit_test(the_newest_lines_that_fit),
    };
    return tap_run(tests);
}
