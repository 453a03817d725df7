/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/terminal.h"
#include "tap.h"

#include <stdlib.h>

static void keys_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int keys[6];
    } cases[] = {
        {"q", {'q'}},
        {"py", {'p', 'y'}},
        {"\033[A\033[B", {KEY_UP, KEY_DOWN}},
        {"\033OA", {KEY_UP}},
        {"\033[5~\033[6~", {KEY_PAGE_UP, KEY_PAGE_DOWN}},
        {"\033[1;5Aq", {KEY_UP, 'q'}},
        {"\033[99999999999999999999~q", {KEY_OTHER, 'q'}},
        {"\033[", {KEY_OTHER}},
        {"\033[1", {KEY_OTHER}},
        {"\033q", {KEY_OTHER, 'q'}},
        {"\033", {KEY_OTHER}},
        {"\001\177\xff", {KEY_OTHER, KEY_OTHER, KEY_OTHER}},
        {"", {KEY_NONE}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str rest = str_of(cases[i].bytes);
        for (size_t k = 0; cases[i].keys[k]; k++)
            assert_int_equal(terminal_key(&rest), cases[i].keys[k]);
        assert_int_equal(terminal_key(&rest), KEY_NONE);
    }
}

static void utf8_is_what_the_environment_says(void **state)
{
    (void)state;
    static const struct {
        const char *all, *ctype, *lang;
        bool utf8;
    } cases[] = {
        {"C.UTF-8", NULL, NULL, true},      {"", "", "de_DE.utf8", true},
        {"C", "C.UTF-8", "C.UTF-8", false}, {NULL, "en_US.ISO-8859-1", "C.UTF-8", false},
        {NULL, NULL, NULL, false},          {NULL, NULL, "en_US.UTF-8@euro", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *values[] = {cases[i].all, cases[i].ctype, cases[i].lang};
        static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
        for (size_t k = 0; k < 3; k++) {
            unsetenv(names[k]);
            if (values[k])
                setenv(names[k], values[k], 1);
        }
        assert_int_equal(terminal_is_utf8(), cases[i].utf8);
    }
}

static void a_size_is_always_known(void **state)
{
    (void)state;
    unsigned width = 0, height = 0;
    terminal_size(&width, &height);
    assert_true(width > 0 && height > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_told_apart),
        cmocka_unit_test(utf8_is_what_the_environment_says),
        cmocka_unit_test(a_size_is_always_known),
    };
    return tap_run(tests);
}
