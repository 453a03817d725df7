/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "queue/resp_locate.h"

static void slots_of_keys(void **state)
{
    static const struct {
        const char *key;
        unsigned slot;
    } rows[] = {
        {"123456789", 0x31c3},
        {"foo", 12182},
        {"ttg:{foo}:job", 12182},
        {"{foo}{bar}", 12182},
        {"a{}b{foo}", 0},
        {"a{foo", 0},
        {"ttg:{foo}:@0123456789", 12182},
        {"", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned slot = resp_key_slot(str_of(rows[i].key));
        if (rows[i].slot ? slot != rows[i].slot : slot == 12182)
            fail_msg("%s: %u", rows[i].key, slot);
    }
}

#define NODE(host, port) "*3\r\n" host ":" port "\r\n$1\r\nx\r\n"
#define SHARD(first, last, nodes) ":" first "\r\n:" last "\r\n" nodes

static void reads_who_has_which_slots(void **state)
{
    static const char answer[] =
        "*2\r\n*4\r\n" SHARD("0", "8191",
                             NODE("$9\r\n127.0.0.1\r\n", "7000")
                                 NODE("$9\r\n127.0.0.1\r\n", "7001")) /* a replica */
        "*3\r\n" SHARD("8192", "16383", NODE("$0\r\n\r\n", "7002"));
    struct resp_node from = {"h", 1}, node;
    struct resp_slots s;
    unsigned first, last;
    (void)state;
    assert_true(resp_slots_begin(&s, str_of(answer)));
    assert_true(resp_slots_next(&s, &from, &first, &last, &node));
    assert_true(first == 0 && last == 8191 && node.port == 7000);
    assert_string_equal(node.host, "127.0.0.1");
    assert_true(resp_slots_next(&s, &from, &first, &last, &node));
    assert_true(first == 8192 && last == 16383 && node.port == 7002);
    assert_string_equal(node.host, "h"); /* unknown: the one that was asked */
    assert_false(resp_slots_next(&s, &from, &first, &last, &node));
}

static void refuses_other_answers(void **state)
{
    static const char *const rows[] = {
        "+OK\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:-1\r\n" NODE("$1\r\na\r\n", "1"),
        "*1\r\n*3\r\n:0\r\n:16384\r\n" NODE("$1\r\na\r\n", "1"),
        "*1\r\n*3\r\n:0\r\n:1\r\n" NODE("$1\r\na\r\n", "65536"),
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n$1\r\nx\r\n:1\r\n" NODE("$1\r\na\r\n", "1"),
    };
    struct resp_node from = {"h", 1}, node;
    struct resp_slots s;
    unsigned first, last;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (resp_slots_begin(&s, str_of(rows[i])) &&
            resp_slots_next(&s, &from, &first, &last, &node))
            fail_msg("%s", rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_of_keys),
        cmocka_unit_test(reads_who_has_which_slots),
        cmocka_unit_test(refuses_other_answers),
    };
    return tap_run(tests);
}
