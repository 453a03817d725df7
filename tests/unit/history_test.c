/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "queue/history.h"

/* Generations are written "NUMBER:ID:CURSOR:COUNT:CHUNK", the newest first. */
static void each_case(void **state)
{
    static const struct {
        const char *why, *mine, *now;
        enum history_verdict verdict;
        uint64_t cursor, count;
        int64_t chunk;
    } rows[] = {
        {"nothing was read", "", "1:a:0:0:-1", HISTORY_SAME, 0, 0, 0},
        {"a server that tells nothing", "1:a:0:0:-1", "", HISTORY_SAME, 0, 0, 0},
        {"as before", "1:a:0:0:-1", "1:a:0:0:-1", HISTORY_SAME, 0, 0, 0},
        {"as before, later", "2:b:50:5:4,1:a:0:0:-1", "2:b:50:5:4,1:a:0:0:-1", HISTORY_SAME, 0, 0,
         0},
        {"promoted", "1:a:0:0:-1", "2:b:50:5:4,1:a:0:0:-1", HISTORY_FORKED, 50, 5, 4},
        {"twice: the lower fork", "1:a:0:0:-1", "3:c:40:4:9,2:b:50:5:4,1:a:0:0:-1", HISTORY_FORKED,
         40, 4, 9},
        {"twice: the older fork", "1:a:0:0:-1", "3:c:80:8:9,2:b:50:5:4,1:a:0:0:-1", HISTORY_FORKED,
         50, 5, 4},
        {"one generation after the other", "2:b:50:5:4,1:a:0:0:-1",
         "3:c:80:8:9,2:b:50:5:4,1:a:0:0:-1", HISTORY_FORKED, 80, 8, 9},
        {"a generation was lost: it began higher", "2:b:50:5:4,1:a:0:0:-1", "2:c:40:4:9,1:a:0:0:-1",
         HISTORY_FORKED, 40, 4, 9},
        {"a generation was lost: it began lower", "2:b:30:3:7,1:a:0:0:-1", "2:c:40:4:9,1:a:0:0:-1",
         HISTORY_FORKED, 30, 3, 7},
        {"a generation was lost, and the first server is back", "2:b:30:3:7,1:a:0:0:-1",
         "1:a:0:0:-1", HISTORY_FORKED, 30, 3, 7},
        {"the same server, twice: told apart by number", "1:a:0:0:-1",
         "3:a:60:6:2,2:b:50:5:4,1:a:0:0:-1", HISTORY_FORKED, 50, 5, 4},
        {"made anew from nothing", "2:b:50:5:4,1:a:0:0:-1", "1:x:0:0:-1", HISTORY_FORKED, 0, 0, -1},
        {"a list that was cut", "1:a:0:0:-1", "70:x:900:90:1,69:y:800:80:1", HISTORY_UNKNOWN, 0, 0,
         0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct history mine, now;
        struct history_entry fork = {0};
        assert_true(history_read(&mine, str_of(rows[i].mine)));
        assert_true(history_read(&now, str_of(rows[i].now)));
        enum history_verdict got = history_compare(&mine, &now, &fork);
        if (got != rows[i].verdict)
            fail_msg("%s: verdict %d", rows[i].why, (int)got);
        if (got != HISTORY_FORKED)
            continue;
        if (fork.cursor != rows[i].cursor || fork.count != rows[i].count ||
            fork.chunk != rows[i].chunk)
            fail_msg("%s: fork at %llu", rows[i].why, (unsigned long long)fork.cursor);
    }
}

static void texts(void **state)
{
    static const char *const wrong[] = {"1",
                                        "1:a",
                                        "1:a:0:0",
                                        "x:a:0:0:-1",
                                        "1::0:0:-1",
                                        "1:a:0:0:",
                                        "1:a:0:0:-1x",
                                        "1:a:-1:0:0",
                                        "1:a b:0:0:-1",
                                        "1:a123456789012345678901234567890123456789:0:0:-1"};
    struct history h;
    char text[HISTORY_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (history_read(&h, str_of(wrong[i])))
            fail_msg("%s was taken", wrong[i]);
    h.count = 0;
    assert_true(history_add(&h, STR("7 abc 4194304 12 00042")));
    assert_false(history_add(&h, STR("7 abc 4194304 12")));
    for (int i = 0; i < 5; i++)
        assert_true(history_add(&h, STR("18446744073709551615 "
                                        "abcdefghijklmnopqrstuvwxyzabcdefghijklm "
                                        "18446744073709551615 18446744073709551615 "
                                        "9223372036854775807")));
    history_write(&h, text);
    assert_true(history_read(&h, str_of(text)));
    assert_int_equal(h.count, HISTORY_KEPT);
    assert_int_equal(h.entries[0].chunk, 42);
    h.count = 0;
    for (int i = 0; i < HISTORY_MAX; i++)
        assert_true(history_add(&h, STR("1 a 0 0 -1")));
    assert_false(history_add(&h, STR("1 a 0 0 -1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_case), cmocka_unit_test(texts)};
    return tap_run(tests);
}
