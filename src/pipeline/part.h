/* SPDX-License-Identifier: Apache-2.0 */
/* part - one partition of a stage at work: messages in, what becomes of them out, commit.
 *
 * What is the same for all kinds of stages is here: the inbox and its owner's epoch, what waits,
 * the room downstream, commits, dead letters, counts. What a kind does with messages is a table of
 * functions (kinds.h). A partition handles its messages strictly in order; a message that fails
 * holds up those behind it, so that a client's end never overtakes a message.
 *
 * When the connection was lost, or the inbox has another owner, all in memory is forgotten: what
 * was not acknowledged comes again, here or there. */
#ifndef TTG_PIPELINE_PART_H
#define TTG_PIPELINE_PART_H

#include "base/list.h"
#include "io/loop.h"
#include "pipeline/message.h"
#include "pipeline/route.h"
#include "queue/pipe.h"

struct part;
struct part_kind;
struct queue_config;

enum {
    PART_CREDIT = 1024,
    PART_BATCH = 256,     /* messages for a commit, at most */
    PART_OUTS_MAX = 2000, /* messages sent in a commit, about */
    PART_OUT_BYTES = 8 << 20,
};

struct part_config {
    struct loop *loop;
    const struct spec *spec;
    size_t stage, partition;
    uint64_t epoch;
    const struct queue_config *queue;
    const char *state; /* the pipeline's state directory */
    void *ctx;
    /* It cannot go on: TTG_ESTALE when it has another owner. Close it, from the loop. */
    void (*on_over)(void *ctx, struct part *p, const struct err *err);
};

/* Since it was opened. */
struct part_counts {
    uint64_t in, out, ends, retries, dead, duplicates;
};

struct part_message {
    struct list link;
    uint64_t tag;
    size_t len;
    char bytes[];
};

struct part {
    struct part_config config;
    const struct spec_stage *stage;
    const struct part_kind *kind;
    void *own; /* the kind's */
    struct pipe *pipe;
    char name[PIPE_NAME_BYTES];
    char **downs; /* names of inboxes: of each downstream stage, and the dead letters last */
    size_t down_count;
    struct list messages;
    size_t message_count;
    struct loop_timer timer;
    struct part_counts counts;
    bool owned;   /* the inbox is ours */
    bool working; /* the kind has the word */
    bool committing, over, draining;
    bool finished; /* all clients have ended here, and what is to be sent of them is out */

    /* the commit being put together */
    struct buf bytes;
    struct part_send {
        size_t down, at, len;
    } * sends;
    size_t send_count, send_cap;
    uint64_t acked;
    uint64_t sent;   /* of the counts: with the commit under way */
    struct buf room; /* of the message being looked at */
};

int part_open(struct part **ret_part, const struct part_config *config, struct err *err);
/* NULL is fine. */
void part_close(struct part *p);
/* A source stops reading; nothing else changes. */
void part_drain(struct part *p);
/* A source that has sent all, or was told to drain and has nothing under way; otherwise: nothing is
 * held in memory. */
bool part_is_idle(const struct part *p);

/* --- for the kinds --- */

/* The oldest message; NULL: none. Done with it: it is part of the next commit's acknowledgement. */
struct part_message *part_first(struct part *p);
void part_done(struct part *p, struct part_message *m);

/* To the stages downstream, with the next commit. An end goes to all partitions that may have heard
 * of the client. TTG_ENOMEM, TTG_EFULL. */
int part_send(struct part *p, const struct message *m);
/* An end as it leaves here: with this partition added to its path when that came from elsewhere
 * (`path` not empty). */
int part_send_end(struct part *p, struct str client, struct str path);
/* Gives a message up: it goes to the stage's dead letters with the next commit. */
int part_send_dead(struct part *p, struct str text, struct str reason, uint64_t attempts);
/* Takes back all that was put together since the last commit. */
void part_unsend(struct part *p);
/* Whether it is time to commit what was put together. */
bool part_is_enough(const struct part *p);

/* Ends the kind's turn: commits what was put together and done, and calls kind->committed, then its
 * `work` again when there is something to do. With nothing to commit it only ends the turn. */
void part_commit(struct part *p);
/* The same, but `work` is called after a pause even when no message comes. */
void part_pause(struct part *p, uint64_t ms);
/* Gives the partition up. */
void part_fail(struct part *p, const struct err *err);
/* Calls `work` when that is possible: something the kind waited for has come. */
void part_pump(struct part *p);

#endif
