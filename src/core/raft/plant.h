/* SPDX-License-Identifier: Apache-2.0 */
/* plant - each rule of the protocol can be bent, to prove that the simulator would notice.
 *
 * Only in a build with -DRAFT_PLANTED; in every other build `bent(X)` is the constant false and
 * the rules stand. The table names what is left out. */
#ifndef TTG_CORE_RAFT_PLANT_H
#define TTG_CORE_RAFT_PLANT_H

#define RAFT_PLANT_TABLE(X)                                                                        \
    X(COMMIT_OLD_TERM, "an old term's entry is committed by counting (figure 8)")                  \
    X(ACK_STORED, "an append reply names the last stored entry, not the last verified one")        \
    X(BEAT_IS_MATCH, "the last entry of whoever answers a heartbeat counts as a match")            \
    X(ACK_UNSYNCED, "appends are acknowledged before they are durable")                            \
    X(LEADER_UNSYNCED, "the leader counts itself before its disk does")                            \
    X(VOTE_UNSYNCED, "votes are sent before they are durable")                                     \
    X(VOTE_TWICE, "a second candidate of the term gets a vote too")                                \
    X(VOTE_ANY_LOG, "votes go to candidates whose log lacks entries")                              \
    X(VOTE_NOT_KEPT, "the vote is not written, only the term")                                     \
    X(VOTES_OF_PREVOTE, "answers to pre-votes count as votes")                                     \
    X(MINORITY_WINS, "one vote less than a majority wins")                                         \
    X(OLD_TERM_APPEND, "appends of a deposed leader are accepted")                                 \
    X(PREVOTE_NO_TERM, "a rejected pre-vote does not carry the real term")                         \
    X(VOTE_BY_LENGTH, "votes ignore the term of the last entry, only the length counts")           \
    X(NO_NOOP, "a new leader adds no entry of its own term")                                       \
    X(READ_EARLY, "reads are served before an entry of the own term is committed")                 \
    X(READ_NO_ROUND, "reads are served without asking a majority who leads")                       \
    X(READ_OLD_ROUND, "a heartbeat sent before the read confirms it")                              \
    X(LEASE_FROM_REPLY, "a lease starts when the reply comes, not when the beat left")             \
    X(LEASE_TRANSFER, "a lease goes on after the leader has handed over")                          \
    X(CUT_ALWAYS, "an append cuts what is behind it even without conflict")                        \
    X(NO_PREV_CHECK, "an append is accepted without looking at the entry before it")               \
    X(COMMIT_UNVERIFIED, "a follower believes the commit index beyond what it verified")           \
    X(COMMIT_LAST_ONLY, "commits advance only when everything appended is stored")                 \
    X(CUT_KEEPS_STABLE, "after a cut, overwritten entries still count as durable")                 \
    X(MEMBER_NO_NOOP, "a change is accepted before the own term has committed")                    \
    X(MEMBER_TWO, "a second change is accepted while one is under way")                            \
    X(MEMBER_NO_ROLLBACK, "a cut change stays in force")                                           \
    X(LEARNER_COUNTS, "learners count in majorities of entries")                                   \
    X(REMOVED_COUNTS, "a removed leader still counts itself")                                      \
    X(SNAP_KEEPS_LOG, "an installed snapshot keeps entries that conflict with it")                 \
    X(SNAP_OLD_CONFIG, "an installed snapshot does not bring its configuration")                   \
    X(DAMAGE_CUT, "a damaged entry is cut at start, with all behind it")                           \
    X(DAMAGE_ACK, "damaged entries are acknowledged like sound ones")                              \
    X(DAMAGE_LEAD, "a candidate drops its damaged entries without asking")                         \
    X(WIPED_IDENTITY, "a wiped node goes on under its old identity")                               \
    X(FULL_DISK_GOES_ON, "after a failed write a node goes on as if it were written")              \
    X(UNKNOWN_IS_NO, "a proposal of unknown outcome is reported as not done")                      \
    X(NO_RESEND, "what is lost on the way is not sent again")                                      \
    X(SNAP_RESTART_NEVER, "a fetch whose source is gone never looks for another")

enum raft_plant {
    RAFT_PLANT_NONE,
#define X(name, text) RAFT_PLANT_##name,
    RAFT_PLANT_TABLE(X)
#undef X
        RAFT_PLANT_COUNT
};

#ifdef RAFT_PLANTED
extern enum raft_plant raft_plant;
#define bent(name) __builtin_expect(raft_plant == RAFT_PLANT_##name, 0)
#else
#define bent(name) 0
#endif

#endif
