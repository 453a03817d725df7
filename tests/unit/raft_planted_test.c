/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator notices bent rules: the ones that it finds at once. `make sim-raft-planted` bends
 * all of them. Built with -DRAFT_PLANTED, like the raft that it links. */
#include "tap.h"

#include "core/raft/plant.h"
#include "sim/raft_world.h"

static void bent_rules_are_noticed(void **state)
{
    (void)state;
    static const struct {
        enum raft_plant plant;
        const char *name;
    } cases[] = {
#define CASE(name) {RAFT_PLANT_##name, #name}
        CASE(BEAT_IS_MATCH),  CASE(ACK_UNSYNCED),      CASE(LEADER_UNSYNCED), CASE(VOTE_TWICE),
        CASE(VOTE_ANY_LOG),   CASE(NO_NOOP),           CASE(CUT_ALWAYS),      CASE(NO_PREV_CHECK),
        CASE(LEARNER_COUNTS), CASE(FULL_DISK_GOES_ON), CASE(UNKNOWN_IS_NO),   CASE(NO_RESEND),
#undef CASE
    };
    struct world *w = vw_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vw_result r = {0};
        raft_plant = cases[i].plant;
        for (uint64_t seed = 1; seed <= 150 && !r.failed; seed++) {
            struct vw_plan plan;
            vw_plan_of_seed(seed, &plan);
            vw_run(w, &plan, &r);
        }
        if (!r.failed)
            fail_msg("%s is not noticed", cases[i].name);
    }
    raft_plant = RAFT_PLANT_NONE;
    vw_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bent_rules_are_noticed)};
    return tap_run(tests);
}
