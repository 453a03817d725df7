/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/list.h"

struct item {
    int value;
    struct list link;
};

static int value_of(struct list *l)
{
    return container_of(l, struct item, link)->value;
}

static int digits(struct list *head)
{
    int sum = 0;
    list_each(it, head) sum = sum * 10 + value_of(it);
    return sum;
}

static void keeps_order(void **state)
{
    (void)state;
    struct item items[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
    struct list head;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_first(&head));
    assert_null(list_pop_front(&head));
    list_push_back(&head, &items[1].link);
    list_push_back(&head, &items[2].link);
    list_push_front(&head, &items[0].link);
    list_insert(&items[2].link, &items[3].link);
    assert_int_equal(digits(&head), 1243);
    list_remove(&items[1].link);
    list_remove(&items[1].link); /* harmless */
    assert_int_equal(digits(&head), 143);
    assert_int_equal(value_of(list_first(&head)), 1);
    assert_int_equal(value_of(list_pop_front(&head)), 1);
    assert_int_equal(digits(&head), 43);
}

static void loop_may_remove(void **state)
{
    (void)state;
    struct item items[5] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}, {.value = 5}};
    struct list head;
    list_init(&head);
    for (int i = 0; i < 5; i++)
        list_push_back(&head, &items[i].link);
    list_each(it, &head) if (value_of(it) % 2) list_remove(it);
    assert_int_equal(digits(&head), 24);
    list_each(it, &head) list_remove(it);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(loop_may_remove),
    };
    return tap_run(tests);
}
