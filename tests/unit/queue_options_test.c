/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "cmd/queue_options.h"

static const char *const (*variables)[2];

static const char *test_variable(const char *name)
{
    for (size_t i = 0; i < 4 && variables[i][0]; i++)
        if (strcmp(variables[i][0], name) == 0)
            return variables[i][1];
    return NULL;
}

static void finds_the_queue(void **state)
{
    (void)state;
    static const struct {
        const char *variables[4][2];
        const char *address; /* NULL: refused */
    } cases[] = {
        {{{0}}, ""},
        {{{"QUEUE_MODE", "false"}, {"REDIS_HOST", "r"}}, ""},
        {{{"QUEUE_MODE", "true"}}, "redis://ttg-redis:6379"},
        {{{"QUEUE_MODE", "true"}, {"REDIS_HOST", "r"}, {"REDIS_PORT", "7"}}, "redis://r:7"},
        {{{"QUEUE_MODE", "true"}, {"REDIS_HOST", "::1"}}, "redis://[::1]:6379"},
        {{{"QUEUE_MODE", "true"}, {"QUEUE_BACKEND", "RabbitMQ"}, {"RABBITMQ_HOST", "b"}},
         "amqp://guest:guest@b:5672/%2F"},
        {{{"QUEUE_MODE", "true"}, {"REDIS_PASSWORD", "p@s/:% \xc3\xa4"}},
         "redis://:p%40s%2F%3A%25%20%C3%A4@ttg-redis:6379"},
        {{{"QUEUE_MODE", "true"},
          {"QUEUE_BACKEND", "rabbitmq"},
          {"RABBITMQ_USER", "ttg"},
          {"RABBITMQ_PASSWORD", "a:b"}},
         "amqp://ttg:a%3Ab@ttg-rabbitmq:5672/%2F"},
        {{{"QUEUE_MODE", "true"}, {"TTG_QUEUE", "ttg+unix:/run/x"}}, "ttg+unix:/run/x"},
        {{{"TTG_QUEUE", "redis://h"}}, "redis://h"},
        {{{"TTG_QUEUE", "http://h"}}, NULL},
        {{{"QUEUE_MODE", "true"}, {"REDIS_HOST", "a b"}}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options o;
        struct err e = {0};
        struct buf out;
        char *words[] = {NULL};
        struct options_input in = {IN_WORKER, words, true, test_variable};
        variables = cases[i].variables;
        buf_init(&out, 4096);
        assert_int_equal(options_parse(&o, &in, &e), 0);
        int rc = queue_address(&o, &out, &e);
        assert_int_equal(rc, cases[i].address ? 0 : TTG_EUSAGE);
        assert_true(str_eq(buf_str(&out), str_of(cases[i].address)));
        options_done(&o);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_queue),
    };
    return tap_run(tests);
}
