/* SPDX-License-Identifier: Apache-2.0 */
/* ask - a queue for commands that put a few questions and go.
 *
 * `ttg status`, `dlq`, `submit` and so on open the queue, send a request, wait for its answer and
 * close. For an embedded queue whose node does not run (the job was stopped, or ended with dead
 * letters) a node is started for as long as the command takes. Without an address it is the newest
 * embedded job of the user. */
#ifndef TTG_CMD_ASK_H
#define TTG_CMD_ASK_H

#include "cmd/command.h"
#include "cmd/embedded.h"
#include "cmd/options.h"
#include "cmd/queue_choice.h"
#include "job/crew.h"

enum { ASK_JOB_BYTES = 65 };

struct ask {
    struct command_run *command;
    struct queue_choice choice;
    const char *job; /* that the command is about */
    bool job_given;  /* by --job or as an argument */
    bool embedded;
    struct run_dir dir;
    char job_room[ASK_JOB_BYTES], address[RUN_DIR_BYTES + 32];
    struct command_words node;
    struct crew *crew;
    struct loop *loop;
    struct queue *queue;
    bool lost, crew_stopped;
    struct err why;
};

struct ask_config {
    const char *job; /* an argument that names the job; NULL: --job, or the default */
    bool make;       /* a directory that is not there is made */
};

/* TTG_EUSAGE, TTG_ENOENT with a message. `a` stays where it is. Close it also after a failure. */
int ask_open(struct ask *a, struct command_run *r, const struct ask_config *config,
             struct err *err);
void ask_close(struct ask *a);

/* Another queue to the same place, for what waits; close it with queue_close. */
int ask_open_queue(struct ask *a, struct queue **ret_queue, struct err *err);

/* Prepares a request that starts with a struct queue_call: zeroed but for its verb and job. */
void ask_init(struct ask *a, struct queue_call *call, enum queue_verb verb);

/* Sends it and turns the loop until it is answered. What the answer points to is valid inside
 * `on_answer` (may be NULL) only. An unknown job is TTG_ENOENT; to the user, a mistake of theirs.
 */
int ask_send(struct ask *a, struct queue_call *call, void (*on_answer)(void *ctx), void *ctx,
             struct err *err);
/* The same once, and the request is done with. */
int ask_once(struct ask *a, struct queue_call *call, void (*on_answer)(void *ctx), void *ctx,
             struct err *err);

/* Cancels, pauses, forgets ... the job. */
int ask_control(struct ask *a, enum queue_control what, struct err *err);

/* Turns the loop until *done, or the queue is lost, or until `deadline_ms` of loop_now_ms. */
int ask_wait(struct ask *a, const bool *done, uint64_t deadline_ms, struct err *err);

/* Whether the options name a job, a queue, or both; for messages. "job NAME on QUEUE" */
void ask_place(const struct ask *a, struct buf *out);

#endif
