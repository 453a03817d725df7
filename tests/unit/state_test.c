/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "state_rig.h"

static struct rig r;

#define OK(call) assert_int_equal(call, 0)

static enum state_outcome send(const char *client, uint64_t n)
{
    enum state_outcome outcome;
    int rc = rig_send(&r, client, n, &outcome);
    if (rc)
        fail_msg("%s %d: %s", client, (int)n, r.e.text);
    return outcome;
}

static void the_files_of_the_document(void **state)
{
    (void)state;
    rig_init(&r, 1);
    OK(rig_open(&r));
    assert_int_equal(send("CLI1", 1), STATE_NEW);
    assert_int_equal(send("CLI1", 2), STATE_NEW);
    assert_int_equal(send("CLI2", 7), STATE_NEW);
    assert_int_equal(send("CLI1", 1), STATE_DUPLICATE);
    OK(state_commit(r.state, &r.e));
    assert_string_equal(rig_file(&r, "CLI1.csv"), "msg_id,chunk_number,value\n"
                                                  "CLI100000001,1,1\n"
                                                  "CLI100000002,2,2\n");
    assert_string_equal(rig_file(&r, "CLI2.csv"), "msg_id,chunk_number,value\n"
                                                  "CLI200000007,7,7\n");
    assert_int_equal(rig_sum(&r, "CLI1", NULL).sum, 3);
    int rc;
    rig_sum(&r, "CLI3", &rc);
    assert_int_equal(rc, TTG_ENOENT);
    rig_done(&r);
}

struct seen {
    char text[200];
};

static int on_client(void *ctx, struct str client, const void *state, uint64_t rows,
                     uint64_t duplicates)
{
    struct seen *seen = ctx;
    const struct rig_sum *s = state;
    size_t at = strlen(seen->text);
    snprintf(seen->text + at, sizeof seen->text - at, "%.*s %d/%d %d;", STR_ARG(client), (int)rows,
             (int)duplicates, (int)s->sum);
    return 0;
}

static void comes_back_after_a_power_cut(void **state)
{
    (void)state;
    rig_init(&r, 2);
    OK(rig_open(&r));
    for (uint64_t n = 1; n <= 3; n++) {
        send("CLI1", n * 10);
        send("CLI2", n);
    }
    OK(state_commit(r.state, &r.e));
    rig_kill(&r);
    sim_disk_restart(r.rows);
    sim_disk_restart(r.log);
    OK(rig_open(&r));
    struct seen seen = {""};
    OK(state_rebuild(r.state, on_client, &seen, &r.e));
    assert_string_equal(seen.text, "CLI1 3/0 60;CLI2 3/0 6;");
    assert_int_equal(send("CLI1", 20), STATE_DUPLICATE);
    assert_int_equal(send("CLI1", 40), STATE_NEW);
    rig_done(&r);
}

static void tells_ready_clients_once_and_only_when_synced(void **state)
{
    (void)state;
    struct str client;
    rig_init(&r, 3);
    r.expected = 2;
    OK(rig_open(&r));
    send("A", 1);
    send("A", 2);
    assert_int_equal(state_ready_next(r.state, &client), TTG_EDONE);
    OK(state_commit(r.state, &r.e));
    OK(state_ready_next(r.state, &client));
    assert_true(str_eq(client, STR("A")));
    assert_int_equal(state_ready_next(r.state, &client), TTG_EDONE);
    assert_int_equal(send("A", 3), STATE_LATE);
    rig_kill(&r);
    sim_disk_restart(r.rows);
    sim_disk_restart(r.log);

    /* It was not finished, so it is told again. */
    OK(rig_open(&r));
    OK(state_rebuild(r.state, NULL, NULL, &r.e));
    OK(state_ready_next(r.state, &client));
    OK(state_finish(r.state, client, &r.e));
    assert_string_not_equal(rig_file(&r, "A.csv"), "");
    OK(state_commit(r.state, &r.e));
    assert_string_equal(rig_file(&r, "A.csv"), "");
    assert_int_equal(send("A", 1), STATE_FINISHED);
    rig_kill(&r);
    sim_disk_restart(r.rows);
    sim_disk_restart(r.log);

    OK(rig_open(&r));
    OK(state_rebuild(r.state, NULL, NULL, &r.e));
    assert_int_equal(state_ready_next(r.state, &client), TTG_EDONE);
    assert_int_equal(send("A", 2), STATE_FINISHED);
    OK(state_forget(r.state, STR("A"), &r.e));
    assert_int_equal(send("A", 1), STATE_NEW);
    rig_done(&r);
}

/* Files are long, then one summary; what it stands for is still known. */
static void compacts(void **state)
{
    (void)state;
    rig_init(&r, 4);
    r.o.compact_rows = 50;
    OK(rig_open(&r));
    for (uint64_t n = 1; n <= 100; n++)
        send("CLI1", n);
    OK(state_checkpoint(r.state, &r.e));
    assert_string_equal(rig_file(&r, "CLI1.csv"), "msg_id,chunk_number,value\n"
                                                  "~100 CLI[100000001-100000100],,5050\n");
    assert_int_equal(send("CLI1", 55), STATE_DUPLICATE);
    assert_int_equal(send("CLI1", 101), STATE_NEW);
    OK(state_commit(r.state, &r.e));
    rig_kill(&r);
    sim_disk_restart(r.rows);
    sim_disk_restart(r.log);
    OK(rig_open(&r));
    assert_string_equal(rig_file(&r, "CLI1.csv"), "msg_id,chunk_number,value\n"
                                                  "~100 CLI[100000001-100000100],,5050\n"
                                                  "CLI100000101,101,101\n");
    assert_int_equal(rig_sum(&r, "CLI1", NULL).sum, 5151);
    assert_int_equal(rig_sum(&r, "CLI1", NULL).count, 101);
    assert_int_equal(send("CLI1", 55), STATE_DUPLICATE);
    assert_int_equal(send("CLI1", 101), STATE_DUPLICATE);
    rig_done(&r);
}

/* A summary of several rows, with more ids than one row takes: all of it is taken up again. */
static void compacts_to_several_rows(void **state)
{
    (void)state;
    char text[200];
    rig_init(&r, 4);
    r.o.compact_rows = 50;
    r.pieces = 3;
    OK(rig_open(&r));
    for (uint64_t n = 1; n <= 50; n++)
        send("CLI1", n);
    OK(state_checkpoint(r.state, &r.e));
    assert_string_equal(rig_file(&r, "CLI1.csv"), "msg_id,chunk_number,value\n"
                                                  "~50 CLI[100000001-100000050],,425\n"
                                                  "~0 ,,425\n~0 ,,425\n");
    for (uint64_t n = 0; n < 20000; n++) /* no two follow each other: no ranges */
        send("CLI2", n * 7);
    OK(state_checkpoint(r.state, &r.e));
    snprintf(text, sizeof text, "%.80s", rig_file(&r, "CLI2.csv"));
    assert_non_null(strstr(text, "~20000 CLI200000000 CLI200000007"));
    assert_non_null(strstr(rig_file(&r, "CLI2.csv"), ",,466643333\n~0 CLI2"));
    rig_kill(&r);
    sim_disk_restart(r.rows);
    sim_disk_restart(r.log);
    OK(rig_open(&r));
    assert_int_equal(rig_sum(&r, "CLI1", NULL).sum, 1275);
    assert_int_equal(rig_sum(&r, "CLI1", NULL).count, 50);
    assert_int_equal(rig_sum(&r, "CLI2", NULL).sum, 7ull * 20000 * 19999 / 2);
    assert_int_equal(rig_sum(&r, "CLI2", NULL).count, 20000);
    assert_int_equal(send("CLI2", 7 * 19999), STATE_DUPLICATE);
    assert_int_equal(send("CLI2", 7 * 19999 + 1), STATE_NEW);
    rig_done(&r);
}

/* The newest ids stay, so the file does not grow with the number of messages. */
static void keeps_the_newest_ids(void **state)
{
    (void)state;
    size_t len = 0, most = 0;
    rig_init(&r, 4);
    r.o.compact_rows = 50;
    r.o.ids_max = 200;
    OK(rig_open(&r));
    for (uint64_t n = 1; n <= 5000; n++) {
        send("CLI1", n * 3);
        if (n > 50)
            assert_int_equal(send("CLI1", (n - 50) * 3), STATE_DUPLICATE);
        if (n % 25 == 0) {
            OK(state_checkpoint(r.state, &r.e));
            sim_disk_bytes(r.rows, "CLI1.csv", &len);
            most = len > most ? len : most;
        }
    }
    assert_true(most < 6000);
    assert_int_equal(rig_sum(&r, "CLI1", NULL).count, 5000);
    assert_int_equal(rig_sum(&r, "CLI1", NULL).sum, 3ull * 5000 * 5001 / 2);
    rig_done(&r);
}

static size_t on_memory(void *user, const void *client)
{
    (void)user;
    (void)client;
    return 10000;
}

/* What a state points to counts, too. */
static void memory_of_states_is_bounded(void **state)
{
    (void)state;
    struct state_stats stats;
    rig_init(&r, 5);
    r.o.memory = on_memory;
    r.o.memory_bytes = 100000;
    OK(rig_open(&r));
    for (int c = 0; c < 50; c++) {
        char client[16];
        snprintf(client, sizeof client, "c%d", c);
        assert_int_equal(send(client, 1), STATE_NEW);
    }
    state_stats(r.state, &stats);
    assert_true(stats.clients_in_memory <= 10 && stats.memory_bytes <= 100000);
    rig_done(&r);
}

static void clients_leave_memory_and_come_back(void **state)
{
    (void)state;
    struct state_stats stats;
    rig_init(&r, 5);
    r.o.clients_max = 3;
    OK(rig_open(&r));
    for (uint64_t n = 1; n <= 20; n++)
        for (int c = 0; c < 10; c++) {
            char client[16];
            snprintf(client, sizeof client, "c%d", c);
            assert_int_equal(send(client, n), STATE_NEW);
            assert_int_equal(send(client, n), STATE_DUPLICATE);
            if (n > 1)
                assert_int_equal(send(client, n - 1), STATE_DUPLICATE);
        }
    state_stats(r.state, &stats);
    assert_true(stats.clients_in_memory <= 3 && stats.evictions >= 190);
    for (int c = 0; c < 10; c++) {
        char client[16];
        snprintf(client, sizeof client, "c%d", c);
        assert_int_equal(rig_sum(&r, client, NULL).sum, 210);
    }
    rig_done(&r);
}

/* Files of others: written by hand, or copied without the log. */
static void takes_up_files(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        const char *seen;
    } cases[] = {
        {"msg_id,chunk_number,value\na,1,10\nb,2,20\n", 0, "X 2/0 30;"},
        {"msg_id,chunk_number,value\r\na,1,10\r\n\r\nb,2,20\r\n", 0, "X 2/0 30;"},
        {"msg_id,chunk_number,value\na,1,10\nb,2,20\na,1,10\n", 0, "X 2/1 30;"},
        {"msg_id,chunk_number,value\na,1,10\nb,2,2", 0, "X 1/0 10;"},
        {"msg_id,chunk_number,value\na,1,10\nb,\"2\n,2\n", 0, "X 1/0 10;"},
        {"msg_id,chunk_number,value\n\"a\"\"\",\"1\",10\n", 0, "X 1/0 10;"},
        {"msg_id,chunk_number,value\n~~a,1,10\n~2 b c,,5\n", 0, "X 3/0 15;"},
        /* Most of its ids were let go, and it stands for more rows than ids there can be. */
        {"msg_id,chunk_number,value\n~200000000 b c,,5\n", 0, "X 200000000/0 5;"},
        {"msg_id,chunk_number,value\n~9223372036854775808 a,,5\n", TTG_ECORRUPT, ""},
        {"msg_id,chunk_number,value\n~9223372036854775807 a,,5\n~1 b,,5\n", TTG_ECORRUPT, ""},
        {"msg_id,chunk_number,value\n", 0, ""},
        {"msg_id,chunk", 0, ""},
        {"", 0, ""},
        {"msg_id,chunk_number\n", TTG_EVERSION, ""},
        {"id,chunk_number,value\n", TTG_EVERSION, ""},
        {"msg_id,chunk_number,value\na,1\n", TTG_ECORRUPT, ""},
        {"msg_id,chunk_number,value\na,1,2,3\n", TTG_ECORRUPT, ""},
        {"msg_id,chunk_number,value\n,1,2\n", TTG_ECORRUPT, ""},
        {"msg_id,chunk_number,value\n~x,1,2\n", TTG_ECORRUPT, ""},
        {"msg_id,chunk_number,value\na,1,ten\n", TTG_EINVAL, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct seen seen = {""};
        rig_init(&r, i);
        sim_disk_set(r.rows, "X.csv", cases[i].text, strlen(cases[i].text));
        OK(rig_open(&r));
        int rc = state_rebuild(r.state, on_client, &seen, &r.e);
        if (rc != cases[i].rc)
            fail_msg("case %d: %d %s", (int)i, rc, r.e.text);
        assert_string_equal(seen.text, cases[i].seen);
        if (!rc) {
            send("X", 5);
            OK(state_commit(r.state, &r.e));
        }
        rig_done(&r);
    }
}

static void refuses_what_it_cannot_take(void **state)
{
    (void)state;
    enum state_outcome outcome;
    const struct str two[] = {STR("1"), STR("2")}, bad[] = {STR("1"), STR("x")};
    char longer[5000];
    memset(longer, 'a', sizeof longer);
    const struct {
        struct state_message m;
        int rc;
    } cases[] = {
        {{STR("c"), STR(""), two, 2, NULL}, TTG_EINVAL},
        {{STR("c"), str_make(longer, 1025), two, 2, NULL}, TTG_EINVAL},
        {{str_make(longer, 4097), STR("i"), two, 2, NULL}, TTG_EINVAL},
        {{STR("c"), STR("i"), two, 1, NULL}, TTG_EINVAL},
        {{STR("c"), STR("i"), bad, 2, NULL}, TTG_EINVAL},
    };
    rig_init(&r, 6);
    OK(rig_open(&r));
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(state_process(r.state, &cases[i].m, &outcome, &r.e), cases[i].rc);
    int rc;
    rig_sum(&r, "c", &rc);
    assert_int_equal(rc, TTG_ENOENT);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_files_of_the_document),
        cmocka_unit_test(comes_back_after_a_power_cut),
        cmocka_unit_test(tells_ready_clients_once_and_only_when_synced),
        cmocka_unit_test(compacts),
        cmocka_unit_test(compacts_to_several_rows),
        cmocka_unit_test(keeps_the_newest_ids),
        cmocka_unit_test(memory_of_states_is_bounded),
        cmocka_unit_test(clients_leave_memory_and_come_back),
        cmocka_unit_test(takes_up_files),
        cmocka_unit_test(refuses_what_it_cannot_take),
    };
    return tap_run(tests);
}
