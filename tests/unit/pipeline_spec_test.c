/* SPDX-License-Identifier: Apache-2.0 */
/* Every mistake in a pipeline's file is refused, with the line, what stands there and what may. */
#include "tap.h"

#include "base/mem.h"
#include "pipeline/spec.h"

#define SOURCE "{\"name\":\"in\",\"source\":\"in.txt\"},\n"
#define SINK ",\n{\"name\":\"out\",\"from\":\"a\",\"sink\":\"o\"}"
#define FILE_OF(stage) "{\"pipeline\":\"p\",\n\"stages\":[\n" SOURCE stage SINK "]}"

/* Each has 256 partitions and its dead letters: the fourth is too many. */
#define WIDE(name, from)                                                                           \
    "{\"name\":\"" name "\",\"from\":\"" from "\",\"exec\":[\"x\"],\"partitions\":256}"

static const struct {
    const char *text, *error;
} mistakes[] = {
    {"", "f:1: empty, not JSON"},
    {"[]", "f:1: a pipeline is an object"},
    {"{\"pipeline\":\"p\",\n\"stages\":[,]}", "f:2: not JSON"},
    {"{\n\"stages\":[]}", "f:1: \"pipeline\": NAME is missing"},
    {"{\"pipeline\":\"p\"}", "f:1: \"stages\": [...] is missing or empty"},
    {"{\"pipeline\":\"p q\"}", "'p q' is no name"},
    {"{\"pipeline\":\"p\",\n\"stags\":[]}", "f:2: unknown key 'stags'; did you mean 'stages'?"},
    {"{\"pipeline\":\"p\",\n\"zzzzzz\":[]}", "there are: pipeline about queue state stages"},
    {"{\"pipeline\":\"p\",\n\n\"pipeline\":\"q\"}", "f:3: 'pipeline' is there twice"},
    {FILE_OF("{\"name\":\"a\",\n\"agregate\":\"sum\"}"),
     "f:5: stage 'a': unknown key 'agregate'; did you mean 'aggregate'?"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\n\"aggregate\":\"avg\"}"),
     "f:5: stage 'a': an aggregate is \"sum\", \"count\""},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"aggregate\":{\"top\":0}}"), "from 1 to 100000"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\"}"), "what it does is missing"},
    {FILE_OF("{\"from\":\"in\",\"exec\":[\"x\"]}"), "a stage needs a name"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[\"x\"],\"coproc\":[\"x\"]}"),
     "it is 'exec' and 'coproc'"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":\"x\"}"), "a command is a list of words"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[]}"), "an empty command"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"im\",\"exec\":[\"x\"]}"),
     "there is no stage 'im'; did you mean 'in'?"},
    {FILE_OF("{\"name\":\"a\",\"from\":[\"in\",\"in\"],\"exec\":[\"x\"]}"), "'in' is there twice"},
    {FILE_OF("{\"name\":\"a\",\"exec\":[\"x\"]}"), "\"from\" is missing"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"input\":true,\"exec\":[\"x\"]}"), "exclude"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"a\",\"exec\":[\"x\"]}"), "would come back to it"},
    {FILE_OF("{\"name\":\"a\",\"from\":[\"in\",\"b\"],\"exec\":[\"x\"]},\n"
             "{\"name\":\"b\",\"from\":\"a\",\"exec\":[\"x\"]}"),
     "f:4: stage 'a': its messages would come back to it"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[\"x\"]},\n"
             "{\"name\":\"b\",\"from\":\"in\",\"exec\":[\"x\"]}"),
     "f:5: stage 'b': nobody takes what it sends"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"sink\":\"x\"}"), "a sink sends nothing"},
    {FILE_OF("{\"name\":\"in\",\"from\":\"in\",\"exec\":[\"x\"]}"), "there are two stages 'in'"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[\"x\"],\"partitions\":0}"),
     "from 1 to 256"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[\"x\"],\"partitions\":1.5}"),
     "whole number"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[\"x\"],\"partitions\":2,\"instances\":3}"),
     "3 instances for 2 partitions"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[\"x\"],\"by\":\"shop\"}"),
     "\"client\", \"key\""},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"aggregate\":\"sum\",\"by\":\"id\"}"), "by \"id\""},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"aggregate\":\"sum\",\"attempts\":3}"),
     "only an aggregate with a command has 'attempts'"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"aggregate\":\"./x.so\",\"merge\":true}"),
     "only an aggregate with a command has 'merge'"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"aggregate\":[\"x\"],\"argument\":\"y\"}"),
     "only an aggregate with a library has 'argument'"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"aggregate\":[\"x\"],\"merge\":1}"),
     "true or false"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"aggregate\":[]}"), "an empty command"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"aggregate\":\"sum\",\"compact\":1}"), "from 10"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[\"x\"],\"compact\":10}"),
     "a stage of kind 'exec' has no 'compact'"},
    {FILE_OF("{\"name\":\"a\",\"from\":\"in\",\"exec\":[\"x\"],\"timeout\":0}"), "seconds"},
    {FILE_OF(WIDE("a", "in") ",\n" WIDE("b", "a") ",\n" WIDE("c", "b") ",\n" WIDE("d", "c")),
     "f:7: more than 1024 partitions in all"},
    {FILE_OF("7"), "a stage is an object"},
};

static void mistakes_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct spec s;
        struct err err = {0};
        int rc = spec_parse(&s, str_of(mistakes[i].text), "f", "/d", &err);
        spec_done(&s);
        if (rc != TTG_EUSAGE || !strstr(err.text, mistakes[i].error))
            fail_msg("%s\n gives %d '%s', not '%s'", mistakes[i].text, rc, err.text,
                     mistakes[i].error);
    }
}

static const char good[] =
    FILE_OF("{\"name\":\"a\",\"about\":\"x\",\"from\":[\"in\"],\"coproc\":[\"./x\",\"y\"],"
            "\"by\":\"key\",\"partitions\":4,\"instances\":2,\"attempts\":3,\"timeout\":0.5}");

static void a_good_file(void **state)
{
    struct spec s;
    struct err err = {0};
    (void)state;
    assert_int_equal(spec_parse(&s, str_of(good), "f", "/d", &err), 0);
    assert_int_equal(s.stage_count, 3);
    const struct spec_stage *a = &s.stages[1];
    assert_int_equal(a->kind, SPEC_COPROC);
    assert_string_equal(a->argv[1], "y");
    assert_null(a->argv[2]);
    assert_int_equal(a->by, SPEC_BY_KEY);
    assert_int_equal(a->timeout_ms, 500);
    assert_int_equal(a->from_count, 1);
    assert_int_equal(a->to[0], 2);
    assert_string_equal(s.stages[0].path, "/d/in.txt");
    assert_string_equal(s.stages[2].path, "/d/o");
    assert_int_equal(s.stages[2].attempts, 5);
    assert_int_equal(spec_stage_of(&s, STR("none")), SPEC_STAGES_MAX);
    spec_done(&s);
}

static void without_memory(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct spec s;
        struct err err = {0};
        mem_fail_at(n);
        int rc = spec_parse(&s, str_of(good), "f", "/d", &err);
        int failed = mem_failed();
        mem_fail_at(0);
        spec_done(&s);
        if (!failed) {
            assert_int_equal(rc, 0);
            break;
        }
        if (rc != TTG_ENOMEM)
            fail_msg("allocation %zu: %d '%s'", n, rc, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(a_good_file),
        cmocka_unit_test(without_memory),
    };
    return tap_run(tests);
}
