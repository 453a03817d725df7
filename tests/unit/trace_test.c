/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/trace.h"

static void everybody_makes_the_same_names(void **state)
{
    (void)state;
    struct trace a, b;
    char parent[TRACE_PARENT_BYTES];
    trace_of(&a, STR("sweep"), 1770631200000, 7, 42);
    trace_of(&b, STR("sweep"), 1770631200000, 7, 43);
    assert_string_equal(a.id, b.id);
    assert_string_not_equal(a.span, b.span);
    assert_int_equal(strlen(a.id), TRACE_ID_DIGITS);
    assert_int_equal(strlen(a.span), TRACE_SPAN_DIGITS);
    trace_parent(&a, parent);
    assert_int_equal(strlen(parent), 55);
    /* Golden: logs of different versions are read together. */
    assert_string_equal(parent, "00-5ad66a4daf80d5c6627dbc973d3ce36c-06d2ab5831b4318f-01");
    trace_of(&b, STR("sweep"), 1770631200000, 7, 0);
    assert_string_equal(b.span, "");
    trace_of(&b, STR("sweep"), 1770631200000, 8, 42);
    assert_string_not_equal(a.id, b.id);
    trace_of(&b, STR("sweep"), 1770631200001, 7, 42);
    assert_string_not_equal(a.id, b.id);
    trace_of(&b, STR("weep"), 1770631200000, 7, 42);
    assert_string_not_equal(a.id, b.id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everybody_makes_the_same_names)};
    return tap_run(tests);
}
