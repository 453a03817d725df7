/* SPDX-License-Identifier: Apache-2.0 */
/* The regressions that were seen in a real library, and one story for each part of raft. */
#include "raft_kit.h"

#include "base/err.h"
#include "core/raft/beats.h"

static struct kit *cluster(int count)
{
    struct kit *k = kit_new(count);
    for (int n = 1; n <= count; n++)
        kit_start(k, n, NULL);
    return k;
}

static bool no_appends(struct kit *k, struct raft_message *m)
{
    (void)k;
    return m->kind != RAFT_APPEND;
}

/* A follower with a stale suffix answers a heartbeat: that is no match. */
static void regression_a_a_heartbeat_proves_nothing(void **state)
{
    (void)state;
    struct kit *k = kit_new(3);
    kit_start(k, 1, &(struct kit_boot){.term = 2, .terms = {1, 2, 2}});
    kit_start(k, 2, &(struct kit_boot){.term = 2, .terms = {1, 1, 1, 1}});
    kit_start(k, 3, &(struct kit_boot){.term = 2, .terms = {1, 1, 1, 1}});
    k->passes = no_appends;
    kit_stand(k, 1);
    kit_run(k, 280000);
    assert_int_equal(kit_status(k, 1).role, RAFT_LEADER);
    assert_int_equal(kit_status(k, 1).commit, 0);
    assert_int_equal(kit_status(k, 2).commit, 0);
    k->passes = NULL;
    kit_run(k, 500000);
    assert_int_equal(kit_status(k, 1).commit, 4);
    assert_int_equal(kit_status(k, 2).commit, 4);
    assert_int_equal(kit_status(k, 2).last, 4);
    assert_int_equal(raft_entry_at(k->nodes[2], 2)->term, 2);
    kit_free(k);
}

static bool no_own_term(struct kit *k, struct raft_message *m)
{
    (void)k;
    if (m->kind == RAFT_APPEND && m->count && m->entries[m->count - 1].term == m->term)
        m->count = 0;
    return true;
}

/* Figure 8: a majority has an old term's entry, and that commits nothing. */
static void regression_b_old_terms_are_not_counted(void **state)
{
    (void)state;
    struct kit *k = kit_new(5);
    k->options.batch_entries = 1;
    kit_start(k, 1, &(struct kit_boot){.term = 4, .terms = {1, 2}});
    kit_start(k, 2, &(struct kit_boot){.term = 4, .terms = {1, 2}});
    for (int n = 3; n <= 5; n++)
        kit_start(k, n, &(struct kit_boot){.term = 4, .terms = {1}});
    k->passes = no_own_term;
    kit_stand(k, 1);
    kit_run(k, 290000);
    assert_int_equal(kit_status(k, 1).role, RAFT_LEADER);
    for (int n = 3; n <= 5; n++)
        assert_int_equal(kit_status(k, n).last, 2); /* everybody has it */
    assert_int_equal(kit_status(k, 1).commit, 0);
    k->passes = NULL;
    kit_run(k, 500000);
    assert_int_equal(kit_status(k, 1).commit, 3);
    kit_free(k);
}

/* Proposals that never pause: commits must not wait for the pause. */
static void regression_c_pipelined_appends_commit(void **state)
{
    (void)state;
    struct kit *k = cluster(3);
    k->delay_us = 5000;
    kit_run(k, 2000000);
    int leader = kit_leader(k);
    assert_true(leader > 0);
    for (uint64_t i = 1; i <= 400; i++) {
        kit_propose(k, leader, i);
        kit_run(k, 5000);
    }
    assert_true(kit_outcomes(k, RAFT_DONE) >= 390);
    kit_free(k);
}

/* The leader's disk fails with several appends under way: it promises nothing more, and whoever
 * waits hears "unknown", not "no". */
static void regression_d_a_full_disk_steps_back(void **state)
{
    (void)state;
    struct kit *k = cluster(3);
    kit_run(k, 2000000);
    int leader = kit_leader(k);
    k->hold_disk[leader] = true;
    for (uint64_t i = 1; i <= 5; i++)
        kit_propose(k, leader, i);
    kit_step(k, leader, (struct raft_event){.kind = RAFT_EV_STORE_FAILED});
    assert_int_equal(kit_outcomes(k, RAFT_UNKNOWN), 5);
    assert_true(kit_status(k, leader).halted);
    kit_step(k, leader, (struct raft_event){.kind = RAFT_EV_STORED, .seq = k->written[leader]});
    kit_run(k, 2000000);
    assert_true(kit_status(k, leader).halted);
    int next = kit_leader(k);
    assert_true(next > 0 && next != leader);
    kit_propose(k, next, 6);
    kit_run(k, 10000);
    assert_int_equal(kit_outcomes(k, RAFT_DONE), 1);
    assert_int_equal(kit_status(k, leader).commit < kit_status(k, next).commit, 1);
    kit_free(k);
}

/* The node with the best log has an old term: it must learn the newer one from pre-votes. */
static void regression_e_prevote_tells_the_term(void **state)
{
    (void)state;
    struct kit *k = kit_new(5);
    kit_start(k, 1, &(struct kit_boot){.term = 3, .terms = {1, 3, 3, 3}});
    for (int n = 2; n <= 3; n++)
        kit_start(k, n, &(struct kit_boot){.term = 9, .terms = {1, 2}});
    k->nodes[4] = k->nodes[5] = NULL; /* with 2 and 3 only, 1 is the one that can win */
    kit_run(k, 5000000);
    assert_int_equal(kit_leader(k) > 0, 1);
    kit_free(k);
}

static void elects_commits_and_reads(void **state)
{
    (void)state;
    struct kit *k = cluster(5);
    kit_run(k, 2000000);
    int leader = kit_leader(k), other = leader % 5 + 1;
    assert_true(leader > 0);
    kit_propose(k, leader, 7);
    kit_propose(k, other, 8);
    assert_int_equal(k->replies[0].outcome, RAFT_NOT_LEADER);
    assert_int_equal(k->replies[0].leader, leader);
    kit_run(k, 10000);
    assert_int_equal(k->replies[1].cookie, 7);
    assert_int_equal(k->replies[1].outcome, RAFT_DONE);
    uint64_t index = k->replies[1].index;
    kit_step(k, leader, (struct raft_event){.kind = RAFT_EV_READ, .cookie = 9});
    kit_step(k, other, (struct raft_event){.kind = RAFT_EV_READ, .cookie = 10});
    kit_run(k, 10000);
    assert_int_equal(k->reply_count, 4);
    for (int i = 2; i < 4; i++) {
        assert_true(k->replies[i].read);
        assert_int_equal(k->replies[i].outcome, RAFT_DONE);
        assert_int_equal(k->replies[i].index, index);
    }
    kit_free(k);
}

static void nothing_is_promised_before_the_disk_has_it(void **state)
{
    (void)state;
    struct kit *k = cluster(3);
    kit_run(k, 2000000);
    int leader = kit_leader(k);
    uint64_t commit = kit_status(k, leader).commit;
    for (int n = 1; n <= 3; n++)
        k->hold_disk[n] = n != leader;
    kit_propose(k, leader, 1);
    kit_run(k, 100000);
    assert_int_equal(kit_status(k, leader).commit, commit);
    int other = leader % 3 + 1;
    kit_step(k, other, (struct raft_event){.kind = RAFT_EV_STORED, .seq = k->written[other]});
    kit_run(k, 10000);
    assert_int_equal(kit_status(k, leader).commit, commit + 1);
    kit_free(k);
}

static void hands_over(void **state)
{
    (void)state;
    struct kit *k = cluster(3);
    kit_run(k, 2000000);
    int leader = kit_leader(k), other = leader % 3 + 1;
    kit_step(k, leader,
             (struct raft_event){.kind = RAFT_EV_TRANSFER, .to = (uint64_t)other, .cookie = 5});
    kit_propose(k, leader, 6);
    assert_int_equal(k->replies[0].outcome, RAFT_BUSY);
    assert_int_equal(k->replies[0].leader, other);
    kit_run(k, 10000);
    assert_int_equal(kit_leader(k), other);
    assert_int_equal(k->replies[1].cookie, 5);
    assert_int_equal(k->replies[1].outcome, RAFT_DONE);
    kit_free(k);
}

/* 3 has lost the data of entry 2, which is committed: it asks, and gets it from anybody. */
static void repairs_a_damaged_entry(void **state)
{
    (void)state;
    struct kit *k = kit_new(3);
    for (int n = 1; n <= 3; n++)
        kit_start(k, n,
                  &(struct kit_boot){.term = 1, .terms = {1, 1, 1}, .damaged = n == 3 ? 2 : 0});
    assert_int_equal(kit_status(k, 3).damaged, 2);
    kit_run(k, 10000);
    assert_int_equal(kit_status(k, 3).damaged, 0);
    assert_memory_equal(raft_entry_at(k->nodes[3], 2)->data->bytes, "b1", 2);
    kit_run(k, 2000000);
    assert_int_equal(kit_status(k, 3).applied, 4);
    kit_free(k);
}

/* Nobody has the damaged last entry. With one voter missing it may be committed: no leader. With
 * all there, a majority without a trace of it proves that it is not. */
static void damage_is_dropped_only_with_proof(void **state)
{
    (void)state;
    struct kit *k = kit_new(3);
    kit_start(k, 1, &(struct kit_boot){.term = 1, .terms = {1, 1, 1}, .damaged = 3});
    kit_start(k, 2, &(struct kit_boot){.term = 1, .terms = {1, 1}});
    kit_run(k, 5000000);
    assert_int_equal(kit_leader(k), 0);
    assert_int_equal(kit_status(k, 1).last, 3);
    kit_start(k, 3, &(struct kit_boot){.term = 1, .terms = {1, 1}});
    kit_run(k, 5000000);
    assert_true(kit_leader(k) > 0);
    assert_int_equal(kit_status(k, 1).damaged, 0);
    assert_int_equal(kit_status(k, 1).commit, 3);
    kit_free(k);
}

/* What it promised before the restart it does not know: it votes for nobody for as long. */
static void a_restarted_node_keeps_its_promise(void **state)
{
    (void)state;
    struct kit *k = cluster(3);
    kit_run(k, 2000000);
    int leader = kit_leader(k), other = leader % 3 + 1, third = other % 3 + 1;
    uint64_t term = kit_status(k, leader).term;
    raft_free(k->nodes[other]);
    kit_start(k, other, &(struct kit_boot){.term = term, .terms = {term}});
    struct raft_message ask = {.kind = RAFT_VOTE,
                               .from = (uint64_t)third,
                               .to = (uint64_t)other,
                               .term = term + 1,
                               .index = 9,
                               .log_term = term};
    k->mail_count = 0;
    kit_step(k, other, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &ask});
    assert_int_equal(k->mail_count, 0);
    assert_int_equal(kit_status(k, other).term, term);
    k->now += k->options.election_us;
    kit_step(k, other, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &ask});
    assert_int_equal(k->mail_count, 1);
    assert_false(k->mail[0].m.reject);
    kit_free(k);
}

/* A wiped node is another node. */
static void a_blank_disk_gets_a_new_identity(void **state)
{
    (void)state;
    uint64_t first = raft_identity(3, 0, 0), second = raft_identity(3, 0, 1);
    assert_int_equal(raft_identity(3, first, 1), first);
    assert_true(first != second && first >> 32 == 3 && second >> 32 == 3);
}

static uint64_t change(struct kit *k, int leader, enum raft_change what, int node)
{
    k->reply_count = 0;
    kit_step(k, leader,
             (struct raft_event){
                 .kind = RAFT_EV_MEMBER, .change = what, .to = (uint64_t)node, .cookie = 99});
    kit_run(k, 100000);
    assert_int_equal(k->reply_count, 1);
    return k->replies[0].outcome;
}

/* A learner joins, is promoted, and the leader removes itself. */
static void members_come_and_go(void **state)
{
    (void)state;
    struct kit *k = cluster(3);
    kit_run(k, 2000000);
    int leader = kit_leader(k);
    struct raft_boot blank = {0};
    struct raft_options o = k->options;
    o.id = 4;
    k->count = 4;
    assert_int_equal(raft_new(&o, &blank, k->now, &k->nodes[4]), 0);
    assert_int_equal(change(k, leader, RAFT_PROMOTE, 4), RAFT_REFUSED);
    assert_int_equal(change(k, leader, RAFT_ADD_LEARNER, 4), RAFT_DONE);
    assert_int_equal(change(k, leader, RAFT_ADD_LEARNER, 4), RAFT_REFUSED);
    assert_int_equal(change(k, leader, RAFT_PROMOTE, 4), RAFT_DONE);
    assert_int_equal(change(k, leader, RAFT_REMOVE, leader), RAFT_DONE);
    assert_int_equal(kit_status(k, leader).role, RAFT_FOLLOWER);
    kit_run(k, 2000000);
    int next = kit_leader(k);
    assert_true(next > 0 && next != leader);
    assert_int_equal(kit_status(k, next).config->count, 3);
    kit_free(k);
}

/* An append that finds no memory has not happened; the next one brings it. */
static void a_follower_without_memory_only_waits(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        struct kit *k = cluster(3);
        kit_run(k, 2000000);
        int leader = kit_leader(k), other = leader % 3 + 1;
        uint64_t last = kit_status(k, other).last, term = kit_status(k, leader).term;
        struct raft_entry entries[64];
        for (int i = 0; i < 64; i++)
            entries[i] = (struct raft_entry){.term = term, .kind = RAFT_NOOP};
        struct raft_message m = {.kind = RAFT_APPEND,
                                 .from = (uint64_t)leader,
                                 .to = (uint64_t)other,
                                 .term = term,
                                 .index = last,
                                 .log_term = term,
                                 .entries = entries,
                                 .count = 64};
        struct raft_event ev = {.kind = RAFT_EV_MESSAGE, .message = &m};
        mem_fail_at(n);
        int rc = kit_step(k, other, ev);
        int failed = mem_failed();
        mem_fail_at(0);
        assert_true(rc == 0 || (failed && rc == TTG_ENOMEM));
        assert_int_equal(kit_status(k, other).last, rc ? last : last + 64);
        assert_int_equal(kit_step(k, other, ev), 0);
        assert_int_equal(kit_status(k, other).last, last + 64);
        kit_free(k);
    }
}

static void what_no_member_sends_is_refused(void **state)
{
    (void)state;
    struct kit *k = cluster(3);
    kit_run(k, 2000000);
    int leader = kit_leader(k), other = leader % 3 + 1;
    uint64_t last = kit_status(k, other).last, term = kit_status(k, leader).term;
    struct raft_blob *junk = raft_blob_new(STR("\x05junk"));
    struct raft_entry cases[] = {
        {.term = term, .kind = RAFT_CONFIG},                /* a configuration without bytes */
        {.term = term, .kind = RAFT_CONFIG, .data = junk},  /* that cannot be read */
        {.term = term + 1, .kind = RAFT_NOOP},              /* from the future */
        {.term = term, .kind = 77},                         /* unknown */
        {.term = term, .kind = RAFT_DATA, .damaged = true}, /* damaged */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct raft_message m = {.kind = RAFT_APPEND,
                                 .from = (uint64_t)leader,
                                 .to = (uint64_t)other,
                                 .term = term,
                                 .index = last,
                                 .log_term = term,
                                 .entries = &cases[i],
                                 .count = 1};
        assert_int_equal(
            kit_step(k, other, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &m}),
            TTG_EPROTO);
        assert_int_equal(kit_status(k, other).last, last);
    }
    raft_blob_unref(junk);
    kit_free(k);
}

static void heartbeats_share_messages(void **state)
{
    (void)state;
    struct raft_beats b;
    assert_int_equal(raft_beats_init(&b, 2, 3), 0);
    for (uint32_t g = 0; g < 4; g++)
        for (uint64_t to = 2; to <= 4; to++) {
            struct raft_message m = {
                .kind = RAFT_BEAT, .group = g, .from = 1, .to = to, .term = 7, .commit = g};
            assert_int_equal(raft_beats_add(&b, &m), g < 3 && to < 4);
        }
    assert_false(raft_beats_add(&b, &(struct raft_message){.kind = RAFT_APPEND, .to = 2}));
    assert_int_equal(b.frame_count, 2);
    struct raft_message m;
    raft_beats_get(&b.frames[1], 2, &m);
    assert_int_equal(m.to, 3);
    assert_int_equal(m.group, 2);
    assert_int_equal(m.commit, 2);
    assert_int_equal(m.term, 7);
    raft_beats_clear(&b);
    assert_int_equal(b.frame_count, 0);
    raft_beats_done(&b);
    for (size_t n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_int_equal(raft_beats_init(&b, 2, 3), TTG_ENOMEM);
        mem_fail_at(0);
    }
}

static void survives_failed_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct kit *k = cluster(1);
        kit_run(k, 2000000);
        uint64_t last = kit_status(k, 1).last;
        mem_fail_at(n);
        int rc = 0, done = 0;
        for (; done < 40 && !rc; done += !rc)
            rc = kit_step(k, 1, (struct raft_event){.kind = RAFT_EV_PROPOSE, .bytes = STR("abc")});
        int failed = mem_failed();
        mem_fail_at(0);
        assert_true(rc == 0 || (failed && rc == TTG_ENOMEM));
        assert_int_equal(kit_status(k, 1).last, last + (uint64_t)done);
        kit_propose(k, 1, 3);
        assert_int_equal(kit_outcomes(k, RAFT_DONE), 1);
        kit_free(k);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regression_a_a_heartbeat_proves_nothing),
        cmocka_unit_test(regression_b_old_terms_are_not_counted),
        cmocka_unit_test(regression_c_pipelined_appends_commit),
        cmocka_unit_test(regression_d_a_full_disk_steps_back),
        cmocka_unit_test(regression_e_prevote_tells_the_term),
        cmocka_unit_test(elects_commits_and_reads),
        cmocka_unit_test(nothing_is_promised_before_the_disk_has_it),
        cmocka_unit_test(hands_over),
        cmocka_unit_test(repairs_a_damaged_entry),
        cmocka_unit_test(damage_is_dropped_only_with_proof),
        cmocka_unit_test(a_restarted_node_keeps_its_promise),
        cmocka_unit_test(a_blank_disk_gets_a_new_identity),
        cmocka_unit_test(members_come_and_go),
        cmocka_unit_test(a_follower_without_memory_only_waits),
        cmocka_unit_test(what_no_member_sends_is_refused),
        cmocka_unit_test(heartbeats_share_messages),
        cmocka_unit_test(survives_failed_allocations),
    };
    return tap_run(tests);
}
