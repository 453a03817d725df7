/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of a pipeline: who owns what, where messages go, when a client has ended, what an
 * aggregate makes of values, what a message looks like. */
#include "tap.h"

#include "base/mem.h"
#include "base/prng.h"
#include "pipeline/assign.h"
#include "pipeline/merge.h"
#include "pipeline/message.h"
#include "pipeline/route.h"

#include <stdio.h>

/* --- assign --- */

static void settle(struct assign *a, uint64_t *last_epoch)
{
    struct assign_move m;
    for (int i = 0; assign_next(a, &m); i++) {
        assert_true(i < 1000);
        assert_true(m.epoch > *last_epoch);
        assert_int_equal(a->part[m.partition].owner, m.to);
        assert_true(a->up[m.to]);
        *last_epoch = m.epoch;
    }
}

static void everything_has_an_owner_and_loads_are_even(void **state)
{
    struct assign a;
    struct prng r;
    uint64_t last = 99;
    (void)state;
    prng_init(&r, 7);
    assign_init(&a, 13, 5, 100);
    settle(&a, &last);
    assert_int_equal(last, 99); /* nobody is there */
    for (int step = 0; step < 2000; step++) {
        size_t instance = (size_t)prng_below(&r, 5), least = 99, most = 0;
        bool any = false;
        if (prng_chance(&r, 0.5))
            assign_up(&a, instance);
        else
            assign_lost(&a, instance);
        settle(&a, &last);
        for (size_t i = 0; i < 5; i++) {
            size_t n = assign_owned(&a, i);
            if (!a.up[i]) {
                assert_int_equal(n, 0);
                continue;
            }
            any = true;
            least = n < least ? n : least;
            most = n > most ? n : most;
        }
        assert_true(!any || most - least <= 1);
        for (size_t p = 0; p < 13; p++)
            assert_int_equal(any, a.part[p].owner != ASSIGN_NOBODY);
    }
}

static void a_loss_moves_only_what_was_lost(void **state)
{
    struct assign a;
    struct assign_move m;
    uint64_t last = 0;
    (void)state;
    assign_init(&a, 4, 2, 1);
    assign_up(&a, 0);
    assign_up(&a, 1);
    settle(&a, &last);
    int before[4];
    for (size_t p = 0; p < 4; p++)
        before[p] = a.part[p].owner;
    assign_lost(&a, 1);
    for (int i = 0; i < 2; i++) {
        assert_true(assign_next(&a, &m));
        assert_int_equal(before[m.partition], 1);
        assert_int_equal(m.to, 0);
    }
    assert_false(assign_next(&a, &m));
    /* A release by an owner that is not it any more changes nothing. */
    assign_released(&a, 0, 999);
    assert_false(assign_next(&a, &m));
    assign_released(&a, 0, a.part[0].epoch);
    assert_true(assign_next(&a, &m));
}

/* --- route --- */

static struct spec_stage stages[5];
static struct spec three_stages(void)
{
    memset(stages, 0, sizeof stages);
    for (size_t i = 0; i < 5; i++)
        stages[i].partitions = 1;
    stages[0].kind = SPEC_SOURCE;
    stages[1] = (struct spec_stage){.kind = SPEC_COPROC, .by = SPEC_BY_ID, .partitions = 3};
    stages[2] = (struct spec_stage){.kind = SPEC_AGGREGATE, .by = SPEC_BY_KEY, .partitions = 4};
    stages[3] = (struct spec_stage){.kind = SPEC_AGGREGATE, .partitions = 2};
    stages[4].kind = SPEC_SINK;
    for (size_t i = 1; i < 5; i++) {
        stages[i].from_count = 1;
        stages[i].from[0] = i - 1;
    }
    return (struct spec){.stages = stages, .stage_count = 5};
}

static void ends_are_known_beforehand(void **state)
{
    struct spec s = three_stages();
    static const uint64_t one[5] = {0, 1, 3, 4, 1}, all[5] = {0, 1, 3, 4, 2};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(route_ends(&s, i, false), one[i]);
        assert_int_equal(route_ends(&s, i, true), all[i]);
    }
    stages[2].kind = SPEC_EXEC; /* passes on each end that it gets: 4 partitions, 3 ends each */
    assert_int_equal(route_ends(&s, 3, false), 12);
    stages[1].partitions = stages[2].partitions = 1u << 20;
    assert_int_equal(route_ends(&s, 3, false), ROUTE_ENDS_MAX);
    stages[0].input = true;
    assert_int_equal(route_ends(&s, 0, false), 1);
}

static void a_client_always_reaches_the_same_partition(void **state)
{
    struct spec_stage to = {.by = SPEC_BY_CLIENT, .partitions = 7};
    size_t seen[7] = {0};
    char name[32];
    (void)state;
    for (int i = 0; i < 700; i++) {
        snprintf(name, sizeof name, "client-%d", i);
        struct message m = {.client = str_of(name), .key = STR("a"), .id = STR("x")};
        struct message other = {.client = str_of(name), .key = STR("b"), .id = STR("y")};
        size_t p = route_partition(&to, &m);
        assert_int_equal(p, route_partition(&to, &other));
        seen[p]++;
    }
    for (int p = 0; p < 7; p++)
        assert_in_range(seen[p], 50, 150);
    to.partitions = 2; /* part of the contract: state on disk depends on it */
    assert_int_equal(route_partition(&to, &(struct message){.client = STR("shop-1")}), 1);
    assert_int_equal(route_partition(&to, &(struct message){.client = STR("shop-2")}), 0);
    assert_false(route_end_to_all(&to, STR("shop-1")));
    assert_true(route_end_to_all(&to, MESSAGE_ALL));
    to.by = SPEC_BY_KEY;
    assert_true(route_end_to_all(&to, STR("shop-1")));
}

static void a_path_ends_a_client_once(void **state)
{
    struct ends e;
    enum ends_outcome o;
    (void)state;
    ends_init(&e);
    assert_int_equal(ends_add(&e, STR("c"), STR("p"), 2, &o), 0);
    assert_int_equal(o, ENDS_WAITING);
    assert_int_equal(ends_add(&e, STR("c"), STR("p"), 2, &o), 0);
    assert_int_equal(o, ENDS_KNOWN);
    assert_int_equal(ends_add(&e, STR("d"), STR("p"), 2, &o), 0);
    assert_int_equal(o, ENDS_WAITING);
    assert_false(ends_is_complete(&e, STR("c"), 2));
    assert_int_equal(ends_add(&e, STR("c"), STR("q"), 2, &o), 0);
    assert_int_equal(o, ENDS_COMPLETE);
    assert_int_equal(ends_add(&e, STR("c"), STR("q"), 2, &o), 0);
    assert_int_equal(o, ENDS_KNOWN);
    assert_true(ends_is_complete(&e, STR("c"), 2));
    assert_false(ends_is_complete(&e, STR("d"), 2));
    ends_done(&e);
}

static void ends_without_memory(void **state)
{
    enum ends_outcome o;
    (void)state;
    for (size_t n = 1;; n++) {
        struct ends e;
        ends_init(&e);
        mem_fail_at(n);
        int rc = ends_add(&e, STR("c"), STR("p"), 1, &o);
        int failed = mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        ends_done(&e);
        if (!failed)
            break;
    }
}

/* --- merge --- */

static int collect_text(void *ctx, struct str key, struct str value)
{
    return buf_printf(ctx, "%.*s=%.*s;", STR_ARG(key), STR_ARG(value));
}

struct adding {
    struct merge *to;
    enum spec_merge how;
    uint64_t top;
};

static int add_row(void *ctx, struct str key, struct str value)
{
    const struct adding *a = ctx;
    return merge_add(a->to, a->how, a->top, key, value);
}

/* The same again from its rows, as after a compaction. */
static void through_rows(struct merge *m, enum spec_merge how, uint64_t top)
{
    struct merge fresh;
    struct adding a = {&fresh, how == SPEC_COUNT ? SPEC_SUM : how, top};
    merge_init(&fresh);
    assert_int_equal(merge_rows(m, how, add_row, &a), 0);
    assert_int_equal(fresh.bytes, m->bytes);
    merge_done(m);
    assert_int_equal(m->bytes, 0);
    *m = fresh;
}

static void check_merge(enum spec_merge how, uint64_t top, const char *const (*values)[2],
                        size_t count, const char *expected)
{
    struct merge m;
    struct buf out;
    for (int backwards = 0; backwards < 2; backwards++) {
        buf_init(&out, 10000);
        merge_init(&m);
        for (size_t i = 0; i < count; i++) {
            size_t n = backwards ? count - 1 - i : i;
            assert_int_equal(merge_add(&m, how, top, str_of(values[n][0]), str_of(values[n][1])),
                             0);
            through_rows(&m, how, top);
        }
        assert_int_equal(merge_each(&m, how, collect_text, &out), 0);
        assert_string_equal(buf_cstr(&out), expected);
        merge_done(&m);
        buf_done(&out);
    }
}

static void merges_do_not_depend_on_order(void **state)
{
    static const char *const v[][2] = {{"b", "3"}, {"a", "1"}, {"b", "-5"}, {"c", "3"}};
    static const char *const big[][2] = {{"x", "170141183460469231731687303715884105727"},
                                         {"x", "-170141183460469231731687303715884105727"},
                                         {"y", "0.5"},
                                         {"y", "2"}};
    (void)state;
    check_merge(SPEC_SUM, 0, v, 4, "a=1;b=-2;c=3;");
    check_merge(SPEC_COUNT, 0, v, 4, "a=1;b=2;c=1;");
    check_merge(SPEC_MIN, 0, v, 4, "a=1;b=-5;c=3;");
    check_merge(SPEC_MAX, 0, v, 4, "a=1;b=3;c=3;");
    check_merge(SPEC_TOP, 2, v, 4, "=[{\"key\":\"b\",\"value\":3},{\"key\":\"c\",\"value\":3}];");
    check_merge(SPEC_COLLECT, 0, v, 2,
                "=[{\"key\":\"a\",\"value\":1},{\"key\":\"b\",\"value\":3}];");
    check_merge(SPEC_SUM, 0, big, 4, "x=0;y=2.5;");
    check_merge(SPEC_SUM, 0, v, 0, "");
    check_merge(SPEC_TOP, 3, v, 0, "");
    check_merge(SPEC_MAX, 0, big + 2, 2, "y=2;");
}

static void what_is_no_number_changes_nothing(void **state)
{
    static const char *const bad[] = {"\"1\"", "null", "[1]", "true", "1e999"};
    struct merge m;
    (void)state;
    merge_init(&m);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(merge_add(&m, SPEC_SUM, 0, STR("k"), str_of(bad[i])), TTG_EINVAL);
    assert_int_equal(m.keys.count, 0);
    for (int how = SPEC_SUM; how <= SPEC_COLLECT; how++)
        for (size_t n = 1;; n++) {
            struct merge fresh;
            merge_init(&fresh);
            mem_fail_at(n);
            int rc = merge_add(&fresh, (enum spec_merge)how, 1, STR("k"), STR("1"));
            int failed = mem_failed();
            mem_fail_at(0);
            assert_true(rc == 0 || rc == TTG_ENOMEM);
            merge_done(&fresh);
            if (!failed)
                break;
        }
    merge_done(&m);
}

/* --- message --- */

static void messages_come_back_as_they_went(void **state)
{
    struct message m, again;
    struct buf text, room;
    struct err err;
    (void)state;
    buf_init(&text, 10000);
    buf_init(&room, 10000);
    m = (struct message){
        .id = STR("i/1.0"), .client = STR("a\"b\n"), .key = STR(""), .value = STR("{\"x\": [1]}")};
    assert_int_equal(message_add(&text, &m), 0);
    assert_int_equal(message_parse(buf_str(&text), false, &again, &room, &err), 0);
    assert_true(str_eq(m.id, again.id) && str_eq(m.client, again.client));
    assert_true(str_eq(m.value, again.value) && !again.end);
    buf_clear(&text);
    m = (struct message){.id = STR("e"), .client = STR("*"), .end = true, .path = STR("p/q.0")};
    assert_int_equal(message_add(&text, &m), 0);
    assert_int_equal(message_parse(buf_str(&text), false, &again, &room, &err), 0);
    assert_true(again.end && str_eq(again.path, m.path) && str_eq(again.client, MESSAGE_ALL));
    buf_done(&text);
    buf_done(&room);
}

static void messages_that_are_none(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"id\":\"1\"}",
                                      "{\"client\":\"c\"}",
                                      "{\"id\":\"\",\"client\":\"c\"}",
                                      "{\"id\":\"1\",\"client\":\"\"}",
                                      "{\"id\":\"1\",\"client\":\"*\"}",
                                      "{\"id\":\"1\",\"client\":\"c\",\"id\":\"2\"}",
                                      "{\"id\":\"1\",\"client\":\"c\",\"x\":1}",
                                      "{\"id\":[],\"client\":\"c\"}",
                                      "{\"id\":\"1\",\"client\":\"c\",\"in\":\"0\"}"};
    struct message m;
    struct buf room;
    struct err err;
    (void)state;
    buf_init(&room, 10000);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(message_parse(str_of(bad[i]), false, &m, &room, &err), TTG_EPROTO);
    assert_int_equal(message_parse(STR("{\"value\":1,\"in\":7}"), true, &m, &room, &err), 0);
    assert_true(str_eq(m.in, STR("7")) && !m.has_client);
    assert_int_equal(message_parse(STR("{\"client\":1,\"end\":true}"), true, &m, &room, &err), 0);
    assert_true(m.end && m.path.len == 0);
    assert_int_equal(message_parse(STR("{\"client\":1,\"end\":false}"), true, &m, &room, &err), 0);
    assert_false(m.end);
    buf_done(&room);
}

static void ids_are_made_of_ids(void **state)
{
    char a[MESSAGE_TEXT_BYTES_MAX], b[MESSAGE_TEXT_BYTES_MAX], longer[400];
    (void)state;
    assert_true(str_eq(message_child_id(a, STR("r:7"), 2, 0), STR("r:7/2.0")));
    memset(longer, 'x', sizeof longer);
    struct str one = message_child_id(a, str_make(longer, 400), 2, 0);
    struct str two = message_child_id(b, str_make(longer, 400), 2, 1);
    assert_int_equal(one.len, 32);
    assert_false(str_eq(one, two));
    one = message_hash_id(a, STR("a"), STR("bc"));
    two = message_hash_id(b, STR("ab"), STR("c"));
    assert_false(str_eq(one, two));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_has_an_owner_and_loads_are_even),
        cmocka_unit_test(a_loss_moves_only_what_was_lost),
        cmocka_unit_test(ends_are_known_beforehand),
        cmocka_unit_test(a_client_always_reaches_the_same_partition),
        cmocka_unit_test(a_path_ends_a_client_once),
        cmocka_unit_test(ends_without_memory),
        cmocka_unit_test(merges_do_not_depend_on_order),
        cmocka_unit_test(what_is_no_number_changes_nothing),
        cmocka_unit_test(messages_come_back_as_they_went),
        cmocka_unit_test(messages_that_are_none),
        cmocka_unit_test(ids_are_made_of_ids),
    };
    return tap_run(tests);
}
